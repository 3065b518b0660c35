# Everything comes from Debian 12 packages: packaging/dependencies.txt lists them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CURL REQUIRED)
find_package(simdjson 3.0 REQUIRED)
pkg_check_modules(EVENT REQUIRED IMPORTED_TARGET libevent_core>=2.1.12 libevent_pthreads>=2.1.12)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1>=0.2.5)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4.1)
pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka>=2.0) # plugins/kafka
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd>=1.4)     # plugins/files
find_program(PROTOC_C NAMES protoc-c protoc REQUIRED)
