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
		d->lane_of[i] = lanes == 1 ? 0 : (size_t)(hash_of(d->records[i].profile_id) % lanes);
}

static void make_lanes(struct webhook *self)
{
	struct delivery *d = &self->delivery;
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

/* Nothing more is begun: what is not settled comes again. */
static void stop(struct delivery *d, int64_t retry_after_ms, const char *why)
{
	if (d->is_stopped && retry_after_ms <= d->retry_after_ms) return;
	d->is_stopped = true;
	d->retry_after_ms = retry_after_ms;
	snprintf(d->why, sizeof d->why, "%s", why);
}

static void finish(struct webhook *self)
{
	struct delivery *d = &self->delivery;
	struct cdpd_receipt *receipt = d->receipt;
	d->receipt = NULL; /* the host may hand over the next batch from inside receipt_done */
	if (!d->is_stopped) {
		(void)self->host->receipt_done(receipt, CDPD_ACK); /* the others were named */
		return;
	}
	for (size_t i = 0; i < d->count; i++)
		if (d->states[i] == TAKEN) (void)self->host->receipt_set(receipt, i, CDPD_ACK, 0, NULL);
	(void)self->host->receipt_set(receipt, CDPD_ALL, CDPD_RETRY, d->retry_after_ms, d->why);
	(void)self->host->receipt_done(receipt, CDPD_RETRY);
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

static void on_taken(struct webhook *self, const struct request *request)
{
	struct delivery *d = &self->delivery;
	set_states(d, request, TAKEN);
	d->fails_in_row = 0;
	self->span += 1 + self->max_records / 16;
	if (self->span > self->max_records) self->span = self->max_records;
}

static void cut(struct webhook *self, const struct request *request, bool is_suspect)
{
	struct delivery *d = &self->delivery;
	self->host->count(self->instance, self->splits_metric, 1);
	take_back(d, request);
	if (is_suspect)
		d->lanes[request->lane].suspect_end = request->items[request->count - 1] + 1;
	else
		self->span = request->count / 2;
}

static void on_refused(struct webhook *self, const struct request *request, const struct cdpd_http_response *response)
{
	struct delivery *d = &self->delivery;
	char why[ANSWER_TEXT_SIZE];
	if (request->count > 1) {
		cut(self, request, response->status != 413); /* too much of it says nothing of a record */
		return;
	}
	answer_tell(response, why);
	set_states(d, request, REFUSED);
	d->lanes[request->lane].suspect_end = 0;
	(void)self->host->receipt_set(d->receipt, d->order[request->items[0]], CDPD_DROP, 0, why);
}

/* What comes behind a record that must wait, of the same person, waits with it. */
static void hold_person(struct webhook *self, size_t place)
{
	struct delivery *d = &self->delivery;
	const struct lane *lane = &d->lanes[d->lane_of[d->order[place]]];
	struct cdpd_str person = d->records[d->order[place]].profile_id;
	for (size_t i = place + 1; i < lane->end; i++) {
		if (*state_at(d, i) != WAITING || !is_same(d->records[d->order[i]].profile_id, person)) continue;
		*state_at(d, i) = LATER;
		(void)self->host->receipt_set(d->receipt, d->order[i], CDPD_RETRY, 0,
					      "an earlier record of the same person waits");
	}
}

static void on_later(struct webhook *self, const struct request *request, const struct cdpd_http_response *response)
{
	struct delivery *d = &self->delivery;
	char why[ANSWER_TEXT_SIZE];
	int64_t retry_after_ms = answer_retry_after_ms(response);
	bool is_alone = request->count == 1;
	if (!is_alone && request->attempt >= SUSPECT_FROM) {
		cut(self, request, false);
		return;
	}
	answer_tell(response, why);
	if (!is_alone || ++d->fails_in_row >= FAILS_MAX) {
		take_back(d, request);
		stop(d, retry_after_ms, why);
		return;
	}
	set_states(d, request, LATER);
	d->lanes[request->lane].suspect_end = 0;
	(void)self->host->receipt_set(d->receipt, d->order[request->items[0]], CDPD_RETRY, retry_after_ms, why);
	hold_person(self, request->items[0]);
}

static void on_failed(struct webhook *self, const struct request *request, const struct cdpd_http_response *response)
{
	char why[ANSWER_TEXT_SIZE];
	answer_tell(response, why);
	take_back(&self->delivery, request);
	stop(&self->delivery, answer_retry_after_ms(response), why);
}

/* A connection that breaks again and again may do so over a record. */
static enum answer kind_of(const struct webhook *self, const struct request *request,
			   const struct cdpd_http_response *response)
{
	enum answer kind = answer_kind(&self->rules, response);
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

static void pick(struct webhook *self, size_t lane_index, struct request *request)
{
	struct delivery *d = &self->delivery;
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

static struct request *free_request(struct webhook *self)
{
	for (size_t i = 0; i < self->concurrency; i++)
		if (!self->requests[i].is_used) return &self->requests[i];
	return NULL;
}

static void send(struct webhook *self, size_t lane)
{
	struct delivery *d = &self->delivery;
	struct request *request = free_request(self);
	pick(self, lane, request);
	request->is_used = true;
	d->under_way++;
	if (request_send(self, request)) return;
	request->is_used = false;
	d->under_way--;
	take_back(d, request);
	stop(d, 0, "out of memory");
}

static bool has_time(const struct webhook *self)
{
	return outgoing_now_ms() + self->timeout_ms <= self->delivery.until_ms;
}

static void pump(struct webhook *self)
{
	struct delivery *d = &self->delivery;
	if (d->is_pumping) return; /* an answer that came before its request was sent off */
	d->is_pumping = true;
	while (!d->is_stopped && d->ready_count && d->under_way < self->concurrency) {
		if (has_time(self))
			send(self, take_ready(d));
		else
			stop(d, 0, "the endpoint is too slow for a whole batch, the rest comes again");
	}
	d->is_pumping = false;
	if (d->under_way == 0) finish(self);
}

void delivery_answered(struct webhook *self, struct request *request, const struct cdpd_http_response *response)
{
	struct delivery *d = &self->delivery;
	request->is_used = false;
	d->under_way--;
	switch (kind_of(self, request, response)) {
	case ANSWER_TAKEN: on_taken(self, request); break;
	case ANSWER_REFUSED: on_refused(self, request, response); break;
	case ANSWER_LATER: on_later(self, request, response); break;
	case ANSWER_DOWN:
	case ANSWER_WRONG: on_failed(self, request, response); break;
	}
	make_ready(d, request->lane);
	pump(self);
}

/* ── from outside ────────────────────────────────────────────────────────── */

static bool take_records(struct webhook *self, const struct cdpd_batch *batch)
{
	struct delivery *d = &self->delivery;
	size_t count = self->host->batch_count(batch);
	if (!make_room(d, count)) return false;
	for (d->count = 0; d->count < count; d->count++) {
		struct cdpd_record *record = &d->records[d->count];
		record->size = sizeof *record;
		if (self->host->batch_record(batch, d->count, record) != CDPD_OK) return false;
		d->states[d->count] = WAITING;
	}
	return true;
}

bool delivery_begin(struct webhook *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	struct delivery *d = &self->delivery;
	if (!take_records(self, batch)) return false;
	d->receipt = receipt;
	d->ready_at = d->ready_count = d->under_way = 0;
	d->fails_in_row = 0;
	d->is_stopped = false;
	d->retry_after_ms = 0;
	d->until_ms = outgoing_now_ms() + SPAN_MS;
	make_lanes(self);
	for (size_t i = 0; i < d->lane_count; i++) make_ready(d, i);
	pump(self);
	return true;
}

void delivery_free(struct webhook *self)
{
	struct delivery *d = &self->delivery;
	free(d->records);
	free(d->states);
	free(d->lanes);
	free(d->order);
}
