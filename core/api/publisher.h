/* publisher: hands what plugins publish (plugin/postbox.h) to ingest, on a thread of its own that is started with the first of it. Who is meant by a
 * profile's id is looked up here, because the fold knows identifiers. */
#pragma once

#include "ingest/ingest.h"
#include "plugin/postbox.h"
#include "profile/people.h"

MUST_USE int publisher_new(struct ingest *ingest, struct people *people, struct publisher **out);
/* When the journal has stopped and no instance is asked anything more: ends the thread; what was not answered is answered CDPD_ERR_IO. The publisher is
 * gone with the last postbox. NULL is fine. */
void publisher_close(struct publisher *publisher);
