// rooms: config
/* A whole configuration from any bytes: tree, --set (what stands after a NUL byte, "path=value"), schema and checks. */
#include "config/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(const struct node *node)
{
	size_t count = 0;
	for (const struct node *child = node->children; child; child = child->next, count++) {
		CHECK(child->line >= 0 && child->key.ptr && child->text.ptr);
		check_lines(child);
	}
	CHECK(count == node->child_count);
}

static void set_value(struct arena *arena, struct node *root, struct str text)
{
	struct str error;
	const char *equals = memchr(text.ptr, '=', text.len);
	if (!equals) return;
	struct str path = str_of(text.ptr, (size_t)(equals - text.ptr));
	struct str value = str_of(equals + 1, text.len - path.len - 1);
	if (tree_set(arena, root, path, value, &error) == ERR_INVALID) CHECK(error.len);
}

static void read_config(struct arena *arena, struct node *root)
{
	struct draft draft = {0};
	struct complaints complaints;
	struct reading reading = {.arena = arena, .complaints = &complaints};
	complaints_init(&complaints, "fuzz.yaml");
	read_table(&reading, &schema_root, root, &draft);
	check_draft(&reading, root, &draft);
	CHECK(complaints.status != OK || (complaints.count == 0) == (complaints.text.len == 0));
	complaints_fini(&complaints);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;
	struct node *root;
	struct str error, text = str_of(data, size), set = STR_NONE;
	const char *nul = memchr(text.ptr, '\0', size);
	if (nul) {
		text.len = (size_t)(nul - text.ptr);
		set = str_of(nul + 1, size - text.len - 1);
	}
	arena_init(&arena, 4096, 64 << 20);
	int rc = tree_parse(&arena, text, "fuzz.yaml", &root, &error);
	if (rc == ERR_INVALID) CHECK(str_starts(error, STR("fuzz.yaml:")));
	if (rc == OK) {
		check_lines(root);
		set_value(&arena, root, set);
		if (root->kind == NODE_MAP) read_config(&arena, root);
	}
	arena_fini(&arena);
	return 0;
}
