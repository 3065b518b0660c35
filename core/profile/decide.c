#include "profile/decide.h"

static size_t count_namespace(const struct component *component, struct str namespace_)
{
	size_t count = 0;
	for (size_t i = 0; i < component->count; i++)
		count += str_eq(identifier_namespace(component->members[i].identifier), namespace_);
	return count;
}

static bool has_known(const struct plan *rules, const struct component *component, uint64_t before_seq)
{
	for (size_t i = 0; i < component->count; i++) {
		const struct row_member *member = &component->members[i];
		size_t at = plan_namespace_find(rules, identifier_namespace(member->identifier));
		if (member->created_seq < before_seq && at < rules->namespace_count &&
		    rules->namespaces[at].rule.is_known)
			return true;
	}
	return false;
}

enum link_reason link_decide_namespace(const struct plan *rules, size_t i, const struct component *a,
				       const struct component *b)
{
	const struct identity_namespace *rule = &rules->namespaces[i].rule;
	if (rule->max_per_profile == 0) return LINK_OK; /* no limit */
	size_t of_a = count_namespace(a, rule->name), of_b = of_a ? count_namespace(b, rule->name) : 0;
	if (of_b == 0 || of_a + of_b <= rule->max_per_profile) return LINK_OK;
	return rule->max_per_profile == 1 ? LINK_UNIQUE_CONFLICT : LINK_NAMESPACE_LIMIT;
}

enum link_reason link_decide(const struct plan *rules, const struct component *a, const struct component *b,
			     uint8_t rule, uint64_t seq)
{
	bool is_trusted = rule & LINK_TRUSTED;
	if ((rule & ~LINK_TRUSTED) == LINK_ALIAS && !is_trusted) return LINK_NOT_ALLOWED;
	for (size_t i = 0; i < rules->namespace_count; i++) {
		enum link_reason reason = link_decide_namespace(rules, i, a, b);
		if (reason) return reason;
	}
	if (a->count + b->count > rules->definitions.max_fragments) return LINK_TOO_MANY_FRAGMENTS;
	if (!is_trusted && has_known(rules, a, seq) && has_known(rules, b, seq)) return LINK_NOT_ALLOWED;
	return LINK_OK;
}
