/* Bitrix24: contacts and leads over an inbound webhook, whose URL is the secret. One HTTP request is a `batch` of up to 50 commands, each a method with
 * a query as PHP reads it: fields[EMAIL][0][VALUE]=… . E-mails and phones are lists whose values have ids of their own: a value that is sent without
 * its id is added, so a known contact is read before it is written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "crm.h"
#include "query.h"

#define COMMANDS_MAX  50
#define FINDS_EACH    2 /* commands that look for one person */
#define BLOCKED_MS    (INT64_C(60) * 60 * 1000)
#define SIGNED_OUT_MS (INT64_C(5) * 60 * 1000)
#define LIMITED_MS    2000
#define OPERATING_MS  (INT64_C(10) * 60 * 1000)
#define CONTACT_TYPE  3

static const char *const lists[] = {"EMAIL", "PHONE", "WEB", "IM", "LINK"};
#define LISTS (sizeof lists / sizeof lists[0])

static bool add_command(struct call *call, const char *name, struct writer *query)
{
	struct cdpd_str text = writer_get(query);
	bool is_made = !query->is_short && json_object_set_new(json_object_get(call->body, "cmd"), name,
							       json_stringn(text.ptr, text.len)) == 0;
	writer_free(query);
	return is_made;
}

/* ── what a contact becomes ──────────────────────────────────────────────── */

/* The contact's own lists, else what it is found by. */
static json_t *fields_of(const struct crm *self, const struct item *item)
{
	json_t *fields = json_copy(item->contact);
	if (!fields) return NULL;
	if (item->email[0] && !json_object_get(fields, "EMAIL"))
		json_object_set_new(fields, "EMAIL",
				    json_pack("[{s:s, s:s}]", "VALUE", item->email, "VALUE_TYPE", "WORK"));
	if (item->phone[0] && !json_object_get(fields, "PHONE"))
		json_object_set_new(fields, "PHONE",
				    json_pack("[{s:s, s:s}]", "VALUE", item->phone, "VALUE_TYPE", "WORK"));
	if (!item->id[0] && self->origin && item->profile[0]) {
		json_object_set_new(fields, "ORIGINATOR_ID", json_string(self->origin));
		json_object_set_new(fields, "ORIGIN_ID", json_string(item->profile));
	}
	return fields;
}

static bool is_same_value(const char *list, const json_t *a, const json_t *b)
{
	const char *x = text_member(a, "VALUE"), *y = text_member(b, "VALUE");
	return strcmp(list, "PHONE") == 0 ? strcmp(x, y) == 0 || text_is_same_phone(x, y) : text_is_same_email(x, y);
}

static bool has_value(const char *list, const json_t *values, const json_t *value)
{
	for (size_t i = 0; i < json_array_size(values); i++)
		if (is_same_value(list, json_array_get(values, i), value)) return true;
	return false;
}

static json_t *with_id(const json_t *old, const json_t *value)
{
	char number[32];
	json_t *changed = value ? json_copy((json_t *)(uintptr_t)value) : json_pack("{s:s}", "DELETE", "Y");
	json_object_set_new(changed, "ID", json_string(text_of(json_object_get(old, "ID"), number)));
	return changed;
}

/* What has to be sent so that the CRM's values `old` hold all of `wanted`; and, when values are replaced, nothing else: those in the way
 * become the new ones, or go. */
static json_t *change_list(const struct crm *self, const char *list, const json_t *old, const json_t *wanted)
{
	json_t *changes = json_array();
	size_t spare = 0;
	for (size_t i = 0; i < json_array_size(wanted); i++) {
		const json_t *value = json_array_get(wanted, i);
		if (has_value(list, old, value)) continue;
		while (self->replaces_values && spare < json_array_size(old) &&
		       has_value(list, wanted, json_array_get(old, spare)))
			spare++;
		if (self->replaces_values && spare < json_array_size(old))
			json_array_append_new(changes, with_id(json_array_get(old, spare++), value));
		else
			json_array_append(changes, (json_t *)(uintptr_t)value);
	}
	for (; self->replaces_values && spare < json_array_size(old); spare++) {
		const json_t *value = json_array_get(old, spare);
		if (!has_value(list, wanted, value)) json_array_append_new(changes, with_id(value, NULL));
	}
	return changes;
}

static void change_lists(const struct crm *self, const struct item *item, json_t *fields)
{
	for (size_t i = 0; i < LISTS; i++) {
		const json_t *wanted = json_object_get(fields, lists[i]), *old = json_object_get(item->old, lists[i]);
		if (!json_is_array(wanted) || !json_is_array(old)) continue;
		json_t *changes = change_list(self, lists[i], old, wanted);
		if (json_array_size(changes))
			json_object_set_new(fields, lists[i], changes);
		else {
			json_object_del(fields, lists[i]);
			json_decref(changes);
		}
	}
}

/* ── requests ────────────────────────────────────────────────────────────── */

static bool has_lists(const struct item *item)
{
	for (size_t i = 0; i < LISTS; i++)
		if (json_object_get(item->contact, lists[i])) return true;
	return item->email[0] || item->phone[0];
}

static enum step first(const struct crm *self, const struct item *item)
{
	if (item->id[0]) return has_lists(item) && !item->old ? STEP_READ : STEP_WRITE;
	bool can_find = item->email[0] || item->phone[0] || (self->origin && item->profile[0]);
	return can_find ? STEP_FIND : STEP_WRITE;
}

static bool add_find(struct call *call, size_t place, const char *type, const char *value)
{
	char name[32];
	struct writer query = {0};
	query_begin(&query, "crm.duplicate.findbycomm");
	snprintf(name, sizeof name, "%c%zu", type[0], place);
	query_add(&query, "entity_type", "CONTACT");
	query_add(&query, "type", type);
	query_add(&query, "values[0]", value);
	return add_command(call, name, &query);
}

/* By our own mark: whoever was made by us, and whose id was lost with the answer. */
static bool add_find_origin(const struct crm *self, struct call *call, size_t place, const char *method,
			    const char *origin_id)
{
	char name[32];
	struct writer query = {0};
	query_begin(&query, method);
	snprintf(name, sizeof name, "O%zu", place);
	query_add(&query, "filter[ORIGINATOR_ID]", self->origin);
	query_add(&query, "filter[ORIGIN_ID]", origin_id);
	query_add(&query, "select[0]", "ID");
	return add_command(call, name, &query);
}

static bool make_find(struct crm *self, struct call *call)
{
	bool is_made = true;
	for (size_t i = 0; i < call->count; i++) {
		const struct item *item = call->items[i];
		if (item->email[0]) is_made &= add_find(call, i, "EMAIL", item->email);
		if (item->phone[0]) is_made &= add_find(call, i, "PHONE", item->phone);
		if (!item->email[0] && !item->phone[0])
			is_made &= add_find_origin(self, call, i, "crm.contact.list", item->profile);
	}
	return is_made;
}

static bool make_read(struct call *call)
{
	bool is_made = true;
	for (size_t i = 0; i < call->count; i++) {
		char name[32];
		struct writer query = {0};
		query_begin(&query, "crm.contact.get");
		snprintf(name, sizeof name, "R%zu", i);
		query_add(&query, "id", call->items[i]->id);
		is_made &= add_command(call, name, &query);
	}
	return is_made;
}

static bool make_write(struct crm *self, struct call *call)
{
	bool is_made = true;
	for (size_t i = 0; i < call->count; i++) {
		char name[32];
		const struct item *item = call->items[i];
		struct writer query = {0};
		query_begin(&query, item->id[0] ? "crm.contact.update" : "crm.contact.add");
		json_t *fields = fields_of(self, item);
		snprintf(name, sizeof name, "%c%zu", item->id[0] ? 'U' : 'A', i);
		if (item->old) change_lists(self, item, fields);
		if (item->id[0]) query_add(&query, "id", item->id);
		query_add_value(&query, "fields", fields);
		is_made &= add_command(call, name, &query) && fields;
		json_decref(fields);
	}
	return is_made;
}

static void lead_origin(const struct item *item, char out[PROFILE_MAX + LEAD_KEY_MAX + 2])
{
	snprintf(out, PROFILE_MAX + LEAD_KEY_MAX + 2, "%s%s%s", item->profile, item->lead_key[0] ? "/" : "",
		 item->lead_key);
}

static bool make_lead(struct crm *self, struct call *call)
{
	bool is_made = true;
	for (size_t i = 0; i < call->count; i++) {
		char name[32], origin[PROFILE_MAX + LEAD_KEY_MAX + 2];
		const struct item *item = call->items[i];
		struct writer query = {0};
		query_begin(&query, item->lead_id[0] ? "crm.lead.update" : "crm.lead.add");
		json_t *fields = json_copy(item->lead);
		lead_origin(item, origin);
		snprintf(name, sizeof name, "%c%zu", item->lead_id[0] ? 'V' : 'L', i);
		if (item->id[0]) json_object_set_new(fields, "CONTACT_ID", json_string(item->id));
		if (self->origin && origin[0] && !item->lead_id[0]) {
			json_object_set_new(fields, "ORIGINATOR_ID", json_string(self->origin));
			json_object_set_new(fields, "ORIGIN_ID", json_string(origin));
		}
		if (item->lead_id[0])
			query_add(&query, "id", item->lead_id);
		else
			crm_lead_begins(self, item);
		query_add_value(&query, "fields", fields);
		is_made &= add_command(call, name, &query) && fields;
		json_decref(fields);
	}
	return is_made;
}

static bool make_lead_find(struct crm *self, struct call *call)
{
	bool is_made = true;
	for (size_t i = 0; i < call->count; i++) {
		char origin[PROFILE_MAX + LEAD_KEY_MAX + 2];
		lead_origin(call->items[i], origin);
		is_made &= add_find_origin(self, call, i, "crm.lead.list", origin);
	}
	return is_made;
}

static bool make_erase(struct call *call)
{
	struct writer query = {0};
	query_begin(&query, "crm.contact.delete");
	query_add(&query, "id", call->items[0]->id);
	return add_command(call, "D0", &query);
}

static bool make_merge(const struct item *item, struct call *call)
{
	snprintf(call->path, sizeof call->path, "/crm.entity.mergeBatch");
	call->body = json_pack("{s:{s:i, s:[I, I]}}", "params", "entityTypeId", CONTACT_TYPE, "entityIds",
			       (json_int_t)strtoll(item->id, NULL, 10), (json_int_t)strtoll(item->other_id, NULL, 10));
	return call->body != NULL;
}

static bool make(struct crm *self, struct run *run, struct item *item, struct call *call)
{
	bool is_single = item->step == STEP_MERGE || item->step == STEP_ERASE;
	call->method = "POST";
	crm_collect(run, item,
		    is_single                 ? 1
		    : item->step == STEP_FIND ? COMMANDS_MAX / FINDS_EACH
					      : COMMANDS_MAX,
		    true, call);
	if (item->step == STEP_MERGE) return make_merge(item, call);
	snprintf(call->path, sizeof call->path, "/batch");
	call->body = json_pack("{s:i, s:{}}", "halt", 0, "cmd");
	if (!call->body) return false;
	switch (item->step) {
	case STEP_FIND: return make_find(self, call);
	case STEP_READ: return make_read(call);
	case STEP_WRITE: return make_write(self, call);
	case STEP_LEAD_FIND: return make_lead_find(self, call);
	case STEP_LEAD_WRITE: return make_lead(self, call);
	default: return make_erase(call);
	}
}

/* ── answers ─────────────────────────────────────────────────────────────── */

static void say(const struct crm *self, char reason[REASON_MAX + 1], const char *text)
{
	char all[2 * REASON_MAX];
	snprintf(all, sizeof all, "Bitrix24: %s", text);
	text_clean(self, reason, REASON_MAX + 1, all);
}

static bool has_code(const json_t *error, const char *code)
{
	return strcasecmp(text_member(error, "error"), code) == 0;
}

/* Method errors have mostly no code, and a text. */
static const char *text_of_error(const json_t *error)
{
	const char *text = text_member(error, "error_description"), *code = text_member(error, "error");
	if (json_is_string(error)) return json_string_value(error);
	return text[0] ? text : code[0] ? code : "an error without a text";
}

static bool is_not_found(const json_t *error)
{
	if (has_code(error, "ERROR_METHOD_NOT_FOUND")) return false;
	return has_code(error, "NOT_FOUND") || has_code(error, "ERROR_NOT_FOUND") ||
	       strcasestr(text_of_error(error), "not found");
}

static int64_t operating_wait_ms(const struct crm *self)
{
	int64_t left = (self->operating_reset_s - (int64_t)time(NULL)) * 1000;
	return left > 0 && left < 2 * OPERATING_MS ? left + 1000 : OPERATING_MS;
}

static int64_t later_ms(const struct crm *self, const struct answer *answer)
{
	static const char *const signed_out[] = {"expired_token",       "invalid_token",      "NO_AUTH_FOUND",
						 "INVALID_CREDENTIALS", "insufficient_scope", "ACCESS_DENIED",
						 "user_access_error",   "INVALID_REQUEST"};
	const json_t *error = answer->body;
	if (has_code(error, "OVERLOAD_LIMIT") || has_code(error, "PORTAL_DELETED")) return BLOCKED_MS;
	if (has_code(error, "OPERATION_TIME_LIMIT")) return operating_wait_ms(self);
	if (has_code(error, "QUERY_LIMIT_EXCEEDED")) return LIMITED_MS;
	for (size_t i = 0; i < sizeof signed_out / sizeof signed_out[0]; i++)
		if (has_code(error, signed_out[i])) return SIGNED_OUT_MS;
	if (answer->status == 401 || answer->status == 403) return SIGNED_OUT_MS;
	return answer->retry_after_ms > 0 ? answer->retry_after_ms : 0;
}

static enum judgement judge(struct crm *self, const struct answer *answer, struct delay *delay)
{
	char text[REASON_MAX];
	bool is_merge = self->call.step == STEP_MERGE;
	bool has_result = json_object_get(answer->body, "result") != NULL;
	if (answer->status == 200 && has_result) return JUDGE_TAKE;
	delay->after_ms = later_ms(self, answer);
	bool is_methods = (answer->status == 400 || answer->status == 404) && json_object_get(answer->body, "error");
	if (is_merge && is_methods && !delay->after_ms) return JUDGE_TAKE;
	const char *code = text_member(answer->body, "error"),
		   *description = text_member(answer->body, "error_description");
	snprintf(text, sizeof text, "%d %.40s %.100s", answer->status, code, description);
	say(self, delay->reason, text);
	return JUDGE_LATER;
}

/* The command's error; NULL: there is none. */
static const json_t *error_of(const struct answer *answer, const char *name)
{
	return json_object_get(json_object_get(json_object_get(answer->body, "result"), "result_error"), name);
}

static const json_t *result_of(const struct answer *answer, const char *name)
{
	return json_object_get(json_object_get(json_object_get(answer->body, "result"), "result"), name);
}

/* Of any command: the time when the oldest minute of what they took is forgotten. */
static void note_operating(struct crm *self, const struct answer *answer)
{
	const char *name;
	json_t *time_of;
	json_object_foreach(json_object_get(json_object_get(answer->body, "result"), "result_time"), name, time_of)
	{
		const json_t *reset = json_object_get(time_of, "operating_reset_at");
		if (json_is_integer(reset)) self->operating_reset_s = json_integer_value(reset);
	}
}

/* A command that went wrong, or of which nothing is said. */
static void take_failure(struct crm *self, struct item *item, const json_t *error, bool is_new)
{
	char reason[REASON_MAX + 1];
	bool is_denied =
	    error && (has_code(error, "ACCESS_DENIED") || strcasestr(text_of_error(error), "access denied"));
	say(self, reason, error ? text_of_error(error) : "an answer that says nothing of the command");
	if (error && has_code(error, "OPERATION_TIME_LIMIT"))
		item_settle(item, CDPD_RETRY, operating_wait_ms(self), "%s", reason);
	else if (!error || has_code(error, "QUERY_LIMIT_EXCEEDED") || has_code(error, "INTERNAL_SERVER_ERROR") ||
		 has_code(error, "ERROR_UNEXPECTED_ANSWER"))
		item_settle(item, CDPD_RETRY, LIMITED_MS, "%s", reason);
	else if ((is_denied && is_new) || has_code(error, "insufficient_scope") || has_code(error, "expired_token"))
		item_settle(item, CDPD_RETRY, SIGNED_OUT_MS, "%s", reason); /* it is not the record's fault */
	else
		item_settle(item, CDPD_DROP, 0, "%s", reason);
}

/* PHP writes an empty object as a list. */
static bool is_list(const json_t *result)
{
	return json_is_array(result) || json_is_object(result);
}

/* The oldest that was found; "": none. */
static const char *found_in(const json_t *result, char number[32])
{
	const json_t *list = json_is_object(result) ? json_object_get(result, "CONTACT") : result;
	const json_t *one = json_array_get(list, 0);
	return text_of(json_is_object(one) ? json_object_get(one, "ID") : one, number);
}

static void take_find(struct crm *self, struct item *item, size_t place, const struct answer *answer)
{
	static const char kinds[] = "EPO";
	for (size_t k = 0; kinds[k]; k++) {
		char name[32], number[32];
		snprintf(name, sizeof name, "%c%zu", kinds[k], place);
		const json_t *error = error_of(answer, name), *result = result_of(answer, name);
		const char *id = found_in(result, number);
		bool was_asked = kinds[k] == 'E'   ? item->email[0]
				 : kinds[k] == 'P' ? item->phone[0]
						   : !item->email[0] && !item->phone[0];
		if (!was_asked) continue;
		if (error || !is_list(result)) { /* not knowing is no reason to make a second one */
			take_failure(self, item, error, true);
			return;
		}
		if (id[0]) {
			crm_found(self, item, id);
			return;
		}
	}
	crm_not_found(self, item);
}

static void take_read(struct crm *self, struct item *item, size_t place, const struct answer *answer)
{
	char name[32];
	snprintf(name, sizeof name, "R%zu", place);
	const json_t *error = error_of(answer, name), *result = result_of(answer, name);
	if (error && is_not_found(error)) {
		crm_gone(self, item);
	} else if (!json_is_object(result)) {
		take_failure(self, item, error, false);
	} else {
		json_decref(item->old);
		item->old = json_incref((json_t *)(uintptr_t)result);
		item->step = STEP_WRITE;
	}
}

static void take_write(struct crm *self, struct item *item, size_t place, const struct answer *answer)
{
	char name[32], number[32];
	bool is_new = !item->id[0];
	snprintf(name, sizeof name, "%c%zu", is_new ? 'A' : 'U', place);
	const json_t *error = error_of(answer, name), *result = result_of(answer, name);
	const char *id = text_of(result, number);
	if (error && !is_new && is_not_found(error))
		crm_gone(self, item);
	else if (is_new ? id[0] && strcmp(id, "0") != 0 : json_is_true(result))
		crm_written(self, item, is_new ? id : item->id, is_new);
	else
		take_failure(self, item, error, is_new);
}

static void take_lead(struct crm *self, struct item *item, size_t place, const struct answer *answer)
{
	char name[32], number[32];
	bool is_new = !item->lead_id[0];
	snprintf(name, sizeof name, "%c%zu", is_new ? 'L' : 'V', place);
	const json_t *error = error_of(answer, name), *result = result_of(answer, name);
	const char *id = text_of(result, number);
	if (error && !is_new && is_not_found(error))
		crm_lead_gone(self, item);
	else if (is_new ? id[0] && strcmp(id, "0") != 0 : json_is_true(result))
		crm_lead_written(self, item, is_new ? id : item->lead_id);
	else
		take_failure(self, item, error, is_new);
}

static void take_lead_find(struct crm *self, struct item *item, size_t place, const struct answer *answer)
{
	char name[32], number[32];
	snprintf(name, sizeof name, "O%zu", place);
	const json_t *error = error_of(answer, name), *result = result_of(answer, name);
	const char *id = found_in(result, number);
	if (error || !is_list(result)) {
		take_failure(self, item, error, true);
		return;
	}
	snprintf(item->lead_id, sizeof item->lead_id, "%s", id);
	item->step = STEP_LEAD_WRITE;
}

static void take_erase(struct crm *self, struct item *item, const struct answer *answer)
{
	const json_t *error = error_of(answer, "D0");
	if (json_is_true(result_of(answer, "D0")) || (error && is_not_found(error)))
		crm_erased(self, item);
	else
		take_failure(self, item, error, true);
}

static void take_merge(struct crm *self, struct item *item, const struct answer *answer)
{
	char text[2 * REASON_MAX];
	const json_t *result = json_object_get(answer->body, "result");
	const char *status = text_member(result, "STATUS");
	bool is_one = is_not_found(answer->body) || strstr(text_of_error(answer->body), "valid elements") ||
		      strstr(text_of_error(answer->body), "two elements");
	if (strcmp(status, "SUCCESS") == 0 || (!result && is_one)) {
		crm_merged(self, item, item->id);
		return;
	}
	if (strcmp(status, "CONFLICT") == 0)
		snprintf(text, sizeof text,
			 "contacts %s and %s differ too much, merge them by hand: /crm/contact/merge/?id=%s,%s",
			 item->id, item->other_id, item->id, item->other_id);
	else
		snprintf(text, sizeof text, "contact %s is not merged into %s: %.100s", item->other_id, item->id,
			 result ? "it says ERROR; the webhook's user has to be an administrator"
				: text_of_error(answer->body));
	crm_not_merged(self, item, text);
}

static void take(struct crm *self, struct run *run, struct call *call, const struct answer *answer)
{
	(void)run;
	if (call->step == STEP_MERGE) {
		take_merge(self, call->items[0], answer);
		return;
	}
	note_operating(self, answer);
	for (size_t i = 0; i < call->count; i++) {
		struct item *item = call->items[i];
		switch (call->step) {
		case STEP_FIND: take_find(self, item, i, answer); break;
		case STEP_READ: take_read(self, item, i, answer); break;
		case STEP_WRITE: take_write(self, item, i, answer); break;
		case STEP_LEAD_FIND: take_lead_find(self, item, i, answer); break;
		case STEP_LEAD_WRITE: take_lead(self, item, i, answer); break;
		default: take_erase(self, item, answer); break;
		}
	}
}

static const char *refuse(const struct crm *self, const struct item *item)
{
	(void)self;
	for (size_t i = 0; i < LISTS; i++) {
		const json_t *list = json_object_get(item->contact, lists[i]);
		if (list && !json_is_array(list))
			return "Bitrix24: EMAIL, PHONE, WEB, IM and LINK are lists of {VALUE, VALUE_TYPE}";
		for (size_t k = 0; k < json_array_size(list); k++)
			if (!json_is_object(json_array_get(list, k)))
				return "Bitrix24: EMAIL, PHONE, WEB, IM and LINK are lists of {VALUE, VALUE_TYPE}";
	}
	return NULL;
}

static json_t *field(const char *name, const char *value)
{
	return json_pack("{s:s}", name, value);
}

static const char *check(const struct crm *self)
{
	const char *host = self->url ? strstr(self->url, "://") : NULL;
	if (!host || !strstr(host, "/rest/"))
		return "bitrix24 needs `webhook`: the URL of an inbound webhook, https://…/rest/1/…/";
	return NULL;
}

const struct provider bitrix24 = {
    .name = "bitrix24",
    .title = "Bitrix24",
    .requests_per_second = 2,
    .burst = 10, /* 50 are allowed, to all that ask from this address */
    .window = COMMANDS_MAX,
    .ready_max = COMMANDS_MAX,
    .has_leads = true,
    .check = check,
    .first = first,
    .refuse = refuse,
    .make = make,
    .judge = judge,
    .take = take,
    .field = field,
};
