/* GET /v1/profiles/{ref} and its parts, on the io thread; POST /v1/profiles/lookup, on the read pool. */
#include "api/profile_json.h"

#include "api/answer.h"
#include "api/internal.h"
#include "api/profile_lookup.h"
#include "api/ref.h"
#include "base/clock.h"

#define LOOKUP_BODY_BYTES (64u << 10)

/* ── one person ──────────────────────────────────────────────────────────── */

static void refuse(struct http_request *req, int status)
{
	struct str message;
	enum problem problem = ref_problem(status, &message);
	if (problem == PROBLEM_INTERNAL)
		log_error(LOG_API, "a profile cannot be read, answered 500 (%s)", status_str(status));
	http_reply_problem(req, problem, message, STR_NONE);
}

static void reply(struct api_worker *worker, struct http_request *req, const struct json_out *out)
{
	if (out->status == OK)
		http_reply(req, 200, MIME_JSON, buf_str(&worker->out));
	else
		http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	buf_clear(&worker->out);
	buf_shrink(&worker->out, API_BUF_KEEP);
}

static void get_profile(struct api_worker *worker, struct http_request *req)
{
	struct profile profile;
	uint64_t applied = 0;
	char text[POSITION_TEXT_SIZE];
	int rc = profile_read(worker, http_path_param(req, 0), PROFILE_ALL, clock_wall_us(), &profile, &applied);
	struct str position = api_position_text(worker->api, applied, text);
	http_set_header(req, STR("X-Cdpd-Position"), position);
	if (rc != OK) {
		refuse(req, rc);
		return;
	}
	struct json_out out;
	buf_clear(&worker->out);
	json_out_init(&out, &worker->out);
	profile_write(&out, &profile, position);
	reply(worker, req, &out);
}

/* ── a part of one ───────────────────────────────────────────────────────── */

typedef void (*part_fn)(struct json_out *out, const struct profile *profile, const struct api *api);

static void part_traits(struct json_out *out, const struct profile *profile, const struct api *api)
{
	(void)api;
	profile_write_traits(out, profile);
}

/* When the oldest event came that each counts, and which are not through with what was there before them. */
static void write_since_time(struct json_out *out, const struct profile *profile)
{
	jo_key(out, STR("sinceTime"));
	jo_object(out);
	for (size_t i = 0; i < profile->feature_count; i++) {
		jo_key(out, profile->features[i].name);
		if (profile->features[i].since_t == INT64_MIN)
			jo_null(out);
		else
			jo_time(out, profile->features[i].since_t);
	}
	jo_end_object(out);
	jo_key(out, STR("counting"));
	jo_array(out);
	for (size_t i = 0; i < profile->feature_count; i++)
		if (!profile->features[i].is_complete) jo_str(out, profile->features[i].name);
	jo_end_array(out);
}

static void part_features(struct json_out *out, const struct profile *profile, const struct api *api)
{
	char text[POSITION_TEXT_SIZE];
	profile_write_features(out, profile);
	jo_key(out, STR("since"));
	jo_object(out);
	for (size_t i = 0; i < profile->feature_count; i++) {
		struct position since = {.epoch = journal_epoch(api->journal), .seq = profile->features[i].since_seq};
		jo_key(out, profile->features[i].name);
		jo_str(out, str_of(text, position_format(POSITION_JOURNAL, since, text)));
	}
	jo_end_object(out);
	write_since_time(out, profile);
}

static void part_identifiers(struct json_out *out, const struct profile *profile, const struct api *api)
{
	(void)api;
	profile_write_identifiers(out, profile);
}

static void part_segments(struct json_out *out, const struct profile *profile, const struct api *api)
{
	(void)api;
	profile_write_segments(out, profile);
}

static void get_part(struct api_worker *worker, struct http_request *req, unsigned parts, part_fn write)
{
	struct profile profile;
	uint64_t applied = 0;
	char text[POSITION_TEXT_SIZE];
	int64_t now = clock_wall_us();
	int rc = profile_read(worker, http_path_param(req, 0), parts, now, &profile, &applied);
	struct str position = api_position_text(worker->api, applied, text);
	http_set_header(req, STR("X-Cdpd-Position"), position);
	if (rc != OK) {
		refuse(req, rc);
		return;
	}
	struct json_out out;
	buf_clear(&worker->out);
	json_out_init(&out, &worker->out);
	jo_object(&out);
	profile_write_ids(&out, &profile);
	write(&out, &profile, worker->api);
	jo_key(&out, STR("now"));
	jo_time(&out, now);
	jo_key(&out, STR("position"));
	jo_str(&out, position);
	jo_end_object(&out);
	reply(worker, req, &out);
}

static void get_traits(struct api_worker *worker, struct http_request *req)
{
	get_part(worker, req, PROFILE_TRAITS | PROFILE_LOSERS, part_traits);
}

static void get_features(struct api_worker *worker, struct http_request *req)
{
	get_part(worker, req, PROFILE_FEATURES, part_features);
}

static void get_identifiers(struct api_worker *worker, struct http_request *req)
{
	get_part(worker, req, PROFILE_IDENTIFIERS, part_identifiers);
}

static void get_segments(struct api_worker *worker, struct http_request *req)
{
	get_part(worker, req, 0, part_segments);
}

/* ── many ────────────────────────────────────────────────────────────────── */

static int write_found(void *ctx, struct read_thread *thread, struct str ref, enum problem problem,
		       const struct profile *profile, uint64_t applied)
{
	(void)thread;
	struct answer *answer = ctx;
	struct json_out *out = &answer->json;
	char text[POSITION_TEXT_SIZE];
	jo_object(out);
	jo_key(out, STR("ref"));
	jo_str(out, ref);
	if (problem == PROBLEM_NONE) {
		jo_key(out, STR("profile"));
		profile_write(out, profile, api_position_text(answer->api, applied, text));
	} else {
		jo_key(out, STR("code"));
		jo_str(out, str_from(problem_info(problem)->code));
	}
	jo_end_object(out);
	return OK;
}

static int lookup(struct answer *answer, struct read_thread *thread)
{
	jo_object(&answer->json);
	jo_key(&answer->json, STR("profiles"));
	jo_array(&answer->json);
	int rc =
	    profile_lookup(thread, answer->params, &answer->job.is_cancelled, write_found, answer, &answer->applied);
	jo_end_array(&answer->json);
	jo_end_object(&answer->json);
	return rc;
}

static enum problem read_refs(struct answer *answer, struct json root, struct str *pointer)
{
	struct lookup *params = answer->params;
	struct json refs, ref;
	struct json_iter it;
	*pointer = STR("/refs");
	if (!json_get(root, STR("refs"), &refs) || json_type(refs) != JSON_ARRAY) return PROBLEM_SCHEMA_VIOLATION;
	size_t count = json_count(refs);
	if (count > LOOKUP_MAX) return PROBLEM_TOO_LARGE;
	params->refs = arena_array(&answer->arena, struct str, count + 1);
	if (!params->refs) return PROBLEM_INTERNAL;
	for (json_iter_start(refs, &it); json_next_element(&it, &ref);) {
		struct str text;
		if (!json_str(ref, &text)) {
			if (arena_printf(&answer->arena, pointer, "/refs/%zu", params->count) != OK)
				*pointer = STR("/refs");
			return PROBLEM_SCHEMA_VIOLATION;
		}
		if (arena_str(&answer->arena, text, &params->refs[params->count++]) != OK) return PROBLEM_INTERNAL;
	}
	return PROBLEM_NONE;
}

static void post_lookup(struct api_worker *worker, struct http_request *req)
{
	struct json root;
	const char *why;
	if (json_parse(worker->json, http_body(req), &root, &why) != OK) {
		http_reply_problem(req, PROBLEM_INVALID_JSON, str_from(why), STR_NONE);
		return;
	}
	struct answer *answer = answer_new(worker, req, lookup, sizeof(struct lookup));
	if (!answer) return;
	struct str pointer;
	enum problem problem = read_refs(answer, root, &pointer);
	if (problem == PROBLEM_NONE) {
		answer_submit(answer);
		return;
	}
	struct str message = problem == PROBLEM_TOO_LARGE ? STR("at most 100 references at once")
							  : STR("expected {\"refs\":[\"namespace:value\", …]}");
	http_reply_problem(req, problem, message, pointer);
	answer_drop(answer);
}

static const struct api_route ROUTES[] = {
    {HTTP_POST, "/v1/profiles/lookup", SCOPE_PROFILES_READ, false, true, LOOKUP_BODY_BYTES, post_lookup},
    {HTTP_GET, "/v1/profiles/{ref}", SCOPE_PROFILES_READ, false, true, 0, get_profile},
    {HTTP_GET, "/v1/profiles/{ref}/traits", SCOPE_PROFILES_READ, false, true, 0, get_traits},
    {HTTP_GET, "/v1/profiles/{ref}/features", SCOPE_PROFILES_READ, false, true, 0, get_features},
    {HTTP_GET, "/v1/profiles/{ref}/segments", SCOPE_PROFILES_READ, false, true, 0, get_segments},
    {HTTP_GET, "/v1/profiles/{ref}/identifiers", SCOPE_PROFILES_READ, false, true, 0, get_identifiers},
};

int profiles_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
