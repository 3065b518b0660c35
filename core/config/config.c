#include "config/config.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "config/check.h"
#include "config/features_file.h"
#include "config/index.h"

#define CONFIG_MAGIC 0x63646366u
#define ARENA_MAX    ((size_t)64 << 20) /* a file has 1 MB; its nodes and texts take a multiple */

/* What outsiders see as struct config begins this. */
struct loaded {
	struct draft draft;
	uint32_t magic;
	atomic_uint references;
	struct arena arena;
	struct index by_key, by_id;
};

static struct loaded *loaded_of(const struct config *config)
{
	struct loaded *loaded = (struct loaded *)(uintptr_t)config;
	CHECK(loaded->magic == CONFIG_MAGIC);
	return loaded;
}

static void loaded_free(struct loaded *loaded)
{
	loaded->magic = 0;
	arena_fini(&loaded->arena);
	free(loaded);
}

/* ── loading ───────────────────────────────────────────────────────────────── */

static int read_tree(struct reading *r, const char *path, const struct config_override *overrides, size_t count,
		     struct node **root)
{
	struct str error;
	int rc = tree_parse_file(r->arena, path, root, &error);
	if (rc != OK && rc != ERR_NOMEM) complain_whole(r->complaints, error);
	if (rc != OK) return rc;
	if ((*root)->kind != NODE_MAP) {
		complain(r->complaints, (*root)->line, "must be a map (lines of 'key: value')");
		return ERR_INVALID;
	}
	for (size_t i = 0; i < count; i++) {
		int set = tree_set(r->arena, *root, overrides[i].path, overrides[i].value, &error);
		if (set == ERR_NOMEM) return set;
		if (set != OK) complain_whole(r->complaints, error);
	}
	return OK;
}

static int build_indexes(struct loaded *loaded)
{
	const struct config *config = &loaded->draft.config;
	size_t key_count = 0;
	for (size_t i = 0; i < config->source_count; i++) key_count += config->sources[i].write_key_count;
	int rc = index_init(&loaded->by_key, &loaded->arena, key_count);
	if (rc == OK) rc = index_init(&loaded->by_id, &loaded->arena, config->source_count);
	for (size_t i = 0; i < config->source_count && rc == OK; i++) {
		const struct conf_source *source = &config->sources[i];
		(void)index_add(&loaded->by_id, source->id, source);
		for (size_t k = 0; k < source->write_key_count; k++)
			(void)index_add(&loaded->by_key, source->write_keys[k], source);
	}
	return rc;
}

static int load(struct loaded *loaded, struct complaints *complaints, const char *path,
		const struct config_override *overrides, size_t count)
{
	struct reading reading = {.arena = &loaded->arena, .complaints = complaints};
	struct node *root;
	int rc = read_tree(&reading, path, overrides, count, &root);
	if (rc != OK) return rc;
	read_table(&reading, &schema_root, root, &loaded->draft);
	read_features_file(&reading, path, &loaded->draft);
	check_draft(&reading, root, &loaded->draft);
	if (complaints->status != OK) return complaints->status;
	if (complaints->count) return ERR_INVALID;
	rc = arena_str(&loaded->arena, str_from(path), &loaded->draft.config.file);
	return rc == OK ? build_indexes(loaded) : rc;
}

static char *take_text(struct complaints *complaints, int rc)
{
	struct str text = buf_str(&complaints->text);
	if (text.len == 0) text = str_from(status_str(rc));
	return strndup(text.ptr, text.len);
}

int config_load(const char *path, const struct config_override *overrides, size_t count, const struct config **out,
		char **errors)
{
	struct complaints complaints;
	struct loaded *loaded = calloc(1, sizeof *loaded);
	*out = NULL;
	*errors = NULL;
	if (!loaded) return ERR_NOMEM;
	loaded->magic = CONFIG_MAGIC;
	atomic_init(&loaded->references, 1);
	arena_init(&loaded->arena, 16384, ARENA_MAX);
	complaints_init(&complaints, path);
	int rc = load(loaded, &complaints, path, overrides, count);
	if (rc == OK) {
		*out = &loaded->draft.config;
	} else {
		*errors = take_text(&complaints, rc);
		loaded_free(loaded);
	}
	complaints_fini(&complaints);
	return rc;
}

const struct config *config_ref(const struct config *config)
{
	atomic_fetch_add_explicit(&loaded_of(config)->references, 1, memory_order_relaxed);
	return config;
}

void config_unref(const struct config *config)
{
	if (!config) return;
	struct loaded *loaded = loaded_of(config);
	if (atomic_fetch_sub_explicit(&loaded->references, 1, memory_order_acq_rel) == 1) loaded_free(loaded);
}

/* ── asking ────────────────────────────────────────────────────────────────── */

const char *config_needs_restart(const struct config *running, const struct config *next)
{
	return table_difference(&schema_root, &loaded_of(running)->draft, &loaded_of(next)->draft);
}

const char *source_kind_name(enum source_kind kind)
{
	static const char *const names[] = {"browser", "mobile", "server", "webhook"};
	return (size_t)kind < COUNT_OF(names) ? names[kind] : "unknown";
}

const struct conf_source *config_source_by_key(const struct config *config, struct str key)
{
	return index_find(&loaded_of(config)->by_key, key);
}

const struct conf_source *config_source_by_id(const struct config *config, struct str id)
{
	return index_find(&loaded_of(config)->by_id, id);
}
