#include "grpc/descriptors.h"

#include "base/wire.h"

extern const char grpc_descriptor_set[]; /* made by the build of health and reflection */
extern const size_t grpc_descriptor_set_len;

struct descriptors {
	struct str files[DESCRIPTOR_FILES_MAX], names[DESCRIPTOR_FILES_MAX];
	size_t count;
};

/* Field numbers of google/protobuf/descriptor.proto */
enum { SET_FILE = 1 };
enum { FILE_NAME = 1, FILE_PACKAGE = 2, FILE_DEPENDENCY = 3, FILE_MESSAGE = 4, FILE_ENUM = 5, FILE_SERVICE = 6 };
enum { NAME = 1, MESSAGE_FIELD = 2, MESSAGE_NESTED = 3, MESSAGE_ENUM = 4, ENUM_VALUE = 2, SERVICE_METHOD = 2 };

static struct str *find_file(struct descriptors *d, struct str name)
{
	for (size_t i = 0; i < d->count; i++)
		if (str_eq(d->names[i], name)) return &d->files[i];
	return NULL;
}

static int add_set(struct descriptors *d, struct str set)
{
	struct wire_field field;
	while (set.len) {
		if (!wire_take(&set, &field) || field.number != SET_FILE || field.type != WIRE_BYTES)
			return ERR_INVALID;
		struct str name = wire_find_bytes(field.bytes, FILE_NAME);
		if (find_file(d, name)) continue;
		if (d->count == DESCRIPTOR_FILES_MAX) return ERR_INVALID;
		d->names[d->count] = name;
		d->files[d->count++] = field.bytes;
	}
	return OK;
}

int descriptors_new(struct arena *arena, struct str set, struct descriptors **out)
{
	struct descriptors *d = arena_new(arena, struct descriptors);
	if (!d) return ERR_NOMEM;
	int rc = add_set(d, set);
	if (rc == OK) rc = add_set(d, str_of(grpc_descriptor_set, grpc_descriptor_set_len));
	*out = d;
	return rc;
}

struct str descriptors_file(const struct descriptors *d, struct str name)
{
	for (size_t i = 0; i < d->count; i++)
		if (str_eq(d->names[i], name)) return d->files[i];
	return STR_NONE;
}

/* ── symbols ─────────────────────────────────────────────────────────────── */

/* "a.b.c" after "a" or "a.": what is left is "b.c". False: it begins otherwise. */
static bool step_into(struct str *path, struct str name)
{
	if (!str_starts(*path, name)) return false;
	struct str rest = str_of(path->ptr + name.len, path->len - name.len);
	if (rest.len && rest.ptr[0] != '.') return false;
	if (rest.len) rest = str_of(rest.ptr + 1, rest.len - 1);
	*path = rest;
	return true;
}

/* Has one of the fields `number` of this message that name? */
static bool has_named(struct str message, uint32_t number, struct str name)
{
	struct wire_field field;
	while (message.len && wire_take(&message, &field))
		if (field.number == number && field.type == WIRE_BYTES &&
		    str_eq(wire_find_bytes(field.bytes, NAME), name))
			return true;
	return false;
}

/* Each round goes one message deeper, so the name's length bounds them. */
static bool message_has(struct str message, struct str path)
{
	while (path.len) {
		struct wire_field field;
		struct str rest = message, inner = STR_NONE, inner_path = path;
		if (has_named(message, MESSAGE_FIELD, path)) return true;
		while (rest.len && wire_take(&rest, &field)) {
			struct str left = path;
			if (field.type != WIRE_BYTES || !step_into(&left, wire_find_bytes(field.bytes, NAME))) continue;
			if (field.number == MESSAGE_ENUM)
				return left.len == 0 || has_named(field.bytes, ENUM_VALUE, left);
			if (field.number != MESSAGE_NESTED) continue;
			inner = field.bytes;
			inner_path = left;
		}
		if (!inner.len) return false;
		message = inner;
		path = inner_path;
	}
	return true;
}

static bool file_has(struct str file, struct str path)
{
	struct wire_field field;
	struct str package = wire_find_bytes(file, FILE_PACKAGE);
	if (package.len && (!step_into(&path, package) || !path.len)) return false;
	while (file.len && wire_take(&file, &field)) {
		struct str left = path;
		if (field.type != WIRE_BYTES || field.number < FILE_MESSAGE || field.number > FILE_SERVICE) continue;
		if (!step_into(&left, wire_find_bytes(field.bytes, NAME))) continue;
		if (left.len == 0 || (field.number == FILE_MESSAGE && message_has(field.bytes, left))) return true;
		if (field.number == FILE_ENUM && has_named(field.bytes, ENUM_VALUE, left)) return true;
		if (field.number == FILE_SERVICE && has_named(field.bytes, SERVICE_METHOD, left)) return true;
	}
	return false;
}

struct str descriptors_symbol(const struct descriptors *d, struct str name)
{
	for (size_t i = 0; name.len && i < d->count; i++)
		if (file_has(d->files[i], name)) return d->files[i];
	return STR_NONE;
}

/* ── imports ─────────────────────────────────────────────────────────────── */

static size_t index_of(const struct descriptors *d, struct str name)
{
	size_t i = 0;
	while (i < d->count && !str_eq(d->names[i], name)) i++;
	return i;
}

static uint64_t imports_of(const struct descriptors *d, struct str file)
{
	struct wire_field field;
	uint64_t found = 0;
	while (file.len && wire_take(&file, &field)) {
		if (field.number != FILE_DEPENDENCY || field.type != WIRE_BYTES) continue;
		size_t index = index_of(d, field.bytes);
		if (index < d->count) found |= UINT64_C(1) << index;
	}
	return found;
}

void descriptors_each_needed(const struct descriptors *d, struct str file, void (*fn)(void *ctx, struct str file),
			     void *ctx)
{
	uint64_t seen = 0, open = 0;
	size_t first = index_of(d, wire_find_bytes(file, FILE_NAME));
	if (first < d->count) open = UINT64_C(1) << first;
	while (open) {
		size_t index = (size_t)__builtin_ctzll(open);
		seen |= UINT64_C(1) << index;
		fn(ctx, d->files[index]);
		open = (open | imports_of(d, d->files[index])) & ~seen;
	}
}
