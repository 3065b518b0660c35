#include "world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "profile/feature_types.h"

struct state {
	_Alignas(8) uint8_t bytes[FEATURE_STATE_MAX];
	uint32_t len;
};

static const char *const type_names[] = {"count", "sum", "first", "last"};

static void start(const struct cdpd_feature_type *type, struct state *state)
{
	memset(state, 0xaa, sizeof *state);
	state->len = type->init(state->bytes);
}

static const char *show(const struct cdpd_feature_type *type, const struct state *state)
{
	static char json[FEATURE_JSON_MAX + 1];
	int len = type->read(state->bytes, state->len, 0, json, FEATURE_JSON_MAX);
	assert_in_range(len, 1, FEATURE_JSON_MAX);
	json[len] = '\0';
	return json;
}

static struct cdpd_feature_input number(double value, int64_t time, const char *id)
{
	static char texts[64][40];
	static int at;
	char *text = texts[at++ % 64];
	snprintf(text, 40, "%.17g", value);
	return (struct cdpd_feature_input){.size = sizeof(struct cdpd_feature_input),
					   .time_us = time,
					   .message_id = {id, strlen(id)},
					   .kind = CDPD_VALUE_NUMBER,
					   .number = value,
					   .text = {text, strlen(text)}};
}

static struct cdpd_feature_input string(const char *text, int64_t time, const char *id)
{
	return (struct cdpd_feature_input){.size = sizeof(struct cdpd_feature_input),
					   .time_us = time,
					   .message_id = {id, strlen(id)},
					   .kind = CDPD_VALUE_STRING,
					   .text = {text, strlen(text)}};
}

static const char *sum_of(const double *values, size_t count)
{
	struct state state;
	start(&feature_sum, &state);
	for (size_t i = 0; i < count; i++) {
		struct cdpd_feature_input input = number(values[i], 0, "m");
		(void)feature_sum.add(state.bytes, &state.len, &input);
	}
	return show(&feature_sum, &state);
}
#define SUM(...) sum_of((double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double))

static void test_sum(void **s)
{
	(void)s;
	assert_text(SUM(0), "0");
	assert_text(SUM(0.1, 0.2), "0.3");
	assert_text(SUM(-1.5, 1), "-0.5");
	assert_text(SUM(19.99, 0.01, 1e-6), "20.000001");
	assert_text(SUM(1e18, 1e18, 1e18), "3000000000000000000");
	assert_text(SUM(-1e18, -0.000001), "-1000000000000000000.000001");
	/* Half-even, of exact halves (powers of two). */
	assert_text(SUM(0.5e-6), "0");              /* the double nearest to 5e-7 lies below it */
	assert_text(SUM(ldexp(1, -7)), "0.007812"); /* 7812.5 units: to the even one below */
	assert_text(SUM(ldexp(3, -7)), "0.023438"); /* 23437.5: to the even one above */
	assert_text(SUM(-ldexp(1, -7)), "-0.007812");
	assert_text(SUM(5e-324, -5e-324), "0");
	/* Refused. */
	assert_text(SUM(1, 1.1e18, -1.1e18, INFINITY, NAN), "1");
	struct state state;
	struct cdpd_feature_input text = string("x", 0, "m");
	start(&feature_sum, &state);
	assert_true(feature_sum.add(state.bytes, &state.len, &text) < 0);
}

static void test_first_last(void **s)
{
	(void)s;
	struct state first, last;
	start(&feature_first, &first);
	start(&feature_last, &last);
	assert_text(show(&feature_first, &first), "null");
	struct cdpd_feature_input inputs[] = {string("b\"\\\n", 10, "m5"), string("c", 20, "m1"),
					      string("tie", 20, "m2"), string("late", 10, "m4")};
	for (size_t i = 0; i < COUNT_OF(inputs); i++) {
		assert_int_equal(feature_first.add(first.bytes, &first.len, &inputs[i]), 0);
		assert_int_equal(feature_last.add(last.bytes, &last.len, &inputs[i]), 0);
	}
	assert_text(show(&feature_first, &first), "\"b\\\"\\\\\\u000a\"");
	assert_text(show(&feature_last, &last), "\"tie\"");
	char large[FEATURE_VALUE_MAX + 2];
	memset(large, 1, sizeof large);
	large[FEATURE_VALUE_MAX + 1] = '\0';
	struct cdpd_feature_input input = string(large, 99, "m9");
	assert_true(feature_last.add(last.bytes, &last.len, &input) < 0);
	assert_text(show(&feature_last, &last), "\"tie\"");
	large[FEATURE_VALUE_MAX] = '\0'; /* the longest, and every byte of it needs an escape */
	input = string(large, 99, "m9");
	assert_int_equal(feature_last.add(last.bytes, &last.len, &input), 0);
	assert_true(last.len <= feature_last.max_state);
	assert_int_equal(strlen(show(&feature_last, &last)), 2 + 6 * FEATURE_VALUE_MAX);
}

#define INPUTS 40
#define PARTS  5

static struct cdpd_feature_input random_input(int i)
{
	static char ids[INPUTS][8], texts[INPUTS][8];
	snprintf(ids[i], sizeof ids[i], "m%d", rand() % 5);
	snprintf(texts[i], sizeof texts[i], "v%d", rand() % 9);
	int64_t time = rand() % 4;
	if (rand() % 4 == 0) return string(texts[i], time, ids[i]);
	return number((rand() % 2 ? 1 : -1) * (double)rand() / 977.0 * pow(10, rand() % 12), time, ids[i]);
}

/* However the inputs are dealt to parts, ordered, and the parts merged: the same bytes. */
static void test_exact_in_any_order(void **s)
{
	(void)s;
	for (size_t t = 0; t < COUNT_OF(type_names); t++) {
		const struct cdpd_feature_type *type = feature_type_find(str_from(type_names[t]));
		assert_non_null(type);
		assert_true(type->exact);
		for (unsigned seed = 0; seed < 60; seed++) {
			struct cdpd_feature_input inputs[INPUTS];
			struct state whole, parts[PARTS];
			srand(seed);
			start(type, &whole);
			for (int i = 0; i < INPUTS; i++) {
				inputs[i] = random_input(i);
				(void)type->add(whole.bytes, &whole.len, &inputs[i]);
			}
			for (int p = 0; p < PARTS; p++) start(type, &parts[p]);
			for (int i = INPUTS - 1; i >= 0; i--) {
				int k = rand() % (i + 1), p = rand() % PARTS;
				struct cdpd_feature_input swap = inputs[i];
				inputs[i] = inputs[k];
				inputs[k] = swap;
				(void)type->add(parts[p].bytes, &parts[p].len, &inputs[i]);
			}
			for (int left = PARTS; left > 1; left--) { /* any two, in either direction */
				int a = rand() % left, b = rand() % left;
				if (a == b) b = (b + 1) % left;
				assert_int_equal(
				    type->merge(parts[a].bytes, &parts[a].len, parts[b].bytes, parts[b].len), 0);
				parts[b] =
				    parts[left -
					  1]; /* the last one takes the free place, were it the merged one itself */
			}
			assert_int_equal(parts[0].len, whole.len);
			assert_memory_equal(parts[0].bytes, whole.bytes, whole.len);
			assert_true(whole.len <= type->max_state);
		}
	}
}

static void test_registry(void **s)
{
	(void)s;
	static struct cdpd_feature_type mine;
	mine = feature_count;
	assert_int_equal(feature_type_register(STR("count"), &mine), ERR_EXISTS);
	assert_int_equal(feature_type_register(STR(""), &mine), ERR_INVALID);
	mine.max_state = FEATURE_STATE_MAX + 1;
	assert_int_equal(feature_type_register(STR("mine"), &mine), ERR_INVALID);
	mine.max_state = 8;
	mine.merge = NULL;
	assert_int_equal(feature_type_register(STR("mine"), &mine), ERR_INVALID);
	mine.merge = feature_count.merge;
	mine.size = 8;
	assert_int_equal(feature_type_register(STR("mine"), &mine), ERR_INVALID);
	mine.size = sizeof mine;
	assert_int_equal(feature_type_register(STR("mine"), &mine), OK);
	assert_ptr_equal(feature_type_find(STR("mine")), &mine);
	assert_null(feature_type_find(STR("nobody's")));
}

/* ── on events ───────────────────────────────────────────────────────────── */

static void order(struct world *world, const char *user, const char *properties)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, "");
	event.event = STR("Order Completed");
	event.properties = str_from(properties);
	(void)world_one(world, &event);
}

static void test_events(void **s)
{
	(void)s;
	struct world world;
	world_open(&world);
	order(&world, "u1", "{\"total\":19.99}");
	order(&world, "u1", "{\"total\":\"5.01\"}"); /* numeric text is a number */
	order(&world, "u1", "{\"total\":\"007\"}");  /* a label is not */
	order(&world, "u1", "{\"total\":null,\"x\":true}");
	order(&world, "u1", "{\"other\":1}");
	order(&world, "u1", "");
	struct cdpd_event other = world_event(EVENT_TRACK, "u1", "");
	other.event = STR("Order Refunded");
	other.properties = STR("{\"total\":1000}");
	(void)world_one(&world, &other);
	struct cdpd_event page = world_event(EVENT_PAGE, "u1", "");
	page.name = STR("42");
	page.context = STR("{\"page\":{\"path\":\"/a/\\u00e9\"}}");
	(void)world_one(&world, &page);
	page.name = STR("Later");
	page.context = STR("{\"page\":{\"path\":[1, 2.50]}}");
	(void)world_one(&world, &page);
	assert_text(view_features(&world, "user_id:u1"),
		    "events=9 first_page=\"42\" last_page=[1,2.5] orders=6 revenue=25");
	world_check(&world);
	assert_text(view_features(&world, "user_id:nobody"), "not found");
	world_close(&world);
}

/* Nobody looks into this event, so nobody parses it. */
static void test_no_needless_parse(void **s)
{
	(void)s;
	struct world world;
	struct apply_result result;
	struct cdpd_event event = world_event(EVENT_TRACK, "u1", "a1");
	world_open(&world);
	event.event = STR("Clicked");
	event.properties = STR("{\"total\":1}");
	event.context = STR("{\"page\":{\"path\":\"/\"}}");
	world_begin(&world);
	world_apply(&world, &event, &result);
	for (size_t part = PART_PROPERTIES; part < PART_JSON_COUNT; part++)
		assert_false(world.people->view.parts[part].is_parsed);
	event.event = STR("Order Completed");
	world_apply(&world, &event, &result);
	assert_true(world.people->view.parts[PART_PROPERTIES].is_parsed);
	assert_false(world.people->view.parts[PART_CONTEXT].is_parsed);
	world_commit(&world);
	world_close(&world);
}

/* A feature's text in world_definitions, under another name or none. */
static char *with(const char *from, const char *to)
{
	const char *at = strstr(world_definitions, from);
	assert_non_null(at);
	char *text = malloc(strlen(world_definitions) + strlen(to) + 1);
	sprintf(text, "%.*s%s%s", (int)(at - world_definitions), world_definitions, to, at + strlen(from));
	return text;
}

static void test_redefined(void **s)
{
	(void)s;
	struct world world;
	struct profile profile;
	world_open(&world);
	order(&world, "u1", "{\"total\":10,\"tax\":2}");
	/* Another field is another feature; the others go on counting. */
	char *text = with("properties.total", "properties.tax");
	world_define(&world, text);
	free(text);
	assert_text(view_features(&world, "user_id:u1"), "events=1 first_page=null last_page=null orders=1 revenue=0");
	order(&world, "u1", "{\"total\":10,\"tax\":2}");
	assert_text(view_features(&world, "user_id:u1"), "events=2 first_page=null last_page=null orders=2 revenue=2");
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u1", &profile), OK);
	assert_int_equal(profile.features[3].since_seq, 1);
	assert_int_equal(profile.features[4].since_seq, 3);
	view_end(&world);
	/* Back again: it counts anew, it knows nothing of what it missed. */
	world_define(&world, world_definitions);
	order(&world, "u1", "{\"total\":10,\"tax\":2}");
	assert_text(view_features(&world, "user_id:u1"), "events=3 first_page=null last_page=null orders=3 revenue=10");
	world_reopen(&world);
	order(&world, "u1", "{\"total\":10,\"tax\":2}");
	assert_text(view_features(&world, "user_id:u1"), "events=4 first_page=null last_page=null orders=4 revenue=20");
	view_begin(&world);
	struct row *row;
	assert_int_equal(view_get(&world, "user_id:u1", &profile), OK);
	assert_int_equal(reader_row(world.reader, &profile.id, false, false, &world.arena, &row), OK);
	assert_int_equal(row->feature_count, 3); /* states of features that are gone are gone */
	view_end(&world);
	world_close(&world);
}

static int broken_read(const void *state, uint32_t len, int64_t now, char *json, uint32_t size)
{
	(void)state, (void)len, (void)now, (void)json, (void)size;
	return -1;
}

/* A plugin's type, its upgrade, and its absence. */
static void test_missing_type(void **s)
{
	(void)s;
	static struct cdpd_feature_type type;
	struct world world;
	type = feature_count;
	assert_int_equal(feature_type_register(STR("plugged"), &type), OK);
	world_open(&world);
	char *text = with("\"name\":\"events\",\"state_version\":1,\"type\":\"count\"",
			  "\"name\":\"events\",\"state_version\":1,\"type\":\"plugged\"");
	world_define(&world, text);
	order(&world, "u1", "");
	assert_text(view_features(&world, "user_id:u1"), "events=1 first_page=null last_page=null orders=1 revenue=0");
	type.state_version = 2; /* the plugin that is here now cannot read those states */
	world_begin(&world);
	assert_int_equal(people_define(world.people, str_from(text), world.seq + 1), ERR_NOT_FOUND);
	people_abort(world.people);
	world_reopen(&world);
	order(&world, "u1", "");
	assert_text(view_features(&world, "user_id:u1"),
		    "events=null first_page=null last_page=null orders=2 revenue=0");
	type.state_version = 1; /* it came back: what it had counted is still there */
	world_reopen(&world);
	order(&world, "u1", "");
	assert_text(view_features(&world, "user_id:u1"), "events=2 first_page=null last_page=null orders=3 revenue=0");
	type.read = broken_read;
	assert_text(view_features(&world, "user_id:u1"),
		    "events=null first_page=null last_page=null orders=3 revenue=0");
	free(text);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sum),
	    cmocka_unit_test(test_first_last),
	    cmocka_unit_test(test_exact_in_any_order),
	    cmocka_unit_test(test_registry),
	    cmocka_unit_test(test_events),
	    cmocka_unit_test(test_no_needless_parse),
	    cmocka_unit_test(test_redefined),
	    cmocka_unit_test(test_missing_type),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
