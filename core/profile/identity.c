#include "profile/identity.h"

#include <stdio.h>

#include "profile/room.h"

void fragment_id_make(const struct hash_key *key, struct str identifier, struct fragment_id *out)
{
	struct hash128 hash;
	hash128(key, identifier.ptr, identifier.len, &hash);
	memcpy(out->bytes, hash.bytes, sizeof out->bytes);
}

/* What an identifier's value is made of its text; empty: it is none. */
static struct str clean(struct str value)
{
	if (memchr(value.ptr, '@', value.len)) value = str_trim(value);
	return value.len <= EVENT_IDENTIFIER_MAX ? value : STR_NONE;
}

static struct str join(struct str namespace_, struct str value, char out[ROW_IDENTIFIER_MAX])
{
	memcpy(out, namespace_.ptr, namespace_.len);
	out[namespace_.len] = ':';
	memcpy(out + namespace_.len + 1, value.ptr, value.len);
	return (struct str){out, namespace_.len + 1 + value.len};
}

static bool make(const struct plan *plan, const struct hash_key *key, size_t strength, struct str raw,
		 struct identifiers *memory, struct identifier *out)
{
	struct str value = clean(raw), name = plan->namespaces[strength].rule.name;
	if (value.len == 0 || memory->text_count == COUNT_OF(memory->text)) return false;
	out->text = join(name, value, memory->text[memory->text_count++]);
	out->value = (struct str){out->text.ptr + name.len + 1, value.len};
	out->strength = strength;
	out->is_blocked = plan_is_blocked(plan, value);
	fragment_id_make(key, out->text, &out->id);
	return true;
}

/* Can the object's text hold a member of that name? An escape may spell anything. */
static bool may_hold(struct str object, struct str name)
{
	return memmem(object.ptr, object.len, name.ptr, name.len) || memchr(object.ptr, '\\', object.len);
}

/* Text of a string or number; empty for anything else. */
static int scalar_text(struct event_view *view, struct json value, struct str *out)
{
	*out = STR_NONE;
	switch (json_type(value)) {
	case JSON_STRING: return json_str(value, out) ? OK : ERR_NOT_FOUND;
	case JSON_INT:
	case JSON_UINT:
	case JSON_DOUBLE: break;
	default: return OK;
	}
	buf_clear(&view->number);
	int rc = json_write(&view->number, value);
	*out = buf_str(&view->number);
	return rc;
}

static int find_scalar(struct event_view *view, const struct event_field *field, struct str object,
		       struct str first_step, struct str *out)
{
	struct json value;
	*out = STR_NONE;
	if (object.len == 0 || !may_hold(object, first_step)) return OK;
	int rc = event_view_get(view, field, &value);
	if (!rc) rc = scalar_text(view, value, out);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* A person's trait: an identify's traits lie over context.traits; a group's traits are the group's. */
static int find_trait(const struct plan_namespace *ns, struct event_view *view, struct str *out)
{
	char path[256];
	const struct cdpd_event *event = view->event;
	*out = STR_NONE;
	if (event->type == EVENT_GROUP) return OK;
	int rc = find_scalar(view, &ns->field, event->traits, ns->first_step, out);
	if (rc || out->len || event->type != EVENT_IDENTIFY) return rc;
	int len = snprintf(path, sizeof path, "traits.%.*s", STR_ARG(ns->field.path));
	if (len >= (int)sizeof path) return OK;
	struct event_field field = {PART_CONTEXT, {path, (size_t)len}};
	return find_scalar(view, &field, event->context, STR("traits"), out);
}

static int find_value(const struct plan_namespace *ns, struct event_view *view, struct str *out)
{
	const struct cdpd_event *event = view->event;
	if (event_view_text(view, ns->field.part, out)) return OK;
	switch (ns->field.part) {
	case PART_TRAITS: return find_trait(ns, view, out);
	case PART_CONTEXT: return find_scalar(view, &ns->field, event->context, ns->first_step, out);
	case PART_PROPERTIES: return find_scalar(view, &ns->field, event->properties, ns->first_step, out);
	case PART_ENRICHMENT: return find_scalar(view, &ns->field, event->enrichment, ns->first_step, out);
	default: *out = STR_NONE; return OK;
	}
}

int identifiers_collect(const struct plan *plan, const struct hash_key *key, struct event_view *view,
			struct identifiers *out)
{
	out->count = out->text_count = 0;
	for (size_t i = 0; i < plan->namespace_count; i++) {
		struct str value;
		int rc = find_value(&plan->namespaces[i], view, &value);
		if (rc) return rc;
		if (make(plan, key, i, value, out, &out->items[out->count])) out->count++;
	}
	return OK;
}

bool identifier_in(const struct plan *plan, const struct hash_key *key, enum event_part part, struct str value,
		   struct identifiers *memory, struct identifier *out)
{
	for (size_t i = 0; i < plan->namespace_count; i++)
		if (plan->namespaces[i].field.part == part) return make(plan, key, i, value, memory, out);
	return false;
}

int identifier_normalize(struct str ref, char out[ROW_IDENTIFIER_MAX], struct str *text)
{
	struct str name = identifier_namespace(ref);
	struct str value = clean(identifier_value(ref));
	if (name.len == 0 || name.len > ROW_NAMESPACE_MAX || value.len == 0) return ERR_INVALID;
	*text = join(name, value, out);
	return OK;
}
