#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event/event.h"

static struct str awaits[] = {{"geo", 3}, {"score", 5}};

/* Every field has a value of its own, so that a mixed-up pair shows. */
static struct cdpd_event full_event(void)
{
	return (struct cdpd_event){
	    .source_id = STR("web"),
	    .source_kind = SOURCE_WEBHOOK,
	    .rights = RIGHT_ALIAS | RIGHT_TIME,
	    .message_id = STR("m-1"),
	    .canonical_hash = UINT64_C(0xfedcba9876543210),
	    .type = EVENT_SCREEN,
	    .event = STR("Order Completed"),
	    .name = STR("Home"),
	    .category = STR("Shop"),
	    .user_id = STR("u\0with a NUL"),
	    .anonymous_id = STR("anon"),
	    .previous_id = STR("before"),
	    .group_id = STR("group"),
	    .event_time_us = INT64_C(1763760000123456),
	    .client_time_us = INT64_C(-5),
	    .sent_at_us = INT64_C(1763760000123457),
	    .received_at_us = INT64_C(1763760000123458),
	    .correction_us = INT64_C(-77777777777),
	    .utc_offset_min = -210,
	    .flags = EVENT_TIME_CLAMPED | EVENT_SKEW_CORRECTED,
	    .properties = STR("{\"a\":1}"),
	    .traits = STR("{\"b\":2}"),
	    .context = STR("{\"c\":3}"),
	    .extra = STR("{\"d\":4}"),
	    .enrichment = STR("{\"e\":5}"),
	    .ip = STR("192.0.2.7"),
	    .user_agent = STR("Agent/1.0"),
	    .country = STR("DE"),
	    .awaits = awaits,
	    .await_count = COUNT_OF(awaits),
	};
}

static void assert_same(const struct cdpd_event *a, const struct cdpd_event *b)
{
#define SAME_TEXT(field) assert_true(str_eq(a->field, b->field))
#define SAME(field)      assert_true(a->field == b->field)
	SAME_TEXT(source_id), SAME_TEXT(message_id), SAME_TEXT(event), SAME_TEXT(name), SAME_TEXT(category);
	SAME_TEXT(user_id), SAME_TEXT(anonymous_id), SAME_TEXT(previous_id), SAME_TEXT(group_id);
	SAME_TEXT(properties), SAME_TEXT(traits), SAME_TEXT(context), SAME_TEXT(extra), SAME_TEXT(enrichment);
	SAME_TEXT(ip), SAME_TEXT(user_agent), SAME_TEXT(country);
	SAME(source_kind), SAME(rights), SAME(canonical_hash), SAME(type), SAME(event_time_us), SAME(client_time_us);
	SAME(sent_at_us), SAME(received_at_us), SAME(correction_us), SAME(utc_offset_min), SAME(flags);
	SAME(await_count);
	for (size_t i = 0; i < a->await_count; i++) SAME_TEXT(awaits[i]);
#undef SAME
#undef SAME_TEXT
}

static void every_field_comes_back(void **state)
{
	(void)state;
	struct arena arena, other;
	struct str payload;
	struct cdpd_event event = full_event(), decoded;
	arena_init(&arena, 4096, 0);
	arena_init(&other, 4096, 0);
	assert_int_equal(event_encode(&event, &arena, &payload), OK);
	assert_int_equal(event_decode(payload, &other, &decoded), OK);
	arena_fini(&arena); /* decoded text borrows its own arena only */
	assert_same(&event, &decoded);
	arena_fini(&other);
}

static void an_empty_event_comes_back(void **state)
{
	(void)state;
	struct arena arena;
	struct str payload;
	struct cdpd_event event = {.type = EVENT_TRACK}, decoded;
#define EMPTY(field) event.field = STR_NONE
	EMPTY(source_id), EMPTY(message_id), EMPTY(event), EMPTY(name), EMPTY(category), EMPTY(user_id);
	EMPTY(anonymous_id), EMPTY(previous_id), EMPTY(group_id), EMPTY(properties), EMPTY(traits), EMPTY(context);
	EMPTY(extra), EMPTY(enrichment), EMPTY(ip), EMPTY(user_agent), EMPTY(country);
#undef EMPTY
	arena_init(&arena, 4096, 0);
	assert_int_equal(event_encode(&event, &arena, &payload), OK);
	assert_int_equal(event_decode(payload, &arena, &decoded), OK);
	assert_same(&event, &decoded);
	assert_non_null(decoded.user_id.ptr); /* absent text is never a NULL pointer */
	arena_fini(&arena);
}

static void damage_never_reads_as_an_event_of_no_type(void **state)
{
	(void)state;
	struct arena arena;
	struct str payload;
	struct cdpd_event event = full_event(), decoded;
	arena_init(&arena, 4096, 0);
	event.type = (enum event_type)9;
	assert_int_equal(event_encode(&event, &arena, &payload), OK);
	assert_int_equal(event_decode(payload, &arena, &decoded), ERR_CORRUPT);
	event = full_event();
	event.source_kind = (enum source_kind)99;
	assert_int_equal(event_encode(&event, &arena, &payload), OK);
	assert_int_equal(event_decode(payload, &arena, &decoded), ERR_CORRUPT);
	assert_int_equal(event_decode(STR_NONE, &arena, &decoded), ERR_CORRUPT);
	assert_int_equal(event_decode(STR("\xff\xff\xff\xff\xff"), &arena, &decoded), ERR_CORRUPT);
	arena_fini(&arena);
}

/* Cut anywhere and copied to memory of exactly that size: the sanitizer sees a read beyond. */
static void every_cut_is_survived(void **state)
{
	(void)state;
	struct arena arena;
	struct str payload;
	struct cdpd_event event = full_event(), decoded;
	arena_init(&arena, 4096, 0);
	assert_int_equal(event_encode(&event, &arena, &payload), OK);
	for (size_t len = 0; len < payload.len; len++) {
		char *cut = malloc(len + 1);
		assert_non_null(cut);
		memcpy(cut, payload.ptr, len);
		int rc = event_decode((struct str){cut, len}, &arena, &decoded);
		assert_true(rc == OK || rc == ERR_CORRUPT);
		free(cut);
	}
	arena_fini(&arena);
}

static void a_full_arena_is_an_error(void **state)
{
	(void)state;
	struct arena arena, small;
	struct str payload;
	struct cdpd_event event = full_event(), decoded;
	arena_init(&arena, 4096, 0);
	arena_init(&small, 64, 64);
	assert_int_equal(event_encode(&event, &small, &payload), ERR_NOMEM);
	assert_int_equal(event_encode(&event, &arena, &payload), OK);
	arena_reset(&small);
	assert_int_equal(event_decode(payload, &small, &decoded), ERR_NOMEM);
	arena_fini(&small);
	arena_fini(&arena);
}

static void types_have_names(void **state)
{
	(void)state;
	for (int type = EVENT_TRACK; type <= EVENT_ALIAS; type++) {
		enum event_type back;
		assert_true(event_type_from_name(str_from(event_type_name((enum event_type)type)), &back));
		assert_int_equal(back, type);
	}
	enum event_type none;
	assert_false(event_type_from_name(STR("unknown"), &none));
	assert_false(event_type_from_name(STR("Track"), &none));
	assert_false(event_type_from_name(STR_NONE, &none));
	assert_string_equal(event_type_name((enum event_type)0), "unknown");
	assert_string_equal(event_type_name((enum event_type)7), "unknown");
}

static struct str write_json(struct buf *buf, const struct cdpd_event *event, bool leave_open)
{
	buf_clear(buf);
	assert_int_equal(event_write_json(buf, event, leave_open), OK);
	return buf_str(buf);
}

static void json_has_every_part(void **state)
{
	(void)state;
	struct buf buf;
	struct cdpd_event event = full_event();
	event.user_id = STR("u-\"1\"");
	event.client_time_us = INT64_C(1763760000000000);
	buf_init(&buf, 65536);
	struct str json = write_json(&buf, &event, false);
	static const char expected[] =
	    "{\"type\":\"screen\",\"messageId\":\"m-1\",\"event\":\"Order Completed\",\"name\":\"Home\","
	    "\"category\":\"Shop\",\"userId\":\"u-\\\"1\\\"\",\"anonymousId\":\"anon\",\"previousId\":\"before\","
	    "\"groupId\":\"group\",\"properties\":{\"a\":1},\"traits\":{\"b\":2},\"context\":{\"c\":3},"
	    "\"enrichment\":{\"e\":5},\"extra\":{\"d\":4},\"ip\":\"192.0.2.7\",\"userAgent\":\"Agent/1.0\","
	    "\"timestamp\":\"2025-11-21T21:20:00.123456Z\",\"originalTimestamp\":\"2025-11-21T21:20:00Z\","
	    "\"sentAt\":\"2025-11-21T21:20:00.123457Z\",\"receivedAt\":\"2025-11-21T21:20:00.123458Z\","
	    "\"sourceId\":\"web\"}";
	assert_int_equal(json.len, sizeof expected - 1);
	assert_memory_equal(json.ptr, expected, json.len);
	buf_fini(&buf);
}

static void json_can_be_left_open(void **state)
{
	(void)state;
	struct buf buf;
	struct cdpd_event event = full_event();
	buf_init(&buf, 65536);
	struct str json = write_json(&buf, &event, true);
	assert_true(json.len > 0 && json.ptr[json.len - 1] != '}');
	assert_int_equal(buf_append_str(&buf, STR(",\"position\":\"x\"}")), OK);
	struct json_reader *reader;
	struct json root, member;
	const char *why;
	assert_int_equal(json_reader_new(&reader), OK);
	assert_int_equal(json_parse(reader, buf_str(&buf), &root, &why), OK);
	assert_true(json_get(root, STR("position"), &member));
	assert_true(json_get(root, STR("sourceId"), &member));
	json_reader_free(reader);
	buf_fini(&buf);
}

static void json_at_the_cap_is_an_error(void **state)
{
	(void)state;
	struct buf buf;
	struct cdpd_event event = full_event();
	buf_init(&buf, 100);
	assert_int_equal(event_write_json(&buf, &event, false), ERR_TOO_LARGE);
	buf_fini(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_field_comes_back),
	    cmocka_unit_test(an_empty_event_comes_back),
	    cmocka_unit_test(damage_never_reads_as_an_event_of_no_type),
	    cmocka_unit_test(every_cut_is_survived),
	    cmocka_unit_test(a_full_arena_is_an_error),
	    cmocka_unit_test(types_have_names),
	    cmocka_unit_test(json_has_every_part),
	    cmocka_unit_test(json_can_be_left_open),
	    cmocka_unit_test(json_at_the_cap_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
