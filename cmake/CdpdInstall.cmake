# `cmake --install build`: the two programs, the plugins, and what the author of another plugin needs: the SDK's header, a template, and a
# pkg-config file that says where things are. core/config/plugin_folder.c knows the plugins' folder from the program's.
install(TARGETS cdpd cdpctl RUNTIME DESTINATION bin)
get_property(targets DIRECTORY plugins PROPERTY BUILDSYSTEM_TARGETS)
install(TARGETS ${targets} LIBRARY DESTINATION lib/cdpd/plugins
  PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
install(FILES plugins/sdk/cdpd_plugin.h DESTINATION include/cdpd)
install(DIRECTORY plugins/template/ DESTINATION share/cdpd/template)
configure_file(${CMAKE_CURRENT_LIST_DIR}/cdpd-plugin.pc.in ${CMAKE_BINARY_DIR}/cdpd-plugin.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/cdpd-plugin.pc DESTINATION lib/pkgconfig)
