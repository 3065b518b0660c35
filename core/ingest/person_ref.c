#include "ingest/person_ref.h"

#include "ingest/message.h"

const struct conf_namespace *person_ref_read(const struct config *config, struct str ref, struct str *value)
{
	*value = STR_NONE;
	const char *colon = memchr(ref.ptr, ':', ref.len);
	if (!colon) return NULL;
	struct str name = str_of(ref.ptr, (size_t)(colon - ref.ptr));
	*value = str_trim(str_of(colon + 1, ref.len - name.len - 1));
	if (value->len == 0 || value->len > EVENT_IDENTIFIER_MAX || memchr(value->ptr, '\0', value->len)) return NULL;
	for (size_t i = 0; i < config->namespace_count; i++)
		if (str_eq(config->namespaces[i].name, name)) return &config->namespaces[i];
	return NULL;
}

int person_ref_write_path(struct buf *text, struct str path, struct str value)
{
	size_t depth = 0;
	int rc = OK;
	for (;; depth++) {
		const char *dot = memchr(path.ptr, '.', path.len);
		size_t len = dot ? (size_t)(dot - path.ptr) : path.len;
		if (depth && rc == OK) rc = buf_putc(text, '{');
		if (rc == OK) rc = json_write_str(text, str_of(path.ptr, len));
		if (rc == OK) rc = buf_putc(text, ':');
		if (!dot || rc != OK) break;
		path = str_of(dot + 1, path.len - len - 1);
	}
	if (rc == OK) rc = json_write_str(text, value);
	while (depth-- > 0 && rc == OK) rc = buf_putc(text, '}');
	return rc;
}

struct str person_ref_field(const struct conf_namespace *namespace_)
{
	for (size_t i = 0; i < namespace_->from_count; i++)
		if (!str_starts(namespace_->from[i], STR("traits."))) return namespace_->from[i];
	return namespace_->from[0];
}

/* ── into a draft ────────────────────────────────────────────────────────── */

static int names_other(struct draft *draft)
{
	return draft_fault(draft, PROBLEM_INVALID_IDENTIFIER, STR_NONE,
			   STR("the event names somebody itself, or a value stands where the person is to be named"));
}

/* The part's text is written again behind all others, with one more member. */
static int add_to_part(struct intake *in, struct draft *draft, struct str path, struct str value, struct span *part)
{
	struct buf *text = &in->worker->text;
	struct str old;
	const char *begin = part->len ? buf_ptr(text) + part->at : "{}";
	if (arena_str(&in->worker->scratch, str_of(begin, part->len ? part->len : 2), &old))
		return draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
	part->at = text->len;
	int rc = buf_append(text, old.ptr, old.len - 1); /* without the closing brace */
	if (rc == OK && old.len > 2) rc = buf_putc(text, ',');
	if (rc == OK) rc = person_ref_write_path(text, path, value);
	if (rc == OK) rc = buf_putc(text, '}');
	part->len = text->len - part->at;
	return rc == OK ? OK : draft_fault(draft, PROBLEM_TOO_LARGE, STR_NONE, STR_NONE);
}

static int put_into_part(struct intake *in, struct draft *draft, struct str field, struct str value,
			 struct json message)
{
	const struct {
		struct str name;
		struct span *span;
	} parts[] = {{STR("traits"), &draft->traits},
		     {STR("context"), &draft->context},
		     {STR("properties"), &draft->properties}};
	for (size_t i = 0; i < COUNT_OF(parts); i++) {
		struct str name = parts[i].name;
		struct json part, taken;
		if (!str_starts(field, name) || field.len <= name.len || field.ptr[name.len] != '.') continue;
		struct str path = str_of(field.ptr + name.len + 1, field.len - name.len - 1);
		const char *dot = memchr(path.ptr, '.', path.len);
		struct str first = str_of(path.ptr, dot ? (size_t)(dot - path.ptr) : path.len);
		if (json_get(message, name, &part) && json_get(part, first, &taken)) return names_other(draft);
		return add_to_part(in, draft, path, value, parts[i].span);
	}
	return draft_fault(draft, PROBLEM_INVALID_IDENTIFIER, STR_NONE, STR_NONE);
}

int person_ref_put(struct intake *in, struct draft *draft, struct str ref, struct json message)
{
	struct cdpd_event *event = &draft->event;
	struct str value;
	const struct conf_namespace *namespace_ = person_ref_read(in->config, ref, &value);
	if (!namespace_) return draft_fault(draft, PROBLEM_INVALID_IDENTIFIER, STR_NONE, STR_NONE);
	struct str field = person_ref_field(namespace_);
	if (event->user_id.len || event->anonymous_id.len) return names_other(draft);
	draft->is_named_by_ref = true;
	draft->root = NULL; /* does not say it */
	draft->has_traits_value = draft->has_properties_value = false;
	if (str_eq(field, STR("userId")))
		event->user_id = value;
	else if (str_eq(field, STR("anonymousId")))
		event->anonymous_id = value;
	else if (str_eq(field, STR("groupId")) && !event->group_id.len)
		event->group_id = value;
	else
		return put_into_part(in, draft, field, value, message);
	return OK;
}
