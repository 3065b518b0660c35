# cdpd_room(NAME ROOMS low rooms … LIBS libraries …): one static library for core/NAME.
function(cdpd_room name)
  cmake_parse_arguments(ROOM "" "" "ROOMS;LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/core/${name}/*.c ${CMAKE_SOURCE_DIR}/core/${name}/*.cc)
  add_library(room_${name} STATIC ${sources})
  target_include_directories(room_${name} PUBLIC ${CMAKE_SOURCE_DIR}/core ${CMAKE_SOURCE_DIR}/plugins/sdk)
  list(TRANSFORM ROOM_ROOMS PREPEND room_)
  target_link_libraries(room_${name} PUBLIC ${ROOM_ROOMS} ${ROOM_LIBS} PRIVATE cdpd_flags)
endfunction()
