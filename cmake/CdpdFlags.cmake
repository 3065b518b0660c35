# One interface library carries the warnings and hardening that all of our own code is built with.
add_library(cdpd_flags INTERFACE)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)

target_compile_definitions(cdpd_flags INTERFACE _GNU_SOURCE CDPD_VERSION="${PROJECT_VERSION}")
target_compile_options(cdpd_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Werror -fno-strict-aliasing -fno-omit-frame-pointer
  $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes;-Wstrict-prototypes;-Wvla>)
if(CMAKE_C_COMPILER_ID MATCHES Clang) # its -Wconversion says more than gcc's
  target_compile_options(cdpd_flags INTERFACE -Wno-sign-conversion -Wno-string-conversion)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g")
target_link_options(cdpd_flags INTERFACE -Wl,-z,relro,-z,now)

if(CDPD_SANITIZE STREQUAL "address")
  target_compile_options(cdpd_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -U_FORTIFY_SOURCE)
  target_link_options(cdpd_flags INTERFACE -fsanitize=address,undefined)
elseif(CDPD_SANITIZE STREQUAL "thread")
  target_compile_options(cdpd_flags INTERFACE -fsanitize=thread -U_FORTIFY_SOURCE)
  target_link_options(cdpd_flags INTERFACE -fsanitize=thread)
elseif(NOT CDPD_SANITIZE STREQUAL "")
  message(FATAL_ERROR "CDPD_SANITIZE must be address, thread or empty")
endif()

if(CDPD_FUZZ) # coverage for libFuzzer in every room
  target_compile_options(cdpd_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
