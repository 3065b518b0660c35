// rooms: ingest
/* Whatever fields come, by either encoding: they are refused, or become JSON whose answers a form can judge. The first byte chooses
 * the encoding. */
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "ingest/form_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char definitions[] = "forms:\n- name: f\n  questions:\n"
				  "  - {id: a, type: single, text: T, options: [x, 1, true]}\n"
				  "  - {id: b, type: multiple, text: T, options: [x, 2]}\n"
				  "  - {id: c, type: number, text: T}\n  - {id: d, type: hours, text: T}\n";

static const struct conf_form *form;
static struct json_reader *reader;
static struct arena arena;
static struct buf out;

static void start(void)
{
	static const struct config *config;
	char path[] = "/tmp/cdpd-fuzz-XXXXXX", *errors;
	if (form) return;
	int fd = mkstemp(path);
	CHECK(fd >= 0 && write(fd, definitions, sizeof definitions - 1) == (ssize_t)sizeof definitions - 1);
	close(fd);
	CHECK(config_load(path, NULL, 0, &config, &errors) == OK);
	unlink(path);
	form = config_form(config, STR("f"));
	CHECK(json_reader_new(&reader) == OK);
	arena_init(&arena, 65536, 64 << 20);
	buf_init(&out, 64 << 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct form_field *fields;
	struct json root, answers;
	size_t count;
	const char *why;
	start();
	if (size == 0) return 0;
	arena_reset(&arena);
	buf_clear(&out);
	struct str type =
	    data[0] & 1 ? STR("multipart/form-data; boundary=x") : STR("application/x-www-form-urlencoded");
	char *copy = malloc(size); /* exact, so that reading past the end shows */
	if (!copy) return 0;
	memcpy(copy, data + 1, size - 1);
	int rc = form_fields_parse(type, str_of(copy, size - 1), &arena, &fields, &count);
	CHECK(rc == OK || rc == ERR_INVALID || rc == ERR_TOO_LARGE || rc == ERR_NOMEM);
	if (rc == OK) {
		CHECK(count <= FORM_FIELDS_MAX && form_fields_write(&out, form, fields, count) == OK);
		CHECK(json_parse(reader, buf_str(&out), &root, &why) == OK);
		CHECK(json_get(root, STR("answers"), &answers) && json_type(answers) == JSON_OBJECT);
	}
	free(copy);
	return 0;
}
