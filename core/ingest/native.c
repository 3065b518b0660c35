/* cdpd's own JSON: one object, an array of them, or one on each line. The members are those of a Segment message. */
#include "ingest/message.h"

/* ── an array ────────────────────────────────────────────────────────────── */

static int count_piece(void *ctx, struct str element)
{
	(void)element;
	++*(size_t *)ctx;
	return 0;
}

static int admit_piece(void *ctx, struct str element)
{
	return admit_text(ctx, element, 0);
}

struct key_search {
	struct intake *in;
	struct str key;
};

/* Ends at the first element that can be read: there the key stands, or nowhere. */
static int look_for_key(void *ctx, struct str element)
{
	struct key_search *search = ctx;
	struct json message;
	const char *why;
	if (json_parse(search->in->worker->envelope_reader, element, &message, &why) != OK) return 0;
	search->key = message_key(message);
	return 1;
}

static int read_pieces(struct intake *in, const char *why)
{
	size_t count = 0;
	struct key_search search = {in, STR_NONE};
	int rc = json_split_array(in->request->body, STR_NONE, count_piece, &count);
	if (rc != OK) return intake_refuse(in, intake_problem_of_json(why), STR_NONE, str_from(why));
	if (!in->caller.source) rc = json_split_array(in->request->body, STR_NONE, look_for_key, &search);
	rc = rc < 0 ? rc : intake_identify(in, search.key);
	if (rc == OK) rc = intake_expect(in, count, STR_NONE);
	return rc == OK ? json_split_array(in->request->body, STR_NONE, admit_piece, in) : rc;
}

static int read_array(struct intake *in, struct json array)
{
	struct json_iter it;
	struct json message;
	struct str key = STR_NONE;
	json_iter_start(array, &it);
	if (json_next_element(&it, &message)) key = message_key(message);
	int rc = intake_identify(in, key);
	if (rc == OK) rc = intake_expect(in, json_count(array), STR_NONE);
	json_iter_start(array, &it);
	while (rc == OK && json_next_element(&it, &message)) rc = admit_json(in, message, 0);
	return rc;
}

/* ── lines ───────────────────────────────────────────────────────────────── */

/* The next line that is not blank, trimmed. */
static bool next_line(struct str *rest, struct str *line)
{
	while (rest->len) {
		const char *end = memchr(rest->ptr, '\n', rest->len);
		size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
		size_t taken = end ? len + 1 : len;
		*line = str_trim(str_of(rest->ptr, len));
		*rest = str_of(rest->ptr + taken, rest->len - taken);
		if (line->len) return true;
	}
	return false;
}

/* Objects on lines of their own, rather than one broken object spread over several? */
static bool looks_like_lines(struct str body)
{
	struct str line;
	if (!next_line(&body, &line)) return false;
	bool is_closed = line.ptr[line.len - 1] == '}';
	bool has_next = next_line(&body, &line);
	return has_next && (is_closed || line.ptr[0] == '{');
}

static struct str key_of_lines(struct intake *in)
{
	struct key_search search = {in, STR_NONE};
	struct str rest = in->request->body, line;
	if (in->caller.source) return STR_NONE;
	while (next_line(&rest, &line))
		if (look_for_key(&search, line)) break;
	return search.key;
}

static int read_lines(struct intake *in)
{
	struct str rest = in->request->body, line;
	size_t count = 0;
	while (next_line(&rest, &line)) count++;
	int rc = intake_identify(in, key_of_lines(in));
	if (rc == OK) rc = intake_expect(in, count, STR_NONE);
	rest = in->request->body;
	while (rc == OK && next_line(&rest, &line)) rc = admit_text(in, line, 0);
	return rc;
}

/* ── the whole ───────────────────────────────────────────────────────────── */

static int read_object(struct intake *in, struct json message)
{
	in->batch->is_single = true;
	int rc = intake_identify(in, message_key(message));
	if (rc == OK) rc = intake_expect(in, 1, STR_NONE);
	return rc == OK ? admit_json(in, message, 0) : rc;
}

int native_read_json(struct intake *in)
{
	struct json root;
	const char *why = "";
	struct str body = str_trim(in->request->body);
	if (body.len == 0) return intake_refuse(in, PROBLEM_INVALID_JSON, STR_NONE, STR("the body is empty"));
	int rc = intake_parse(in, &root, &why);
	if (rc == OK) return json_type(root) == JSON_ARRAY ? read_array(in, root) : read_object(in, root);
	if (rc != ERR_INVALID) return rc;
	if (body.ptr[0] == '[') return read_pieces(in, why);
	if (looks_like_lines(body)) return read_lines(in);
	in->batch->is_single = true;
	return intake_refuse(in, intake_problem_of_json(why), STR_NONE, str_from(why));
}
