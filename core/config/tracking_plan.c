#include "config/tracking_plan.h"

#include <stdio.h>

#include "config/names.h"
#include "config/read_value.h"

#define ENTRIES_MAX 1000 /* each event name is a label of a metric */

static const char *const modes[] = {"accept", "flag", "reject", NULL};
static const char *const types[] = {"track", "identify", "page", "screen", "group", NULL};

const char *plan_mode_name(enum plan_mode mode)
{
	return modes[mode];
}

/* ── one entry ───────────────────────────────────────────────────────────── */

#define ENTRY(member) .offset = offsetof(struct plan_entry, member), .size = sizeof(((struct plan_entry *)0)->member)
#define PLAN(member) \
	.offset = offsetof(struct tracking_plan, member), .size = sizeof(((struct tracking_plan *)0)->member)

static const struct key entry_keys[] = {
    {"event", KEY_TEXT, ENTRY(event), .check = name_check_event},
    {"type", KEY_CHOICE, ENTRY(type), .choices = types},
    {"mode", KEY_CHOICE, ENTRY(mode), .fallback = "flag", .choices = modes},
    {"schema", KEY_NODE, ENTRY(node)},
};

static int *line_of(void *item)
{
	return &((struct plan_entry *)item)->line;
}

static void check_entry(struct reading *r, const struct node *node, const char *where, void *item)
{
	char path[300];
	struct plan_entry *entry = item;
	const struct node *type = node_child(node, STR("type"));
	bool has_type = type && !node_is_absent(type);
	if (entry->event.len && has_type && entry->type != PLAN_TRACK)
		complain(r->complaints, node->line,
			 "%s: only track events have an 'event' name; leave 'event' or 'type' out", where);
	else if (!entry->event.len && !has_type)
		complain(r->complaints, node->line, "%s needs 'event' or 'type'", where);
	(void)snprintf(path, sizeof path, "%s.schema", where);
	if (entry->node) entry->schema = json_schema_compile(r->arena, r->complaints, entry->node, path);
}

static const struct table entry_table = {
    .keys = entry_keys,
    .count = COUNT_OF(entry_keys),
    .item_size = sizeof(struct plan_entry),
    .line_of = line_of,
    .check = check_entry,
};

static const struct key plan_keys[] = {
    {"unplanned", KEY_CHOICE, PLAN(unplanned), .fallback = "accept", .choices = modes},
    {"events", KEY_ITEMS, PLAN(entries), .count_offset = offsetof(struct tracking_plan, entry_count),
     .items = &entry_table},
};
static const struct table plan_table = {.keys = plan_keys, .count = COUNT_OF(plan_keys)};

/* ── the index ───────────────────────────────────────────────────────────── */

static void complain_twice(struct reading *r, const struct plan_entry *entry, const struct plan_entry *first)
{
	complain(r->complaints, entry->line, "%s '%.*s' is planned twice, first in line %d",
		 entry->event.len ? "event" : "type", entry->event.len ? (int)entry->event.len : 20,
		 entry->event.len ? entry->event.ptr : types[entry->type], first->line);
}

static void add_entry(struct reading *r, struct tracking_plan *plan, const struct plan_entry *entry)
{
	const struct plan_entry *first =
	    entry->event.len ? index_add(&plan->by_event, entry->event, entry) : plan->by_type[entry->type];
	if (first)
		complain_twice(r, entry, first);
	else if (!entry->event.len)
		plan->by_type[entry->type] = entry;
}

static void build_index(struct reading *r, struct tracking_plan *plan)
{
	if (index_init(&plan->by_event, r->arena, plan->entry_count) != OK) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < plan->entry_count; i++) add_entry(r, plan, &plan->entries[i]);
}

const struct plan_entry *tracking_plan_find(const struct tracking_plan *plan, enum plan_type type, struct str event)
{
	const struct plan_entry *entry = type == PLAN_TRACK ? index_find(&plan->by_event, event) : NULL;
	return entry ? entry : plan->by_type[type];
}

/* ── metrics ─────────────────────────────────────────────────────────────── */

/* A label's value as Prometheus reads it; control characters become spaces. */
static void write_label(struct str text, char *out, size_t size)
{
	size_t len = 0;
	for (size_t i = 0; i < text.len && len + 3 < size; i++) {
		char c = text.ptr[i];
		if (c == '"' || c == '\\') out[len++] = '\\';
		out[len++] = (uint8_t)c < 0x20 || c == 0x7f ? ' ' : c;
	}
	out[len] = '\0';
}

static void register_metrics(struct tracking_plan *plan)
{
	char name[420], labels[480];
	for (size_t i = 0; i < plan->entry_count; i++) {
		struct plan_entry *entry = &plan->entries[i];
		write_label(entry->event.len ? entry->event : str_from(types[entry->type]), name, sizeof name);
		(void)snprintf(labels, sizeof labels, "%s=\"%s\",mode=\"%s\"", entry->event.len ? "event" : "type",
			       name, modes[entry->mode]);
		entry->violations = metric_get(METRIC_COUNTER, "cdpd_plan_violations_total", labels,
					       "Events that break the schema of their tracking plan's entry.");
	}
	(void)snprintf(labels, sizeof labels, "mode=\"%s\"", modes[plan->unplanned]);
	plan->unplanned_events = metric_get(METRIC_COUNTER, "cdpd_plan_unplanned_total", labels,
					    "Events that no entry of the tracking plan names.");
}

/* ── where it stands ─────────────────────────────────────────────────────── */

static void read_plan(struct reading *r, const struct node *node, struct tracking_plan *plan)
{
	read_table(r, &plan_table, node, plan);
	if (plan->entry_count > ENTRIES_MAX)
		complain(r->complaints, node->line, "events: at most %d", ENTRIES_MAX);
	else if (r->complaints->count == 0 && r->complaints->status == OK)
		build_index(r, plan);
}

/* Relative to the folder of the configuration. */
static int path_of(struct reading *r, struct str name, struct str *out)
{
	const char *slash = strrchr(r->complaints->file, '/');
	int folder = slash && name.ptr[0] != '/' ? (int)(slash + 1 - r->complaints->file) : 0;
	return arena_printf(r->arena, out, "%.*s%.*s", folder, r->complaints->file, STR_ARG(name));
}

static void read_file(struct reading *r, struct str name, struct tracking_plan *plan)
{
	struct node *root;
	struct str path, error = STR_NONE;
	const char *file = r->complaints->file;
	int rc = path_of(r, name, &path);
	if (rc == OK) rc = tree_parse_file(r->arena, path.ptr, &root, &error);
	if (rc == ERR_NOMEM) {
		r->complaints->status = rc;
	} else if (rc != OK) {
		complain_whole(r->complaints, error);
	} else {
		r->complaints->file = path.ptr;
		if (root->kind == NODE_MAP)
			read_plan(r, root, plan);
		else
			complain(r->complaints, root->line, "must be a map (lines of 'key: value')");
		r->complaints->file = file;
	}
}

static bool names_file(struct reading *r, const struct node *node, const struct node **file)
{
	*file = node_child(node, STR("file"));
	if (!*file) return false;
	if ((*file)->kind != NODE_SCALAR || (*file)->text.len == 0)
		complain(r->complaints, (*file)->line, "tracking_plan.file must be the path of a file");
	else if (node->child_count > 1)
		complain(r->complaints, node->line,
			 "tracking_plan: 'file' stands alone, the rest belongs into the file");
	else
		return true;
	*file = NULL;
	return true;
}

void tracking_plan_load(struct reading *r, const struct node *node, const struct tracking_plan **out)
{
	const struct node *file;
	if (!node || node->child_count == 0) return;
	struct tracking_plan *plan = arena_new(r->arena, struct tracking_plan);
	if (!plan) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	if (!names_file(r, node, &file))
		read_plan(r, node, plan);
	else if (file)
		read_file(r, file->text, plan);
	if (r->complaints->count || r->complaints->status != OK) return;
	register_metrics(plan);
	*out = plan;
}
