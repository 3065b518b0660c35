/* amoCRM, elsewhere called Kommo, API v4: contacts and leads, lists of them in one request; `request_id` tells which answer is whose. A request in which one
 * thing is wrong is refused whole, with what is wrong of which. E-mails and phones are fields that hold lists, which a write replaces: a known contact
 * is read before it is written. Contacts are neither merged nor deleted over the API: see README.md for what is done instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crm.h"

#define CONTACTS      "/api/v4/contacts"
#define LEADS         "/api/v4/leads"
#define PAGE          50
#define FIND_PAGES    5
#define BLOCKED_MS    (INT64_C(60) * 60 * 1000)
#define SIGNED_OUT_MS (INT64_C(5) * 60 * 1000)
#define LIMITED_MS    2000
#define ERASED_NAME   "erased"

/* ── fields ──────────────────────────────────────────────────────────────── */

static json_t *values_of(const json_t *contact, const char *code)
{
	const json_t *fields = json_object_get(contact, "custom_fields_values");
	for (size_t i = 0; i < json_array_size(fields); i++) {
		const json_t *field = json_array_get(fields, i);
		if (strcmp(text_member(field, "field_code"), code) == 0) return json_object_get(field, "values");
	}
	return NULL;
}

static bool is_same_value(const char *code, const json_t *a, const json_t *b)
{
	char x[32], y[32];
	const char *left = text_of(json_object_get(a, "value"), x), *right = text_of(json_object_get(b, "value"), y);
	return strcmp(code, "PHONE") == 0 ? strcmp(left, right) == 0 || text_is_same_phone(left, right)
					  : text_is_same_email(left, right);
}

static bool has_value(const char *code, const json_t *values, const json_t *value)
{
	for (size_t i = 0; i < json_array_size(values); i++)
		if (is_same_value(code, json_array_get(values, i), value)) return true;
	return false;
}

/* What is there, and what is wanted besides. */
static json_t *join(const char *code, const json_t *old, const json_t *wanted)
{
	json_t *all = json_array();
	for (size_t i = 0; i < json_array_size(old); i++) {
		const json_t *value = json_array_get(old, i);
		json_t *kept = json_pack("{s:O?, s:O?}", "value", json_object_get(value, "value"), "enum_code",
					 json_object_get(value, "enum_code"));
		json_array_append_new(all, kept);
	}
	for (size_t i = 0; i < json_array_size(wanted); i++)
		if (!has_value(code, old, json_array_get(wanted, i))) json_array_append(all, json_array_get(wanted, i));
	return all;
}

static bool holds_all(const char *code, const json_t *old, const json_t *wanted)
{
	for (size_t i = 0; i < json_array_size(wanted); i++)
		if (!has_value(code, old, json_array_get(wanted, i))) return false;
	return true;
}

static json_t *field_of(const char *code, json_t *values)
{
	return json_pack("{s:s, s:o}", "field_code", code, "values", values);
}

/* What the contact is found by stands in it too, unless it says otherwise. */
static void add_key(json_t *contact, const char *code, const char *value)
{
	if (!value[0] || values_of(contact, code)) return;
	json_t *fields = json_object_get(contact, "custom_fields_values");
	if (!json_is_array(fields)) {
		fields = json_array();
		json_object_set_new(contact, "custom_fields_values", fields);
	}
	json_array_append_new(fields, field_of(code, json_pack("[{s:s, s:s}]", "value", value, "enum_code", "WORK")));
}

static bool is_list_code(const char *code)
{
	return strcmp(code, "EMAIL") == 0 || strcmp(code, "PHONE") == 0;
}

/* A write replaces the whole list: what people have added there stays, unless it is to be replaced. */
static void keep_old(const struct crm *self, const struct item *item, json_t *contact)
{
	json_t *fields = json_object_get(contact, "custom_fields_values");
	for (size_t i = json_array_size(fields); i-- > 0;) {
		json_t *field = json_array_get(fields, i);
		const char *code = text_member(field, "field_code");
		const json_t *wanted = json_object_get(field, "values"), *old = values_of(item->old, code);
		if (!is_list_code(code) || !json_is_array(wanted)) continue;
		bool is_fine = holds_all(code, old, wanted) && (!self->replaces_values || holds_all(code, wanted, old));
		if (is_fine)
			json_array_remove(fields, i);
		else if (!self->replaces_values)
			json_object_set_new(field, "values", join(code, old, wanted));
	}
	if (fields && !json_array_size(fields)) json_object_del(contact, "custom_fields_values");
}

static json_t *contact_of(const struct crm *self, const struct item *item)
{
	json_t *contact = json_deep_copy(item->contact);
	if (!contact) return NULL;
	add_key(contact, "EMAIL", item->email);
	add_key(contact, "PHONE", item->phone);
	if (item->old) keep_old(self, item, contact);
	if (item->id[0]) json_object_set_new(contact, "id", json_integer(strtoll(item->id, NULL, 10)));
	return contact;
}

static bool has_lists(const struct item *item)
{
	return item->email[0] || item->phone[0] || values_of(item->contact, "EMAIL") ||
	       values_of(item->contact, "PHONE");
}

static enum step first(const struct crm *self, const struct item *item)
{
	(void)self;
	if (item->id[0]) return has_lists(item) && !item->old ? STEP_READ : STEP_WRITE;
	return item->email[0] || item->phone[0] ? STEP_FIND : STEP_WRITE;
}

/* ── requests ────────────────────────────────────────────────────────────── */

/* First the e-mail, then the phone; page by page. */
static bool make_find(struct item *item, struct call *call)
{
	char core[PHONE_MAX + 1], query[3 * EMAIL_MAX + 4];
	if (item->find_at == 0 && !item->email[0]) item->find_at = 1;
	text_phone_core(item->phone, core);
	if (!text_encode(query, sizeof query, item->find_at == 0 ? item->email : core)) return false;
	call->method = "GET";
	snprintf(call->path, sizeof call->path, CONTACTS "?query=%s&limit=%d&page=%u", query, PAGE, item->page + 1);
	return true;
}

static bool add_id(struct call *call, const char *id)
{
	size_t len = strlen(call->path);
	int more = snprintf(call->path + len, sizeof call->path - len, "&filter%%5Bid%%5D%%5B%%5D=%s", id);
	return more > 0 && (size_t)more < sizeof call->path - len;
}

static bool make_read(struct call *call)
{
	call->method = "GET";
	snprintf(call->path, sizeof call->path, CONTACTS "?limit=250");
	for (size_t i = 0; i < call->count; i++)
		if (!add_id(call, call->items[i]->id)) return false;
	return true;
}

static bool add_object(struct call *call, json_t *object, size_t place)
{
	if (!object) return false;
	json_object_set_new(object, "request_id", json_sprintf("%zu", place));
	return json_array_append_new(call->body, object) == 0;
}

static bool make_write(struct crm *self, struct call *call)
{
	bool is_made = true;
	call->method = call->items[0]->id[0] ? "PATCH" : "POST";
	snprintf(call->path, sizeof call->path, CONTACTS);
	call->body = json_array();
	for (size_t i = 0; i < call->count; i++) is_made &= add_object(call, contact_of(self, call->items[i]), i);
	return is_made;
}

static json_t *lead_of(const struct item *item)
{
	json_t *lead = json_deep_copy(item->lead);
	if (!lead) return NULL;
	if (item->lead_id[0])
		json_object_set_new(lead, "id", json_integer(strtoll(item->lead_id, NULL, 10)));
	else if (item->id[0])
		json_object_set_new(
		    lead, "_embedded",
		    json_pack("{s:[{s:I}]}", "contacts", "id", (json_int_t)strtoll(item->id, NULL, 10)));
	return lead;
}

/* Known leads and new ones go different ways. */
static void keep_alike(struct call *call)
{
	size_t kept = 1;
	for (size_t i = 1; i < call->count; i++)
		if (!call->items[i]->lead_id[0] == !call->items[0]->lead_id[0]) call->items[kept++] = call->items[i];
	if (call->count) call->count = kept;
}

static bool make_lead(struct crm *self, struct call *call)
{
	bool is_made = true;
	keep_alike(call);
	bool is_new = !call->items[0]->lead_id[0];
	call->method = is_new ? "POST" : "PATCH";
	snprintf(call->path, sizeof call->path, LEADS);
	call->body = json_array();
	for (size_t i = 0; i < call->count; i++) {
		if (is_new) crm_lead_begins(self, call->items[i]);
		is_made &= add_object(call, lead_of(call->items[i]), i);
	}
	return is_made;
}

/* By its name, among those of the contact. */
static bool make_lead_find(const struct item *item, struct call *call)
{
	char query[3 * EMAIL_MAX + 4];
	if (!text_encode(query, sizeof query, text_member(item->lead, "name"))) return false;
	call->method = "GET";
	snprintf(call->path, sizeof call->path, LEADS "?query=%s&with=contacts&limit=%d&page=%u", query, PAGE,
		 item->page + 1);
	return true;
}

static json_t *id_of(const char *id)
{
	return json_integer(strtoll(id, NULL, 10));
}

static const json_t *find_contact(const json_t *body, const char *id)
{
	char number[32];
	const json_t *list = json_object_get(json_object_get(body, "_embedded"), "contacts");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(text_of(json_object_get(json_array_get(list, i), "id"), number), id) == 0)
			return json_array_get(list, i);
	return NULL;
}

/* Who stays gets the addresses of who goes; who goes gets a tag, and people have the rest of it. */
static bool make_merge(struct crm *self, struct item *item, struct call *call)
{
	static const char *const codes[] = {"EMAIL", "PHONE"};
	if (!item->old) {
		call->method = "GET";
		snprintf(call->path, sizeof call->path, CONTACTS "?limit=250");
		return add_id(call, item->id) && add_id(call, item->other_id);
	}
	const json_t *stays = find_contact(item->old, item->id), *goes = find_contact(item->old, item->other_id);
	json_t *fields = json_array();
	for (size_t i = 0; i < 2; i++) {
		const json_t *more = values_of(goes, codes[i]), *have = values_of(stays, codes[i]);
		if (more && !holds_all(codes[i], have, more))
			json_array_append_new(fields, field_of(codes[i], join(codes[i], have, more)));
	}
	call->method = "PATCH";
	snprintf(call->path, sizeof call->path, CONTACTS);
	call->body = json_pack("[{s:o, s:o, s:s}, {s:o, s:[{s:s}], s:s}]", "id", id_of(item->id),
			       "custom_fields_values", fields, "request_id", "0", "id", id_of(item->other_id),
			       "tags_to_add", "name", self->merge_tag, "request_id", "1");
	if (call->body && !json_array_size(fields))
		json_object_del(json_array_get(call->body, 0), "custom_fields_values");
	return call->body != NULL;
}

/* Nothing is left but the number. */
static bool make_erase(struct item *item, struct call *call)
{
	if (!item->old) {
		call->method = "GET";
		snprintf(call->path, sizeof call->path, CONTACTS "?limit=250");
		return add_id(call, item->id);
	}
	json_t *fields = json_array();
	const json_t *old = json_object_get(find_contact(item->old, item->id), "custom_fields_values");
	for (size_t i = 0; i < json_array_size(old); i++)
		json_array_append_new(fields, json_pack("{s:O, s:n}", "field_id",
							json_object_get(json_array_get(old, i), "field_id"), "values"));
	call->method = "PATCH";
	snprintf(call->path, sizeof call->path, CONTACTS);
	call->body =
	    json_pack("[{s:o, s:s, s:s, s:s, s:o, s:s}]", "id", id_of(item->id), "name", ERASED_NAME, "first_name",
		      ERASED_NAME, "last_name", "", "custom_fields_values", fields, "request_id", "0");
	if (call->body && !json_array_size(fields))
		json_object_del(json_array_get(call->body, 0), "custom_fields_values");
	return call->body != NULL;
}

static bool make(struct crm *self, struct run *run, struct item *item, struct call *call)
{
	bool is_list = item->step == STEP_READ || item->step == STEP_WRITE || item->step == STEP_LEAD_WRITE;
	crm_collect(run, item, is_list ? self->provider->window : 1, item->step == STEP_LEAD_WRITE, call);
	switch (item->step) {
	case STEP_FIND: return make_find(item, call);
	case STEP_READ: return make_read(call);
	case STEP_WRITE: return make_write(self, call);
	case STEP_LEAD_FIND: return make_lead_find(item, call);
	case STEP_LEAD_WRITE: return make_lead(self, call);
	case STEP_MERGE: return make_merge(self, item, call);
	default: return make_erase(item, call);
	}
}

/* ── answers ─────────────────────────────────────────────────────────────── */

static void say(const struct crm *self, char reason[REASON_MAX + 1], const char *text)
{
	char all[2 * REASON_MAX];
	snprintf(all, sizeof all, "amoCRM: %s", text);
	text_clean(self, reason, REASON_MAX + 1, all);
}

static int64_t later_ms(const struct answer *answer)
{
	if (answer->retry_after_ms > 0) return answer->retry_after_ms;
	switch (answer->status) {
	case 401:
	case 404: return SIGNED_OUT_MS;
	case 402:
	case 403:
		return BLOCKED_MS; /* not paid, or the address is blocked for asking too much: asking on makes it longer */
	case 429: return LIMITED_MS;
	default: return 0;
	}
}

static enum judgement judge(struct crm *self, const struct answer *answer, struct delay *delay)
{
	static const char *const meanings[] = {"the token is not good (any more)", "the account is not paid for",
					       "this address is blocked, or the user may not do this"};
	char text[REASON_MAX];
	int status = answer->status;
	bool is_read = strcmp(self->call.method, "GET") == 0;
	bool is_fine = status == 200 || status == 201 || status == 202 || (status == 204 && is_read);
	/* "Nobody" is 204. What cannot be read is no reason to make somebody twice. */
	bool is_unread = is_fine && status != 204 && !json_is_object(answer->body);
	if ((is_fine && !is_unread) || status == 400 || status == 422) return JUDGE_TAKE;
	const char *detail = text_member(answer->body, "detail"), *title = text_member(answer->body, "title");
	const char *said = detail[0] ? detail : title;
	const char *meaning = status >= 401 && status <= 403 ? meanings[status - 401]
			      : status == 429                ? "too many requests"
			      : is_unread                    ? "an answer that is no JSON"
							     : "";
	snprintf(text, sizeof text, "%d %s%s%.80s", status, meaning, meaning[0] && said[0] ? ": " : "", said);
	delay->after_ms = later_ms(answer);
	say(self, delay->reason, text);
	return status == 401 ? JUDGE_SIGN_IN : JUDGE_LATER;
}

static size_t place_of(const struct call *call, const json_t *named)
{
	char number[32], *end;
	const char *text = text_of(json_object_get(named, "request_id"), number);
	unsigned long place = strtoul(text, &end, 10);
	return text[0] && !*end && place < call->count ? place : call->count;
}

/* "custom_fields_values.0.field_id: The value you selected is not a valid choice. (NotSupportedChoice)" */
static void tell_errors(const struct crm *self, const json_t *errors, char reason[REASON_MAX + 1])
{
	char text[REASON_MAX];
	const json_t *error = json_array_get(errors, 0);
	snprintf(text, sizeof text, "%.60s: %.80s (%.40s)", text_member(error, "path"), text_member(error, "detail"),
		 text_member(error, "code"));
	say(self, reason, text);
}

/* It speaks of the id: there is no such contact. */
static bool is_about_id(const json_t *errors)
{
	for (size_t i = 0; i < json_array_size(errors); i++) {
		const json_t *error = json_array_get(errors, i);
		if (strcmp(text_member(error, "path"), "id") == 0 ||
		    strcmp(text_member(error, "code"), "NotFound") == 0)
			return true;
	}
	return false;
}

static void take_invalid_one(struct crm *self, struct item *item, enum step step, const json_t *errors)
{
	char reason[REASON_MAX + 1];
	bool is_gone = is_about_id(errors);
	tell_errors(self, errors, reason);
	if (is_gone && step == STEP_WRITE && item->id[0])
		crm_gone(self, item);
	else if (is_gone && step == STEP_LEAD_WRITE && item->lead_id[0])
		crm_lead_gone(self, item);
	else
		item_settle(item, CDPD_DROP, 0, "%s", reason);
}

/* Nothing of the request was written: who is not named goes again. */
static void take_invalid(struct crm *self, struct call *call, const struct answer *answer)
{
	char reason[REASON_MAX + 1];
	const json_t *list = json_object_get(answer->body, "validation-errors");
	size_t named = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		size_t place = place_of(call, one);
		if (place == call->count || call->is_told[place]) continue;
		call->is_told[place] = true;
		named++;
		take_invalid_one(self, call->items[place], call->step, json_object_get(one, "errors"));
	}
	if (named) return;
	say(self, reason,
	    text_member(answer->body, "detail")[0] ? text_member(answer->body, "detail")
						   : text_member(answer->body, "title"));
	crm_split(call, reason);
}

static void take_written(struct crm *self, struct call *call, const struct answer *answer)
{
	bool is_lead = call->step == STEP_LEAD_WRITE, is_new = strcmp(call->method, "POST") == 0;
	const json_t *list =
	    json_object_get(json_object_get(answer->body, "_embedded"), is_lead ? "leads" : "contacts");
	for (size_t i = 0; i < json_array_size(list); i++) {
		char number[32];
		const json_t *one = json_array_get(list, i);
		const char *id = text_of(json_object_get(one, "id"), number);
		size_t place = place_of(call, one);
		for (size_t k = 0; place == call->count && !is_new && k < call->count; k++)
			if (strcmp(is_lead ? call->items[k]->lead_id : call->items[k]->id, id) == 0) place = k;
		if (place == call->count || call->is_told[place] || !id[0]) continue;
		call->is_told[place] = true;
		if (is_lead)
			crm_lead_written(self, call->items[place], id);
		else
			crm_written(self, call->items[place], id, is_new);
	}
	for (size_t i = 0; i < call->count; i++)
		if (!call->is_told[i])
			item_settle(call->items[i], CDPD_RETRY, 0,
				    "amoCRM: an answer that says nothing of the contact");
}

static bool has_next(const json_t *body)
{
	return json_object_get(json_object_get(body, "_links"), "next") != NULL;
}

static bool matches(const struct item *item, const json_t *contact)
{
	bool by_email = item->find_at == 0;
	json_t *wanted = json_pack("{s:s}", "value", by_email ? item->email : item->phone);
	bool has =
	    wanted && has_value(by_email ? "EMAIL" : "PHONE", values_of(contact, by_email ? "EMAIL" : "PHONE"), wanted);
	json_decref(wanted);
	return has;
}

/* The search looks into every field, and finds parts of them: only the whole address counts. */
static void take_find(struct crm *self, struct item *item, const struct answer *answer)
{
	const json_t *list = json_object_get(json_object_get(answer->body, "_embedded"), "contacts");
	for (size_t i = 0; i < json_array_size(list); i++) {
		char number[32];
		const json_t *contact = json_array_get(list, i);
		const char *id = text_of(json_object_get(contact, "id"), number);
		if (id[0] && matches(item, contact)) {
			crm_found(self, item, id);
			return;
		}
	}
	if (has_next(answer->body) && ++item->page < FIND_PAGES) return;
	item->page = 0;
	if (item->find_at == 0 && item->phone[0])
		item->find_at = 1;
	else
		crm_not_found(self, item);
}

static void take_read(struct crm *self, struct call *call, const struct answer *answer)
{
	for (size_t i = 0; i < call->count; i++) {
		struct item *item = call->items[i];
		const json_t *contact = find_contact(answer->body, item->id);
		if (!contact) {
			crm_gone(self, item);
			continue;
		}
		json_decref(item->old);
		item->old = json_incref((json_t *)(uintptr_t)contact);
		item->step = STEP_WRITE;
	}
}

static bool is_lead_of(const struct item *item, const json_t *lead)
{
	char number[32];
	const json_t *contacts = json_object_get(json_object_get(lead, "_embedded"), "contacts");
	if (strcmp(text_member(lead, "name"), text_member(item->lead, "name")) != 0) return false;
	for (size_t i = 0; i < json_array_size(contacts); i++)
		if (strcmp(text_of(json_object_get(json_array_get(contacts, i), "id"), number), item->id) == 0)
			return true;
	return false;
}

static void take_lead_find(struct item *item, const struct answer *answer)
{
	const json_t *list = json_object_get(json_object_get(answer->body, "_embedded"), "leads");
	for (size_t i = 0; i < json_array_size(list) && !item->lead_id[0]; i++) {
		char number[32];
		if (is_lead_of(item, json_array_get(list, i)))
			snprintf(item->lead_id, sizeof item->lead_id, "%s",
				 text_of(json_object_get(json_array_get(list, i), "id"), number));
	}
	if (!item->lead_id[0] && has_next(answer->body) && ++item->page < FIND_PAGES) return;
	item->step = STEP_LEAD_WRITE;
}

static void take_merge(struct crm *self, struct item *item, const struct answer *answer)
{
	char text[2 * REASON_MAX];
	if (!item->old) {
		bool has_stays = find_contact(answer->body, item->id),
		     has_goes = find_contact(answer->body, item->other_id);
		if (!has_stays || !has_goes)
			crm_merged(self, item, has_stays || !has_goes ? item->id : item->other_id);
		else
			item->old = json_incref((json_t *)(uintptr_t)answer->body);
		return;
	}
	if (answer->status < 300) {
		crm_merged(self, item, item->id);
		return;
	}
	const json_t *errors =
	    json_object_get(json_array_get(json_object_get(answer->body, "validation-errors"), 0), "errors");
	snprintf(text, sizeof text, "contact %s is not marked as a duplicate of %s: %.100s", item->other_id, item->id,
		 text_member(json_array_get(errors, 0), "detail"));
	crm_not_merged(self, item, text);
}

static void take_erase(struct crm *self, struct call *call, const struct answer *answer)
{
	struct item *item = call->items[0];
	bool is_read = !item->old;
	if (answer->status >= 300) {
		take_invalid(self, call, answer);
	} else if (is_read && find_contact(answer->body, item->id)) {
		item->old = json_incref((json_t *)(uintptr_t)answer->body);
	} else {
		json_decref(item->old);
		item->old = NULL;
		crm_erased(self, item);
	}
}

static void take(struct crm *self, struct run *run, struct call *call, const struct answer *answer)
{
	(void)run;
	bool is_refused = answer->status >= 300 && call->step != STEP_MERGE && call->step != STEP_ERASE;
	if (is_refused) {
		take_invalid(self, call, answer);
		return;
	}
	switch (call->step) {
	case STEP_FIND: take_find(self, call->items[0], answer); break;
	case STEP_READ: take_read(self, call, answer); break;
	case STEP_LEAD_FIND: take_lead_find(call->items[0], answer); break;
	case STEP_MERGE: take_merge(self, call->items[0], answer); break;
	case STEP_ERASE: take_erase(self, call, answer); break;
	default: take_written(self, call, answer); break;
	}
}

static const char *refuse(const struct crm *self, const struct item *item)
{
	(void)self;
	const json_t *fields = json_object_get(item->contact, "custom_fields_values");
	if (fields && !json_is_array(fields))
		return "amoCRM: custom_fields_values is a list of {field_code or field_id, values}";
	return NULL;
}

/* `name`: the number of a field, or its code. */
static json_t *field(const char *name, const char *value)
{
	bool is_flag = strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
	json_t *what = is_flag ? json_boolean(value[0] == 't') : json_string(value);
	json_t *which = name[strspn(name, "0123456789")] ? json_string(name) : json_integer(strtoll(name, NULL, 10));
	return json_pack("{s:[{s:o, s:[{s:o}]}]}", "custom_fields_values",
			 json_is_string(which) ? "field_code" : "field_id", which, "values", "value", what);
}

static const char *check(const struct crm *self)
{
	if (!self->url)
		return "amocrm needs `url`: the account's address, https://NAME.amocrm.ru or https://NAME.kommo.com";
	if (!self->bearer && !self->oauth2)
		return "amocrm needs `token` (long-lived), or client_id, client_secret, redirect_uri and refresh_token";
	return NULL;
}

const struct provider amocrm = {
    .name = "amocrm",
    .title = "amoCRM",
    .requests_per_second = 6, /* 7 are allowed */
    .burst = 1,
    .window = 50,
    .ready_max = 10,
    .has_leads = true,
    .check = check,
    .first = first,
    .refuse = refuse,
    .make = make,
    .judge = judge,
    .take = take,
    .field = field,
};
