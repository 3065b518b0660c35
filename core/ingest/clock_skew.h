/* clock_skew: whose clock is believed. One place decides an event's time, once; it is stored and never recomputed.
 *
 * The correction is the request's `received − sent`: a website has thousands of clocks, so nothing is learned per source. It is
 * used only beyond a minute (below it the network is as likely a cause), never for sources whose clock is trusted, and never
 * for SDKs that resend with the sent time of the first attempt. What it gives is clamped into [1970, received]. */
#pragma once

#include "base/clock.h"
#include "event/event.h"

#define SKEW_TOLERATED_US   (60 * US_PER_SECOND)
#define FUTURE_TOLERATED_US (300 * US_PER_SECOND)
#define TIME_MIN_US         INT64_C(0)
#define TIME_END_US         (INT64_C(4102444800) * US_PER_SECOND) /* 2100-01-01T00:00:00Z */

/* Is this a time a client may claim? Else it is bad_timestamp. */
static inline bool time_is_plausible(int64_t us)
{
	return us >= TIME_MIN_US && us < TIME_END_US;
}

/* From client_time_us (unless EVENT_TIME_MISSING), sent_at_us (0: not given) and received_at_us: fills event_time_us,
 * correction_us and the flags EVENT_TIME_CLAMPED and EVENT_SKEW_CORRECTED. Both given times are plausible. */
void clock_skew_apply(struct cdpd_event *event, bool is_clock_trusted);

/* Do clients of this library (context.library.name) resend with a stale sentAt? */
bool clock_skew_is_stale_sender(struct str library);

/* A server's clock, and that of a source with RIGHT_TIME, is believed. */
static inline bool clock_skew_trusts(const struct conf_source *source)
{
	return source->kind == SOURCE_SERVER || source->kind == SOURCE_WEBHOOK || (source->rights & RIGHT_TIME);
}
