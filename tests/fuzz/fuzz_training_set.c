// rooms: training
/* The definition of a training set from any bytes: YAML, schema, columns, conditions. What is taken can be matched with events. */
#include "profile/event_match.h"
#include "training/columns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf_feature features[] = {
    {.name = {"orders", 6}, .type = {"count", 5}, .field = {"", 0}, .key = {"", 0}},
    {.name = {"last", 4}, .type = {"last", 4}, .field = {"properties.x", 12}, .key = {"", 0}},
    {.name = {"rhythm", 6}, .type = {"intervals", 9}, .field = {"", 0}, .key = {"", 0}},
    {.name = {"hours", 5}, .type = {"histogram", 9}, .field = {"", 0}, .key = {"", 0}},
    {.name = {"keyed", 5}, .type = {"sum", 3}, .field = {"properties.x", 12}, .key = {"properties.y", 12}},
    {.name = {"top", 3}, .type = {"top", 3}, .field = {"properties.x", 12}, .key = {"", 0}},
};
static struct conf_purpose purposes[] = {{.name = {"ml", 2}}};

static void match(const struct conf_feature *conf, struct complaints *complaints)
{
	struct event_match *matcher;
	const struct cdpd_event event = {.type = EVENT_TRACK,
					 .event = STR("Order"),
					 .name = STR_NONE,
					 .user_id = STR("u"),
					 .anonymous_id = STR_NONE,
					 .group_id = STR_NONE,
					 .message_id = STR("m"),
					 .properties = STR("{\"x\":[{\"y\":1},2],\"y\":\"a\"}"),
					 .traits = STR_NONE,
					 .context = STR_NONE,
					 .enrichment = STR_NONE};
	double value;
	bool hit;
	if (event_match_new(conf, complaints, &matcher) != OK) return;
	CHECK(event_match_test(matcher, &event, &hit, &value) == OK);
	CHECK(hit || value == 0);
	event_match_free(matcher);
}

static void check_columns(const struct columns *columns)
{
	for (size_t i = 0; i < columns->count; i++)
		CHECK(columns->items[i].feature < columns->feature_count && columns->items[i].name.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct config config = {.features = features,
				      .feature_count = COUNT_OF(features),
				      .purposes = purposes,
				      .purpose_count = COUNT_OF(purposes)};
	struct complaints complaints;
	struct training_set set;
	struct columns columns;
	struct arena arena;
	arena_init(&arena, 4096, 64 << 20);
	complaints_init(&complaints, "fuzz.yaml");
	struct reading reading = {.arena = &arena, .complaints = &complaints};
	int rc = training_set_read(&reading, str_of(data, size), "fuzz.yaml", &config, &set);
	if (!rc) rc = columns_make(&reading, &set, &config, &columns);
	CHECK((rc == ERR_INVALID) == (complaints.count > 0));
	if (!rc) {
		check_columns(&columns);
		if (!set.every_us) match(&set.points, &complaints);
		match(&set.label, &complaints);
	}
	complaints_fini(&complaints);
	arena_fini(&arena);
	return 0;
}
