#include "deliver/selection.h"

#include "base/log.h"
#include "config/tree_set.h"
#include "deliver/record_json.h"
#include "deliver/transform.h"
#include "plugin/instance.h"

/* ── making ──────────────────────────────────────────────────────────────── */

static int copy_texts(struct arena *arena, const struct str *texts, size_t count, struct str **out)
{
	int rc = OK;
	*out = arena_array(arena, struct str, count + 1);
	if (!*out) return ERR_NOMEM;
	for (size_t i = 0; i < count && rc == OK; i++) rc = arena_str(arena, texts[i], &(*out)[i]);
	return rc;
}

static int copy_node(struct arena *arena, const struct node *node, const struct node **out)
{
	struct node *copy = NULL;
	int rc = node ? tree_copy(arena, node, &copy) : OK;
	*out = copy;
	return rc;
}

static int compile(struct arena *arena, struct selection *s)
{
	struct complaints complaints;
	unsigned where_needs = 0, mapping_needs = 0;
	complaints_init(&complaints, "destinations");
	if (s->where_text)
		s->where = mapping_compile_conditions(arena, &complaints, s->where_text, "where", &where_needs);
	if (s->mapping_text)
		s->mapping = mapping_compile(arena, &complaints, s->mapping_text, "mapping", &mapping_needs);
	s->needs_profile = ((where_needs | mapping_needs) & MAPPING_NEEDS_PROFILE) != 0;
	int rc = complaints.status ? complaints.status : complaints.count ? ERR_INVALID : OK;
	if (rc == ERR_INVALID) log_error(LOG_DELIVER, "%.*s", STR_ARG(buf_str(&complaints.text)));
	complaints_fini(&complaints);
	return rc;
}

/* ── changes ─────────────────────────────────────────────────────────────── */

static struct name_list *names_of(struct change_filter *filter, enum change_kind kind)
{
	return kind == CHANGE_TRAIT ? &filter->traits : kind == CHANGE_FEATURE ? &filter->features : &filter->segments;
}

/* "trait" besides "trait:plan" asks for all of them. */
static void forget_names(struct change_filter *filter, unsigned whole)
{
	for (int kind = 1; kind < CHANGE_KIND_COUNT; kind++)
		if (whole & 1u << kind) names_of(filter, (enum change_kind)kind)->count = 0;
}

static int make_filter(struct arena *arena, const struct conf_instance *conf, struct change_filter *filter)
{
	unsigned whole = 0;
	int rc = OK;
	*filter = (struct change_filter){0};
	for (size_t i = 0; i < conf->change_count && rc == OK; i++) {
		struct str word, name;
		enum change_kind kind;
		bool has_name = conf_change_split(conf->changes[i], &word, &name);
		if (!change_kind_from_name(word, &kind)) return ERR_INVALID;
		filter->kinds |= 1u << kind;
		if (!has_name && (kind == CHANGE_TRAIT || kind == CHANGE_FEATURE || kind == CHANGE_SEGMENT))
			whole |= 1u << kind;
		if (!has_name) continue;
		struct name_list *list = names_of(filter, kind);
		if (!list->names) list->names = arena_array(arena, struct str, conf->change_count);
		rc = list->names ? arena_str(arena, name, &list->names[list->count++]) : ERR_NOMEM;
	}
	forget_names(filter, whole);
	change_filter_settle(filter);
	return rc;
}

int selection_make(struct arena *arena, const struct conf_instance *conf, struct selection *out)
{
	*out = (struct selection){.event_count = conf->async.event_count,
				  .segment_count = conf->segment_count,
				  .records = conf->records ? conf->records : CONF_RECORD_EVENTS,
				  .start = conf->start};
	int rc = make_filter(arena, conf, &out->changes);
	if (rc) return rc;
	rc = copy_texts(arena, conf->async.events, conf->async.event_count, &out->events);
	if (rc == OK) rc = copy_texts(arena, conf->segments, conf->segment_count, &out->segments);
	if (rc == OK) rc = copy_node(arena, conf->where, &out->where_text);
	if (rc == OK) rc = copy_node(arena, conf->mapping, &out->mapping_text);
	return rc == OK ? compile(arena, out) : rc;
}

static bool is_same_list(const struct str *a, size_t count, const struct str *b, size_t other)
{
	if (count != other) return false;
	for (size_t i = 0; i < count; i++)
		if (!str_eq(a[i], b[i])) return false;
	return true;
}

bool selection_is_same(const struct selection *a, const struct selection *b)
{
	return a->records == b->records && change_filter_eq(&a->changes, &b->changes) &&
	       is_same_list(a->events, a->event_count, b->events, b->event_count) &&
	       is_same_list(a->segments, a->segment_count, b->segments, b->segment_count) &&
	       node_equal(a->where_text, b->where_text) && node_equal(a->mapping_text, b->mapping_text);
}

/* ── choosing ────────────────────────────────────────────────────────────── */

static bool is_in(struct str text, const struct str *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(text, list[i])) return true;
	return false;
}

bool selection_takes(const struct selection *s, struct str type, struct str name)
{
	if (s->event_count == 0) return true;
	if (name.len && is_in(name, s->events, s->event_count)) return true;
	return is_in(type, s->events, s->event_count);
}

bool selection_may_take(const struct selection *s, const struct stream_record *record)
{
	if (record->kind == CDPD_RECORD_PROFILE) return s->records & CONF_RECORD_PROFILES;
	if (record->is_notice) return selection_takes_notice(s, record->stream, record->notice);
	if (record->kind == CDPD_RECORD_CHANGE) return change_filter_wants(&s->changes, record->change->kind);
	return selection_takes(s, record->type, record->name);
}

bool selection_takes_notice(const struct selection *s, enum stream_id stream, enum stream_notice notice)
{
	enum stream_id by = s->records & CONF_RECORD_PROFILES  ? STREAM_OF_PROFILES
			    : s->records & CONF_RECORD_CHANGES ? STREAM_OF_CHANGES
							       : STREAM_OF_NOTICES;
	if (notice == NOTICE_ERASED && (s->records & CONF_RECORD_EVENTS)) by = STREAM_OF_EVENTS;
	/* Who takes everybody anew may have missed it. */
	return notice == NOTICE_NONE || stream == by || stream == STREAM_OF_SNAPSHOT;
}

bool selection_takes_person(const struct selection *s, const struct str *segments, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_in(segments[i], s->segments, s->segment_count)) return true;
	return s->segment_count == 0;
}

/* What templates see: the record with the person as `profile`; a change as `change`, for it has members of these names of its own. */
static int join(uint32_t kind, struct str record, struct str person, struct buf *out)
{
	int rc = OK;
	if (kind == CDPD_RECORD_CHANGE) rc = buf_append_str(out, STR("{\"type\":\"change\",\"change\":"));
	if (rc == OK && !person.len && kind != CDPD_RECORD_CHANGE) return buf_append_str(out, record);
	if (rc == OK)
		rc = buf_append_str(out, str_of(record.ptr, kind == CDPD_RECORD_CHANGE ? record.len : record.len - 1));
	if (rc == OK && person.len) rc = buf_append_str(out, STR(",\"profile\":"));
	if (rc == OK && person.len) rc = buf_append_str(out, person);
	return rc == OK ? buf_putc(out, '}') : rc;
}

static int run_mapping(const struct selection *s, struct json root, struct arena *arena, struct selection_result *out)
{
	struct transform_result result = {.json = STR_NONE, .why = STR_NONE};
	int rc = transform_run(s->mapping, root, arena, &result);
	out->json = result.json;
	if (rc == ERR_NOT_FOUND) {
		out->verdict = SELECTION_FILTERED;
		out->why = STR("nothing is left of the mapping");
	} else if (rc == ERR_INVALID || rc == ERR_TOO_LARGE) {
		out->verdict = SELECTION_UNMAPPED;
		out->why = rc == ERR_INVALID ? result.why : STR("the mapping makes more than 1 MB of it");
	}
	return rc == ERR_NOMEM ? rc : OK;
}

/* Exporters let go of people at the word of a notice. What a mapping made of what a client sent must not read like one. */
static bool poses_as_notice(struct json root)
{
	struct json value;
	struct json_iter it;
	struct str name, text;
	bool has_type = false, has_ids = false;
	if (json_type(root) != JSON_OBJECT) return false;
	for (json_iter_start(root, &it); json_next_member(&it, &name, &value);) {
		has_ids |= str_eq(name, STR("profileIds"));
		if (!str_eq(name, STR("type")) || !json_str(value, &text)) continue;
		has_type |= str_eq(text, STR("erased")) || str_eq(text, STR("withdrawn"));
	}
	return has_type && has_ids;
}

static int check_result(struct json_reader *reader, struct selection_result *out)
{
	struct json root;
	const char *why;
	struct buf buf;
	buf_init(&buf, (size_t)16 << 20); /* the parser reads past the end */
	int rc = buf_append_str(&buf, out->json);
	if (rc == OK) rc = json_parse(reader, buf_str(&buf), &root, &why);
	if (rc == OK && poses_as_notice(root)) {
		out->verdict = SELECTION_UNMAPPED;
		out->why = STR("the mapping makes of it what reads like a notice");
	}
	buf_fini(&buf);
	return rc == ERR_INVALID ? OK : rc;
}

static int run(const struct selection *s, struct json root, struct str record, struct arena *arena,
	       struct selection_result *out)
{
	bool holds = true;
	int rc = s->where ? transform_holds(s->where, root, arena, &holds) : OK;
	if (rc == ERR_TOO_LARGE) {
		rc = OK;
		holds = false;
	}
	if (rc) return rc;
	*out = (struct selection_result){.verdict = SELECTION_TAKEN, .json = record, .why = STR_NONE};
	if (!holds) {
		out->verdict = SELECTION_FILTERED;
		out->why = STR("a condition of `where` does not hold");
		return OK;
	}
	return s->mapping ? run_mapping(s, root, arena, out) : OK;
}

static int write_shown(const struct change *change, struct str body, uint64_t epoch, struct arena *arena,
		       struct str *json)
{
	struct buf buf;
	buf_init(&buf, (size_t)8 << 20);
	int rc = record_write_change(&buf, change, body, epoch);
	if (rc == OK) rc = arena_str(arena, buf_str(&buf), json);
	buf_fini(&buf);
	return rc;
}

int selection_show_change(const struct selection *s, struct json_reader *reader, const struct stream_record *record,
			  uint64_t epoch, struct arena *arena, struct str *json, enum selection_verdict *verdict)
{
	struct buf text;
	struct str body;
	bool passes = false;
	buf_init(&text, (size_t)8 << 20);
	struct change_look look = {.change = record->change, .json = reader, .text = &text, .arena = arena};
	int rc = change_filter_look(&s->changes, &look, &passes, &body);
	*verdict = passes ? SELECTION_TAKEN : SELECTION_FILTERED;
	if (rc == OK && passes && body.ptr != record->change->body.ptr)
		rc = write_shown(record->change, body, epoch, arena, json);
	buf_fini(&text);
	return rc;
}

int selection_run(const struct selection *s, struct json_reader *reader, uint32_t kind, struct str record,
		  struct str person, struct arena *arena, struct selection_result *out)
{
	struct json root;
	const char *why = "";
	struct buf buf;
	*out = (struct selection_result){.verdict = SELECTION_TAKEN, .json = record, .why = STR_NONE};
	if (!s->where && !s->mapping) return OK;
	buf_init(&buf, (size_t)16 << 20);
	int rc = join(kind, record, person, &buf);
	if (rc == OK) rc = json_parse(reader, buf_str(&buf), &root, &why);
	if (rc == OK) rc = run(s, root, record, arena, out);
	if (rc == OK && s->mapping && out->verdict == SELECTION_TAKEN && str_starts(str_trim(out->json), STR("{")))
		rc = check_result(reader, out);
	if (rc == ERR_INVALID || rc == ERR_TOO_LARGE) { /* a number that no JSON reader takes: it can never be mapped */
		out->verdict = SELECTION_UNMAPPED;
		out->why = *why ? str_from(why) : STR("it is larger than what can be mapped");
		rc = OK;
	}
	buf_fini(&buf);
	return rc;
}
