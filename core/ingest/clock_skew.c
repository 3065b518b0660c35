#include "ingest/clock_skew.h"

/* Names as the SDKs send them: @segment/analytics-node 6 and older, rudder-sdk-node (which calls itself the same), posthog-node.
 * They queue the very bytes of the first attempt, so after a back-off their sentAt is hours old. */
static const char *const stale_senders[] = {"analytics-node", "posthog-node"};

bool clock_skew_is_stale_sender(struct str library)
{
	for (size_t i = 0; i < COUNT_OF(stale_senders); i++)
		if (str_eq(library, str_from(stale_senders[i]))) return true;
	return false;
}

static int64_t skew_of(const struct cdpd_event *event, bool is_clock_trusted)
{
	if (is_clock_trusted || event->sent_at_us == 0) return 0;
	int64_t skew = event->received_at_us - event->sent_at_us;
	return skew > SKEW_TOLERATED_US || skew < -SKEW_TOLERATED_US ? skew : 0;
}

static int64_t corrected(struct cdpd_event *event, int64_t skew)
{
	int64_t time = event->client_time_us + skew;
	if (time < TIME_MIN_US) time = TIME_MIN_US;
	if (time > event->received_at_us) {
		time = event->received_at_us;
		event->flags |= EVENT_TIME_CLAMPED;
	}
	event->flags |= EVENT_SKEW_CORRECTED;
	return time;
}

void clock_skew_apply(struct cdpd_event *event, bool is_clock_trusted)
{
	event->correction_us = 0;
	event->event_time_us = event->received_at_us;
	if (event->flags & EVENT_TIME_MISSING) return;

	int64_t skew = skew_of(event, is_clock_trusted);
	int64_t time = skew ? corrected(event, skew) : event->client_time_us;
	if (time > event->received_at_us + FUTURE_TOLERATED_US) {
		time = event->received_at_us;
		event->flags |= EVENT_TIME_CLAMPED;
	}
	event->event_time_us = time;
	if (skew) event->correction_us = time - event->client_time_us;
}
