/* feature_types: the feature types every daemon has. They use the same struct as plugins do; docs/features.md says what each reads as.
 *
 *   count      events (with the field, when one is given)
 *   sum        of a number, as a 128-bit multiple of 10⁻⁶: each input is rounded half-even, beyond ±10¹⁸ refused
 *   min, max   of a number, rounded the same
 *   mean, variance  from exact moments: the sum of squares has 256 bits, which no number of inputs fills
 *   first      value with the earliest event time; ties go to the larger messageId, then value; at most 200 bytes
 *   last       the same with the latest event time
 *   distinct   number of different values: exact while few, then HyperLogLog
 *   histogram  events by hour of day, by weekday or by both, at the event's UTC offset
 *   intervals  gaps between the latest events, from their times
 *   decayed    a count or sum that halves every half_life
 *   window     a count or sum over the latest UTC buckets
 *   top        most frequent values by space-saving: approximate, with its error
 *
 * All but top are exact: any order of adds and merges gives the same bytes. */
#pragma once

#include "cdpd_plugin.h"

#define FEATURE_STATE_MAX 8192 /* bytes of any type's state */
#define FEATURE_VALUE_MAX 200  /* bytes of a value that first and last keep */
#define FEATURE_LABEL_MAX 100  /* bytes of a value that top keeps, and of a key */
#define FEATURE_TIMES_MAX 32   /* that intervals keeps */

extern const struct cdpd_feature_type feature_count, feature_sum, feature_first, feature_last, feature_min, feature_max,
    feature_mean, feature_variance, feature_distinct, feature_histogram, feature_intervals, feature_decayed,
    feature_window, feature_top;
