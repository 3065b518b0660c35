#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "profile/calling_codes.h"
#include "profile/normalize.h"

static void is(enum normalization normalization, const char *country, const char *raw, const char *expected)
{
	char memory[EVENT_IDENTIFIER_MAX], text[EVENT_IDENTIFIER_MAX + 1];
	struct str value = normalize(normalization, str_from(raw), str_from(country), memory);
	memcpy(text, value.ptr, value.len);
	text[value.len] = '\0';
	assert_string_equal(text, expected);
	if (value.len == 0) return;
	/* What is normalised stays as it is, in any country. */
	char again[EVENT_IDENTIFIER_MAX];
	assert_true(str_eq(normalize(normalization, str_from(text), STR("US"), again), str_from(text)));
}

static void test_email(void **state)
{
	(void)state;
	is(NORMALIZE_EMAIL, "", "  Foo.Bar+x@Example.COM\t", "foo.bar+x@example.com");
	is(NORMALIZE_EMAIL, "", "a@b.c", "a@b.c");
	is(NORMALIZE_EMAIL, "", "m\xc3\xbcller@m\xc3\xbcnchen.de", "m\xc3\xbcller@m\xc3\xbcnchen.de");
	static const char *const none[] = {"",        "foo",        "foo@",    "@b.c",    "a@b",    "a@b..c",
					   "a@.b.c",  "a@b.c.",     "a b@c.d", "a@b c.d", "a@@b.c", "a@b.c, d@e.f",
					   "<a@b.c>", "a@b.c\n\nx", "a@b@c.d", "a@b_c.d", "n/a",    "@"};
	for (size_t i = 0; i < COUNT_OF(none); i++) is(NORMALIZE_EMAIL, "", none[i], "");
	char longest[80] =
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b.c"; /* 65 before the '@' */
	is(NORMALIZE_EMAIL, "", longest, "");
	is(NORMALIZE_EMAIL, "", longest + 1, longest + 1);
}

static void test_pseudonyms(void **state)
{
	static const char pseudonym[] = "p_9e973bd36d5590915e59566b132f355c7e7affce1480e551c0b7131e38d392a7";
	(void)state;
	is(NORMALIZE_EMAIL, "", pseudonym, pseudonym);
	is(NORMALIZE_PHONE, "", pseudonym, pseudonym);
	is(NORMALIZE_EMAIL, "", "p_9e973bd36d5590915e59566b132f355c7e7affce1480e551c0b7131e38d392aX", "");
	is(NORMALIZE_EMAIL, "", "p_9e97", "");
}

static void test_phone(void **state)
{
	(void)state;
	is(NORMALIZE_PHONE, "", "+49 30 901820", "+4930901820");
	is(NORMALIZE_PHONE, "", "0049 (30) 90-18-20", "+4930901820");
	is(NORMALIZE_PHONE, "", "+49 (0)30 901820", "+4930901820");
	is(NORMALIZE_PHONE, "", "0049 (0) 30 901820", "+4930901820");
	is(NORMALIZE_PHONE, "DE", "030 / 90 18 20", "+4930901820");
	is(NORMALIZE_PHONE, "de", "(030) 901820", "+4930901820");
	is(NORMALIZE_PHONE, "FR", "06 12 34 56 78", "+33612345678");
	is(NORMALIZE_PHONE, "FR", "612345678", "+33612345678");
	is(NORMALIZE_PHONE, "FR", "06 12 34 56 7", ""); /* a digit is missing */
	is(NORMALIZE_PHONE, "GB", "020 7946 0958", "+442079460958");
	is(NORMALIZE_PHONE, "IT", "06 6982 1234", "+390669821234"); /* the zero belongs to the number */
	is(NORMALIZE_PHONE, "ES", "912 345 678", "+34912345678");
	is(NORMALIZE_PHONE, "HU", "06 1 234 5678", "+3612345678");
	is(NORMALIZE_PHONE, "US", "(415) 555-2671", "+14155552671");
	is(NORMALIZE_PHONE, "US", "1-415-555-2671", "+14155552671");
	is(NORMALIZE_PHONE, "CA", "415.555.2671", "+14155552671");
	is(NORMALIZE_PHONE, "US", "415 555 267", "");
	is(NORMALIZE_PHONE, "RU", "8 (912) 345-67-89", "+79123456789");
	is(NORMALIZE_PHONE, "RU", "8123456789", "+78123456789"); /* ten digits: the eight is Saint Petersburg's */
	is(NORMALIZE_PHONE, "KZ", "87012345678", "+77012345678");
	is(NORMALIZE_PHONE, "US", "+7 912 345 67 89", "+79123456789"); /* its own country counts */
	is(NORMALIZE_PHONE, "", "030 901820", "");                     /* whose? */
	is(NORMALIZE_PHONE, "XX", "030 901820", "");
	is(NORMALIZE_PHONE, "DEU", "030 901820", "");
	static const char *const none[] = {
	    "",    "+",     "00",           "+49",          "call me",        "+49 30 901820 ext 5",
	    "110", "+4930", "++4930901820", "+49+30901820", "+2101234567890", "+491234567890123456",
	    "()-", "0",     "+0123456789"};
	for (size_t i = 0; i < COUNT_OF(none); i++) is(NORMALIZE_PHONE, "DE", none[i], "");
}

static void test_none(void **state)
{
	char memory[EVENT_IDENTIFIER_MAX], longest[EVENT_IDENTIFIER_MAX + 2];
	(void)state;
	is(NORMALIZE_NONE, "", " a ", " a ");
	is(NORMALIZE_NONE, "", " A@b ", "A@b");
	memset(longest, 'x', sizeof longest);
	assert_int_equal(normalize(NORMALIZE_NONE, (struct str){longest, 255}, STR_NONE, memory).len, 255);
	assert_int_equal(normalize(NORMALIZE_NONE, (struct str){longest, 256}, STR_NONE, memory).len, 0);
	assert_int_equal(normalize(NORMALIZE_EMAIL, (struct str){longest, 256}, STR_NONE, memory).len, 0);
	assert_int_equal(normalize(NORMALIZE_PHONE, (struct str){longest, 256}, STR_NONE, memory).len, 0);
}

static void test_codes(void **state)
{
	char country[3] = "AA";
	size_t count = 0;
	(void)state;
	for (country[0] = 'A'; country[0] <= 'Z'; country[0]++)
		for (country[1] = 'A'; country[1] <= 'Z'; country[1]++) {
			const struct calling_code *row = calling_code_of(str_from(country));
			if (!row) continue;
			count++;
			assert_string_equal(row->country, country);
			/* No code hides behind a shorter one. */
			assert_int_equal(calling_code_prefix(str_from(row->code)), strlen(row->code));
		}
	assert_int_equal(count, 244);
	assert_string_equal(calling_code_of(STR("de"))->code, "49");
	assert_null(calling_code_of(STR("ZZ")));
	assert_null(calling_code_of(STR_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_email), cmocka_unit_test(test_pseudonyms), cmocka_unit_test(test_phone),
	    cmocka_unit_test(test_none),  cmocka_unit_test(test_codes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
