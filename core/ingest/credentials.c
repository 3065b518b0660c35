#include "ingest/credentials.h"

#include "base/encode.h"

static bool is_known(const struct config *config, struct str key, struct caller *out)
{
	if (key.len == 0) return false;
	const struct conf_source *source = config_source_by_key(config, key);
	if (!source) return false;
	*out = (struct caller){source, key};
	return true;
}

static struct str before_colon(struct str text)
{
	const char *colon = memchr(text.ptr, ':', text.len);
	return colon ? str_of(text.ptr, (size_t)(colon - text.ptr)) : text;
}

/* The credentials of `scheme`, or empty. */
static struct str after_scheme(struct str header, struct str scheme)
{
	if (header.len <= scheme.len || header.ptr[scheme.len] != ' ') return STR_NONE;
	if (!str_eq_nocase(str_of(header.ptr, scheme.len), scheme)) return STR_NONE;
	return str_trim(str_of(header.ptr + scheme.len, header.len - scheme.len));
}

static enum credential of_basic(const struct config *config, struct str text, struct arena *arena, struct caller *out)
{
	struct str decoded;
	if (base64_decode(arena, text, &decoded) == OK) {
		struct str key = before_colon(decoded);
		if (is_known(config, key, out)) return CREDENTIAL_KNOWN;
		/* base64(":") is what browsers send when the page gave no key: as good as no header. */
		if (key.len == 0) return CREDENTIAL_NONE;
	}
	return is_known(config, before_colon(text), out) ? CREDENTIAL_KNOWN : CREDENTIAL_UNKNOWN;
}

enum credential credentials_of_request(const struct config *config, const struct ingest_request *request,
				       struct arena *arena, struct caller *out)
{
	struct str basic = after_scheme(request->authorization, STR("Basic"));
	if (basic.len) {
		enum credential found = of_basic(config, basic, arena, out);
		if (found != CREDENTIAL_NONE) return found;
	}
	struct str bearer = after_scheme(request->authorization, STR("Bearer"));
	if (is_known(config, bearer, out)) return CREDENTIAL_KNOWN;

	struct str header = before_colon(str_trim(request->write_key_header));
	if (header.len) return is_known(config, header, out) ? CREDENTIAL_KNOWN : CREDENTIAL_UNKNOWN;
	struct str query = request->write_key_query;
	if (query.len) return is_known(config, query, out) ? CREDENTIAL_KNOWN : CREDENTIAL_UNKNOWN;
	return CREDENTIAL_NONE;
}

static bool is_masked(struct str key)
{
	return key.len >= 4 && memcmp(key.ptr + key.len - 4, ":***", 4) == 0;
}

enum credential credentials_of_body(const struct config *config, struct str key, struct caller *out)
{
	if (key.len == 0 || is_masked(key)) return CREDENTIAL_NONE;
	return is_known(config, key, out) ? CREDENTIAL_KNOWN : CREDENTIAL_UNKNOWN;
}

bool credentials_allow_origin(const struct conf_source *source, struct str origin)
{
	if (source->origin_count == 0 || origin.len == 0) return true;
	for (size_t i = 0; i < source->origin_count; i++)
		if (str_eq_nocase(source->origins[i], origin)) return true;
	return false;
}
