#include <stdlib.h>

#include "ingest/internal.h"

#define SCRATCH_BLOCK (16u << 10)
#define SCRATCH_CAP   (4u << 20)
#define ENVELOPE_CAP  (16u << 20)
#define EVENT_TEXT_SIZE \
	6 /* JSON parts of one event, in times limits.event_bytes: identify's traits may be written twice, and all again without what is private */
#define VIOLATIONS_CAP (16u << 10) /* above what VIOLATIONS_MAX of them take, escaped */
#define READER_KEEP    (1u << 20)
#define LARGE_BODY     (64u << 10) /* beyond it the readers are trimmed afterwards */
#define TEXT_KEEP      (256u << 10)

/* ── the room ────────────────────────────────────────────────────────────── */

int ingest_new(struct journal *journal, const struct config *config, struct ingest **out)
{
	struct ingest *ingest = calloc(1, sizeof *ingest);
	if (!ingest) return ERR_NOMEM;
	int rc = ingest_prepare(ingest, config);
	if (rc == OK) rc = limits_new(&ingest->limits);
	if (rc != OK) {
		free(ingest);
		return rc;
	}
	CHECK(pthread_mutex_init(&ingest->lock, NULL) == 0);
	ingest->journal = journal;
	ingest->config = config_ref(config);
	atomic_store(&ingest->generation, 1);
	ingest->accepted =
	    metric_get(METRIC_COUNTER, "cdpd_ingest_events_total", "result=\"accepted\"", "events settled by ingest");
	ingest->rejected =
	    metric_get(METRIC_COUNTER, "cdpd_ingest_events_total", "result=\"rejected\"", "events settled by ingest");
	ingest->unenriched =
	    metric_get(METRIC_COUNTER, "cdpd_enrich_denied_total", NULL,
		       "Events that enrichers did not see because their purpose was not consented to.");
	*out = ingest;
	return OK;
}

static void free_batches(struct ingest_batch *batch)
{
	while (batch) {
		struct ingest_batch *next = batch->next;
		batch_free(batch);
		batch = next;
	}
}

void ingest_free(struct ingest *ingest)
{
	if (!ingest) return;
	free_batches(ingest->orphans);
	limits_free(ingest->limits);
	config_unref(ingest->config);
	pthread_mutex_destroy(&ingest->lock);
	free(ingest);
}

int ingest_prepare(struct ingest *ingest, const struct config *config)
{
	if (!config->needs_hash_key || ingest->key.is_loaded) return OK;
	return privacy_key_load(&ingest->key, config->hash_key_file);
}

void ingest_set_config(struct ingest *ingest, const struct config *config)
{
	pthread_mutex_lock(&ingest->lock);
	const struct config *old = ingest->config;
	ingest->config = config_ref(config);
	atomic_fetch_add(&ingest->generation, 1);
	pthread_mutex_unlock(&ingest->lock);
	config_unref(old);
}

/* ── one loop's worker ───────────────────────────────────────────────────── */

static void refresh_config(struct ingest_worker *worker)
{
	struct ingest *ingest = worker->ingest;
	if (atomic_load(&ingest->generation) == worker->generation) return;
	pthread_mutex_lock(&ingest->lock);
	const struct config *old = worker->config;
	worker->config = config_ref(ingest->config);
	worker->generation = atomic_load(&ingest->generation);
	pthread_mutex_unlock(&ingest->lock);
	if (old) config_unref(old);
	worker->text.cap = EVENT_TEXT_SIZE * worker->config->limits.event_bytes + SCRATCH_BLOCK;
}

int ingest_worker_new(struct ingest *ingest, struct loop *loop, struct enrich_chain *enrichers,
		      struct ingest_worker **out)
{
	struct ingest_worker *worker = calloc(1, sizeof *worker);
	if (!worker) {
		if (enrichers) enrich_chain_free(enrichers);
		return ERR_NOMEM;
	}
	worker->ingest = ingest;
	worker->enrichers = enrichers;
	worker->loop = loop;
	arena_init(&worker->scratch, SCRATCH_BLOCK, SCRATCH_CAP);
	arena_init(&worker->envelope, SCRATCH_BLOCK, ENVELOPE_CAP);
	buf_init(&worker->text, 1);
	buf_init(&worker->excerpt, JOURNAL_EXCERPT_MAX);
	buf_init(&worker->violations, VIOLATIONS_CAP);
	int rc = json_reader_new(&worker->reader);
	if (rc == OK) rc = json_reader_new(&worker->envelope_reader);
	if (rc != OK) {
		ingest_worker_free(worker);
		return rc;
	}
	refresh_config(worker);
	*out = worker;
	return OK;
}

/* The journal reads from them until it has stopped; their answers go nowhere, the loop no longer runs. */
static void leave_to_journal(struct ingest *ingest, struct ingest_batch *batch)
{
	pthread_mutex_lock(&ingest->lock);
	while (batch) {
		struct ingest_batch *next = batch->next;
		batch->next = ingest->orphans;
		ingest->orphans = batch;
		batch = next;
	}
	pthread_mutex_unlock(&ingest->lock);
}

void ingest_worker_free(struct ingest_worker *worker)
{
	if (!worker) return;
	leave_to_journal(worker->ingest, worker->busy);
	free_batches(worker->idle);
	if (worker->enrichers) enrich_chain_free(worker->enrichers);
	if (worker->reader) json_reader_free(worker->reader);
	if (worker->envelope_reader) json_reader_free(worker->envelope_reader);
	if (worker->context_reader) json_reader_free(worker->context_reader);
	buf_fini(&worker->text);
	if (worker->part_reader) json_reader_free(worker->part_reader);
	buf_fini(&worker->excerpt);
	buf_fini(&worker->violations);
	arena_fini(&worker->scratch);
	arena_fini(&worker->envelope);
	if (worker->config) config_unref(worker->config);
	free(worker);
}

/* ── one request ─────────────────────────────────────────────────────────── */

/* The phrases of json.h for what a limit refused. */
enum problem intake_problem_of_json(const char *why)
{
	struct str phrase = str_from(why);
	return str_eq(phrase, STR("nested too deeply")) || str_eq(phrase, STR("too large")) ? PROBLEM_TOO_LARGE
											    : PROBLEM_INVALID_JSON;
}

int intake_parse(struct intake *in, struct json *root, const char **why)
{
	int rc = json_parse(in->worker->reader, in->request->body, root, why);
	return rc == ERR_NOMEM ? intake_refuse(in, PROBLEM_INTERNAL, STR_NONE, STR_NONE) : rc;
}

int intake_parse_part(struct intake *in, struct str text, struct json *out)
{
	struct ingest_worker *worker = in->worker;
	const char *why;
	int rc = worker->part_reader ? OK : json_reader_new(&worker->part_reader);
	return rc == OK ? json_parse(worker->part_reader, text, out, &why) : rc;
}

int intake_expect(struct intake *in, size_t events, struct str pointer)
{
	size_t allowed = in->config->limits.batch_events;
	if (events > allowed * BATCH_EXCESS_FACTOR)
		return intake_refuse(in, PROBLEM_TOO_LARGE, pointer, STR("far more events than limits.batch_events"));
	if (batch_expect(in->batch, events < allowed ? events : allowed) == OK) return OK;
	return intake_refuse(in, PROBLEM_TOO_LARGE, pointer, STR("the request needs more memory than one may have"));
}

static int check_limits(struct intake *in)
{
	struct limit_pass *pass = &in->pass;
	if (pass->key_rate == 0 && pass->ip_rate == 0) return OK;
	if (limits_check(in->worker->ingest->limits, clock_mono_us(), pass)) return OK;
	in->batch->retry_after_s = pass->retry_after_s;
	in->batch->limit = pass->limit;
	in->batch->limit_remaining = 0;
	return intake_refuse(in, PROBLEM_RATE_LIMITED, STR_NONE, STR_NONE);
}

/* Before anything is read: who only sends rubbish is told to wait as cheaply as possible. */
static int check_address(struct intake *in)
{
	in->pass = (struct limit_pass){
	    .key = STR_NONE,
	    .ip = in->request->client_ip,
	    /* What is published here has no address. */
	    .ip_rate = in->request->published ? 0 : in->config->limits.events_per_second_per_ip,
	    .limit = -1,
	};
	return check_limits(in);
}

static int check_caller(struct intake *in)
{
	if (!credentials_allow_origin(in->caller.source, in->request->origin))
		return intake_refuse(in, PROBLEM_FORBIDDEN, STR_NONE, STR("this origin may not use the key"));
	/* Only a key of the configuration ever gets a bucket. */
	in->pass.key = in->caller.key;
	in->pass.key_rate = in->caller.source->events_per_second;
	return check_limits(in);
}

int intake_identify(struct intake *in, struct str body_key)
{
	if (in->caller.source) return OK;
	switch (credentials_of_body(in->config, body_key, &in->caller)) {
	case CREDENTIAL_KNOWN: return check_caller(in);
	case CREDENTIAL_NONE: return intake_refuse(in, PROBLEM_UNKNOWN_KEY, STR_NONE, STR("no write key was given"));
	default: return intake_refuse(in, PROBLEM_UNKNOWN_KEY, STR_NONE, STR_NONE);
	}
}

/* A token spoke, not a write key; what privacy asks of the source it names, or of everybody, holds all the same. */
static int take_stated_source(struct intake *in)
{
	struct conf_source *source = arena_new(&in->worker->envelope, struct conf_source);
	if (!source) return intake_refuse(in, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	struct str id = in->request->traits->source;
	*source = (struct conf_source){.id = id,
				       .kind = SOURCE_SERVER,
				       .default_country = STR_NONE,
				       .purpose = STR_NONE,
				       .rights = RIGHT_DECLARED | RIGHT_TIME,
				       .rules = in->config->rules};
	for (size_t i = 0; i < in->config->source_count; i++)
		if (str_eq(in->config->sources[i].id, id)) source->rules = in->config->sources[i].rules;
	in->caller = (struct caller){source, id};
	return check_limits(in);
}

static int read_credentials(struct intake *in)
{
	if (in->request->traits) return take_stated_source(in);
	if (in->request->published) return published_take_source(in);
	if (in->request->hook) {
		int rc = hook_take_source(in);
		return rc == OK ? check_caller(in) : rc;
	}
	if (in->request->person) {
		in->caller = (struct caller){&consent_person_source, consent_person_source.id};
		return check_limits(in);
	}
	switch (credentials_of_request(in->config, in->request, &in->worker->envelope, &in->caller)) {
	case CREDENTIAL_KNOWN: return check_caller(in);
	case CREDENTIAL_UNKNOWN: return intake_refuse(in, PROBLEM_UNKNOWN_KEY, STR_NONE, STR_NONE);
	default: return OK; /* the body may tell */
	}
}

static int read_events(struct intake *in)
{
	switch (in->request->dialect) {
	case DIALECT_SEGMENT_ONE: return segment_read_one(in);
	case DIALECT_SEGMENT_BATCH: return segment_read_batch(in);
	case DIALECT_NATIVE_JSON: return native_read_json(in);
	case DIALECT_NATIVE_PROTOBUF: return native_read_protobuf(in);
	case DIALECT_DECLARED: return declared_read_one(in);
	case DIALECT_CONSENT: return consent_read(in);
	case DIALECT_TRAITS: return set_traits_read(in);
	case DIALECT_HOOK: return hook_read(in);
	case DIALECT_PUBLISHED: return published_read(in);
	}
	check_failed("every dialect has a reader", __FILE__, __LINE__);
}

static int finish(struct intake *in)
{
	if (batch_finish(in->batch) == OK) return OK;
	return intake_refuse(in, PROBLEM_TOO_LARGE, STR_NONE, STR("too many rejected events to report"));
}

static int (*const request_steps[])(struct intake *) = {check_address, read_credentials, read_events, finish};

/* A refused request costs as much as one event. Only who was told to wait pays nothing: else it would never end. */
static void charge(struct intake *in)
{
	struct limit_pass *pass = &in->pass;
	uint32_t events = in->batch->received ? in->batch->received : 1;
	if (in->batch->problem == PROBLEM_RATE_LIMITED || (pass->key_rate == 0 && pass->ip_rate == 0)) return;
	limits_charge(in->worker->ingest->limits, clock_mono_us(), pass, events);
	in->batch->limit = pass->limit;
	in->batch->limit_remaining = pass->remaining;
}

static void trim(struct ingest_worker *worker, size_t body_len)
{
	arena_reset(&worker->envelope);
	if (body_len <= LARGE_BODY) return;
	arena_reset(&worker->scratch);
	buf_clear(&worker->text);
	buf_shrink(&worker->text, TEXT_KEEP);
	json_reader_trim(worker->reader, READER_KEEP);
	json_reader_trim(worker->envelope_reader, READER_KEEP);
	if (worker->part_reader) json_reader_trim(worker->part_reader, READER_KEEP);
}

static void refuse_for_memory(ingest_done_fn done, void *ctx)
{
	const struct problem_info *info = problem_info(PROBLEM_INTERNAL);
	const struct ingest_result result = {
	    .problem = PROBLEM_INTERNAL,
	    .message = str_from(info->text),
	    .pointer = STR_NONE,
	    .retry_after_s = info->retry_after_s,
	    .limit = -1,
	    .limit_remaining = -1,
	};
	done(ctx, &result);
}

struct ingest_batch *ingest_submit(struct ingest_worker *worker, const struct ingest_request *request,
				   ingest_done_fn done, void *ctx)
{
	refresh_config(worker);
	struct ingest_batch *batch = batch_take(worker);
	if (!batch) {
		refuse_for_memory(done, ctx);
		return NULL;
	}
	batch->done = done;
	batch->ctx = ctx;
	struct intake in = {.worker = worker,
			    .batch = batch,
			    .request = request,
			    .config = worker->config,
			    .envelope = {.offset_min = INT16_MIN}};
	int rc = OK;
	for (size_t i = 0; i < COUNT_OF(request_steps) && rc == OK; i++) rc = request_steps[i](&in);
	charge(&in);
	trim(worker, request->body.len);
	return batch_settle(batch) ? batch : NULL;
}

bool ingest_hook_may(struct ingest_worker *worker, struct str source_id, struct str client_ip, bool costs,
		     int *retry_after_s)
{
	refresh_config(worker);
	const struct conf_source *source = hook_source(worker->config, source_id);
	struct limit_pass pass = {.key = source_id,
				  .ip = client_ip,
				  .key_rate = source ? source->events_per_second : 0,
				  .ip_rate = worker->config->limits.events_per_second_per_ip,
				  .limit = -1};
	if (pass.key_rate == 0 && pass.ip_rate == 0) return true;
	bool may = limits_check(worker->ingest->limits, clock_mono_us(), &pass);
	if (may && costs) limits_charge(worker->ingest->limits, clock_mono_us(), &pass, 1);
	*retry_after_s = pass.retry_after_s;
	return may;
}

void ingest_cancel(struct ingest_batch *batch)
{
	batch->done = NULL;
}
