#include "profile/feature.h"

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
};
static size_t type_count = 4;

const struct cdpd_feature_type *feature_type_find(struct str name)
{
	for (size_t i = 0; i < type_count; i++)
		if (str_eq(str_from(types[i].name), name)) return types[i].type;
	return NULL;
}

int feature_type_register(struct str name, const struct cdpd_feature_type *type)
{
	if (name.len == 0 || name.len > TYPE_NAME_MAX || memchr(name.ptr, 0, name.len)) return ERR_INVALID;
	if (type->size < sizeof *type || !type->init || !type->add || !type->merge || !type->read) return ERR_INVALID;
	if (type->max_state == 0 || type->max_state > FEATURE_STATE_MAX) return ERR_INVALID;
	if (feature_type_find(name)) return ERR_EXISTS;
	if (type_count == TYPES_MAX) return ERR_FULL;
	memcpy(types[type_count].name, name.ptr, name.len);
	types[type_count].name[name.len] = '\0';
	types[type_count++].type = type;
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
