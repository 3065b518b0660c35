#include "ingest/validate.h"

static bool has_nul(struct str text)
{
	return text.len && memchr(text.ptr, '\0', text.len);
}

static int check_type(struct draft *draft, uint32_t rights)
{
	if (draft->event.type == 0) return draft_fault(draft, PROBLEM_UNKNOWN_TYPE, STR("/type"), STR_NONE);
	if (draft->event.type == EVENT_ALIAS && !(rights & RIGHT_ALIAS))
		return draft_fault(draft, PROBLEM_FORBIDDEN, STR("/type"), STR("this source may not alias"));
	return OK;
}

static int check_identifier(struct draft *draft, struct str value, struct str pointer)
{
	if (value.len > EVENT_IDENTIFIER_MAX)
		return draft_fault(draft, PROBLEM_INVALID_IDENTIFIER, pointer,
				   STR("an identifier has at most 255 bytes"));
	if (has_nul(value))
		return draft_fault(draft, PROBLEM_INVALID_IDENTIFIER, pointer, STR("an identifier holds a NUL"));
	return OK;
}

static int check_identity(struct draft *draft)
{
	const struct cdpd_event *event = &draft->event;
	bool is_named_elsewhere = draft->is_named_by_ref || event->flags & EVENT_CONSENT; /* by any namespace */
	if (event->user_id.len == 0 && event->anonymous_id.len == 0 && !is_named_elsewhere)
		return draft_fault(draft, PROBLEM_MISSING_IDENTITY, STR("/userId"), STR_NONE);
	int rc = check_identifier(draft, event->user_id, STR("/userId"));
	if (rc == OK) rc = check_identifier(draft, event->anonymous_id, STR("/anonymousId"));
	if (rc == OK) rc = check_identifier(draft, event->previous_id, STR("/previousId"));
	if (rc == OK) rc = check_identifier(draft, event->group_id, STR("/groupId"));
	return rc;
}

static int check_message_id(struct draft *draft)
{
	struct str id = draft->event.message_id;
	if (id.len > EVENT_ID_MAX)
		return draft_fault(draft, PROBLEM_TOO_LARGE, STR("/messageId"),
				   STR("a messageId has at most 100 bytes"));
	if (has_nul(id)) return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR("/messageId"), STR("holds a NUL"));
	return OK;
}

static int check_track(struct draft *draft)
{
	struct str name = draft->event.event;
	if (name.len == 0)
		return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR("/event"), STR("track needs an event name"));
	if (name.len > EVENT_NAME_MAX)
		return draft_fault(draft, PROBLEM_TOO_LARGE, STR("/event"), STR("an event name has at most 200 bytes"));
	if (has_nul(name)) return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR("/event"), STR("holds a NUL"));
	return OK;
}

static int check_group(struct draft *draft)
{
	if (draft->event.group_id.len) return OK;
	return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR("/groupId"), STR("group needs a groupId"));
}

/* Some SDKs leave previousId out and mean the visitor they know. */
static int check_alias(struct draft *draft)
{
	if (draft->event.user_id.len == 0)
		return draft_fault(draft, PROBLEM_MISSING_IDENTITY, STR("/userId"), STR("alias needs a userId"));
	if (draft->event.previous_id.len == 0 && draft->event.anonymous_id.len == 0)
		return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR("/previousId"),
				   STR("alias needs a previousId"));
	return OK;
}

static int check_required(struct draft *draft)
{
	switch (draft->event.type) {
	case EVENT_TRACK: return check_track(draft);
	case EVENT_GROUP: return check_group(draft);
	case EVENT_ALIAS: return check_alias(draft);
	default: return OK;
	}
}

int validate_event(struct draft *draft, const struct conf_source *source, const struct conf_limits *limits)
{
	int rc = check_type(draft, source->rights);
	if (rc == OK) rc = check_identity(draft);
	if (rc == OK) rc = check_message_id(draft);
	if (rc == OK) rc = check_required(draft);
	if (rc == OK && draft->size > limits->event_bytes)
		rc =
		    draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR("the event is larger than limits.event_bytes"));
	return rc;
}

/* ── objects with very many keys ─────────────────────────────────────────── */

/* Every member takes at least two places of the document, so a short stretch cannot hold too many: hardly any message is walked. */
static bool may_have_too_many(struct json value)
{
	struct json_iter it;
	json_iter_start(value, &it);
	return it.end > it.at.index && it.end - it.at.index > 2 * OBJECT_KEYS_MAX;
}

/* Goes as deep as the document, which JSON_MAX_DEPTH bounds. */
static bool has_too_many(struct json value)
{
	enum json_type type = json_type(value);
	struct json_iter it;
	struct json child;
	struct str key;
	if ((type != JSON_OBJECT && type != JSON_ARRAY) || !may_have_too_many(value)) return false;
	if (type == JSON_OBJECT && json_count(value) > OBJECT_KEYS_MAX) return true;
	json_iter_start(value, &it);
	while (type == JSON_OBJECT ? json_next_member(&it, &key, &child) : json_next_element(&it, &child))
		if (has_too_many(child)) return true;
	return false;
}

int validate_key_counts(struct draft *draft, struct json message, struct arena *arena)
{
	const struct str why = STR("an object has at most 10000 keys");
	struct json_iter it;
	struct json value;
	struct str key, pointer;
	if (!may_have_too_many(message)) return OK;
	if (json_count(message) > OBJECT_KEYS_MAX) return draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, why);
	json_iter_start(message, &it);
	while (json_next_member(&it, &key, &value)) {
		if (!has_too_many(value)) continue;
		if (key.len > 64 || arena_printf(arena, &pointer, "/%.*s", STR_ARG(key)) != OK) pointer = STR_NONE;
		return draft_fault(draft, PROBLEM_TOO_LARGE, pointer, why);
	}
	return OK;
}
