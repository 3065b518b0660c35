/* config_file: configurations as files of a folder that goes with the test, one of another file beside them. */
#pragma once

#include "config/config_test.h"
#include "store/test_dir.h"

static struct test_dir config_folder;
static struct test_path config_file, config_beside; /* c.yaml, and the one beside it */

/* Setup and teardown of a group. */
static inline int config_folder_make(const char *beside)
{
	config_folder = test_dir_make();
	config_file = test_dir_path(&config_folder, "c.yaml");
	config_beside = test_dir_path(&config_folder, beside);
	return 0;
}

static inline int config_folder_remove(void **state)
{
	(void)state;
	test_dir_remove(&config_folder);
	return 0;
}

static inline void config_put(const struct test_path *path, const char *text)
{
	FILE *f = fopen(path->text, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static inline int config_load_text(const char *text, const struct config **out, char **errors)
{
	config_put(&config_file, text);
	return config_load(config_file.text, NULL, 0, out, errors);
}

static inline const struct config *config_loaded(const char *text)
{
	const struct config *config;
	char *errors;
	if (config_load_text(text, &config, &errors) != OK) fail_msg("%s", errors);
	return config;
}

static inline void config_refused(const char *text, const char *why)
{
	const struct config *config;
	char *errors;
	if (config_load_text(text, &config, &errors) == OK) fail_msg("taken: %s", text);
	if (!strstr(errors, why)) fail_msg("got  %s\nwant %s", errors, why);
	free(errors);
}
