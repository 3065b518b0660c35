target_sources(${target} PRIVATE ${folder}/harness.c ${folder}/h2_client.c)
