#include "config/names.h"

#include "config/units.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

static bool is_made_of(struct str text, const char *allowed, size_t max)
{
	if (text.len == 0 || text.len > max) return false;
	for (size_t i = 0; i < text.len; i++)
		if (!strchr(allowed, text.ptr[i]) || text.ptr[i] == '\0') return false;
	return true;
}

const char *name_check_id(struct str text)
{
	return is_made_of(text, LOWER DIGIT "_-", 64) ? NULL : "must be 1 to 64 of a-z, 0-9, _ and -";
}

const char *name_check_word(struct str text)
{
	return is_made_of(text, LOWER DIGIT "_", 64) ? NULL : "must be 1 to 64 of a-z, 0-9 and _";
}

/* No colon and nothing that a URL or a header would need escaped. */
const char *name_check_write_key(struct str text)
{
	return is_made_of(text, LOWER UPPER DIGIT "-._~", 128) ? NULL
							       : "must be 1 to 128 of letters, digits, -, ., _ and ~";
}

static struct str after_scheme(struct str text)
{
	const struct str schemes[] = {STR("https://"), STR("http://")};
	for (size_t i = 0; i < COUNT_OF(schemes); i++)
		if (str_starts(text, schemes[i])) return str_of(text.ptr + schemes[i].len, text.len - schemes[i].len);
	return STR_NONE;
}

const char *name_check_origin(struct str text)
{
	bool is_origin = is_made_of(after_scheme(text), LOWER UPPER DIGIT "-._:[]", 255);
	return is_origin ? NULL : "must be an origin such as https://shop.example.com, without a path";
}

const char *name_check_url(struct str text)
{
	struct str rest = after_scheme(text);
	bool is_url = is_made_of(rest, LOWER UPPER DIGIT "-._~:[]/%", 1000) && rest.ptr[0] != '/';
	return is_url ? NULL : "must be a URL such as https://cdp.example.com";
}

/* Of the usual shape; it is compared, never mailed to. */
const char *name_check_sender(struct str text)
{
	const char *at = memchr(text.ptr, '@', text.len);
	bool is_address = at && at > text.ptr && at + 1 < text.ptr + text.len &&
			  is_made_of(text, LOWER UPPER DIGIT "-._+@", 255) &&
			  !memchr(at + 1, '@', (size_t)(text.ptr + text.len - at - 1));
	return is_address ? NULL : "must be an e-mail address such as news@shop.example";
}

const char *name_check_country(struct str text)
{
	return text.len == 2 && is_made_of(text, UPPER, 2) ? NULL
							   : "must be two capital letters (ISO 3166-1), such as FR";
}

const char *name_check_event(struct str text)
{
	return text.len <= 200 ? NULL : "must be at most 200 bytes";
}

const char *name_check_kept_event(struct str text)
{
	return text.len > 0 && text.len <= 200 ? NULL : "must be the name of an event, or a type, of 1 to 200 bytes";
}

const char *name_check_field(struct str text)
{
	static const char *const whole[] = {"userId", "anonymousId", "groupId", "event", "name"};
	static const char *const parts[] = {"properties.", "traits.", "context.", "enrichment."};
	for (size_t i = 0; i < COUNT_OF(whole); i++)
		if (str_eq(text, str_from(whole[i]))) return NULL;
	bool is_path =
	    text.len <= 255 && text.ptr[text.len ? text.len - 1 : 0] != '.' && !memmem(text.ptr, text.len, "..", 2);
	for (size_t i = 0; i < COUNT_OF(parts) && is_path; i++)
		if (str_starts(text, str_from(parts[i]))) return NULL;
	return "must be userId, anonymousId, groupId, event, name, or a path in properties., traits., context. or "
	       "enrichment.";
}

const char *name_check_listener(struct str text)
{
	struct conf_listener listener;
	if (unit_read_listener(text, &listener)) return NULL;
	return "must be a numeric address and port such as 127.0.0.1:8080 or [::]:8080, or unix:/path";
}

const char *name_check_network(struct str text)
{
	return unit_is_network(text) ? NULL : "must be an address or network such as 10.0.0.0/8, or unix:";
}

const char *name_check_tls_version(struct str text)
{
	return str_eq(text, STR("1.2")) || str_eq(text, STR("1.3")) ? NULL : "must be 1.2 or 1.3";
}
