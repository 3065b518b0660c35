/* oauth2: an access token that is there when it is needed: asked for once however many wait, anew ahead of its end, and after the other
 * side refused it. Client credentials (RFC 6749 4.4), or a refresh token (6), whose successors are kept in the instance's key-values.
 * Compiled into each plugin that asks for it; on the instance's own thread. */
#pragma once

#include "cdpd_plugin.h"

struct oauth2;

enum oauth2_grant { OAUTH2_CLIENT_CREDENTIALS, OAUTH2_REFRESH_TOKEN };

#define OAUTH2_TOKEN_MAX 8192
#define OAUTH2_WHY_SIZE  200

struct oauth2_settings { /* texts live as long as the oauth2; NULL: absent */
	enum oauth2_grant grant;
	const char *url, *client_id, *client_secret, *scope, *audience;
	const char *refresh_token; /* the first; what comes after it is remembered beside it, over restarts */
	const char *redirect_uri;
	bool is_basic;       /* client id and secret as Basic authentication, else in the body */
	bool is_json;        /* the body is JSON, else a form */
	uint32_t timeout_ms; /* of a token request */
};

/* Somebody who waits for a token. */
struct oauth2_wait {
	struct oauth2_wait *next;
	/* token: NUL-terminated, lives during the call. NULL: there is none, `why` says why, retry_after_ms as the server said (0: it did not). */
	void (*done)(struct oauth2_wait *wait, const char *token, const char *why, int64_t retry_after_ms);
};

/* NULL: no memory. */
struct oauth2 *oauth2_new(const struct cdpd_host *host, struct cdpd_instance *instance,
			  const struct oauth2_settings *settings);
/* After the host has ended all requests; nobody waits then. NULL is fine. */
void oauth2_free(struct oauth2 *oauth2);
/* `done` is called exactly once, maybe before this returns. */
void oauth2_ask(struct oauth2 *oauth2, struct oauth2_wait *wait);
/* This token was refused: the next who asks gets another. */
void oauth2_refused(struct oauth2 *oauth2, const char *token);
void oauth2_hide(const struct oauth2 *oauth2, char *text); /* its secrets, those of now and the first ones */
uint64_t oauth2_requests(const struct oauth2 *oauth2);     /* made so far */
