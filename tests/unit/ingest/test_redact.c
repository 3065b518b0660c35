#include "ingest/harness.h"

#include "config/privacy.h"
#include "ingest/address.h"
#include "ingest/privacy_key.h"
#include "ingest/redact.h"

static struct arena rules_arena;

static int setup(void **state)
{
	(void)state;
	arena_init(&rules_arena, 4096, 0);
	return room_open(TEST_CHAIN);
}

static int teardown(void **state)
{
	for (size_t i = 0; i < COUNT_OF(test_sources); i++) test_sources[i].rules = NULL;
	test_config.blocked_identifier_count = 0;
	test_config.has_privacy = false;
	arena_fini(&rules_arena);
	return room_teardown(state);
}

static const struct privacy_rules *rules_of(const char *const *drop, const char *const *pseudonymize, bool truncates)
{
	struct str paths[32];
	size_t count = 0, drops = 0;
	const struct privacy_rules *rules;
	for (; drop && drop[drops]; drops++) paths[count++] = str_from(drop[drops]);
	for (size_t i = 0; pseudonymize && pseudonymize[i]; i++) paths[count++] = str_from(pseudonymize[i]);
	const struct conf_privacy privacy = {.drop = paths,
					     .drop_count = drops,
					     .pseudonymize = paths + drops,
					     .pseudonymize_count = count - drops,
					     .truncate_ip = truncates ? TRUNCATE_TRUE : TRUNCATE_FALSE};
	for (size_t i = 0; i < drops; i++) assert_null(privacy_check_drop(paths[i]));
	for (size_t i = drops; i < count; i++) assert_null(privacy_check_pseudonym(paths[i]));
	assert_int_equal(privacy_compile(&rules_arena, &privacy, NULL, &rules), OK);
	return rules;
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void use(const char *const *drop, const char *const *pseudonymize, bool truncates)
{
	const struct privacy_rules *rules = rules_of(drop, pseudonymize, truncates);
	for (size_t i = 0; i < COUNT_OF(test_sources); i++) test_sources[i].rules = rules;
	test_config.has_privacy = true;
	memset(room.ingest->key.bytes, 7, sizeof room.ingest->key.bytes);
	room.ingest->key.is_loaded = true;
}

static const char *pseudonym(const char *text)
{
	static char out[4][PSEUDONYM_SIZE + 1];
	static size_t next;
	char *at = out[next++ % 4];
	privacy_pseudonym(&room.ingest->key, str_from(text), at);
	return at;
}

static void assert_f(struct str text, const char *format, const char *a, const char *b)
{
	char wanted[1024];
	(void)snprintf(wanted, sizeof wanted, format, a, b);
	assert_text(text, wanted);
}

/* ── parts ───────────────────────────────────────────────────────────────── */

static void dropped(void **state)
{
	(void)state;
	use(LIST("properties.card", "properties.products[].note", "traits.ssn", "context.device.id"), NULL, false);
	const struct cdpd_event *event = one("{\"type\":\"track\",\"userId\":\"u\",\"event\":\"A\",\"properties\":{"
					     "\"card\":\"4111\",\"total\":5.0,\"products\":["
					     "{\"sku\":\"a\",\"note\":\"n\"},{\"note\":null},7]},\"context\":{"
					     "\"device\":{\"id\":\"d\",\"os\":\"x\"},\"traits\":{"
					     "\"ssn\":\"078\",\"a\":1}}}");
	assert_text(event->properties, "{\"products\":[{\"sku\":\"a\"},{},7],\"total\":5}");
	assert_text(event->context, "{\"device\":{\"os\":\"x\"},\"traits\":{\"a\":1}}");
	/* Enrichers are not shown the document as it was sent. */
	assert_int_equal(chain.calls, 1);
	assert_int_equal(chain.with_root, 0);
	event = one("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"ssn\":\"078\",\"name\":\"N\"}}");
	assert_text(event->traits, "{\"name\":\"N\"}");
	/* traits made of two places */
	event = one("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"ssn\":\"1\"},\"context\":{\"traits\":{"
		    "\"ssn\":\"2\",\"b\":2}}}");
	assert_text(event->traits, "{\"b\":2}");
	assert_text(event->context, "{\"traits\":{\"b\":2}}");
	/* of equal keys none slips through */
	event = one("{\"type\":\"track\",\"userId\":\"u\",\"event\":\"A\",\"properties\":{\"card\":1,\"card\":2}}");
	assert_text(event->properties, "{}");
	/* nor does one that is spelled with escapes */
	event = one("{\"type\":\"track\",\"userId\":\"u\",\"event\":\"A\",\"properties\":{\"c\\u0061rd\":1}}");
	assert_text(event->properties, "{}");
}

static void lists_are_gone_through(void **state)
{
	(void)state;
	use(LIST("properties.people.name"), LIST("properties.mails"), false);
	const struct cdpd_event *event =
	    one("{\"type\":\"track\",\"userId\":\"u\",\"event\":\"A\",\"properties\":{\"people\":[[{\"name\":1},"
		"{\"age\":2}]],\"mails\":[\"a\",null,[\"a\"]]}}");
	assert_f(event->properties, "{\"mails\":[\"%s\",null,[\"%s\"]],\"people\":[[{},{\"age\":2}]]}", pseudonym("a"),
		 pseudonym("a"));
}

static void batch_context(void **state)
{
	(void)state;
	use(LIST("context.secret"), NULL, false);
	ask_server(DIALECT_SEGMENT_BATCH,
		   STR("{\"context\":{\"secret\":1,\"a\":2},\"batch\":[{\"type\":\"page\",\"userId\":\"u\"},"
		       "{\"type\":\"page\",\"userId\":\"u\",\"context\":{\"b\":3,\"secret\":4}}]}"));
	assert_text(room.events[0].context, "{\"a\":2}");
	assert_text(room.events[1].context, "{\"a\":2,\"b\":3}");
}

static void protobuf(void **state)
{
	static const char body[] = "\x0a\x20\x08\x01\x1a\x01u\x3a\x01"
				   "A\x62\x11{\"card\":1,\"b\":22}\x72\x03{ }";
	(void)state;
	use(LIST("properties.card"), LIST("userId"), false);
	ask_server(DIALECT_NATIVE_PROTOBUF, str_of(body, sizeof body - 1));
	assert_int_equal(room.accepted, 1);
	assert_text(room.events[0].properties, "{\"b\":22}");
	assert_text(room.events[0].user_id, pseudonym("u"));
}

/* ── pseudonyms ──────────────────────────────────────────────────────────── */

static void pseudonyms(void **state)
{
	(void)state;
	use(NULL, LIST("traits.ssn", "traits.email", "traits.o", "traits.b", "traits.n"), false);
	const struct cdpd_event *event = one("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"ssn\":42,\"email\":"
					     "\" A@Shop.Example\",\"n\":null}}");
	assert_f(event->traits, "{\"email\":\"%s\",\"n\":null,\"ssn\":\"%s\"}", pseudonym("a@shop.example"),
		 pseudonym("42"));
	event = one("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"ssn\":\"42\",\"o\":{\"b\":1,\"a\":2}}}");
	assert_f(event->traits, "{\"o\":\"%s\",\"ssn\":\"%s\"}", pseudonym("{\"a\":2,\"b\":1}"), pseudonym("42"));
	event = one("{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"ssn\":\"\",\"b\":true}}");
	assert_f(event->traits, "{\"b\":\"%s\",\"ssn\":\"%s\"}", pseudonym("true"), "");
	assert_true(strcmp(pseudonym("a"), pseudonym("b")) != 0);
	assert_int_equal(strlen(pseudonym("a")), PSEUDONYM_SIZE);
	/* of another key, another one */
	char before[PSEUDONYM_SIZE + 1];
	(void)snprintf(before, sizeof before, "%s", pseudonym("a"));
	room.ingest->key.bytes[0]++;
	assert_true(strcmp(before, pseudonym("a")) != 0);
}

/* HMAC-SHA-256 as everybody computes it: RFC 4231, test case 1, its key padded with zeros as HMAC pads it. */
static void known_answer(void **state)
{
	(void)state;
	memset(room.ingest->key.bytes, 0, PRIVACY_KEY_SIZE);
	memset(room.ingest->key.bytes, 0x0b, 20);
	room.ingest->key.is_loaded = true;
	assert_string_equal(pseudonym("Hi There"),
			    "p_b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

static void identifiers(void **state)
{
	static struct str blocked[] = {{"guest", 5}};
	(void)state;
	use(NULL, LIST("userId", "anonymousId", "groupId"), false);
	test_config.blocked_identifiers = blocked;
	test_config.blocked_identifier_count = 1;
	const struct cdpd_event *event =
	    one("{\"type\":\"group\",\"userId\":42,\"anonymousId\":\"a\",\"groupId\":\"g\"}");
	assert_text(event->user_id, pseudonym("42"));
	assert_text(event->anonymous_id, pseudonym("a"));
	assert_text(event->group_id, pseudonym("g"));
	event = one("{\"type\":\"alias\",\"userId\":\"42\",\"previousId\":\"a\"}");
	assert_text(event->user_id, pseudonym("42"));
	assert_text(event->previous_id, pseudonym("a"));
	/* What was got from here is known by it. */
	char message[200];
	(void)snprintf(message, sizeof message, "{\"type\":\"page\",\"userId\":\"%s\"}", pseudonym("42"));
	event = one(message);
	assert_text(event->user_id, pseudonym("42"));
	/* Names nobody: everybody's "Guest" must not become one person. */
	event = one("{\"type\":\"page\",\"userId\":\"Guest\"}");
	assert_text(event->user_id, "Guest");
}

/* A retry is the same message, another value another. */
static void retries(void **state)
{
	(void)state;
	use(LIST("properties.note"), LIST("traits.ssn", "userId"), true);
#define MESSAGE(ssn, ip, note) \
	"{\"type\":\"track\",\"event\":\"A\",\"userId\":\"u\",\"messageId\":\"m\",\"properties\":{\"note\":" note \
	"},\"traits\":{\"ssn\":" ssn "},\"context\":{\"ip\":\"" ip "\"},\"timestamp\":\"2026-11-21T20:49:59Z\"}"
	uint64_t hash = one(MESSAGE("\"1\"", "203.0.113.9", "1"))->canonical_hash;
	assert_true(one(MESSAGE("\"1\"", "203.0.113.9", "1"))->canonical_hash == hash);
	assert_true(one(MESSAGE("\"1\"", "203.0.113.77", "2"))->canonical_hash == hash); /* nothing of that is kept */
	assert_true(one(MESSAGE("\"2\"", "203.0.113.9", "1"))->canonical_hash != hash);
}

/* ── addresses ───────────────────────────────────────────────────────────── */

static void addresses(void **state)
{
	static const char *const rows[][2] = {
	    {"203.0.113.77", "203.0.113.0"},
	    {"2001:db8:1:2:3:4:5:6", "2001:db8:1::"},
	    {"::1", "::"},
	    {"::ffff:203.0.113.77", "::ffff:203.0.113.0"},
	    {"", ""},
	    {"unknown", ""},
	    {"203.0.113.77, 10.0.0.1", ""},
	    {"203.0.113.77:80", ""},
	    {"fe80::1%eth0", ""},
	    {"999.1.1.1", ""},
	};
	char out[ADDRESS_SIZE];
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_text(str_of(out, address_truncate(str_from(rows[i][0]), out)), rows[i][1]);
}

static void truncated(void **state)
{
	(void)state;
	use(NULL, NULL, true);
	const char *message = "{\"type\":\"page\",\"anonymousId\":\"a\"}";
	ask_as("web-key", DIALECT_SEGMENT_ONE, str_from(message));
	assert_text(room.events[0].ip, "203.0.113.0"); /* the connection's */
	assert_int_equal(chain.with_root, 1);
	ask_as("web-key", DIALECT_SEGMENT_ONE,
	       STR("{\"type\":\"page\",\"anonymousId\":\"a\",\"context\":{\"ip\":\"198.51.100.23\"}}"));
	assert_text(room.events[0].context, "{\"ip\":\"198.51.100.0\"}");
	assert_text(room.events[0].ip, ""); /* lent to the enrichers, not kept */
	ask_as("web-key", DIALECT_SEGMENT_ONE,
	       STR("{\"type\":\"page\",\"anonymousId\":\"a\",\"context\":{\"ip\":\"my house\",\"b\":1}}"));
	assert_text(room.events[0].context, "{\"b\":1}");
}

static void address_dropped(void **state)
{
	(void)state;
	use(LIST("context.ip"), NULL, true);
	ask_as("web-key", DIALECT_SEGMENT_ONE,
	       STR("{\"type\":\"page\",\"anonymousId\":\"a\",\"context\":{\"ip\":\"198.51.100.23\"}}"));
	assert_text(room.events[0].context, "{}");
	assert_text(room.events[0].ip, "");
	ask_as("web-key", DIALECT_SEGMENT_ONE, STR("{\"type\":\"page\",\"anonymousId\":\"a\"}"));
	assert_text(room.events[0].ip, "");
	use(NULL, LIST("context.ip"), true);
	ask_as("web-key", DIALECT_SEGMENT_ONE, STR("{\"type\":\"page\",\"anonymousId\":\"a\"}"));
	assert_text(room.events[0].ip, pseudonym("203.0.113.7"));
}

/* ── rejects ─────────────────────────────────────────────────────────────── */

static void assert_hidden(const char *secret)
{
	assert_int_equal(room.reject_count, 1);
	const struct journal_reject *r = &room.rejects[0];
	const struct str texts[] = {r->excerpt, r->detail, r->pointer, r->message_id};
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		if (memmem(texts[i].ptr, texts[i].len, secret, strlen(secret)))
			fail_msg("told: %.*s", STR_ARG(texts[i]));
}

static void rejects_keep_nothing_private(void **state)
{
	(void)state;
	use(LIST("traits.ssn"), LIST("userId", "properties.card"), true);
	ask_server(DIALECT_SEGMENT_ONE,
		   STR("{\"type\":\"nonsense\",\"userId\":\"SECRET\",\"traits\":{\"ssn\":\"SECRET\",\"a\":1},"
		       "\"properties\":{\"card\":[\"SECRET\"]},\"context\":{\"traits\":{\"ssn\":\"SECRET\"}}}"));
	assert_hidden("SECRET");
	assert_f(room.rejects[0].excerpt,
		 "{\"type\":\"nonsense\",\"userId\":\"%s\",\"traits\":{\"a\":1},\"properties\":{\"card\":[\"%s\"]},"
		 "\"context\":{\"traits\":{}}}",
		 pseudonym("SECRET"), pseudonym("SECRET"));
	/* one that came as a text of its own, because a neighbour is broken */
	ask_server(DIALECT_NATIVE_JSON, STR("[{\"type\":\"nonsense\",\"userId\":\"SECRET\"},{\"type\":}]"));
	assert_int_equal(room.reject_count, 2);
	assert_null(memmem(room.rejects[0].excerpt.ptr, room.rejects[0].excerpt.len, "SECRET", 6));
	assert_text(room.rejects[1].excerpt, ""); /* nobody can tell what is private in it */
	/* a whole request that cannot be read, and one by nobody known */
	ask_server(DIALECT_SEGMENT_ONE, STR("{\"traits\":{\"ssn\":\"SECRET\""));
	assert_hidden("SECRET");
	ask_as("no-such-key", DIALECT_SEGMENT_ONE, STR("{\"traits\":{\"ssn\":\"SECRET\"}}"));
	assert_hidden("SECRET");
	/* too large, after it was replaced too */
	ask_server(DIALECT_SEGMENT_ONE, STR("{\"type\":\"track\",\"userId\":\"SECRET\"}"));
	assert_hidden("SECRET");
}

static void too_large_once_replaced(void **state)
{
	struct buf body;
	(void)state;
	use(NULL, LIST("properties.l"), false);
	buf_init(&body, 1 << 20);
	assert_int_equal(
	    buf_append_str(&body, STR("{\"type\":\"track\",\"event\":\"A\",\"userId\":\"u\",\"properties\":{\"l\":[1")),
	    OK);
	for (size_t i = 0; i < 30000; i++) assert_int_equal(buf_append_str(&body, STR(",1")), OK);
	assert_int_equal(buf_append_str(&body, STR("]}}")), OK);
	ask_server(DIALECT_SEGMENT_ONE, buf_str(&body));
	assert_refused(PROBLEM_TOO_LARGE, "/properties");
	assert_true(room.rejects[0].excerpt.len <= JOURNAL_EXCERPT_MAX);
	buf_fini(&body);
}

static void pointers(void **state)
{
	static const struct {
		const char *pointer, *cut;
	} rows[] = {
	    {"/properties/card", "/properties/card"},
	    {"/properties/card/4111", "/properties/card"},
	    {"/properties/cards", NULL},
	    {"/properties", NULL},
	    {"", NULL},
	    {"/properties/list/3/note/x", "/properties/list/3/note"},
	    {"/properties/list/3/other", NULL},
	    {"/properties/a~1b~0c/x", "/properties/a~1b~0c"},
	    {"/traits/note", NULL},
	    {"/userId", "/userId"},
	};
	const struct privacy_rules *rules =
	    rules_of(LIST("properties.card", "properties.list[].note", "properties.a/b~c"), LIST("userId"), false);
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct str pointer = str_from(rows[i].pointer);
		bool is_cut = redact_pointer(rules, &pointer);
		assert_int_equal(is_cut, rows[i].cut != NULL);
		assert_text(pointer, rows[i].cut ? rows[i].cut : rows[i].pointer);
	}
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(dropped),
	    TEST(lists_are_gone_through),
	    TEST(batch_context),
	    TEST(protobuf),
	    TEST(pseudonyms),
	    TEST(known_answer),
	    TEST(identifiers),
	    TEST(retries),
	    TEST(addresses),
	    TEST(truncated),
	    TEST(address_dropped),
	    TEST(rejects_keep_nothing_private),
	    TEST(too_large_once_replaced),
	    TEST(pointers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
