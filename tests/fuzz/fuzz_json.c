// rooms: base
/* Whatever bytes come: json_parse accepts or refuses without harm; what it accepts survives being written and read again,
 * holds valid UTF-8 only, and json_split_array's elements lie inside the text. */
#include <stdlib.h>

#include "base/encode.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json_reader *reader, *second;
static struct buf plain, canonical, again;

static void start(void)
{
	if (reader) return;
	CHECK(json_reader_new(&reader) == OK && json_reader_new(&second) == OK);
	buf_init(&plain, 64 << 20);
	buf_init(&canonical, 64 << 20);
	buf_init(&again, 64 << 20);
}

static void walk(struct json value)
{
	struct json_iter it;
	struct json child, found;
	struct str text;
	size_t count = 0;
	if (json_str(value, &text)) CHECK(utf8_is_valid(text));
	json_iter_start(value, &it);
	if (json_type(value) == JSON_OBJECT) {
		for (; json_next_member(&it, &text, &child); count++) {
			CHECK(utf8_is_valid(text) && json_get(value, text, &found) && found.index <= child.index);
			walk(child);
		}
	} else {
		for (; json_next_element(&it, &child); count++) walk(child);
	}
	CHECK(count == json_count(value));
}

static void check_accepted(struct json root)
{
	struct json copy;
	const char *why;
	walk(root);
	buf_clear(&plain);
	buf_clear(&canonical);
	buf_clear(&again);
	CHECK(json_write(&plain, root) == OK && json_write_canonical(&canonical, root) == OK);
	CHECK(json_parse(second, buf_str(&plain), &copy, &why) == OK);
	CHECK(json_write_canonical(&again, copy) == OK);
	CHECK(str_eq(buf_str(&canonical), buf_str(&again)));
	CHECK(json_parse(second, buf_str(&canonical), &copy, &why) == OK);
	buf_clear(&again);
	CHECK(json_write_canonical(&again, copy) == OK);
	CHECK(str_eq(buf_str(&canonical), buf_str(&again)));
}

static int on_element(void *ctx, struct str element)
{
	const struct str *text = ctx;
	CHECK(element.ptr >= text->ptr && element.ptr + element.len <= text->ptr + text->len);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json root;
	const char *why = NULL;
	start();
	char *copy = malloc(size + BUF_SLACK);
	if (!copy) return 0;
	memcpy(copy, data, size);
	memset(copy + size, 0, BUF_SLACK);
	struct str text = {copy, size};
	if (json_parse(reader, text, &root, &why) == OK)
		check_accepted(root);
	else
		CHECK(why);
	(void)!json_split_array(text, STR("batch"), on_element, &text);
	(void)!json_split_array(text, STR_NONE, on_element, &text);
	json_reader_trim(reader, 1 << 20);
	free(copy);
	return 0;
}
