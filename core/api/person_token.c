#include "api/person_token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/secret.h"
#include "store/store.h"

#define PREFIX     STR("cp1.")
#define KEY_SIZE   32
#define KEY_ID_MAX 16
#define KEYS_LIVE  2
#define FILE_MAX   4096
#define CLAIMS_MAX 2600

struct person_key {
	char id[KEY_ID_MAX + 1];
	uint8_t secret[KEY_SIZE];
};

struct person_keys {
	struct person_key keys[KEYS_LIVE]; /* the first signs */
	size_t count;
};

const char *person_purpose_name(enum person_purpose purpose)
{
	switch (purpose) {
	case PERSON_CONSENT: return "consent";
	case PERSON_FORM: return "form";
	case PERSON_PREFERENCES: return "preferences";
	}
	return "unknown";
}

bool person_purpose_from_name(struct str name, enum person_purpose *out)
{
	for (int purpose = PERSON_CONSENT; purpose <= PERSON_PREFERENCES; purpose *= 2) {
		if (!str_eq(name, str_from(person_purpose_name((enum person_purpose)purpose)))) continue;
		*out = (enum person_purpose)purpose;
		return true;
	}
	return false;
}

/* ── the key file ────────────────────────────────────────────────────────── */

static bool is_key_id(struct str text)
{
	if (text.len == 0 || text.len > KEY_ID_MAX) return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) return false;
	}
	return true;
}

static bool read_line(struct person_keys *keys, struct str line)
{
	const char *space = memchr(line.ptr, ' ', line.len);
	if (!space || keys->count == KEYS_LIVE) return keys->count == KEYS_LIVE;
	struct str id = str_of(line.ptr, (size_t)(space - line.ptr));
	struct str hex = str_trim(str_of(space, line.len - id.len));
	struct person_key *key = &keys->keys[keys->count];
	if (!is_key_id(id) || hex_decode(hex, key->secret, sizeof key->secret) != OK) return false;
	memcpy(key->id, id.ptr, id.len);
	key->id[id.len] = '\0';
	keys->count++;
	return true;
}

static int parse_keys(struct person_keys *keys, struct str text)
{
	while (text.len) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end ? (size_t)(end - text.ptr) : text.len;
		struct str line = str_trim(str_of(text.ptr, len));
		if (line.len && line.ptr[0] != '#' && !read_line(keys, line)) return ERR_INVALID;
		text = str_of(text.ptr + len + (end ? 1 : 0), text.len - len - (end ? 1 : 0));
	}
	return keys->count ? OK : ERR_INVALID;
}

static int read_file(const char *path, char *out, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	ssize_t got = read(fd, out, FILE_MAX);
	(void)close(fd);
	if (got < 0) return ERR_IO;
	*len = (size_t)got;
	return OK;
}

static int write_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) return ERR_IO;
	bool is_ok = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
	return close(fd) == 0 && is_ok ? OK : ERR_IO;
}

/* Whole or not at all: written beside and renamed. */
static int make_file(const char *folder, const char *path)
{
	uint8_t secret[KEY_SIZE], id[4];
	char hex[2 * KEY_SIZE + 1], id_hex[9], text[256], beside[4200];
	random_bytes(secret, sizeof secret);
	random_bytes(id, sizeof id);
	hex_encode(secret, sizeof secret, hex);
	hex_encode(id, sizeof id, id_hex);
	int len =
	    snprintf(text, sizeof text,
		     "# Keys of person tokens: the first signs, the second is still good. To change keys, put a new "
		     "line first.\n%s %s\n",
		     id_hex, hex);
	(void)snprintf(beside, sizeof beside, "%s.new", path);
	int rc = write_file(beside, text, (size_t)len);
	if (rc == OK && rename(beside, path) != 0) rc = ERR_IO;
	secret_wipe(secret, sizeof secret);
	secret_wipe(hex, sizeof hex);
	secret_wipe(text, sizeof text);
	return rc == OK ? store_fsync_dir(folder) : rc;
}

static int load(struct person_keys *keys, const char *folder, const char *path)
{
	char text[FILE_MAX];
	size_t len = 0;
	int rc = read_file(path, text, &len);
	if (rc == ERR_NOT_FOUND) {
		rc = store_make_dir(folder);
		if (rc == OK) rc = make_file(folder, path);
		if (rc == OK) rc = read_file(path, text, &len);
	}
	if (rc == OK) rc = parse_keys(keys, str_of(text, len));
	secret_wipe(text, sizeof text);
	return rc;
}

int person_keys_load(struct str store_path, struct person_keys **out)
{
	char folder[4096], path[4120];
	*out = NULL;
	int len = snprintf(folder, sizeof folder, "%.*s/state", STR_ARG(store_path));
	if (len < 0 || (size_t)len >= sizeof folder) return ERR_INVALID;
	(void)snprintf(path, sizeof path, "%s/person-keys", folder);
	struct person_keys *keys = calloc(1, sizeof *keys);
	if (!keys) return ERR_NOMEM;
	int rc = load(keys, folder, path);
	if (rc != OK) {
		log_error(LOG_API,
			  "the keys of person tokens in %s cannot be read (%s): a key is a line '<id> <64 hex digits>'",
			  path, status_str(rc));
		person_keys_free(keys);
		return rc;
	}
	*out = keys;
	return OK;
}

void person_keys_free(struct person_keys *keys)
{
	if (!keys) return;
	secret_wipe(keys, sizeof *keys);
	free(keys);
}

/* ── making ──────────────────────────────────────────────────────────────── */

static void write_text(struct json_out *out, const char *key, struct str text)
{
	if (text.len == 0) return;
	jo_key(out, str_from(key));
	jo_str(out, text);
}

static int write_claims(const struct person_claims *claims, struct buf *buf)
{
	char id[2 * PERSON_TOKEN_ID + 1];
	struct json_out out;
	hex_encode(claims->id, sizeof claims->id, id);
	json_out_init(&out, buf);
	jo_object(&out);
	write_text(&out, "p", str_from(person_purpose_name(claims->purpose)));
	write_text(&out, "u", claims->person);
	write_text(&out, "t", claims->target);
	write_text(&out, "f", claims->form);
	write_text(&out, "c", claims->consent);
	write_text(&out, "n", claims->channel);
	write_text(&out, "i", str_from(id));
	jo_key(&out, STR("e"));
	jo_int(&out, claims->expires_us / US_PER_SECOND);
	jo_key(&out, STR("s"));
	jo_bool(&out, claims->is_single_use);
	jo_end_object(&out);
	return out.status;
}

static int sign(const struct person_key *key, struct str claims, struct arena *arena, struct str *out)
{
	char encoded[BASE64_SIZE(CLAIMS_MAX)], mac_text[BASE64_SIZE(HMAC_SIZE)];
	uint8_t mac[HMAC_SIZE];
	struct str head;
	(void)base64url_encode(claims.ptr, claims.len, encoded);
	int rc = arena_printf(arena, &head, "cp1.%s.%s", key->id, encoded);
	if (rc != OK) return rc;
	hmac_sha256(key->secret, sizeof key->secret, head, mac);
	(void)base64url_encode(mac, sizeof mac, mac_text);
	return arena_printf(arena, out, "%.*s.%s", STR_ARG(head), mac_text);
}

int person_token_make(const struct person_keys *keys, const struct person_claims *claims, struct arena *arena,
		      struct str *out)
{
	struct buf buf;
	buf_init(&buf, CLAIMS_MAX);
	int rc = write_claims(claims, &buf);
	if (rc == OK) rc = sign(&keys->keys[0], buf_str(&buf), arena, out);
	buf_fini(&buf);
	return rc;
}

/* ── reading ─────────────────────────────────────────────────────────────── */

bool person_token_looks_like(struct str text)
{
	return str_starts(text, PREFIX);
}

struct parts {
	struct str id, claims, signed_, mac;
};

static bool split(struct str token, struct parts *out)
{
	const char *end = token.ptr + token.len;
	if (token.len > PERSON_TOKEN_MAX || !person_token_looks_like(token)) return false;
	const char *id = token.ptr + PREFIX.len;
	const char *dot = memchr(id, '.', (size_t)(end - id));
	const char *last = dot ? memchr(dot + 1, '.', (size_t)(end - dot - 1)) : NULL;
	if (!last) return false;
	*out = (struct parts){.id = str_of(id, (size_t)(dot - id)),
			      .claims = str_of(dot + 1, (size_t)(last - dot - 1)),
			      .signed_ = str_of(token.ptr, (size_t)(last - token.ptr)),
			      .mac = str_of(last + 1, (size_t)(end - last - 1))};
	return true;
}

static bool is_ours(const struct person_keys *keys, const struct parts *parts)
{
	uint8_t mac[HMAC_SIZE];
	char text[BASE64_SIZE(HMAC_SIZE)];
	for (size_t i = 0; i < keys->count; i++) {
		const struct person_key *key = &keys->keys[i];
		if (!str_eq(parts->id, str_from(key->id))) continue;
		hmac_sha256(key->secret, sizeof key->secret, parts->signed_, mac);
		/* Texts are compared, so that a MAC has one spelling. */
		size_t len = base64url_encode(mac, sizeof mac, text);
		return parts->mac.len == len && secret_eq(parts->mac.ptr, text, len);
	}
	return false;
}

static bool take(struct json root, const char *key, struct arena *arena, struct str *out)
{
	struct json value;
	struct str text;
	*out = STR_NONE;
	if (!json_get(root, str_from(key), &value)) return true;
	return json_str(value, &text) && arena_str(arena, text, out) == OK;
}

static bool read_claims(struct json root, struct arena *arena, struct person_claims *out)
{
	struct str purpose, id;
	struct json value;
	int64_t seconds;
	bool is_read = take(root, "p", arena, &purpose) && take(root, "u", arena, &out->person) &&
		       take(root, "t", arena, &out->target) && take(root, "f", arena, &out->form) &&
		       take(root, "c", arena, &out->consent) && take(root, "n", arena, &out->channel) &&
		       take(root, "i", arena, &id);
	if (!is_read || !person_purpose_from_name(purpose, &out->purpose) || out->person.len == 0) return false;
	if (hex_decode(id, out->id, sizeof out->id) != OK) return false;
	if (!json_get(root, STR("e"), &value) || !json_int(value, &seconds)) return false;
	out->expires_us = seconds * US_PER_SECOND;
	return json_get(root, STR("s"), &value) && json_bool(value, &out->is_single_use);
}

/* Only what carries our signature is parsed. */
static bool parse_claims(struct str text, struct arena *arena, struct person_claims *out)
{
	struct json_reader *reader;
	struct json root;
	struct buf buf;
	struct str decoded;
	const char *why;
	if (base64_decode(arena, text, &decoded) != OK || json_reader_new(&reader) != OK) return false;
	buf_init(&buf, PERSON_TOKEN_MAX);
	bool is_read = buf_append_str(&buf, decoded) == OK && json_parse(reader, buf_str(&buf), &root, &why) == OK &&
		       read_claims(root, arena, out);
	buf_fini(&buf);
	json_reader_free(reader);
	return is_read;
}

enum person_verdict person_token_read(const struct person_keys *keys, struct str token, unsigned allowed,
				      int64_t now_us, struct arena *arena, struct person_claims *out)
{
	struct parts parts;
	*out = (struct person_claims){0};
	if (!keys || !split(token, &parts) || !is_ours(keys, &parts)) return PERSON_INVALID;
	if (!parse_claims(parts.claims, arena, out) || !(out->purpose & allowed)) return PERSON_INVALID;
	return now_us < out->expires_us ? PERSON_OK : PERSON_EXPIRED;
}
