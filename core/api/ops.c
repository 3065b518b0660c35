/* /healthz, /readyz, /metrics, /openapi.yaml: what machines around the daemon ask. */
#include "api/internal.h"
#include "api/openapi.h"

static void get_healthz(struct api_worker *worker, struct http_request *req)
{
	(void)worker;
	http_reply(req, 200, MIME_JSON, STR("{\"ok\":true}"));
}

static void get_readyz(struct api_worker *worker, struct http_request *req)
{
	const char *refusal = journal_refusal(worker->api->journal);
	if (atomic_load(&worker->api->is_draining))
		http_reply_problem(req, PROBLEM_SHUTTING_DOWN, STR("the daemon is draining"), STR_NONE);
	else if (refusal)
		http_reply_problem(req, PROBLEM_NOT_DURABLE, str_from(refusal), STR_NONE);
	else
		http_reply(req, 200, MIME_JSON, STR("{\"ok\":true}"));
}

static void get_metrics(struct api_worker *worker, struct http_request *req)
{
	buf_clear(&worker->out);
	if (metric_write_all(&worker->out) == OK)
		http_reply(req, 200, MIME_METRICS, buf_str(&worker->out));
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	buf_clear(&worker->out);
	buf_shrink(&worker->out, API_BUF_KEEP);
}

static void get_openapi(struct api_worker *worker, struct http_request *req)
{
	(void)worker;
	http_reply(req, 200, MIME_YAML, str_of(openapi_yaml, openapi_yaml_len));
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/healthz", SCOPE_NONE, false, false, 0, get_healthz},
    {HTTP_GET, "/readyz", SCOPE_NONE, false, false, 0, get_readyz},
    {HTTP_GET, "/metrics", SCOPE_NONE, true, false, 0, get_metrics},
    {HTTP_GET, "/openapi.yaml", SCOPE_NONE, false, false, 0, get_openapi},
};

int ops_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
