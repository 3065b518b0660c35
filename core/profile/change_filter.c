#include "profile/change_filter.h"

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
	if (rc == OK) rc = parse_names(&filter->segments, segments, arena);
	change_filter_settle(filter);
	return rc;
}

void change_filter_settle(struct change_filter *filter)
{
	unsigned named = (filter->traits.count ? 1u << CHANGE_TRAIT : 0) |
			 (filter->features.count ? 1u << CHANGE_FEATURE : 0) |
			 (filter->segments.count ? 1u << CHANGE_SEGMENT : 0);
	filter->wants = filter->kinds ? filter->kinds : named ? named : ~0u;
}

static bool is_same_list(const struct name_list *a, const struct name_list *b)
{
	if (a->count != b->count) return false;
	for (size_t i = 0; i < a->count; i++)
		if (!str_eq(a->names[i], b->names[i])) return false;
	return true;
}

bool change_filter_eq(const struct change_filter *a, const struct change_filter *b)
{
	return a->kinds == b->kinds && is_same_list(&a->traits, &b->traits) &&
	       is_same_list(&a->features, &b->features) && is_same_list(&a->segments, &b->segments);
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

static const struct name_list *names_for(const struct change_filter *filter, enum change_kind kind)
{
	switch (kind) {
	case CHANGE_TRAIT: return &filter->traits;
	case CHANGE_FEATURE: return &filter->features;
	case CHANGE_SEGMENT: return &filter->segments;
	default: return NULL;
	}
}

/* *picked stays empty when nothing asked for is there. */
static int pick(const struct name_list *names, const struct change_look *look, struct str *picked)
{
	const struct change *change = look->change;
	struct json segment;
	struct str name;
	switch (change->kind) {
	case CHANGE_TRAIT: return pick_members(look->root, STR("traits"), names, look->arena, picked);
	case CHANGE_FEATURE: return pick_members(look->root, STR("features"), names, look->arena, picked);
	default:
		if (!json_get(look->root, STR("segment"), &segment) || !json_str(segment, &name)) return OK;
		if (has_name(names, name)) *picked = change->body;
		return OK;
	}
}

/* The parser reads past the end: the body needs slack behind it. */
static int parse(struct change_look *look)
{
	const char *why;
	if (look->is_parsed) return OK;
	buf_clear(look->text);
	int rc = buf_append_str(look->text, look->change->body);
	if (rc == OK) rc = json_parse(look->json, buf_str(look->text), &look->root, &why);
	if (rc != OK && rc != ERR_INVALID) return rc;
	look->is_readable = rc == OK;
	look->is_parsed = true;
	return OK;
}

int change_filter_look(const struct change_filter *filter, struct change_look *look, bool *passes, struct str *body)
{
	const struct change *change = look->change;
	const struct name_list *names = names_for(filter, change->kind);
	*body = change->body;
	*passes = change_filter_wants(filter, change->kind);
	if (!*passes || !names || !names->count) return OK;
	*passes = false;
	*body = STR_NONE;
	int rc = parse(look);
	if (rc == OK && look->is_readable) rc = pick(names, look, body);
	*passes = rc == OK && body->len > 0;
	return rc;
}
