/* /v1/admin/forms: forms made over the API. Definitions are compiled, written and swapped in on the read pool, under one lock; those of the
 * configuration are shown and never changed. */
#include "api/answer.h"
#include "api/form_store.h"
#include "api/forms.h"
#include "api/params.h"
#include "base/clock.h"
#include "config/names.h"

#define VERSION_MAX 1000000 /* as in YAML */

struct form_query {
	struct str name, actor, body; /* body: followed by BUF_SLACK readable bytes */
	bool is_dry_run;
	uint32_t version; /* of GET; 0: the newest */
};

/* A change on its way, from lock to unlock. */
struct form_change {
	struct answer *answer;
	struct read_thread *thread;
	struct api *api;
	const struct form_query *query;
	struct form_set *set;             /* as it is */
	const struct stored_form *before; /* of that name, deleted ones too; or NULL */
	const struct config *config;
	int64_t now;
};

/* ── saying no ───────────────────────────────────────────────────────────── */

/* The usual body of a problem, with all faults behind it. */
static int refuse_faults(struct answer *answer, const struct form_fault *faults, size_t count)
{
	struct json_out *out = &answer->json;
	int rc = problem_write_json(&answer->out, PROBLEM_SCHEMA_VIOLATION, faults[0].message, faults[0].pointer);
	if (rc != OK) return rc;
	buf_cut(&answer->out, answer->out.len - 1); /* its closing brace */
	answer->status = problem_info(PROBLEM_SCHEMA_VIOLATION)->http_status;
	out->need_comma = true;
	jo_key(out, STR("errors"));
	jo_array(out);
	for (size_t i = 0; i < count; i++) {
		jo_object(out);
		jo_key(out, STR("pointer"));
		jo_str(out, faults[i].pointer);
		jo_key(out, STR("message"));
		jo_str(out, faults[i].message);
		jo_end_object(out);
	}
	jo_end_array(out);
	jo_end_object(out);
	return OK;
}

static int refuse_at(struct form_change *c, struct str pointer, const char *message)
{
	const struct form_fault fault = {.pointer = pointer, .message = str_from(message)};
	return refuse_faults(c->answer, &fault, 1);
}

static int fail_write(struct answer *answer, int rc)
{
	if (rc == ERR_FULL || rc == ERR_IO)
		return answer_fail(answer, PROBLEM_NOT_DURABLE, STR("the form could not be written"));
	return rc;
}

static int fail_missing(struct answer *answer)
{
	return answer_fail(answer, PROBLEM_NOT_FOUND, STR("there is no form of that name"));
}

/* ── showing ─────────────────────────────────────────────────────────────── */

static void write_time(struct json_out *out, struct str key, int64_t us)
{
	jo_key(out, key);
	jo_time(out, us);
}

static void write_about(struct json_out *out, const struct conf_form *form, const struct form_about *about)
{
	jo_key(out, STR("name"));
	jo_str(out, form->name);
	jo_key(out, STR("version"));
	jo_uint(out, form->version);
	jo_key(out, STR("kind"));
	jo_str(out, str_from(form_kind_name(form->kind)));
	jo_key(out, STR("origin"));
	jo_str(out, about ? STR("store") : STR("config"));
	jo_key(out, STR("readOnly"));
	jo_bool(out, !about);
	if (!about) {
		jo_key(out, STR("file"));
		jo_str(out, form->file);
		jo_key(out, STR("line"));
		jo_int(out, form->line);
		return;
	}
	write_time(out, STR("createdAt"), about->created_at);
	write_time(out, STR("changedAt"), about->changed_at);
	jo_key(out, STR("changedBy"));
	jo_str(out, about->changed_by);
}

static void write_listed(struct json_out *out, const struct conf_form *form, const struct form_about *about)
{
	jo_object(out);
	write_about(out, form, about);
	jo_key(out, STR("questions"));
	jo_uint(out, form->question_count);
	jo_end_object(out);
}

static int list(struct answer *answer, struct read_thread *thread)
{
	struct json_out *out = &answer->json;
	const struct config *config = api_config(answer->api);
	struct form_set *set = api_forms(answer->api);
	(void)thread;
	jo_object(out);
	jo_key(out, STR("forms"));
	jo_array(out);
	for (size_t i = 0; i < config->form_count; i++) write_listed(out, &config->forms[i], NULL);
	for (size_t i = 0; i < set->count; i++)
		if (!set->items[i]->about.is_deleted) write_listed(out, &set->items[i]->form, &set->items[i]->about);
	jo_end_array(out);
	jo_end_object(out);
	form_set_unref(set);
	config_unref(config);
	return OK;
}

static void write_shown(struct json_out *out, const struct stored_form *stored, const uint32_t *versions, size_t count)
{
	write_about(out, &stored->form, &stored->about);
	jo_key(out, STR("versions"));
	jo_array(out);
	for (size_t i = 0; i < count; i++) jo_uint(out, versions[i]);
	jo_end_array(out);
	jo_key(out, STR("definition"));
	jo_raw(out, stored->definition);
	jo_key(out, STR("form"));
	jo_raw(out, stored->form.json);
}

static int show_stored(struct answer *answer, struct read_thread *thread, const struct config *config,
		       const struct stored_form *stored)
{
	uint32_t *versions;
	size_t count;
	int rc = form_store_versions(config->store_path, stored->about.name, &thread->scratch, &versions, &count);
	if (rc != OK) return rc;
	jo_object(&answer->json);
	write_shown(&answer->json, stored, versions, count);
	jo_end_object(&answer->json);
	return OK;
}

/* One version as it was put, also of a form that is deleted by now: what an old answer answered. */
static int show_version(struct answer *answer, struct read_thread *thread, const struct config *config)
{
	const struct form_query *query = answer->params;
	struct json_out *out = &answer->json;
	struct json root, value;
	int64_t changed_at = 0;
	bool is_deleted = false;
	const char *why;
	int rc = form_store_read(config->store_path, query->name, query->version, &thread->text);
	if (rc == ERR_NOT_FOUND)
		return answer_fail(answer, PROBLEM_NOT_FOUND, STR("that version of the form is not kept"));
	if (rc == OK) rc = json_parse(thread->json, buf_str(&thread->text), &root, &why);
	if (rc != OK) return rc == ERR_INVALID ? ERR_CORRUPT : rc;
	jo_object(out);
	jo_key(out, STR("name"));
	jo_str(out, query->name);
	jo_key(out, STR("version"));
	jo_uint(out, query->version);
	if (json_get(root, STR("changedAt"), &value) && json_int(value, &changed_at))
		write_time(out, STR("changedAt"), changed_at);
	if (json_get(root, STR("deleted"), &value)) (void)json_bool(value, &is_deleted);
	jo_key(out, STR("deleted"));
	jo_bool(out, is_deleted);
	if (json_get(root, STR("definition"), &value)) {
		jo_key(out, STR("definition"));
		jo_raw(out, STR_NONE);
		if (out->status == OK) out->status = json_write(&answer->out, value);
	}
	jo_end_object(out);
	return OK;
}

static int show_newest(struct answer *answer, struct read_thread *thread, const struct config *config)
{
	const struct form_query *query = answer->params;
	const struct conf_form *form = config_form(config, query->name);
	if (form) {
		jo_object(&answer->json);
		write_about(&answer->json, form, NULL);
		jo_key(&answer->json, STR("form"));
		jo_raw(&answer->json, form->json);
		jo_end_object(&answer->json);
		return OK;
	}
	struct form_set *set = api_forms(answer->api);
	const struct stored_form *stored = form_set_form(set, query->name);
	int rc = stored ? show_stored(answer, thread, config, stored) : fail_missing(answer);
	form_set_unref(set);
	return rc;
}

static int show(struct answer *answer, struct read_thread *thread)
{
	const struct form_query *query = answer->params;
	const struct config *config = api_config(answer->api);
	int rc = query->version ? show_version(answer, thread, config) : show_newest(answer, thread, config);
	config_unref(config);
	return rc;
}

/* ── putting ─────────────────────────────────────────────────────────────── */

static int read_version(struct form_change *c, struct json definition, uint32_t *version, bool *is_refused)
{
	struct json value;
	int64_t given;
	uint32_t last = c->before ? c->before->about.version : 0;
	*is_refused = true;
	if (!json_get(definition, STR("version"), &value) || json_type(value) == JSON_NULL) {
		*is_refused = last >= VERSION_MAX;
		*version = last + 1;
		return *is_refused ? refuse_at(c, STR("/version"), "there are no versions left") : OK;
	}
	if (!json_int(value, &given) || given < 1 || given > VERSION_MAX)
		return refuse_at(c, STR("/version"), "must be a number from 1 to 1000000");
	*is_refused = false;
	*version = (uint32_t)given;
	return OK;
}

static int write_put(struct form_change *c, const struct stored_form *form, bool is_changed)
{
	struct json_out *out = &c->answer->json;
	bool is_new = !c->before || c->before->about.is_deleted;
	c->answer->status = is_new && !c->query->is_dry_run ? 201 : 200;
	jo_object(out);
	jo_key(out, STR("name"));
	jo_str(out, form->about.name);
	jo_key(out, STR("version"));
	jo_uint(out, form->about.version);
	jo_key(out, STR("created"));
	jo_bool(out, is_new);
	jo_key(out, STR("changed"));
	jo_bool(out, is_changed);
	jo_key(out, STR("dryRun"));
	jo_bool(out, c->query->is_dry_run);
	jo_key(out, STR("form"));
	jo_raw(out, form->form.json);
	jo_end_object(out);
	return OK;
}

/* The set comes before the file: what is on disk must be able to run. */
static int keep(struct form_change *c, struct stored_form *form)
{
	struct form_set *next;
	int rc = form_set_with(c->set, form, &next);
	if (rc == ERR_FULL)
		return answer_fail(c->answer, PROBLEM_TOO_LARGE, STR("there are too many forms in the store"));
	if (rc != OK) return rc;
	rc = form_store_write(c->config->store_path, form);
	if (rc == OK) rc = api_set_forms(c->api, next);
	form_set_unref(next);
	if (rc != OK) return fail_write(c->answer, rc);
	log_info(LOG_API, "form '%.*s' %s as version %u by %.*s", STR_ARG(form->about.name),
		 form->about.is_deleted ? "deleted" : "put", (unsigned)form->about.version,
		 STR_ARG(form->about.changed_by));
	return OK;
}

static int put_compiled(struct form_change *c, struct stored_form *form, bool is_version_given)
{
	const struct stored_form *before = c->before;
	bool is_known = before && !before->about.is_deleted;
	if (is_known && stored_form_equal(before, form) &&
	    (!is_version_given || form->about.version == before->about.version))
		return write_put(c, before, false);
	if (before && form->about.version <= before->about.version)
		return refuse_at(c, STR("/version"), "must be above the form's last version, or left out");
	int rc = c->query->is_dry_run ? OK : keep(c, form);
	if (rc != OK || c->answer->is_failed) return rc;
	return write_put(c, form, true);
}

static int put_form(struct form_change *c, struct json definition)
{
	struct form_about about = {.name = c->query->name, .changed_at = c->now, .changed_by = c->query->actor};
	struct form_fault *faults;
	struct stored_form *form;
	struct json value;
	size_t count;
	bool is_refused;
	int rc = read_version(c, definition, &about.version, &is_refused);
	if (rc != OK || is_refused) return rc;
	bool is_alive = c->before && !c->before->about.is_deleted;
	about.created_at = is_alive ? c->before->about.created_at : c->now;
	rc = stored_form_make(c->config, &about, definition, &c->thread->scratch, &form, &faults, &count);
	if (rc == ERR_INVALID) return refuse_faults(c->answer, faults, count);
	if (rc != OK) return rc;
	bool is_version_given = json_get(definition, STR("version"), &value) && json_type(value) != JSON_NULL;
	rc = put_compiled(c, form, is_version_given);
	stored_form_unref(form);
	return rc;
}

static int parse_and_put(struct form_change *c)
{
	struct json definition;
	const char *why = "";
	if (json_parse(c->thread->json, c->query->body, &definition, &why) != OK)
		return answer_fail(c->answer, PROBLEM_INVALID_JSON, str_from(why));
	if (json_type(definition) != JSON_OBJECT) return refuse_at(c, STR_NONE, "must be an object");
	return put_form(c, definition);
}

static int delete_form(struct form_change *c)
{
	struct stored_form *form;
	if (!c->before || c->before->about.is_deleted) return fail_missing(c->answer);
	struct form_about about = {.name = c->query->name,
				   .version = c->before->about.version + 1,
				   .is_deleted = true,
				   .created_at = c->before->about.created_at,
				   .changed_at = c->now,
				   .changed_by = c->query->actor};
	int rc = stored_form_make_deleted(&about, &form);
	if (rc != OK) return rc;
	if (!c->query->is_dry_run) rc = keep(c, form);
	if (rc == OK && !c->answer->is_failed) {
		jo_object(&c->answer->json);
		jo_key(&c->answer->json, STR("name"));
		jo_str(&c->answer->json, about.name);
		jo_key(&c->answer->json, STR("deleted"));
		jo_bool(&c->answer->json, !c->query->is_dry_run);
		jo_key(&c->answer->json, STR("dryRun"));
		jo_bool(&c->answer->json, c->query->is_dry_run);
		jo_end_object(&c->answer->json);
	}
	stored_form_unref(form);
	return rc;
}

/* ── the lock ────────────────────────────────────────────────────────────── */

static int run_change(struct answer *answer, struct read_thread *thread, int (*step)(struct form_change *c))
{
	struct form_change c = {
	    .answer = answer, .thread = thread, .api = answer->api, .query = answer->params, .now = clock_wall_us()};
	pthread_mutex_lock(&c.api->forms_lock);
	c.config = api_config(c.api);
	c.set = api_forms(c.api);
	c.before = form_set_find(c.set, c.query->name);
	int rc =
	    config_form(c.config, c.query->name) ? answer_fail(answer, PROBLEM_FORM_IN_CONFIG, STR_NONE) : step(&c);
	form_set_unref(c.set);
	config_unref(c.config);
	pthread_mutex_unlock(&c.api->forms_lock);
	return rc;
}

static int put(struct answer *answer, struct read_thread *thread)
{
	return run_change(answer, thread, parse_and_put);
}

static int drop(struct answer *answer, struct read_thread *thread)
{
	return run_change(answer, thread, delete_form);
}

/* ── requests ────────────────────────────────────────────────────────────── */

static bool read_dry_run(struct http_request *req, bool *is_dry_run)
{
	struct str text;
	*is_dry_run = false;
	if (!http_query_get(req, STR("dry_run"), &text) || str_eq(text, STR("0")) || str_eq(text, STR("false")))
		return true;
	*is_dry_run = true;
	if (str_eq(text, STR("1")) || str_eq(text, STR("true"))) return true;
	param_refuse(req, STR("dry_run"), "1 or 0");
	return false;
}

static bool read_wanted_version(struct http_request *req, uint32_t *version)
{
	struct str text;
	uint64_t value;
	*version = 0;
	if (!http_query_get(req, STR("version"), &text)) return true;
	if (str_to_u64(text, &value) == OK && value >= 1 && value <= UINT32_MAX) {
		*version = (uint32_t)value;
		return true;
	}
	param_refuse(req, STR("version"), "a number from 1 on");
	return false;
}

static bool read_name(struct http_request *req, struct answer *answer, struct form_query *query)
{
	struct str name = http_path_param(req, 0);
	const char *must = name_check_id(name);
	if (!must && str_eq(name, STR("preferences")))
		must = "names the preference centre, which the configuration defines";
	if (!must) return arena_str(&answer->arena, name, &query->name) == OK;
	http_reply_problem(req, PROBLEM_INVALID_PARAMETER, str_from(must), STR_NONE);
	return false;
}

/* The parser reads a little beyond the end. */
static int copy_body(struct http_request *req, struct answer *answer, struct str *out)
{
	struct str body = http_body(req);
	char *copy = arena_zalloc(&answer->arena, body.len + BUF_SLACK);
	if (!copy) return ERR_NOMEM;
	if (body.len) memcpy(copy, body.ptr, body.len);
	*out = str_of(copy, body.len);
	return OK;
}

static void submit(struct api_worker *worker, struct http_request *req,
		   int (*work)(struct answer *answer, struct read_thread *thread))
{
	struct answer *answer = answer_new(worker, req, work, sizeof(struct form_query));
	if (!answer) return;
	struct form_query *query = answer->params;
	if (!read_name(req, answer, query) || !read_dry_run(req, &query->is_dry_run) ||
	    !read_wanted_version(req, &query->version)) {
		answer_drop(answer);
		return;
	}
	int rc = arena_str(&answer->arena, auth_actor(worker, req), &query->actor);
	if (rc == OK) rc = copy_body(req, answer, &query->body);
	if (rc == OK) {
		answer_submit(answer);
		return;
	}
	http_reply_problem(req, PROBLEM_INTERNAL, STR_NONE, STR_NONE);
	answer_drop(answer);
}

static void get_forms(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, list, 0);
	if (answer) answer_submit(answer);
}

static void get_form(struct api_worker *worker, struct http_request *req)
{
	submit(worker, req, show);
}

static void put_request(struct api_worker *worker, struct http_request *req)
{
	submit(worker, req, put);
}

static void delete_request(struct api_worker *worker, struct http_request *req)
{
	submit(worker, req, drop);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/admin/forms", SCOPE_ADMIN, true, false, 0, get_forms},
    {HTTP_GET, "/v1/admin/forms/{name}", SCOPE_ADMIN, true, false, 0, get_form},
    {HTTP_PUT, "/v1/admin/forms/{name}", SCOPE_ADMIN, true, false, STORED_FORM_BYTES, put_request},
    {HTTP_DELETE, "/v1/admin/forms/{name}", SCOPE_ADMIN, true, false, 4096, delete_request},
};

int admin_forms_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
