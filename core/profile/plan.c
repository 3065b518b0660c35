#include "profile/plan.h"

#include <stdlib.h>

#include "base/hash.h"
#include "profile/feature_def.h"
#include "profile/feature_state.h"
#include "profile/row.h"

/* Not secret: it only has to be the same everywhere and for ever. */
static const struct hash_key feature_hash_key = {"cdpd feature key"};

static uint8_t *put_part(uint8_t *at, struct str text)
{
	uint32_t len = (uint32_t)text.len;
	memcpy(at, &len, sizeof len);
	memcpy(at + sizeof len, text.ptr, text.len);
	return at + sizeof len + text.len;
}

static int make_key(struct arena *arena, const struct feature_def *def, uint64_t *out)
{
	struct str event = def->event_count == 1 ? def->events[0] : STR_NONE;
	struct str parts[] = {def->name, def->type, event, def->field, def->extra};
	size_t count = def->extra.len ? COUNT_OF(parts) : COUNT_OF(parts) - 1; /* as it was before there was more */
	size_t size = sizeof def->state_version + sizeof def->since_seq;
	for (size_t i = 0; i < count; i++) size += sizeof(uint32_t) + parts[i].len;
	uint8_t *bytes = arena_alloc(arena, size), *at = bytes;
	if (!bytes) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) at = put_part(at, parts[i]);
	memcpy(at, &def->state_version, sizeof def->state_version);
	memcpy(at + sizeof def->state_version, &def->since_seq, sizeof def->since_seq);
	*out = hash64(&feature_hash_key, bytes, size);
	return OK;
}

static int make_feature(struct plan *plan, const struct feature_def *def, struct plan_feature *out)
{
	*out = (struct plan_feature){.def = *def};
	int rc = feature_path_parse(def->field, &out->field);
	if (!rc) rc = feature_path_parse(def->key, &out->key_field);
	if (!rc) rc = make_key(&plan->arena, def, &out->key);
	if (rc || !def->impl) return rc;
	const struct feature_path *elements = out->field.is_array ? &out->field : &out->key_field;
	out->is_of_elements = elements->is_array;
	out->elements = elements->field;
	out->max_state = (uint32_t)feature_state_max(def);
	uint32_t flags = feature_type_has_options(def->impl) ? def->impl->flags : 0;
	out->wants_text = !(flags & CDPD_FEATURE_NO_TEXT);
	out->tells = flags & CDPD_FEATURE_TELLS;
	return feature_filter_make(def, elements, &plan->arena, &out->filter);
}

static int order_features(const void *a, const void *b)
{
	const struct plan_feature *x = a, *y = b;
	return x->key < y->key ? -1 : x->key > y->key;
}

static int make_features(struct plan *plan)
{
	const struct definitions *definitions = &plan->definitions;
	plan->feature_count = definitions->feature_count;
	plan->features = arena_array(&plan->arena, struct plan_feature, plan->feature_count + 1);
	if (!plan->features) return ERR_NOMEM;
	for (size_t i = 0; i < plan->feature_count; i++) {
		int rc = make_feature(plan, &definitions->features[i], &plan->features[i]);
		if (rc) return rc;
	}
	qsort(plan->features, plan->feature_count, sizeof *plan->features, order_features);
	for (size_t i = 1; i < plan->feature_count; i++)
		if (plan->features[i].key == plan->features[i - 1].key) return ERR_INVALID; /* the same one twice */
	return feature_routes_make(plan->features, plan->feature_count, &plan->arena, &plan->routes);
}

static struct str first_step(struct str path)
{
	const char *dot = memchr(path.ptr, '.', path.len);
	return dot ? (struct str){path.ptr, (size_t)(dot - path.ptr)} : path;
}

static int order_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int make_blocked(struct plan *plan, const struct str *values, size_t count, enum normalization normalization,
			struct plan_blocked *out)
{
	char memory[EVENT_IDENTIFIER_MAX];
	out->items = arena_array(&plan->arena, struct str, count + 1);
	if (!out->items) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		/* However it is written there, it is compared with normalised values. */
		struct str value = normalize(normalization, values[i], STR_NONE, memory);
		int rc = arena_str(&plan->arena, value.len ? value : values[i], &out->items[i]);
		if (rc) return rc;
		size_t len = out->items[i].len;
		out->lengths |= UINT64_C(1) << (len < 63 ? len : 63);
	}
	out->count = count;
	qsort(out->items, count, sizeof *out->items, order_text);
	return OK;
}

static int make_sources(struct plan *plan, struct plan_namespace *ns)
{
	ns->source_count = ns->rule.from_count;
	ns->sources = arena_array(&plan->arena, struct plan_source, ns->source_count);
	if (!ns->sources) return ERR_NOMEM;
	for (size_t i = 0; i < ns->source_count; i++) {
		int rc = event_field_parse(ns->rule.from[i], &ns->sources[i].field);
		if (rc) return rc;
		ns->sources[i].first_step = first_step(ns->sources[i].field.path);
	}
	return OK;
}

static int make_namespaces(struct plan *plan)
{
	const struct definitions *definitions = &plan->definitions;
	plan->namespace_count = definitions->namespace_count;
	plan->namespaces = arena_array(&plan->arena, struct plan_namespace, plan->namespace_count + 1);
	if (!plan->namespaces) return ERR_NOMEM;
	for (size_t i = 0; i < plan->namespace_count; i++) {
		struct plan_namespace *ns = &plan->namespaces[i];
		ns->rule = definitions->namespaces[i];
		if (plan_namespace_find(plan, ns->rule.name) < i) return ERR_INVALID; /* named twice */
		int rc = make_sources(plan, ns);
		if (!rc)
			rc = make_blocked(plan, ns->rule.blocked, ns->rule.blocked_count, ns->rule.normalize,
					  &ns->blocked);
		if (rc) return rc;
	}
	return make_blocked(plan, definitions->blocked, definitions->blocked_count, NORMALIZE_NONE, &plan->blocked);
}

static int build(struct plan *plan, struct str text, const uint64_t *since, size_t since_count, bool is_lenient)
{
	int rc = arena_str(&plan->arena, text, &plan->text);
	if (!rc) rc = definitions_parse_text(plan->text, &plan->arena, is_lenient, &plan->definitions);
	if (rc) return rc;
	for (size_t i = 0; i < plan->definitions.feature_count; i++)
		plan->definitions.features[i].since_seq = i < since_count ? since[i] : plan->seq;
	rc = make_features(plan);
	if (!rc) rc = plan_enrichers_make(plan);
	if (!rc) rc = make_namespaces(plan);
	return rc ? rc : segment_plan_make(plan);
}

int plan_new(struct str text, uint64_t seq, uint64_t identity_seq, const uint64_t *since, size_t since_count,
	     enum plan_strictness strictness, struct plan **out)
{
	*out = NULL;
	struct plan *plan = calloc(1, sizeof *plan);
	if (!plan) return ERR_NOMEM;
	arena_init(&plan->arena, 4096, 0);
	plan->seq = seq;
	plan->identity_seq = identity_seq;
	int rc = build(plan, text, since, since_count, strictness == PLAN_LENIENT);
	if (rc) {
		plan_free(plan);
		return rc;
	}
	*out = plan;
	return OK;
}

void plan_free(struct plan *plan)
{
	if (!plan) return;
	arena_fini(&plan->arena);
	free(plan);
}

static bool is_same_texts(const struct str *a, size_t a_count, const struct str *b, size_t b_count)
{
	if (a_count != b_count) return false;
	for (size_t i = 0; i < a_count; i++)
		if (!str_eq(a[i], b[i])) return false;
	return true;
}

static bool is_same_namespace(const struct identity_namespace *a, const struct identity_namespace *b)
{
	return str_eq(a->name, b->name) && a->is_known == b->is_known && a->max_per_profile == b->max_per_profile &&
	       a->normalize == b->normalize && is_same_texts(a->from, a->from_count, b->from, b->from_count) &&
	       is_same_texts(a->blocked, a->blocked_count, b->blocked, b->blocked_count);
}

static bool is_same_identity(const struct definitions *a, const struct definitions *b)
{
	if (a->namespace_count != b->namespace_count || a->max_fragments != b->max_fragments) return false;
	for (size_t i = 0; i < a->namespace_count; i++)
		if (!is_same_namespace(&a->namespaces[i], &b->namespaces[i])) return false;
	return is_same_texts(a->blocked, a->blocked_count, b->blocked, b->blocked_count);
}

/* Where an unchanged feature began to count; `seq` when it is new. */
static uint64_t inherited_since(const struct plan *old, const struct feature_def *def, uint64_t seq)
{
	for (size_t i = 0; old && i < old->definitions.feature_count; i++)
		if (feature_def_is_same(&old->definitions.features[i], def))
			return old->definitions.features[i].since_seq;
	return seq;
}

int plan_succeed(const struct plan *old, struct str text, uint64_t seq, struct plan **out)
{
	struct arena arena;
	struct definitions definitions;
	*out = NULL;
	arena_init(&arena, 4096, 0);
	int rc = definitions_parse_text(text, &arena, false, &definitions);
	uint64_t *since = rc ? NULL : arena_array(&arena, uint64_t, definitions.feature_count + 1);
	if (!rc && !since) rc = ERR_NOMEM;
	for (size_t i = 0; !rc && i < definitions.feature_count; i++)
		since[i] = inherited_since(old, &definitions.features[i], seq);
	if (!rc) {
		bool is_same = old && is_same_identity(&old->definitions, &definitions);
		rc = plan_new(text, seq, is_same ? old->identity_seq : seq, since, definitions.feature_count,
			      PLAN_STRICT, out);
	}
	arena_fini(&arena);
	return rc;
}

size_t plan_namespace_find(const struct plan *plan, struct str name)
{
	for (size_t i = 0; i < plan->namespace_count; i++)
		if (str_eq(plan->namespaces[i].rule.name, name)) return i;
	return plan->namespace_count;
}

/* What a plugin's type reads may depend on now, for all we know. */
bool feature_ages(const struct plan_feature *feature)
{
	const struct cdpd_feature_type *const still[] = {
	    &feature_count, &feature_sum,      &feature_first,    &feature_last,      &feature_min,       &feature_max,
	    &feature_mean,  &feature_variance, &feature_distinct, &feature_histogram, &feature_intervals, &feature_top};
	for (size_t i = 0; i < COUNT_OF(still); i++)
		if (feature->def.impl == still[i]) return false;
	return feature->def.impl != NULL;
}

const struct plan_feature *plan_feature_find(const struct plan *plan, uint64_t key)
{
	size_t low = 0, high = plan->feature_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (plan->features[middle].key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low < plan->feature_count && plan->features[low].key == key ? &plan->features[low] : NULL;
}

static bool holds(const struct plan_blocked *blocked, struct str value)
{
	char lower[EVENT_IDENTIFIER_MAX];
	if (!(blocked->lengths & (UINT64_C(1) << (value.len < 63 ? value.len : 63)))) return false;
	if (value.len > sizeof lower) return false;
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];
		lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
	}
	struct str key = {lower, value.len};
	return bsearch(&key, blocked->items, blocked->count, sizeof key, order_text) != NULL;
}

bool plan_is_blocked(const struct plan *plan, size_t namespace_, struct str value)
{
	return holds(&plan->blocked, value) || holds(&plan->namespaces[namespace_].blocked, value);
}

bool plan_blocks(const struct plan *plan, struct str identifier)
{
	struct str value = identifier_value(identifier);
	size_t at = plan_namespace_find(plan, identifier_namespace(identifier));
	return at < plan->namespace_count ? plan_is_blocked(plan, at, value) : holds(&plan->blocked, value);
}
