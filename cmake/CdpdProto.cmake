# cdpd_proto(DIR name …): protobuf-c code for DIR/cdpd/v1/NAME.proto, as the library cdpd_proto.
# Include as "cdpd/v1/event.pb-c.h".
function(cdpd_proto dir)
  set(out ${CMAKE_BINARY_DIR}/proto)
  file(MAKE_DIRECTORY ${out})
  foreach(name ${ARGN})
    set(proto ${CMAKE_SOURCE_DIR}/${dir}/cdpd/v1/${name}.proto)
    set(base ${out}/cdpd/v1/${name}.pb-c)
    add_custom_command(OUTPUT ${base}.c ${base}.h
      COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR}/${dir} --c_out=${out} ${proto}
      DEPENDS ${proto} VERBATIM)
    list(APPEND sources ${base}.c)
  endforeach()
  add_library(cdpd_proto STATIC ${sources})
  target_include_directories(cdpd_proto SYSTEM PUBLIC ${out})
  target_link_libraries(cdpd_proto PUBLIC PkgConfig::PROTOBUF_C)
endfunction()

# cdpd_descriptors(OUTPUT DIR file …): the descriptors of DIR/FILE.proto and of what they import, as one serialized
# google.protobuf.FileDescriptorSet: what gRPC's reflection answers from.
function(cdpd_descriptors output dir)
  list(TRANSFORM ARGN PREPEND ${dir}/ OUTPUT_VARIABLE protos)
  add_custom_command(OUTPUT ${output}
    COMMAND ${PROTOC_C} --proto_path=${dir} --include_imports --descriptor_set_out=${output} ${protos}
    DEPENDS ${protos} VERBATIM)
endfunction()
