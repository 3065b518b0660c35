/* outgoing: requests with credentials. It adds the configured headers and the authorization, waits for a token where there is none, and after
 * a 401 asks for a new one and sends again, once. Compiled, with oauth2.c and writer.c, into each plugin that asks for it; on the
 * instance's own thread. */
#pragma once

#include "cdpd_plugin.h"
#include "oauth2.h"

struct outgoing;
struct outgoing_call;

/* response: as the host's; also made here when no request could be sent (error and `why`). */
typedef void (*outgoing_fn)(struct outgoing_call *call, const struct cdpd_http_response *response);

struct outgoing_call {
	/* The caller's. What it points to lives until `done`. */
	struct cdpd_http_request request;
	int64_t until_ms; /* by outgoing_now_ms: no step goes on after it. 0: each has its own timeout only */
	outgoing_fn done;
	void *ctx;
	/* outgoing's own */
	struct outgoing *owner;
	struct oauth2_wait wait;
	char *token;
	bool is_second;
};

#define OUTGOING_HEADERS_MAX 24 /* of the configuration */
#define OUTGOING_TOKEN_MS    8000

/* Reads the options of OUTGOING_OPTIONS. Not CDPD_OK: the cause is logged. In create. */
int outgoing_new(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		 struct outgoing **out);
void outgoing_free(struct outgoing *outgoing); /* after the host has ended all requests. NULL is fine */
/* `done` is called exactly once, maybe before this returns. */
void outgoing_send(struct outgoing *outgoing, struct outgoing_call *call);
bool outgoing_has(const struct outgoing *outgoing, const char *name); /* a header of the configuration */
/* Replaces what says who we are, wherever the other side has repeated it. */
void outgoing_hide(const struct outgoing *outgoing, char *text);
int64_t outgoing_now_ms(void); /* the monotonic clock */
/* Is it http or https, with a host and without user, password and control characters? NULL, or a static text of what is wrong. */
const char *outgoing_check_url(struct cdpd_str url);

#define OUTGOING_TEXT(option, most, sentence) \
	{ \
		.name = (option), .type = CDPD_OPTION_STRING, .max = (most), .help = (sentence) \
	}
#define OUTGOING_SECRET(option, sentence) \
	{ \
		.name = (option), .type = CDPD_OPTION_SECRET, .help = (sentence) \
	}
#define OUTGOING_CHOICE(option, fallback, choices, sentence) \
	{ \
		.name = (option), .type = CDPD_OPTION_ENUM, .default_text = (fallback), .values = (choices), \
		.help = (sentence) \
	}
/* For a plugin's table of options. */
#define OUTGOING_OPTIONS \
	{.name = "headers", \
	 .type = CDPD_OPTION_LIST, \
	 .max = OUTGOING_HEADERS_MAX, \
	 .help = "sent with every request: \"Name: value\""}, \
	    OUTGOING_SECRET("secret_headers", "the same from a file or variable, one on a line"), \
	    OUTGOING_CHOICE("auth", "none", "none|bearer|basic|oauth2", "how it says who it is"), \
	    OUTGOING_SECRET("token", "of auth: bearer"), OUTGOING_TEXT("user", 255, "of auth: basic"), \
	    OUTGOING_SECRET("password", "of auth: basic"), \
	    OUTGOING_TEXT("token_url", 2048, "of auth: oauth2: where tokens are asked for"), \
	    OUTGOING_TEXT("client_id", 500, "of auth: oauth2"), OUTGOING_SECRET("client_secret", "of auth: oauth2"), \
	    OUTGOING_TEXT("scope", 1000, "of auth: oauth2"), OUTGOING_TEXT("audience", 1000, "of auth: oauth2"), \
	    OUTGOING_CHOICE( \
		"client_auth", "basic", "basic|form|json", \
		"where client id and secret stand: in Authorization, or in a body that is a form or JSON"), \
	    OUTGOING_SECRET("refresh_token", \
			    "of auth: oauth2: the first one; its successors are kept. None: client credentials"), \
	    OUTGOING_TEXT("redirect_uri", 2048, "of auth: oauth2 with a refresh token, where the server wants it")
