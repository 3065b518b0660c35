#include "profile/expiry.h"

#include "profile/consent_fold.h"
#include "profile/origin.h"
#include "profile/segments.h"
#include "profile/trait.h"

static int put_entry(struct people *people, int64_t at, const struct fragment_id *fragment)
{
	uint8_t key[DUE_KEY_SIZE];
	due_key(at, fragment, key);
	return due_put(people->txn, people->segments->tables.expiries, key);
}

static int delete_entry(struct people *people, int64_t at, const struct fragment_id *fragment)
{
	uint8_t key[DUE_KEY_SIZE];
	due_key(at, fragment, key);
	return due_del(people->txn, people->segments->tables.expiries, key);
}

int expiry_note(struct people *people, int64_t at, const struct fragment_id *fragment, int64_t t)
{
	struct segments *segments = people->segments;
	if (at <= t) return OK;
	if (at < segments->working.next_expiry) segments->working.next_expiry = at;
	return put_entry(people, at, fragment);
}

/* Whose it is must be asked of the table in any case: time alone is remembered. */
int expiry_next(struct people *people, struct fragment_id *fragment)
{
	struct segments *segments = people->segments;
	if (segments->is_expiry_known && segments->working.next_expiry == INT64_MAX) return OK;
	int rc = due_first(people->txn, segments->tables.expiries, &segments->working.next_expiry, fragment);
	if (rc && rc != ERR_NOT_FOUND) return rc;
	if (rc) segments->working.next_expiry = INT64_MAX;
	segments->is_expiry_known = true;
	return OK;
}

/* ── telling ─────────────────────────────────────────────────────────────── */

struct expiring {
	struct people *people;
	const struct row *fragment, *view; /* view: shows the profile */
	struct slot *head;
	uint64_t seq;
	int64_t t, at;
};

static int tell_consents(const struct expiring *expiring)
{
	const struct consent_list *own = &expiring->fragment->consents;
	for (size_t i = 0; i < own->count; i++) {
		const struct consent *grant = &own->items[i];
		if (grant->expires != expiring->at || grant->state != CONSENT_GRANTED) continue;
		const struct consent *shown = consent_lookup(&expiring->view->consents, grant->purpose, grant->channel);
		if (!shown || shown->position != grant->position) continue;
		int rc =
		    consent_tell_expired(expiring->people, expiring->head->id.bytes, shown, expiring->seq, expiring->t);
		if (rc) return rc;
	}
	return OK;
}

static bool is_same_value(const struct row_trait *a, const struct row_trait *b)
{
	return a->provenance == b->provenance && a->stamp->time == b->stamp->time &&
	       str_eq(a->stamp->message_id, b->stamp->message_id) && str_eq(a->stamp->source, b->stamp->source) &&
	       str_eq(a->origin, b->origin);
}

static bool fragment_has(const struct row *fragment, const struct row_trait *trait)
{
	for (size_t i = 0; i < fragment->trait_count; i++)
		if (str_eq(fragment->traits[i].name, trait->name) && is_same_value(&fragment->traits[i], trait))
			return true;
	return false;
}

/* What is shown from now on: the next value in force, or null. */
static void write_trait(struct json_out *out, const struct row_trait *was, const struct row_trait *now)
{
	jo_key(out, was->name);
	jo_object(out);
	jo_key(out, STR("value"));
	if (now)
		jo_raw(out, now->value);
	else
		jo_null(out);
	if (now) {
		jo_key(out, STR("provenance"));
		jo_str(out, str_from(provenance_name(now->provenance)));
	}
	jo_end_object(out);
}

static size_t write_traits(const struct expiring *expiring, struct json_out *out)
{
	const struct row *view = expiring->view;
	size_t count = 0;
	for (size_t i = 0; i < view->trait_count; i = trait_next_name(view, i)) {
		const struct row_trait *was = trait_in_force(view, i, expiring->at - 1);
		if (!was || origin_expiry(was->origin) != expiring->at || !fragment_has(expiring->fragment, was))
			continue;
		write_trait(out, was, trait_in_force(view, i, expiring->at));
		count++;
	}
	return count;
}

static int tell_traits(const struct expiring *expiring)
{
	struct people *people = expiring->people;
	struct json_out out;
	buf_clear(&people->json);
	json_out_init(&out, &people->json);
	jo_object(&out);
	jo_key(&out, STR("traits"));
	jo_object(&out);
	size_t count = write_traits(expiring, &out);
	jo_end_object(&out);
	jo_key(&out, STR("why"));
	jo_str(&out, STR("time"));
	jo_key(&out, STR("dueAt"));
	jo_time(&out, expiring->at);
	jo_end_object(&out);
	if (out.status || !count) return out.status;
	struct change change = {
	    .kind = CHANGE_TRAIT, .cause_seq = expiring->seq, .t = expiring->t, .body = buf_str(&people->json)};
	memcpy(change.profile, expiring->head->id.bytes, sizeof change.profile);
	expiring->head->has_expired = true;
	return people_append_change(people, &change);
}

/* ERR_NOT_FOUND: there is no such fragment any more. */
static int load(struct expiring *expiring, const struct fragment_id *id)
{
	struct cache *cache = &expiring->people->cache;
	struct slot *slot;
	struct row *row;
	int rc = cache_slot(cache, id, &slot);
	if (!rc) rc = cache_row(cache, slot, false, &row);
	if (rc) return rc;
	rc = cache_cold(cache, slot, false);
	expiring->fragment = expiring->view = row;
	expiring->head = slot;
	if (rc || (fragment_id_eq(&row->profile, &row->id) && !row->has_merged)) return rc;
	rc = cache_slot(cache, &row->profile, &expiring->head);
	if (!rc) rc = cache_row(cache, expiring->head, true, &row);
	if (!rc) rc = cache_cold(cache, expiring->head, true);
	expiring->view = row;
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

int expiry_fire(struct people *people, const struct fragment_id *fragment, uint64_t seq, int64_t t)
{
	struct segments *segments = people->segments;
	struct expiring expiring = {.people = people, .seq = seq, .t = t, .at = segments->working.next_expiry};
	int rc = delete_entry(people, expiring.at, fragment);
	segments->is_expiry_known = false;
	if (!rc) rc = load(&expiring, fragment);
	if (rc) return rc == ERR_NOT_FOUND ? OK : rc;
	metric_add(segments->expired, 1);
	rc = tell_consents(&expiring);
	if (!rc) rc = tell_traits(&expiring);
	/* What the transaction changed before is told at its end as of now: an answer that has run out meanwhile is not. */
	return rc ? rc : cache_view(&people->cache, expiring.head, seq, t);
}

/* ── erasure ─────────────────────────────────────────────────────────────── */

static int drop(struct people *people, int64_t at, const struct fragment_id *fragment)
{
	struct segments *segments = people->segments;
	int rc = at ? delete_entry(people, at, fragment) : ERR_NOT_FOUND;
	if (!rc && at == segments->working.next_expiry) segments->is_expiry_known = false;
	return rc == ERR_NOT_FOUND ? OK : rc;
}

int expiry_forget(struct people *people, struct slot *slot)
{
	struct row *row;
	int rc = cache_row(&people->cache, slot, false, &row);
	if (!rc) rc = cache_cold(&people->cache, slot, false);
	for (size_t i = 0; !rc && i < row->consents.count; i++)
		rc = drop(people, row->consents.items[i].expires, &row->id);
	for (size_t i = 0; !rc && i < row->trait_count; i++)
		rc = drop(people, origin_expiry(row->traits[i].origin), &row->id);
	return rc;
}
