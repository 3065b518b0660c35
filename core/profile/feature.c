#include "profile/feature.h"

#include <stdatomic.h>

#include "profile/feature_types.h"

#define TYPES_MAX     64
#define TYPE_NAME_MAX 64

struct registered {
	char name[TYPE_NAME_MAX + 1];
	const struct cdpd_feature_type *type;
};

static struct registered types[TYPES_MAX] = {
    {"count", &feature_count},
    {"sum", &feature_sum},
    {"first", &feature_first},
    {"last", &feature_last},
    {"min", &feature_min},
    {"max", &feature_max},
    {"mean", &feature_mean},
    {"variance", &feature_variance},
    {"distinct", &feature_distinct},
    {"histogram", &feature_histogram},
    {"intervals", &feature_intervals},
    {"decayed", &feature_decayed},
    {"window", &feature_window},
    {"top", &feature_top},
};
/* Entries below it never change: whoever reads it may read them. */
static _Atomic size_t type_count = 14;

const struct cdpd_feature_type *feature_type_find(struct str name)
{
	size_t count = atomic_load_explicit(&type_count, memory_order_acquire);
	for (size_t i = 0; i < count; i++)
		if (str_eq(str_from(types[i].name), name)) return types[i].type;
	return NULL;
}

size_t feature_type_names(const char **names, size_t max)
{
	size_t count = atomic_load_explicit(&type_count, memory_order_acquire);
	if (count > max) count = max;
	for (size_t i = 0; i < count; i++) names[i] = types[i].name;
	return count;
}

bool feature_type_has_options(const struct cdpd_feature_type *type)
{
	return type->size >= offsetof(struct cdpd_feature_type, check) + sizeof type->check;
}

static bool is_complete(const struct cdpd_feature_type *type)
{
	const size_t size_1_0 = offsetof(struct cdpd_feature_type, flags);
	if (type->size < size_1_0) return false;
	if (type->init && type->add && type->merge && type->read) return true;
	return feature_type_has_options(type) && type->init_with && type->add_with && type->merge_with &&
	       type->read_with;
}

int feature_type_register(struct str name, const struct cdpd_feature_type *type)
{
	size_t count = atomic_load_explicit(&type_count, memory_order_relaxed);
	if (name.len == 0 || name.len > TYPE_NAME_MAX || memchr(name.ptr, 0, name.len)) return ERR_INVALID;
	if (!is_complete(type)) return ERR_INVALID;
	if (type->max_state == 0 || type->max_state > FEATURE_STATE_MAX) return ERR_INVALID;
	if (feature_type_find(name)) return ERR_EXISTS;
	if (count == TYPES_MAX) return ERR_FULL;
	memcpy(types[count].name, name.ptr, name.len);
	types[count].name[name.len] = '\0';
	types[count].type = type;
	atomic_store_explicit(&type_count, count + 1, memory_order_release);
	return OK;
}

static _Thread_local char *watched;
static _Thread_local size_t watched_size;

void feature_watch(char *note, size_t size)
{
	watched = size > 0 ? note : NULL;
	watched_size = size;
}

void feature_note(struct str type)
{
	if (!watched) return;
	size_t len = type.len < watched_size ? type.len : watched_size - 1;
	memcpy(watched, type.ptr, len);
	watched[len] = '\0';
}
