#include "profile/normalize.h"

#include "profile/calling_codes.h"

#define E164_DIGITS_MAX 15
#define E164_DIGITS_MIN 7 /* the calling code with it: shorter ones are service numbers, which are nobody's */
#define LOCAL_PART_MAX  64

static const char *const names[NORMALIZATION_COUNT] = {"none", "email", "phone"};

const char *normalization_name(enum normalization normalization)
{
	return (unsigned)normalization < NORMALIZATION_COUNT ? names[normalization] : "unknown";
}

bool normalization_from_name(struct str name, enum normalization *out)
{
	for (int i = 0; i < NORMALIZATION_COUNT; i++) {
		if (!str_eq(name, str_from(names[i]))) continue;
		*out = (enum normalization)i;
		return true;
	}
	return false;
}

static struct str copy(struct str value, char out[EVENT_IDENTIFIER_MAX])
{
	if (value.len > EVENT_IDENTIFIER_MAX) return STR_NONE;
	memcpy(out, value.ptr, value.len);
	return (struct str){out, value.len};
}

static bool is_among(char c, struct str set)
{
	return memchr(set.ptr, c, set.len) != NULL;
}

/* ── e-mail ──────────────────────────────────────────────────────────────── */

/* Labels of anything but white space, controls and punctuation, with a dot between them. */
static bool is_domain(struct str domain)
{
	size_t label = 0, dots = 0;
	for (size_t i = 0; i < domain.len; i++) {
		unsigned char c = (unsigned char)domain.ptr[i];
		bool is_letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c >= 0x80;
		if (c == '.' && label == 0) return false;
		if (c != '.' && !is_letter) return false;
		dots += c == '.';
		label = c == '.' ? 0 : label + 1;
	}
	return dots > 0 && label > 0;
}

static bool is_local_part(struct str local)
{
	if (local.len == 0 || local.len > LOCAL_PART_MAX) return false;
	for (size_t i = 0; i < local.len; i++) {
		unsigned char c = (unsigned char)local.ptr[i];
		if (c <= ' ' || c == 0x7f || is_among(local.ptr[i], STR("@,;:<>()[]\\\""))) return false;
	}
	return true;
}

static struct str normalize_email(struct str raw, char out[EVENT_IDENTIFIER_MAX])
{
	struct str value = copy(str_trim(raw), out);
	for (size_t i = 0; i < value.len; i++)
		if (out[i] >= 'A' && out[i] <= 'Z') out[i] = (char)(out[i] + ('a' - 'A'));
	const char *at = memrchr(value.ptr, '@', value.len);
	if (!at) return STR_NONE;
	struct str local = {value.ptr, (size_t)(at - value.ptr)};
	struct str domain = {at + 1, value.len - local.len - 1};
	return is_local_part(local) && is_domain(domain) ? value : STR_NONE;
}

/* ── phone ───────────────────────────────────────────────────────────────── */

struct number {
	char digits[EVENT_IDENTIFIER_MAX];
	size_t count;
	bool has_plus;
};

/* Digits and what people put between them; "(0)" stands for a trunk prefix that falls away abroad. */
static bool read_number(struct str raw, struct number *out)
{
	out->count = 0;
	out->has_plus = false;
	if (raw.len > EVENT_IDENTIFIER_MAX) return false;
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i];
		bool is_abroad = out->has_plus || (out->count > 2 && memcmp(out->digits, "00", 2) == 0);
		if (is_abroad && c == '(' && raw.len - i > 2 && memcmp(raw.ptr + i, "(0)", 3) == 0)
			i += 2;
		else if (c >= '0' && c <= '9')
			out->digits[out->count++] = c;
		else if (c == '+' && out->count == 0 && !out->has_plus)
			out->has_plus = true;
		else if (!is_among(c, STR(" \t.-/()")))
			return false;
	}
	return out->count > 0;
}

static struct str write_number(struct str code, struct str national, char out[EVENT_IDENTIFIER_MAX])
{
	size_t count = code.len + national.len;
	if (count < E164_DIGITS_MIN || count > E164_DIGITS_MAX || national.len == 0) return STR_NONE;
	out[0] = '+';
	memcpy(out + 1, code.ptr, code.len);
	memcpy(out + 1 + code.len, national.ptr, national.len);
	return (struct str){out, 1 + count};
}

static struct str write_international(struct str digits, char out[EVENT_IDENTIFIER_MAX])
{
	size_t code = calling_code_prefix(digits);
	if (code == 0) return STR_NONE;
	return write_number((struct str){digits.ptr, code}, (struct str){digits.ptr + code, digits.len - code}, out);
}

static struct str write_national(struct str digits, struct str country, char out[EVENT_IDENTIFIER_MAX])
{
	const struct calling_code *row = calling_code_of(country);
	if (!row) return STR_NONE;
	struct str trunk = str_from(row->trunk);
	/* A national number never begins with a 0 or 1 that is dialled before it; with an 8 it may (Saint Petersburg's 812). */
	bool is_whole = digits.len == row->digits && str_eq(trunk, STR("8"));
	if (trunk.len && !is_whole && str_starts(digits, trunk)) {
		digits.ptr += trunk.len;
		digits.len -= trunk.len;
	}
	if (row->digits && digits.len != row->digits) return STR_NONE;
	return write_number(str_from(row->code), digits, out);
}

static struct str normalize_phone(struct str raw, struct str country, char out[EVENT_IDENTIFIER_MAX])
{
	struct number number;
	if (!read_number(str_trim(raw), &number)) return STR_NONE;
	struct str digits = {number.digits, number.count};
	if (number.has_plus) return write_international(digits, out);
	if (!str_starts(digits, STR("00"))) return write_national(digits, country, out);
	return write_international((struct str){digits.ptr + 2, digits.len - 2}, out);
}

/* ── any ─────────────────────────────────────────────────────────────────── */

#define PSEUDONYM_LEN 66 /* as made by core/ingest/privacy_key.h */

static bool is_pseudonym(struct str raw)
{
	if (raw.len != PSEUDONYM_LEN || !str_starts(raw, STR("p_"))) return false;
	for (size_t i = 2; i < raw.len; i++)
		if (!is_among(raw.ptr[i], STR("0123456789abcdef"))) return false;
	return true;
}

struct str normalize(enum normalization normalization, struct str raw, struct str country,
		     char out[EVENT_IDENTIFIER_MAX])
{
	if (normalization != NORMALIZE_NONE && is_pseudonym(raw)) {
		memcpy(out, raw.ptr, raw.len);
		return (struct str){out, raw.len};
	}
	switch (normalization) {
	case NORMALIZE_EMAIL: return normalize_email(raw, out);
	case NORMALIZE_PHONE: return normalize_phone(raw, country, out);
	case NORMALIZE_NONE:
	case NORMALIZATION_COUNT: break;
	}
	return copy(memchr(raw.ptr, '@', raw.len) ? str_trim(raw) : raw, out);
}
