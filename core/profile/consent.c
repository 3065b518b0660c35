#include "profile/consent.h"

static const char *const names[CONSENT_STATE_COUNT] = {"none", "granted", "denied", "withdrawn", "pending", "expired"};

const char *consent_state_name(enum consent_state state)
{
	return (unsigned)state < CONSENT_STATE_COUNT ? names[state] : "unknown";
}

bool consent_state_from_name(struct str name, enum consent_state *out)
{
	for (int state = CONSENT_GRANTED; state <= CONSENT_WITHDRAWN; state++) {
		if (!str_eq(name, str_from(names[state]))) continue;
		*out = (enum consent_state)state;
		return true;
	}
	return false;
}

enum consent_state consent_state_at(const struct consent *consent, int64_t now)
{
	if (!consent) return CONSENT_NONE;
	bool is_over = consent->state == CONSENT_GRANTED && consent->expires && consent->expires <= now;
	return is_over ? CONSENT_EXPIRED : consent->state;
}

/* ── one list ────────────────────────────────────────────────────────────── */

/* First index that is not below (purpose, channel). */
static size_t find(const struct consent_list *list, struct str purpose, struct str channel, bool *is_same)
{
	size_t low = 0, high = list->count;
	int order = 1;
	*is_same = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct consent *at = &list->items[middle];
		order = str_cmp(at->purpose, purpose);
		if (!order) order = str_cmp(at->channel, channel);
		if (order == 0) *is_same = true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct consent *get(const struct consent_list *list, struct str purpose, struct str channel)
{
	bool is_same;
	size_t at = find(list, purpose, channel, &is_same);
	return is_same ? &list->items[at] : NULL;
}

const struct consent *consent_lookup(const struct consent_list *list, struct str purpose, struct str channel)
{
	if (list->count == 0) return NULL;
	const struct consent *own = channel.len ? get(list, purpose, channel) : NULL;
	return own ? own : get(list, purpose, STR_NONE);
}

static int insert(struct consent_list *list, size_t at, const struct consent *consent, struct arena *arena)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 4;
		struct consent *items = arena_array(arena, struct consent, room);
		if (!items) return ERR_NOMEM;
		if (list->items) memcpy(items, list->items, list->count * sizeof *items);
		list->items = items;
		list->room = room;
	}
	CHECK(list->items && at <= list->count);
	memmove(list->items + at + 1, list->items + at, (list->count - at) * sizeof *list->items);
	list->items[at] = *consent;
	list->count++;
	return OK;
}

/* What an act for all channels replaces: every single one's, or those that only wait. */
static void drop_channels(struct consent_list *list, const struct consent *act)
{
	size_t kept = 0;
	for (size_t i = 0; list->items && i < list->count; i++) {
		const struct consent *at = &list->items[i];
		bool is_replaced = str_eq(at->purpose, act->purpose) && at->channel.len &&
				   (act->state != CONSENT_PENDING || at->state == CONSENT_PENDING);
		if (!is_replaced) list->items[kept++] = *at;
	}
	list->count = kept;
}

int consent_put(struct consent_list *list, const struct consent *act, struct arena *arena, bool *is_taken)
{
	bool is_same;
	const struct consent *old = consent_lookup(list, act->purpose, act->channel);
	*is_taken = act->state != CONSENT_PENDING || !old || old->state == CONSENT_PENDING;
	if (!*is_taken) return OK;
	if (act->channel.len == 0) drop_channels(list, act);
	size_t at = find(list, act->purpose, act->channel, &is_same);
	if (!is_same) return insert(list, at, act, arena);
	list->items[at] = *act;
	return OK;
}

/* ── several lists ───────────────────────────────────────────────────────── */

/* Was record `i` superseded by `k`, of another fragment of the person? */
static bool is_superseded(const struct consent *const *records, const struct joins *joins, size_t i, size_t k)
{
	const struct consent *old = records[i], *new = records[k];
	if (!new || new->state == CONSENT_PENDING || new->position <= old->position) return false;
	return new->position >= joins->joined[i * joins->count + k];
}

/* Below: less restrictive. A grant that ends sooner is the stricter one at any time. */
static unsigned strictness(const struct consent *consent)
{
	switch (consent->state) {
	case CONSENT_DENIED:
	case CONSENT_WITHDRAWN: return 3;
	case CONSENT_GRANTED: return 2;
	default: return 1;
	}
}

/* Does `a` hold rather than `b`? Ties go to the later record. */
static bool holds_over(const struct consent *a, const struct consent *b)
{
	if (strictness(a) != strictness(b)) return strictness(a) > strictness(b);
	if (a->state == CONSENT_GRANTED && a->expires != b->expires)
		return a->expires && (!b->expires || a->expires < b->expires);
	return a->position > b->position;
}

static const struct consent *pick(const struct consent *const *records, size_t count, const struct joins *joins)
{
	const struct consent *best = NULL;
	for (size_t i = 0; i < count; i++) {
		bool is_out = !records[i];
		for (size_t k = 0; k < count && !is_out; k++) is_out = k != i && is_superseded(records, joins, i, k);
		if (!is_out && (!best || holds_over(records[i], best))) best = records[i];
	}
	return best;
}

struct agreement {
	const struct consent_list *const *lists;
	size_t count;
	const struct joins *joins;
	struct arena *arena;
	const struct consent **records; /* scratch: of each list */
	struct consent_list *out;
};

static int agree_on(struct agreement *a, struct str purpose, struct str channel)
{
	bool is_same;
	size_t at = find(a->out, purpose, channel, &is_same);
	if (is_same) return OK;
	for (size_t i = 0; i < a->count; i++) a->records[i] = consent_lookup(a->lists[i], purpose, channel);
	const struct consent *best = pick(a->records, a->count, a->joins);
	if (!best) return OK;
	struct consent agreed = *best;
	agreed.purpose = purpose;
	agreed.channel = channel;
	return insert(a->out, at, &agreed, a->arena);
}

/* A channel that is answered by the very record of all channels needs no row of its own. */
static void drop_redundant(struct consent_list *list)
{
	size_t kept = 0;
	for (size_t i = 0; i < list->count; i++) {
		const struct consent *at = &list->items[i];
		/* That of all channels sorts before those of single ones, so it is among the kept. */
		struct consent_list before = {.items = list->items, .count = kept};
		const struct consent *all = at->channel.len ? get(&before, at->purpose, STR_NONE) : NULL;
		if (!all || all->position != at->position) list->items[kept++] = *at;
	}
	list->count = kept;
}

int consents_agree(const struct consent_list *const *lists, size_t count, const struct joins *joins,
		   struct arena *arena, struct consent_list *out)
{
	struct agreement agreement = {.lists = lists, .count = count, .joins = joins, .arena = arena, .out = out};
	size_t holders = 0;
	*out = (struct consent_list){0};
	for (size_t i = 0; i < count; i++) holders += lists[i]->count > 0;
	if (holders == 0) return OK;
	CHECK(holders == 1 || (joins && joins->count == count));
	agreement.records = arena_array(arena, const struct consent *, count);
	if (!agreement.records) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < lists[i]->count; k++) {
			const struct consent *at = &lists[i]->items[k];
			int rc = agree_on(&agreement, at->purpose, at->channel);
			if (rc) return rc;
		}
	drop_redundant(out);
	return OK;
}

/* ── purposes ────────────────────────────────────────────────────────────── */

static bool has(const struct str *texts, size_t count, struct str text)
{
	for (size_t i = 0; i < count; i++)
		if (str_eq(texts[i], text)) return true;
	return false;
}

const struct purpose_rule *purpose_rule_find(const struct consent_rules *rules, struct str name)
{
	for (size_t i = 0; i < rules->count; i++)
		if (str_eq(rules->purposes[i].name, name)) return &rules->purposes[i];
	return NULL;
}

bool purpose_rule_has_channel(const struct purpose_rule *rule, struct str channel)
{
	return channel.len == 0 || has(rule->channels, rule->channel_count, channel);
}

const struct purpose_rule *purpose_rule_of_event(const struct consent_rules *rules, struct str event, struct str source)
{
	for (size_t i = 0; i < rules->count; i++)
		if (event.len && has(rules->purposes[i].events, rules->purposes[i].event_count, event))
			return &rules->purposes[i];
	for (size_t i = 0; i < rules->count; i++)
		if (has(rules->purposes[i].sources, rules->purposes[i].source_count, source))
			return &rules->purposes[i];
	return NULL;
}

bool purpose_rule_gates(const struct purpose_rule *rule, struct str destination)
{
	return has(rule->destinations, rule->destination_count, destination);
}
