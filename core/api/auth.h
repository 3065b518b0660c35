/* auth: Bearer tokens and what each may do. Tokens are secrets: kept as SHA-256, compared in constant time, never
 * logged, refused in URLs. */
#pragma once

#include "config/config.h"
#include "net/http.h"

enum scope {
	SCOPE_NONE = 0,
	SCOPE_PROFILES_READ = 1 << 0,
	SCOPE_CHANGES_READ = 1 << 1,
	SCOPE_TRAITS_WRITE = 1 << 2,
	SCOPE_MERGE = 1 << 3,
	SCOPE_EXPORT = 1 << 4,
	SCOPE_ERASE = 1 << 5,
	SCOPE_LINKS = 1 << 6,
	SCOPE_ADMIN = 1 << 7
};
const char *scope_name(enum scope scope); /* "" for SCOPE_NONE */
bool scope_from_name(struct str name, enum scope *out);

struct token_set;
struct token; /* valid as long as its set */

/* Reads config->tokens_file (none: an empty set):
 *
 *   tokens: [{name: crm, token: …, scopes: [profiles:read], expires: 2027-01-01T00:00:00Z}]
 *
 * ERR_INVALID (the file), ERR_REFUSED (demo- credentials while a listener is not loopback); *errors is then malloc'd text, "file:line: …", or
 * NULL. Warns when others than the owner may read the file, unless all it holds are demo- tokens. */
MUST_USE int token_set_load(const struct config *config, struct token_set **out, char **errors);
void token_set_free(struct token_set *set);
size_t token_set_count(const struct token_set *set);

enum token_verdict { TOKEN_OK, TOKEN_UNKNOWN, TOKEN_EXPIRED, TOKEN_LACKS_SCOPE };
/* Looks at every token of the set whatever it finds: the time tells nothing. *token is set unless UNKNOWN. */
enum token_verdict token_check(const struct token_set *set, struct str secret, enum scope scope, int64_t now_us,
			       const struct token **token);
struct str token_name(const struct token *token);

/* The secret of "Authorization: Bearer …"; empty when there is none. */
struct str bearer_secret(struct str authorization);

struct api_worker;
/* May who sends that Authorization do what needs `scope`? PROBLEM_NONE, or why not, with *message in the arena or static. Whatever face
 * asks: this is the only place that judges. */
MUST_USE enum problem auth_judge(struct api_worker *worker, struct str authorization, enum scope scope, int64_t now_us,
				 struct arena *arena, struct str *message);
/* Name of the token of that Authorization, for "who did it" in records; a copy in the arena, or empty. */
struct str auth_token_name(struct api_worker *worker, struct str authorization, int64_t now_us, struct arena *arena);
/* May this request use a route of that scope? When not, it has been answered (401, 403, 400 for a token in the URL). */
MUST_USE bool auth_allows(struct api_worker *worker, struct http_request *req, enum scope scope);
/* Name of the request's token, for "who did it" in records; copied into the request's arena. */
struct str auth_actor(struct api_worker *worker, struct http_request *req);
