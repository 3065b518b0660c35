/* The dialect of Segment's SDKs: one message, or {"batch":[…]} with what holds for all of its messages beside it. */
#include "ingest/message.h"

/* ── one message ─────────────────────────────────────────────────────────── */

int segment_read_one(struct intake *in)
{
	struct json message;
	const char *why = "";
	in->batch->is_single = true;
	int rc = intake_parse(in, &message, &why);
	if (rc == ERR_INVALID) return intake_refuse(in, intake_problem_of_json(why), STR_NONE, str_from(why));
	if (rc == OK) rc = intake_identify(in, message_key(message));
	if (rc == OK) rc = intake_expect(in, 1, STR_NONE);
	return rc == OK ? admit_json(in, message, in->request->route_type) : rc;
}

/* ── a batch ─────────────────────────────────────────────────────────────── */

/* Reads a batch-level part; null is absent. */
static int take_object(struct intake *in, struct json value, struct str pointer, struct json *out, bool *has)
{
	*has = false;
	if (json_type(value) == JSON_NULL) return OK;
	if (json_type(value) != JSON_OBJECT)
		return intake_refuse(in, PROBLEM_SCHEMA_VIOLATION, pointer, STR("must be an object"));
	if (json_count(value) > OBJECT_KEYS_MAX)
		return intake_refuse(in, PROBLEM_TOO_LARGE, pointer, STR("an object has at most 10000 keys"));
	*out = value;
	*has = json_count(value) > 0;
	return OK;
}

/* The sending clock's times serve the messages that have none of their own; one that cannot be read serves none. */
static void take_times(struct intake *in, struct json root)
{
	struct envelope *e = &in->envelope;
	struct json value;
	int16_t offset;
	if (!json_get(root, STR("sentAt"), &value) || message_time(value, &e->sent_at_us, &offset) != OK)
		e->sent_at_us = 0;
	e->has_timestamp =
	    json_get(root, STR("timestamp"), &value) && message_time(value, &e->timestamp_us, &e->offset_min) == OK;
	if (!e->has_timestamp) {
		e->timestamp_us = 0;
		e->offset_min = INT16_MIN;
	}
}

/* In any order: `batch` may stand first or last. */
static int read_envelope(struct intake *in, struct json root, struct json *items)
{
	struct envelope *e = &in->envelope;
	struct json value;
	if (json_type(root) != JSON_OBJECT || !json_get(root, STR("batch"), items))
		return intake_refuse(in, PROBLEM_SCHEMA_VIOLATION, STR("/batch"),
				     STR("an object with an array `batch` is wanted"));
	if (json_type(*items) != JSON_ARRAY)
		return intake_refuse(in, PROBLEM_SCHEMA_VIOLATION, STR("/batch"), STR("must be an array"));
	take_times(in, root);
	int rc = OK;
	if (json_get(root, STR("context"), &value))
		rc = take_object(in, value, STR("/context"), &e->context, &e->has_context);
	if (rc == OK && json_get(root, STR("integrations"), &value))
		rc = take_object(in, value, STR("/integrations"), &e->integrations, &e->has_integrations);
	return rc == OK ? intake_identify(in, message_key(root)) : rc;
}

static int read_whole(struct intake *in, struct json root)
{
	struct json items = {0}, message;
	struct json_iter it;
	int rc = read_envelope(in, root, &items);
	if (rc == OK) rc = intake_expect(in, json_count(items), STR("/batch"));
	if (rc != OK) return rc;
	json_iter_start(items, &it);
	while (rc == OK && json_next_element(&it, &message)) rc = admit_json(in, message, in->request->route_type);
	return rc;
}

/* ── a batch that does not parse whole ───────────────────────────────────── */

struct pieces {
	const char *first, *end; /* from the first element to behind the last */
	size_t count;
};

static int measure_piece(void *ctx, struct str element)
{
	struct pieces *pieces = ctx;
	if (pieces->count++ == 0) pieces->first = element.ptr;
	pieces->end = element.ptr + element.len;
	return 0;
}

static int admit_piece(void *ctx, struct str element)
{
	struct intake *in = ctx;
	return admit_text(in, element, in->request->route_type);
}

/* The batch with its elements left out. */
static int parse_envelope(struct intake *in, const struct pieces *pieces, struct json *root, const char **why)
{
	struct str body = in->request->body;
	size_t before = (size_t)(pieces->first - body.ptr);
	size_t after = body.len - (size_t)(pieces->end - body.ptr);
	char *text = arena_zalloc(&in->worker->envelope, before + after + BUF_SLACK);
	if (!text) return ERR_NOMEM;
	memcpy(text, body.ptr, before);
	memcpy(text + before, pieces->end, after);
	return json_parse(in->worker->envelope_reader, str_of(text, before + after), root, why);
}

/* One bad element does not cost its neighbours. */
static int read_piecewise(struct intake *in, const char *why)
{
	struct pieces pieces = {0};
	struct json root, items;
	int rc = json_split_array(in->request->body, STR("batch"), measure_piece, &pieces);
	if (rc == OK && pieces.count == 0) rc = ERR_INVALID;
	if (rc == OK) rc = parse_envelope(in, &pieces, &root, &why);
	if (rc != OK)
		return intake_refuse(in, rc == ERR_NOMEM ? PROBLEM_TOO_LARGE : intake_problem_of_json(why), STR_NONE,
				     str_from(why));
	rc = read_envelope(in, root, &items);
	if (rc == OK) rc = intake_expect(in, pieces.count, STR("/batch"));
	return rc == OK ? json_split_array(in->request->body, STR("batch"), admit_piece, in) : rc;
}

int segment_read_batch(struct intake *in)
{
	struct json root;
	const char *why = "";
	int rc = intake_parse(in, &root, &why);
	if (rc == ERR_INVALID) return read_piecewise(in, why);
	return rc == OK ? read_whole(in, root) : rc;
}
