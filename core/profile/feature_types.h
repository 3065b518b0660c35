/* feature_types: the feature types every daemon has. They use the same struct as plugins do.
 *
 *   count  events (with the field, when one is given)
 *   sum    of a number, as a 128-bit multiple of 10⁻⁶: each input is rounded half-even, beyond ±10¹⁸ refused
 *   first  value with the earliest event time; ties go to the larger messageId, then value; at most 200 bytes
 *   last   the same with the latest event time */
#pragma once

#include "cdpd_plugin.h"

#define FEATURE_STATE_MAX 1024 /* bytes of any type's state */
#define FEATURE_VALUE_MAX 200  /* bytes of a value that first and last keep */

extern const struct cdpd_feature_type feature_count, feature_sum, feature_first, feature_last;
