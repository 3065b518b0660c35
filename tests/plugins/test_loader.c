#include "plugin_test.h"

static struct arena arena;

static int setup(void **state)
{
	(void)state;
	make_folder();
	arena_init(&arena, 4096, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	remove_folder();
	return 0;
}

static void refused(const char *name, const char *why)
{
	const struct plugin *plugin;
	struct str error;
	assert_int_not_equal(plugin_load(&arena, str_from(folder), str_from(name), &plugin, &error), OK);
	assert_null(plugin);
	assert_has(error, folder);
	assert_has(error, why);
}

static void test_a_good_one_is_loaded_once(void **state)
{
	(void)state;
	const struct plugin *first, *second;
	struct str error;
	put_so(PLUGINS, "campaign");
	assert_int_equal(plugin_load(&arena, str_from(folder), STR("campaign"), &first, &error), OK);
	assert_int_equal(plugin_load(&arena, str_from(folder), STR("campaign"), &second, &error), OK);
	assert_ptr_equal(first, second);
	assert_string_equal(plugin_info(first)->name, "campaign");
}

static void test_wrong_contents(void **state)
{
	(void)state;
	put_so(SO, "wrong_abi");
	put_so(SO, "newer_minor");
	put_so(SO, "missing_symbol");
	put_so(SO, "no_callback");
	put_so(SO, "bad_default");
	put_so_as(PLUGINS, "campaign", "renamed", 0755);
	put_bytes("text.so", "#!/bin/sh\necho this is no shared object\n", 39, 0755);
	put_bytes("empty.so", "", 0, 0755);
	refused("wrong_abi", "ABI 2.0");
	refused("newer_minor", "ABI 1.5");
	refused("missing_symbol", "does not export the symbol cdpd_plugin");
	refused("no_callback", "claims enrich without the callback");
	refused("bad_default", "'retries' must be 0 to 10");
	refused("renamed", "campaign.so");
	refused("text", "not an ELF file");
	refused("empty", "not an ELF file");
	refused("absent", "no such file");
}

static void test_a_cut_off_elf_file(void **state)
{
	(void)state;
	char bytes[2000];
	char path[600];
	snprintf(path, sizeof path, "%s/campaign.so", PLUGINS);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fread(bytes, 1, sizeof bytes, file), sizeof bytes);
	fclose(file);
	put_bytes("cut.so", bytes, sizeof bytes, 0755);
	refused("cut", "cut short or damaged");
	bytes[18] = 0x28; /* another machine */
	put_bytes("arm.so", bytes, sizeof bytes, 0755);
	refused("arm", "not a shared object for this machine");
}

static void test_who_may_write_it(void **state)
{
	(void)state;
	put_so_as(SO, "wrong_abi", "a", 0777);
	refused("a", "writable by everybody");
	put_so_as(SO, "wrong_abi", "b", 0775);
	refused("b", "writable by its group");
	assert_int_equal(chmod(folder, 0777), 0);
	put_so_as(SO, "wrong_abi", "c", 0755);
	refused("c", "folder is writable by everybody");
	assert_int_equal(chmod(folder, 0700), 0);
}

static void test_links_and_odd_files(void **state)
{
	(void)state;
	char target[600], link[600];
	snprintf(target, sizeof target, "%s/campaign.so", PLUGINS);
	snprintf(link, sizeof link, "%s/campaign.so", folder);
	assert_int_equal(symlink(target, link), 0);
	refused("campaign", "symbolic link out of its folder");
	snprintf(link, sizeof link, "%s/pipe.so", folder);
	assert_int_equal(mkfifo(link, 0600), 0);
	refused("pipe", "not a regular file");
}

static void test_names(void **state)
{
	(void)state;
	char long_name[80];
	memset(long_name, 'a', sizeof long_name);
	long_name[70] = '\0';
	refused("../campaign", "a plugin's name is");
	refused("", "a plugin's name is");
	refused("Upper", "a plugin's name is");
	refused(long_name, "a plugin's name is");
}

/* ── the table's own rules, without a file ───────────────────────────────── */

static int no_enrich(void *self, struct cdpd_event *event)
{
	(void)self;
	(void)event;
	return 0;
}

static struct cdpd_plugin sound(void)
{
	return (struct cdpd_plugin){
	    .size = sizeof(struct cdpd_plugin),
	    .abi_major = CDPD_ABI_MAJOR,
	    .name = "x",
	    .version = "1",
	    .summary = "s",
	    .caps = CDPD_CAP_ENRICH,
	    .enrich = no_enrich,
	};
}

static void bad_table(const struct cdpd_plugin *table, const char *why)
{
	struct str error = STR_NONE;
	assert_int_equal(plugin_table_check(&arena, table, STR("x"), &error), ERR_INVALID);
	assert_has(error, why);
}

static void test_table_identity(void **state)
{
	(void)state;
	struct str error;
	char long_text[300];
	memset(long_text, 'a', sizeof long_text);
	long_text[299] = '\0';
	struct cdpd_plugin t = sound();
	assert_int_equal(plugin_table_check(&arena, &t, STR("x"), &error), OK);
	t.size--;
	bad_table(&t, "bytes");
	t.size = offsetof(struct cdpd_plugin, uses); /* one of 1.0 */
	assert_int_equal(plugin_table_check(&arena, &t, STR("x"), &error), OK);
	assert_int_equal(plugin_uses(&t).count, 0);
	t.size--;
	bad_table(&t, "bytes");
	t = sound(), t.name = NULL;
	bad_table(&t, "name");
	t = sound(), t.name = long_text;
	bad_table(&t, "name");
	t = sound(), t.version = long_text;
	bad_table(&t, "version");
	t = sound(), t.summary = "";
	bad_table(&t, "summary");
	t = sound(), t.caps = 0;
	bad_table(&t, "no capability");
	t = sound(), t.caps |= 1u << 20;
	bad_table(&t, "do not exist");
	t = sound(), t.flags = 1;
	bad_table(&t, "flags");
}

static void test_table_paths(void **state)
{
	(void)state;
	static const char *const bad[] = {"a..b", ".a", "a.", "", "a.b.c.d.e.f.g.h.i"};
	const char *path[1];
	struct cdpd_plugin t = sound();
	t.needs = (struct cdpd_paths){1, path};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		path[0] = bad[i];
		bad_table(&t, "not a field path");
	}
	path[0] = "context.page.url";
	t.provides = (struct cdpd_paths){1, path};
	bad_table(&t, "not under enrichment.");
	t.provides = (struct cdpd_paths){1000, path};
	bad_table(&t, "more than 64");
}

static void bad_option(struct cdpd_option option, const char *why)
{
	struct cdpd_plugin t = sound();
	t.options = (struct cdpd_options){sizeof option, 1, &option};
	bad_table(&t, why);
}

static void test_table_options(void **state)
{
	(void)state;
	struct cdpd_option ok = {.name = "a", .type = CDPD_OPTION_INT, .default_text = "1", .help = "h"}, o;
	o = ok, o.name = "A-b";
	bad_option(o, "the name of option 0");
	o = ok, o.type = (enum cdpd_option_type)77;
	bad_option(o, "unknown type");
	o = ok, o.help = NULL;
	bad_option(o, "no help");
	o = ok, o.is_required = true;
	bad_option(o, "required and has a default");
	o = ok, o.min = 5, o.max = 1;
	bad_option(o, "min above max");
	o = ok, o.default_text = "one";
	bad_option(o, "must be a whole number");
	o = ok, o.type = CDPD_OPTION_ENUM;
	bad_option(o, "an enum needs them");
	struct cdpd_option twice[2] = {ok, ok};
	struct cdpd_plugin t = sound();
	t.options = (struct cdpd_options){sizeof ok, 2, twice};
	bad_table(&t, "twice");
	t.options.item_size = 8;
	bad_table(&t, "item_size");
}

/* An element that has grown at its end is walked by item_size. */
static void test_larger_items_are_walked(void **state)
{
	(void)state;
	struct {
		struct cdpd_option option;
		char more[16];
	} items[2] = {
	    {{.name = "a", .type = CDPD_OPTION_BOOL, .help = "h"}, "xxxxxxxxxxxxxxx"},
	    {{.name = "b", .type = CDPD_OPTION_BOOL, .help = "h"}, "xxxxxxxxxxxxxxx"},
	};
	struct str error;
	struct cdpd_plugin t = sound();
	t.options = (struct cdpd_options){sizeof items[0], 2, &items[0].option};
	assert_int_equal(plugin_table_check(&arena, &t, STR("x"), &error), OK);
	assert_string_equal(plugin_option(&t.options, 1)->name, "b");
}

/* ── feature types ───────────────────────────────────────────────────────── */

static void bad_type(const struct cdpd_feature_type *type, const char *why)
{
	struct cdpd_plugin t = sound();
	t.caps |= CDPD_CAP_FEATURE;
	t.feature = type;
	bad_table(&t, why);
}

static const struct cdpd_plugin *load_so(const char *name)
{
	const struct plugin *plugin;
	struct str error = STR_NONE;
	put_so(SO, name);
	assert_int_equal(plugin_load(&arena, str_from(folder), str_from(name), &plugin, &error), OK);
	return plugin_info(plugin);
}

/* A table that ends where 1.0 ended is taken, and nothing behind its end is read. */
static void test_a_feature_of_1_0_is_taken(void **state)
{
	(void)state;
	const struct cdpd_feature_type *type = load_so("feature_1_0")->feature;
	assert_int_equal(type->size, 48);
	assert_false(plugin_feature_has_options(type));
	uint8_t bytes[1];
	char json[8];
	assert_int_equal(type->init(bytes), 1);
	assert_int_equal(type->read(bytes, 1, 0, json, sizeof json), 5);
}

static void test_feature_tables(void **state)
{
	(void)state;
	const struct cdpd_feature_type *good = load_so("threshold")->feature;
	assert_true(plugin_feature_has_options(good));
	struct cdpd_feature_type t = *good;
	t.size = 47;
	bad_type(&t, "smaller than that of 1.0");
	t.size = 64;
	bad_type(&t, "between two versions");
	t = *good, t.merge_with = NULL;
	bad_type(&t, "lacks init, add, merge or read with options");
	t = *good, t.max_state = 8193;
	bad_type(&t, "1 to 8192 bytes");
	struct cdpd_option option = {.name = "key", .type = CDPD_OPTION_INT, .default_text = "1", .help = "h"};
	t = *good, t.options = (struct cdpd_options){sizeof option, 1, &option};
	bad_type(&t, "'key' has the name of something every feature has");
	option.name = "a", option.type = CDPD_OPTION_LIST;
	bad_type(&t, "no list and no secret");
}

/* ── looking into files ──────────────────────────────────────────────────── */

static int inspect(const char *from, const char *name, struct buf *out)
{
	char path[600];
	put_so(from, name);
	snprintf(path, sizeof path, "%s/%s.so", folder, name);
	buf_init(out, 1 << 20);
	return plugin_inspect(str_from(path), out);
}

static void test_inspection_tells_options(void **state)
{
	(void)state;
	struct buf out;
	assert_int_equal(inspect(PLUGINS, "ndjson", &out), OK);
	assert_has(buf_str(&out), "ndjson 1.0.0: export (ABI 1.4)");
	assert_has(buf_str(&out), "rotate_bytes");
	assert_has(buf_str(&out), "default: 64MB");
	assert_has(buf_str(&out), "required");
	buf_fini(&out);
	assert_int_equal(inspect(SO, "crasher", &out), OK);
	assert_has(buf_str(&out), "feature state: version 1, at most 8 bytes, exact");
	buf_fini(&out);
	assert_int_equal(inspect(SO, "threshold", &out), OK);
	assert_has(buf_str(&out), "options of a feature:");
	assert_has(buf_str(&out), "inputs from here on count");
	buf_fini(&out);
}

static void test_inspection_survives_the_file(void **state)
{
	(void)state;
	struct buf out;
	assert_int_equal(inspect(SO, "crashing_constructor", &out), ERR_REFUSED);
	assert_has(buf_str(&out), "crashed while loading (Aborted)");
	assert_has(buf_str(&out), folder);
	buf_fini(&out);
	assert_int_equal(inspect(SO, "exiting_constructor", &out), ERR_REFUSED);
	assert_has(buf_str(&out), "ended the process while loading (exit 0)");
	buf_fini(&out);
	assert_int_equal(inspect(SO, "wrong_abi", &out), ERR_REFUSED);
	assert_has(buf_str(&out), "ABI 2.0");
	buf_fini(&out);
}

static void test_the_sandbox_holds(void **state)
{
	(void)state;
	struct buf out;
	unlink("cdpd-nosy");
	assert_int_equal(inspect(SO, "nosy_constructor", &out), OK);
	assert_has(buf_str(&out), "0 of 5 through"); /* the constructor did run, and did try */
	buf_fini(&out);
	assert_int_not_equal(access("cdpd-nosy", F_OK), 0);
}

/* ── features ────────────────────────────────────────────────────────────── */

static struct str registered;
static int registered_count, register_answer;

static int take(struct str name, const struct cdpd_feature_type *type)
{
	assert_int_equal(type->max_state, 8);
	registered = name;
	registered_count++;
	return register_answer;
}

static void test_features_are_handed_on(void **state)
{
	(void)state;
	char *errors;
	struct conf_feature features[] = {{.name = STR("n"), .type = STR("count")},
					  {.name = STR("boom"), .type = STR("crasher")}};
	struct config config = {
	    .file = STR("cdpd.yaml"), .plugin_path = str_from(folder), .features = features, .feature_count = 2};
	put_so(SO, "crasher");
	registered_count = 0;
	register_answer = OK;
	assert_int_equal(plugin_register_features(&config, take, &errors), OK);
	assert_null(errors);
	assert_int_equal(registered_count, 1);
	assert_true(str_eq(registered, STR("crasher")));
	register_answer = ERR_EXISTS; /* a reload */
	assert_int_equal(plugin_register_features(&config, take, &errors), OK);
	put_so(PLUGINS, "campaign");
	features[1].type = STR("campaign");
	assert_int_not_equal(plugin_register_features(&config, take, &errors), OK);
	assert_non_null(strstr(errors, "'campaign' is not a feature type"));
	free(errors);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_a_good_one_is_loaded_once),
	    TEST(test_wrong_contents),
	    TEST(test_a_cut_off_elf_file),
	    TEST(test_who_may_write_it),
	    TEST(test_links_and_odd_files),
	    TEST(test_names),
	    TEST(test_table_identity),
	    TEST(test_table_paths),
	    TEST(test_table_options),
	    TEST(test_larger_items_are_walked),
	    TEST(test_a_feature_of_1_0_is_taken),
	    TEST(test_feature_tables),
	    TEST(test_inspection_tells_options),
	    TEST(test_inspection_survives_the_file),
	    TEST(test_the_sandbox_holds),
	    TEST(test_features_are_handed_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
