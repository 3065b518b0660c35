# cdpd_embed(TARGET SYMBOL FILE): FILE's bytes (of the source tree, or by its whole path) become `const char SYMBOL[]` and `const size_t SYMBOL_len` in TARGET.
# The same file, run with cmake -P, is the generator.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${INPUT} hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR length "${digits} / 2")
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${hex}") # sixteen bytes a line
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  file(WRITE ${OUTPUT}.new "#include <stddef.h>\nextern const char ${SYMBOL}[];\nextern const size_t ${SYMBOL}_len;\n"
    "const char ${SYMBOL}[] = {\n${bytes}0};\nconst size_t ${SYMBOL}_len = ${length};\n")
  file(RENAME ${OUTPUT}.new ${OUTPUT})
  return()
endif()

set(CDPD_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(cdpd_embed target symbol file)
  cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${CMAKE_SOURCE_DIR})
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embed/${symbol}.c)
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/embed)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${file} -DOUTPUT=${output} -DSYMBOL=${symbol} -P ${CDPD_EMBED_SCRIPT}
    DEPENDS ${file} ${CDPD_EMBED_SCRIPT} VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
