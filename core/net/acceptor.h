/* acceptor: takes new connections from one listening socket into one worker, within the caps. */
#pragma once

#include "net/worker.h"

MUST_USE int acceptors_new(struct worker *worker, struct endpoint *endpoints, size_t count); /* main thread */
MUST_USE int acceptors_open(struct worker *worker);
void acceptors_close(struct worker *worker); /* closes the sockets: the kernel refuses from then on */
void acceptors_free(struct worker *worker);
