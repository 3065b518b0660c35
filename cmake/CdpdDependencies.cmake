# Everything comes from Debian 12 packages: packaging/dependencies.txt lists them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CURL REQUIRED)
find_package(simdjson 3.0 REQUIRED)
pkg_check_modules(EVENT REQUIRED IMPORTED_TARGET libevent_core>=2.1.12 libevent_pthreads>=2.1.12)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1>=0.2.5)
pkg_check_modules(MAXMINDDB REQUIRED IMPORTED_TARGET libmaxminddb>=1.7) # plugins/geo
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8>=10.40)     # plugins/useragent
pkg_check_modules(LUA REQUIRED IMPORTED_TARGET lua5.4)                  # plugins/lua
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.14)         # plugins/weather
pkg_check_modules(LIBPQ REQUIRED IMPORTED_TARGET libpq)                       # plugins/postgres
pkg_check_modules(NATS REQUIRED IMPORTED_TARGET libnats>=3.4)                # plugins/nats
find_path(XGBOOST_INCLUDE_DIR NAMES xgboost/c_api.h REQUIRED) # plugins/xgboost; Debian's has no file for pkg-config
find_library(XGBOOST_LIBRARY NAMES xgboost REQUIRED)
add_library(Xgboost::xgboost UNKNOWN IMPORTED)
set_target_properties(Xgboost::xgboost PROPERTIES IMPORTED_LOCATION ${XGBOOST_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${XGBOOST_INCLUDE_DIR} INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${XGBOOST_INCLUDE_DIR})
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4.1)
pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka>=2.0) # plugins/kafka
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd>=1.4)     # plugins/files
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2>=1.52)
# Upstream's 1.52 has neither: without them one client can keep a thread busy (CVE-2023-44487, CVE-2024-28182). Debian's
# 1.52.0-1+deb12u3, and upstream from 1.61 on, have both.
include(CheckSymbolExists)
set(CMAKE_REQUIRED_INCLUDES ${NGHTTP2_INCLUDE_DIRS})
set(CMAKE_REQUIRED_LIBRARIES ${NGHTTP2_LINK_LIBRARIES})
foreach(symbol nghttp2_option_set_stream_reset_rate_limit nghttp2_option_set_max_continuations)
  check_symbol_exists(${symbol} nghttp2/nghttp2.h HAVE_${symbol})
  if(NOT HAVE_${symbol})
    message(FATAL_ERROR "libnghttp2 lacks ${symbol}: it is open to denial of service. Install 1.52.0-1+deb12u3 or later (Debian 12, security updates), or 1.61 or later.")
  endif()
endforeach()
unset(CMAKE_REQUIRED_INCLUDES)
unset(CMAKE_REQUIRED_LIBRARIES)
find_program(PROTOC_C NAMES protoc-c protoc REQUIRED)
# The standard services' protocol files, of package grpc-proto.
find_path(GRPC_PROTO NAMES grpc/health/v1/health.proto PATHS /usr/share/grpc-proto NO_DEFAULT_PATH REQUIRED)
