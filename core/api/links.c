/* Links that speak for one person: POST /v1/links makes them, /r/{token} is where they lead. A GET changes nothing, because mail
 * scanners and previews follow links too: it shows a page with a button, or goes on to the target that was signed. */
#include "api/consents.h"
#include "api/forms.h"
#include "api/ingest_http.h"
#include "base/clock.h"
#include "base/hash.h"

#define BODY_CAP    8192u
#define TTL_DEFAULT (7 * INT64_C(86400))
#define TTL_MIN     60
#define TTL_MAX     (366 * INT64_C(86400))
#define TARGET_MAX  1000
#define CONFIRM_CAP 4096u

static const struct str MIME_HTML = {"text/html; charset=utf-8", 24};

/* ── making one ──────────────────────────────────────────────────────────── */

struct order { /* of a link, as the body asks for it */
	struct person_claims claims;
	int64_t ttl;
	enum problem problem;
	struct str pointer, message;
};

static bool refuse(struct order *order, enum problem problem, struct str pointer, struct str message)
{
	order->problem = problem;
	order->pointer = pointer;
	order->message = message;
	return false;
}

/* Absent is empty; false: refused. */
static bool take_text(struct order *order, struct json object, struct str key, struct str pointer, struct str *out)
{
	struct json value;
	*out = STR_NONE;
	if (!json_get(object, key, &value) || json_type(value) == JSON_NULL || json_str(value, out)) return true;
	return refuse(order, PROBLEM_SCHEMA_VIOLATION, pointer, STR("must be a string"));
}

static bool is_target(struct str url)
{
	if (url.len > TARGET_MAX || (!str_starts(url, STR("https://")) && !str_starts(url, STR("http://"))))
		return false;
	for (size_t i = 0; i < url.len; i++) {
		char c = url.ptr[i];
		if (c <= ' ' || c > '~' || strchr("\"'<>\\^`{|}", c)) return false;
	}
	return true;
}

static bool read_purpose(struct order *order, struct json root)
{
	struct str name;
	if (!take_text(order, root, STR("purpose"), STR("/purpose"), &name)) return false;
	if (person_purpose_from_name(name, &order->claims.purpose)) return true;
	return refuse(order, PROBLEM_SCHEMA_VIOLATION, STR("/purpose"), STR("must be consent, form or preferences"));
}

static bool has_channel(const struct conf_purpose *purpose, struct str channel)
{
	if (channel.len == 0) return true;
	for (size_t i = 0; i < purpose->channel_count; i++)
		if (str_eq(purpose->channels[i], channel)) return true;
	return false;
}

/* The consent that following the link confirms. */
static bool read_consent(struct order *order, struct json root, const struct config *config)
{
	struct json consent;
	struct person_claims *claims = &order->claims;
	claims->consent = claims->channel = STR_NONE;
	if (!json_get(root, STR("consent"), &consent) || json_type(consent) == JSON_NULL) return true;
	if (json_type(consent) != JSON_OBJECT || claims->purpose != PERSON_CONSENT)
		return refuse(order, PROBLEM_SCHEMA_VIOLATION, STR("/consent"),
			      STR("must be {\"purpose\",\"channel\"}, in a link for the purpose consent"));
	if (!take_text(order, consent, STR("purpose"), STR("/consent/purpose"), &claims->consent)) return false;
	if (!take_text(order, consent, STR("channel"), STR("/consent/channel"), &claims->channel)) return false;
	const struct conf_purpose *purpose = config_purpose(config, claims->consent);
	if (!purpose) return refuse(order, PROBLEM_UNKNOWN_PURPOSE, STR("/consent/purpose"), STR_NONE);
	if (!has_channel(purpose, claims->channel))
		return refuse(order, PROBLEM_UNKNOWN_CHANNEL, STR("/consent/channel"), STR_NONE);
	return true;
}

/* The only form that the link may answer. */
static bool read_form(struct order *order, struct json root, const struct live *live)
{
	struct person_claims *claims = &order->claims;
	if (!take_text(order, root, STR("form"), STR("/form"), &claims->form)) return false;
	if (claims->form.len == 0) return true;
	if (claims->purpose != PERSON_FORM)
		return refuse(order, PROBLEM_SCHEMA_VIOLATION, STR("/form"), STR("is for links of the purpose form"));
	if (!form_of_live(live, claims->form))
		return refuse(order, PROBLEM_NOT_FOUND, STR("/form"), STR("there is no form of that name"));
	return true;
}

static bool read_target(struct order *order, struct json root)
{
	struct person_claims *claims = &order->claims;
	if (!take_text(order, root, STR("target"), STR("/target"), &claims->target)) return false;
	if (claims->target.len && !is_target(claims->target))
		return refuse(order, PROBLEM_SCHEMA_VIOLATION, STR("/target"),
			      STR("must be an http or https URL of at most 1000 bytes"));
	if (claims->target.len == 0 && claims->consent.len == 0)
		return refuse(order, PROBLEM_SCHEMA_VIOLATION, STR("/target"),
			      STR("a link needs a target, or a consent to confirm"));
	return true;
}

static bool read_bounds(struct order *order, struct json root)
{
	struct json value;
	order->ttl = TTL_DEFAULT;
	/* What is confirmed once is confirmed; other links are for coming back. */
	order->claims.is_single_use = order->claims.consent.len > 0;
	if (json_get(root, STR("ttl"), &value) && json_type(value) != JSON_NULL &&
	    (!json_int(value, &order->ttl) || order->ttl < TTL_MIN || order->ttl > TTL_MAX))
		return refuse(order, PROBLEM_SCHEMA_VIOLATION, STR("/ttl"),
			      STR("must be a number of seconds, from a minute to a year"));
	if (json_get(root, STR("single_use"), &value) && json_type(value) != JSON_NULL &&
	    !json_bool(value, &order->claims.is_single_use))
		return refuse(order, PROBLEM_SCHEMA_VIOLATION, STR("/single_use"), STR("must be true or false"));
	return true;
}

/* Whoever is known goes into the URL by id: links are seen by many, an address is nobody's business. */
static bool read_person(struct order *order, struct json root, struct api_worker *worker, struct arena *arena)
{
	struct profile profile;
	struct str ref;
	uint64_t applied;
	char text[FRAGMENT_ID_TEXT_SIZE];
	if (!take_text(order, root, STR("person"), STR("/person"), &ref)) return false;
	arena_reset(&worker->scratch);
	int rc = people_read_begin(worker->reader, &applied);
	if (rc == OK) {
		rc = people_get(worker->reader, ref, 0, 0, &worker->scratch, &profile);
		people_read_end(worker->reader);
	}
	if (rc == ERR_INVALID)
		return refuse(order, PROBLEM_INVALID_IDENTIFIER, STR("/person"),
			      STR("a reference is 'namespace:value' or 'id:<profile id>'"));
	if (rc == ERR_NOT_FOUND && str_starts(ref, STR("id:")))
		return refuse(order, PROBLEM_NOT_FOUND, STR("/person"), STR_NONE);
	if (rc == ERR_NOT_FOUND) {
		order->claims.person = ref;
		return true;
	}
	if (rc != OK) return refuse(order, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	fragment_id_format(&profile.requested_id, text);
	rc = arena_printf(arena, &order->claims.person, "id:%s", text);
	return rc == OK || refuse(order, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static int make_url(struct http_request *req, const struct config *config, struct str token, struct str *out)
{
	struct arena *arena = http_arena(req);
	if (config->public_url.len)
		return arena_printf(arena, out, "%.*s/r/%.*s", STR_ARG(config->public_url), STR_ARG(token));
	return arena_printf(arena, out, "%s://%.*s/r/%.*s", http_is_tls(req) ? "https" : "http",
			    STR_ARG(http_local_authority(req)), STR_ARG(token));
}

static void reply_link(struct api_worker *worker, struct http_request *req, const struct order *order, struct str token)
{
	struct json_out out;
	struct str url;
	int rc = make_url(req, api_worker_live(worker)->config, token, &url);
	buf_clear(&worker->out);
	json_out_init(&out, &worker->out);
	jo_object(&out);
	jo_key(&out, STR("ok"));
	jo_bool(&out, true);
	jo_key(&out, STR("url"));
	jo_str(&out, rc == OK ? url : STR_NONE);
	jo_key(&out, STR("token"));
	jo_str(&out, token);
	jo_key(&out, STR("expiresAt"));
	jo_time(&out, order->claims.expires_us);
	jo_end_object(&out);
	http_set_header(req, STR("Cache-Control"), STR("no-store"));
	if (rc == OK && out.status == OK)
		http_reply(req, 200, MIME_JSON, buf_str(&worker->out));
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	buf_clear(&worker->out);
}

static bool read_order(struct order *order, struct api_worker *worker, struct http_request *req, struct json root)
{
	if (json_type(root) != JSON_OBJECT)
		return refuse(order, PROBLEM_SCHEMA_VIOLATION, STR_NONE, STR("must be an object"));
	return read_purpose(order, root) && read_consent(order, root, api_worker_live(worker)->config) &&
	       read_form(order, root, api_worker_live(worker)) && read_target(order, root) &&
	       read_bounds(order, root) && read_person(order, root, worker, http_arena(req));
}

static void post_links(struct api_worker *worker, struct http_request *req)
{
	struct json root;
	const char *why;
	struct str token;
	struct order order = {.pointer = STR_NONE, .message = STR_NONE};
	if (json_parse(worker->json, http_body(req), &root, &why) != OK) {
		http_reply_problem(req, PROBLEM_INVALID_JSON, str_from(why), STR_NONE);
		return;
	}
	if (!read_order(&order, worker, req, root)) {
		http_reply_problem(req, order.problem, order.message, order.pointer);
		return;
	}
	/* Whole seconds, as the token carries them. */
	order.claims.expires_us = (http_received_at_us(req) / US_PER_SECOND + order.ttl) * US_PER_SECOND;
	random_bytes(order.claims.id, sizeof order.claims.id);
	int rc = person_token_make(api_worker_live(worker)->keys, &order.claims, http_arena(req), &token);
	if (rc == OK)
		reply_link(worker, req, &order, token);
	else
		http_reply_problem(req, rc == ERR_TOO_LARGE ? PROBLEM_TOO_LARGE : PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

/* ── following one ───────────────────────────────────────────────────────── */

static bool wants_html(struct http_request *req)
{
	struct str accept = http_header(req, STR("Accept"));
	return accept.len && memmem(accept.ptr, accept.len, "text/html", 9);
}

/* The URL is a secret: it goes to nobody, and into no cache. */
static void guard(struct http_request *req)
{
	http_set_header(req, STR("Referrer-Policy"), STR("no-referrer"));
	http_set_header(req, STR("Cache-Control"), STR("no-store"));
	http_set_header(req, STR("X-Robots-Tag"), STR("noindex"));
	http_set_header(req, STR("X-Frame-Options"), STR("DENY"));
	http_set_header(req, STR("Content-Security-Policy"),
			STR("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"));
}

static void reply_page(struct http_request *req, int status, const char *text, const char *form)
{
	struct str page;
	int rc = arena_printf(http_arena(req), &page,
			      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
			      "<meta name=\"viewport\" content=\"width=device-width\"><title>Confirm</title>"
			      "<style>body{font:1.1em sans-serif;margin:4em auto;max-width:30em;padding:0 1em}"
			      "button{font:inherit;padding:.6em 2em}</style></head><body><p>%s</p>%s</body></html>",
			      text, form);
	if (rc == OK)
		http_reply(req, status, MIME_HTML, page);
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
}

static void refuse_link(struct http_request *req, enum problem problem, struct str message)
{
	const struct problem_info *info = problem_info(problem);
	if (!wants_html(req)) {
		http_reply_problem(req, problem, message, STR_NONE);
		return;
	}
	const char *text = problem == PROBLEM_TOKEN_USED      ? "This has been confirmed already."
			   : problem == PROBLEM_TOKEN_EXPIRED ? "This link has expired. Please ask for a new one."
			   : info->http_status >= 500         ? "Something went wrong. Please try again later."
							      : "This link is not valid.";
	reply_page(req, info->http_status, text, "");
}

/* The claims of the token in the path, and whom it speaks for; false: answered. */
static bool read_link(struct api_worker *worker, struct http_request *req, struct person_claims *claims,
		      struct ingest_person *person)
{
	guard(req);
	enum person_verdict verdict = person_token_read(api_worker_live(worker)->keys, http_path_param(req, 0),
							PERSON_CONSENT | PERSON_FORM | PERSON_PREFERENCES,
							http_received_at_us(req), http_arena(req), claims);
	enum problem problem =
	    verdict == PERSON_OK ? consents_person(worker, req, claims, person) : consents_token_problem(verdict);
	if (problem == PROBLEM_NONE) return true;
	refuse_link(req, problem, STR_NONE);
	return false;
}

static void show_button(struct http_request *req, const struct person_claims *claims)
{
	struct str text;
	int rc =
	    arena_printf(http_arena(req), &text, "Please confirm: %.*s%s%.*s%s", STR_ARG(claims->consent),
			 claims->channel.len ? " (" : "", STR_ARG(claims->channel), claims->channel.len ? ")" : "");
	reply_page(req, 200, rc == OK ? text.ptr : "Please confirm.",
		   "<form method=\"post\"><button type=\"submit\">Confirm</button></form>");
}

/* The token goes along in the fragment, which browsers send to no server. */
static void redirect(struct http_request *req, const struct person_claims *claims)
{
	struct str location = claims->target;
	int rc = OK;
	if (!memchr(location.ptr, '#', location.len))
		rc = arena_printf(http_arena(req), &location, "%.*s#cdpd_token=%.*s", STR_ARG(claims->target),
				  STR_ARG(http_path_param(req, 0)));
	if (rc != OK) {
		refuse_link(req, PROBLEM_INTERNAL, STR_NONE);
		return;
	}
	http_set_header(req, STR("Location"), location);
	http_reply(req, 302, STR_NONE, STR_NONE);
}

static void get_link(struct api_worker *worker, struct http_request *req)
{
	struct person_claims claims;
	struct ingest_person person;
	if (!read_link(worker, req, &claims, &person)) return;
	if (claims.consent.len)
		show_button(req, &claims);
	else
		redirect(req, &claims);
}

/* After the commit. */
static void on_confirmed(void *ctx, const struct ingest_result *result)
{
	struct http_request *req = ingest_http_request(ctx);
	struct person_claims claims;
	struct api_worker *worker = http_worker(req);
	if (!wants_html(req)) {
		ingest_http_on_done(ctx, result);
		return;
	}
	if (result->problem != PROBLEM_NONE) {
		refuse_link(req, result->problem, STR_NONE);
		return;
	}
	/* It was good a moment ago, and says where to go. */
	(void)person_token_read(api_worker_live(worker)->keys, http_path_param(req, 0), PERSON_CONSENT, 0,
				http_arena(req), &claims);
	if (claims.target.ptr && claims.target.len) {
		http_set_header(req, STR("Location"), claims.target);
		http_reply(req, 303, STR_NONE, STR_NONE);
		return;
	}
	reply_page(req, 200, "Thank you, it is confirmed.", "");
}

/* The act that the link confirms, as a body of POST /v1/consents; followed by what the parser may over-read. */
static int write_act(struct http_request *req, const struct person_claims *claims, struct str *out)
{
	struct buf buf;
	struct json_out json;
	buf_init(&buf, BODY_CAP);
	json_out_init(&json, &buf);
	jo_object(&json);
	jo_key(&json, STR("purpose"));
	jo_str(&json, claims->consent);
	if (claims->channel.len) {
		jo_key(&json, STR("channel"));
		jo_str(&json, claims->channel);
	}
	jo_key(&json, STR("state"));
	jo_str(&json, STR("granted"));
	jo_key(&json, STR("proof"));
	jo_object(&json);
	jo_key(&json, STR("how"));
	jo_str(&json, STR("double_opt_in"));
	jo_end_object(&json);
	jo_end_object(&json);
	char *copy = json.status == OK ? arena_zalloc(http_arena(req), buf.len + BUF_SLACK) : NULL;
	if (copy) {
		memcpy(copy, buf_ptr(&buf), buf.len);
		*out = str_of(copy, buf.len);
	}
	buf_fini(&buf);
	return copy ? OK : ERR_NOMEM;
}

static void post_link(struct api_worker *worker, struct http_request *req)
{
	struct person_claims claims;
	struct ingest_request request;
	struct ingest_person *person = arena_new(http_arena(req), struct ingest_person);
	if (!person) {
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
		return;
	}
	if (!read_link(worker, req, &claims, person)) return;
	if (claims.consent.len == 0) {
		refuse_link(req, PROBLEM_INVALID_TOKEN, STR("this link confirms nothing: GET leads to its target"));
		return;
	}
	ingest_http_fill(req, DIALECT_CONSENT, &request);
	request.person = person;
	if (write_act(req, &claims, &request.body) == OK)
		ingest_http_submit(req, &request, on_confirmed);
	else
		refuse_link(req, PROBLEM_INTERNAL, STR_NONE);
}

static const struct api_route ROUTES[] = {
    {HTTP_POST, "/v1/links", SCOPE_LINKS, false, false, BODY_CAP, post_links},
    {HTTP_GET, "/r/{token}", SCOPE_NONE, false, false, 0, get_link},
    {HTTP_POST, "/r/{token}", SCOPE_NONE, false, false, CONFIRM_CAP, post_link},
};

int links_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
