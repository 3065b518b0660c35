#include "profile/identity.h"

#include <stdio.h>

#include "profile/room.h"

void fragment_id_make(const struct hash_key *key, struct str identifier, struct fragment_id *out)
{
	struct hash128 hash;
	hash128(key, identifier.ptr, identifier.len, &hash);
	memcpy(out->bytes, hash.bytes, sizeof out->bytes);
}

static struct str join(struct str namespace_, struct str value, char out[ROW_IDENTIFIER_MAX])
{
	memcpy(out, namespace_.ptr, namespace_.len);
	out[namespace_.len] = ':';
	memcpy(out + namespace_.len + 1, value.ptr, value.len);
	return (struct str){out, namespace_.len + 1 + value.len};
}

static bool make(const struct plan *plan, const struct hash_key *key, size_t strength, struct str raw,
		 struct str country, struct identifiers *memory, struct identifier *out)
{
	char text[EVENT_IDENTIFIER_MAX];
	const struct identity_namespace *rule = &plan->namespaces[strength].rule;
	if (raw.len == 0 || memory->text_count == COUNT_OF(memory->text)) return false;
	struct str value = normalize(rule->normalize, raw, country, text);
	if (value.len == 0) return false;
	out->text = join(rule->name, value, memory->text[memory->text_count++]);
	out->value = (struct str){out->text.ptr + rule->name.len + 1, value.len};
	out->strength = strength;
	out->is_blocked = plan_is_blocked(plan, strength, value);
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
static int find_trait(const struct plan_source *source, struct event_view *view, struct str *out)
{
	char path[256];
	const struct cdpd_event *event = view->event;
	*out = STR_NONE;
	if (event->type == EVENT_GROUP) return OK;
	int rc = find_scalar(view, &source->field, event->traits, source->first_step, out);
	if (rc || out->len || event->type != EVENT_IDENTIFY) return rc;
	int len = snprintf(path, sizeof path, "traits.%.*s", STR_ARG(source->field.path));
	if (len >= (int)sizeof path) return OK;
	struct event_field field = {PART_CONTEXT, {path, (size_t)len}};
	return find_scalar(view, &field, event->context, STR("traits"), out);
}

static int find_value(const struct plan_source *source, struct event_view *view, struct str *out)
{
	const struct cdpd_event *event = view->event;
	if (event_view_text(view, source->field.part, out)) return OK;
	switch (source->field.part) {
	case PART_TRAITS: return find_trait(source, view, out);
	case PART_CONTEXT: return find_scalar(view, &source->field, event->context, source->first_step, out);
	case PART_PROPERTIES: return find_scalar(view, &source->field, event->properties, source->first_step, out);
	case PART_ENRICHMENT: return find_scalar(view, &source->field, event->enrichment, source->first_step, out);
	default: *out = STR_NONE; return OK;
	}
}

static int find_country(struct event_view *view, struct str *out)
{
	const struct event_field field = {PART_ENRICHMENT, STR("geo.country")};
	struct json value;
	*out = view->event->country;
	if (out->len || view->event->enrichment.len == 0) return OK;
	int rc = event_view_get(view, &field, &value);
	if (rc || !json_str(value, out)) *out = STR_NONE;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

/* The first of the namespace's places that holds an identifier. */
static int collect_one(const struct plan *plan, const struct hash_key *key, size_t at, struct event_view *view,
		       struct identifiers *out)
{
	const struct plan_namespace *ns = &plan->namespaces[at];
	for (size_t i = 0; i < ns->source_count; i++) {
		struct str value, country = STR_NONE;
		int rc = find_value(&ns->sources[i], view, &value);
		if (!rc && value.len && ns->rule.normalize == NORMALIZE_PHONE) rc = find_country(view, &country);
		if (rc) return rc;
		if (!make(plan, key, at, value, country, out, &out->items[out->count])) continue;
		out->count++;
		return OK;
	}
	return OK;
}

int identifiers_collect(const struct plan *plan, const struct hash_key *key, struct event_view *view,
			struct identifiers *out)
{
	out->count = out->text_count = 0;
	for (size_t i = 0; i < plan->namespace_count; i++) {
		int rc = collect_one(plan, key, i, view, out);
		if (rc) return rc;
	}
	return OK;
}

static bool reads(const struct plan_namespace *ns, enum event_part part)
{
	for (size_t i = 0; i < ns->source_count; i++)
		if (ns->sources[i].field.part == part) return true;
	return false;
}

bool identifier_in(const struct plan *plan, const struct hash_key *key, enum event_part part, struct str value,
		   struct identifiers *memory, struct identifier *out)
{
	for (size_t i = 0; i < plan->namespace_count; i++)
		if (reads(&plan->namespaces[i], part)) return make(plan, key, i, value, STR_NONE, memory, out);
	return false;
}

int identifier_normalize(const struct plan *plan, struct str ref, char out[ROW_IDENTIFIER_MAX], struct str *text)
{
	char memory[EVENT_IDENTIFIER_MAX];
	struct str name = identifier_namespace(ref), raw = identifier_value(ref);
	size_t at = plan ? plan_namespace_find(plan, name) : 0;
	bool is_ours = plan && at < plan->namespace_count;
	struct str value =
	    normalize(is_ours ? plan->namespaces[at].rule.normalize : NORMALIZE_NONE, raw, STR_NONE, memory);
	if (value.len == 0) value = normalize(NORMALIZE_NONE, raw, STR_NONE, memory);
	if (name.len == 0 || name.len > ROW_NAMESPACE_MAX || value.len == 0) return ERR_INVALID;
	*text = join(name, value, out);
	return OK;
}
