target_sources(${target} PRIVATE ${folder}/fake_duplex.c)
