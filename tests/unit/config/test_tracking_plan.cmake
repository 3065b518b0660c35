target_compile_definitions(${target} PRIVATE CONF_DIR="${CMAKE_SOURCE_DIR}/conf")
