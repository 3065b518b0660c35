/* stats: what net counts. Process-wide, from any thread. */
#pragma once

#include "base/problem.h"

void stats_init(void); /* before any thread counts; may be called again */
void stats_answered(int http_status);
void stats_refused(enum problem problem);
/* Refusals that have no answer. */
enum stats_drop { DROP_CONNECTIONS, DROP_CONNECTIONS_PER_IP, DROP_FILES, DROP_TLS, DROP_WRITE_TIMEOUT, DROP_COUNT };
void stats_dropped(enum stats_drop why);
void stats_received(size_t bytes);
void stats_sent(size_t bytes);
void stats_connections(int change);

/* HTTP/2 */
void stats_http2_connections(int change);
void stats_http2_request(void);
void stats_reset(bool is_ours); /* RST_STREAM */
/* Connections that were ended before their client did: too many control frames, too many resets for its mistakes, what cannot be
 * repaired, no answer to a PING, and age. */
enum http2_end {
	HTTP2_ENDED_CONTROL,
	HTTP2_ENDED_RESETS,
	HTTP2_ENDED_ERROR,
	HTTP2_ENDED_PING,
	HTTP2_ENDED_AGE,
	HTTP2_ENDED_COUNT
};
void stats_http2_ended(enum http2_end why);
