/* What readers ask of consent: answers, proofs, the log as a whole. */
#include "profile/consent_log.h"
#include "profile/reader.h"

static const struct consent_rules *rules_of(const struct people_reader *reader)
{
	static const struct consent_rules none = {0};
	return reader->plan ? &reader->plan->definitions.consent : &none;
}

/* ── may one? ────────────────────────────────────────────────────────────── */

/* The shown consents as a list to look things up in. */
static int list_of(const struct profile *profile, struct arena *arena, struct consent_list *out)
{
	*out = (struct consent_list){.items = arena_array(arena, struct consent, profile->consent_count + 1),
				     .count = profile->consent_count};
	if (!out->items) return ERR_NOMEM;
	for (size_t i = 0; i < out->count; i++) out->items[i] = profile->consents[i].record;
	return OK;
}

static int answer(const struct profile *profile, const struct purpose_rule *rule, struct str channel, int64_t now,
		  struct arena *arena, struct consent_answer *out)
{
	struct consent_list list;
	int rc = list_of(profile, arena, &list);
	if (rc) return rc;
	const struct consent *record = consent_lookup(&list, rule->name, channel);
	out->state = consent_state_at(record, now);
	if (record) out->record = *record;
	return OK;
}

int people_consent_check(struct people_reader *reader, struct str ref, struct str purpose, struct str channel,
			 int64_t now, struct arena *arena, struct consent_answer *out)
{
	struct profile profile;
	*out = (struct consent_answer){.state = CONSENT_NONE};
	CHECK(reader->is_open);
	const struct purpose_rule *rule = purpose_rule_find(rules_of(reader), purpose);
	if (!rule) return ERR_REFUSED;
	if (!purpose_rule_has_channel(rule, channel)) return ERR_EXISTS;
	int rc = people_get(reader, ref, PROFILE_CONSENTS, now, arena, &profile);
	out->is_person_known = rc == OK;
	if (rc == OK) rc = answer(&profile, rule, channel, now, arena, out);
	out->is_allowed = consent_allows(rule, out->state);
	return rc == ERR_NOT_FOUND ? OK : rc;
}

bool people_gates_destination(const struct people_reader *reader, struct str destination)
{
	const struct consent_rules *rules = rules_of(reader);
	for (size_t i = 0; i < rules->count; i++)
		if (purpose_rule_gates(&rules->purposes[i], destination)) return true;
	return false;
}

bool people_purpose_at(const struct people_reader *reader, size_t index, struct str *name)
{
	const struct consent_rules *rules = rules_of(reader);
	if (index >= rules->count) return false;
	*name = rules->purposes[index].name;
	return true;
}

bool people_purpose_gates(const struct people_reader *reader, struct str purpose, struct str destination)
{
	const struct purpose_rule *rule = purpose_rule_find(rules_of(reader), purpose);
	return rule && purpose_rule_gates(rule, destination);
}

bool people_consent_lost(const struct people_reader *reader, struct str purpose, enum consent_state before,
			 enum consent_state after)
{
	const struct purpose_rule *rule = purpose_rule_find(rules_of(reader), purpose);
	return rule && consent_allows(rule, before) && !consent_allows(rule, after);
}

int people_consent_gate(struct people_reader *reader, const uint8_t fragment[16], struct str destination, int64_t now,
			struct arena *arena, bool *is_allowed)
{
	const struct consent_rules *rules = rules_of(reader);
	char ref[3 + FRAGMENT_ID_TEXT_SIZE] = "id:";
	struct fragment_id id;
	struct profile profile;
	memcpy(id.bytes, fragment, sizeof id.bytes);
	fragment_id_format(&id, ref + 3);
	int rc = people_get(reader, str_from(ref), PROFILE_CONSENTS, now, arena, &profile);
	if (rc == ERR_NOT_FOUND) profile = (struct profile){.consent_count = 0}; /* gone: what was said is gone too */
	if (rc && rc != ERR_NOT_FOUND) return rc;
	*is_allowed = true;
	for (size_t i = 0; i < rules->count && *is_allowed; i++) {
		struct consent_answer out;
		if (!purpose_rule_gates(&rules->purposes[i], destination)) continue;
		rc = answer(&profile, &rules->purposes[i], STR_NONE, now, arena, &out);
		if (rc) return rc;
		*is_allowed = consent_allows(&rules->purposes[i], out.state);
	}
	return OK;
}

/* ── proofs and tokens ───────────────────────────────────────────────────── */

int people_consent_proof(struct people_reader *reader, uint64_t log, struct arena *arena, struct str *out)
{
	uint8_t salt[CONSENT_SALT_SIZE];
	struct str text;
	CHECK(reader->is_open);
	int rc = consent_payload_get(reader->txn, &reader->people->tables, log, salt, &text);
	return rc ? rc : arena_str(arena, text, out);
}

int people_token_used(struct people_reader *reader, int64_t expires, const uint8_t id[16], uint64_t *seq)
{
	CHECK(reader->is_open);
	return consent_token_find(reader->txn, &reader->people->tables, expires, id, seq);
}

/* ── the whole log ───────────────────────────────────────────────────────── */

static void break_at(struct consent_verify *verify, uint64_t n, const char *why)
{
	verify->broken_at = n ? n : 1;
	verify->why = why;
	verify->is_done = true;
}

static int check_payload(struct people_reader *reader, const struct consent_log_row *row, struct consent_verify *verify)
{
	uint8_t salt[CONSENT_SALT_SIZE], hash[SHA256_SIZE];
	struct str text;
	int rc = consent_payload_get(reader->txn, &reader->people->tables, row->n, salt, &text);
	if (rc == ERR_NOT_FOUND) {
		verify->erased++;
		return OK;
	}
	if (rc == ERR_CORRUPT) {
		break_at(verify, row->n, "its payload is damaged");
		return OK;
	}
	if (!rc) rc = consent_payload_hash(salt, text, hash);
	if (!rc && memcmp(hash, row->payload_hash, sizeof hash) != 0)
		break_at(verify, row->n, "its payload is not the one that was logged");
	return rc;
}

static int check_row(struct people_reader *reader, struct str key, struct str value, struct consent_verify *verify)
{
	struct consent_log_row row;
	bool is_sound;
	uint64_t expected = verify->next ? verify->next : 1;
	int rc = consent_log_decode(key, value, &row);
	if (rc == ERR_CORRUPT) {
		break_at(verify, expected, "it cannot be read");
		return OK;
	}
	if (!rc) rc = consent_log_check(&row, &is_sound);
	if (rc) return rc;
	if (row.n != expected)
		break_at(verify, expected, "it is missing");
	else if (memcmp(row.previous, verify->head, SHA256_SIZE) != 0)
		break_at(verify, row.n, "it does not follow the row before it");
	else if (!is_sound)
		break_at(verify, row.n, "its hash is not that of its content");
	if (verify->is_done) return OK;
	memcpy(verify->head, row.hash, SHA256_SIZE);
	verify->rows++;
	verify->next = row.n + 1;
	return check_payload(reader, &row, verify);
}

int people_consent_verify(struct people_reader *reader, size_t max_rows, struct consent_verify *verify)
{
	struct store_cursor *cursor;
	uint64_t from = verify->next;
	struct str key = store_key64(&from), value;
	CHECK(reader->is_open);
	int rc = store_cursor_open(reader->txn, reader->people->tables.consent_log, &cursor);
	if (rc) return rc;
	rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value);
	for (size_t i = 0; i < max_rows && !rc && !verify->is_done; i++) {
		rc = check_row(reader, key, value, verify);
		if (!rc) rc = store_cursor_move(cursor, STORE_NEXT, &key, &value);
	}
	store_cursor_close(cursor);
	if (rc != ERR_NOT_FOUND) return rc;
	verify->is_done = true;
	return OK;
}
