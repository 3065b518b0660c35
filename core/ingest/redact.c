#include "ingest/redact.h"

#include "base/encode.h"
#include "ingest/address.h"
#include "ingest/message.h"

struct redaction {
	struct intake *in;
	struct buf *out;
	bool is_partial; /* an excerpt: it may end anywhere, so what is no address is left out of it too */
};

/* ── pseudonyms ──────────────────────────────────────────────────────────── */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool equals_lower(struct str text, struct str lowered)
{
	if (text.len != lowered.len) return false;
	for (size_t i = 0; i < text.len; i++)
		if (lower(text.ptr[i]) != lowered.ptr[i]) return false;
	return true;
}

/* Sent back by a system that got it from us. */
static bool is_pseudonym(struct str text)
{
	uint8_t digest[PRIVACY_KEY_SIZE];
	return text.len == PSEUDONYM_SIZE && str_starts(text, STR("p_")) &&
	       hex_decode(str_of(text.ptr + 2, text.len - 2), digest, sizeof digest) == OK;
}

/* "guest" and the like name nobody; as a pseudonym they would pass for one person. */
static bool stays(const struct config *config, struct str text)
{
	text = str_trim(text);
	if (text.len == 0 || is_pseudonym(text)) return true;
	for (size_t i = 0; i < config->blocked_identifier_count; i++)
		if (equals_lower(text, config->blocked_identifiers[i])) return true;
	return false;
}

#define EMAIL_MAX 320

/* What is hashed of a text: one spelling of an address of mail. */
static struct str spelling(struct str text, bool is_email, char out[EMAIL_MAX])
{
	if (!is_email) return text;
	text = str_trim(text);
	if (text.len > EMAIL_MAX) return text;
	for (size_t i = 0; i < text.len; i++) out[i] = lower(text.ptr[i]);
	return str_of(out, text.len);
}

static void pseudonym_of(const struct intake *in, struct str text, bool is_email, char out[PSEUDONYM_SIZE + 1])
{
	char mail[EMAIL_MAX];
	privacy_pseudonym(&in->worker->ingest->key, spelling(text, is_email, mail), out);
}

static int write_pseudonym_of_text(struct redaction *r, struct str text, bool is_email)
{
	char pseudonym[PSEUDONYM_SIZE + 1];
	if (stays(r->in->config, text)) return json_write_str(r->out, text);
	pseudonym_of(r->in, text, is_email, pseudonym);
	return json_write_str(r->out, str_of(pseudonym, PSEUDONYM_SIZE));
}

/* Numbers as the text they are written as, so that 42 and "42" are one; objects as a whole. */
static int write_pseudonym_of_json(struct redaction *r, struct json value)
{
	struct buf text;
	buf_init(&text, r->in->config->limits.body_bytes);
	int rc = json_write_canonical(&text, value);
	if (rc == OK) rc = write_pseudonym_of_text(r, buf_str(&text), false);
	buf_fini(&text);
	return rc;
}

static int write_pseudonym(struct redaction *r, struct json value, bool is_email)
{
	struct str text;
	struct json_iter it;
	struct json element;
	int rc = OK;
	if (json_type(value) == JSON_NULL) return buf_append_str(r->out, STR("null"));
	if (json_str(value, &text)) return write_pseudonym_of_text(r, text, is_email);
	if (json_type(value) != JSON_ARRAY) return write_pseudonym_of_json(r, value);
	rc = buf_putc(r->out, '[');
	json_iter_start(value, &it);
	for (bool is_first = true; rc == OK && json_next_element(&it, &element); is_first = false) {
		if (!is_first) rc = buf_putc(r->out, ',');
		if (rc == OK) rc = write_pseudonym(r, element, is_email);
	}
	return rc == OK ? buf_putc(r->out, ']') : rc;
}

/* ── values; as deep as the document, which JSON_MAX_DEPTH bounds ────────── */

static int write_value(struct redaction *r, struct json value, const struct privacy_rule *rule);

static int write_plain(struct redaction *r, struct json value)
{
	return r->is_partial ? json_write(r->out, value) : json_write_canonical(r->out, value);
}

/* What does not read as an address cannot be cut, so it is not kept. */
static bool is_left_out(struct json value, const struct privacy_rule *rule)
{
	struct str text;
	char cut[ADDRESS_SIZE];
	if (rule->act == PRIVACY_DROP) return true;
	return rule->act == PRIVACY_TRUNCATE && (!json_str(value, &text) || address_truncate(text, cut) == 0);
}

static int write_member(struct redaction *r, struct str key, struct json value, const struct privacy_rule *rule)
{
	int rc = json_write_str(r->out, key);
	if (rc == OK) rc = buf_putc(r->out, ':');
	if (rc != OK) return rc;
	return rule ? write_value(r, value, rule) : write_plain(r, value);
}

static int write_object(struct redaction *r, struct json object, const struct privacy_rule *rule)
{
	struct json_iter it;
	struct str key;
	struct json value;
	bool is_first = true;
	int rc = buf_putc(r->out, '{');
	json_iter_start(object, &it);
	while (rc == OK && json_next_member(&it, &key, &value)) {
		const struct privacy_rule *below = privacy_find(rule, key);
		if (below && is_left_out(value, below)) continue;
		if (!is_first) rc = buf_putc(r->out, ',');
		if (rc == OK) rc = write_member(r, key, value, below);
		is_first = false;
	}
	return rc == OK ? buf_putc(r->out, '}') : rc;
}

static int write_array(struct redaction *r, struct json array, const struct privacy_rule *rule)
{
	struct json_iter it;
	struct json element;
	int rc = buf_putc(r->out, '[');
	json_iter_start(array, &it);
	for (bool is_first = true; rc == OK && json_next_element(&it, &element); is_first = false) {
		if (!is_first) rc = buf_putc(r->out, ',');
		if (rc == OK) rc = write_value(r, element, rule);
	}
	return rc == OK ? buf_putc(r->out, ']') : rc;
}

static int write_truncated(struct redaction *r, struct json value)
{
	struct str text = STR_NONE;
	char cut[ADDRESS_SIZE];
	(void)json_str(value, &text);
	return json_write_str(r->out, str_of(cut, address_truncate(text, cut)));
}

static int write_value(struct redaction *r, struct json value, const struct privacy_rule *rule)
{
	if (rule->act == PRIVACY_PSEUDONYM) return write_pseudonym(r, value, rule->is_email);
	if (rule->act == PRIVACY_TRUNCATE) return write_truncated(r, value);
	switch (json_type(value)) {
	case JSON_OBJECT: return write_object(r, value, rule);
	case JSON_ARRAY: return write_array(r, value, rule);
	default: return write_plain(r, value);
	}
}

/* ── the event ───────────────────────────────────────────────────────────── */

static int fault_of_size(struct draft *draft, struct str pointer)
{
	return draft_fault(draft, PROBLEM_TOO_LARGE, pointer,
			   STR("the event is too large once its private fields are replaced"));
}

static bool is_escaped(struct str key)
{
	for (size_t i = 0; i < key.len; i++)
		if ((uint8_t)key.ptr[i] < 0x20 || key.ptr[i] == '"' || key.ptr[i] == '\\') return true;
	return false;
}

/* Keys have one spelling in a canonical text: where the name does not stand, there is nothing to take out. */
static bool may_hold(struct str text, const struct privacy_rule *rule)
{
	for (const struct privacy_rule *at = rule->below; at; at = at->next)
		if (is_escaped(at->key) || memmem(text.ptr, text.len, at->key.ptr, at->key.len)) return true;
	return false;
}

static int lend_ip(struct intake *in, struct draft *draft, struct json context)
{
	struct json value;
	struct str text;
	if (!json_get(context, STR("ip"), &value) || !json_str(value, &text) || !text.len) return OK;
	draft->is_ip_lent = true;
	return arena_str(&in->worker->scratch, text, &draft->event.ip);
}

struct part {
	struct str name, pointer;
	struct str *text;
	struct span *span;
};

static int redact_part(struct intake *in, struct draft *draft, const struct privacy_rules *rules,
		       const struct part *part)
{
	struct buf *text = &in->worker->text;
	struct json value;
	const struct privacy_rule *rule = privacy_find(&rules->root, part->name);
	if (!rule || part->text->len == 0 || !may_hold(*part->text, rule)) return OK;
	struct redaction r = {.in = in, .out = text};
	int rc = intake_parse_part(in, *part->text, &value);
	if (rc == OK && rules->ip && part->text == &draft->event.context) rc = lend_ip(in, draft, value);
	size_t at = text->len;
	if (rc == OK) rc = write_value(&r, value, rule);
	if (rc != OK) return fault_of_size(draft, part->pointer);
	*part->span = (struct span){at, text->len - at};
	message_resolve(in->worker, draft);
	return OK;
}

static int redact_id(struct intake *in, struct draft *draft, const struct privacy_rules *rules, struct str name,
		     struct str *value)
{
	char pseudonym[PSEUDONYM_SIZE + 1];
	const struct privacy_rule *rule = privacy_find(&rules->root, name);
	if (!rule || rule->act != PRIVACY_PSEUDONYM || stays(in->config, *value)) return OK;
	pseudonym_of(in, *value, false, pseudonym);
	int rc = arena_str(&in->worker->scratch, str_of(pseudonym, PSEUDONYM_SIZE), value);
	return rc == OK ? OK : fault_of_size(draft, STR_NONE);
}

/* What is taken out must be kept from enrichers too, who might store it; an address that is only cut they may look up. */
static bool only_truncates(const struct privacy_rules *rules)
{
	const struct privacy_rule *part = rules->root.below;
	return rules->ip == PRIVACY_TRUNCATE && !part->next && !part->below->next;
}

int redact_event(struct intake *in, struct draft *draft)
{
	const struct privacy_rules *rules = in->caller.source->rules;
	struct cdpd_event *event = &draft->event;
	if (!rules) return OK;
	const struct part parts[] = {
	    {STR("properties"), STR("/properties"), &event->properties, &draft->properties},
	    {STR("traits"), STR("/traits"), &event->traits, &draft->traits},
	    {STR("context"), STR("/context"), &event->context, &draft->context},
	};
	int rc = redact_id(in, draft, rules, STR("userId"), &event->user_id);
	if (rc == OK) rc = redact_id(in, draft, rules, STR("anonymousId"), &event->anonymous_id);
	if (rc == OK) rc = redact_id(in, draft, rules, STR("previousId"), &event->previous_id);
	if (rc == OK) rc = redact_id(in, draft, rules, STR("groupId"), &event->group_id);
	for (size_t i = 0; i < COUNT_OF(parts) && rc == OK; i++) rc = redact_part(in, draft, rules, &parts[i]);
	if (!only_truncates(rules)) draft->root = NULL;
	return rc;
}

int redact_address(struct intake *in, struct draft *draft)
{
	const struct privacy_rules *rules = in->caller.source->rules;
	char text[PSEUDONYM_SIZE + 1];
	size_t len = 0;
	struct str *ip = &draft->event.ip;
	if (!rules || !rules->ip || !ip->len) return OK;
	if (rules->ip == PRIVACY_TRUNCATE && !draft->is_ip_lent) len = address_truncate(*ip, text);
	if (rules->ip == PRIVACY_PSEUDONYM && !draft->is_ip_lent) {
		pseudonym_of(in, *ip, false, text);
		len = PSEUDONYM_SIZE;
	}
	int rc = arena_str(&in->worker->scratch, str_of(text, len), ip);
	return rc == OK ? OK : fault_of_size(draft, STR_NONE);
}

/* ── rejects ─────────────────────────────────────────────────────────────── */

void redact_excerpt(struct intake *in, const struct draft *draft, struct buf *out)
{
	const struct privacy_rules *rules = intake_rules(in);
	struct redaction r = {.in = in, .out = out, .is_partial = true};
	buf_clear(out);
	if (draft->shown && write_value(&r, *draft->shown, &rules->root) == ERR_NOMEM) buf_clear(out);
}

static size_t token_len(struct str rest)
{
	const char *slash = memchr(rest.ptr, '/', rest.len);
	return slash ? (size_t)(slash - rest.ptr) : rest.len;
}

/* A token as the key it stands for: ~1 is a slash, ~0 a tilde. */
static bool is_token_of(struct str token, struct str key)
{
	size_t k = 0;
	for (size_t i = 0; i < token.len; i++, k++) {
		char c = token.ptr[i];
		if (c == '~' && i + 1 < token.len) c = token.ptr[++i] == '1' ? '/' : '~';
		if (k == key.len || key.ptr[k] != c) return false;
	}
	return k == key.len;
}

static bool is_index(struct str token)
{
	uint64_t index;
	return str_to_u64(token, &index) == OK;
}

bool redact_pointer(const struct privacy_rules *rules, struct str *pointer)
{
	const struct privacy_rule *rule = &rules->root;
	struct str rest = *pointer;
	while (rest.len && rule) {
		rest = str_of(rest.ptr + 1, rest.len - 1); /* the slash */
		struct str token = str_of(rest.ptr, token_len(rest));
		rest = str_of(token.ptr + token.len, rest.len - token.len);
		const struct privacy_rule *below = rule->below;
		while (below && !is_token_of(token, below->key)) below = below->next;
		if (!below && is_index(token)) continue;
		rule = below;
		if (!rule || rule->act == PRIVACY_KEEP) continue;
		pointer->len = (size_t)(rest.ptr - pointer->ptr);
		return true;
	}
	return false;
}
