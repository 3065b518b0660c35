#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "crm.h"

/* ── its end ─────────────────────────────────────────────────────────────── */

void item_fini(struct item *item)
{
	json_decref(item->contact);
	json_decref(item->lead);
	json_decref(item->old);
	json_decref(item->profiles);
}

void item_settle(struct item *item, enum cdpd_verdict verdict, int64_t after_ms, const char *fmt, ...)
{
	va_list args;
	item->step = STEP_DONE;
	item->verdict = verdict;
	item->after_ms = after_ms;
	va_start(args, fmt);
	vsnprintf(item->reason, sizeof item->reason, fmt, args);
	va_end(args);
}

void item_ack(struct item *item)
{
	item->step = STEP_DONE;
	item->verdict = CDPD_ACK;
}

static void drop(struct item *item, const char *why)
{
	item_settle(item, CDPD_DROP, 0, "%s", why);
}

/* ── what a record says ──────────────────────────────────────────────────── */

static bool copy(char *to, size_t size, const char *from)
{
	size_t len = strlen(from);
	if (len >= size) return false;
	memcpy(to, from, len + 1);
	return true;
}

static void take_profile(char to[PROFILE_MAX + 1], struct cdpd_str from)
{
	size_t len = from.len <= PROFILE_MAX ? from.len : 0;
	memcpy(to, from.ptr, len);
	to[len] = '\0';
}

/* A text, or the first of a list of texts. */
static const char *first_text(const json_t *value)
{
	if (json_is_array(value)) value = json_array_get(value, 0);
	const char *text = json_string_value(value);
	return text ? text : "";
}

static bool take_key(struct item *item, const json_t *key)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)key, name, value)
	{
		bool is_email = strcmp(name, "email") == 0;
		if (!is_email && strcmp(name, "phone") != 0) {
			item_settle(item, CDPD_DROP, 0, "unknown member 'key.%.60s' (there are email and phone)", name);
			return false;
		}
		char *to = is_email ? item->email : item->phone;
		if (!copy(to, is_email ? sizeof item->email : sizeof item->phone, first_text(value))) {
			item_settle(item, CDPD_DROP, 0, "key.%s is too long", name);
			return false;
		}
	}
	text_lower(item->email);
	return true;
}

static bool take_member(struct item *item, const char *name, json_t *value)
{
	bool is_contact = strcmp(name, "contact") == 0;
	if (is_contact || strcmp(name, "lead") == 0) {
		if (!json_is_object(value)) {
			item_settle(item, CDPD_DROP, 0, "`%s` is no object", name);
			return false;
		}
		json_t **at = is_contact ? &item->contact : &item->lead;
		*at = json_incref(value);
		return true;
	}
	if (strcmp(name, "key") == 0) {
		if (json_is_object(value)) return take_key(item, value);
		drop(item, "`key` is no object");
		return false;
	}
	if (strcmp(name, "lead_key") == 0) {
		char number[32];
		if (copy(item->lead_key, sizeof item->lead_key, text_of(value, number))) return true;
		drop(item, "`lead_key` is too long");
		return false;
	}
	item_settle(item, CDPD_DROP, 0, "unknown member '%.60s' (there are contact, key, lead, lead_key)", name);
	return false;
}

static void read_put(struct crm *self, struct item *item, json_t *root)
{
	const char *name;
	json_t *value;
	item->kind = KIND_PUT;
	if (!json_object_get(root, "contact") && !json_object_get(root, "lead")) {
		drop(item, "it holds neither `contact` nor `lead`: the destination's mapping has to make one");
		return;
	}
	json_object_foreach(root, name, value)
	{
		if (!take_member(item, name, value)) return;
	}
	if (item->lead && !self->provider->has_leads) {
		item_settle(item, CDPD_DROP, 0, "%s: there are contacts only, no `lead`", self->provider->title);
		return;
	}
	const char *why = self->provider->refuse ? self->provider->refuse(self, item) : NULL;
	if (why) drop(item, why);
}

/* The ids under which somebody may be known. */
static void read_erased(struct item *item, const json_t *ids)
{
	item->kind = KIND_ERASE;
	item->profiles = json_array();
	for (size_t i = 0; i < json_array_size(ids); i++)
		if (json_is_string(json_array_get(ids, i))) json_array_append(item->profiles, json_array_get(ids, i));
	if (!item->profiles) item_settle(item, CDPD_RETRY, 0, "out of memory");
}

/* A profile that is no more. */
static void read_gone(struct item *item, const json_t *root, const char *gone)
{
	const char *into = text_member(root, "mergedInto"), *id = text_member(root, "id");
	if (!item->profile[0]) take_profile(item->profile, (struct cdpd_str){id, strlen(id)});
	item->kind = KIND_FORGET;
	if (strcmp(gone, "merged") == 0 && into[0]) {
		item->kind = KIND_MERGE;
		take_profile(item->other, (struct cdpd_str){into, strlen(into)});
	}
	if (strcmp(gone, "erased") == 0) {
		json_t *ids = json_pack("[s]", item->profile);
		read_erased(item, ids);
		json_decref(ids);
	}
}

static void read_withdrawn(struct crm *self, struct item *item, const json_t *ids)
{
	if (!self->withdrawn_field) {
		item_ack(item);
		return;
	}
	read_erased(item, ids);
	item->kind = KIND_MARK;
	item->contact = self->provider->field(self->withdrawn_field, self->withdrawn_value);
	if (!item->contact) item_settle(item, CDPD_RETRY, 0, "out of memory");
}

static void read_object(struct crm *self, struct item *item, json_t *root)
{
	const char *type = text_member(root, "type"), *gone = text_member(root, "gone");
	if (strcmp(type, "erased") == 0)
		read_erased(item, json_object_get(root, "profileIds"));
	else if (strcmp(type, "withdrawn") == 0)
		read_withdrawn(self, item, json_object_get(root, "profileIds"));
	else if (strcmp(type, "profile") == 0 && gone[0])
		read_gone(item, root, gone);
	else
		read_put(self, item, root);
}

void item_read(struct crm *self, struct item *item, const struct cdpd_record *record)
{
	item->group_max = WINDOW_MAX;
	take_profile(item->profile, record->profile_id);
	json_t *root = json_loadb(record->json.ptr, record->json.len, 0, NULL);
	if (json_is_object(root))
		read_object(self, item, root);
	else
		drop(item, "it is no JSON object");
	json_decref(root);
}

/* ── neighbours ──────────────────────────────────────────────────────────── */

bool item_is_same_person(const struct item *a, const struct item *b)
{
	return a->profile[0] && strcmp(a->profile, b->profile) == 0;
}

bool item_has_same_key(const struct item *a, const struct item *b)
{
	if (a->email[0] && strcmp(a->email, b->email) == 0) return true;
	return a->phone[0] && text_is_same_phone(a->phone, b->phone);
}

bool item_fold(struct item *item, struct item *later)
{
	if (!item->contact || !later->contact || item->lead || later->lead) return false;
	if (json_object_update(item->contact, later->contact)) return false;
	if (later->email[0]) memcpy(item->email, later->email, sizeof item->email);
	if (later->phone[0]) memcpy(item->phone, later->phone, sizeof item->phone);
	later->leader = item;
	return true;
}
