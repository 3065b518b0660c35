#include "config/privacy.h"

#include <sys/stat.h>

/* ── paths ───────────────────────────────────────────────────────────────── */

static bool is_path(struct str path)
{
	static const char *const parts[] = {"properties.", "traits.", "context."};
	if (path.len > 255 || path.len == 0 || path.ptr[path.len - 1] == '.' || memmem(path.ptr, path.len, "..", 2))
		return false;
	for (size_t i = 0; i < path.len; i++) {
		bool is_end = i + 2 >= path.len || path.ptr[i + 2] == '.';
		if (path.ptr[i] == ']' && (i == 0 || path.ptr[i - 1] != '[')) return false;
		if (path.ptr[i] != '[') continue;
		if (i + 1 >= path.len || path.ptr[i + 1] != ']' || !is_end || path.ptr[i - (i > 0)] == '.')
			return false;
	}
	for (size_t i = 0; i < COUNT_OF(parts); i++)
		if (str_starts(path, str_from(parts[i]))) return true;
	return false;
}

const char *privacy_check_drop(struct str path)
{
	return is_path(path) ? NULL
			     : "must be a path in properties., traits. or context., such as traits.ssn or "
			       "properties.products[].note";
}

static const struct str identifiers[] = {{"userId", 6}, {"anonymousId", 11}, {"previousId", 10}, {"groupId", 7}};

const char *privacy_check_pseudonym(struct str path)
{
	for (size_t i = 0; i < COUNT_OF(identifiers); i++)
		if (str_eq(path, identifiers[i])) return NULL;
	return is_path(path) ? NULL
			     : "must be userId, anonymousId, previousId, groupId, or a path in properties., traits. "
			       "or context., such as traits.ssn or properties.products[].note";
}

const char *privacy_check_key_file(const char *path)
{
	struct stat st;
	if (stat(path, &st)) return NULL;
	if (!S_ISREG(st.st_mode)) return "must be a regular file";
	return st.st_mode & (S_IRWXG | S_IRWXO) ? "must not be readable by others: chmod 600" : NULL;
}

/* ── the tree ────────────────────────────────────────────────────────────── */

/* Arrays are gone through whether the path says [] or not: what is named shall not slip through because a list came. */
static struct str without_brackets(struct str step)
{
	while (step.len >= 2 && memcmp(step.ptr + step.len - 2, "[]", 2) == 0) step.len -= 2;
	return step;
}

static struct privacy_rule *step_down(struct arena *arena, struct privacy_rule *rule, struct str key)
{
	struct privacy_rule *found = (struct privacy_rule *)(uintptr_t)privacy_find(rule, key);
	if (found) return found;
	found = arena_new(arena, struct privacy_rule);
	if (!found) return NULL;
	found->key = key;
	found->next = rule->below;
	rule->below = found;
	return found;
}

static int add_path(struct arena *arena, struct privacy_rule *rule, struct str path, enum privacy_act act)
{
	for (;;) {
		const char *dot = memchr(path.ptr, '.', path.len);
		size_t len = dot ? (size_t)(dot - path.ptr) : path.len;
		rule = step_down(arena, rule, without_brackets(str_of(path.ptr, len)));
		if (!rule) return ERR_NOMEM;
		if (!dot) break;
		path = str_of(dot + 1, path.len - len - 1);
	}
	if (act > rule->act) rule->act = act;
	rule->is_email = str_eq(rule->key, STR("email"));
	return OK;
}

/* SDKs repeat a person's traits in the context. */
static int add(struct arena *arena, struct privacy_rules *rules, struct str path, enum privacy_act act)
{
	struct str inner;
	int rc = add_path(arena, &rules->root, path, act);
	if (rc == OK && str_starts(path, STR("traits."))) {
		rc = arena_printf(arena, &inner, "context.%.*s", STR_ARG(path));
		if (rc == OK) rc = add_path(arena, &rules->root, inner, act);
	}
	/* An alias names the former id there, of either kind. */
	if (rc == OK && (str_eq(path, STR("userId")) || str_eq(path, STR("anonymousId"))))
		rc = add_path(arena, &rules->root, STR("previousId"), act);
	if (act == PRIVACY_PSEUDONYM) rules->needs_key = true;
	return rc;
}

static int add_all(struct arena *arena, struct privacy_rules *rules, const struct conf_privacy *conf)
{
	int rc = OK;
	for (size_t i = 0; i < conf->drop_count && rc == OK; i++) rc = add(arena, rules, conf->drop[i], PRIVACY_DROP);
	for (size_t i = 0; i < conf->pseudonymize_count && rc == OK; i++)
		rc = add(arena, rules, conf->pseudonymize[i], PRIVACY_PSEUDONYM);
	return rc;
}

static bool truncates(const struct conf_privacy *global, const struct conf_privacy *of_source)
{
	if (of_source && of_source->truncate_ip != TRUNCATE_AS_GLOBAL) return of_source->truncate_ip == TRUNCATE_TRUE;
	return global->truncate_ip == TRUNCATE_TRUE;
}

static enum privacy_act act_on_ip(const struct privacy_rules *rules)
{
	const struct privacy_rule *context = privacy_find(&rules->root, STR("context"));
	const struct privacy_rule *ip = context ? privacy_find(context, STR("ip")) : NULL;
	return ip ? ip->act : PRIVACY_KEEP;
}

int privacy_compile(struct arena *arena, const struct conf_privacy *global, const struct conf_privacy *of_source,
		    const struct privacy_rules **out)
{
	*out = NULL;
	struct privacy_rules *rules = arena_new(arena, struct privacy_rules);
	if (!rules) return ERR_NOMEM;
	int rc = add_all(arena, rules, global);
	if (rc == OK && of_source) rc = add_all(arena, rules, of_source);
	if (rc == OK && truncates(global, of_source)) rc = add(arena, rules, STR("context.ip"), PRIVACY_TRUNCATE);
	rules->ip = act_on_ip(rules);
	if (rc == OK && rules->root.below) *out = rules;
	return rc;
}
