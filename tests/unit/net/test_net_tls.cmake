target_sources(${target} PRIVATE ${folder}/harness.c)
target_link_libraries(${target} PRIVATE OpenSSL::SSL)
