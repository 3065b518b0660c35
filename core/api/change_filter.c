#include "api/change_filter.h"

#define PICKED_MAX (4u << 20)

/* Cuts the next item off a comma list, without white space around it. */
static bool next_item(struct str *list, struct str *item)
{
	while (list->len) {
		const char *comma = memchr(list->ptr, ',', list->len);
		size_t len = comma ? (size_t)(comma - list->ptr) : list->len;
		size_t skip = comma ? len + 1 : len;
		*item = str_trim(str_of(list->ptr, len));
		*list = str_of(list->ptr + skip, list->len - skip);
		if (item->len) return true;
	}
	return false;
}

static int parse_names(struct name_list *out, struct str list, struct arena *arena)
{
	struct str item;
	if (!list.len) return OK;
	out->names = arena_array(arena, struct str, CHANGE_FILTER_NAMES_MAX);
	if (!out->names) return ERR_NOMEM;
	while (next_item(&list, &item)) {
		if (out->count == CHANGE_FILTER_NAMES_MAX) return ERR_TOO_LARGE;
		int rc = arena_str(arena, item, &out->names[out->count++]);
		if (rc != OK) return rc;
	}
	return OK;
}

int change_filter_parse(struct change_filter *filter, struct str kinds, struct str traits, struct str features,
			struct str segments, struct arena *arena, struct str *word)
{
	*filter = (struct change_filter){0};
	while (next_item(&kinds, word)) {
		enum change_kind kind;
		if (!change_kind_from_name(*word, &kind)) return ERR_INVALID;
		filter->kinds |= 1u << kind;
	}
	int rc = parse_names(&filter->traits, traits, arena);
	if (rc == OK) rc = parse_names(&filter->features, features, arena);
	return rc == OK ? parse_names(&filter->segments, segments, arena) : rc;
}

static bool has_name(const struct name_list *list, struct str name)
{
	for (size_t i = 0; i < list->count; i++)
		if (str_eq(list->names[i], name)) return true;
	return false;
}

static int write_picked(struct json_out *out, struct json members, const struct name_list *list, size_t *count)
{
	struct json value;
	struct json_iter it;
	struct str name;
	for (json_iter_start(members, &it); json_next_member(&it, &name, &value);) {
		if (!has_name(list, name)) continue;
		jo_key(out, name);
		jo_raw(out, STR_NONE); /* no comma is due after a key */
		if (out->status == OK) out->status = json_write(out->buf, value);
		++*count;
	}
	return out->status;
}

/* {"traits":{name: …}} with the names that were asked for; empty: none of them is there. */
static int pick_members(struct json root, struct str key, const struct name_list *list, struct arena *arena,
			struct str *picked)
{
	struct json members;
	struct json_out out;
	struct buf buf;
	size_t count = 0;
	if (!list->count || !json_get(root, key, &members)) return OK;
	buf_init(&buf, PICKED_MAX);
	json_out_init(&out, &buf);
	jo_object(&out);
	jo_key(&out, key);
	jo_object(&out);
	(void)write_picked(&out, members, list, &count);
	jo_end_object(&out);
	jo_end_object(&out);
	int rc = out.status;
	if (rc == OK && count) rc = arena_str(arena, buf_str(&buf), picked);
	buf_fini(&buf);
	return rc;
}

/* *picked stays empty when nothing was asked for. */
static int pick(const struct change_filter *filter, const struct change *change, struct json root, struct arena *arena,
		struct str *picked)
{
	struct json segment;
	struct str name;
	switch (change->kind) {
	case CHANGE_TRAIT: return pick_members(root, STR("traits"), &filter->traits, arena, picked);
	case CHANGE_FEATURE: return pick_members(root, STR("features"), &filter->features, arena, picked);
	case CHANGE_SEGMENT:
		if (!json_get(root, STR("segment"), &segment) || !json_str(segment, &name)) return OK;
		if (has_name(&filter->segments, name)) *picked = change->body;
		return OK;
	default: return OK;
	}
}

int change_filter_look(const struct change_filter *filter, const struct change *change, struct json_reader *json,
		       struct buf *text, struct arena *arena, bool *passes, struct str *body)
{
	struct json root;
	const char *why;
	*body = change->body;
	*passes = !filter->kinds || (filter->kinds & 1u << change->kind);
	if (!*passes || (!filter->traits.count && !filter->features.count && !filter->segments.count)) return OK;
	/* The parser reads past the end: the body needs slack behind it. */
	buf_clear(text);
	*passes = false;
	*body = STR_NONE;
	int rc = buf_append_str(text, change->body);
	if (rc != OK) return rc;
	rc = json_parse(json, buf_str(text), &root, &why);
	if (rc == OK) rc = pick(filter, change, root, arena, body);
	*passes = rc == OK && body->len > 0;
	return rc == ERR_INVALID ? OK : rc;
}
