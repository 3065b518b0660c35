#include "ingest/message.h"

#include "ingest/members.h"
#include "ingest/validate.h"

enum field {
	FIELD_TYPE,
	FIELD_EVENT,
	FIELD_NAME,
	FIELD_CATEGORY,
	FIELD_USER_ID,
	FIELD_ANONYMOUS_ID,
	FIELD_PREVIOUS_ID,
	FIELD_GROUP_ID,
	FIELD_MESSAGE_ID,
	FIELD_TIMESTAMP,
	FIELD_ORIGINAL_TIMESTAMP,
	FIELD_SENT_AT,
	FIELD_PROPERTIES,
	FIELD_TRAITS,
	FIELD_CONTEXT,
	FIELD_COUNT,
	FIELD_CREDENTIAL, /* of the request, not of the event: dropped */
	FIELD_VOLATILE,   /* kept, but another one on each retry */
	FIELD_EXTRA
};

struct known {
	struct str key;
	enum field field;
};

#define KNOWN(name, id) \
	{ \
		{name, sizeof(name) - 1}, FIELD_##id \
	}
static const struct known known4[] = {KNOWN("type", TYPE), KNOWN("name", NAME)};
static const struct known known5[] = {KNOWN("event", EVENT), KNOWN("token", CREDENTIAL)};
static const struct known known6[] = {KNOWN("userId", USER_ID), KNOWN("sentAt", SENT_AT), KNOWN("traits", TRAITS)};
static const struct known known7[] = {KNOWN("context", CONTEXT), KNOWN("groupId", GROUP_ID),
				      KNOWN("api_key", CREDENTIAL)};
static const struct known known8[] = {KNOWN("category", CATEGORY), KNOWN("writeKey", CREDENTIAL)};
static const struct known known9[] = {KNOWN("messageId", MESSAGE_ID), KNOWN("timestamp", TIMESTAMP),
				      KNOWN("_metadata", VOLATILE)};
static const struct known known10[] = {KNOWN("properties", PROPERTIES), KNOWN("previousId", PREVIOUS_ID),
				       KNOWN("receivedAt", VOLATILE)};
static const struct known known11[] = {KNOWN("anonymousId", ANONYMOUS_ID)};
static const struct known known17[] = {KNOWN("originalTimestamp", ORIGINAL_TIMESTAMP)};

#define KNOWN_MAX 18
static const struct {
	const struct known *rows;
	size_t count;
} by_length[KNOWN_MAX] = {
    [4] = {known4, COUNT_OF(known4)},    [5] = {known5, COUNT_OF(known5)},    [6] = {known6, COUNT_OF(known6)},
    [7] = {known7, COUNT_OF(known7)},    [8] = {known8, COUNT_OF(known8)},    [9] = {known9, COUNT_OF(known9)},
    [10] = {known10, COUNT_OF(known10)}, [11] = {known11, COUNT_OF(known11)}, [17] = {known17, COUNT_OF(known17)},
};

static enum field field_of(struct str key)
{
	if (key.len >= KNOWN_MAX) return FIELD_EXTRA;
	for (size_t i = 0; i < by_length[key.len].count; i++)
		if (memcmp(by_length[key.len].rows[i].key.ptr, key.ptr, key.len) == 0)
			return by_length[key.len].rows[i].field;
	return FIELD_EXTRA;
}

/* The members of one message, found in one pass. */
struct message {
	struct json values[FIELD_COUNT];
	uint32_t present; /* a bit for each field */
	struct members extra, refreshed;
};

static bool has(const struct message *m, enum field field)
{
	return m->present >> field & 1;
}

static int gather(struct message *m, struct arena *arena, struct json object)
{
	struct json_iter it;
	struct str key;
	struct json value;
	int rc = OK;
	m->present = 0;
	members_init(&m->extra, arena);
	members_init(&m->refreshed, arena);
	json_iter_start(object, &it);
	while (rc == OK && json_next_member(&it, &key, &value)) {
		enum field field = field_of(key);
		if (field < FIELD_COUNT) {
			m->values[field] = value;
			m->present = (m->present & ~(1u << field)) | (json_type(value) != JSON_NULL ? 1u << field : 0);
		} else if (field == FIELD_EXTRA) {
			rc = members_add(&m->extra, key, value);
		} else if (field == FIELD_VOLATILE) {
			rc = members_add(&m->refreshed, key, value);
		}
	}
	return rc;
}

struct str message_key(struct json message)
{
	static const struct str names[] = {{"writeKey", 8}, {"api_key", 7}, {"token", 5}};
	struct json value;
	struct str key;
	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (json_get(message, names[i], &value) && json_str(value, &key) && key.len) return key;
	return STR_NONE;
}

/* ── scalars ─────────────────────────────────────────────────────────────── */

static int read_text(const struct message *m, enum field field, struct str pointer, struct draft *draft,
		     struct str *out)
{
	if (!has(m, field) || json_str(m->values[field], out)) return OK;
	return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, pointer, STR("must be a string"));
}

/* A number's text as the canonical JSON has it. */
static bool number_text(struct ingest_worker *worker, struct json value, struct str *out)
{
	size_t at = worker->text.len;
	if (json_write_canonical(&worker->text, value) != OK) return false;
	struct str text = str_of(buf_ptr(&worker->text) + at, worker->text.len - at);
	bool copied = arena_str(&worker->scratch, text, out) == OK;
	worker->text.len = at;
	return copied;
}

struct id_field {
	enum field field;
	struct str pointer;
	enum problem problem; /* when it is neither text nor number */
};

static int read_id(struct ingest_worker *worker, const struct message *m, const struct id_field *id,
		   struct draft *draft, struct str *out)
{
	if (!has(m, id->field) || json_str(m->values[id->field], out)) return OK;
	double number;
	if (json_double(m->values[id->field], &number) && number_text(worker, m->values[id->field], out)) return OK;
	return draft_fault(draft, id->problem, id->pointer, STR("must be a string or a number"));
}

static int read_ids(struct ingest_worker *worker, const struct message *m, struct draft *draft)
{
	static const struct id_field fields[] = {
	    {FIELD_USER_ID, {"/userId", 7}, PROBLEM_INVALID_IDENTIFIER},
	    {FIELD_ANONYMOUS_ID, {"/anonymousId", 12}, PROBLEM_INVALID_IDENTIFIER},
	    {FIELD_PREVIOUS_ID, {"/previousId", 11}, PROBLEM_INVALID_IDENTIFIER},
	    {FIELD_GROUP_ID, {"/groupId", 8}, PROBLEM_INVALID_IDENTIFIER},
	    {FIELD_MESSAGE_ID, {"/messageId", 10}, PROBLEM_SCHEMA_VIOLATION},
	};
	struct cdpd_event *event = &draft->event;
	struct str *const outs[] = {&event->user_id, &event->anonymous_id, &event->previous_id, &event->group_id,
				    &event->message_id};
	int rc = OK;
	/* The messageId first: a rejected event is named by it. */
	for (size_t i = COUNT_OF(fields); i-- > 0 && rc == OK;) rc = read_id(worker, m, &fields[i], draft, outs[i]);
	return rc;
}

static int read_type(struct message *m, enum event_type route_type, struct draft *draft)
{
	struct str name = STR_NONE;
	if (has(m, FIELD_TYPE) && !json_str(m->values[FIELD_TYPE], &name))
		return draft_fault(draft, PROBLEM_UNKNOWN_TYPE, STR("/type"), STR("must be a string"));
	draft->event.type = name.len == 0 ? route_type : 0;
	if (name.len == 0 && route_type == 0 && has(m, FIELD_EVENT)) draft->event.type = EVENT_TRACK;
	if (name.len && !event_type_from_name(name, &draft->event.type))
		return draft_fault(draft, PROBLEM_UNKNOWN_TYPE, STR("/type"), STR_NONE);
	return OK;
}

/* ── times ───────────────────────────────────────────────────────────────── */

static int time_of_number(double ms, int64_t *us)
{
	if (!(ms >= 0 && ms * 1000 < (double)TIME_END_US)) return ERR_INVALID;
	*us = (int64_t)(ms * 1000);
	return OK;
}

int message_time(struct json value, int64_t *us, int16_t *offset_min)
{
	struct str text;
	double number;
	*offset_min = INT16_MIN;
	if (json_type(value) == JSON_NULL) return ERR_NOT_FOUND;
	if (json_double(value, &number)) return time_of_number(number, us);
	if (!json_str(value, &text)) return ERR_INVALID;
	if (text.len == 0) return ERR_NOT_FOUND;
	if (clock_parse(text, us, offset_min) != OK) return ERR_INVALID;
	return time_is_plausible(*us) ? OK : ERR_INVALID;
}

/* `timestamp` is the time of the event; RudderStack sends it only when the caller gave one, and originalTimestamp always. */
static int read_event_time(const struct intake *in, struct message *m, struct draft *draft, int16_t *offset_min)
{
	static const struct {
		enum field field;
		struct str pointer;
	} sources[] = {{FIELD_TIMESTAMP, {"/timestamp", 10}}, {FIELD_ORIGINAL_TIMESTAMP, {"/originalTimestamp", 18}}};
	for (size_t i = 0; i < COUNT_OF(sources); i++) {
		if (!has(m, sources[i].field)) continue;
		int rc = message_time(m->values[sources[i].field], &draft->event.client_time_us, offset_min);
		if (rc == ERR_NOT_FOUND) continue;
		if (rc != OK) return draft_fault(draft, PROBLEM_BAD_TIMESTAMP, sources[i].pointer, STR_NONE);
		return OK;
	}
	*offset_min = in->envelope.offset_min;
	draft->event.client_time_us = in->envelope.timestamp_us;
	if (!in->envelope.has_timestamp) draft->event.flags |= EVENT_TIME_MISSING;
	return OK;
}

/* sentAt only helps to correct clocks: one that cannot be read is no reason to lose the event. */
static void read_sent_at(const struct intake *in, struct message *m, struct draft *draft)
{
	int16_t offset;
	draft->event.sent_at_us = in->envelope.sent_at_us;
	if (draft->event.sent_at_us || !has(m, FIELD_SENT_AT)) return;
	if (message_time(m->values[FIELD_SENT_AT], &draft->event.sent_at_us, &offset) != OK)
		draft->event.sent_at_us = 0;
}

/* "+00:00" is how servers print UTC, wherever they stand: like Z it tells nothing of the person's place. */
static int16_t utc_offset(int16_t of_text, const struct conf_source *source)
{
	return of_text != INT16_MIN && of_text != 0 ? of_text : source_utc_offset(source);
}

static int read_times(const struct intake *in, struct message *m, struct draft *draft)
{
	int16_t offset_min = INT16_MIN;
	int rc = read_event_time(in, m, draft, &offset_min);
	read_sent_at(in, m, draft);
	draft->event.utc_offset_min = utc_offset(offset_min, in->caller.source);
	return rc;
}

/* ── parts ───────────────────────────────────────────────────────────────── */

static int part_fault(struct draft *draft, struct str pointer)
{
	return draft_fault(draft, PROBLEM_TOO_LARGE, pointer, STR("the event is larger than limits.event_bytes"));
}

int message_write_part(struct intake *in, struct draft *draft, struct json value, struct str pointer, struct span *out)
{
	struct buf *text = &in->worker->text;
	if (json_type(value) != JSON_OBJECT)
		return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, pointer, STR("must be an object"));
	out->at = text->len;
	if (json_write_canonical(text, value) != OK) return part_fault(draft, pointer);
	out->len = text->len - out->at;
	draft->size += out->len;
	return OK;
}

/* `upper` over `lower`, both objects. */
static int write_merged(struct intake *in, struct draft *draft, struct json lower, struct json upper,
			struct str pointer, struct span *out)
{
	struct buf *text = &in->worker->text;
	struct members members;
	members_init(&members, &in->worker->scratch);
	int rc = members_add_all(&members, lower);
	if (rc == OK) rc = members_add_all(&members, upper);
	if (rc != OK) return part_fault(draft, pointer);
	members_sort(&members);
	out->at = text->len;
	rc = buf_putc(text, '{');
	if (rc == OK) rc = members_write(text, &members, false);
	if (rc == OK) rc = buf_putc(text, '}');
	if (rc != OK) return part_fault(draft, pointer);
	out->len = text->len - out->at;
	draft->size += out->len;
	return OK;
}

static bool is_object_member(struct json object, struct str key, struct json *out)
{
	return json_get(object, key, out) && json_type(*out) == JSON_OBJECT;
}

/* identify: what is known of the person stands in traits, or (RudderStack's browsers) in context.traits, or in both. */
static int read_traits(struct intake *in, struct message *m, struct draft *draft)
{
	struct json inner, traits = m->values[FIELD_TRAITS];
	bool given = has(m, FIELD_TRAITS);
	if (given && json_type(traits) != JSON_OBJECT)
		return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR("/traits"), STR("must be an object"));
	bool has_inner = draft->event.type == EVENT_IDENTIFY && has(m, FIELD_CONTEXT) &&
			 is_object_member(m->values[FIELD_CONTEXT], STR("traits"), &inner);
	if (!has_inner) {
		draft->has_traits_value = given;
		draft->traits_value = traits;
		return given ? message_write_part(in, draft, traits, STR("/traits"), &draft->traits) : OK;
	}

	size_t size = draft->size;
	draft->root = NULL;
	int rc = given ? write_merged(in, draft, inner, traits, STR("/traits"), &draft->traits)
		       : message_write_part(in, draft, inner, STR("/context/traits"), &draft->traits);
	if (!given) draft->size = size; /* counted with the context */
	return rc;
}

/* Returns context.library.name, or empty. */
struct str message_look_at_context(struct draft *draft, struct json context)
{
	struct json_iter it;
	struct json value, name;
	struct str key, text, library = STR_NONE;
	bool is_active;
	json_iter_start(context, &it);
	while (json_next_member(&it, &key, &value)) {
		if (key.len == 2 && memcmp(key.ptr, "ip", 2) == 0) {
			draft->has_ip = json_str(value, &text) && text.len;
		} else if (str_eq(key, STR("userAgent"))) {
			draft->has_user_agent = json_str(value, &text) && text.len;
		} else if (str_eq(key, STR("active"))) {
			if (json_bool(value, &is_active) && !is_active) draft->event.flags |= EVENT_INACTIVE;
		} else if (str_eq(key, STR("library"))) {
			if (json_get(value, STR("name"), &name)) (void)json_str(name, &library);
		}
	}
	return library;
}

static int read_context(struct intake *in, struct message *m, struct draft *draft)
{
	struct str library = STR_NONE;
	int rc = OK;
	bool given = has(m, FIELD_CONTEXT);
	struct json context = m->values[FIELD_CONTEXT];
	if (given && json_type(context) != JSON_OBJECT)
		return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR("/context"), STR("must be an object"));
	if (in->envelope.has_context) {
		library = message_look_at_context(draft, in->envelope.context);
		draft->root = NULL;
	}
	if (given) {
		struct str own = message_look_at_context(draft, context);
		if (own.len) library = own;
	}
	if (given && in->envelope.has_context)
		rc = write_merged(in, draft, in->envelope.context, context, STR("/context"), &draft->context);
	else if (given)
		rc = message_write_part(in, draft, context, STR("/context"), &draft->context);
	else if (in->envelope.has_context)
		rc = message_write_part(in, draft, in->envelope.context, STR("/context"), &draft->context);
	if (clock_skew_is_stale_sender(library)) draft->is_sent_stale = true;
	return rc;
}

/* Batch-level integrations lie under the message's own. */
static int add_integrations(struct intake *in, struct message *m)
{
	const struct str key = STR("integrations");
	struct json lower = in->envelope.integrations;
	struct member *own = members_find(&m->extra, key);
	if (!in->envelope.has_integrations) return OK;
	if (!own) return members_add(&m->extra, key, lower);
	if (json_type(own->value) != JSON_OBJECT) return OK;
	struct members *merged = arena_new(&in->worker->scratch, struct members);
	if (!merged) return ERR_NOMEM;
	members_init(merged, &in->worker->scratch);
	int rc = members_add_all(merged, lower);
	if (rc == OK) rc = members_add_all(merged, own->value);
	members_sort(merged);
	own->object = merged;
	return rc;
}

static int gather_extra(struct intake *in, struct message *m, const struct draft *draft)
{
	int rc = OK;
	if (draft->event.type != EVENT_TRACK && has(m, FIELD_EVENT))
		rc = members_add(&m->extra, STR("event"), m->values[FIELD_EVENT]);
	if (rc == OK && has(m, FIELD_TIMESTAMP) && has(m, FIELD_ORIGINAL_TIMESTAMP))
		rc = members_add(&m->extra, STR("originalTimestamp"), m->values[FIELD_ORIGINAL_TIMESTAMP]);
	if (rc == OK) rc = add_integrations(in, m);
	members_sort(&m->extra);
	members_sort(&m->refreshed);
	return rc;
}

/* What SDKs refresh on a retry stands last, so that the rest can be hashed as it lies. */
static int read_extra(struct intake *in, struct message *m, struct draft *draft)
{
	struct buf *text = &in->worker->text;
	int rc = gather_extra(in, m, draft);
	if (rc != OK) return part_fault(draft, STR_NONE);
	if (m->extra.count + m->refreshed.count == 0) return OK;
	draft->extra.at = text->len;
	rc = buf_putc(text, '{');
	if (rc == OK) rc = members_write(text, &m->extra, false);
	if (m->extra.count) draft->extra_hashed_len = text->len - draft->extra.at;
	if (rc == OK) rc = members_write(text, &m->refreshed, m->extra.count > 0);
	if (rc == OK) rc = buf_putc(text, '}');
	if (rc != OK) return part_fault(draft, STR_NONE);
	draft->extra.len = text->len - draft->extra.at;
	draft->size += draft->extra.len;
	return OK;
}

/* ── the whole ───────────────────────────────────────────────────────────── */

static int read_texts(const struct message *m, struct draft *draft)
{
	int rc = OK;
	if (draft->event.type == EVENT_TRACK) rc = read_text(m, FIELD_EVENT, STR("/event"), draft, &draft->event.event);
	if (rc == OK) rc = read_text(m, FIELD_NAME, STR("/name"), draft, &draft->event.name);
	if (rc == OK) rc = read_text(m, FIELD_CATEGORY, STR("/category"), draft, &draft->event.category);
	draft->size +=
	    draft->event.event.len + draft->event.name.len + draft->event.category.len + draft->event.message_id.len;
	return rc;
}

int message_read(struct intake *in, struct json object, enum event_type route_type, struct draft *draft)
{
	struct message m;
	if (json_type(object) != JSON_OBJECT)
		return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR_NONE, STR("must be an object"));
	int rc = validate_key_counts(draft, object, &in->worker->scratch);
	if (rc != OK) return rc;
	if (gather(&m, &in->worker->scratch, object) != OK) return part_fault(draft, STR_NONE);
	rc = read_ids(in->worker, &m, draft);
	if (rc == OK) rc = read_type(&m, route_type, draft);
	if (rc == OK) rc = read_texts(&m, draft);
	if (rc == OK) rc = read_times(in, &m, draft);
	draft->has_properties_value = has(&m, FIELD_PROPERTIES);
	draft->properties_value = m.values[FIELD_PROPERTIES];
	if (rc == OK && draft->has_properties_value)
		rc = message_write_part(in, draft, m.values[FIELD_PROPERTIES], STR("/properties"), &draft->properties);
	if (rc == OK) rc = read_traits(in, &m, draft);
	if (rc == OK) rc = read_context(in, &m, draft);
	if (rc == OK) rc = read_extra(in, &m, draft);
	if (rc == OK) message_resolve(in->worker, draft);
	return rc;
}

static struct str span_text(const struct ingest_worker *worker, struct span span)
{
	return span.len ? str_of(buf_ptr(&worker->text) + span.at, span.len) : STR_NONE;
}

void message_resolve(const struct ingest_worker *worker, struct draft *draft)
{
	draft->event.properties = span_text(worker, draft->properties);
	draft->event.traits = span_text(worker, draft->traits);
	draft->event.context = span_text(worker, draft->context);
	draft->event.extra = span_text(worker, draft->extra);
}
