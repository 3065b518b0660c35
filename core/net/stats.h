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
