/* Features on events: arrays, keys, conditions, several event names, and definitions that change. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "profile/feature_def.h"
#include "profile/plan.h"

static char text[32768];

/* Definitions with only these features. */
static const char *define(const char *features)
{
	snprintf(text, sizeof text,
		 "{\"dedup\":{\"max_ids\":1000,\"window_us\":604800000000},\"features\":[%s],"
		 "\"identity\":{\"blocked\":[],\"max_fragments\":6,\"namespaces\":["
		 "{\"from\":\"userId\",\"is_known\":true,\"max_per_profile\":1,\"name\":\"user_id\"},"
		 "{\"from\":\"anonymousId\",\"is_known\":false,\"max_per_profile\":4,\"name\":\"anonymous_id\"}]}}",
		 features);
	return text;
}

#define FEATURE(name, type, event, field, extra) \
	"{\"event\":\"" event "\",\"extra\":{" extra "},\"field\":\"" field "\",\"name\":\"" name \
	"\",\"state_version\":1,\"type\":\"" type "\"}"

static void open_with(struct world *world, const char *features)
{
	world_open_empty(world);
	world_define(world, define(features));
}

static void order_as(struct world *world, const char *user, const char *anonymous, const char *properties)
{
	struct cdpd_event event = world_event(EVENT_TRACK, user, anonymous);
	event.event = STR("Order");
	event.properties = str_from(properties);
	(void)world_one(world, &event);
}

static void order(struct world *world, const char *properties)
{
	order_as(world, "u", "", properties);
}

#define assert_features(world, expected) assert_text(view_features(world, "user_id:u"), expected)

static void test_arrays(void **s)
{
	(void)s;
	struct world world;
	open_with(&world,
		  FEATURE("items", "count", "Order", "properties.products[].sku", "") "," FEATURE(
		      "spent", "sum", "Order", "properties.products[].price",
		      "") "," FEATURE("tags", "distinct", "Order", "properties.tags[]",
				      "") "," FEATURE("dear", "max", "Order", "properties.products[].price", ""));
	order(&world,
	      "{\"products\":[{\"sku\":\"a\",\"price\":1.5},{\"sku\":\"b\",\"price\":\"2\"},{\"price\":3},{},7,null],"
	      "\"tags\":[\"x\",\"y\",\"x\",null]}");
	assert_features(&world, "dear=3 items=2 spent=6.5 tags=2");
	order(&world, "{\"products\":{\"sku\":\"a\",\"price\":9},\"tags\":[]}"); /* no array: nothing */
	order(&world, "{\"products\":[]}");
	order(&world, "{}");
	order(&world, "");
	assert_features(&world, "dear=3 items=2 spent=6.5 tags=2");
	world_check(&world);
	world_close(&world);
}

static void test_too_many_elements(void **s)
{
	(void)s;
	struct world world;
	char *many = malloc(20000), *at = many;
	open_with(&world, FEATURE("tags", "count", "Order", "properties.tags[]", ""));
	at += sprintf(at, "{\"tags\":[0");
	for (int i = 1; i < FEATURE_ELEMENTS_MAX + 500; i++) at += sprintf(at, ",%d", i);
	sprintf(at, "]}");
	int64_t before = metric_value(world.people->refused_inputs);
	order(&world, many);
	assert_features(&world, "tags=1000");
	assert_int_equal(metric_value(world.people->refused_inputs) - before, 500); /* visibly */
	free(many);
	world_close(&world);
}

static void test_keys(void **s)
{
	(void)s;
	struct world world;
	open_with(
	    &world,
	    FEATURE("by_sku", "count", "Order", "", "\"key\":\"properties.products[].sku\",\"max_keys\":20") "," FEATURE(
		"currency", "sum", "Order", "properties.total",
		"\"key\":\"properties.currency\",\"max_keys\":5") "," FEATURE("paired", "sum", "Order",
									      "properties.products[].price",
									      "\"key\":\"properties.products[].sku\","
									      "\"max_keys\":20") "," FEATURE("spread",
													     "sum",
													     "Order",
													     "propertie"
													     "s."
													     "products["
													     "].price",
													     "\"key\":"
													     "\"propert"
													     "ies."
													     "currency"
													     "\",\"max_"
													     "keys\":"
													     "5"));
	order(&world,
	      "{\"currency\":\"EUR\",\"total\":10,\"products\":[{\"sku\":\"a\",\"price\":1},{\"sku\":2,\"price\":2},"
	      "{\"price\":4},{\"sku\":\"a\",\"price\":8},{\"sku\":\"c\"}]}");
	assert_features(&world, "by_sku={\"keys\":{\"2\":1,\"a\":2,\"c\":1},\"over\":0} "
				"currency={\"keys\":{\"EUR\":10},\"over\":0} "
				"paired={\"keys\":{\"2\":2,\"a\":9},\"over\":0} "
				"spread={\"keys\":{\"EUR\":15},\"over\":0}");
	int64_t before = metric_value(world.people->refused_inputs);
	order(&world, "{\"currency\":{\"code\":\"EUR\"},\"total\":10}"); /* an object is no key */
	order(&world, "{\"currency\":\"\",\"total\":10}");
	order(&world, "{\"total\":10}"); /* no key, nothing to count, nothing wrong */
	assert_int_equal(metric_value(world.people->refused_inputs) - before, 2);
	world_check(&world);
	world_close(&world);
}

static void test_conditions(void **s)
{
	(void)s;
	struct world world;
	open_with(
	    &world,
	    FEATURE("any_shoe", "count", "Order", "", "\"where\":[{\"field\":\"properties.products[].kind\",\"in\":[\"shoe\"]}]") "," FEATURE("big", "count", "Order", "", "\"where\":[{\"field\":\"properties.total\",\"min\":10,\"max\":20}]") "," FEATURE(
		"coupon", "count", "Order", "",
		"\"where\":[{\"exists\":true,\"field\":\"properties.coupon\"}]") "," FEATURE("euro", "count", "Order",
											     "",
											     "\"where\":[{\"field\":"
											     "\"properties.currency\","
											     "\"in\":[\"EUR\",\"€\"]},"
											     "{\"field\":\"context."
											     "test\",\"not\":[\"true\"]"
											     "}]") "," FEATURE("no_"
													       "coupon",
													       "count",
													       "Order",
													       "",
													       "\"where"
													       "\":[{"
													       "\"exist"
													       "s\":"
													       "false,"
													       "\"field"
													       "\":"
													       "\"prope"
													       "rties."
													       "coupon"
													       "\"}]") "," FEATURE("no_shoe",
																   "count",
																   "Order",
																   "",
																   "\"where\":[{\"field\":\"properties.products[].kind\",\"not\":[\"shoe\"]}]") "," FEATURE("shoes",
																											    "sum",
																											    "Order",
																											    "properties.products[].price",
																											    "\"where\":[{\"field\":\"properties.products[].kind\",\"in\":[\"shoe\"]}]"));
	order(&world,
	      "{\"currency\":\"EUR\",\"total\":15,\"coupon\":\"c\",\"products\":[{\"kind\":\"shoe\",\"price\":3},"
	      "{\"kind\":\"hat\",\"price\":5},{\"price\":7}]}");
	assert_features(&world, "any_shoe=1 big=1 coupon=1 euro=1 no_coupon=0 no_shoe=0 shoes=3");
	order(&world, "{\"currency\":\"USD\",\"total\":9.99,\"coupon\":null,\"products\":[{\"kind\":\"hat\"}]}");
	assert_features(&world, "any_shoe=1 big=1 coupon=1 euro=1 no_coupon=1 no_shoe=1 shoes=3");
	order(&world, "{\"total\":\"20\"}");   /* inclusive; digits are a number */
	order(&world, "{\"total\":\"much\"}"); /* no number: neither above nor below */
	assert_features(&world, "any_shoe=1 big=2 coupon=1 euro=1 no_coupon=3 no_shoe=3 shoes=3");
	struct cdpd_event event = world_event(EVENT_TRACK, "u", "");
	event.event = STR("Order");
	event.properties = STR("{\"currency\":\"EUR\"}");
	event.context = STR("{\"test\":true}");
	(void)world_one(&world, &event);
	assert_features(&world, "any_shoe=1 big=2 coupon=1 euro=1 no_coupon=4 no_shoe=4 shoes=3");
	world_close(&world);
}

static void test_event_names(void **s)
{
	(void)s;
	struct world world;
	open_with(&world,
		  FEATURE("all", "count", "", "", "") "," FEATURE(
		      "some", "count", "", "",
		      "\"events\":[\"Order\",\"Refund\",\"page\"]") "," FEATURE("tracks", "count", "track", "", ""));
	struct cdpd_event page = world_event(EVENT_PAGE, "u", ""), track = world_event(EVENT_TRACK, "u", "");
	(void)world_one(&world, &page);
	track.event = STR("Order");
	(void)world_one(&world, &track);
	track.event = STR("Refund");
	(void)world_one(&world, &track);
	track.event = STR("page"); /* a track of that name is no page */
	(void)world_one(&world, &track);
	track.event = STR("");
	(void)world_one(&world, &track);
	assert_features(&world, "all=5 some=3 tracks=4");
	world_close(&world);
}

/* An event that no feature asks for is not looked into. */
static void test_other_events_cost_nothing(void **s)
{
	(void)s;
	struct world world;
	struct apply_result result;
	open_with(&world, FEATURE("a", "sum", "Order", "properties.total",
				  "") "," FEATURE("b", "count", "", "",
						  "\"events\":[\"Order\",\"Refund\"],"
						  "\"where\":[{\"field\":\"properties.x\",\"in\":[\"1\"]}]"));
	struct cdpd_event event = world_event(EVENT_TRACK, "u", "");
	event.event = STR("Clicked");
	event.properties = STR("{\"total\":1,\"x\":1}");
	world_begin(&world);
	world_apply(&world, &event, &result);
	assert_false(world.people->view.parts[PART_PROPERTIES].is_parsed);
	event.event = STR("Refund");
	world_apply(&world, &event, &result);
	assert_true(world.people->view.parts[PART_PROPERTIES].is_parsed);
	world_commit(&world);
	assert_features(&world, "a=0 b=1");
	world_close(&world);
}

/* Two identifiers that turn out to be one person: merged states are what one state would have become, late events too. */
static void test_merging_people(void **s)
{
	(void)s;
	static const char features[] =
	    FEATURE("gaps", "intervals", "Order", "", "\"options\":{\"n\":4}") "," FEATURE("skus", "count", "Order", "", "\"key\":\"properties.products[].sku\",\"max_keys\":2") "," FEATURE(
		"tags", "distinct", "Order", "properties.tags[]",
		"\"options\":{\"precision\":6}") "," FEATURE("v", "variance", "Order", "properties.total",
							     "") "," FEATURE("week", "window", "Order",
									     "properties.total",
									     "\"options\":{\"window\":604800000000}");
	for (unsigned seed = 0; seed < 8; seed++) {
		struct world one, two;
		open_with(&one, features);
		open_with(&two, features);
		srand(seed);
		for (int i = 0; i < 40; i++) {
			char properties[300], id[8];
			int64_t time = WORLD_T0 - (int64_t)(rand() % 1000) * 1000000000;
			snprintf(id, sizeof id, "m%d", i);
			snprintf(properties, sizeof properties,
				 "{\"total\":%d.25,\"tags\":[\"t%d\",\"t%d\"],\"products\":[{\"sku\":\"s%d\"},{\"sku\":"
				 "\"s%d\"}]}",
				 rand() % 100, rand() % 90, rand() % 90, rand() % 5, rand() % 5);
			struct cdpd_event event = world_event(EVENT_TRACK, "u", "");
			event.event = STR("Order");
			event.properties = str_from(properties);
			event.message_id = str_from(id);
			event.event_time_us = time;
			(void)world_one(&one, &event);
			if (rand() % 2 && i < 39) { /* anonymously, until the last one joins them */
				event.user_id = STR("");
				event.anonymous_id = STR("a");
			} else if (i == 39) {
				event.anonymous_id = STR("a");
			}
			(void)world_one(&two, &event);
		}
		char *whole = strdup(view_features(&one, "user_id:u"));
		assert_text(view_features(&two, "user_id:u"), whole);
		free(whole);
		world_check(&two);
		world_close(&one);
		world_close(&two);
	}
}

/* Large states: on disk they take what they hold, and they come back. */
static void test_large_states(void **s)
{
	(void)s;
	struct world world;
	char properties[200];
	open_with(&world,
		  FEATURE("d", "distinct", "Order", "properties.v", "\"options\":{\"precision\":13}") "," FEATURE(
		      "n", "count", "Order", "", "") "," FEATURE("t", "top", "Order", "properties.v",
								 "\"options\":{\"n\":20}"));
	for (int round = 0; round < 3; round++) {
		struct apply_result result;
		size_t pages;
		world_begin(&world);
		pages = people_pages(world.people);
		for (int i = 0; i < 1500; i++) {
			struct cdpd_event event = world_event(EVENT_TRACK, "u", "");
			event.event = STR("Order");
			snprintf(properties, sizeof properties, "{\"v\":\"%090d\"}", round * 1500 + i);
			event.properties = str_from(properties);
			world_apply(&world, &event, &result);
		}
		if (round == 0)
			assert_true(people_pages(world.people) > pages + 8); /* growth is known before the commit */
		world_commit(&world);
		world_reopen(&world);
	}
	struct profile profile;
	view_begin(&world);
	assert_int_equal(view_get(&world, "user_id:u", &profile), OK);
	assert_in_range(strtoul(profile.features[0].value.ptr, NULL, 10), 4500 * 0.95, 4500 * 1.05);
	assert_text(profile.features[1].value.ptr, "4500");
	assert_true(profile.features[2].value.len > 2000);
	view_end(&world);
	world_check(&world);
	world_close(&world);
}

/* A changed option, condition, key or list of events is another feature; what stayed the same goes on. */
static void test_identity_of_definitions(void **s)
{
	(void)s;
	struct world world;
	open_with(&world, FEATURE("f", "intervals", "Order", "", "\"options\":{\"n\":3}") "," FEATURE("n", "count",
												      "Order", "", ""));
	order(&world, "{}");
	static const char *const others[] = {
	    FEATURE("f", "intervals", "Order", "", "\"options\":{\"n\":4}"),
	    FEATURE("f", "intervals", "Order", "",
		    "\"options\":{\"n\":4},\"where\":[{\"exists\":false,\"field\":\"properties.x\"}]"),
	    FEATURE("f", "intervals", "Order", "", ""),
	    FEATURE("f", "intervals", "", "", "\"events\":[\"Order\",\"Refund\"]"),
	};
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		char features[2000];
		snprintf(features, sizeof features, "%s,%s", others[i], FEATURE("n", "count", "Order", "", ""));
		world_define(&world, define(features));
		char expected[300];
		snprintf(expected, sizeof expected,
			 "f={\"events\":0,\"count\":0,\"mean\":null,\"variance\":null,\"min\":null,\"max\":null,"
			 "\"last\":[]} n=%zu",
			 i + 1);
		assert_features(&world, expected);
		order(&world, "{}");
		assert_memory_equal(view_features(&world, "user_id:u"), "f={\"events\":1,", 14);
		world_reopen(&world); /* and it is found again */
		world_define(&world, define(features));
		assert_memory_equal(view_features(&world, "user_id:u"), "f={\"events\":1,", 14);
	}
	/* An option at its default is the same as no option. */
	world_define(&world, define(FEATURE("f", "intervals", "", "",
					    "\"events\":[\"Refund\",\"Order\"],\"options\":{\"n\":10}")));
	assert_memory_equal(view_features(&world, "user_id:u"), "f={\"events\":1,", 14);
	world_close(&world);
}

static void assert_refused(const char *feature)
{
	struct plan *plan;
	int rc = plan_succeed(NULL, str_from(define(feature)), 1, &plan);
	assert_true(rc == ERR_INVALID || rc == ERR_NOT_FOUND);
}

static void test_refused(void **s)
{
	(void)s;
	assert_refused(FEATURE("f", "intervals", "", "", "\"options\":{\"n\":33}"));
	assert_refused(FEATURE("f", "intervals", "", "", "\"options\":{\"m\":3}"));
	assert_refused(FEATURE("f", "intervals", "", "", "\"options\":{\"n\":\"3\"}"));
	assert_refused(FEATURE("f", "intervals", "", "", "\"options\":[]"));
	assert_refused(FEATURE("f", "histogram", "", "", "\"options\":{\"by\":\"year\"}"));
	assert_refused(FEATURE("f", "count", "", "", "\"options\":{\"n\":3}"));
	assert_refused(FEATURE("f", "count", "", "", "\"key\":\"properties.k\""));
	assert_refused(FEATURE("f", "count", "", "", "\"key\":\"properties.k\",\"max_keys\":51"));
	assert_refused(FEATURE("f", "count", "", "", "\"key\":\"k\",\"max_keys\":5"));
	assert_refused(FEATURE("f", "histogram", "", "", "\"key\":\"properties.k\",\"max_keys\":5"));
	assert_refused(FEATURE("f", "sum", "", "properties.a[].b[].c", ""));
	assert_refused(FEATURE("f", "sum", "", "properties.a[]b", ""));
	assert_refused(FEATURE("f", "sum", "", "name[]", ""));
	assert_refused(FEATURE("f", "sum", "", "properties.a[].b", "\"key\":\"properties.c[].d\",\"max_keys\":5"));
	assert_refused(FEATURE("f", "count", "", "", "\"where\":[{\"in\":[\"x\"]}]"));
	assert_refused(FEATURE("f", "count", "", "", "\"where\":[{\"field\":\"\",\"in\":[\"x\"]}]"));
	assert_refused(FEATURE("f", "count", "", "", "\"where\":[{\"field\":\"properties.x\",\"in\":\"x\"}]"));
	assert_refused(FEATURE("f", "count", "", "", "\"where\":[{\"field\":\"properties.x\",\"min\":\"1\"}]"));
	assert_refused(FEATURE("f", "count", "", "", "\"where\":{}"));
	assert_refused(FEATURE("f", "count", "", "", "\"events\":[1,2]"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_arrays),
	    cmocka_unit_test(test_too_many_elements),
	    cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_conditions),
	    cmocka_unit_test(test_event_names),
	    cmocka_unit_test(test_other_events_cost_nothing),
	    cmocka_unit_test(test_merging_people),
	    cmocka_unit_test(test_large_states),
	    cmocka_unit_test(test_identity_of_definitions),
	    cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
