/* AMP for Email: forms inside mails. A mail client sends requests in the name of the mail's sender, and wants to be told that the
 * sender may: version 2 of its rules by AMP-Email-Sender, version 1 by __amp_source_origin and Origin. Only senders of amp.senders may;
 * the person is whoever the token in the mail speaks for. */
#include "api/forms.h"
#include "ingest/form_body.h"

#define AMP_BODY_BYTES (256u << 10)
#define SENDER_MAX     320

static bool is_sender(const struct config *config, struct str sender)
{
	for (size_t i = 0; i < config->amp_sender_count; i++)
		if (str_eq_nocase(config->amp_senders[i], sender)) return true;
	return false;
}

static bool refuse(struct http_request *req, struct str why)
{
	http_reply_problem(req, PROBLEM_FORBIDDEN, why, STR_NONE);
	return false;
}

static bool is_origin(struct str origin)
{
	return str_starts(origin, STR("https://")) && origin.len <= 255;
}

/* Sets what the client wants to read; false: answered. */
static bool allow_sender(struct api_worker *worker, struct http_request *req)
{
	const struct config *config = api_worker_live(worker)->config;
	struct str sender = http_header(req, STR("AMP-Email-Sender")), origin = http_header(req, STR("Origin"));
	bool is_new = sender.len > 0;
	if (!is_new && !http_query_get(req, STR("__amp_source_origin"), &sender))
		return refuse(req,
			      STR("AMP for Email names the mail's sender: AMP-Email-Sender, or __amp_source_origin"));
	if (sender.len > SENDER_MAX || !is_sender(config, sender))
		return refuse(req, STR("this sender is not one of amp.senders"));
	if (is_new) {
		http_set_header(req, STR("AMP-Email-Allow-Sender"), sender);
		return true;
	}
	if (!is_origin(origin)) return refuse(req, STR("the Origin of a mail client is needed"));
	http_set_header(req, STR("Access-Control-Allow-Origin"), origin);
	http_set_header(req, STR("Access-Control-Expose-Headers"), STR("AMP-Access-Control-Allow-Source-Origin"));
	http_set_header(req, STR("AMP-Access-Control-Allow-Source-Origin"), sender);
	return true;
}

static int make_body(struct http_request *req, const struct conf_form *form, struct buf *out)
{
	struct form_field *fields;
	size_t count;
	struct arena arena;
	arena_init(&arena, 16u << 10, (size_t)4 * AMP_BODY_BYTES);
	int rc = form_fields_parse(http_header(req, STR("Content-Type")), http_body(req), &arena, &fields, &count);
	if (rc == OK) rc = form_fields_write(out, form, fields, count);
	arena_fini(&arena);
	return rc;
}

static void receive(struct api_worker *worker, struct http_request *req, const struct conf_form *form)
{
	struct buf body;
	buf_init(&body, (size_t)8 * AMP_BODY_BYTES);
	int rc = make_body(req, form, &body);
	if (rc == OK)
		form_receive(worker, req, form, form->kind == FORM_PREFERENCES, buf_str(&body));
	else if (rc == ERR_INVALID)
		http_reply_problem(
		    req, PROBLEM_INVALID_BODY,
		    STR("neither application/x-www-form-urlencoded nor multipart/form-data, or malformed"), STR_NONE);
	else
		http_reply_problem(req, rc == ERR_TOO_LARGE ? PROBLEM_TOO_LARGE : PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	buf_fini(&body);
}

static void post_form(struct http_request *req, void *ctx)
{
	struct api_worker *worker = http_worker(req);
	struct form_held held;
	(void)ctx;
	if (!allow_sender(worker, req) || !form_hold(worker, req, http_path_param(req, 0), &held)) return;
	receive(worker, req, held.form);
	form_release(&held);
}

/* amp-list cannot send headers: its token stands in the URL, as in any link that speaks for one person. */
static void get_list(struct http_request *req, void *ctx)
{
	struct api_worker *worker = http_worker(req);
	struct form_held held;
	struct str token = STR_NONE;
	(void)ctx;
	if (!allow_sender(worker, req) || !form_hold(worker, req, http_path_param(req, 0), &held)) return;
	http_set_header(req, STR("Referrer-Policy"), STR("no-referrer"));
	if (!http_query_get(req, STR("token"), &token)) token = STR_NONE;
	form_reply_next(worker, req, held.form, token, STR("items"));
	form_release(&held);
}

int amp_register(struct router *router)
{
	const struct route form = {.methods = HTTP_POST,
				   .path = "/amp/forms/{name}",
				   .cors = CORS_NONE, /* AMP's own rules */
				   .body_cap = AMP_BODY_BYTES,
				   .handler = post_form,
				   .scope = "amp"};
	const struct route list = {
	    .methods = HTTP_GET, .path = "/amp/lists/{name}", .cors = CORS_NONE, .handler = get_list, .scope = "amp"};
	int rc = router_add(router, &form);
	return rc == OK ? router_add(router, &list) : rc;
}
