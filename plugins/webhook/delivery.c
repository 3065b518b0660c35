/* One batch of the host's, as requests. Records of one person stand in one lane, and a lane has one request under way at most: so nothing of hers
 * overtakes. Lanes go on beside each other, as many as `concurrency` says.
 *
 * A request with several records that is refused is cut in halves until the refused record stands alone; one that fails for the third time
 * is cut too, for a single record may be what the endpoint fails on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "webhook.h"

#define FAILS_MAX    5 /* single records in a row: then it is not the records */
#define SUSPECT_FROM 3 /* attempts */

/* ── lanes ───────────────────────────────────────────────────────────────── */

static uint64_t hash_of(struct cdpd_str text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a: ids are random, nobody chooses them */
	for (size_t i = 0; i < text.len; i++) hash = (hash ^ (unsigned char)text.ptr[i]) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 29;
}

static bool is_same(struct cdpd_str a, struct cdpd_str b)
{
	return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* As many arrays as a batch of `count` records needs; the table of lanes is twice as long. */
static bool make_room(struct delivery *d, size_t count)
{
	if (count <= d->size) return true;
	struct cdpd_record *records = calloc(count, sizeof *records);
	enum state *states = calloc(count, sizeof *states);
	struct lane *lanes = calloc(count, sizeof *lanes);
	size_t *numbers = calloc(5 * count, sizeof *numbers);
	if (!records || !states || !lanes || !numbers) {
		free(records);
		free(states);
		free(lanes);
		free(numbers);
		return false;
	}
	free(d->records);
	free(d->states);
	free(d->lanes);
	free(d->order);
	d->records = records;
	d->states = states;
	d->lanes = lanes;
	d->order = numbers;
	d->lane_of = numbers + count;
	d->ready = numbers + 2 * count;
	d->first_of = numbers + 3 * count;
	d->size = count;
	return true;
}

/* One lane for each person. */
static void name_lanes(struct delivery *d)
{
	size_t slots = 2 * d->count;
	memset(d->first_of, 0, slots * sizeof *d->first_of);
	d->lane_count = 0;
	for (size_t i = 0; i < d->count; i++) {
		struct cdpd_str person = d->records[i].profile_id;
		size_t at = (size_t)(hash_of(person) % slots);
		while (d->first_of[at] && !is_same(d->records[d->first_of[at] - 1].profile_id, person))
			at = (at + 1) % slots;
		bool is_new = d->first_of[at] == 0;
		if (is_new) d->first_of[at] = i + 1;
		d->lane_of[i] = is_new ? d->lane_count++ : d->lane_of[d->first_of[at] - 1];
	}
}

static void share_lanes(struct delivery *d, size_t lanes)
{
	d->lane_count = lanes;
	for (size_t i = 0; i < d->count; i++)
		d->lane_of[i] = lanes <= 1 ? 0 : (size_t)(hash_of(d->records[i].profile_id) % lanes);
}

static void make_lanes(struct delivery *d)
{
	const struct webhook *self = d->owner;
	size_t lanes = (d->count + self->max_records - 1) / self->max_records, at = 0;
	if (self->max_records == 1 && self->concurrency > 1)
		name_lanes(d);
	else
		share_lanes(d, lanes < self->concurrency ? lanes : self->concurrency);
	memset(d->lanes, 0, d->lane_count * sizeof *d->lanes);
	for (size_t i = 0; i < d->count; i++) d->lanes[d->lane_of[i]].end++; /* how many, for now */
	for (size_t i = 0; i < d->lane_count; i++) {
		size_t len = d->lanes[i].end;
		d->lanes[i].next = d->lanes[i].end = at;
		at += len;
	}
	for (size_t i = 0; i < d->count; i++) d->order[d->lanes[d->lane_of[i]].end++] = i;
}

static enum state *state_at(struct delivery *d, size_t place)
{
	return &d->states[d->order[place]];
}

static void make_ready(struct delivery *d, size_t lane)
{
	struct lane *l = &d->lanes[lane];
	while (l->next < l->end && *state_at(d, l->next) != WAITING) l->next++;
	if (l->next >= l->suspect_end) l->suspect_end = 0;
	if (l->next == l->end) return;
	d->ready[(d->ready_at + d->ready_count++) % d->size] = lane;
}

static size_t take_ready(struct delivery *d)
{
	size_t lane = d->ready[d->ready_at];
	d->ready_at = (d->ready_at + 1) % d->size;
	d->ready_count--;
	return lane;
}

/* ── verdicts ────────────────────────────────────────────────────────────── */

/* An answer may repeat what we sent: our secrets are taken out before it is cut. */
static void tell(const struct delivery *d, const struct cdpd_http_response *response, char out[ANSWER_TEXT_SIZE])
{
	char *body = response->body.len ? strndup(response->body.ptr, response->body.len) : NULL;
	struct cdpd_http_response clean = {.size = sizeof clean, .why = {"", 0}};
	memcpy(&clean, response, response->size < sizeof clean ? response->size : sizeof clean);
	clean.size = sizeof clean;
	if (body) outgoing_hide(d->owner->outgoing, body);
	clean.body = writer_of(body ? body : "");
	answer_tell(&clean, out);
	outgoing_hide(d->owner->outgoing, out);
	free(body);
}

/* Nothing more is begun: what is not settled comes again. */
static void stop(struct delivery *d, int64_t retry_after_ms, const char *why)
{
	if (d->is_stopped && retry_after_ms <= d->retry_after_ms) return;
	d->is_stopped = true;
	d->retry_after_ms = retry_after_ms;
	snprintf(d->why, sizeof d->why, "%s", why);
}

/* The host may hand over the next batch as soon as it is told. */
static void end(struct delivery *d)
{
	struct webhook *self = d->owner;
	struct delivery **at = &self->deliveries;
	while (*at != d) at = &(*at)->next;
	*at = d->next;
	d->next = self->spares;
	self->spares = d;
}

static void finish(struct delivery *d)
{
	const struct cdpd_host *host = d->owner->host;
	struct cdpd_receipt *receipt = d->receipt;
	if (d->is_stopped) {
		for (size_t i = 0; i < d->count; i++)
			if (d->states[i] == TAKEN) (void)host->receipt_set(receipt, i, CDPD_ACK, 0, NULL);
		(void)host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, d->retry_after_ms, d->why);
	}
	end(d);
	(void)host->receipt_done(receipt, d->is_stopped ? CDPD_RETRY : CDPD_ACK); /* the others were named */
}

static void set_states(struct delivery *d, const struct request *request, enum state state)
{
	for (size_t i = 0; i < request->count; i++) *state_at(d, request->items[i]) = state;
}

/* Back to where they were: they are sent again in this batch, or are left to the next. */
static void take_back(struct delivery *d, const struct request *request)
{
	set_states(d, request, WAITING);
	d->lanes[request->lane].next = request->items[0];
}

static void on_taken(struct delivery *d, const struct request *request)
{
	struct webhook *self = d->owner;
	set_states(d, request, TAKEN);
	d->fails_in_row = 0;
	self->span += 1 + self->max_records / 16;
	if (self->span > self->max_records) self->span = self->max_records;
}

static void cut(struct delivery *d, const struct request *request, bool is_suspect)
{
	struct webhook *self = d->owner;
	self->host->count(self->instance, self->splits_metric, 1);
	take_back(d, request);
	if (is_suspect)
		d->lanes[request->lane].suspect_end = request->items[request->count - 1] + 1;
	else
		self->span = request->count / 2;
}

static void on_refused(struct delivery *d, const struct request *request, const struct cdpd_http_response *response)
{
	char why[ANSWER_TEXT_SIZE];
	if (request->count > 1) {
		cut(d, request, response->status != 413); /* too much of it says nothing of a record */
		return;
	}
	tell(d, response, why);
	set_states(d, request, REFUSED);
	d->lanes[request->lane].suspect_end = 0;
	(void)d->owner->host->receipt_set(d->receipt, d->order[request->items[0]], CDPD_DROP, 0, why);
}

/* What comes behind a record that must wait, of the same person, waits with it. */
static void hold_person(struct delivery *d, size_t place)
{
	const struct lane *lane = &d->lanes[d->lane_of[d->order[place]]];
	struct cdpd_str person = d->records[d->order[place]].profile_id;
	for (size_t i = place + 1; i < lane->end; i++) {
		if (*state_at(d, i) != WAITING || !is_same(d->records[d->order[i]].profile_id, person)) continue;
		*state_at(d, i) = LATER;
		(void)d->owner->host->receipt_set(d->receipt, d->order[i], CDPD_RETRY, 0,
						  "an earlier record of the same person waits");
	}
}

static void on_later(struct delivery *d, const struct request *request, const struct cdpd_http_response *response)
{
	char why[ANSWER_TEXT_SIZE];
	int64_t retry_after_ms = answer_retry_after_ms(response);
	bool is_alone = request->count == 1;
	if (!is_alone && request->attempt >= SUSPECT_FROM) {
		cut(d, request, false);
		return;
	}
	tell(d, response, why);
	if (!is_alone || ++d->fails_in_row >= FAILS_MAX) {
		take_back(d, request);
		stop(d, retry_after_ms, why);
		return;
	}
	set_states(d, request, LATER);
	d->lanes[request->lane].suspect_end = 0;
	(void)d->owner->host->receipt_set(d->receipt, d->order[request->items[0]], CDPD_RETRY, retry_after_ms, why);
	hold_person(d, request->items[0]);
}

/* It says nothing of the records: batches beside this one stop, too. */
static void on_failed(struct delivery *d, const struct request *request, const struct cdpd_http_response *response)
{
	char why[ANSWER_TEXT_SIZE];
	tell(d, response, why);
	take_back(d, request);
	for (struct delivery *each = d->owner->deliveries; each; each = each->next)
		stop(each, answer_retry_after_ms(response), why);
}

/* A connection that breaks again and again may do so over a record. */
static enum answer kind_of(const struct request *request, const struct cdpd_http_response *response)
{
	enum answer kind = answer_kind(&request->delivery->owner->rules, response);
	bool is_broken = kind == ANSWER_DOWN && response->error == CDPD_ERR_IO;
	return is_broken && request->attempt >= SUSPECT_FROM ? ANSWER_LATER : kind;
}

/* ── sending ─────────────────────────────────────────────────────────────── */

static size_t how_many(const struct webhook *self, const struct lane *lane)
{
	size_t most = self->span;
	if (lane->suspect_end > lane->next) {
		size_t half = (lane->suspect_end - lane->next + 1) / 2;
		if (half < most) most = half;
	}
	return most ? most : 1;
}

static void pick(struct delivery *d, size_t lane_index, struct request *request)
{
	const struct webhook *self = d->owner;
	struct lane *lane = &d->lanes[lane_index];
	size_t most = how_many(self, lane), bytes = 0;
	request->lane = lane_index;
	request->count = 0;
	request->attempt = 0;
	for (; lane->next < lane->end && request->count < most; lane->next++) {
		const struct cdpd_record *record = &d->records[d->order[lane->next]];
		if (*state_at(d, lane->next) != WAITING) continue;
		bytes += record->json.len;
		if (request->count && bytes > self->max_bytes) break;
		*state_at(d, lane->next) = SENT;
		request->items[request->count++] = lane->next;
		if (record->attempt > request->attempt) request->attempt = record->attempt;
	}
}

static struct request *free_request(struct delivery *d)
{
	size_t i = 0;
	while (d->requests[i].is_used) i++; /* fewer are under way than there are */
	return &d->requests[i];
}

static void send(struct delivery *d, size_t lane)
{
	struct request *request = free_request(d);
	pick(d, lane, request);
	request->is_used = true;
	d->under_way++;
	if (request_send(request)) return;
	request->is_used = false;
	d->under_way--;
	take_back(d, request);
	stop(d, 0, "out of memory");
}

static bool has_time(const struct delivery *d)
{
	return outgoing_now_ms() + d->owner->timeout_ms <= d->until_ms;
}

static void pump(struct delivery *d)
{
	if (d->is_pumping) return; /* an answer that came before its request was sent off */
	d->is_pumping = true;
	while (!d->is_stopped && d->ready_count && d->under_way < d->owner->concurrency) {
		if (has_time(d))
			send(d, take_ready(d));
		else
			stop(d, 0, "the endpoint is too slow for a whole batch, the rest comes again");
	}
	d->is_pumping = false;
	if (d->under_way == 0) finish(d);
}

void delivery_answered(struct request *request, const struct cdpd_http_response *response)
{
	struct delivery *d = request->delivery;
	request->is_used = false;
	d->under_way--;
	switch (kind_of(request, response)) {
	case ANSWER_TAKEN: on_taken(d, request); break;
	case ANSWER_REFUSED: on_refused(d, request, response); break;
	case ANSWER_LATER: on_later(d, request, response); break;
	case ANSWER_DOWN:
	case ANSWER_WRONG: on_failed(d, request, response); break;
	}
	make_ready(d, request->lane);
	pump(d);
}

/* ── being ───────────────────────────────────────────────────────────────── */

static void delivery_free(struct delivery *d)
{
	for (size_t i = 0; d->requests && i < d->owner->concurrency; i++) request_free(&d->requests[i]);
	free(d->requests);
	free(d->records);
	free(d->states);
	free(d->lanes);
	free(d->order);
	free(d);
}

void delivery_free_all(struct webhook *self)
{
	while (self->spares) {
		struct delivery *d = self->spares;
		self->spares = d->next;
		delivery_free(d);
	}
}

static struct delivery *delivery_new(struct webhook *self)
{
	struct delivery *d = calloc(1, sizeof *d);
	if (!d) return NULL;
	d->owner = self;
	d->requests = calloc(self->concurrency, sizeof *d->requests);
	bool has_all = d->requests != NULL;
	for (size_t i = 0; has_all && i < self->concurrency; i++) {
		d->requests[i].delivery = d;
		d->requests[i].items = calloc(self->max_records, sizeof *d->requests[i].items);
		has_all = d->requests[i].items != NULL;
	}
	if (has_all) return d;
	delivery_free(d);
	return NULL;
}

/* ── from outside ────────────────────────────────────────────────────────── */

static bool take_records(struct delivery *d, const struct cdpd_batch *batch)
{
	const struct cdpd_host *host = d->owner->host;
	size_t count = host->batch_count(batch);
	if (!make_room(d, count)) return false;
	for (d->count = 0; d->count < count; d->count++) {
		struct cdpd_record *record = &d->records[d->count];
		record->size = sizeof *record;
		if (host->batch_record(batch, d->count, record) != CDPD_OK) return false;
		d->states[d->count] = WAITING;
	}
	return true;
}

bool delivery_begin(struct webhook *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	if (!self->spares) self->spares = delivery_new(self);
	struct delivery *d = self->spares;
	if (!d || !take_records(d, batch)) return false;
	self->spares = d->next;
	d->next = self->deliveries;
	self->deliveries = d;
	d->receipt = receipt;
	d->ready_at = d->ready_count = d->under_way = 0;
	d->fails_in_row = 0;
	d->is_stopped = false;
	d->retry_after_ms = 0;
	d->until_ms = outgoing_now_ms() + SPAN_MS;
	make_lanes(d);
	for (size_t i = 0; i < d->lane_count; i++) make_ready(d, i);
	pump(d);
	return true;
}

bool delivery_is_overdue(const struct webhook *self)
{
	int64_t now = outgoing_now_ms();
	for (const struct delivery *d = self->deliveries; d; d = d->next)
		if (now > d->until_ms) return true;
	return false;
}
