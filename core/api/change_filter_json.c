#include "api/change_filter_json.h"

static int refuse(struct str *pointer, struct str *why, struct str at, struct str text)
{
	*pointer = at;
	*why = text;
	return ERR_INVALID;
}

static int read_names(struct json object, struct str key, struct str at, struct arena *arena, struct name_list *out,
		      struct str *pointer, struct str *why)
{
	struct json list, item;
	struct json_iter it;
	if (!json_get(object, key, &list) || json_type(list) == JSON_NULL) return OK;
	if (json_type(list) != JSON_ARRAY) return refuse(pointer, why, at, STR("expected a list of names"));
	size_t count = json_count(list);
	if (count > CHANGE_FILTER_NAMES_MAX) return refuse(pointer, why, at, STR("at most 100 names"));
	if (count == 0) return OK;
	out->names = arena_array(arena, struct str, count);
	if (!out->names) return ERR_NOMEM;
	for (json_iter_start(list, &it); json_next_element(&it, &item);) {
		struct str name;
		if (!json_str(item, &name) || name.len == 0 || name.len > CHANGE_FILTER_NAME_MAX)
			return refuse(pointer, why, at, STR("names of 1 to 255 bytes"));
		int rc = arena_str(arena, name, &out->names[out->count++]);
		if (rc) return rc;
	}
	return OK;
}

static int read_kinds(struct json object, struct change_filter *out, struct str *pointer, struct str *why)
{
	const struct str at = STR("/kinds");
	struct json list, item;
	struct json_iter it;
	if (!json_get(object, STR("kinds"), &list) || json_type(list) == JSON_NULL) return OK;
	if (json_type(list) != JSON_ARRAY) return refuse(pointer, why, at, STR("expected a list of kinds"));
	for (json_iter_start(list, &it); json_next_element(&it, &item);) {
		struct str name;
		enum change_kind kind;
		if (!json_str(item, &name) || !change_kind_from_name(name, &kind))
			return refuse(pointer, why, at,
				      STR("kinds are profile, trait, feature, identifier, merged, split, segment, "
					  "consent and erased"));
		out->kinds |= 1u << kind;
	}
	return OK;
}

int change_filter_read(struct json object, struct arena *arena, struct change_filter *out, struct str *pointer,
		       struct str *why)
{
	*out = (struct change_filter){0};
	int rc = read_kinds(object, out, pointer, why);
	if (rc == OK) rc = read_names(object, STR("traits"), STR("/traits"), arena, &out->traits, pointer, why);
	if (rc == OK) rc = read_names(object, STR("features"), STR("/features"), arena, &out->features, pointer, why);
	if (rc == OK) rc = read_names(object, STR("segments"), STR("/segments"), arena, &out->segments, pointer, why);
	change_filter_settle(out);
	return rc;
}

static void write_names(struct json_out *out, struct str key, const struct name_list *list, bool is_short)
{
	if (is_short && !list->count) return;
	jo_key(out, key);
	jo_array(out);
	for (size_t i = 0; i < list->count; i++) jo_str(out, list->names[i]);
	jo_end_array(out);
}

void change_filter_write(struct json_out *out, const struct change_filter *filter, bool is_short)
{
	if (!is_short || filter->kinds) {
		jo_key(out, STR("kinds"));
		jo_array(out);
		for (int kind = 1; kind < CHANGE_KIND_COUNT; kind++)
			if (filter->kinds & 1u << kind) jo_str(out, str_from(change_kind_name((enum change_kind)kind)));
		jo_end_array(out);
	}
	write_names(out, STR("traits"), &filter->traits, is_short);
	write_names(out, STR("features"), &filter->features, is_short);
	write_names(out, STR("segments"), &filter->segments, is_short);
}

int change_filter_text(const struct change_filter *filter, size_t max, struct arena *arena, struct str *text)
{
	struct json_out out;
	struct buf buf;
	buf_init(&buf, max);
	json_out_init(&out, &buf);
	jo_object(&out);
	change_filter_write(&out, filter, true);
	jo_end_object(&out);
	int rc = out.status == OK ? arena_str(arena, buf_str(&buf), text) : out.status;
	buf_fini(&buf);
	return rc;
}

int change_filter_restore(struct json_reader *json, struct str text, struct arena *arena, struct change_filter *out)
{
	struct json root;
	struct str pointer, why;
	const char *reason;
	struct buf padded; /* the parser reads past the end */
	buf_init(&padded, text.len + 1);
	int rc = buf_append_str(&padded, text);
	if (rc == OK) rc = json_parse(json, buf_str(&padded), &root, &reason);
	if (rc == OK) rc = change_filter_read(root, arena, out, &pointer, &why);
	buf_fini(&padded);
	return rc == ERR_INVALID ? ERR_CORRUPT : rc;
}
