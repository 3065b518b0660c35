target_link_libraries(${target} PRIVATE cdpd_test_proto cdpd_proto)
