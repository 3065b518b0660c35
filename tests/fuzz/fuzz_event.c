// rooms: ingest
/* The dialect decoders: the first byte picks dialect and route, a tracking plan and privacy rules, the rest is the body. Whatever it is, the books must balance, each record must
 * read back as an event that keeps the promises of validation, and everything told must be UTF-8. */
#include "base/encode.h"
#include "config/tracking_plan.h"
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

/* What was to be dropped is not there, what was to be replaced is. */
static void check_private(const struct cdpd_event *event)
{
	static char text[(1 << 20) + BUF_SLACK];
	static struct json_reader *reader;
	struct json root, value;
	struct str id = event->user_id;
	const char *why;
	CHECK(id.len == 0 || (id.len == PSEUDONYM_SIZE && str_starts(id, STR("p_"))) || str_trim(id).len == 0);
	if (!reader) CHECK(json_reader_new(&reader) == OK);
	if (event->properties.len == 0 || event->properties.len > 1 << 20) return;
	memcpy(text, event->properties.ptr, event->properties.len);
	CHECK(json_parse(reader, str_of(text, event->properties.len), &root, &why) == OK);
	CHECK(!json_get(root, STR("a"), &value));
	CHECK(!json_get_path(root, STR("b.c"), &value));
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
		if (source.rules) check_private(&event);
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

static const struct tracking_plan *plan;
static const struct privacy_rules *rules;

static void make_definitions(struct ingest *ingest)
{
	static struct arena arena;
	static struct str dropped[] = {{"properties.a", 12}, {"properties.b[].c", 16}, {"traits.a", 8}};
	static struct str replaced[] = {{"userId", 6}, {"traits.email", 12}, {"properties.d", 12}};
	const struct conf_privacy privacy = {.drop = dropped,
					     .drop_count = COUNT_OF(dropped),
					     .pseudonymize = replaced,
					     .pseudonymize_count = COUNT_OF(replaced),
					     .truncate_ip = TRUNCATE_TRUE};
	struct node *node;
	struct str error;
	struct complaints complaints;
	struct reading reading = {.arena = &arena, .complaints = &complaints};
	arena_init(&arena, 4096, 0);
	complaints_init(&complaints, "fuzz");
	CHECK(privacy_compile(&arena, &privacy, NULL, &rules) == OK);
	CHECK(
	    tree_parse(
		&arena,
		STR("{unplanned: flag, events: [{event: A, schema: {required: [a], properties: {a: {type: string}, b: "
		    "{items: {}}}, additionalProperties: false}}, {type: identify, mode: reject, schema: {properties: "
		    "{email: "
		    "{format: email}}}}]}"),
		"fuzz", &node, &error) == OK);
	tracking_plan_load(&reading, node, &plan);
	CHECK(plan);
	ingest->key.is_loaded = true;
}

static struct ingest_worker *worker_of_process(void)
{
	static struct ingest *ingest;
	static struct ingest_worker *worker;
	if (worker) return worker;
	CHECK(ingest_new(NULL, &config, &ingest) == OK);
	make_definitions(ingest);
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
	struct ingest_worker *worker = worker_of_process();
	source.rules = data[0] & 0x20 ? rules : NULL;
	config.tracking_plan = data[0] & 0x40 ? plan : NULL;
	answers = 0;
	if (ingest_submit(worker, &request, on_done, NULL)) settle();
	CHECK(answers == 1);
	return 0;
}
