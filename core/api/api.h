/* api: what outsiders call, as HTTP (core/rpc is the same as gRPC): ingest, profiles, changes, operations. Handlers translate between requests and
 * the rooms below; they hold no state of their own beyond the change hub and the read pool. */
#pragma once

#include "deliver/deliver.h"
#include "fold/fold.h"
#include "ingest/ingest.h"
#include "net/net.h"
#include "privacy/privacy.h"
#include "training/training.h"

struct api;

/* What `cdpd -n` checks beyond the schema: the token file. *errors is malloc'd text, one complaint per line. */
MUST_USE int api_check_config(const struct config *config, char **errors);

struct api_options {
	struct journal *journal;
	struct people *people;
	struct fold *fold;
	struct deliver *deliver;
	struct ingest *ingest;
	struct privacy *privacy;
	struct sources *sources;   /* plugins behind webhooks; NULL: none */
	struct training *training; /* NULL: no training sets are made */
	const struct config *config;
	uint32_t heartbeat_ms; /* of silent event streams; 0: the usual 15 s */
};

MUST_USE int api_new(const struct api_options *options, struct api **out);
void api_free(struct api *api);
MUST_USE int api_register(struct api *api, struct router *router); /* every route */
/* net_options' hooks. */
int api_worker_start(void *api, struct loop *loop, void **worker);
void api_worker_stop(void *api, void *worker);
/* The fold committed: wakes min_position waiters and change subscribers. Any thread. */
void api_on_commit(struct api *api, uint64_t applied, uint64_t last_change);
MUST_USE int api_set_config(struct api *api, const struct config *config); /* reload: sources, tokens … */
void api_set_draining(struct api *api);                                    /* /readyz says 503 from now on */
