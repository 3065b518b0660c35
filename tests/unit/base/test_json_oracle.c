/* json against jansson, an independent reader: generated documents, whole and damaged, must be accepted or refused by
 * both, mean the same, and mean the same after being written again. */
/* Both headers want these names. */
#define JSON_NULL   JANSSON_NULL
#define JSON_STRING JANSSON_STRING
#define JSON_ARRAY  JANSSON_ARRAY
#define JSON_OBJECT JANSSON_OBJECT
#define json_type   jansson_type
#include <jansson.h>
#undef JSON_NULL
#undef JSON_STRING
#undef JSON_ARRAY
#undef JSON_OBJECT
#undef json_type

#include "base/json_text.h"

#define DOCUMENTS 4000

static uint64_t seed;

static uint32_t random_below(uint32_t limit)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % limit;
}

static const char *pick(const char *const *from, size_t count)
{
	return from[random_below((uint32_t)count)];
}

static void put(struct buf *buf, const char *text)
{
	assert_ok(buf_append_str(buf, str_from(text)));
}

static void put_space(struct buf *buf)
{
	static const char *const spaces[] = {"", "", "", " ", "\n", "\t ", "\r\n"};
	put(buf, pick(spaces, COUNT_OF(spaces)));
}

static void put_string(struct buf *buf)
{
	static const char *const pieces[] = {"a",
					     "userId",
					     " ",
					     "\\n",
					     "\\\"",
					     "\\\\",
					     "\\/",
					     "\\u0041",
					     "\\u00e9",
					     "\\ud83d\\ude00",
					     "\xc3\xa9",
					     "\xe2\x82\xac",
					     "\xf0\x9f\x98\x80",
					     "\\t",
					     "\\u001f",
					     "{",
					     "]",
					     ",",
					     ":",
					     "\x7f",
					     "0123456789abcdef"};
	put(buf, "\"");
	for (uint32_t n = random_below(6); n > 0; n--) put(buf, pick(pieces, COUNT_OF(pieces)));
	put(buf, "\"");
}

static void put_scalar(struct buf *buf)
{
	static const char *const words[] = {"null",
					    "true",
					    "false",
					    "0",
					    "-0",
					    "-0.0",
					    "1.0",
					    "9223372036854775807",
					    "-9223372036854775808",
					    "0.1",
					    "1e5",
					    "2.5E-7",
					    "1e300",
					    "123.456",
					    "5e-324",
					    "-1.7976931348623157e308",
					    "3.0e0"};
	switch (random_below(4)) {
	case 0: put_string(buf); break;
	case 1: assert_ok(buf_printf(buf, "%d", (int)random_below(2000000) - 1000000)); break;
	case 2:
		assert_ok(buf_printf(buf, "%.*g", (int)random_below(17) + 1, (double)random_below(1u << 30) / 977.0));
		break;
	default: put(buf, pick(words, COUNT_OF(words)));
	}
}

static void put_value(struct buf *buf, uint32_t depth)
{
	uint32_t kind = random_below(4), count = random_below(5);
	put_space(buf);
	if (depth == 0 || kind < 2) {
		put_scalar(buf);
	} else {
		put(buf, kind == 2 ? "[" : "{");
		for (uint32_t i = 0; i < count; i++) {
			if (i) put(buf, ",");
			put_space(buf);
			if (kind == 3) {
				put_string(buf);
				put_space(buf);
				put(buf, ":");
			}
			put_value(buf, depth - 1);
		}
		put_space(buf);
		put(buf, kind == 2 ? "]" : "}");
	}
	put_space(buf);
}

static bool same(struct json ours, json_t *theirs);

static bool same_array(struct json ours, json_t *theirs)
{
	struct json_iter it;
	struct json element;
	size_t n = 0;
	if (json_count(ours) != json_array_size(theirs)) return false;
	for (json_iter_start(ours, &it); json_next_element(&it, &element); n++)
		if (!same(element, json_array_get(theirs, n))) return false;
	return n == json_array_size(theirs);
}

/* The last of several values of one key, as jansson keeps it. */
static bool last_of(struct json object, struct str key, struct json *out)
{
	struct json_iter it;
	struct json value;
	struct str name;
	bool is_found = false;
	for (json_iter_start(object, &it); json_next_member(&it, &name, &value);)
		if (str_eq(name, key)) *out = value, is_found = true;
	return is_found;
}

static bool same_object(struct json ours, json_t *theirs)
{
	const char *key;
	json_t *member;
	struct json_iter it;
	struct json value;
	struct str name;
	json_object_foreach(theirs, key, member)
	{
		if (!last_of(ours, str_from(key), &value) || !same(value, member)) return false;
	}
	for (json_iter_start(ours, &it); json_next_member(&it, &name, &value);) {
		char *copy = strndup(name.ptr, name.len);
		bool is_there = json_object_get(theirs, copy) != NULL;
		free(copy);
		if (!is_there) return false;
	}
	return true;
}

static bool same_double(struct json ours, double theirs)
{
	double value;
	return json_type(ours) == JSON_DOUBLE && json_double(ours, &value) && value == theirs;
}

static bool same_int(struct json ours, int64_t theirs)
{
	int64_t value;
	return json_int(ours, &value) && value == theirs;
}

static bool same_str(struct json ours, json_t *theirs)
{
	struct str value;
	return json_str(ours, &value) && str_eq(value, str_of(json_string_value(theirs), json_string_length(theirs)));
}

static bool same(struct json ours, json_t *theirs)
{
	bool value;
	switch (json_typeof(theirs)) {
	case JANSSON_NULL: return json_type(ours) == JSON_NULL;
	case JSON_TRUE: return json_bool(ours, &value) && value;
	case JSON_FALSE: return json_bool(ours, &value) && !value;
	case JSON_INTEGER: return same_int(ours, json_integer_value(theirs));
	case JSON_REAL: return same_double(ours, json_real_value(theirs));
	case JANSSON_STRING: return same_str(ours, theirs);
	case JANSSON_ARRAY: return json_type(ours) == JSON_ARRAY && same_array(ours, theirs);
	default: return json_type(ours) == JSON_OBJECT && same_object(ours, theirs);
	}
}

static json_t *read_theirs(struct str text, json_error_t *error)
{
	return json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, error);
}

static bool both_agree(struct json ours, struct str text)
{
	json_error_t error;
	json_t *theirs = read_theirs(text, &error);
	bool is_same = theirs && same(ours, theirs);
	json_decref(theirs);
	return is_same;
}

static void whole_documents_mean_the_same(void **state)
{
	struct buf in, out;
	(void)state;
	buf_init(&in, 1 << 20);
	buf_init(&out, 1 << 20);
	for (seed = 1; seed < DOCUMENTS;) {
		uint64_t start = seed;
		struct json root;
		const char *why = "";
		buf_clear(&in);
		buf_clear(&out);
		put_value(&in, 5);
		if (parse_text(buf_str(&in), &root, &why) != OK) fail_msg("%s: %.*s", why, STR_ARG(buf_str(&in)));
		if (!both_agree(root, buf_str(&in))) fail_msg("differs: %.*s", STR_ARG(buf_str(&in)));
		assert_ok(json_write(&out, root));
		if (!both_agree(root, buf_str(&out))) fail_msg("written as: %.*s", STR_ARG(buf_str(&out)));
		seed = start + 1;
	}
	buf_fini(&in);
	buf_fini(&out);
}

/* Writing the canonical text's own value canonically must change nothing. */
static void canonical_is_a_fixed_point(void **state)
{
	struct buf in, once, twice;
	(void)state;
	buf_init(&in, 1 << 20);
	buf_init(&once, 1 << 20);
	buf_init(&twice, 1 << 20);
	for (uint64_t n = 1; n < DOCUMENTS; n++) {
		struct json root;
		const char *why = "";
		buf_clear(&in);
		buf_clear(&once);
		buf_clear(&twice);
		seed = n + 1000000;
		put_value(&in, 5);
		assert_ok(parse_text(buf_str(&in), &root, &why));
		assert_ok(json_write_canonical(&once, root));
		assert_ok(parse_text(buf_str(&once), &root, &why));
		assert_ok(json_write_canonical(&twice, root));
		if (!str_eq(buf_str(&once), buf_str(&twice)))
			fail_msg("%.*s\n%.*s", STR_ARG(buf_str(&once)), STR_ARG(buf_str(&twice)));
	}
	buf_fini(&in);
	buf_fini(&once);
	buf_fini(&twice);
}

static void damage(struct buf *buf)
{
	static const char bytes[] = "{}[],:\"\\ e.-+0tnf\x01\xff\x80/";
	char *text = buf_ptr(buf);
	uint32_t at = random_below((uint32_t)buf->len);
	switch (random_below(4)) {
	case 0: buf->len = at + 1; break;
	case 1:
		memmove(text + at, text + at + 1, buf->len - at - 1);
		buf->len--;
		break;
	case 2: text[at] = text[random_below((uint32_t)buf->len)]; break;
	default: text[at] = bytes[random_below(sizeof bytes - 1)];
	}
}

static void damaged_documents_are_judged_the_same(void **state)
{
	struct buf in;
	size_t refused = 0, skipped = 0;
	(void)state;
	buf_init(&in, 1 << 20);
	for (uint64_t n = 1; n < DOCUMENTS; n++) {
		struct json root;
		json_error_t error;
		const char *why;
		buf_clear(&in);
		seed = n + 5000000;
		put_value(&in, 4);
		damage(&in);
		int rc = parse_text(buf_str(&in), &root, &why);
		json_t *theirs = read_theirs(buf_str(&in), &error);
		/* jansson refuses lone surrogates and integers past 64 bits, which json.h takes. */
		bool is_known_difference = !theirs && (strstr(error.text, "Unicode") || strstr(error.text, "too big"));
		if (is_known_difference)
			skipped++;
		else if ((rc == OK) != (theirs != NULL) || (theirs && !same(root, theirs)))
			fail_msg("ours %d, theirs %s: %.*s", rc, theirs ? "ok" : error.text, STR_ARG(buf_str(&in)));
		refused += rc != OK;
		json_decref(theirs);
	}
	assert_true(refused > DOCUMENTS / 2); /* the damage did damage */
	assert_true(skipped < DOCUMENTS / 20);
	buf_fini(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole_documents_mean_the_same),
	    cmocka_unit_test(canonical_is_a_fixed_point),
	    cmocka_unit_test(damaged_documents_are_judged_the_same),
	};
	return cmocka_run_group_tests(tests, make_reader, free_reader);
}
