/* Every type by itself: what it reads, where its bounds are, and that the exact ones end in the same bytes in any order. */
#include "world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "profile/feature_def.h"
#include "profile/feature_state.h"

#define DAY  INT64_C(86400000000)
#define HOUR INT64_C(3600000000)

struct state {
	struct aligned_state bytes;
	uint32_t len;
};

static struct arena arena;

static int make(const char *type, const char *extra, struct feature_def *out)
{
	struct json_reader *reader;
	struct buf text;
	struct json root;
	const char *why;
	buf_init(&text, 10000);
	assert_int_equal(buf_printf(&text,
				    "{\"event\":\"\",\"extra\":{%s},\"field\":\"properties.v\",\"name\":\"f\","
				    "\"state_version\":1,\"type\":\"%s\"}",
				    extra, type),
			 OK);
	assert_int_equal(json_reader_new(&reader), OK);
	assert_int_equal(json_parse(reader, buf_str(&text), &root, &why), OK);
	int rc = feature_def_parse(root, &arena, false, out);
	json_reader_free(reader);
	buf_fini(&text);
	return rc;
}

static struct feature_def def_of(const char *type, const char *extra)
{
	struct feature_def def;
	assert_int_equal(make(type, extra, &def), OK);
	return def;
}

static struct state start(const struct feature_def *def)
{
	struct state state;
	memset(&state, 0xaa, sizeof state);
	state.len = feature_state_init(def, state.bytes.bytes);
	return state;
}

static const char *show(const struct feature_def *def, const struct state *state, int64_t now)
{
	static char json[FEATURE_JSON_MAX + 1];
	int len = feature_state_read(def, state->bytes.bytes, state->len, now, json, FEATURE_JSON_MAX);
	assert_in_range(len, 1, FEATURE_JSON_MAX);
	json[len] = '\0';
	return json;
}

static struct cdpd_feature_input input_of(enum cdpd_value_kind kind, double number, const char *text, int64_t time)
{
	return (struct cdpd_feature_input){.size = sizeof(struct cdpd_feature_input),
					   .time_us = time,
					   .utc_offset_min = UTC_OFFSET_UNKNOWN,
					   .message_id = {"m", 1},
					   .kind = kind,
					   .number = number,
					   .text = {text, strlen(text)}};
}

static int add_keyed(const struct feature_def *def, struct state *state, const char *key, struct cdpd_feature_input in)
{
	struct state before = *state;
	int rc = feature_state_add(def, str_from(key), state->bytes.bytes, &state->len, &in);
	assert_true(state->len <= feature_state_max(def));
	if (rc < 0) { /* refused: nothing has changed */
		assert_int_equal(state->len, before.len);
		assert_memory_equal(state->bytes.bytes, before.bytes.bytes, before.len);
	}
	return rc;
}

static int add(const struct feature_def *def, struct state *state, struct cdpd_feature_input in)
{
	return add_keyed(def, state, "", in);
}

static int add_number(const struct feature_def *def, struct state *state, double number)
{
	char text[40];
	snprintf(text, sizeof text, "%.17g", number);
	return add(def, state, input_of(CDPD_VALUE_NUMBER, number, text, 0));
}

static int add_text(const struct feature_def *def, struct state *state, const char *text)
{
	return add(def, state, input_of(CDPD_VALUE_STRING, 0, text, 0));
}

static int add_time(const struct feature_def *def, struct state *state, int64_t time)
{
	return add(def, state, input_of(CDPD_VALUE_NONE, 0, "", time));
}

/* ── numbers ─────────────────────────────────────────────────────────────── */

static const char *numbers(const char *type, const double *values, size_t count)
{
	struct feature_def def = def_of(type, "");
	struct state state = start(&def);
	for (size_t i = 0; i < count; i++) (void)add_number(&def, &state, values[i]);
	return show(&def, &state, 0);
}
#define NUMBERS(type, ...) numbers(type, (double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double))

static void test_numbers(void **s)
{
	(void)s;
	assert_text(numbers("min", NULL, 0), "null");
	assert_text(numbers("max", NULL, 0), "null");
	assert_text(numbers("mean", NULL, 0), "null");
	assert_text(numbers("variance", NULL, 0), "null");
	assert_text(NUMBERS("min", 3, -2.5, 7), "-2.5");
	assert_text(NUMBERS("max", 3, -2.5, 7.000001), "7.000001");
	assert_text(NUMBERS("max", -3, -4), "-3");
	assert_text(NUMBERS("min", NAN, INFINITY, 1.1e18, 5), "5"); /* the others are refused */
	assert_text(NUMBERS("mean", 1, 2, 2), "1.666667");
	assert_text(NUMBERS("mean", -1, -2, -2), "-1.666667");
	assert_text(NUMBERS("mean", 0.1, 0.2), "0.15");
	assert_text(NUMBERS("variance", 5), "0");
	assert_text(NUMBERS("variance", 2, 4, 4, 4, 5, 5, 7, 9), "4");
	assert_text(NUMBERS("variance", 0.001, 0.003), "0.000001");
	/* Far from zero, where floating point would have lost it all. */
	assert_text(NUMBERS("variance", 1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16), "22.5");
	/* The largest inputs, whose squares need 160 bits. */
	assert_text(NUMBERS("variance", 1e18, 1e18, 1e18), "0");
	assert_text(NUMBERS("variance", 1e18, -1e18), "1000000000000000042420637374017961984");
	struct feature_def def = def_of("variance", "");
	struct state state = start(&def);
	assert_true(add_text(&def, &state, "x") < 0);
	assert_true(add_number(&def, &state, 1.0000001e18) < 0);
}

/* ── distinct ────────────────────────────────────────────────────────────── */

static double count_distinct(const struct feature_def *def, struct state *state, unsigned from, unsigned to)
{
	char text[32];
	for (unsigned i = from; i < to; i++) {
		snprintf(text, sizeof text, "value-%u", i);
		assert_int_equal(add_text(def, state, text), 0);
	}
	return strtod(show(def, state, 0), NULL);
}

static void test_distinct(void **s)
{
	(void)s;
	static const char *const precisions[] = {"6", "10", "11", "13"};
	for (size_t p = 0; p < COUNT_OF(precisions); p++) {
		char extra[64];
		snprintf(extra, sizeof extra, "\"options\":{\"precision\":%s}", precisions[p]);
		struct feature_def def = def_of("distinct", p == 2 ? "" : extra);
		struct state state = start(&def);
		double registers = ldexp(1, atoi(precisions[p])), error = 1.04 / sqrt(registers);
		unsigned exact = (unsigned)registers * 3 / 4 / 8;
		assert_int_equal((unsigned)count_distinct(&def, &state, 0, exact), exact);
		assert_int_equal((unsigned)count_distinct(&def, &state, 0, exact), exact); /* known ones do not count */
		/* Then within four standard errors, at every size. */
		for (unsigned from = exact, to = exact + 1; to < 60000; from = to, to = to * 3 / 2 + 1) {
			double is = count_distinct(&def, &state, from, to);
			if (fabs(is - to) > 4 * error * to + 1)
				fail_msg("precision %s: %u read as %g", precisions[p], to, is);
		}
		assert_int_equal(state.len, feature_state_max(&def));
	}
	struct feature_def def = def_of("distinct", "");
	struct state state = start(&def);
	assert_int_equal(add(&def, &state, input_of(CDPD_VALUE_NUMBER, 42, "42", 0)), 0);
	assert_int_equal(add(&def, &state, input_of(CDPD_VALUE_NUMBER, 42, "\"42\"", 0)), 0); /* digits sent as text */
	assert_text(show(&def, &state, 0), "1");
	assert_int_equal(state.len, 16); /* a state is as long as what it holds */
	/* The hash is for ever: another one would forget what was counted. */
	uint64_t hash;
	memcpy(&hash, state.bytes.bytes + 8, sizeof hash);
	assert_int_equal(hash, UINT64_C(0x8d12d8ddb4ea98ed));
}

/* ── time ────────────────────────────────────────────────────────────────── */

static void test_histogram(void **s)
{
	(void)s;
	/* 2026-11-22 is a Sunday; 23:30 UTC is Monday 00:30 at +01:00. */
	const int64_t sunday = INT64_C(1795390200000000);
	struct feature_def hour = def_of("histogram", ""),
			   weekday = def_of("histogram", "\"options\":{\"by\":\"weekday\"}"),
			   both = def_of("histogram", "\"options\":{\"by\":\"hour_of_week\"}");
	struct state h = start(&hour), w = start(&weekday), b = start(&both);
	struct cdpd_feature_input in = input_of(CDPD_VALUE_NONE, 0, "", sunday);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(add(&hour, &h, in), 0);
		assert_int_equal(add(&weekday, &w, in), 0);
	}
	in.utc_offset_min = 60;
	assert_int_equal(add(&hour, &h, in), 0);
	assert_int_equal(add(&weekday, &w, in), 0);
	assert_int_equal(add(&both, &b, in), 0);
	assert_text(show(&hour, &h, 0), "[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,2]");
	assert_text(show(&weekday, &w, 0), "[1,0,0,0,0,0,2]");
	assert_memory_equal(show(&both, &b, 0), "[1,0,0,", 7);
	assert_int_equal(strlen(show(&both, &b, 0)), 1 + 168 * 2);
	in.utc_offset_min = -24 * 60; /* and before 1970 */
	in.time_us = -1;
	assert_int_equal(add(&weekday, &w, in), 0);
	assert_text(show(&weekday, &w, 0), "[1,1,0,0,0,0,2]");
}

static void test_intervals(void **s)
{
	(void)s;
	struct feature_def def = def_of("intervals", "\"options\":{\"n\":3}");
	struct state state = start(&def);
	assert_text(show(&def, &state, 0),
		    "{\"events\":0,\"count\":0,\"mean\":null,\"variance\":null,\"min\":null,\"max\":null,\"last\":[]}");
	assert_int_equal(add_time(&def, &state, 10 * DAY), 0);
	assert_text(show(&def, &state, 0), "{\"events\":1,\"count\":0,\"mean\":null,\"variance\":null,\"min\":null,"
					   "\"max\":null,\"last\":[\"1970-01-11T00:00:00Z\"]}");
	assert_int_equal(add_time(&def, &state, 10 * DAY + 40 * 1000000), 0);
	assert_int_equal(add_time(&def, &state, 10 * DAY + 10 * 1000000), 0); /* late: it parts the gap */
	assert_text(show(&def, &state, 0),
		    "{\"events\":3,\"count\":2,\"mean\":20,\"variance\":100,\"min\":10,\"max\":30,\"last\":["
		    "\"1970-01-11T00:00:40Z\",\"1970-01-11T00:00:10Z\",\"1970-01-11T00:00:00Z\"]}");
	assert_int_equal(add_time(&def, &state, 10 * DAY + 40 * 1000000), 0); /* twice at one time: a gap of 0 */
	assert_int_equal(add_time(&def, &state, 1), 0);                       /* too old for the latest three */
	assert_text(show(&def, &state, 0),
		    "{\"events\":5,\"count\":2,\"mean\":15,\"variance\":225,\"min\":0,\"max\":30,\"last\":["
		    "\"1970-01-11T00:00:40Z\",\"1970-01-11T00:00:40Z\",\"1970-01-11T00:00:10Z\"]}");
	assert_int_equal(state.len, 8 + 3 * 8);
}

static void test_decayed(void **s)
{
	(void)s;
	struct feature_def def = def_of("decayed", "\"options\":{\"half_life\":86400000000}");
	struct state state = start(&def);
	assert_text(show(&def, &state, 0), "0");
	assert_int_equal(add_time(&def, &state, 20000 * DAY), 0);
	assert_text(show(&def, &state, 20000 * DAY), "1");
	assert_text(show(&def, &state, 20001 * DAY), "0.5");
	assert_text(show(&def, &state, 20000 * DAY + DAY / 2), "0.707107");
	assert_int_equal(add_time(&def, &state, 20003 * DAY), 0);
	assert_int_equal(add_time(&def, &state, 20002 * DAY), 0); /* late, and counted as if it had been in time */
	assert_text(show(&def, &state, 20003 * DAY), "1.625");
	assert_int_equal(add(&def, &state, input_of(CDPD_VALUE_NUMBER, -2.5, "-2.5", 20003 * DAY)), 0);
	assert_text(show(&def, &state, 20003 * DAY), "-0.875");
	assert_true(add(&def, &state, input_of(CDPD_VALUE_NUMBER, 1.1e15, "", 20003 * DAY)) < 0);
	uint32_t len = state.len;
	assert_int_equal(add_time(&def, &state, 19900 * DAY), 0); /* a hundred half-lives ago */
	assert_int_equal(state.len, len);
	assert_int_equal(add_time(&def, &state, 20400 * DAY), 0); /* all that was is forgotten now */
	assert_int_equal(state.len, 24);
	assert_text(show(&def, &state, 60000 * DAY), "0");
	/* Against floating point, at times that are no multiples. */
	struct state many = start(&def);
	double expected = 0;
	int64_t now = 20020 * DAY;
	for (int i = 0; i < 500; i++) {
		int64_t time = 20000 * DAY + (int64_t)i * 3456789012;
		assert_int_equal(add_time(&def, &many, time), 0);
		expected += exp2(-(double)(now - time) / (double)DAY);
	}
	double is = strtod(show(&def, &many, now), NULL);
	if (fabs(is / expected - 1) > 2e-6) fail_msg("%.9g instead of %.9g", is, expected);
}

static void test_window(void **s)
{
	(void)s;
	struct feature_def def = def_of("window", "\"options\":{\"window\":604800000000}");
	struct state state = start(&def);
	const int64_t now = 20010 * DAY + 5 * HOUR;
	assert_text(show(&def, &state, now), "0");
	assert_int_equal(add_time(&def, &state, 20003 * DAY + 23 * HOUR), 0);
	assert_int_equal(add_time(&def, &state, 20010 * DAY), 0);
	assert_int_equal(add_time(&def, &state, 20004 * DAY), 0); /* late, into its bucket */
	assert_text(show(&def, &state, now), "2");                /* today and the six days before */
	assert_text(show(&def, &state, now - DAY), "2");
	assert_text(show(&def, &state, now + 6 * DAY), "1");
	assert_text(show(&def, &state, now + 7 * DAY), "0");
	assert_int_equal(add(&def, &state, input_of(CDPD_VALUE_NUMBER, 2.25, "2.25", 20010 * DAY)), 0);
	assert_true(add_text(&def, &state, "x") < 0);
	assert_text(show(&def, &state, now), "4.25");
	assert_int_equal(add_time(&def, &state, 19000 * DAY), 0);
	for (int i = 0; i < 500; i++) assert_int_equal(add_time(&def, &state, 20000 * DAY + i * DAY), 0);
	assert_int_equal(state.len, 8 * 24);
	/* What cannot be a window. */
	struct feature_def bad;
	assert_int_equal(make("window", "\"options\":{\"window\":604800000001}", &bad), ERR_NOT_FOUND);
	assert_int_equal(make("window", "\"options\":{\"window\":5616000000000}", &bad), ERR_NOT_FOUND); /* 65 days */
	assert_int_equal(make("window", "\"options\":{\"bucket\":5616000000000}", &bad), ERR_NOT_FOUND);
}

/* ── top ─────────────────────────────────────────────────────────────────── */

static void test_top(void **s)
{
	(void)s;
	struct feature_def def = def_of("top", "\"options\":{\"n\":2}"); /* six counters */
	struct state state = start(&def);
	assert_text(show(&def, &state, 0), "{\"events\":0,\"values\":[]}");
	static const char *const few[] = {"b", "a", "b", "c\"", "b", "a"};
	for (size_t i = 0; i < COUNT_OF(few); i++) assert_int_equal(add_text(&def, &state, few[i]), 0);
	assert_text(show(&def, &state, 0), "{\"events\":6,\"values\":[{\"value\":\"b\",\"count\":3,\"error\":0},"
					   "{\"value\":\"a\",\"count\":2,\"error\":0}]}");
	char text[32];
	for (int i = 0; i < 60; i++) { /* a flood of rare ones, and the frequent one stays */
		snprintf(text, sizeof text, "rare-%d", i);
		assert_int_equal(add_text(&def, &state, text), 0);
		assert_int_equal(add_text(&def, &state, "b"), 0);
	}
	assert_memory_equal(show(&def, &state, 0),
			    "{\"events\":126,\"values\":[{\"value\":\"b\",\"count\":63,\"error\":0},", 59);
	char large[FEATURE_LABEL_MAX + 2];
	memset(large, 'x', sizeof large);
	large[FEATURE_LABEL_MAX + 1] = '\0';
	assert_true(add_text(&def, &state, large) < 0);
	assert_true(add(&def, &state, input_of(CDPD_VALUE_JSON, 0, "{}", 0)) < 0);
	assert_false(def.impl->exact);
}

/* What it promises: count − error ≤ truth ≤ count, and error ≤ events / counters, merged or not. */
static void test_top_bounds(void **s)
{
	(void)s;
	struct feature_def def = def_of("top", "\"options\":{\"n\":20}");
	for (unsigned seed = 0; seed < 20; seed++) {
		struct state parts[3] = {start(&def), start(&def), start(&def)};
		unsigned truth[400] = {0}, events = 3000;
		srand(seed);
		for (unsigned i = 0; i < events; i++) {
			unsigned value = (unsigned)(400 * pow(rand() / (RAND_MAX + 1.0), 3));
			char text[16];
			snprintf(text, sizeof text, "%u!", value);
			truth[value]++;
			assert_int_equal(add_text(&def, &parts[rand() % 3], text), 0);
		}
		for (int i = 1; i < 3; i++)
			assert_int_equal(feature_state_merge(&def, parts[0].bytes.bytes, &parts[0].len,
							     parts[i].bytes.bytes, parts[i].len),
					 0);
		const char *at = show(&def, &parts[0], 0);
		unsigned value, count, error, shown = 0;
		assert_memory_equal(at, "{\"events\":3000,", 15);
		while ((at = strstr(at, "{\"value\":\""))) {
			assert_int_equal(
			    sscanf(at, "{\"value\":\"%u!\",\"count\":%u,\"error\":%u", &value, &count, &error), 3);
			assert_true(count - error <= truth[value] && truth[value] <= count);
			assert_true(error <= events / 60);
			shown++;
			at++;
		}
		assert_int_equal(shown, 20);
	}
}

/* ── per key ─────────────────────────────────────────────────────────────── */

static void test_keyed(void **s)
{
	(void)s;
	struct feature_def def = def_of("sum", "\"key\":\"properties.k\",\"max_keys\":3");
	struct state state = start(&def);
	assert_text(show(&def, &state, 0), "{\"keys\":{},\"over\":0}");
	static const char *const keys[] = {"a", "b", "a", "c", "d", "e", "d", "f"};
	unsigned counts[6] = {0}, kept = 0, events = 0;
	for (size_t i = 0; i < COUNT_OF(keys); i++, events++) {
		counts[keys[i][0] - 'a']++;
		assert_int_equal(add_keyed(&def, &state, keys[i], input_of(CDPD_VALUE_NUMBER, 1.5, "1.5", 0)), 0);
	}
	assert_true(add_keyed(&def, &state, "zz", input_of(CDPD_VALUE_STRING, 0, "x", 0)) < 0); /* not over: refused */
	/* Whichever three are kept, they have seen all their adds, and the rest is over the bound. */
	const char *text = show(&def, &state, 0), *over = strstr(text, "\"over\":");
	for (int k = 0; k < 6; k++) {
		char wanted[32], key[8];
		snprintf(key, sizeof key, "\"%c\":", 'a' + k);
		if (!strstr(text, key)) continue;
		snprintf(wanted, sizeof wanted, "%s%g", key, 1.5 * counts[k]);
		assert_non_null(strstr(text, wanted));
		kept += counts[k];
	}
	assert_int_equal(strtoul(over + 7, NULL, 10), events - kept);
	assert_true(kept < events && kept >= 3);
	/* Bounds and texts. */
	char large[FEATURE_LABEL_MAX + 2];
	memset(large, 1, sizeof large);
	large[FEATURE_LABEL_MAX + 1] = '\0';
	assert_true(add_keyed(&def, &state, large, input_of(CDPD_VALUE_NUMBER, 1, "1", 0)) < 0);
}

/* The longest state of every type that can be kept per key, and its reading, fit. */
static void test_keyed_bounds(void **s)
{
	(void)s;
	static const char *const types[] = {"count", "sum",   "min",      "max",       "mean",
					    "last",  "first", "variance", "intervals", "decayed"};
	for (size_t t = 0; t < COUNT_OF(types); t++) {
		struct feature_def def = def_of(types[t], "\"key\":\"properties.k\",\"max_keys\":1");
		char extra[100];
		uint32_t most = feature_keys_max(&def) < FEATURE_KEYS_MAX ? feature_keys_max(&def) : FEATURE_KEYS_MAX;
		snprintf(extra, sizeof extra, "\"key\":\"properties.k\",\"max_keys\":%u", (unsigned)most);
		def = def_of(types[t], extra);
		struct state state = start(&def);
		for (int i = 0; i < 3000; i++) {
			char key[FEATURE_LABEL_MAX + 1], value[FEATURE_VALUE_MAX + 1];
			memset(key, 1, sizeof key);
			memset(value, 2, sizeof value);
			snprintf(key, sizeof key, "%03d", i % 150);
			key[3] = 1;
			key[FEATURE_LABEL_MAX] = value[FEATURE_VALUE_MAX] = '\0';
			bool is_text = strcmp(types[t], "last") == 0 || strcmp(types[t], "first") == 0;
			struct cdpd_feature_input in =
			    input_of(is_text ? CDPD_VALUE_STRING : CDPD_VALUE_NUMBER, -9e14 - 0.123457, value,
				     INT64_C(2000000000000001) + (int64_t)(i / 150) * 7 * DAY);
			assert_int_equal(add_keyed(&def, &state, key, in), 0);
		}
		(void)show(&def, &state, INT64_C(2000000000000001));
		snprintf(extra, sizeof extra, "\"key\":\"properties.k\",\"max_keys\":%u", (unsigned)most + 1);
		assert_int_not_equal(make(types[t], extra, &def), OK);
	}
	struct feature_def bad;
	assert_int_equal(make("distinct", "\"key\":\"properties.k\",\"max_keys\":1", &bad), ERR_NOT_FOUND);
	assert_int_equal(make("top", "\"key\":\"properties.k\",\"max_keys\":1", &bad), ERR_NOT_FOUND);
}

/* ── any order ───────────────────────────────────────────────────────────── */

static const struct {
	const char *type, *extra;
} exact[] = {
    {"count", ""},
    {"sum", ""},
    {"first", ""},
    {"last", ""},
    {"min", ""},
    {"max", ""},
    {"mean", ""},
    {"variance", ""},
    {"distinct", ""},
    {"distinct", "\"options\":{\"precision\":6}"}, /* turns dense on the way */
    {"histogram", ""},
    {"histogram", "\"options\":{\"by\":\"weekday\"}"},
    {"histogram", "\"options\":{\"by\":\"hour_of_week\"}"},
    {"intervals", ""},
    {"intervals", "\"options\":{\"n\":2}"},
    {"intervals", "\"options\":{\"n\":32}"},
    {"decayed", ""},
    {"decayed", "\"options\":{\"half_life\":3600000000}"}, /* forgets most */
    {"window", ""},
    {"window", "\"options\":{\"bucket\":3600000000,\"window\":36000000000}"}, /* slides over all of them */
    {"count", "\"key\":\"properties.k\",\"max_keys\":4"},
    {"sum", "\"key\":\"properties.k\",\"max_keys\":4"},
    {"last", "\"key\":\"properties.k\",\"max_keys\":4"},
    {"min", "\"key\":\"properties.k\",\"max_keys\":1"},
    {"variance", "\"key\":\"properties.k\",\"max_keys\":4"},
    {"intervals", "\"key\":\"properties.k\",\"max_keys\":4,\"options\":{\"n\":3}"},
    {"decayed", "\"key\":\"properties.k\",\"max_keys\":4"},
    {"count", "\"key\":\"properties.k\",\"max_keys\":50"}, /* never full */
};

#define INPUTS 60
#define PARTS  6

struct dealt {
	struct cdpd_feature_input in;
	char key[8], text[24], id[8];
};

static void random_input(struct dealt *out)
{
	double number = (rand() % 2 ? 1 : -1) * (double)rand() / 977.0 * pow(10, rand() % 9);
	bool is_text = rand() % 5 == 0;
	snprintf(out->key, sizeof out->key, "k%d", rand() % 12);
	snprintf(out->id, sizeof out->id, "m%d", rand() % 5);
	if (is_text)
		snprintf(out->text, sizeof out->text, "v%d", rand() % 30);
	else
		snprintf(out->text, sizeof out->text, "%.17g", number);
	out->in = input_of(is_text ? CDPD_VALUE_STRING : CDPD_VALUE_NUMBER, number, out->text,
			   20000 * DAY + (rand() % 8 ? rand() % 96 * HOUR / 2 : rand() % 400 * DAY));
	out->in.message_id = (struct cdpd_str){out->id, strlen(out->id)};
	if (rand() % 2) out->in.utc_offset_min = (int16_t)(rand() % 1600 - 800);
}

static void deal(const struct feature_def *def, struct dealt *inputs, struct state *parts)
{
	for (int p = 0; p < PARTS; p++) parts[p] = start(def);
	for (int i = INPUTS - 1; i >= 0; i--) {
		int k = rand() % (i + 1), p = rand() % PARTS;
		struct dealt swap = inputs[i];
		inputs[i] = inputs[k];
		inputs[k] = swap;
		struct dealt *dealt = &inputs[i];
		dealt->in.text.ptr = dealt->text;
		dealt->in.message_id.ptr = dealt->id;
		(void)add_keyed(def, &parts[p], dealt->key, dealt->in);
	}
}

static void merge_all(const struct feature_def *def, struct state *parts)
{
	for (int left = PARTS; left > 1; left--) { /* any two, in either direction */
		int a = rand() % left, b = rand() % left;
		if (a == b) b = (b + 1) % left;
		assert_int_equal(
		    feature_state_merge(def, parts[a].bytes.bytes, &parts[a].len, parts[b].bytes.bytes, parts[b].len),
		    0);
		assert_true(parts[a].len <= feature_state_max(def));
		parts[b] = parts[left - 1];
	}
}

static void test_any_order(void **s)
{
	(void)s;
	for (size_t t = 0; t < COUNT_OF(exact); t++) {
		struct feature_def def = def_of(exact[t].type, exact[t].extra);
		assert_true(def.impl->exact);
		for (unsigned seed = 0; seed < 400; seed++) {
			static struct dealt inputs[INPUTS];
			static struct state whole, parts[PARTS];
			srand(seed);
			whole = start(&def);
			for (int i = 0; i < INPUTS; i++) {
				random_input(&inputs[i]);
				(void)add_keyed(&def, &whole, inputs[i].key, inputs[i].in);
			}
			deal(&def, inputs, parts);
			merge_all(&def, parts);
			if (parts[0].len != whole.len ||
			    memcmp(parts[0].bytes.bytes, whole.bytes.bytes, whole.len) != 0)
				fail_msg("%s %s differs with seed %u", exact[t].type, exact[t].extra, seed);
		}
	}
}

/* Bytes that are no state of the type are refused, not followed. */
static void test_broken_states(void **s)
{
	(void)s;
	static char json[FEATURE_JSON_MAX];
	for (size_t t = 0; t < COUNT_OF(exact) + 1; t++) {
		struct feature_def def =
		    t < COUNT_OF(exact) ? def_of(exact[t].type, exact[t].extra) : def_of("top", "");
		srand(7);
		for (int i = 0; i < 3000; i++) {
			struct state broken = start(&def), good = start(&def);
			struct dealt dealt;
			broken.len = (uint32_t)rand() % (uint32_t)(feature_state_max(&def) + 1);
			for (uint32_t k = 0; k < broken.len; k++)
				broken.bytes.bytes[k] = (uint8_t)(rand() % 3 ? rand() % 4 : rand());
			random_input(&dealt);
			(void)feature_state_read(&def, broken.bytes.bytes, broken.len, 0, json, sizeof json);
			(void)feature_state_merge(&def, good.bytes.bytes, &good.len, broken.bytes.bytes, broken.len);
			(void)feature_state_add(&def, str_from(dealt.key), broken.bytes.bytes, &broken.len, &dealt.in);
		}
	}
}

static int setup(void **s)
{
	(void)s;
	arena_init(&arena, 65536, 0);
	return 0;
}

static int teardown(void **s)
{
	(void)s;
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_numbers),   cmocka_unit_test(test_distinct),
	    cmocka_unit_test(test_histogram), cmocka_unit_test(test_intervals),
	    cmocka_unit_test(test_decayed),   cmocka_unit_test(test_window),
	    cmocka_unit_test(test_top),       cmocka_unit_test(test_top_bounds),
	    cmocka_unit_test(test_keyed),     cmocka_unit_test(test_keyed_bounds),
	    cmocka_unit_test(test_any_order), cmocka_unit_test(test_broken_states),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
