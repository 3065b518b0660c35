#include <stdio.h>
#include <stdlib.h>

#include "profile/consent_fold.h"
#include "profile/sealed.h"
#include "world.h"

static struct world world;

/* The world's definitions with purposes: newsletter (email, sms), ads (gates ingest of Ad Seen), optin (double opt-in), stats (granted by default, gates
 * the source web2). */
static const char *definitions(void)
{
	static char text[8192];
	snprintf(text, sizeof text,
		 "{\"consent\":["
		 "{\"basis\":\"consent\",\"channels\":[],\"default\":false,\"destinations\":[\"crm\"],\"double_opt_"
		 "in\":false,"
		 "\"events\":[\"Ad Seen\"],\"ingest\":true,\"name\":\"ads\",\"sources\":[]},"
		 "{\"basis\":\"consent\",\"channels\":[\"email\",\"sms\"],\"default\":false,\"destinations\":[],"
		 "\"double_opt_in\":false,\"events\":[],\"ingest\":false,\"name\":\"newsletter\",\"sources\":[]},"
		 "{\"basis\":\"consent\",\"channels\":[\"email\",\"sms\"],\"default\":false,\"destinations\":[],"
		 "\"double_opt_in\":true,\"events\":[],\"ingest\":false,\"name\":\"optin\",\"sources\":[]},"
		 "{\"basis\":\"legitimate_interests\",\"channels\":[],\"default\":true,\"destinations\":[],"
		 "\"double_opt_in\":false,\"events\":[],\"ingest\":true,\"name\":\"stats\",\"sources\":[\"web2\"]}],%s",
		 world_definitions + 1);
	return text;
}

static int setup(void **state)
{
	(void)state;
	world_open_empty(&world);
	world_define(&world, definitions());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_check(&world);
	world_close(&world);
	return 0;
}

struct said {
	const char *user, *anonymous, *purpose, *channel, *state, *more, *attested;
};

static struct str printed(const char *fmt, const char *a, const char *b, const char *c, const char *d)
{
	struct str text;
	assert_int_equal(arena_printf(&world.arena, &text, fmt, a, b, c, d), OK);
	return text;
}

static struct cdpd_event act(const struct said *said)
{
	struct cdpd_event event =
	    world_event(EVENT_TRACK, said->user ? said->user : "", said->anonymous ? said->anonymous : "");
	event.flags |= EVENT_CONSENT;
	event.event = STR("Consent");
	event.source_id = STR("backend");
	event.properties = printed("{\"purpose\":\"%s\",\"channel\":\"%s\",\"state\":\"%s\"%s}", said->purpose,
				   said->channel ? said->channel : "", said->state, said->more ? said->more : "");
	event.enrichment = printed("{\"consent\":{\"salt\":\"00112233445566778899aabbccddeeff\"%s}}%s%s%s",
				   said->attested ? said->attested : "", "", "", "");
	return event;
}

static struct apply_result say(struct said said)
{
	struct cdpd_event event = act(&said);
	return world_one(&world, &event);
}

static struct apply_result link(const char *user, const char *anonymous)
{
	struct cdpd_event event = world_event(EVENT_IDENTIFY, user, anonymous);
	return world_one(&world, &event);
}

static struct consent_answer check(const char *ref, const char *purpose, const char *channel, int64_t now)
{
	struct consent_answer answer;
	view_begin(&world);
	assert_int_equal(people_consent_check(world.reader, str_from(ref), str_from(purpose), str_from(channel), now,
					      &world.arena, &answer),
			 OK);
	view_end(&world);
	return answer;
}

static void assert_state(const char *ref, const char *purpose, const char *channel, enum consent_state state)
{
	assert_string_equal(consent_state_name(check(ref, purpose, channel, WORLD_T0).state),
			    consent_state_name(state));
}

/* ── one person ──────────────────────────────────────────────────────────── */

static void no_record_is_the_default(void **state)
{
	(void)state;
	struct consent_answer answer = check("user_id:nobody", "newsletter", "email", WORLD_T0);
	assert_false(answer.is_allowed);
	assert_false(answer.is_person_known);
	assert_true(check("user_id:nobody", "stats", "", WORLD_T0).is_allowed);
	view_begin(&world);
	assert_int_equal(
	    people_consent_check(world.reader, STR("user_id:x"), STR("spam"), STR_NONE, 0, &world.arena, &answer),
	    ERR_REFUSED);
	assert_int_equal(people_consent_check(world.reader, STR("user_id:x"), STR("newsletter"), STR("fax"), 0,
					      &world.arena, &answer),
			 ERR_EXISTS);
	assert_int_equal(
	    people_consent_check(world.reader, STR("nonsense"), STR("newsletter"), STR_NONE, 0, &world.arena, &answer),
	    ERR_INVALID);
	view_end(&world);
}

static void a_later_act_replaces_and_one_for_all_channels_replaces_all(void **state)
{
	(void)state;
	say((struct said){.user = "u1", .purpose = "newsletter", .state = "granted"});
	assert_true(check("user_id:u1", "newsletter", "sms", WORLD_T0).is_allowed);
	say((struct said){.user = "u1", .purpose = "newsletter", .channel = "email", .state = "withdrawn"});
	assert_state("user_id:u1", "newsletter", "email", CONSENT_WITHDRAWN);
	assert_state("user_id:u1", "newsletter", "sms", CONSENT_GRANTED);
	say((struct said){.user = "u1", .purpose = "newsletter", .state = "granted"});
	assert_state("user_id:u1", "newsletter", "email", CONSENT_GRANTED);
	assert_false(check("user_id:u1", "ads", "", WORLD_T0).is_allowed);
}

static void a_grant_ends_with_its_time(void **state)
{
	(void)state;
	say((struct said){.user = "u1",
			  .purpose = "newsletter",
			  .state = "granted",
			  .more = ",\"expires_at\":\"2023-11-15T00:00:00Z\""});
	int64_t end = INT64_C(1700006400000000);
	assert_true(check("user_id:u1", "newsletter", "", end - 1).is_allowed);
	struct consent_answer answer = check("user_id:u1", "newsletter", "", end);
	assert_false(answer.is_allowed);
	assert_int_equal(answer.state, CONSENT_EXPIRED);
}

static void what_cannot_be_an_act_changes_nothing(void **state)
{
	(void)state;
	struct apply_result result = say((struct said){.user = "u1", .purpose = "spam", .state = "granted"});
	assert_int_equal(result.verdict, OUTCOME_REFUSED);
	assert_int_equal(result.reason, OUTCOME_REASON_UNKNOWN_PURPOSE);
	result = say((struct said){.user = "u1", .purpose = "ads", .state = "perhaps"});
	assert_int_equal(result.reason, OUTCOME_REASON_UNDECODABLE);
	struct cdpd_event event = act(&(struct said){.user = "u1", .purpose = "ads", .state = "granted"});
	event.enrichment = STR_NONE;
	assert_int_equal(world_one(&world, &event).reason, OUTCOME_REASON_UNDECODABLE);
	event = act(&(struct said){.user = "u1", .purpose = "ads", .state = "granted"});
	event.flags = 0; /* as any client could write it */
	assert_int_equal(world_one(&world, &event).verdict, OUTCOME_APPLIED);
	assert_state("user_id:u1", "ads", "", CONSENT_NONE);
}

/* ── links ───────────────────────────────────────────────────────────────── */

static void denied_then_linked_then_granted_is_granted(void **state)
{
	(void)state;
	say((struct said){.anonymous = "a1", .purpose = "newsletter", .state = "denied"});
	link("u1", "a1");
	assert_state("user_id:u1", "newsletter", "email", CONSENT_DENIED);
	say((struct said){.user = "u1", .purpose = "newsletter", .state = "granted"});
	assert_state("user_id:u1", "newsletter", "email", CONSENT_GRANTED);
	assert_state("anonymous_id:a1", "newsletter", "email", CONSENT_GRANTED);
}

static void granted_and_denied_then_linked_is_denied(void **state)
{
	(void)state;
	say((struct said){.anonymous = "a1", .purpose = "newsletter", .state = "denied"});
	say((struct said){.user = "u1", .purpose = "newsletter", .channel = "email", .state = "granted"});
	link("u1", "a1");
	assert_state("user_id:u1", "newsletter", "email", CONSENT_DENIED);
	assert_state("user_id:u1", "newsletter", "sms", CONSENT_DENIED);
	say((struct said){.anonymous = "a1", .purpose = "newsletter", .channel = "sms", .state = "granted"});
	assert_state("user_id:u1", "newsletter", "sms", CONSENT_GRANTED);
	assert_state("user_id:u1", "newsletter", "email", CONSENT_DENIED);
}

/* What was superseded before a third fragment came does not rise again. */
static void a_third_fragment_does_not_wake_what_was_superseded(void **state)
{
	(void)state;
	say((struct said){.anonymous = "a1", .purpose = "ads", .state = "denied"});
	link("u1", "a1");
	say((struct said){.user = "u1", .purpose = "ads", .state = "granted"});
	say((struct said){.anonymous = "a2", .purpose = "ads", .state = "granted"});
	link("u1", "a2");
	assert_state("user_id:u1", "ads", "", CONSENT_GRANTED);
	say((struct said){.anonymous = "a3", .purpose = "ads", .state = "withdrawn"});
	link("u1", "a3");
	assert_state("user_id:u1", "ads", "", CONSENT_WITHDRAWN);
}

static void a_link_takes_the_grant_that_ends_first(void **state)
{
	(void)state;
	say((struct said){.anonymous = "a1",
			  .purpose = "ads",
			  .state = "granted",
			  .more = ",\"expires_at\":\"2023-11-15T00:00:00Z\""});
	say((struct said){.user = "u1", .purpose = "ads", .state = "granted"});
	link("u1", "a1");
	assert_true(check("user_id:u1", "ads", "", WORLD_T0).is_allowed);
	assert_int_equal(check("user_id:u1", "ads", "", WORLD_T0 + INT64_C(86400000000)).state, CONSENT_EXPIRED);
}

static void changes_tell_every_act_and_what_a_link_changed(void **state)
{
	(void)state;
	say((struct said){.anonymous = "a1", .purpose = "ads", .state = "denied"});
	say((struct said){.user = "u1", .purpose = "ads", .state = "granted"});
	uint64_t before = people_last_change(world.people);
	link("u1", "a1");
	world_begin(&world);
	struct apply_result result;
	struct cdpd_event event = act(&(struct said){.user = "u1", .purpose = "ads", .state = "granted"});
	world_apply(&world, &event, &result);
	event = act(&(struct said){.user = "u1", .purpose = "ads", .state = "withdrawn"});
	world_apply(&world, &event, &result);
	world_commit(&world);
	const char *changes = view_changes(&world, before);
	const char *expected[] = {"consent "
				  "{\"purpose\":\"ads\",\"state\":\"denied\",\"previous\":\"granted\",\"basis\":"
				  "\"consent\",\"cause\":\"link\"}",
				  "consent "
				  "{\"purpose\":\"ads\",\"state\":\"granted\",\"previous\":\"denied\",\"basis\":"
				  "\"consent\",\"cause\":\"act\"}",
				  "consent "
				  "{\"purpose\":\"ads\",\"state\":\"withdrawn\",\"previous\":\"granted\",\"basis\":"
				  "\"consent\",\"cause\":\"act\"}"};
	for (size_t i = 0; i < COUNT_OF(expected); i++) {
		changes = strstr(changes, expected[i]);
		if (!changes) print_error("%s\n", view_changes(&world, before));
		assert_non_null(changes);
	}
}

/* ── double opt-in ───────────────────────────────────────────────────────── */

#define TOKEN ",\"confirmed\":true,\"token\":{\"id\":\"aabbccddeeff00112233445566778899\",\"expires\":1900000000000000}"

static void a_grant_waits_for_its_confirmation(void **state)
{
	(void)state;
	say((struct said){.user = "u1", .purpose = "optin", .channel = "email", .state = "granted"});
	assert_state("user_id:u1", "optin", "email", CONSENT_PENDING);
	assert_false(check("user_id:u1", "optin", "email", WORLD_T0).is_allowed);
	struct apply_result first = say(
	    (struct said){.user = "u1", .purpose = "optin", .channel = "email", .state = "granted", .attested = TOKEN});
	assert_int_equal(first.verdict, OUTCOME_APPLIED);
	assert_state("user_id:u1", "optin", "email", CONSENT_GRANTED);
	uint64_t used = world.seq;
	/* Somebody asks again with her address: what she confirmed stands. */
	say((struct said){.user = "u1", .purpose = "optin", .channel = "email", .state = "granted"});
	assert_state("user_id:u1", "optin", "email", CONSENT_GRANTED);
	say((struct said){.user = "u1", .purpose = "optin", .channel = "email", .state = "withdrawn"});
	struct apply_result second = say(
	    (struct said){.user = "u1", .purpose = "optin", .channel = "email", .state = "granted", .attested = TOKEN});
	assert_int_equal(second.verdict, OUTCOME_DUPLICATE);
	assert_int_equal(second.previous_seq, used);
	assert_state("user_id:u1", "optin", "email", CONSENT_WITHDRAWN);
}

/* ── gates ───────────────────────────────────────────────────────────────── */

static enum outcome_verdict see_ad(const char *user, const char *anonymous)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, anonymous);
	event.event = STR("Ad Seen");
	return world_one(&world, &event).verdict;
}

static void the_gate_at_ingest_denies(void **state)
{
	(void)state;
	struct profile profile;
	assert_int_equal(see_ad("u1", ""), OUTCOME_DENIED);
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u1", &profile), ERR_NOT_FOUND); /* no trace */
	view_end(&world);
	say((struct said){.user = "u1", .purpose = "ads", .state = "granted"});
	assert_int_equal(see_ad("u1", ""), OUTCOME_APPLIED);
	say((struct said){.user = "u1", .purpose = "ads", .state = "withdrawn"});
	assert_int_equal(see_ad("u1", ""), OUTCOME_DENIED);
	struct cdpd_event other = world_event(EVENT_TRACK, "u1", "");
	other.event = STR("Order Completed");
	assert_int_equal(world_one(&world, &other).verdict, OUTCOME_APPLIED);
	other.source_id = STR("web2"); /* stats: granted by default */
	assert_int_equal(world_one(&world, &other).verdict, OUTCOME_APPLIED);
	say((struct said){.user = "u1", .purpose = "stats", .state = "denied"});
	assert_int_equal(world_one(&world, &other).verdict, OUTCOME_DENIED);
}

static void the_gate_looks_at_whom_the_event_would_join(void **state)
{
	(void)state;
	say((struct said){.anonymous = "a1", .purpose = "ads", .state = "denied"});
	say((struct said){.user = "u1", .purpose = "ads", .state = "granted"});
	say((struct said){.user = "u2", .purpose = "ads", .state = "granted"});
	assert_int_equal(see_ad("u1", "a1"), OUTCOME_DENIED); /* it would join the visitor that denied */
	assert_int_equal(see_ad("u1", ""), OUTCOME_APPLIED);
	link("u1", "a1");
	assert_int_equal(see_ad("u1", ""), OUTCOME_DENIED);
	/* A shared device: a1 belongs to u1 and is kept apart from u2. */
	assert_int_equal(see_ad("u2", "a1"), OUTCOME_DENIED);
	link("u2", "a1");
	assert_int_equal(see_ad("u2", "a1"), OUTCOME_APPLIED);
}

static void destinations_ask_for_each_person(void **state)
{
	(void)state;
	bool is_allowed;
	struct apply_result result = say((struct said){.user = "u1", .purpose = "ads", .state = "granted"});
	view_begin(&world);
	assert_true(people_gates_destination(world.reader, STR("crm")));
	assert_false(people_gates_destination(world.reader, STR("file")));
	assert_int_equal(
	    people_consent_gate(world.reader, result.fragment.bytes, STR("crm"), WORLD_T0, &world.arena, &is_allowed),
	    OK);
	assert_true(is_allowed);
	uint8_t nobody[16] = {7};
	assert_int_equal(people_consent_gate(world.reader, nobody, STR("crm"), WORLD_T0, &world.arena, &is_allowed),
			 OK);
	assert_false(is_allowed);
	view_end(&world);
}

/* ── the log ─────────────────────────────────────────────────────────────── */

static struct consent_verify verify(size_t slice)
{
	struct consent_verify verify = {0};
	view_begin(&world);
	while (!verify.is_done) assert_int_equal(people_consent_verify(world.reader, slice, &verify), OK);
	view_end(&world);
	return verify;
}

static void tamper(store_db db, uint64_t n, size_t at, bool is_deleted)
{
	struct str key = store_key64(&n), value;
	char copy[4096];
	world_begin(&world);
	struct store_txn *txn = people_txn(world.people);
	assert_int_equal(store_get(txn, db, key, &value), OK);
	size_t len = value.len;
	assert_true(len <= sizeof copy);
	memcpy(copy, value.ptr, len);
	struct sealed sealed; /* a forger knows how to close it again */
	assert_int_equal(sealed_open(key, value, &sealed), OK);
	copy[at < len ? at : len - 1] ^= 1;
	sealed_close(key, copy, len, sealed);
	assert_int_equal(store_del(txn, db, key), OK);
	if (!is_deleted) assert_int_equal(store_put(txn, db, key, (struct str){copy, len}), OK);
	world_commit(&world);
}

static void the_log_is_a_chain_that_erasing_leaves_whole(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++)
		say((struct said){.user = i % 2 ? "u1" : "u2",
				  .purpose = "ads",
				  .state = i % 3 ? "granted" : "denied",
				  .more = ",\"proof\":{\"text\":\"I agree\",\"version\":\"3\"}"});
	struct consent_verify whole = verify(3);
	assert_int_equal(whole.rows, 10);
	assert_int_equal(whole.broken_at, 0);
	assert_int_equal(whole.erased, 0);
	struct consent_answer answer = check("user_id:u1", "ads", "", WORLD_T0);
	struct str proof;
	view_begin(&world);
	assert_int_equal(people_consent_proof(world.reader, answer.record.log, &world.arena, &proof), OK);
	assert_non_null(strstr(proof.ptr, "I agree"));
	view_end(&world);

	tamper(world.people->tables.consent_payloads, 4, 30, true);
	struct consent_verify erased = verify(1000);
	assert_int_equal(erased.broken_at, 0);
	assert_int_equal(erased.erased, 1);
	assert_memory_equal(erased.head, whole.head, 32);
	tamper(world.people->tables.consent_payloads, 7, 30, false);
	assert_int_equal(verify(1000).broken_at, 7);
	tamper(world.people->tables.consent_log, 5, 40, false);
	assert_int_equal(verify(1000).broken_at, 5);
	tamper(world.people->tables.consent_log, 3, 40, true);
	assert_int_equal(verify(1000).broken_at, 3);
}

static void definitions_with_broken_purposes_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "{}", "[1]", "[{\"name\":\"a\"}]",
	    "[{\"basis\":\"whim\",\"channels\":[],\"default\":false,\"destinations\":[],\"double_opt_in\":false,"
	    "\"events\":[],"
	    "\"ingest\":false,\"name\":\"a\",\"sources\":[]}]",
	    "[{\"basis\":\"consent\",\"channels\":[\"\"],\"default\":false,\"destinations\":[],\"double_opt_in\":false,"
	    "\"events\":[],\"ingest\":false,\"name\":\"a\",\"sources\":[]}]"};
	struct definitions out;
	struct str text;
	assert_int_equal(definitions_parse(str_from(definitions()), &world.arena, &out), OK);
	assert_int_equal(out.consent.count, 4);
	assert_true(out.consent.gates_ingest);
	assert_int_equal(definitions_parse(str_from(world_definitions), &world.arena, &out),
			 OK); /* as they were before */
	assert_int_equal(out.consent.count, 0);
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		assert_int_equal(arena_printf(&world.arena, &text, "{\"consent\":%s,%s", bad[i], world_definitions + 1),
				 OK);
		assert_int_equal(definitions_parse(text, &world.arena, &out), ERR_INVALID);
	}
}

/* ── properties ──────────────────────────────────────────────────────────── */

static uint64_t seed = 88172645463325252u;
static uint64_t dice(uint64_t sides)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % sides;
}

static struct cdpd_event random_event(void)
{
	static const char *const users[] = {"u1", "u2"}, *const visitors[] = {"a1", "a2", "a3", "a4"};
	static const char *const states[] = {"granted", "denied", "withdrawn"};
	static const char *const channels[] = {"", "email", "sms"};
	bool is_user = dice(2);
	if (dice(4) == 0) return world_event(EVENT_IDENTIFY, users[dice(2)], visitors[dice(4)]);
	struct said said = {.user = is_user ? users[dice(2)] : NULL,
			    .anonymous = is_user ? NULL : visitors[dice(4)],
			    .purpose = dice(2) ? "optin" : "newsletter",
			    .channel = channels[dice(3)],
			    .state = states[dice(3)],
			    .more = dice(4) == 0 ? ",\"expires_at\":\"2023-11-15T00:00:00Z\"" : NULL,
			    .attested = dice(2) ? ",\"confirmed\":true" : NULL};
	return act(&said);
}

/* After every transaction each merged row must be the one that its fragments and links give: world_check compares the bytes. And the same
 * events in transactions of other sizes give the same world. */
static void merged_rows_are_what_fragments_and_links_say(void **state)
{
	(void)state;
	for (int round = 0; round < 10; round++) {
		struct cdpd_event events[40];
		struct apply_result result;
		char *dumps[2];
		for (size_t i = 0; i < COUNT_OF(events); i++) events[i] = random_event();
		for (int pass = 0; pass < 2; pass++) {
			struct world outer = world;
			world_open_empty(&world);
			world_define(&world, definitions());
			for (size_t i = 0; i < COUNT_OF(events);) {
				size_t size = pass ? 1 : 1 + i % 7;
				world_begin(&world);
				for (size_t k = 0; k < size && i < COUNT_OF(events); k++)
					world_apply(&world, &events[i++], &result);
				world_commit(&world);
				world_check(&world);
			}
			dumps[pass] = (char *)(uintptr_t)world_dump(&world);
			world_close(&world);
			world = outer;
		}
		assert_string_equal(dumps[0], dumps[1]);
		free(dumps[0]);
		free(dumps[1]);
		arena_reset(&world.arena);
	}
}

#define FRAGMENTS 5

/* Whatever the order in which the fragments are looked at. */
static void the_order_of_fragments_does_not_matter(void **state)
{
	(void)state;
	static const char *const channels[] = {"", "email", "sms"};
	struct arena arena;
	arena_init(&arena, 65536, 0);
	for (int round = 0; round < 3000; round++) {
		struct consent_list lists[FRAGMENTS] = {0}, out[2];
		uint64_t joined[2][FRAGMENTS * FRAGMENTS], position = 0;
		for (int i = 0; i < 12; i++) {
			bool is_taken;
			struct consent record = {.purpose = STR("p"),
						 .channel = str_from(channels[dice(3)]),
						 .state = (enum consent_state)(CONSENT_GRANTED + dice(4)),
						 .expires = dice(2) ? (int64_t)dice(5) : 0,
						 .position = position += 1 + dice(3),
						 .source = STR("s"),
						 .message_id = STR("m")};
			if (record.state != CONSENT_GRANTED) record.expires = 0;
			assert_int_equal(consent_put(&lists[dice(FRAGMENTS)], &record, &arena, &is_taken), OK);
		}
		for (size_t i = 0; i < FRAGMENTS; i++)
			for (size_t k = 0; k <= i; k++)
				joined[0][i * FRAGMENTS + k] = joined[0][k * FRAGMENTS + i] = dice(2 * position);
		size_t order[FRAGMENTS];
		for (size_t i = 0; i < FRAGMENTS; i++) order[i] = i;
		for (size_t i = FRAGMENTS - 1; i > 0; i--) {
			size_t k = dice(i + 1), swap = order[i];
			order[i] = order[k];
			order[k] = swap;
		}
		const struct consent_list *straight[FRAGMENTS], *shuffled[FRAGMENTS];
		for (size_t i = 0; i < FRAGMENTS; i++) {
			straight[i] = &lists[i];
			shuffled[i] = &lists[order[i]];
			for (size_t k = 0; k < FRAGMENTS; k++)
				joined[1][i * FRAGMENTS + k] = joined[0][order[i] * FRAGMENTS + order[k]];
		}
		struct joins joins[2] = {{FRAGMENTS, joined[0]}, {FRAGMENTS, joined[1]}};
		assert_int_equal(consents_agree(straight, FRAGMENTS, &joins[0], &arena, &out[0]), OK);
		assert_int_equal(consents_agree(shuffled, FRAGMENTS, &joins[1], &arena, &out[1]), OK);
		assert_int_equal(out[0].count, out[1].count);
		for (size_t i = 0; i < out[0].count; i++) {
			assert_int_equal(out[0].items[i].position, out[1].items[i].position);
			assert_true(str_eq(out[0].items[i].channel, out[1].items[i].channel));
		}
		arena_reset(&arena);
	}
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(no_record_is_the_default, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_later_act_replaces_and_one_for_all_channels_replaces_all, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(a_grant_ends_with_its_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_cannot_be_an_act_changes_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(denied_then_linked_then_granted_is_granted, setup, teardown),
	    cmocka_unit_test_setup_teardown(granted_and_denied_then_linked_is_denied, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_third_fragment_does_not_wake_what_was_superseded, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_link_takes_the_grant_that_ends_first, setup, teardown),
	    cmocka_unit_test_setup_teardown(changes_tell_every_act_and_what_a_link_changed, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_grant_waits_for_its_confirmation, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_gate_at_ingest_denies, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_gate_looks_at_whom_the_event_would_join, setup, teardown),
	    cmocka_unit_test_setup_teardown(destinations_ask_for_each_person, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_log_is_a_chain_that_erasing_leaves_whole, setup, teardown),
	    cmocka_unit_test_setup_teardown(definitions_with_broken_purposes_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(merged_rows_are_what_fragments_and_links_say, setup, teardown),
	    cmocka_unit_test(the_order_of_fragments_does_not_matter),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
