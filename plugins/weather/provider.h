/* provider: somebody who knows the weather over HTTP. Pure: a URL for a spot, and an answer's body read for it. */
#pragma once

#include "observation.h"

#define URL_MAX 1024

struct provider_settings {
	const char *base, *archive_base; /* URLs without a trailing slash; NULL: the provider's own */
	const char *key;                 /* NULL or empty: none */
	int64_t archive_after_s;         /* hours older than that are asked of the archive */
	int recent_hours;                /* how far back rain counts as recent */
};

struct provider {
	const char *name;
	bool needs_key;
	/* false: it does not fit. */
	bool (*url)(const struct provider_settings *settings, const struct spot *spot, int64_t now_s,
		    char out[URL_MAX]);
	/* Reads the answer of a 200. 1: read; 0: well-formed, but it has nothing for that hour; -1: not what the provider sends, or of another
	 * place (then it is a transient error, and never cached). */
	int (*read)(const struct provider_settings *settings, const struct spot *spot, const char *body, size_t len,
		    struct observation *out);
};

extern const struct provider open_meteo, openweathermap;
