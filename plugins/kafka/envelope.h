/* envelope: a record as the message cdpd.v1.Record of proto/cdpd/v1/record.proto. Pure functions. */
#pragma once

#include "cdpd_plugin.h"

size_t envelope_size(const struct cdpd_record *record);
/* Writes envelope_size() bytes. */
void envelope_write(const struct cdpd_record *record, char *out);
