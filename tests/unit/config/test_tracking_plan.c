#include <dirent.h>

#include "config/config_file.h"
#include "config/tracking_plan.h"

static int setup(void **state)
{
	(void)state;
	return config_folder_make("plan.yaml");
}

/* Every wanted text stands in the complaints, and there are no more lines than that. */
static void refused(const char *text, const char *plan, const char *const *wanted)
{
	const struct config *config;
	char *errors;
	size_t count = 0, lines = 1;
	if (plan) config_put(&config_beside, plan);
	if (config_load_text(text, &config, &errors) == OK) fail_msg("taken: %s%s", text, plan ? plan : "");
	for (; wanted[count]; count++)
		if (!strstr(errors, wanted[count])) fail_msg("no \"%s\" in:\n%s", wanted[count], errors);
	for (const char *c = errors; *c; c++) lines += *c == '\n';
	if (lines != count) fail_msg("%zu complaints, not %zu:\n%s", lines, count, errors);
	free(errors);
}

static void none(void **state)
{
	const struct config *c = config_loaded("");
	(void)state;
	assert_null(c->tracking_plan);
	config_unref(c);
	c = config_loaded("tracking_plan:\n");
	assert_null(c->tracking_plan);
	config_unref(c);
}

static void beside_the_config(void **state)
{
	(void)state;
	config_put(&config_beside, "unplanned: reject\n"
				   "events:\n"
				   "  - event: Order Completed\n"
				   "    mode: reject\n"
				   "    schema: {type: object, required: [total]}\n"
				   "  - {type: page}\n"
				   "  - {type: track, mode: accept}\n");
	const struct config *c = config_loaded("tracking_plan: {file: plan.yaml}\n");
	const struct tracking_plan *plan = c->tracking_plan;
	assert_non_null(plan);
	assert_int_equal(plan->unplanned, PLAN_REJECT);
	const struct plan_entry *order = tracking_plan_find(plan, PLAN_TRACK, STR("Order Completed"));
	assert_int_equal(order->mode, PLAN_REJECT);
	assert_int_equal(order->schema->required_count, 1);
	assert_int_equal(tracking_plan_find(plan, PLAN_TRACK, STR("Other"))->mode, PLAN_ACCEPT);
	assert_int_equal(tracking_plan_find(plan, PLAN_PAGE, STR_NONE)->mode, PLAN_FLAG);
	assert_null(tracking_plan_find(plan, PLAN_PAGE, STR("Order Completed"))->schema);
	assert_null(tracking_plan_find(plan, PLAN_IDENTIFY, STR_NONE));
	config_unref(c);
}

static void inside_the_config(void **state)
{
	const struct config *c =
	    config_loaded("tracking_plan:\n"
			  "  events:\n"
			  "    - {event: 'He said \"no\"', schema: {properties: {a: {minimum: 1}}}}\n");
	const struct plan_entry *entry = tracking_plan_find(c->tracking_plan, PLAN_TRACK, STR("He said \"no\""));
	struct buf metrics;
	(void)state;
	assert_int_equal(c->tracking_plan->unplanned, PLAN_ACCEPT);
	assert_true(entry->schema->properties[0].schema->rules & RULE_MINIMUM);
	buf_init(&metrics, 1 << 20);
	assert_int_equal(metric_write_all(&metrics), OK);
	assert_int_equal(buf_putc(&metrics, '\0'), OK);
	assert_non_null(
	    strstr(buf_ptr(&metrics), "cdpd_plan_violations_total{event=\"He said \\\"no\\\"\",mode=\"flag\"} 0"));
	buf_fini(&metrics);
	config_unref(c);
}

#define REFUSED(text, plan, ...) refused(text, plan, (const char *const[]){__VA_ARGS__, NULL})
#define IN_FILE                  "tracking_plan: {file: plan.yaml}\n"

static void entries_refused(void **state)
{
	(void)state;
	REFUSED(IN_FILE, "events: [{mode: flag}]\n", "plan.yaml:1: events[0] needs 'event' or 'type'");
	REFUSED(IN_FILE, "events:\n  - {event: A}\n  - {event: A}\n",
		"plan.yaml:3: event 'A' is planned twice, first in line 2");
	REFUSED(IN_FILE, "events:\n  - {type: page}\n  - {type: page}\n", "plan.yaml:3: type 'page");
	REFUSED(IN_FILE, "events:\n  - {event: A, type: page}\n",
		"plan.yaml:2: events[0]: only track events have an 'event' name");
	REFUSED(IN_FILE, "events:\n  - {event: A, mode: rejct}\n",
		"plan.yaml:2: events[0].mode: 'rejct' is not one of: accept, flag, reject, did you mean 'reject'?");
	REFUSED(IN_FILE, "events:\n  - {event: A, shema: {}}\n",
		"plan.yaml:2: unknown key 'shema' in events[0], did you mean 'schema'?");
	REFUSED(IN_FILE, "events:\n  - {type: alias}\n", "plan.yaml:2: events[0].type: 'alias' is not one of");
	REFUSED(IN_FILE, "unplaned: flag\n", "plan.yaml:1: unknown key 'unplaned', did you mean 'unplanned'?");
	REFUSED(IN_FILE, "- a\n", "plan.yaml:1: must be a map");
	REFUSED(IN_FILE, "events: {\n", "plan.yaml:");
	REFUSED("\ntracking_plan: {file: nowhere.yaml}\n", NULL, "nowhere.yaml:1: cannot be opened");
	REFUSED("tracking_plan: {file: plan.yaml, unplanned: flag}\n", "",
		"c.yaml:1: tracking_plan: 'file' stands alone");
	REFUSED("tracking_plan: plan.yaml\n", "", "c.yaml:1: tracking_plan must be a map");
}

static void schemas_refused(void **state)
{
	static const struct {
		const char *schema, *wanted;
	} rows[] = {
	    {"{oneOf: []}", "plan.yaml:3: events[0].schema: keyword 'oneOf' is not supported"},
	    {"{$ref: '#/x'}", "keyword '$ref' is not supported"},
	    {"{minimun: 1}", "keyword 'minimun' is not supported, did you mean 'minimum'?"},
	    {"{properties: {a: {multipleOf: 2}}}",
	     "events[0].schema.properties.a: keyword 'multipleOf' is not supported"},
	    {"{items: {uniqueItems: true}}", "events[0].schema.items: keyword 'uniqueItems' is not supported"},
	    {"{type: strin}",
	     "type 'strin' is not one of: null, boolean, integer, number, string, array, object, did you "
	     "mean 'string'?"},
	    {"{type: []}", "type names nothing"},
	    {"{type: {a: b}}", "is not one of: null"},
	    {"{minimum: '5'}", "minimum: '5' is not a number (leave the quotes out)"},
	    {"{maximum: five}", "maximum: 'five' is not a number"},
	    {"{maximum: 1e999}", "maximum: '1e999' is not a number"},
	    {"{minimum: 5, maximum: 4}", "minimum is above maximum"},
	    {"{minLength: -1}", "minLength: '-1' is not a whole number"},
	    {"{minLength: 5, maxLength: 4}", "minLength is above maxLength"},
	    {"{minItems: 5, maxItems: 4}", "minItems is above maxItems"},
	    {"{minItems: 1.5}", "minItems: '1.5' is not a whole number"},
	    {"{required: total}", "required must be a list"},
	    {"{required: [{a: b}]}", "required must be a list of names"},
	    {"{properties: [a]}", "properties must be a map"},
	    {"{properties: {a: string}}", "events[0].schema.properties.a must be a map of keywords"},
	    {"{additionalProperties: {type: string}}", "additionalProperties must be true or false"},
	    {"{items: [{type: string}]}", "events[0].schema.items must be a map of keywords"},
	    {"{enum: []}", "enum must be a list"},
	    {"{enum: [[1]]}", "enum takes texts, numbers, true, false and null"},
	    {"{const: {a: 1}}", "const takes texts"},
	    {"{enum: [1], const: 1}", "enum and const exclude each other"},
	    {"{pattern: '(a'}", "pattern '(a' has a ( without its )"},
	    {"{pattern: '(a|b)*a(a|b){12}'}", "needs too many states"},
	    {"{format: ipv4}", "format 'ipv4' is not supported; date-time, date, email and uri are"},
	};
	char plan[600];
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		(void)snprintf(plan, sizeof plan, "events:\n  - event: A\n    schema: %s\n", rows[i].schema);
		REFUSED(IN_FILE, plan, rows[i].wanted);
	}
}

static void nested_too_deeply(void **state)
{
	char plan[2048] = "events:\n  - event: A\n    schema: ";
	(void)state;
	for (int i = 0; i < 20; i++) (void)strcat(plan, "{items: ");
	(void)strcat(plan, "{}");
	for (int i = 0; i < 20; i++) (void)strcat(plan, "}");
	REFUSED(IN_FILE, plan, "is nested more than 16 deep");
	(void)strcpy(plan, "events:\n  - event: A\n    schema: ");
	for (int i = 0; i < 40; i++) (void)strcat(plan, "{items: ");
	(void)strcat(plan, "{}");
	for (int i = 0; i < 40; i++) (void)strcat(plan, "}");
	REFUSED(IN_FILE, plan, "plan.yaml:3: nested too deeply");
}

static void everything_at_once(void **state)
{
	(void)state;
	REFUSED("limits: {body_byte: 5}\n" IN_FILE, "events:\n  - event: A\n    schema: {oneOf: [], anyOf: []}\n",
		"c.yaml:1: unknown key", "plan.yaml:3: events[0].schema: keyword 'oneOf'", "keyword 'anyOf'");
}

static void the_example_loads(void **state)
{
	const struct config *config;
	char *errors;
	(void)state;
	if (config_load_text("tracking_plan: {file: " CONF_DIR "/tracking-plan.yaml}\n", &config, &errors) != OK)
		fail_msg("%s", errors);
	assert_true(config->tracking_plan->entry_count > 3);
	config_unref(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(none),
	    cmocka_unit_test(beside_the_config),
	    cmocka_unit_test(inside_the_config),
	    cmocka_unit_test(entries_refused),
	    cmocka_unit_test(schemas_refused),
	    cmocka_unit_test(nested_too_deeply),
	    cmocka_unit_test(everything_at_once),
	    cmocka_unit_test(the_example_loads),
	};
	return cmocka_run_group_tests(tests, setup, config_folder_remove);
}
