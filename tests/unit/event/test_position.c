#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event/position.h"

#define EPOCH UINT64_C(0xfedcba9876543210)

static struct str format(enum position_feed feed, uint64_t epoch, uint64_t seq, char out[POSITION_TEXT_SIZE])
{
	size_t len = position_format(feed, (struct position){epoch, seq}, out);
	assert_int_equal(strlen(out), len);
	return (struct str){out, len};
}

static void positions_come_back(void **state)
{
	(void)state;
	static const uint64_t seqs[] = {0, 1, 255, 256, 123456789, UINT64_MAX};
	for (size_t i = 0; i < COUNT_OF(seqs); i++) {
		char text[POSITION_TEXT_SIZE];
		uint64_t seq = 17;
		struct str position = format(POSITION_JOURNAL, EPOCH, seqs[i], text);
		assert_int_equal(position_parse(POSITION_JOURNAL, EPOCH, position, &seq), OK);
		assert_true(seq == seqs[i]);
	}
}

static void the_text_needs_no_escaping(void **state)
{
	(void)state;
	for (uint64_t seq = 0; seq < 5000; seq += 7) {
		char text[POSITION_TEXT_SIZE];
		struct str position = format(POSITION_CHANGES, EPOCH ^ (seq << 40), seq, text);
		for (size_t i = 0; i < position.len; i++) {
			char c = position.ptr[i];
			assert_true((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
				    c == '-' || c == '_');
		}
	}
}

static void other_feeds_and_epochs_are_foreign(void **state)
{
	(void)state;
	char text[POSITION_TEXT_SIZE];
	uint64_t seq = 17;
	struct str position = format(POSITION_JOURNAL, EPOCH, 9, text);
	assert_int_equal(position_parse(POSITION_CHANGES, EPOCH, position, &seq), ERR_FOREIGN);
	assert_int_equal(position_parse(POSITION_EVENTS, EPOCH, position, &seq), ERR_FOREIGN);
	assert_int_equal(position_parse(POSITION_JOURNAL, EPOCH + 1, position, &seq), ERR_FOREIGN);
	assert_true(seq == 17);
}

static void garbage_is_invalid(void **state)
{
	(void)state;
	static const char *const garbage[] = {"",
					      "0",
					      "17",
					      "latest",
					      "AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
					      "////////////////////////////",
					      "AAAAAAAAAAAAAAAAAAAAAAAAAA==",
					      "                            "};
	uint64_t seq;
	for (size_t i = 0; i < COUNT_OF(garbage); i++)
		assert_int_equal(position_parse(POSITION_JOURNAL, EPOCH, str_from(garbage[i]), &seq), ERR_INVALID);
}

static void every_changed_character_is_noticed(void **state)
{
	(void)state;
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= ";
	char text[POSITION_TEXT_SIZE], changed[POSITION_TEXT_SIZE];
	struct str position = format(POSITION_JOURNAL, EPOCH, 4711, text);
	uint64_t seq;
	for (size_t at = 0; at < position.len; at++) {
		for (const char *c = alphabet; *c; c++) {
			if (*c == text[at]) continue;
			memcpy(changed, text, sizeof changed);
			changed[at] = *c;
			struct str other = {changed, position.len};
			assert_int_equal(position_parse(POSITION_JOURNAL, EPOCH, other, &seq), ERR_INVALID);
		}
	}
	struct str cut = {text, position.len - 1};
	assert_int_equal(position_parse(POSITION_JOURNAL, EPOCH, cut, &seq), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(positions_come_back),
	    cmocka_unit_test(the_text_needs_no_escaping),
	    cmocka_unit_test(other_feeds_and_epochs_are_foreign),
	    cmocka_unit_test(garbage_is_invalid),
	    cmocka_unit_test(every_changed_character_is_noticed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
