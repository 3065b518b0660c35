#include "api/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "api/internal.h"
#include "base/clock.h"
#include "base/secret.h"

#define TOKEN_MIN_LEN 8
#define DEMO_PREFIX   STR("demo-")

struct token {
	struct str name;
	uint8_t digest[SHA256_SIZE];
	unsigned scopes;
	int64_t expires_us; /* INT64_MAX: never */
};

struct token_set {
	struct arena arena;
	struct token *tokens;
	size_t count;
	bool has_secrets; /* something other than demo- tokens */
	bool has_demo;
};

static const struct {
	enum scope scope;
	const char *name;
} SCOPES[] = {
    {SCOPE_PROFILES_READ, "profiles:read"},
    {SCOPE_CHANGES_READ, "changes:read"},
    {SCOPE_TRAITS_WRITE, "traits:write"},
    {SCOPE_MERGE, "merge"},
    {SCOPE_EXPORT, "export"},
    {SCOPE_ERASE, "erase"},
    {SCOPE_LINKS, "links"},
    {SCOPE_ADMIN, "admin"},
};

const char *scope_name(enum scope scope)
{
	for (size_t i = 0; i < COUNT_OF(SCOPES); i++)
		if (SCOPES[i].scope == scope) return SCOPES[i].name;
	return "";
}

bool scope_from_name(struct str name, enum scope *out)
{
	for (size_t i = 0; i < COUNT_OF(SCOPES); i++) {
		if (!str_eq(name, str_from(SCOPES[i].name))) continue;
		*out = SCOPES[i].scope;
		return true;
	}
	return false;
}

/* ── the file ────────────────────────────────────────────────────────────── */

struct complaint {
	struct str file;
	char **text; /* malloc'd; the caller's */
};

static int complain(const struct complaint *c, int line, const char *what, struct str word)
{
	if (asprintf(c->text, "%.*s:%d: %s%s%.*s%s", STR_ARG(c->file), line, what, word.len ? " '" : "", STR_ARG(word),
		     word.len ? "'" : "") < 0)
		*c->text = NULL;
	return ERR_INVALID;
}

static int read_scopes(const struct complaint *c, const struct node *list, unsigned *out)
{
	if (list->kind != NODE_LIST) return complain(c, list->line, "scopes must be a list", STR_NONE);
	for (const struct node *item = list->children; item; item = item->next) {
		enum scope scope;
		if (item->kind != NODE_SCALAR || !scope_from_name(item->text, &scope))
			return complain(c, item->line, "unknown scope", item->text);
		*out |= scope;
	}
	return OK;
}

static int read_secret(const struct complaint *c, struct token_set *set, const struct node *node, struct token *token)
{
	if (node->kind != NODE_SCALAR || node->text.len < TOKEN_MIN_LEN)
		return complain(c, node->line, "a token must be text of at least 8 characters", STR_NONE);
	for (size_t i = 0; i < node->text.len; i++)
		if ((uint8_t)node->text.ptr[i] <= ' ' || (uint8_t)node->text.ptr[i] >= 0x7f)
			return complain(c, node->line, "a token must be printable ASCII without spaces", STR_NONE);
	if (str_starts(node->text, DEMO_PREFIX))
		set->has_demo = true;
	else
		set->has_secrets = true;
	return sha256(node->text, token->digest);
}

static int read_expiry(const struct complaint *c, const struct node *node, struct token *token)
{
	int16_t offset;
	if (node->kind != NODE_SCALAR || clock_parse(node->text, &token->expires_us, &offset) != OK)
		return complain(c, node->line, "expires must be a time such as 2027-01-31T00:00:00Z, not", node->text);
	return OK;
}

static int read_member(const struct complaint *c, struct token_set *set, const struct node *node, struct token *token)
{
	if (str_eq(node->key, STR("name"))) {
		if (node->kind != NODE_SCALAR || node->text.len == 0 || node->text.len > 64)
			return complain(c, node->line, "a token's name must be text of 1 to 64 characters", STR_NONE);
		return arena_str(&set->arena, node->text, &token->name);
	}
	if (str_eq(node->key, STR("token"))) return read_secret(c, set, node, token);
	if (str_eq(node->key, STR("scopes"))) return read_scopes(c, node, &token->scopes);
	if (str_eq(node->key, STR("expires"))) return read_expiry(c, node, token);
	return complain(c, node->line, "unknown key of a token (name, token, scopes, expires)", node->key);
}

static bool is_taken(const struct token_set *set, const struct token *token)
{
	for (size_t i = 0; i < set->count; i++)
		if (memcmp(set->tokens[i].digest, token->digest, SHA256_SIZE) == 0) return true;
	return false;
}

static int read_token(const struct complaint *c, struct token_set *set, const struct node *node)
{
	struct token token = {.expires_us = INT64_MAX};
	if (node->kind != NODE_MAP) return complain(c, node->line, "a token is a map", STR_NONE);
	for (const struct node *member = node->children; member; member = member->next) {
		int rc = read_member(c, set, member, &token);
		if (rc != OK) return rc;
	}
	if (!node_child(node, STR("token"))) return complain(c, node->line, "this entry has no token", STR_NONE);
	if (!token.name.len) return complain(c, node->line, "this token has no name", STR_NONE);
	if (!token.scopes) return complain(c, node->line, "no scopes for", token.name);
	if (is_taken(set, &token)) return complain(c, node->line, "the same token stands here twice:", token.name);
	set->tokens[set->count++] = token;
	return OK;
}

static int read_tree(const struct complaint *c, struct token_set *set, const struct node *root)
{
	for (const struct node *n = root->kind == NODE_MAP ? root->children : NULL; n; n = n->next)
		if (!str_eq(n->key, STR("tokens")))
			return complain(c, n->line, "unknown key (only 'tokens' is known here)", n->key);
	const struct node *list = root->kind == NODE_MAP ? node_child(root, STR("tokens")) : NULL;
	if (!list || list->kind != NODE_LIST) return complain(c, root->line, "a list 'tokens' is expected", STR_NONE);
	set->tokens = arena_array(&set->arena, struct token, list->child_count + 1);
	if (!set->tokens) return ERR_NOMEM;
	for (const struct node *node = list->children; node; node = node->next) {
		int rc = read_token(c, set, node);
		if (rc != OK) return rc;
	}
	return OK;
}

static void warn_if_open(struct str path, const char *name)
{
	struct stat st;
	if (stat(name, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)))
		log_warn(LOG_API,
			 "%.*s holds secret tokens and others than its owner have rights on it (mode %03o): chmod 600",
			 STR_ARG(path), (unsigned)st.st_mode & 0777u);
}

static int read_file(struct token_set *set, struct str path, char **errors)
{
	struct arena arena; /* the file's text, secrets included: gone before we return */
	arena_init(&arena, 16 << 10, 8 << 20);
	struct node *root;
	struct str error;
	struct complaint c = {.file = path, .text = errors};
	struct str name;
	int rc = arena_str(&arena, path, &name);
	if (rc == OK) {
		rc = tree_parse_file(&arena, name.ptr, &root, &error);
		if (rc == OK)
			rc = read_tree(&c, set, root);
		else
			*errors = strndup(error.ptr, error.len);
	}
	if (rc == OK && set->has_secrets) warn_if_open(path, name.ptr);
	arena_fini(&arena);
	return rc;
}

static bool has_open_listener(const struct config *config)
{
	for (size_t i = 0; i < config->listener_count; i++)
		if (!config->listeners[i].is_loopback && !config->listeners[i].unix_path.len) return true;
	return false;
}

static bool has_demo_key(const struct config *config)
{
	for (size_t i = 0; i < config->source_count; i++)
		for (size_t j = 0; j < config->sources[i].write_key_count; j++)
			if (str_starts(config->sources[i].write_keys[j], DEMO_PREFIX)) return true;
	return false;
}

/* demo- credentials stand in the documentation: whoever can reach the daemon knows them. */
static int check_demo(const struct config *config, const struct token_set *set, char **errors)
{
	if (!has_open_listener(config)) return OK;
	const char *what = set->has_demo ? "demo- tokens" : has_demo_key(config) ? "demo- write keys" : NULL;
	if (!what) return OK;
	if (asprintf(errors,
		     "%.*s: %s are public knowledge and refused while a listener is not on loopback: make your own",
		     STR_ARG(config->file), what) < 0)
		*errors = NULL;
	return ERR_REFUSED;
}

int token_set_load(const struct config *config, struct token_set **out, char **errors)
{
	*errors = NULL;
	struct token_set *set = calloc(1, sizeof *set);
	if (!set) return ERR_NOMEM;
	arena_init(&set->arena, 4096, 4 << 20);
	int rc = config->tokens_file.len ? read_file(set, config->tokens_file, errors) : OK;
	if (rc == OK) rc = check_demo(config, set, errors);
	if (rc != OK) {
		token_set_free(set);
		return rc;
	}
	*out = set;
	return OK;
}

void token_set_free(struct token_set *set)
{
	if (!set) return;
	arena_fini(&set->arena);
	free(set);
}

size_t token_set_count(const struct token_set *set)
{
	return set->count;
}

struct str token_name(const struct token *token)
{
	return token->name;
}

/* ── checking ────────────────────────────────────────────────────────────── */

enum token_verdict token_check(const struct token_set *set, struct str secret, enum scope scope, int64_t now_us,
			       const struct token **token)
{
	uint8_t digest[SHA256_SIZE];
	const struct token *found = NULL;
	if (!secret.len || sha256(secret, digest) != OK) return TOKEN_UNKNOWN;
	for (size_t i = 0; i < set->count; i++)
		if (secret_eq(digest, set->tokens[i].digest, SHA256_SIZE)) found = &set->tokens[i];
	if (!found) return TOKEN_UNKNOWN;
	*token = found;
	if (now_us >= found->expires_us) return TOKEN_EXPIRED;
	return found->scopes & scope ? TOKEN_OK : TOKEN_LACKS_SCOPE;
}

struct str bearer_secret(struct str authorization)
{
	const struct str scheme = STR("Bearer ");
	if (authorization.len <= scheme.len || !str_eq_nocase(str_of(authorization.ptr, scheme.len), scheme))
		return STR_NONE;
	return str_trim(str_of(authorization.ptr + scheme.len, authorization.len - scheme.len));
}

static enum problem refuse_scope(const struct token *token, enum scope scope, struct arena *arena, struct str *message)
{
	if (arena_printf(arena, message, "the token '%.*s' lacks the scope %s", STR_ARG(token->name),
			 scope_name(scope)) != OK)
		*message = STR_NONE;
	return PROBLEM_FORBIDDEN;
}

static enum problem judge(struct api_worker *worker, struct str secret, enum scope scope, int64_t now_us,
			  struct arena *arena, struct str *message)
{
	const struct token *token = NULL;
	switch (token_check(api_worker_live(worker)->tokens, secret, scope, now_us, &token)) {
	case TOKEN_OK: return PROBLEM_NONE;
	case TOKEN_UNKNOWN:
		*message = secret.len ? STR("this token is not known")
				      : STR("a token is required: 'Authorization: Bearer <token>'");
		return PROBLEM_UNAUTHORIZED;
	case TOKEN_EXPIRED: *message = STR("this token has expired"); return PROBLEM_UNAUTHORIZED;
	case TOKEN_LACKS_SCOPE: return refuse_scope(token, scope, arena, message);
	}
	return PROBLEM_INTERNAL;
}

static void count_refusal(void)
{
	metric_add(metric_get(METRIC_COUNTER, "cdpd_auth_refused_total", NULL, "Requests refused for their token."), 1);
}

enum problem auth_judge(struct api_worker *worker, struct str authorization, enum scope scope, int64_t now_us,
			struct arena *arena, struct str *message)
{
	*message = STR_NONE;
	if (scope == SCOPE_NONE) return PROBLEM_NONE;
	enum problem problem = judge(worker, bearer_secret(authorization), scope, now_us, arena, message);
	if (problem != PROBLEM_NONE) count_refusal();
	return problem;
}

struct str auth_token_name(struct api_worker *worker, struct str authorization, int64_t now_us, struct arena *arena)
{
	const struct token *token = NULL;
	struct str name = STR_NONE;
	struct str secret = bearer_secret(authorization);
	token_check(api_worker_live(worker)->tokens, secret, SCOPE_NONE, now_us, &token);
	if (token && arena_str(arena, token->name, &name) != OK) name = STR_NONE;
	return name;
}

/* ── HTTP's ──────────────────────────────────────────────────────────────── */

static bool has_token_in_url(struct http_request *req)
{
	struct str value;
	return http_query(req).len &&
	       (http_query_get(req, STR("token"), &value) || http_query_get(req, STR("access_token"), &value));
}

bool auth_allows(struct api_worker *worker, struct http_request *req, enum scope scope)
{
	struct str message;
	if (scope == SCOPE_NONE) return true;
	if (has_token_in_url(req)) {
		count_refusal();
		http_reply_problem(
		    req, PROBLEM_INVALID_PARAMETER,
		    STR("tokens are not taken from the URL, where logs and histories keep them: send "
			"'Authorization: Bearer <token>' (a browser's EventSource cannot: stream from your own "
			"backend)"),
		    STR_NONE);
		return false;
	}
	enum problem problem = auth_judge(worker, http_header(req, STR("authorization")), scope,
					  http_received_at_us(req), http_arena(req), &message);
	if (problem == PROBLEM_NONE) return true;
	if (problem == PROBLEM_UNAUTHORIZED)
		http_set_header(req, STR("WWW-Authenticate"), STR("Bearer realm=\"cdpd\""));
	http_reply_problem(req, problem, message, STR_NONE);
	return false;
}

struct str auth_actor(struct api_worker *worker, struct http_request *req)
{
	return auth_token_name(worker, http_header(req, STR("authorization")), http_received_at_us(req),
			       http_arena(req));
}
