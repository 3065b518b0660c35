#include "plugin/http_tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

enum file { CA, CERTIFICATE, KEY, FILES };
static const char *const file_names[FILES] = {"http.ca", "http.certificate", "http.key"};

struct stamp { /* what tells that a file is another */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};
struct http_tls {
	const struct conf_http_tls *conf;
	struct str name;
	struct arena arena; /* of the texts in force */
	struct http_tls_texts texts;
	struct stamp stamps[FILES];
	int64_t look_at_us;
};

static struct str path_of(const struct conf_http_tls *conf, enum file file)
{
	return file == CA ? conf->ca : file == CERTIFICATE ? conf->certificate : conf->key;
}

static int refuse(struct arena *arena, enum file file, struct str path, const char *what, struct str *why)
{
	int rc = arena_printf(arena, why, "%s: %.*s %s", file_names[file], STR_ARG(path), what);
	return rc ? rc : ERR_INVALID;
}

/* ── reading ─────────────────────────────────────────────────────────────── */

static int read_all(FILE *stream, struct arena *arena, struct str *out)
{
	struct buf buf;
	char piece[4096];
	size_t len;
	int rc = OK;
	buf_init(&buf, HTTP_TLS_MAX);
	while (rc == OK && (len = fread(piece, 1, sizeof piece, stream)) > 0) rc = buf_append(&buf, piece, len);
	if (rc == OK && ferror(stream)) rc = ERR_IO;
	if (rc == OK) rc = arena_str(arena, buf_str(&buf), out);
	buf_fini(&buf);
	return rc;
}

static int read_file(struct arena *arena, enum file file, struct str path, struct str *out, struct str *why)
{
	struct str copy;
	*out = STR_NONE;
	if (path.len == 0) return OK;
	if (arena_str(arena, path, &copy)) return ERR_NOMEM;
	FILE *stream = fopen(copy.ptr, "re");
	if (!stream) return refuse(arena, file, path, strerror(errno), why);
	int rc = read_all(stream, arena, out);
	(void)fclose(stream);
	return rc == OK ? OK : refuse(arena, file, path, "cannot be read, or is too large", why);
}

/* ── is it sound? ────────────────────────────────────────────────────────── */

static BIO *open_text(struct str text)
{
	return BIO_new_mem_buf(text.ptr, (int)text.len);
}

static X509 *first_certificate(struct str text)
{
	BIO *bio = open_text(text);
	X509 *found = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	(void)BIO_free(bio);
	ERR_clear_error();
	return found;
}

/* Nobody is there to be asked for a password. */
static int no_password(char *out, int size, int is_writing, void *ctx)
{
	(void)out, (void)size, (void)is_writing, (void)ctx;
	return -1;
}

static bool is_pair(X509 *certificate, struct str key_text, bool *has_key)
{
	BIO *bio = open_text(key_text);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
	(void)BIO_free(bio);
	*has_key = key != NULL;
	bool is_sound = key && certificate && X509_check_private_key(certificate, key) == 1;
	EVP_PKEY_free(key);
	ERR_clear_error();
	return is_sound;
}

static int check_pair(struct arena *arena, const struct conf_http_tls *conf, const struct http_tls_texts *texts,
		      struct str *why)
{
	bool has_key;
	X509 *certificate = first_certificate(texts->certificate);
	if (!certificate) return refuse(arena, CERTIFICATE, conf->certificate, "holds no certificate (PEM)", why);
	bool is_sound = is_pair(certificate, texts->key, &has_key);
	X509_free(certificate);
	if (is_sound) return OK;
	return refuse(arena, KEY, conf->key,
		      has_key ? "is not the key of http.certificate" : "holds no key (PEM, without a password)", why);
}

static int load(struct arena *arena, const struct conf_http_tls *conf, struct http_tls_texts *out, struct str *why)
{
	struct str *const texts[FILES] = {&out->ca, &out->certificate, &out->key};
	*why = STR_NONE;
	if (!conf->certificate.len != !conf->key.len) {
		*why = STR("http.certificate and http.key go together");
		return ERR_INVALID;
	}
	for (enum file file = CA; file < FILES; file++) {
		int rc = read_file(arena, file, path_of(conf, file), texts[file], why);
		if (rc) return rc;
	}
	X509 *ca = conf->ca.len ? first_certificate(out->ca) : NULL;
	if (conf->ca.len && !ca) return refuse(arena, CA, conf->ca, "holds no certificate (PEM)", why);
	X509_free(ca);
	return conf->certificate.len ? check_pair(arena, conf, out, why) : OK;
}

int http_tls_check(struct arena *arena, const struct conf_http_tls *conf, struct str *why)
{
	struct http_tls_texts texts;
	return load(arena, conf, &texts, why);
}

static int copy_path(struct arena *arena, struct str from, struct str *out)
{
	*out = STR_NONE;
	return from.len ? arena_str(arena, from, out) : OK;
}

int http_tls_copy(struct arena *arena, const struct conf_http_tls *from, struct conf_http_tls *out)
{
	int rc = copy_path(arena, from->ca, &out->ca);
	if (rc == OK) rc = copy_path(arena, from->certificate, &out->certificate);
	return rc == OK ? copy_path(arena, from->key, &out->key) : rc;
}

bool http_tls_is_same(const struct conf_http_tls *a, const struct conf_http_tls *b)
{
	return str_eq(a->ca, b->ca) && str_eq(a->certificate, b->certificate) && str_eq(a->key, b->key);
}

/* ── one client's ────────────────────────────────────────────────────────── */

static void stamp(struct str path, struct arena *arena, struct stamp *out)
{
	struct stat found;
	struct str copy;
	memset(out, 0, sizeof *out);
	if (path.len == 0 || arena_str(arena, path, &copy) || stat(copy.ptr, &found)) return;
	out->device = found.st_dev;
	out->inode = found.st_ino;
	out->size = found.st_size;
	out->changed = found.st_mtim;
}

/* True: they are not what they were at the last look. */
static bool look(struct http_tls *tls)
{
	struct stamp stamps[FILES];
	struct arena arena;
	arena_init(&arena, 4096, 0);
	for (enum file file = CA; file < FILES; file++) stamp(path_of(tls->conf, file), &arena, &stamps[file]);
	arena_fini(&arena);
	bool has_changed = memcmp(stamps, tls->stamps, sizeof stamps) != 0;
	memcpy(tls->stamps, stamps, sizeof stamps);
	return has_changed;
}

/* The stamps are older than what is read: a change in between is seen at the next look. */
static int reload(struct http_tls *tls)
{
	struct arena arena;
	struct http_tls_texts texts;
	struct str why;
	arena_init(&arena, 16384, 4 * HTTP_TLS_MAX);
	int rc = load(&arena, tls->conf, &texts, &why);
	if (rc) {
		log_error(LOG_PLUGIN, "%.*s: %.*s", STR_ARG(tls->name), STR_ARG(why.len ? why : STR("out of memory")));
		arena_fini(&arena);
		return rc;
	}
	arena_fini(&tls->arena);
	tls->arena = arena;
	tls->texts = texts;
	return OK;
}

int http_tls_new(struct str name, const struct conf_http_tls *conf, struct http_tls **out)
{
	*out = NULL;
	if (!conf->ca.len && !conf->certificate.len && !conf->key.len) return OK;
	struct http_tls *tls = calloc(1, sizeof *tls);
	if (!tls) return ERR_NOMEM;
	tls->name = name;
	tls->conf = conf;
	arena_init(&tls->arena, 4096, 0);
	(void)look(tls);
	tls->look_at_us = clock_mono_us() + HTTP_TLS_LOOK_US;
	int rc = reload(tls);
	if (rc) {
		http_tls_free(tls);
		return rc;
	}
	*out = tls;
	return OK;
}

void http_tls_free(struct http_tls *tls)
{
	if (!tls) return;
	arena_fini(&tls->arena);
	free(tls);
}

const struct http_tls_texts *http_tls_get(struct http_tls *tls)
{
	int64_t now = clock_mono_us();
	if (now < tls->look_at_us) return &tls->texts;
	tls->look_at_us = now + HTTP_TLS_LOOK_US;
	if (look(tls) && reload(tls) == OK)
		log_info(LOG_PLUGIN, "%.*s: certificates were read anew", STR_ARG(tls->name));
	return &tls->texts;
}
