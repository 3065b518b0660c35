/* units: sizes, durations, addresses and the like as people write them in a configuration. */
#pragma once

#include "base/str.h"
#include "config/config.h"

/* "512", "512B", "64KB" (1000), "64KiB" (1024), up to TB and TiB. False: not that, or past uint64_t. */
bool unit_read_bytes(struct str text, uint64_t *out);
/* "0", or a whole number and us, ms, s, m, h, d or w; in microseconds, within int64_t. */
bool unit_read_duration(struct str text, uint64_t *out_us);
/* "+03:00", "-0530", "Z": minutes, at most 14 hours either way. */
bool unit_read_utc_offset(struct str text, int16_t *out_min);
/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080", "unix:/run/cdpd.sock". Fills host (borrowed), port, unix_path, is_loopback. */
bool unit_read_listener(struct str text, struct conf_listener *out);
/* "10.0.0.0/8", "::1", "unix:". */
bool unit_is_network(struct str text);
