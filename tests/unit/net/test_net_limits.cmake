target_sources(${target} PRIVATE ${folder}/harness.c)
