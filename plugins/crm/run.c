/* A run: one batch, worked on window by window, request by request. run_step is the only place where requests begin. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crm.h"

#define ANSWER_MAX  ((size_t)8 << 20)
#define TOO_LATE    "not all of the batch could be sent in time; the rest comes next"
#define FAILED_WAIT 2000 /* ms, after a request without an answer */

int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void count(struct crm *self, enum count what)
{
	self->host->count(self->instance, self->counter[what], 1);
}

/* ── what happens to a contact ───────────────────────────────────────────── */

static void set_id(char to[ID_MAX + 1], const char *id)
{
	size_t len = strlen(id);
	if (len > ID_MAX) len = 0; /* no CRM's */
	memcpy(to, id, len);
	to[len] = '\0';
}

/* The next of the profiles that has a contact, as item->profile and item->id. */
static bool next_known(struct crm *self, struct item *item)
{
	for (; json_array_size(item->profiles); json_array_remove(item->profiles, 0)) {
		const char *profile = json_string_value(json_array_get(item->profiles, 0));
		if (strlen(profile) > PROFILE_MAX) continue;
		memcpy(item->profile, profile, strlen(profile) + 1);
		idmap_get(self, item->profile, item->id);
		if (item->id[0]) return true;
	}
	item_ack(item);
	return false;
}

static void begin_mark(struct crm *self, struct item *item)
{
	if (next_known(self, item)) item->step = self->provider->first(self, item);
}

/* The contact is done: on to the lead, if there is one. */
static void go_on(struct crm *self, struct item *item)
{
	if (item->kind == KIND_MARK) {
		json_array_remove(item->profiles, 0);
		begin_mark(self, item);
		return;
	}
	if (!item->lead) {
		item_ack(item);
		return;
	}
	idmap_get_lead(self, item->profile, item->lead_key, item->lead_id);
	item->is_lead_doubtful = strcmp(item->lead_id, "?") == 0;
	if (item->is_lead_doubtful) item->lead_id[0] = '\0';
	item->step = item->is_lead_doubtful ? STEP_LEAD_FIND : STEP_LEAD_WRITE;
}

static void begin_put(struct crm *self, struct item *item)
{
	json_decref(item->old);
	item->old = NULL;
	item->find_at = item->page = 0;
	if (item->contact)
		item->step = self->provider->first(self, item);
	else
		go_on(self, item);
}

void crm_found(struct crm *self, struct item *item, const char *id)
{
	set_id(item->id, id);
	idmap_put(self, item->profile, item->id);
	begin_put(self, item);
}

void crm_not_found(struct crm *self, struct item *item)
{
	(void)self;
	item->step = STEP_WRITE;
}

void crm_written(struct crm *self, struct item *item, const char *id, bool is_new)
{
	set_id(item->id, id);
	idmap_put(self, item->profile, item->id);
	bool is_put = item->kind == KIND_PUT; /* a mark is gone over by the next writing, be it as before */
	uint64_t content = is_put ? sent_hash(item->contact, item->email, item->phone, item->id) : 0;
	sent_put(&self->sent, item->profile, content);
	count(self, is_new ? CREATED : UPDATED);
	go_on(self, item);
}

void crm_gone(struct crm *self, struct item *item)
{
	idmap_put(self, item->profile, "");
	sent_put(&self->sent, item->profile, 0);
	item->id[0] = '\0';
	if (++item->tries > TRIES_MAX)
		item_settle(item, CDPD_RETRY, 0, "%s: contacts vanish while they are written", self->provider->title);
	else if (item->kind == KIND_MARK)
		go_on(self, item); /* nobody is made for that */
	else
		begin_put(self, item);
}

void crm_lead_begins(struct crm *self, const struct item *item)
{
	idmap_put_lead(self, item->profile, item->lead_key, "?");
}

void crm_lead_written(struct crm *self, struct item *item, const char *id)
{
	set_id(item->lead_id, id);
	idmap_put_lead(self, item->profile, item->lead_key, item->lead_id);
	item_ack(item);
}

void crm_lead_gone(struct crm *self, struct item *item)
{
	idmap_put_lead(self, item->profile, item->lead_key, "");
	item->lead_id[0] = '\0';
	if (++item->tries > TRIES_MAX)
		item_settle(item, CDPD_RETRY, 0, "%s: leads vanish while they are written", self->provider->title);
	else
		item->step = STEP_LEAD_WRITE;
}

/* First who stays, then who goes: after a crash in between both profiles have the contact, and the record comes again. */
void crm_merged(struct crm *self, struct item *item, const char *id)
{
	idmap_put(self, item->other, id);
	idmap_put(self, item->profile, "");
	idmap_put_former(self, item->other, "");
	sent_put(&self->sent, item->other, 0); /* what the CRM made of the two is its own idea */
	count(self, MERGED);
	item_ack(item);
}

void crm_not_merged(struct crm *self, struct item *item, const char *why)
{
	char text[REASON_MAX + 1];
	text_clean(self, text, sizeof text, why);
	idmap_put(self, item->profile, "");
	item_settle(item, CDPD_DROP, 0, "%s: %.*s", self->provider->title, REASON_MAX - 20, text);
}

static void begin_erase(struct crm *self, struct item *item)
{
	while (next_known(self, item)) {
		if (!self->keeps_erased) {
			item->step = STEP_ERASE;
			return;
		}
		idmap_put_former(self, item->profile, "");
		idmap_put(self, item->profile, "");
		json_array_remove(item->profiles, 0);
	}
}

/* Who gave way to another contact still holds what she was before: that one goes, too. */
void crm_erased(struct crm *self, struct item *item)
{
	char former[ID_MAX + 1];
	count(self, ERASED);
	idmap_get_former(self, item->profile, former);
	if (former[0] && strcmp(former, item->id) != 0) {
		idmap_put(self, item->profile, former);
		set_id(item->id, former);
		return; /* its step is the same */
	}
	idmap_put_former(self, item->profile, "");
	idmap_put(self, item->profile, "");
	idmap_put_lead(self, item->profile, "", "");
	json_array_remove(item->profiles, 0);
	begin_erase(self, item);
}

static void begin_merge(struct crm *self, struct item *item)
{
	idmap_get(self, item->other, item->id);
	idmap_get(self, item->profile, item->other_id);
	if (item->id[0] && strcmp(item->id, item->other_id) == 0) idmap_get_former(self, item->other, item->other_id);
	item->step = STEP_MERGE;
	if (item->id[0] && item->other_id[0]) return;
	if (item->other_id[0]) idmap_put(self, item->other, item->other_id);
	idmap_put(self, item->profile, "");
	item_ack(item);
}

/* Profiles change more often than what is mapped of them. */
static bool is_unchanged(const struct crm *self, const struct item *item)
{
	if (!item->contact || !item->id[0]) return false;
	uint64_t content = sent_hash(item->contact, item->email, item->phone, item->id);
	return sent_is_same(&self->sent, item->profile, content);
}

static void begin(struct crm *self, struct item *item)
{
	switch (item->kind) {
	case KIND_PUT:
		idmap_get(self, item->profile, item->id);
		if (is_unchanged(self, item)) {
			count(self, UNCHANGED);
			go_on(self, item);
		} else {
			begin_put(self, item);
		}
		break;
	case KIND_MERGE: begin_merge(self, item); break;
	case KIND_ERASE: begin_erase(self, item); break;
	case KIND_MARK: begin_mark(self, item); break;
	case KIND_FORGET:
		idmap_put(self, item->profile, "");
		item_ack(item);
		break;
	}
}

void crm_split(struct call *call, const char *why)
{
	if (call->count == 1) {
		item_settle(call->items[0], CDPD_DROP, 0, "%s", why);
		return;
	}
	for (size_t i = 0; i < call->count; i++) call->items[i]->group_max = (call->count + 1) / 2;
}

static bool has_id(const struct call *call, const char *id)
{
	for (size_t i = 0; i < call->count; i++)
		if (id[0] && strcmp(call->items[i]->id, id) == 0) return true;
	return false;
}

void crm_collect(struct run *run, struct item *first, size_t most, bool mixes_known, struct call *call)
{
	call->step = first->step;
	call->count = 0;
	for (struct item *item = first; item < run->items + run->to && call->count < most; item++) {
		if (item->leader || item->step != first->step || item->kind != first->kind) continue;
		if (!mixes_known && !item->id[0] != !first->id[0]) continue;
		if (has_id(call, item->id)) continue;
		if (item->group_max < most) most = item->group_max;
		if (call->count < most) call->items[call->count++] = item;
	}
}

/* ── windows ─────────────────────────────────────────────────────────────── */

/* Nobody in a window shares anything with a neighbour but a request: the order of what touches the same contact is that of the records. */
static bool may_join(const struct run *run, const struct item *item)
{
	for (size_t i = run->from; i < run->to; i++) {
		const struct item *other = &run->items[i];
		if (item_has_same_key(item, other) || item_is_same_person(item, other)) return false;
	}
	return true;
}

/* When it becomes part of `same`: would that one then be looked for by what another one is looked for by? */
static bool may_fold(const struct run *run, const struct item *same, const struct item *item)
{
	for (size_t i = run->from; i < run->to; i++)
		if (&run->items[i] != same && !run->items[i].leader && item_has_same_key(item, &run->items[i]))
			return false;
	return true;
}

static struct item *same_person(struct run *run, const struct item *item)
{
	for (size_t i = run->from; i < run->to; i++)
		if (!run->items[i].leader && item_is_same_person(&run->items[i], item)) return &run->items[i];
	return NULL;
}

static bool is_open(const struct item *item)
{
	return item->step != STEP_DONE;
}

/* The next items that may be worked on together: records to write that follow each other, or one of another kind. */
static void open_window(struct crm *self, struct run *run)
{
	size_t persons = 0;
	run->from = run->to;
	for (; run->to < run->count; run->to++) {
		struct item *item = &run->items[run->to];
		if (!is_open(item)) continue;
		if (persons && (item->kind != KIND_PUT || run->items[run->from].kind != KIND_PUT)) break;
		struct item *same = persons ? same_person(run, item) : NULL;
		if (same && is_open(same) && may_fold(run, same, item) && item_fold(same, item)) continue;
		if (persons == self->provider->window || (persons && !may_join(run, item))) break;
		if (!persons) run->from = run->to;
		persons++;
	}
	for (size_t i = run->from; i < run->to; i++)
		if (is_open(&run->items[i]) && !run->items[i].leader) begin(self, &run->items[i]);
}

static struct item *first_open(struct run *run)
{
	for (size_t i = run->from; i < run->to; i++)
		if (is_open(&run->items[i]) && !run->items[i].leader) return &run->items[i];
	return NULL;
}

static struct item *first_at(struct run *run, enum step step)
{
	for (size_t i = run->from; i < run->to; i++)
		if (run->items[i].step == step && !run->items[i].leader) return &run->items[i];
	return NULL;
}

/* Step by step, so that many share a request; but who was looked for in vain is not kept waiting for all the others: should the
 * run end early, the looking would have been for nothing. */
static struct item *choose(const struct crm *self, struct run *run)
{
	size_t ready = 0;
	for (size_t i = run->from; i < run->to; i++) ready += run->items[i].step == STEP_WRITE && !run->items[i].leader;
	if (ready >= self->provider->ready_max) return first_at(run, STEP_WRITE);
	for (enum step step = STEP_FIND; step < STEP_DONE; step++) {
		struct item *item = first_at(run, step);
		if (item) return item;
	}
	return NULL;
}

/* ── the end of a run ────────────────────────────────────────────────────── */

static void tell(struct crm *self, struct run *run)
{
	for (size_t i = 0; i < run->count; i++) {
		const struct item *item = &run->items[i], *judged = item->leader ? item->leader : item;
		if (judged->step != STEP_DONE) continue; /* as CDPD_ALL says */
		(void)self->host->receipt_set(run->receipt, item->index, judged->verdict, judged->after_ms,
					      judged->reason[0] ? judged->reason : NULL);
	}
}

static void free_run(struct run *run)
{
	for (size_t i = 0; i < run->count; i++) item_fini(&run->items[i]);
	free(run->items);
	free(run);
}

static void drop_call(struct crm *self)
{
	json_decref(self->call.body);
	self->call.body = NULL;
	self->has_call = false;
}

/* Whoever is not settled comes again. */
static void finish(struct crm *self, int64_t after_ms, const char *reason)
{
	struct run *run = self->runs;
	drop_call(self);
	self->runs = run->next;
	if (!self->runs) self->runs_end = &self->runs;
	tell(self, run);
	(void)self->host->receipt_set(run->receipt, CDPD_ALL, CDPD_RETRY, after_ms, reason);
	(void)self->host->receipt_done(run->receipt, CDPD_RETRY);
	free_run(run);
}

/* ── requests ────────────────────────────────────────────────────────────── */

static void on_answer(void *ctx, const struct cdpd_http_response *response);

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static int send_call(struct crm *self)
{
	char url[CALL_PATH_MAX + 512], bearer[OAUTH2_TOKEN_MAX + 8];
	if (snprintf(url, sizeof url, "%s%s", self->url, self->call.path) >= (int)sizeof url) return CDPD_ERR_TOO_LARGE;
	char *text = self->call.body ? json_dumps(self->call.body, JSON_COMPACT) : NULL;
	if (self->call.body && !text) return CDPD_ERR_NOMEM;
	snprintf(bearer, sizeof bearer, "Bearer %s", self->bearer ? self->bearer : "");
	struct cdpd_http_header headers[3];
	size_t count = 0;
	headers[count++] = (struct cdpd_http_header){str("Accept"), str("application/json")};
	if (text) headers[count++] = (struct cdpd_http_header){str("Content-Type"), str("application/json")};
	if (self->bearer) headers[count++] = (struct cdpd_http_header){str("Authorization"), str(bearer)};
	const struct cdpd_http_request request = {
	    .size = sizeof request,
	    .timeout_ms = (uint32_t)self->timeout_ms,
	    .method = str(self->call.method),
	    .url = str(url),
	    .body = text ? str(text) : str(""),
	    .headers = headers,
	    .header_count = count,
	    .max_body = ANSWER_MAX,
	    .flags = CDPD_HTTP_ONCE,
	};
	int rc = self->host->http(self->instance, &request, on_answer, self);
	free(text);
	if (rc == CDPD_OK) self->host->count(self->instance, self->counter[REQUESTS], 1);
	return rc;
}

static void begin_call(struct crm *self)
{
	char reason[60];
	int rc = send_call(self);
	self->is_asking = rc == CDPD_OK;
	if (self->is_asking) return;
	snprintf(reason, sizeof reason, "the request could not be made (%d)", rc);
	finish(self, FAILED_WAIT, reason);
}

static void on_token(struct oauth2_wait *wait, const char *token, const char *why, int64_t retry_after_ms)
{
	struct crm *self = (struct crm *)(void *)((char *)wait - offsetof(struct crm, wait));
	char reason[REASON_MAX + 1], text[REASON_MAX];
	self->is_asking = false;
	self->is_told = true;
	free(self->bearer);
	self->bearer = token ? strdup(token) : NULL;
	if (!self->runs) return;
	if (self->bearer && now_ms() >= self->runs->until_ms) {
		finish(self, 0, TOO_LATE);
	} else if (self->bearer) {
		begin_call(self);
	} else {
		text_clean(self, text, sizeof text, why ? why : "out of memory");
		snprintf(reason, sizeof reason, "%s: %.150s", self->provider->title, text);
		finish(self, retry_after_ms, reason);
	}
	if (!self->is_in_ask) run_step(self);
}

static void on_timer(void *ctx)
{
	struct crm *self = ctx;
	self->has_timer = false;
	run_step(self);
}

/* Sends the call, sets a timer, or ends the run. */
static void ask(struct crm *self)
{
	int64_t held_ms = self->held_until_ms - now_ms();
	if (held_ms > 0) {
		finish(self, held_ms, self->held_reason);
		return;
	}
	if (now_ms() >= self->runs->until_ms) {
		finish(self, 0, TOO_LATE);
		return;
	}
	int64_t wait_ms = rate_take(&self->rate, now_ms());
	if (wait_ms > 0) {
		self->has_timer = self->host->timer(self->instance, wait_ms, on_timer, self) == CDPD_OK;
		if (!self->has_timer) finish(self, wait_ms, "no timer");
		return;
	}
	if (!self->oauth2) {
		begin_call(self);
		return;
	}
	self->wait.done = on_token;
	self->is_told = false;
	self->is_in_ask = true;
	oauth2_ask(self->oauth2, &self->wait);
	self->is_in_ask = false;
	if (!self->is_told) self->is_asking = true;
}

/* ── answers ─────────────────────────────────────────────────────────────── */

static void take_answer(struct crm *self, const struct answer *answer)
{
	struct delay delay = {.reason = ""};
	enum judgement judgement = self->provider->judge(self, answer, &delay);
	if (judgement == JUDGE_SIGN_IN && self->oauth2 && !self->did_sign_in) {
		self->did_sign_in = true;
		oauth2_refused(self->oauth2, self->bearer); /* the call goes again, with another */
		return;
	}
	if (judgement != JUDGE_TAKE) {
		if (answer->status == 429 || answer->status == 503) count(self, LIMITED);
		self->held_until_ms = now_ms() + delay.after_ms;
		memcpy(self->held_reason, delay.reason, sizeof delay.reason);
		finish(self, delay.after_ms, delay.reason);
		return;
	}
	struct call call = self->call;
	self->call.body = NULL;
	self->has_call = false;
	self->did_sign_in = false;
	self->provider->take(self, self->runs, &call, answer);
	json_decref(call.body);
}

static const char *error_text(int error)
{
	switch (error) {
	case CDPD_ERR_TIMEOUT: return "no answer in time";
	case CDPD_ERR_DENIED: return "its address is not a public one: allow it under `http`";
	case CDPD_ERR_TOO_LARGE: return "the answer is too large";
	default: return "no connection, or it broke off";
	}
}

/* Whatever of it is told to operators later: our secrets are not in it any more, not even in parts. */
static json_t *read_body(const struct crm *self, struct cdpd_str from)
{
	char *text = from.len ? strndup(from.ptr, from.len) : NULL;
	if (!text) return NULL;
	text_hide(self, text);
	json_t *body = json_loads(text, 0, NULL);
	free(text);
	return body;
}

static void on_answer(void *ctx, const struct cdpd_http_response *response)
{
	struct crm *self = ctx;
	char reason[REASON_MAX + 1];
	self->is_asking = false;
	if (!self->runs) return; /* destroyed meanwhile */
	if (response->error != CDPD_OK) {
		bool has_why = response->size > offsetof(struct cdpd_http_response, why) && response->why.len;
		struct cdpd_str why = has_why ? response->why : str(error_text(response->error));
		snprintf(reason, sizeof reason, "%s: %.*s", self->provider->title, (int)(why.len < 150 ? why.len : 150),
			 why.ptr);
		finish(self, 0, reason);
		run_step(self);
		return;
	}
	json_t *body = read_body(self, response->body);
	const struct answer answer = {response->status, response->retry_after_ms, body};
	take_answer(self, &answer);
	json_decref(body);
	run_step(self);
}

/* ── a step ──────────────────────────────────────────────────────────────── */

/* The next request of the first run. false: there is none, or it ended. */
static bool prepare(struct crm *self)
{
	struct run *run = self->runs;
	while (!first_open(run) && run->to < run->count) open_window(self, run);
	struct item *item = choose(self, run);
	if (!item) {
		finish(self, 0, NULL);
		return false;
	}
	memset(&self->call, 0, sizeof self->call);
	if (self->provider->make(self, run, item, &self->call)) {
		self->has_call = true;
		self->did_sign_in = false;
		return true;
	}
	drop_call(self);
	finish(self, 0, "out of memory");
	return false;
}

void run_step(struct crm *self)
{
	while (self->runs && !self->is_asking && !self->has_timer) {
		if (self->has_call || prepare(self)) ask(self);
	}
}
