#include "config/stored_form.h"

#include <stdlib.h>

#include "config/form_schema.h"
#include "config/names.h"
#include "config/tree_json.h"

#define BLOCK_BYTES 4096
#define ARENA_MAX   ((size_t)32 << 20)

/* Complaints on their way to pointers: node numbers become pointers at once, the nodes are at hand. */
struct fault_list {
	struct arena *arena;
	const struct node *root;
	struct form_fault *items;
	size_t count;
	int status;
};

static void add_fault(struct fault_list *list, struct str pointer, struct str message)
{
	struct form_fault *fault = &list->items[list->count];
	int rc = arena_str(list->arena, pointer, &fault->pointer);
	if (rc == OK) rc = arena_str(list->arena, message, &fault->message);
	if (rc == OK)
		list->count++;
	else
		list->status = rc;
}

static void on_fault(void *ctx, int place, const char *what)
{
	struct fault_list *list = ctx;
	struct str pointer;
	if (list->count >= STORED_FORM_FAULTS) return; /* before the search for its place */
	int rc = tree_pointer(list->arena, list->root, place, &pointer);
	if (rc == OK)
		add_fault(list, pointer, str_from(what));
	else
		list->status = rc;
}

/* ── the definition's nodes ────────────────────────────────────────────────── */

static int add_name(struct arena *arena, struct node *root, struct str name)
{
	struct node *node = arena_new(arena, struct node);
	if (!node) return ERR_NOMEM;
	*node = (struct node){.kind = NODE_SCALAR, .line = root->line, .is_quoted = true, .key = STR("name")};
	node->next = root->children;
	root->children = node;
	root->child_count++;
	return arena_str(arena, name, &node->text);
}

static int take_name(struct fault_list *list, struct arena *arena, struct node *root, struct str name)
{
	const struct node *given = node_child(root, STR("name"));
	if (!given) return add_name(arena, root, name);
	if (given->kind == NODE_SCALAR && str_eq(given->text, name)) return OK;
	add_fault(list, STR("/name"), STR("is another name than the path's"));
	return OK;
}

static int read_nodes(struct fault_list *list, struct arena *arena, struct json definition, struct str name)
{
	struct node *root;
	struct str error, pointer;
	int rc = tree_from_json(arena, definition, &root, &error, &pointer);
	if (rc == ERR_INVALID) add_fault(list, pointer, error);
	if (rc != OK) return rc == ERR_INVALID ? OK : rc;
	list->root = root;
	if (root->kind == NODE_MAP) return take_name(list, arena, root, name);
	add_fault(list, STR_NONE, STR("must be an object"));
	return OK;
}

static int write_definition(struct json definition, struct buf *text)
{
	struct json_iter it;
	struct json value;
	struct str key;
	struct json_out out;
	json_out_init(&out, text);
	jo_object(&out);
	for (json_iter_start(definition, &it); json_next_member(&it, &key, &value);) {
		if (str_eq(key, STR("name")) || str_eq(key, STR("version"))) continue;
		jo_key(&out, key);
		jo_raw(&out, STR_NONE);
		if (out.status == OK) out.status = json_write(text, value);
	}
	jo_end_object(&out);
	return out.status;
}

static int keep_definition(struct stored_form *stored, struct json definition)
{
	struct buf text;
	buf_init(&text, (size_t)2 * STORED_FORM_BYTES);
	int rc = write_definition(definition, &text);
	if (rc == OK) rc = arena_str(&stored->arena, buf_str(&text), &stored->definition);
	buf_fini(&text);
	return rc;
}

/* ── compiling ─────────────────────────────────────────────────────────────── */

static int compile(struct stored_form *stored, const struct config *config, struct fault_list *list)
{
	struct complaints complaints;
	struct reading reading = {.arena = &stored->arena, .complaints = &complaints};
	struct conf_form *form = &stored->form;
	complaints_init(&complaints, "");
	complaints.on_fault = on_fault;
	complaints.ctx = list;
	read_table(&reading, &form_table, list->root, form);
	form->version = stored->about.version;
	form->line = list->root->line;
	form->file = STR("the store");
	if (complaints.count == 0) form_finish(&reading, config, form);
	int rc = complaints.status != OK ? complaints.status : list->status;
	complaints_fini(&complaints);
	return rc;
}

static int copy_about(struct stored_form *stored, const struct form_about *about)
{
	stored->about = *about;
	int rc = arena_str(&stored->arena, about->name, &stored->about.name);
	return rc == OK ? arena_str(&stored->arena, about->changed_by, &stored->about.changed_by) : rc;
}

static int make(struct stored_form *stored, const struct config *config, struct json definition,
		struct fault_list *list)
{
	int rc = read_nodes(list, &stored->arena, definition, stored->about.name);
	if (rc == OK && list->count == 0) rc = compile(stored, config, list);
	if (rc == OK && list->count == 0) rc = keep_definition(stored, definition);
	if (rc != OK) return rc == ERR_TOO_LARGE ? ERR_NOMEM : rc;
	return list->count ? ERR_INVALID : OK;
}

static struct stored_form *new_stored(void)
{
	struct stored_form *stored = calloc(1, sizeof *stored);
	if (!stored) return NULL;
	atomic_init(&stored->references, 1);
	arena_init(&stored->arena, BLOCK_BYTES, ARENA_MAX);
	stored->definition = STR_NONE;
	return stored;
}

int stored_form_make(const struct config *config, const struct form_about *about, struct json definition,
		     struct arena *arena, struct stored_form **out, struct form_fault **faults, size_t *count)
{
	struct fault_list list = {.arena = arena};
	list.items = arena_array(arena, struct form_fault, STORED_FORM_FAULTS);
	struct stored_form *stored = list.items ? new_stored() : NULL;
	*out = NULL;
	*count = 0;
	if (!stored) return ERR_NOMEM;
	int rc = copy_about(stored, about);
	if (rc == OK) rc = make(stored, config, definition, &list);
	if (rc == OK)
		*out = stored;
	else
		stored_form_unref(stored);
	*faults = list.items;
	*count = list.count;
	return rc;
}

int stored_form_make_deleted(const struct form_about *about, struct stored_form **out)
{
	struct stored_form *stored = new_stored();
	*out = NULL;
	if (!stored) return ERR_NOMEM;
	int rc = copy_about(stored, about);
	if (rc == OK)
		*out = stored;
	else
		stored_form_unref(stored);
	return rc;
}

struct stored_form *stored_form_ref(struct stored_form *form)
{
	atomic_fetch_add_explicit(&form->references, 1, memory_order_relaxed);
	return form;
}

void stored_form_unref(struct stored_form *form)
{
	if (!form || atomic_fetch_sub_explicit(&form->references, 1, memory_order_acq_rel) != 1) return;
	arena_fini(&form->arena);
	free(form);
}

/* What stands behind name and version. */
static struct str meaning_of(struct str fingerprint)
{
	struct str kind = STR(",\"kind\":");
	const char *at = memmem(fingerprint.ptr, fingerprint.len, kind.ptr, kind.len);
	CHECK(at);
	return str_of(at, fingerprint.len - (size_t)(at - fingerprint.ptr));
}

bool stored_form_equal(const struct stored_form *a, const struct stored_form *b)
{
	if (a->about.is_deleted || b->about.is_deleted) return a->about.is_deleted == b->about.is_deleted;
	return a->form.accepts_since == b->form.accepts_since && a->form.results == b->form.results &&
	       str_eq(meaning_of(a->form.fingerprint), meaning_of(b->form.fingerprint));
}
