# Its destinations are plugins of tests/plugins/so.
target_compile_definitions(${target} PRIVATE SO="${CMAKE_BINARY_DIR}/tests/plugins/so" PLUGINS="${CMAKE_BINARY_DIR}/plugins")
add_dependencies(${target} so_flaky so_chaos)
