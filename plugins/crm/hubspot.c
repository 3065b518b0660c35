/* HubSpot, CRM v3: contacts. Known ones are updated by their id, the others made or found by their e-mail (or by a property of one's own that is
 * unique) in one step: batch upsert. Up to 100 at a time; objectWriteTraceId tells which answer is whose. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crm.h"

#define OBJECTS       "/crm/v3/objects/contacts"
#define SIGNED_OUT_MS (INT64_C(5) * 60 * 1000)
#define HALF_HOUR_S   1800
#define LOCKED_MS     2000

/* ── requests ────────────────────────────────────────────────────────────── */

static enum step first(const struct crm *self, const struct item *item)
{
	(void)self, (void)item;
	return STEP_WRITE;
}

static bool is_scalar(const json_t *value)
{
	return json_is_string(value) || json_is_number(value) || json_is_boolean(value) || json_is_null(value);
}

static const char *refuse(const struct crm *self, const struct item *item)
{
	const char *name;
	json_t *value;
	char known[ID_MAX + 1];
	json_object_foreach(item->contact, name, value)
	{
		bool is_list = json_is_array(value);
		for (size_t i = 0; is_list && i < json_array_size(value); i++)
			is_list = is_scalar(json_array_get(value, i));
		if (!is_list && !is_scalar(value))
			return "HubSpot: properties are texts, numbers, true, false, or lists of them";
	}
	if (item->email[0] || (self->unique_property && item->profile[0])) return NULL;
	idmap_get((struct crm *)(uintptr_t)self, item->profile, known);
	return known[0]
		   ? NULL
		   : "HubSpot: `key.email` is not there, and without it (or `unique_property`) a contact is made twice";
}

/* Everything is text there; several choices are separated by semicolons. */
static json_t *to_text(const json_t *value)
{
	char number[64];
	if (json_is_string(value)) return json_string(json_string_value(value));
	if (json_is_boolean(value)) return json_string(json_is_true(value) ? "true" : "false");
	if (json_is_integer(value)) snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	if (json_is_real(value)) snprintf(number, sizeof number, "%.15g", json_real_value(value));
	return json_string(json_is_number(value) ? number : "");
}

static json_t *join(const json_t *list)
{
	json_t *all = json_string("");
	for (size_t i = 0; all && i < json_array_size(list); i++) {
		json_t *one = to_text(json_array_get(list, i));
		json_t *longer =
		    one ? json_sprintf("%s%s%s", json_string_value(all), i ? ";" : "", json_string_value(one)) : NULL;
		json_decref(one);
		json_decref(all);
		all = longer;
	}
	return all;
}

static json_t *properties_of(const struct crm *self, const struct item *item)
{
	const char *name;
	json_t *value, *properties = json_object();
	json_object_foreach(item->contact, name, value)
	{
		json_object_set_new(properties, name, json_is_array(value) ? join(value) : to_text(value));
	}
	if (item->email[0] && !json_object_get(properties, "email"))
		json_object_set_new(properties, "email", json_string(item->email));
	if (item->phone[0] && !json_object_get(properties, "phone"))
		json_object_set_new(properties, "phone", json_string(item->phone));
	if (self->unique_property && item->profile[0] && item->kind == KIND_PUT)
		json_object_set_new(properties, self->unique_property, json_string(item->profile));
	return properties;
}

static json_t *input_of(const struct crm *self, const struct item *item, size_t place)
{
	json_t *input = json_pack("{s:o, s:o}", "properties", properties_of(self, item), "objectWriteTraceId",
				  json_sprintf("%zu", place));
	if (item->id[0]) {
		json_object_set_new(input, "id", json_string(item->id));
		return input;
	}
	bool by_email = item->email[0];
	json_object_set_new(input, "id", json_string(by_email ? item->email : item->profile));
	json_object_set_new(input, "idProperty", json_string(by_email ? "email" : self->unique_property));
	return input;
}

static bool make_write(struct crm *self, struct run *run, struct item *item, struct call *call)
{
	crm_collect(run, item, self->provider->window, false, call);
	json_t *inputs = json_array();
	for (size_t i = 0; i < call->count; i++) json_array_append_new(inputs, input_of(self, call->items[i], i));
	snprintf(call->path, sizeof call->path, OBJECTS "/batch/%s", item->id[0] ? "update" : "upsert");
	call->body = json_pack("{s:o}", "inputs", inputs);
	return call->body && json_array_size(json_object_get(call->body, "inputs")) == call->count;
}

static bool make(struct crm *self, struct run *run, struct item *item, struct call *call)
{
	call->method = "POST";
	if (item->step == STEP_WRITE) return make_write(self, run, item, call);
	call->step = item->step;
	call->count = 1;
	call->items[0] = item;
	snprintf(call->path, sizeof call->path, OBJECTS "/%s", item->step == STEP_MERGE ? "merge" : "gdpr-delete");
	call->body = item->step == STEP_MERGE
			 ? json_pack("{s:s, s:s}", "primaryObjectId", item->id, "objectIdToMerge", item->other_id)
			 : json_pack("{s:s}", "objectId", item->id);
	return call->body != NULL;
}

/* ── answers ─────────────────────────────────────────────────────────────── */

static void say(const struct crm *self, char reason[REASON_MAX + 1], const char *text)
{
	char all[2 * REASON_MAX];
	snprintf(all, sizeof all, "HubSpot: %s", text);
	text_clean(self, reason, REASON_MAX + 1, all);
}

/* The most precise text of an error: of its details, else its own. */
static const char *message_of(const json_t *error)
{
	const char *message = text_member(error, "message");
	const json_t *detail = json_array_get(json_object_get(error, "errors"), 0);
	const char *inner = text_member(detail, "message");
	return inner[0] && strlen(message) < 20 ? inner : message[0] ? message : inner;
}

/* The account's midnight is at a full or half hour, wherever it is. */
static int64_t until_half_hour_ms(void)
{
	int64_t now = (int64_t)time(NULL);
	return (HALF_HOUR_S - now % HALF_HOUR_S + 5) * 1000;
}

static int64_t limit_ms(const struct answer *answer)
{
	const char *policy = text_member(answer->body, "policyName");
	if (strcmp(policy, "DAILY") == 0) return until_half_hour_ms();
	if (answer->retry_after_ms > 0) return answer->retry_after_ms;
	return strcmp(policy, "TEN_SECONDLY_ROLLING") == 0 ? 10000 : 1000;
}

static enum judgement judge(struct crm *self, const struct answer *answer, struct delay *delay)
{
	char text[REASON_MAX + 80];
	int status = answer->status;
	const char *message = message_of(answer->body);
	if (status == 429) {
		const char *policy = text_member(answer->body, "policyName");
		snprintf(text, sizeof text, "too many requests (%s)", policy[0] ? policy : "429");
		delay->after_ms = limit_ms(answer);
		say(self, delay->reason, text);
		return JUDGE_LATER;
	}
	if (status == 401 || status == 403) {
		snprintf(text, sizeof text, "%d: %.150s", status,
			 message[0] ? message : "the token is not good for this");
		delay->after_ms = SIGNED_OUT_MS;
		say(self, delay->reason, text);
		return JUDGE_LATER;
	}
	bool is_known = (status >= 200 && status < 300) || status == 400 || status == 404 || status == 409 ||
			status == 414 || status == 423;
	if (is_known) return JUDGE_TAKE;
	snprintf(text, sizeof text, "answers %d", status);
	delay->after_ms = answer->retry_after_ms > 0 ? answer->retry_after_ms : 0;
	say(self, delay->reason, text);
	return JUDGE_LATER;
}

/* "Contact already exists. Existing ID: 51" */
static bool existing_id(const char *message, char id[ID_MAX + 1])
{
	static const char mark[] = "Existing ID: ";
	const char *at = strstr(message, mark);
	if (!at) return false;
	at += sizeof mark - 1;
	size_t len = strspn(at, "0123456789");
	if (len == 0 || len > ID_MAX) return false;
	memcpy(id, at, len);
	id[len] = '\0';
	return true;
}

static bool is_category(const json_t *error, const char *part)
{
	return strstr(text_member(error, "category"), part) != NULL ||
	       strstr(text_member(error, "subCategory"), part) != NULL;
}

/* One contact's e-mail is another contact's: that one is the person. */
static void take_conflict(struct crm *self, struct item *item, const char *message)
{
	char id[ID_MAX + 1], reason[REASON_MAX + 1];
	if (existing_id(message, id) && strcmp(id, item->id) != 0 && ++item->tries <= TRIES_MAX) {
		self->host->count(self->instance, self->counter[CONFLICTS], 1);
		if (item->id[0]) idmap_put_former(self, item->profile, item->id);
		crm_found(self, item, id);
		return;
	}
	say(self, reason, message);
	item_settle(item, CDPD_DROP, 0, "%s", reason);
}

static void take_gone(struct crm *self, struct item *item)
{
	crm_gone(self, item);
	if (item->kind == KIND_PUT && item->step == STEP_WRITE && !item->email[0] && !self->unique_property)
		item_settle(item, CDPD_DROP, 0,
			    "HubSpot: the contact is not there any more, and there is no `key.email` to make it by");
}

static void take_error(struct crm *self, struct item *item, const json_t *error)
{
	char reason[REASON_MAX + 1];
	const char *message = message_of(error);
	if (is_category(error, "NOT_FOUND")) {
		take_gone(self, item);
		return;
	}
	if (is_category(error, "CONFLICT")) {
		take_conflict(self, item, message);
		return;
	}
	say(self, reason, message);
	bool is_theirs =
	    is_category(error, "RATE_LIMIT") || is_category(error, "INTERNAL") || is_category(error, "LOCKED");
	item_settle(item, is_theirs ? CDPD_RETRY : CDPD_DROP, is_theirs ? LOCKED_MS : 0, "%s", reason);
}

/* Places in the call; its count: none. */
static size_t by_trace(const struct call *call, const char *trace)
{
	char *end;
	unsigned long place = strtoul(trace, &end, 10);
	return trace[0] && !*end && place < call->count ? place : call->count;
}

static size_t by_id(const struct call *call, const char *id)
{
	size_t i = 0;
	if (!id[0]) return call->count;
	while (i < call->count && strcmp(call->items[i]->id, id) != 0 && !text_is_same_email(call->items[i]->email, id))
		i++;
	return i;
}

static size_t whose(const struct call *call, const json_t *result)
{
	size_t place = by_trace(call, text_member(result, "objectWriteTraceId"));
	if (place == call->count) place = by_id(call, text_member(result, "id"));
	return place < call->count ? place : by_id(call, text_member(json_object_get(result, "properties"), "email"));
}

/* The item that something is said of for the first time; NULL: none. */
static struct item *tell(struct call *call, size_t place)
{
	if (place == call->count || call->is_told[place]) return NULL;
	call->is_told[place] = true;
	return call->items[place];
}

static void take_named(struct crm *self, struct call *call, const json_t *error, const char *name)
{
	bool is_trace = strcmp(name, "objectWriteTraceId") == 0;
	const json_t *list = json_object_get(json_object_get(error, "context"), name);
	for (size_t k = 0; k < json_array_size(list); k++) {
		const char *text = json_string_value(json_array_get(list, k));
		struct item *item = text ? tell(call, is_trace ? by_trace(call, text) : by_id(call, text)) : NULL;
		if (item) take_error(self, item, error);
	}
}

static void take_results(struct crm *self, struct call *call, const json_t *results)
{
	for (size_t i = 0; i < json_array_size(results); i++) {
		char number[32];
		const json_t *result = json_array_get(results, i);
		const char *id = text_of(json_object_get(result, "id"), number);
		struct item *item = id[0] ? tell(call, whose(call, result)) : NULL;
		if (item) crm_written(self, item, id, json_is_true(json_object_get(result, "new")));
	}
}

/* Results and errors of a batch. Whoever is in neither list is sent alone; alone, what is said is about it. */
static void take_lists(struct crm *self, struct call *call, const json_t *body)
{
	const json_t *errors = json_object_get(body, "errors");
	take_results(self, call, json_object_get(body, "results"));
	for (size_t i = 0; i < json_array_size(errors); i++) {
		take_named(self, call, json_array_get(errors, i), "objectWriteTraceId");
		take_named(self, call, json_array_get(errors, i), "ids");
		take_named(self, call, json_array_get(errors, i), "id");
	}
	if (call->count == 1 && !call->is_told[0]) {
		if (json_array_size(errors))
			take_error(self, call->items[0], json_array_get(errors, 0));
		else
			item_settle(call->items[0], CDPD_RETRY, 0,
				    "HubSpot: an answer that says nothing of the contact");
	}
	for (size_t i = 0; i < call->count; i++)
		if (!call->is_told[i]) call->items[i]->group_max = 1;
}

static void take_write(struct crm *self, struct call *call, const struct answer *answer)
{
	char reason[REASON_MAX + 1];
	int status = answer->status;
	if (status >= 200 && status < 300) {
		take_lists(self, call, answer->body);
	} else if (call->count == 1 && status == 404) {
		take_gone(self, call->items[0]);
	} else if (call->count == 1 && status == 409) {
		take_conflict(self, call->items[0], message_of(answer->body));
	} else if (status == 423) {
		for (size_t i = 0; i < call->count; i++)
			item_settle(call->items[i], CDPD_RETRY, LOCKED_MS, "HubSpot: the contact is locked");
	} else {
		say(self, reason, message_of(answer->body));
		crm_split(call, reason);
	}
}

static void take_merge(struct crm *self, struct item *item, const struct answer *answer)
{
	char number[32], text[2 * REASON_MAX];
	const char *id = text_of(json_object_get(answer->body, "id"), number);
	if (answer->status < 300)
		crm_merged(self, item, id[0] ? id : item->id); /* the one that both are now may have an id of its own */
	else if (answer->status == 404 || is_category(answer->body, "NOT_FOUND"))
		crm_merged(self, item, item->id); /* one of them is not there: by now they are one */
	else if (answer->status == 423)
		item_settle(item, CDPD_RETRY, LOCKED_MS, "HubSpot: a contact is locked");
	else {
		snprintf(text, sizeof text, "contact %s is not merged into %s: %.120s", item->other_id, item->id,
			 message_of(answer->body));
		crm_not_merged(self, item, text);
	}
}

static void take_erase(struct crm *self, struct item *item, const struct answer *answer)
{
	char reason[REASON_MAX + 1];
	if (answer->status < 300 || answer->status == 404) {
		crm_erased(self, item);
		return;
	}
	say(self, reason, message_of(answer->body));
	item_settle(item, answer->status == 423 ? CDPD_RETRY : CDPD_DROP, LOCKED_MS, "%s", reason);
}

static void take(struct crm *self, struct run *run, struct call *call, const struct answer *answer)
{
	(void)run;
	if (call->step == STEP_WRITE) take_write(self, call, answer);
	if (call->step == STEP_MERGE) take_merge(self, call->items[0], answer);
	if (call->step == STEP_ERASE) take_erase(self, call->items[0], answer);
}

static json_t *field(const char *name, const char *value)
{
	return json_pack("{s:s}", name, value);
}

static const char *check(const struct crm *self)
{
	return self->bearer ? NULL : "hubspot needs `token`: the access token of a private app";
}

const struct provider hubspot = {
    .name = "hubspot",
    .title = "HubSpot",
    .url = "https://api.hubapi.com",
    .requests_per_second = 9, /* with the burst at most 99 in any ten seconds: 100 are allowed to everybody */
    .burst = 9,
    .window = 100,
    .ready_max = 100,
    .check = check,
    .first = first,
    .refuse = refuse,
    .make = make,
    .judge = judge,
    .take = take,
    .field = field,
};
