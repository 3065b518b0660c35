#include "rules.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "literals.h"

/* Steps of one match before it is given up: rules come from a file, user agents from anybody. */
#define MATCH_LIMIT 20000
#define DEPTH_LIMIT 500
#define GROUPS_MAX  10
#define RULES_MAX   20000

struct rule {
	pcre2_code *code;
	struct literals literals;
	char *texts[UA_PARTS]; /* the replacement; NULL: the group's own text, by the list's defaults */
	bool is_caseless;
};

struct list {
	struct rule *rules;
	size_t count;
};

enum { BROWSERS, SYSTEMS, DEVICES, LISTS };

struct rules {
	struct list lists[LISTS];
};

struct rules_scratch {
	pcre2_match_data *match;
	pcre2_match_context *context;
};

static const struct {
	const char *name;
	enum ua_part first, end;
} kinds[LISTS] = {
    {"user_agent_parsers", UA_BROWSER, UA_OS},
    {"os_parsers", UA_OS, UA_DEVICE},
    {"device_parsers", UA_DEVICE, UA_PARTS},
};

static const struct {
	const char *key;
	int list;
	enum ua_part part;
} keys[] = {
    {"family_replacement", BROWSERS, UA_BROWSER}, {"v1_replacement", BROWSERS, UA_BROWSER_1},
    {"v2_replacement", BROWSERS, UA_BROWSER_2},   {"v3_replacement", BROWSERS, UA_BROWSER_3},
    {"os_replacement", SYSTEMS, UA_OS},           {"os_v1_replacement", SYSTEMS, UA_OS_1},
    {"os_v2_replacement", SYSTEMS, UA_OS_2},      {"os_v3_replacement", SYSTEMS, UA_OS_3},
    {"os_v4_replacement", SYSTEMS, UA_OS_4},      {"device_replacement", DEVICES, UA_DEVICE},
    {"brand_replacement", DEVICES, UA_BRAND},     {"model_replacement", DEVICES, UA_MODEL},
};

/* The group whose text a part is when the rule says nothing; 0: none. */
static unsigned default_group(enum ua_part part)
{
	if (part == UA_DEVICE || part == UA_MODEL) return 1;
	if (part == UA_BRAND) return 0;
	return part - (part >= UA_OS ? UA_OS : UA_BROWSER) + 1;
}

/* ── reading the file ────────────────────────────────────────────────────── */

struct reading {
	struct rules *rules;
	int list;       /* -1: one that is not known */
	unsigned depth; /* of sequences and mappings */
	char *key;      /* of the scalar that follows; NULL: the next is a key */
	char *regex;    /* of the rule at hand */
	struct rule rule;
	char *why;
};

static void free_rule(struct rule *rule)
{
	pcre2_code_free(rule->code);
	for (size_t i = 0; i < UA_PARTS; i++) free(rule->texts[i]);
}

static bool compile(struct reading *r, unsigned long line)
{
	int error;
	PCRE2_SIZE at;
	struct list *list = &r->rules->lists[r->list];
	if (!r->regex || list->count == RULES_MAX) {
		snprintf(r->why, WATCHED_WHY_MAX, "line %lu: a rule without a regex, or too many rules", line);
		return false;
	}
	struct rule *rules = realloc(list->rules, (list->count + 1) * sizeof *rules);
	if (!rules) return false;
	list->rules = rules;
	r->rule.code = pcre2_compile((PCRE2_SPTR)r->regex, PCRE2_ZERO_TERMINATED,
				     r->rule.is_caseless ? PCRE2_CASELESS : 0, &error, &at, NULL);
	if (!r->rule.code) {
		char text[120];
		pcre2_get_error_message(error, (PCRE2_UCHAR *)text, sizeof text);
		snprintf(r->why, WATCHED_WHY_MAX, "line %lu: %s in '%.100s'", line, text, r->regex);
		return false;
	}
	(void)pcre2_jit_compile(r->rule.code, PCRE2_JIT_COMPLETE); /* where there is none it is interpreted */
	literals_of(r->regex, &r->rule.literals);
	list->rules[list->count++] = r->rule;
	memset(&r->rule, 0, sizeof r->rule);
	free(r->regex);
	r->regex = NULL;
	return true;
}

static void take_member(struct reading *r, char *value)
{
	char **to = NULL;
	if (strcmp(r->key, "regex") == 0) to = &r->regex;
	if (strcmp(r->key, "regex_flag") == 0) r->rule.is_caseless = strchr(value, 'i') != NULL;
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		if (keys[i].list == r->list && strcmp(r->key, keys[i].key) == 0) to = &r->rule.texts[keys[i].part];
	}
	free(to ? *to : value);
	if (to) *to = value;
	free(r->key);
	r->key = NULL;
}

static int list_of(const char *name)
{
	for (int i = 0; i < LISTS; i++) {
		if (strcmp(name, kinds[i].name) == 0) return i;
	}
	return -1;
}

/* The document is a mapping of names to sequences of flat mappings. */
static bool on_scalar(struct reading *r, const yaml_event_t *event)
{
	char *text = strdup((const char *)event->data.scalar.value);
	if (!text) return false;
	if (r->depth == 1) {
		r->list = list_of(text);
		free(text);
		return true;
	}
	if (r->depth != 3 || r->list < 0)
		free(text);
	else if (!r->key)
		r->key = text;
	else
		take_member(r, text);
	return true;
}

static bool on_event(struct reading *r, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT: return on_scalar(r, event);
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT: r->depth++; break;
	case YAML_MAPPING_END_EVENT:
		if (r->depth-- == 3 && r->list >= 0) return compile(r, event->start_mark.line);
		break;
	case YAML_SEQUENCE_END_EVENT: r->depth--; break;
	default: break;
	}
	return true;
}

static bool read_events(struct reading *r, yaml_parser_t *parser)
{
	for (bool is_end = false; !is_end;) {
		yaml_event_t event;
		if (!yaml_parser_parse(parser, &event)) {
			snprintf(r->why, WATCHED_WHY_MAX, "line %zu: %s", parser->problem_mark.line + 1,
				 parser->problem ? parser->problem : "not YAML");
			return false;
		}
		is_end = event.type == YAML_STREAM_END_EVENT;
		bool is_fine = on_event(r, &event);
		yaml_event_delete(&event);
		if (!is_fine) return false;
	}
	if (r->rules->lists[BROWSERS].count) return true;
	snprintf(r->why, WATCHED_WHY_MAX, "there are no user_agent_parsers in it");
	return false;
}

static bool read_file(struct rules *rules, const char *path, char why[WATCHED_WHY_MAX])
{
	struct reading reading = {.rules = rules, .list = -1, .why = why};
	yaml_parser_t parser;
	FILE *in = fopen(path, "r");
	if (!in) {
		snprintf(why, WATCHED_WHY_MAX, "%s", strerror(errno));
		return false;
	}
	bool is_fine = yaml_parser_initialize(&parser) == 1;
	if (is_fine) {
		yaml_parser_set_input_file(&parser, in);
		is_fine = read_events(&reading, &parser);
		yaml_parser_delete(&parser);
	}
	free_rule(&reading.rule);
	free(reading.key);
	free(reading.regex);
	fclose(in);
	return is_fine;
}

/* ── life ────────────────────────────────────────────────────────────────── */

static void unload(void *object)
{
	struct rules *rules = object;
	for (size_t i = 0; i < LISTS; i++) {
		for (size_t k = 0; k < rules->lists[i].count; k++) free_rule(&rules->lists[i].rules[k]);
		free(rules->lists[i].rules);
	}
	free(rules);
}

static void *load(const char *path, char why[WATCHED_WHY_MAX])
{
	snprintf(why, WATCHED_WHY_MAX, "out of memory");
	struct rules *rules = calloc(1, sizeof *rules);
	if (rules && read_file(rules, path, why)) return rules;
	if (rules) unload(rules);
	return NULL;
}

const struct watched_kind rules_kind = {load, unload};

size_t rules_count(const struct rules *rules)
{
	size_t count = 0;
	for (size_t i = 0; i < LISTS; i++) count += rules->lists[i].count;
	return count;
}

/* ── matching ────────────────────────────────────────────────────────────── */

struct rules_scratch *rules_scratch_new(void)
{
	struct rules_scratch *scratch = calloc(1, sizeof *scratch);
	if (!scratch) return NULL;
	scratch->match = pcre2_match_data_create(GROUPS_MAX, NULL);
	scratch->context = pcre2_match_context_create(NULL);
	if (!scratch->match || !scratch->context) {
		rules_scratch_free(scratch);
		return NULL;
	}
	pcre2_set_match_limit(scratch->context, MATCH_LIMIT);
	pcre2_set_depth_limit(scratch->context, DEPTH_LIMIT);
	return scratch;
}

void rules_scratch_free(struct rules_scratch *scratch)
{
	if (!scratch) return;
	pcre2_match_data_free(scratch->match);
	pcre2_match_context_free(scratch->context);
	free(scratch);
}

struct subject {
	const char *agent;
	size_t len;
	const PCRE2_SIZE *groups;
	unsigned group_count;
};

static void put(struct ua_text *out, const char *text, size_t len)
{
	size_t room = RULES_TEXT - out->len;
	if (len > room) len = room;
	memcpy(out->bytes + out->len, text, len);
	out->len = (unsigned char)(out->len + len);
}

static void put_group(struct ua_text *out, const struct subject *subject, unsigned group)
{
	if (group == 0 || group >= subject->group_count || subject->groups[2 * group] == PCRE2_UNSET) return;
	put(out, subject->agent + subject->groups[2 * group],
	    subject->groups[2 * group + 1] - subject->groups[2 * group]);
}

static void put_replacement(struct ua_text *out, const struct subject *subject, const char *text)
{
	while (*text) {
		size_t plain = strcspn(text, "$");
		put(out, text, plain);
		text += plain;
		if (*text != '$') return;
		bool is_group = text[1] >= '1' && text[1] <= '9';
		if (is_group)
			put_group(out, subject, (unsigned)(text[1] - '0'));
		else
			put(out, text, 1);
		text += is_group ? 2 : 1;
	}
}

static void trim(struct ua_text *text)
{
	size_t start = 0;
	while (text->len && text->bytes[text->len - 1] == ' ') text->len--;
	while (start < text->len && text->bytes[start] == ' ') start++;
	memmove(text->bytes, text->bytes + start, text->len - start);
	text->len = (unsigned char)(text->len - start);
}

static void fill(const struct rule *rule, int list, const struct subject *subject, struct ua_result *out)
{
	for (unsigned part = kinds[list].first; part < kinds[list].end; part++) {
		struct ua_text *text = &out->parts[part];
		if (rule->texts[part])
			put_replacement(text, subject, rule->texts[part]);
		else
			put_group(text, subject, default_group(part));
		trim(text);
		if (text->len == 5 && memcmp(text->bytes, "Other", 5) == 0) text->len = 0;
	}
}

static void match_list(const struct rules *rules, int list, struct rules_scratch *scratch, const struct sieve *sieve,
		       struct subject *subject, struct ua_result *out)
{
	const struct list *at = &rules->lists[list];
	for (size_t i = 0; i < at->count; i++) {
		const struct rule *rule = &at->rules[i];
		if (!sieve_passes(sieve, &rule->literals)) continue;
		int rc = pcre2_match(rule->code, (PCRE2_SPTR)subject->agent, subject->len, 0, 0, scratch->match,
				     scratch->context);
		if (rc < 0 && rc != PCRE2_ERROR_NOMATCH) out->is_limited = true;
		if (rc < 0) continue;
		subject->groups = pcre2_get_ovector_pointer(scratch->match);
		subject->group_count = rc > 0 ? (unsigned)rc : GROUPS_MAX;
		fill(rule, list, subject, out);
		return;
	}
}

void rules_match(const struct rules *rules, struct rules_scratch *scratch, const char *agent, size_t len,
		 struct ua_result *out)
{
	struct subject subject = {.agent = agent, .len = len};
	struct sieve sieve;
	for (size_t i = 0; i < UA_PARTS; i++) out->parts[i].len = 0;
	out->is_limited = false;
	sieve_fill(&sieve, agent, len);
	for (int list = 0; list < LISTS; list++) match_list(rules, list, scratch, &sieve, &subject, out);
}
