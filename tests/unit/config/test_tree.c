#include "config/config_test.h"
#include "config/tree_set.h"

static struct arena arena;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 4096, 64 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

static struct node *parsed(const char *text)
{
	struct node *root = NULL;
	struct str error;
	if (tree_parse(&arena, str_from(text), "t.yaml", &root, &error) != OK) fail_msg("%.*s", STR_ARG(error));
	return root;
}

static void nodes_remember_lines_and_quotes(void **state)
{
	struct node *root = parsed("# top\na: 1\n\nb:\n  c: \"1\"\n  d: [x,\n      'y']\ne: |\n  text\nf:\n");
	(void)state;
	const struct node *b = node_child(root, STR("b")), *d = node_child(b, STR("d"));
	assert_int_equal(root->kind, NODE_MAP);
	assert_int_equal(root->child_count, 4);
	assert_int_equal(node_child(root, STR("a"))->line, 2);
	assert_false(node_child(root, STR("a"))->is_quoted);
	assert_int_equal(b->line, 4);
	assert_int_equal(b->kind, NODE_MAP);
	assert_true(node_child(b, STR("c"))->is_quoted);
	assert_str(node_child(b, STR("c"))->text, "1");
	assert_int_equal(d->kind, NODE_LIST);
	assert_int_equal(d->child_count, 2);
	assert_str(d->children->text, "x");
	assert_int_equal(d->children->next->line, 7);
	assert_true(d->children->next->is_quoted);
	assert_str(node_child(root, STR("e"))->text, "text\n");
	assert_int_equal(node_child(root, STR("f"))->text.len, 0);
	assert_null(node_child(root, STR("g")));
	assert_null(node_child(node_child(root, STR("a")), STR("x")));
}

static void an_empty_file_is_an_empty_map(void **state)
{
	(void)state;
	static const char *const texts[] = {"", "\n", "# nothing\n"};
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct node *root = parsed(texts[i]);
		assert_int_equal(root->kind, NODE_MAP);
		assert_int_equal(root->child_count, 0);
	}
}

static void colons_stay_in_plain_texts(void **state)
{
	struct node *root = parsed("a: [profiles:read, changes:read]\nb: 127.0.0.1:80\nc: unix:/x\nd: {s: a:b}\n");
	(void)state;
	assert_str(node_child(root, STR("a"))->children->next->text, "changes:read");
	assert_str(node_child(root, STR("b"))->text, "127.0.0.1:80");
	assert_str(node_child(root, STR("d"))->children->text, "a:b");
}

static void refusals_name_the_line(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"a: 1\nb: &x 2\n", "t.yaml:2: anchors are not supported"},
	    {"a: 1\nb: &x {c: 1}\n", "t.yaml:2: anchors are not supported"},
	    {"a: &x\n - 1\n", "t.yaml:1: anchors are not supported"},
	    {"a: 1\nb: *x\n", "t.yaml:2: "},
	    {"a: 1\n*x : 2\n", "t.yaml:2: "},
	    {"a: !!int 1\n", "t.yaml:1: tags are not supported"},
	    {"a: !x [1]\n", "t.yaml:1: tags are not supported"},
	    {"!x\na: 1\n", "t.yaml:1: tags are not supported"},
	    {"a: 1\n---\nb: 2\n", "t.yaml:2: only one document is allowed"},
	    {"---\na: 1\n...\n---\nb: 2\n", "t.yaml:4: only one document is allowed"},
	    {"a: 1\nb: 2\na: 3\n", "t.yaml:3: 'a' is here twice, first in line 1"},
	    {"x:\n  a: 1\n  \"a\": 3\n", "t.yaml:3: 'a' is here twice, first in line 2"},
	    {"{a: 1, a: 2}", "t.yaml:1: 'a' is here twice, first in line 1"},
	    {"? [a]\n: 1\n", "t.yaml:1: a key must be plain text"},
	    {"a: [1\nb: 2\n", "t.yaml:2: "},
	    {"a: 1\n b: 2\n", "t.yaml:2: "},
	    {"a: 1\nb: \"\\q\"\n", "t.yaml:2: "},
	    {"a:\n\t- 1\n", "t.yaml:2: "},
	    {"a: 1\nb: \xff\n", "t.yaml:2: "},
	    {"a: \"x\\0y\"\n", "t.yaml:1: NUL characters are not supported"},
	    {"a: \x01\n", "t.yaml:1: "},
	    {"a: 'x\n", "t.yaml:2: "},
	    {"%TAG ! tag:x:\n--- !y\na: 1\n", "t.yaml:2: tags are not supported"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct node *root;
		struct str error;
		int rc = tree_parse(&arena, str_from(cases[i].text), "t.yaml", &root, &error);
		if (rc != ERR_INVALID || !str_starts(error, str_from(cases[i].error)))
			fail_msg("%s\n%d: %.*s\nwant %s", cases[i].text, rc, STR_ARG(error), cases[i].error);
		assert_true(error.len > strlen("t.yaml:1: "));
	}
}

static int parse_deep(size_t depth, struct str *error)
{
	char text[2000];
	struct node *root;
	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	return tree_parse(&arena, str_of(text, 2 * depth), "t.yaml", &root, error);
}

static void depth_is_limited(void **state)
{
	struct str error;
	(void)state;
	assert_ok(parse_deep(32, &error));
	assert_int_equal(parse_deep(33, &error), ERR_INVALID);
	assert_str(error, "t.yaml:1: nested too deeply");
	assert_int_equal(parse_deep(900, &error), ERR_INVALID);
}

static void sizes_are_limited(void **state)
{
	struct buf buf;
	struct node *root;
	struct str error;
	(void)state;
	buf_init(&buf, 4 << 20);
	for (int i = 0; i < 5000; i++) assert_ok(buf_printf(&buf, "k%d: 1\n", i));
	assert_int_equal(tree_parse(&arena, buf_str(&buf), "t.yaml", &root, &error), ERR_INVALID);
	assert_str(error, "t.yaml:4097: too many keys");
	buf_clear(&buf);
	while (buf.len <= 1 << 20) assert_ok(buf_append_str(&buf, STR("# a comment\n")));
	assert_int_equal(tree_parse(&arena, buf_str(&buf), "t.yaml", &root, &error), ERR_INVALID);
	assert_str(error, "t.yaml:1: larger than 1 MB");
	buf_fini(&buf);
}

static void files_that_cannot_be_read(void **state)
{
	struct node *root;
	struct str error;
	(void)state;
	assert_int_equal(tree_parse_file(&arena, "/nonexistent/x.yaml", &root, &error), ERR_IO);
	assert_str(error, "/nonexistent/x.yaml:1: cannot be opened: No such file or directory");
	assert_int_equal(tree_parse_file(&arena, "/", &root, &error), ERR_IO);
	assert_true(str_starts(error, STR("/:1: cannot be read: ")));
	assert_int_equal(tree_parse_file(&arena, "/dev/zero", &root, &error), ERR_INVALID);
	assert_str(error, "/dev/zero:1: larger than 1 MB");
}

static void a_small_arena_is_an_ordinary_error(void **state)
{
	struct arena small;
	struct node *root;
	struct str error;
	(void)state;
	arena_init(&small, 256, 1024);
	assert_int_equal(tree_parse(&small, STR("a: [1,2,3,4,5,6,7,8,9,10,11,12,13,14]"), "t.yaml", &root, &error),
			 ERR_NOMEM);
	arena_fini(&small);
}

/* ── --set ─────────────────────────────────────────────────────────────────── */

static int set(struct node *root, const char *path, const char *value, struct str *error)
{
	return tree_set(&arena, root, str_from(path), str_from(value), error);
}

static void set_replaces_makes_and_appends(void **state)
{
	struct node *root = parsed("a: {b: 1, c: [x, {d: 1}]}\ne:\nz: 9\n");
	struct str error;
	(void)state;
	assert_ok(set(root, "a.b", "2", &error));
	assert_ok(set(root, "a.c.0", "y", &error));
	assert_ok(set(root, "a.c.1.d", "\"5\"", &error));
	assert_ok(set(root, "a.c.2", "new", &error));
	assert_ok(set(root, "e.f.g", "127.0.0.1:0", &error));
	assert_ok(set(root, "n.m", "[p, {q: r}]", &error));
	struct node *want =
	    parsed("a: {b: 2, c: [y, {d: \"5\"}, new]}\ne: {f: {g: 127.0.0.1:0}}\nz: 9\nn: {m: [p, {q: r}]}\n");
	assert_true(node_equal(root, want));
	assert_int_equal(node_child(node_child(root, STR("a")), STR("b"))->line, 0);
	assert_int_equal(node_child(root, STR("z"))->line, 3);
	assert_ok(set(root, "a", "plain", &error));
	assert_str(node_child(root, STR("a"))->text, "plain");
	assert_ok(set(root, "a", "", &error));
	assert_int_equal(node_child(root, STR("a"))->text.len, 0);
	assert_ok(set(root, "a.k", "v=w: x", &error)); /* not YAML: taken as it is */
	assert_str(node_child(node_child(root, STR("a")), STR("k"))->text, "v=w: x");
}

static void set_refuses_wrong_paths(void **state)
{
	static const struct {
		const char *path, *value, *error;
	} cases[] = {
	    {"a.b", "1", "--set a.b: 'a' has a value, not keys"},
	    {"l.x", "1", "--set l.x: 'x' must be the number of a list item"},
	    {"l.3", "1", "--set l.3: '3' is past the end of the list"},
	    {"l.-1", "1", "--set l.-1: '-1' must be the number of a list item"},
	    {"", "1", "--set : '' is no key: the path has an empty step"},
	    {"m..x", "1", "--set m..x: '' is no key: the path has an empty step"},
	    {"m.", "1", "--set m.: '' is no key: the path has an empty step"},
	    {"q.a", "1", "--set q.a: 'q' has a value, not keys"},
	    {"m", "[a", "--set m:"},
	    {"m", "{a: *x}", "--set m:"},
	    {"m", "\"a", "--set m:"},
	    {"a1.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t", "1", "--set a1.b"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct node *root = parsed("a: 1\nl: [x, y]\nm: {}\nq: ''\n");
		struct str error;
		int rc = set(root, cases[i].path, cases[i].value, &error);
		if (rc != ERR_INVALID || !str_starts(error, str_from(cases[i].error)))
			fail_msg("%s: %d %.*s", cases[i].path, rc, STR_ARG(error));
	}
}

static void equality_ignores_lines_only(void **state)
{
	static const char *const different[] = {"a: [1, 2]", "a: [2, 1]", "a: [1]",    "a: [1, '2']",
						"a: 1",      "b: [1, 2]", "a: {k: 1}", "a: [[1], 2]"};
	(void)state;
	assert_true(node_equal(parsed("a: [1, 2]"), parsed("\n\na:\n  - 1\n  - 2\n")));
	for (size_t i = 0; i < COUNT_OF(different); i++)
		for (size_t j = 0; j < COUNT_OF(different); j++)
			assert_int_equal(node_equal(parsed(different[i]), parsed(different[j])), i == j);
	assert_true(node_equal(NULL, NULL));
	assert_false(node_equal(NULL, parsed("a: 1")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nodes_remember_lines_and_quotes),
	    cmocka_unit_test(an_empty_file_is_an_empty_map),
	    cmocka_unit_test(colons_stay_in_plain_texts),
	    cmocka_unit_test(refusals_name_the_line),
	    cmocka_unit_test(depth_is_limited),
	    cmocka_unit_test(sizes_are_limited),
	    cmocka_unit_test(files_that_cannot_be_read),
	    cmocka_unit_test(a_small_arena_is_an_ordinary_error),
	    cmocka_unit_test(set_replaces_makes_and_appends),
	    cmocka_unit_test(set_refuses_wrong_paths),
	    cmocka_unit_test(equality_ignores_lines_only),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
