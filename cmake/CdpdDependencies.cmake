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
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4.1)
find_program(PROTOC_C NAMES protoc-c protoc REQUIRED)
