/* Parsing literals in tests: a copy with nothing but the promised slack behind it, so that ASan sees over-reads. */
#pragma once

#include "base/base_test.h"
#include "base/json.h"

static struct json_reader *reader;

static inline int parse_text(struct str text, struct json *root, const char **why)
{
	char *copy = malloc(text.len + BUF_SLACK);
	assert_non_null(copy);
	memcpy(copy, text.ptr, text.len);
	memset(copy + text.len, '5', BUF_SLACK); /* digits: a number that is read too far shows */
	int rc = json_parse(reader, (struct str){copy, text.len}, root, why);
	free(copy); /* the document must not need it any more */
	return rc;
}

static inline struct json parsed(const char *text)
{
	struct json root = {0};
	const char *why = "";
	if (parse_text(str_from(text), &root, &why) != OK) fail_msg("%s: %s", text, why);
	return root;
}

static int make_reader(void **state)
{
	(void)state;
	return json_reader_new(&reader);
}

static int free_reader(void **state)
{
	(void)state;
	json_reader_free(reader);
	return 0;
}
