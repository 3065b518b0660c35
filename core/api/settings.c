/* What SDKs ask for before they send: Segment's settings reply. Without `apiHost` in it the browser SDK would send to its vendor. */
#include "api/internal.h"

#define SETTINGS_BYTES 4096u

/* "https" and "cdp.example.com/base" of a URL. */
static bool split_url(struct str url, struct str *protocol, struct str *rest)
{
	const struct str schemes[] = {STR("https://"), STR("http://")};
	for (size_t i = 0; i < COUNT_OF(schemes); i++) {
		if (!str_starts(url, schemes[i])) continue;
		*protocol = str_of(url.ptr, schemes[i].len - 3);
		*rest = str_of(url.ptr + schemes[i].len, url.len - schemes[i].len);
		return rest->len > 0;
	}
	return false;
}

/* From the configuration or the listener, never from the Host header, which anyone can set. */
static void own_address(struct http_request *req, const struct config *config, struct str *protocol, struct str *host)
{
	if (split_url(config->public_url, protocol, host)) return;
	*protocol = http_is_tls(req) ? STR("https") : STR("http");
	*host = http_local_authority(req);
}

static int write_settings(struct buf *out, struct arena *arena, struct str key, struct str protocol, struct str host)
{
	struct str api_host;
	struct json_out jo;
	int rc = arena_printf(arena, &api_host, "%.*s/v1", STR_ARG(host));
	if (rc != OK) return rc;
	json_out_init(&jo, out);
	jo_object(&jo);
	jo_key(&jo, STR("integrations"));
	jo_object(&jo);
	jo_key(&jo, STR("Segment.io"));
	jo_object(&jo);
	jo_key(&jo, STR("apiKey"));
	jo_str(&jo, key);
	jo_key(&jo, STR("apiHost"));
	jo_str(&jo, api_host);
	jo_key(&jo, STR("protocol"));
	jo_str(&jo, protocol);
	jo_end_object(&jo);
	jo_end_object(&jo);
	/* Else the SDK reports its own metrics every half minute. */
	jo_raw(&jo, STR("\"metrics\":{\"sampleRate\":0}"));
	jo_end_object(&jo);
	return jo.status;
}

static void on_settings(struct http_request *req, void *ctx)
{
	const struct config *config = api_config(ctx);
	struct str key = http_path_param(req, 0), protocol, host;
	struct buf body;
	if (!config_source_by_key(config, key)) {
		http_reply_problem(req, PROBLEM_NOT_FOUND, STR("the write key is not known"), STR_NONE);
		config_unref(config);
		return;
	}
	own_address(req, config, &protocol, &host);
	buf_init(&body, SETTINGS_BYTES);
	if (write_settings(&body, http_arena(req), key, protocol, host) == OK)
		http_reply(req, 200, MIME_JSON, buf_str(&body));
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	buf_fini(&body);
	config_unref(config);
}

int settings_register(struct api *api, struct router *router)
{
	const struct route route = {.methods = HTTP_GET,
				    .path = "/v1/projects/{key}/settings",
				    .cors = CORS_INGEST,
				    .handler = on_settings,
				    .ctx = api,
				    .scope = ""};
	return router_add(router, &route);
}
