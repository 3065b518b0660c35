// rooms: profile
/* Identifiers' values: the first byte picks the normalisation, the next two a country. What comes out is short, says the same
 * when it is normalised again, in any country, and has the form that was promised. */
#include "profile/normalize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_form(enum normalization normalization, struct str value)
{
	if (value.len == 66 && str_starts(value, STR("p_"))) return; /* a pseudonym stands as it is */
	if (normalization == NORMALIZE_EMAIL) {
		CHECK(memchr(value.ptr, '@', value.len) && !memchr(value.ptr, ' ', value.len));
		for (size_t i = 0; i < value.len; i++) CHECK(value.ptr[i] < 'A' || value.ptr[i] > 'Z');
	}
	if (normalization == NORMALIZE_PHONE) {
		CHECK(value.len >= 8 && value.len <= 16 && value.ptr[0] == '+');
		for (size_t i = 1; i < value.len; i++) CHECK(value.ptr[i] >= '0' && value.ptr[i] <= '9');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char memory[EVENT_IDENTIFIER_MAX], again[EVENT_IDENTIFIER_MAX];
	if (size < 3) return 0;
	enum normalization normalization = (enum normalization)(data[0] % NORMALIZATION_COUNT);
	struct str country = {(const char *)data + 1, 2}, raw = {(const char *)data + 3, size - 3};
	struct str value = normalize(normalization, raw, country, memory);
	if (value.len == 0) return 0;
	CHECK(value.len <= EVENT_IDENTIFIER_MAX);
	check_form(normalization, value);
	CHECK(str_eq(normalize(normalization, value, STR("US"), again), value));
	return 0;
}
