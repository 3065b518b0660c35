#include "api/form_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/names.h"
#include "store/store.h"

#define FOLDER      "state/forms"
#define FORMAT      1
#define FILE_MAX    ((size_t)1 << 20)
#define ERRORS_MAX  (64u << 10)
#define SCRATCH_MAX ((size_t)64 << 20)

/* ── one file ────────────────────────────────────────────────────────────── */

static int folder_path(struct str store_path, char out[4096])
{
	int len = snprintf(out, 4096, "%.*s/" FOLDER, STR_ARG(store_path));
	return len > 0 && len < 4096 ? OK : ERR_INVALID;
}

static int file_path(struct str store_path, struct str name, uint32_t version, char out[4200])
{
	char folder[4096];
	int rc = folder_path(store_path, folder);
	if (rc == OK) (void)snprintf(out, 4200, "%s/%.*s.%u.json", folder, STR_ARG(name), (unsigned)version);
	return rc;
}

static int write_text(const struct stored_form *form, struct buf *text)
{
	struct json_out out;
	json_out_init(&out, text);
	jo_object(&out);
	jo_key(&out, STR("format"));
	jo_uint(&out, FORMAT);
	jo_key(&out, STR("name"));
	jo_str(&out, form->about.name);
	jo_key(&out, STR("version"));
	jo_uint(&out, form->about.version);
	jo_key(&out, STR("deleted"));
	jo_bool(&out, form->about.is_deleted);
	jo_key(&out, STR("createdAt"));
	jo_int(&out, form->about.created_at);
	jo_key(&out, STR("changedAt"));
	jo_int(&out, form->about.changed_at);
	jo_key(&out, STR("changedBy"));
	jo_str(&out, form->about.changed_by);
	if (!form->about.is_deleted) {
		jo_key(&out, STR("definition"));
		jo_raw(&out, form->definition);
	}
	jo_end_object(&out);
	return out.status;
}

static int write_all(int fd, struct str text)
{
	while (text.len) {
		ssize_t done = write(fd, text.ptr, text.len);
		if (done < 0 && errno == EINTR) continue;
		if (done < 0) return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
		text = str_of(text.ptr + done, text.len - (size_t)done);
	}
	return fsync(fd) == 0 ? OK : ERR_IO;
}

static int write_file(const char *path, struct str text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
	int rc = write_all(fd, text);
	return close(fd) == 0 ? rc : ERR_IO;
}

static int make_folder(struct str store_path, char folder[4096])
{
	int rc = folder_path(store_path, folder);
	if (rc != OK) return rc;
	char *last = strrchr(folder, '/');
	*last = '\0';
	rc = store_make_dir(folder);
	*last = '/';
	return rc == OK ? store_make_dir(folder) : rc;
}

/* Whole or not at all. When the folder cannot be fsynced the file goes again: it must not appear after it was refused. */
static int put_file(struct str store_path, const struct stored_form *form, struct str text)
{
	char folder[4096], path[4200], beside[4210];
	int rc = make_folder(store_path, folder);
	if (rc == OK) rc = file_path(store_path, form->about.name, form->about.version, path);
	if (rc != OK) return rc;
	(void)snprintf(beside, sizeof beside, "%s.new", path);
	rc = write_file(beside, text);
	if (rc == OK && rename(beside, path) != 0) rc = ERR_IO;
	if (rc == OK) rc = store_fsync_dir(folder);
	if (rc != OK) {
		(void)unlink(beside);
		(void)unlink(path);
	}
	return rc;
}

/* What is too old to be kept; that it stays when this fails does no harm. */
static void forget_old(struct str store_path, struct str name)
{
	struct arena arena;
	uint32_t *versions;
	size_t count;
	char path[4200];
	arena_init(&arena, 4096, SCRATCH_MAX);
	if (form_store_versions(store_path, name, &arena, &versions, &count) == OK)
		for (size_t i = 0; i + FORM_VERSIONS_KEPT < count; i++)
			if (file_path(store_path, name, versions[i], path) == OK) (void)unlink(path);
	arena_fini(&arena);
}

int form_store_write(struct str store_path, const struct stored_form *form)
{
	struct buf text;
	buf_init(&text, FILE_MAX);
	int rc = write_text(form, &text);
	if (rc == OK) rc = put_file(store_path, form, buf_str(&text));
	buf_fini(&text);
	if (rc == OK) forget_old(store_path, form->about.name);
	return rc;
}

static int read_all(int fd, struct buf *out)
{
	char *tail;
	for (;;) {
		int rc = buf_reserve(out, 4096, &tail);
		if (rc != OK) return rc;
		ssize_t got = read(fd, tail, 4096);
		if (got < 0 && errno == EINTR) continue;
		if (got <= 0) return got == 0 ? OK : ERR_IO;
		buf_commit(out, (size_t)got);
	}
}

int form_store_read(struct str store_path, struct str name, uint32_t version, struct buf *out)
{
	char path[4200];
	int rc = file_path(store_path, name, version, path);
	if (rc != OK) return rc;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_REFUSED : ERR_IO;
	rc = read_all(fd, out);
	(void)close(fd);
	return rc;
}

/* ── the folder ──────────────────────────────────────────────────────────── */

/* "<name>.<version>.json"; anything else is none of ours. */
static bool parse_file_name(struct str file, struct str *name, uint32_t *version)
{
	const char *dot = memchr(file.ptr, '.', file.len);
	struct str end = STR(".json");
	uint64_t number;
	if (!dot || file.len < end.len || !str_eq(str_of(file.ptr + file.len - end.len, end.len), end)) return false;
	*name = str_of(file.ptr, (size_t)(dot - file.ptr));
	if (name->len + 1 + end.len >= file.len || name_check_id(*name)) return false;
	struct str digits = str_of(dot + 1, file.len - name->len - 1 - end.len);
	if (!str_is_number(digits) || str_to_u64(digits, &number) != OK || number < 1 || number > UINT32_MAX)
		return false;
	*version = (uint32_t)number;
	return true;
}

/* `fn` for each file. OK without a folder. */
static int each_file(struct str store_path, int (*fn)(void *ctx, struct str name, uint32_t version), void *ctx)
{
	char folder[4096];
	int rc = folder_path(store_path, folder);
	if (rc != OK) return rc;
	DIR *dir = opendir(folder);
	if (!dir) return errno == ENOENT ? OK : errno == EACCES ? ERR_REFUSED : ERR_IO;
	for (const struct dirent *entry; rc == OK && (entry = readdir(dir));) {
		struct str name;
		uint32_t version;
		if (parse_file_name(str_from(entry->d_name), &name, &version)) rc = fn(ctx, name, version);
	}
	(void)closedir(dir);
	return rc;
}

struct collecting {
	struct arena *arena;
	struct str wanted;
	uint32_t *items;
	size_t count, room;
};

static int collect_version(void *ctx, struct str name, uint32_t version)
{
	struct collecting *c = ctx;
	if (!str_eq(name, c->wanted)) return OK;
	if (c->count == c->room) {
		size_t room = c->room ? c->room * 2 : 64;
		uint32_t *items = arena_array(c->arena, uint32_t, room);
		if (!items) return ERR_NOMEM;
		if (c->count) memcpy(items, c->items, c->count * sizeof *items);
		c->items = items;
		c->room = room;
	}
	c->items[c->count++] = version;
	return OK;
}

static int order_versions(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

int form_store_versions(struct str store_path, struct str name, struct arena *arena, uint32_t **out, size_t *count)
{
	struct collecting c = {.arena = arena, .wanted = name};
	int rc = each_file(store_path, collect_version, &c);
	if (c.count) qsort(c.items, c.count, sizeof *c.items, order_versions);
	*out = c.items;
	*count = c.count;
	return rc;
}

/* ── sets ────────────────────────────────────────────────────────────────── */

static struct form_set *new_set(size_t room)
{
	struct form_set *set = calloc(1, sizeof *set);
	if (!set) return NULL;
	atomic_init(&set->references, 1);
	set->items = calloc(room + 1, sizeof(struct stored_form *));
	if (set->items) return set;
	free(set);
	return NULL;
}

struct form_set *form_set_ref(struct form_set *set)
{
	atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
	return set;
}

void form_set_unref(struct form_set *set)
{
	if (!set || atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) != 1) return;
	for (size_t i = 0; i < set->count; i++) stored_form_unref(set->items[i]);
	free(set->items);
	free(set);
}

/* First index whose name is not below. */
static size_t place_of(const struct form_set *set, struct str name)
{
	size_t low = 0, high = set->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (str_cmp(set->items[middle]->about.name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct stored_form *form_set_find(const struct form_set *set, struct str name)
{
	size_t at = place_of(set, name);
	return at < set->count && str_eq(set->items[at]->about.name, name) ? set->items[at] : NULL;
}

struct stored_form *form_set_form(const struct form_set *set, struct str name)
{
	struct stored_form *form = form_set_find(set, name);
	return form && !form->about.is_deleted ? form : NULL;
}

int form_set_with(const struct form_set *set, struct stored_form *form, struct form_set **out)
{
	size_t at = place_of(set, form->about.name);
	bool is_known = at < set->count && str_eq(set->items[at]->about.name, form->about.name);
	*out = NULL;
	if (!is_known && set->count >= FORM_STORED_MAX) return ERR_FULL;
	struct form_set *next = new_set(set->count + 1);
	if (!next) return ERR_NOMEM;
	for (size_t i = 0; i < at; i++) next->items[next->count++] = stored_form_ref(set->items[i]);
	next->items[next->count++] = stored_form_ref(form);
	for (size_t i = at + is_known; i < set->count; i++) next->items[next->count++] = stored_form_ref(set->items[i]);
	*out = next;
	return OK;
}

/* ── loading ─────────────────────────────────────────────────────────────── */

struct newest {
	struct str name;
	uint32_t version;
};

struct loading {
	struct str store_path;
	const struct config *config;
	struct arena arena;
	struct json_reader *json;
	struct newest *names;
	size_t count;
	struct buf text, errors;
	struct form_set *set;
};

static int note_newest(void *ctx, struct str name, uint32_t version)
{
	struct loading *l = ctx;
	for (size_t i = 0; i < l->count; i++) {
		if (!str_eq(l->names[i].name, name)) continue;
		if (version > l->names[i].version) l->names[i].version = version;
		return OK;
	}
	if (l->count == FORM_STORED_MAX) return ERR_FULL;
	l->names[l->count].version = version;
	return arena_str(&l->arena, name, &l->names[l->count++].name);
}

static int order_names(const void *a, const void *b)
{
	return str_cmp(((const struct newest *)a)->name, ((const struct newest *)b)->name);
}

static int complain_of(struct loading *l, const struct newest *of, struct str place, struct str what)
{
	int rc = l->errors.len ? buf_putc(&l->errors, '\n') : OK;
	if (rc == OK)
		rc = buf_printf(&l->errors, "%.*s/" FOLDER "/%.*s.%u.json: %.*s%s%.*s", STR_ARG(l->store_path),
				STR_ARG(of->name), (unsigned)of->version, STR_ARG(place), place.len ? ": " : "",
				STR_ARG(what));
	return rc == ERR_TOO_LARGE ? OK : rc;
}

static bool read_about(struct json root, const struct newest *of, struct form_about *about)
{
	struct json value;
	int64_t version;
	struct str name;
	*about = (struct form_about){.name = of->name, .version = of->version, .changed_by = STR_NONE};
	bool is_ok = json_get(root, STR("name"), &value) && json_str(value, &name) && str_eq(name, of->name) &&
		     json_get(root, STR("version"), &value) && json_int(value, &version) && version == of->version &&
		     json_get(root, STR("deleted"), &value) && json_bool(value, &about->is_deleted) &&
		     json_get(root, STR("createdAt"), &value) && json_int(value, &about->created_at) &&
		     json_get(root, STR("changedAt"), &value) && json_int(value, &about->changed_at);
	return is_ok && json_get(root, STR("changedBy"), &value) && json_str(value, &about->changed_by);
}

static int make_form(struct loading *l, const struct newest *of, struct json root, struct stored_form **out)
{
	struct form_about about;
	struct form_fault *faults;
	struct json definition, format;
	size_t count;
	int64_t number;
	*out = NULL;
	if (json_get(root, STR("format"), &format) && json_int(format, &number) && number > FORMAT)
		return complain_of(l, of, STR_NONE, STR("was written by a newer cdpd"));
	if (!read_about(root, of, &about) || (!about.is_deleted && !json_get(root, STR("definition"), &definition)))
		return complain_of(l, of, STR_NONE, STR("is not a form as cdpd writes them"));
	if (about.is_deleted) return stored_form_make_deleted(&about, out);
	int rc = stored_form_make(l->config, &about, definition, &l->arena, out, &faults, &count);
	for (size_t i = 0; rc == ERR_INVALID && i < count; i++)
		if (complain_of(l, of, faults[i].pointer, faults[i].message) != OK) rc = ERR_NOMEM;
	return rc == ERR_INVALID ? OK : rc;
}

/* The configuration's forms and the store's never share a name, nor the numbers of its versions. */
static int check_clash(struct loading *l, const struct newest *of, const struct stored_form *stored)
{
	const struct conf_form *form = config_form(l->config, of->name);
	if (!form || (stored->about.is_deleted && form->version > of->version)) return OK;
	int rc = l->errors.len ? buf_putc(&l->errors, '\n') : OK;
	if (rc == OK && stored->about.is_deleted)
		rc = buf_printf(&l->errors,
				"%.*s:%d: form '%.*s' was made over the API before and deleted as version %u: "
				"give it version %u",
				STR_ARG(form->file), form->line, STR_ARG(of->name), (unsigned)of->version,
				(unsigned)of->version + 1);
	else if (rc == OK)
		rc = buf_printf(&l->errors,
				"%.*s:%d: form '%.*s' was made over the API too (version %u, in %.*s/" FOLDER
				"): rename this one, or delete that one with 'cdpctl forms delete %.*s'",
				STR_ARG(form->file), form->line, STR_ARG(of->name), (unsigned)of->version,
				STR_ARG(l->store_path), STR_ARG(of->name));
	return rc == ERR_TOO_LARGE ? OK : rc;
}

static int load_form(struct loading *l, const struct newest *of)
{
	struct json root;
	struct stored_form *form = NULL;
	const char *why = "";
	buf_clear(&l->text);
	int rc = form_store_read(l->store_path, of->name, of->version, &l->text);
	if (rc == OK) rc = json_parse(l->json, buf_str(&l->text), &root, &why);
	if (rc == ERR_INVALID || rc == ERR_TOO_LARGE)
		return complain_of(l, of, STR_NONE, STR("is not a form as cdpd writes them"));
	if (rc == OK) rc = make_form(l, of, root, &form);
	if (rc != OK || !form) return rc;
	l->set->items[l->set->count++] = form;
	return check_clash(l, of, form);
}

static int load_all(struct loading *l)
{
	l->names = arena_array(&l->arena, struct newest, FORM_STORED_MAX);
	l->set = new_set(FORM_STORED_MAX);
	if (!l->names || !l->set) return ERR_NOMEM;
	int rc = each_file(l->store_path, note_newest, l);
	if (rc == OK) rc = json_reader_new(&l->json);
	if (rc != OK) return rc;
	qsort(l->names, l->count, sizeof *l->names, order_names);
	for (size_t i = 0; i < l->count && rc == OK; i++) rc = load_form(l, &l->names[i]);
	return rc == OK && l->errors.len ? ERR_INVALID : rc;
}

int form_set_load(struct str store_path, const struct config *config, struct form_set **out, char **errors)
{
	struct loading l = {.store_path = store_path, .config = config};
	*out = NULL;
	*errors = NULL;
	arena_init(&l.arena, 65536, SCRATCH_MAX);
	buf_init(&l.text, FILE_MAX);
	buf_init(&l.errors, ERRORS_MAX);
	int rc = load_all(&l);
	if (rc == OK)
		*out = l.set;
	else
		form_set_unref(l.set);
	if (rc == ERR_INVALID && l.errors.len) *errors = strndup(buf_ptr(&l.errors), l.errors.len);
	if (l.json) json_reader_free(l.json);
	buf_fini(&l.errors);
	buf_fini(&l.text);
	arena_fini(&l.arena);
	return rc;
}
