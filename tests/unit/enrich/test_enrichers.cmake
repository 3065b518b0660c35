# The fold notes whom to ask; the enricher is a plugin of tests/plugins/so.
target_link_libraries(${target} PRIVATE room_fold)
target_compile_definitions(${target} PRIVATE SO="${CMAKE_BINARY_DIR}/tests/plugins/so")
add_dependencies(${target} so_asker)
