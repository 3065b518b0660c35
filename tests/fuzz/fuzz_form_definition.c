// rooms: config
/* Whatever is put as a form's definition: it is refused with pointers and messages, or it is a form whose texts are JSON, and its definition, as it
 * would lie on disk, makes an equal one again. */
#include <stdlib.h>
#include <unistd.h>

#include "config/stored_form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char configuration[] = "consent: {purposes: [{name: mail, channels: [email]}]}\n";

static const struct config *config;
static struct json_reader *reader, *again;
static struct arena arena;

static void start(void)
{
	char path[] = "/tmp/cdpd-fuzz-XXXXXX", *errors;
	if (config) return;
	int fd = mkstemp(path);
	CHECK(fd >= 0 && write(fd, configuration, sizeof configuration - 1) == (ssize_t)sizeof configuration - 1);
	close(fd);
	CHECK(config_load(path, NULL, 0, &config, &errors) == OK);
	unlink(path);
	CHECK(json_reader_new(&reader) == OK && json_reader_new(&again) == OK);
	arena_init(&arena, 65536, 64 << 20);
}

static bool is_json(struct str text)
{
	struct json root;
	const char *why;
	char *copy = arena_zalloc(&arena, text.len + BUF_SLACK);
	CHECK(copy);
	memcpy(copy, text.ptr, text.len);
	return json_parse(again, str_of(copy, text.len), &root, &why) == OK;
}

static void check_made(const struct form_about *about, const struct stored_form *made)
{
	struct stored_form *second;
	struct form_fault *faults;
	struct json definition;
	size_t count;
	const char *why;
	CHECK(is_json(made->form.json) && is_json(made->form.fingerprint));
	char *copy = arena_zalloc(&arena, made->definition.len + BUF_SLACK);
	CHECK(copy);
	memcpy(copy, made->definition.ptr, made->definition.len);
	CHECK(json_parse(again, str_of(copy, made->definition.len), &definition, &why) == OK);
	CHECK(stored_form_make(config, about, definition, &arena, &second, &faults, &count) == OK);
	CHECK(stored_form_equal(made, second) && str_eq(made->definition, second->definition));
	stored_form_unref(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct form_about about = {.name = STR("f"), .version = 3, .changed_by = STR("t")};
	struct stored_form *made;
	struct form_fault *faults;
	struct json root;
	size_t count;
	const char *why;
	start();
	arena_reset(&arena);
	char *copy = malloc(size + BUF_SLACK);
	if (!copy) return 0;
	memcpy(copy, data, size);
	memset(copy + size, 0, BUF_SLACK);
	if (json_parse(reader, str_of(copy, size), &root, &why) == OK) {
		int rc = stored_form_make(config, &about, root, &arena, &made, &faults, &count);
		CHECK(rc == OK || rc == ERR_INVALID || rc == ERR_NOMEM);
		if (rc == ERR_INVALID) CHECK(count > 0 && count <= STORED_FORM_FAULTS && faults[0].message.len > 0);
		for (size_t i = 0; rc == ERR_INVALID && i < count; i++)
			CHECK(faults[i].pointer.len == 0 || faults[i].pointer.ptr[0] == '/');
		if (rc == OK) {
			check_made(&about, made);
			stored_form_unref(made);
		}
	}
	free(copy);
	return 0;
}
