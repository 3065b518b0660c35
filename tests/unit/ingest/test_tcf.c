/* TCF strings, written bit by bit here, and one of a known library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ingest/tcf.h"

/* ── an independent writer ───────────────────────────────────────────────── */

struct writer {
	char bits[1 << 18]; /* '0' or '1' each */
	size_t count;
	char text[1 << 16];
};
static struct writer writer;

static void put(uint64_t value, unsigned width)
{
	for (unsigned i = width; i-- > 0;) writer.bits[writer.count++] = (char)('0' + (value >> i & 1));
}

static void put_flags(const char *flags)
{
	while (*flags) writer.bits[writer.count++] = *flags++;
}

static struct str written(void)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t len = 0;
	for (size_t i = 0; i < writer.count; i += 6) {
		unsigned value = 0;
		for (size_t k = 0; k < 6; k++) value = value * 2 + (i + k < writer.count && writer.bits[i + k] == '1');
		writer.text[len++] = digits[value];
	}
	return str_of(writer.text, len);
}

#define CREATED UINT64_C(16700000001)
#define UPDATED UINT64_C(16800000002)

static void begin(unsigned version)
{
	writer.count = 0;
	put(version, 6);
	put(CREATED, 36);
	put(UPDATED, 36);
	put(300, 12);
	put(7, 12);
	put(3, 6);
	put('E' - 'A', 6);
	put('N' - 'A', 6);
	put(150, 12);
	put(4, 6);
	put_flags("10");
	put_flags("100000000001");
	put_flags("101000000010000000000001");
	put_flags("010000000000000000000000");
	put_flags("1");
	put('D' - 'A', 6);
	put('E' - 'A', 6);
}

static void put_bitfield(unsigned max, const unsigned *ids, size_t count)
{
	put(max, 16);
	put(0, 1);
	for (unsigned id = 1; id <= max; id++) {
		bool is_set = false;
		for (size_t i = 0; i < count; i++) is_set |= ids[i] == id;
		put(is_set, 1);
	}
}

static void every_field_is_read(void **state)
{
	(void)state;
	struct tcf tcf;
	begin(2);
	put_bitfield(10, (unsigned[]){2, 10}, 2);
	put(65535, 16);
	put(1, 1);
	put(2, 12);
	put(0, 1), put(5, 16);
	put(1, 1), put(65000, 16), put(65535, 16);
	put(0, 12);
	struct str text = written();
	assert_int_equal(tcf_read(text, &tcf), OK);
	assert_int_equal(tcf.created_us, (int64_t)CREATED * 100000);
	assert_int_equal(tcf.updated_us, (int64_t)UPDATED * 100000);
	assert_int_equal(tcf.cmp_id, 300);
	assert_int_equal(tcf.cmp_version, 7);
	assert_int_equal(tcf.screen, 3);
	assert_string_equal(tcf.language, "EN");
	assert_int_equal(tcf.vendor_list_version, 150);
	assert_int_equal(tcf.policy_version, 4);
	assert_true(tcf.is_service_specific && !tcf.has_own_texts && tcf.is_purpose_one_special);
	assert_int_equal(tcf.special_features, 1 | 1 << 11);
	assert_string_equal(tcf.publisher_country, "DE");
	for (unsigned purpose = 0; purpose <= 25; purpose++) {
		assert_int_equal(tcf_purpose(&tcf, purpose),
				 purpose == 1 || purpose == 3 || purpose == 11 || purpose == 24);
		assert_int_equal(tcf_purpose_legitimate(&tcf, purpose), purpose == 2);
	}
	for (unsigned vendor = 0; vendor < TCF_VENDOR_COUNT; vendor++) {
		assert_int_equal(tcf_vendor(&tcf, (uint16_t)vendor), vendor == 2 || vendor == 10);
		assert_int_equal(tcf_vendor_legitimate(&tcf, (uint16_t)vendor), vendor == 5 || vendor >= 65000);
	}
	/* Other segments and padding are no concern of ours. */
	char longer[4096];
	int len = snprintf(longer, sizeof longer, "%.*s.IAAA.YAAA", STR_ARG(text));
	assert_int_equal(tcf_read(str_of(longer, (size_t)len), &tcf), OK);
	len = snprintf(longer, sizeof longer, "%.*s==", STR_ARG(text));
	assert_int_equal(tcf_read(str_of(longer, (size_t)len), &tcf), OK);
}

/* Each prefix that ends inside the vendors or before is refused, none is read beyond its end. */
static void what_is_cut_short_is_refused(void **state)
{
	(void)state;
	struct tcf tcf;
	begin(2);
	put_bitfield(30, (unsigned[]){1}, 1);
	put_bitfield(30, (unsigned[]){30}, 1);
	struct str whole = written();
	assert_int_equal(tcf_read(whole, &tcf), OK);
	for (size_t len = 0; len < whole.len; len++) {
		char *copy = malloc(len + 1);
		memcpy(copy, whole.ptr, len);
		assert_int_equal(tcf_read(str_of(copy, len), &tcf), ERR_INVALID);
		free(copy);
	}
}

static void what_is_no_tcf_2_is_refused(void **state)
{
	(void)state;
	struct tcf tcf;
	begin(1);
	put_bitfield(1, NULL, 0);
	put_bitfield(1, NULL, 0);
	assert_int_equal(tcf_read(written(), &tcf), ERR_FORMAT);
	begin(2);
	put_bitfield(1, NULL, 0);
	put_bitfield(1, NULL, 0);
	struct str text = written();
	writer.text[20] = '!';
	assert_int_equal(tcf_read(text, &tcf), ERR_INVALID);
	assert_int_equal(tcf_read(STR(""), &tcf), ERR_INVALID);
	assert_int_equal(tcf_read(STR("."), &tcf), ERR_INVALID);
	static char huge[TCF_TEXT_MAX + 1];
	memset(huge, 'A', sizeof huge);
	assert_int_equal(tcf_read(str_of(huge, sizeof huge), &tcf), ERR_TOO_LARGE);
	/* Ranges that run backwards, start at nobody, or pass the largest vendor. */
	static const unsigned bad[][2] = {{9, 3}, {0, 3}, {5, 11}};
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		begin(2);
		put(10, 16), put(1, 1), put(1, 12), put(1, 1), put(bad[i][0], 16), put(bad[i][1], 16);
		put_bitfield(1, NULL, 0);
		assert_int_equal(tcf_read(written(), &tcf), ERR_INVALID);
	}
}

/* An empty consent as a known library writes it. */
static void a_string_of_a_known_library_is_read(void **state)
{
	(void)state;
	struct tcf tcf;
	assert_int_equal(tcf_read(STR("COw4XqLOw4XqLAAAAAENAXCAAAAAAAAAAAAAAAAAAAAA"), &tcf), OK);
	assert_int_equal(tcf.created_us, tcf.updated_us);
	assert_string_equal(tcf.language, "EN");
	assert_int_equal(tcf.vendor_list_version, 23);
	assert_int_equal(tcf.policy_version, 2);
	assert_int_equal(tcf.purposes, 0);
	assert_false(tcf_vendor(&tcf, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_field_is_read),
	    cmocka_unit_test(what_is_cut_short_is_refused),
	    cmocka_unit_test(what_is_no_tcf_2_is_refused),
	    cmocka_unit_test(a_string_of_a_known_library_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
