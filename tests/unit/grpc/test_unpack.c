/* Protobuf from outside that lies, nests, or is more than it looks. */
#include "../base/base_test.h"

#include <hostile.pb-c.h>

#include "base/wire.h"
#include "cdpd/v1/event.pb-c.h"
#include "grpc/unpack.h"

#define HOSTILE (&cdpd__test__hostile__descriptor)

static struct arena arena;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 4096, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

static const char *why_not(struct str bytes)
{
	ProtobufCMessage *message;
	const char *why = NULL;
	char *copy = malloc(bytes.len ? bytes.len : 1); /* so that reading past it is seen */
	assert_non_null(copy);
	memcpy(copy, bytes.ptr, bytes.len);
	int rc = unpack(&arena, HOSTILE, str_of(copy, bytes.len), &message, &why);
	free(copy);
	assert_true(rc == OK || (rc == ERR_INVALID && why));
	return rc == OK ? NULL : why;
}
#define TAKEN(bytes)   assert_null(why_not(STR(bytes)))
#define REFUSED(bytes) assert_non_null(why_not(STR(bytes)))

static void test_whole(void **state)
{
	struct buf buf;
	ProtobufCMessage *message;
	const char *why = "";
	(void)state;
	buf_init(&buf, 10000);
	assert_ok(wire_put_bytes(&buf, 1, STR("na\xc3\xafve")));
	assert_ok(wire_put_bytes(&buf, 2, STR("a\0b")));
	assert_ok(wire_put_bytes(&buf, 3, STR("\x0a\x05inner")));
	assert_ok(wire_put_bytes(&buf, 5, STR("one")));
	assert_ok(wire_put_bytes(&buf, 5, STR("two")));
	assert_ok(wire_put_bytes(&buf, 6, STR("\1\2\3")));
	assert_ok(wire_put_varint(&buf, 6, 4));
	assert_ok(wire_put_bytes(&buf, 9, STR("\x0a\1k\x12\1v")));
	assert_ok(wire_put_varint(&buf, 12, 7));
	assert_ok(wire_put_varint(&buf, 536870911, 9));
	assert_ok(wire_put_bytes(&buf, 1000, STR("of a newer client")));
	assert_ok(unpack(&arena, HOSTILE, buf_str(&buf), &message, &why));
	const Cdpd__Test__Hostile *hostile = (const Cdpd__Test__Hostile *)message;
	assert_string_equal(hostile->text, "na\xc3\xafve");
	assert_int_equal(hostile->blob.len, 3);
	assert_string_equal(hostile->child->text, "inner");
	assert_int_equal(hostile->n_texts, 2);
	assert_string_equal(hostile->texts[1], "two");
	assert_int_equal(hostile->n_numbers, 4);
	assert_int_equal(hostile->numbers[3], 4);
	assert_string_equal(hostile->pairs[0]->value, "v");
	assert_int_equal(hostile->number, 7);
	assert_int_equal(hostile->last, 9);
	buf_fini(&buf);
	TAKEN("");
}

static void test_lies(void **state)
{
	(void)state;
	REFUSED("\x0a\x05inne");                                     /* length past the end */
	REFUSED("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f");         /* huge length */
	REFUSED("\x0a");                                             /* no length */
	REFUSED("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01"); /* tag of eleven bytes */
	REFUSED("\x80\x80\x80\x80\x80\x20\x01");                     /* field number past 2^29 */
	REFUSED("\x00\x01");                                         /* field number 0 */
	REFUSED("\x0b\x0c");                                         /* groups */
	REFUSED("\x0e");                                             /* wire type 6 */
	REFUSED("\x08\x01");                                         /* a text that is a number */
	REFUSED("\x6a\x01\x01");                                     /* an enum that is bytes */
	REFUSED("\x71\x01\x02\x03");                                 /* fixed64 cut short */
	REFUSED("\x1a\x03\x0a\x05x");                                /* the inner message lies */
	REFUSED("\x32\x01\x80");                                     /* a packed number cut short */
	REFUSED("\x3a\x07\x01\x02\x03\x04\x05\x06\x07");             /* packed fixed64 of seven bytes */
	TAKEN("\xba\x3e\x03xyz");                                    /* an unknown field */
	REFUSED("\xba\x3e\x04xyz");                                  /* that lies */
}

static void test_texts(void **state)
{
	(void)state;
	REFUSED("\x0a\x03"
		"a\0b");
	REFUSED("\x0a\x02\xc3\x28");
	REFUSED("\x0a\x03\xed\xa0\x80"); /* a surrogate */
	REFUSED("\x0a\x02\xc0\x80");     /* an overlong NUL */
	REFUSED("\x2a\x01\xff");         /* in a list */
	REFUSED("\x52\x01\xff");         /* in a oneof */
	REFUSED("\x4a\x03\x0a\x01\xff"); /* a map's key */
	REFUSED("\x5a\x03\x0a\x01\xff"); /* of a message in a oneof */
	TAKEN("\x12\x01\xff");           /* bytes may be anything */
}

/* Grows outwards: each level wraps what there is. */
static struct str nested(struct buf *buf, size_t depth, uint32_t number)
{
	struct buf inner;
	buf_init(buf, 1 << 20);
	buf_init(&inner, 1 << 20);
	for (size_t i = 0; i < depth; i++) {
		buf_clear(buf);
		assert_ok(wire_put_bytes(buf, number, buf_str(&inner)));
		buf_clear(&inner);
		assert_ok(buf_append_str(&inner, buf_str(buf)));
	}
	buf_fini(&inner);
	return buf_str(buf);
}

static void test_nesting(void **state)
{
	struct buf buf;
	(void)state;
	assert_null(why_not(nested(&buf, UNPACK_DEPTH_MAX - 1, 3)));
	buf_fini(&buf);
	assert_non_null(why_not(nested(&buf, UNPACK_DEPTH_MAX, 3)));
	buf_fini(&buf);
	assert_non_null(why_not(nested(&buf, 20000, 3))); /* enough to exhaust a stack */
	buf_fini(&buf);
	assert_non_null(why_not(nested(&buf, 20000, 4)));
	buf_fini(&buf);
}

static struct str repeated(struct buf *buf, struct str piece, size_t count)
{
	buf_init(buf, 8 << 20);
	for (size_t i = 0; i < count; i++) assert_ok(buf_append_str(buf, piece));
	return buf_str(buf);
}

/* A megabyte of two-byte elements would be fifty in memory. */
static void test_bombs(void **state)
{
	static const struct str pieces[] = {STR("\x22\x00"), STR("\x2a\x00"),     STR("\x4a\x00"), STR("\x1a\x00"),
					    STR("\x30\x01"), STR("\xf8\x3f\x01"), STR("\x5a\x00"), STR("\x9a\x01\x00")};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(pieces); i++) {
		struct buf buf;
		assert_non_null(why_not(repeated(&buf, pieces[i], 500000)));
		buf_fini(&buf);
		assert_true(arena.used < 100000); /* refused before anything was made of it */
	}
	char *packed = malloc(1 << 20);
	struct buf buf;
	assert_non_null(packed);
	memset(packed, 1, 1 << 20);
	buf_init(&buf, 2 << 20);
	assert_ok(wire_put_bytes(&buf, 6, str_of(packed, 1 << 20)));
	assert_non_null(why_not(buf_str(&buf)));
	buf_fini(&buf);
	free(packed);
}

static void test_many_but_not_too_many(void **state)
{
	struct buf buf;
	(void)state;
	assert_null(why_not(repeated(&buf, STR("\x2a\x05value"), 3000)));
	buf_fini(&buf);
	arena_reset(&arena);
	/* The most that the cap on elements allows of the heaviest. */
	assert_null(why_not(repeated(&buf, STR("\x22\x00"), 19999)));
	assert_true(arena.used < (size_t)11 << 20);
	buf_fini(&buf);
}

static void test_own_messages(void **state)
{
	ProtobufCMessage *message;
	const char *why = "";
	(void)state;
	assert_ok(unpack(&arena, &cdpd__v1__publish_request__descriptor, STR("\x0a\x02\x08\x01"), &message, &why));
	assert_int_equal(((const Cdpd__V1__PublishRequest *)message)->n_events, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_whole),        CASE(test_lies),  CASE(test_texts),
	    CASE(test_nesting),      CASE(test_bombs), CASE(test_many_but_not_too_many),
	    CASE(test_own_messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
