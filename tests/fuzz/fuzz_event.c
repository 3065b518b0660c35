// rooms: ingest
/* The dialect decoders: the first byte picks dialect and route, the rest is the body. Whatever it is, the books must balance, each record must
 * read back as an event that keeps the promises of validation, and everything told must be UTF-8. */
#include "base/encode.h"
#include "ingest/internal.h"

static struct str keys[] = {{"k", 1}};
static struct conf_source source = {.id = {"web", 3},
				    .kind = SOURCE_BROWSER,
				    .write_keys = keys,
				    .write_key_count = 1,
				    .utc_offset_min = UTC_OFFSET_UNKNOWN,
				    .rights = RIGHT_ALIAS};
static struct config config = {.limits = {.body_bytes = 1 << 20, .event_bytes = 4 << 10, .batch_events = 20},
			       .sources = &source,
			       .source_count = 1};

const struct config *config_ref(const struct config *c)
{
	return c;
}

void config_unref(const struct config *c)
{
	(void)c;
}

const struct conf_source *config_source_by_key(const struct config *c, struct str key)
{
	return str_eq(key, keys[0]) ? c->sources : NULL;
}

void enrich_chain_run(struct enrich_chain *enrichers, struct cdpd_event *event, const struct json *root,
		      struct arena *arena, struct enrich_outcome *out)
{
	(void)enrichers, (void)event, (void)root, (void)arena;
	*out = (struct enrich_outcome){0};
}

void enrich_chain_free(struct enrich_chain *enrichers)
{
	(void)enrichers;
}

static struct journal_append *queued;

int journal_submit(struct journal *journal, struct journal_append *append)
{
	(void)journal;
	queued = append;
	return OK;
}

uint64_t journal_epoch(const struct journal *journal)
{
	(void)journal;
	return 1;
}

static void check_event(const struct cdpd_event *event)
{
	CHECK(event->type >= EVENT_TRACK && event->type <= EVENT_ALIAS);
	CHECK(event->user_id.len + event->anonymous_id.len > 0);
	CHECK(event->user_id.len <= EVENT_IDENTIFIER_MAX && event->anonymous_id.len <= EVENT_IDENTIFIER_MAX);
	CHECK(event->message_id.len > 0 && event->message_id.len <= EVENT_ID_MAX);
	CHECK(event->event.len <= EVENT_NAME_MAX && (event->type != EVENT_TRACK || event->event.len > 0));
	CHECK(time_is_plausible(event->event_time_us) &&
	      event->event_time_us <= event->received_at_us + FUTURE_TOLERATED_US);
	CHECK(!(event->flags & EVENT_DECLARED));
	const struct str texts[] = {event->user_id,    event->anonymous_id, event->previous_id, event->group_id,
				    event->message_id, event->event,        event->name,        event->category,
				    event->properties, event->traits,       event->context,     event->extra};
	for (size_t i = 0; i < COUNT_OF(texts); i++) CHECK(utf8_is_valid(texts[i]));
	const struct str parts[] = {event->properties, event->traits, event->context, event->extra};
	for (size_t i = 0; i < COUNT_OF(parts); i++)
		CHECK(parts[i].len == 0 || (parts[i].ptr[0] == '{' && parts[i].ptr[parts[i].len - 1] == '}'));
}

static void settle(void)
{
	struct arena arena;
	struct cdpd_event event;
	CHECK(queued->received == queued->entry_count + queued->reject_count);
	arena_init(&arena, 4096, 0);
	for (size_t i = 0; i < queued->entry_count; i++) {
		CHECK(event_decode(queued->entries[i].payload, &arena, &event) == OK);
		check_event(&event);
	}
	arena_fini(&arena);
	queued->status = OK;
	queued->settled.run(&queued->settled);
}

static int answers;

static void on_done(void *ctx, const struct ingest_result *result)
{
	(void)ctx;
	answers++;
	CHECK(utf8_is_valid(result->pointer) && utf8_is_valid(result->message));
	for (size_t i = 0; i < result->rejection_count; i++)
		CHECK(utf8_is_valid(result->rejections[i].message_id) && utf8_is_valid(result->rejections[i].pointer));
}

static struct ingest_worker *worker_of_process(void)
{
	static struct ingest *ingest;
	static struct ingest_worker *worker;
	if (worker) return worker;
	CHECK(ingest_new(NULL, &config, &ingest) == OK);
	CHECK(ingest_worker_new(ingest, NULL, NULL, &worker) == OK);
	return worker;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char body[(1 << 20) + BUF_SLACK];
	if (size < 1 || size - 1 > sizeof body - BUF_SLACK) return 0;
	memcpy(body, data + 1, size - 1);
	memset(body + size - 1, 'z', BUF_SLACK);
	const struct ingest_request request = {
	    .dialect = (enum ingest_dialect)(data[0] & 3),
	    .route_type = (enum event_type)((data[0] >> 2 & 7) % 7),
	    .authorization = data[0] & 0x80 ? STR_NONE : STR("Bearer k"),
	    .write_key_header = STR_NONE,
	    .write_key_query = STR_NONE,
	    .origin = STR_NONE,
	    .client_ip = STR("203.0.113.7"),
	    .user_agent = STR("fuzz"),
	    .body = str_of(body, size - 1),
	    .received_at_us = INT64_C(1795294200000000),
	};
	answers = 0;
	if (ingest_submit(worker_of_process(), &request, on_done, NULL)) settle();
	CHECK(answers == 1);
	return 0;
}
