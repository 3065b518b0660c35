/* openapi: docs/openapi.yaml, embedded at build time (cmake/CdpdEmbed.cmake). */
#pragma once

#include <stddef.h>

extern const char openapi_yaml[];
extern const size_t openapi_yaml_len;
