#include "ctl/show.h"

#include <inttypes.h>
#include <stdio.h>

#include "ctl/print.h"

#define VALUE_MAX 60

static bool list_at(struct json root, const char *key, struct json *list)
{
	return json_get(root, str_from(key), list) && json_count(*list) > 0;
}

/* "2026-11-21T20:49:59.801234Z" is more than a person reads: to the second. */
static void cell_time(struct table *table, struct json row, const char *path)
{
	struct str text = json_text_at(row, path);
	if (text.len >= 19)
		table_cell_f(table, "%.10s %.8s", text.ptr, text.ptr + 11);
	else
		table_cell(table, STR("-"));
}

static void cell_or_dash(struct table *table, struct str text)
{
	table_cell(table, text.len ? text : STR("-"));
}

/* ── status ──────────────────────────────────────────────────────────────── */

static void show_counters(struct json root)
{
	(void)printf("Events    %" PRId64 " received = %" PRId64 " applied + %" PRId64 " duplicate + %" PRId64
		     " rejected + %" PRId64 " erased + %" PRId64 " pending%s\n",
		     json_int_at(root, "events.received"), json_int_at(root, "events.applied"),
		     json_int_at(root, "events.duplicate"), json_int_at(root, "events.rejected"),
		     json_int_at(root, "events.erased"), json_int_at(root, "events.pending"),
		     json_bool_at(root, "balanced") ? "" : "   NOT BALANCED: report this");
}

static void show_rejected_by(struct json root)
{
	struct json reasons, value;
	struct json_iter it;
	struct str reason;
	if (!json_get_path(root, STR("journal.rejectedBy"), &reasons) || !json_count(reasons)) return;
	(void)printf("          rejected before the journal:");
	for (json_iter_start(reasons, &it); json_next_member(&it, &reason, &value);) {
		int64_t count = 0;
		(void)json_int(value, &count);
		(void)printf(" %.*s %" PRId64, STR_ARG(reason), count);
	}
	(void)putchar('\n');
}

static void show_journal(struct json root)
{
	char bytes[32];
	struct str refusal = json_text_at(root, "journal.refusal");
	format_bytes((uint64_t)json_int_at(root, "journal.bytes"), bytes);
	(void)printf("Journal   positions %" PRId64 " to %" PRId64 ", %s on disk, ", json_int_at(root, "journal.first"),
		     json_int_at(root, "journal.next") - 1, bytes);
	if (refusal.len)
		(void)printf("REFUSING WRITES: %.*s\n", STR_ARG(refusal));
	else
		(void)printf("taking writes\n");
	if (json_bool_at(root, "journal.clockHeld"))
		(void)printf("          THE CLOCK JUMPED: due actions are held until someone confirms (POST "
			     "/v1/admin/clock/confirm)\n");
}

static void show_fold(struct json root)
{
	char window[32];
	int64_t pending = json_int_at(root, "fold.pending");
	format_seconds(json_int_at(root, "fold.dedupWindowSeconds"), window);
	if (pending)
		(void)printf("Fold      %" PRId64 " records behind", pending);
	else
		(void)printf("Fold      caught up");
	(void)printf(", %" PRId64 " message ids remembered (window %s)%s\n", json_int_at(root, "fold.dedupIds"), window,
		     json_bool_at(root, "fold.ready") ? "" : ", still preparing");
}

static void show_counting(struct json root)
{
	struct json percent;
	double done = 0;
	if (!json_get_path(root, STR("features.counting.percent"), &percent) || !json_double(percent, &done)) return;
	(void)printf("Features  %" PRId64 " new, counting what was there before them: %.1f %%, at position %" PRId64
		     " of %" PRId64 "\n",
		     json_int_at(root, "features.counting.features"), done, json_int_at(root, "features.counting.next"),
		     json_int_at(root, "features.counting.end"));
}

static void show_segments(struct json root)
{
	int64_t defined = json_int_at(root, "segments.defined");
	struct json evaluating, percent;
	double done = 0;
	if (!defined && !json_get_path(root, STR("segments.evaluating.percent"), &percent)) return;
	(void)printf("Segments  %" PRId64 " defined, ", defined);
	if (json_get_path(root, STR("segments.evaluating"), &evaluating) &&
	    json_get(evaluating, STR("percent"), &percent) && json_double(percent, &done))
		(void)printf("changed definitions being applied: %.1f %%, %" PRId64 " identifiers looked at\n", done,
			     json_int_at(root, "segments.evaluating.evaluated"));
	else
		(void)printf("everybody evaluated\n");
}

void show_status(struct json root, const char *url)
{
	char uptime[32], resident[32], anonymous[32];
	struct str version = json_text_at(root, "version");
	format_seconds(json_int_at(root, "uptimeSeconds"), uptime);
	format_bytes((uint64_t)json_int_at(root, "memory.residentBytes"), resident);
	format_bytes((uint64_t)json_int_at(root, "memory.anonymousBytes"), anonymous);
	(void)printf("cdpd %.*s at %s, up %s\n\n", STR_ARG(version), url, uptime);
	show_counters(root);
	show_rejected_by(root);
	show_journal(root);
	show_fold(root);
	show_counting(root);
	show_segments(root);
	(void)printf("Memory    %s resident, %s of it anonymous\n", resident, anonymous);
	struct json list;
	if (!list_at(root, "destinations", &list)) return;
	(void)printf("\nDestinations\n");
	show_destinations(root);
}

void show_consent_chain(struct json root)
{
	struct str head = json_text_at(root, "head"), why = json_text_at(root, "why");
	int64_t rows = json_int_at(root, "rows"), erased = json_int_at(root, "erased");
	if (json_bool_at(root, "intact"))
		(void)printf("The consent log is intact: %" PRId64 " rows, %" PRId64 " of them erased.\nHead %.*s\n",
			     rows, erased, STR_ARG(head));
	else
		(void)printf("The consent log is BROKEN at row %" PRId64 ": %.*s. %" PRId64
			     " rows before it are intact.\n",
			     json_int_at(root, "brokenAt"), STR_ARG(why), rows);
}

void show_link(struct json root)
{
	struct str url = json_text_at(root, "url");
	(void)printf("%.*s\n", STR_ARG(url));
}

/* Age of the oldest record that waits. */
static void cell_behind(struct table *table, struct json row)
{
	struct json value;
	double seconds = 0;
	char text[32];
	if (json_get(row, STR("lagSeconds"), &value)) (void)json_double(value, &seconds);
	format_seconds((int64_t)seconds, text);
	table_cell(table, seconds > 0 ? str_from(text) : STR("-"));
}

static struct str state_of(struct json row)
{
	struct str state = json_text_at(row, "state");
	if (json_bool_at(row, "paused")) return STR("paused");
	if (str_eq(state, STR("full")) || str_eq(state, STR("stopped"))) return state;
	return json_bool_at(row, "failing") ? STR("failing") : STR("ok");
}

void show_destinations(struct json root)
{
	static const char *const TITLES[] = {
	    "NAME",     "PLUGIN",  "STATE",   "LAG",    "BEHIND",       "DELIVERED",    "PARKED",     "DEAD LETTERS",
	    "FILTERED", "RETRIES", "EXPIRED", "DENIED", "LAST SUCCESS", "NEXT ATTEMPT", "LAST ERROR", NULL};
	struct json list, row;
	struct json_iter it;
	if (!list_at(root, "destinations", &list)) {
		(void)printf("No destinations are configured.\n");
		return;
	}
	struct table *table = table_new(TITLES);
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		table_cell(table, json_text_at(row, "name"));
		table_cell(table, json_text_at(row, "plugin"));
		table_cell(table, state_of(row));
		table_cell_f(table, "%" PRId64, json_int_at(row, "lag"));
		cell_behind(table, row);
		table_cell_f(table, "%" PRId64, json_int_at(row, "delivered"));
		table_cell_f(table, "%" PRId64, json_int_at(row, "parked"));
		table_cell_f(table, "%" PRId64, json_int_at(row, "deadLetters"));
		table_cell_f(table, "%" PRId64, json_int_at(row, "filtered"));
		table_cell_f(table, "%" PRId64, json_int_at(row, "retries"));
		table_cell_f(table, "%" PRId64, json_int_at(row, "expiredRecords"));
		table_cell_f(table, "%" PRId64, json_int_at(row, "denied"));
		cell_time(table, row, "lastSuccessAt");
		cell_time(table, row, "nextAttemptAt");
		cell_or_dash(table, json_text_at(row, "lastError"));
	}
	table_print(table, stdout, 2);
}

void show_plugins(struct json root)
{
	static const char *const TITLES[] = {"NAME",   "PLUGIN", "KIND",       "VERSION", "PROCESS",
					     "STARTS", "DEATHS", "LAST DEATH", "AT",      NULL};
	struct json list, row, process;
	struct json_iter it;
	if (!list_at(root, "plugins", &list)) {
		(void)printf("No plugins are configured.\n");
		return;
	}
	struct table *table = table_new(TITLES);
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		bool is_isolated = json_get(row, STR("process"), &process);
		table_cell(table, json_text_at(row, "name"));
		table_cell(table, json_text_at(row, "plugin"));
		table_cell(table, json_text_at(row, "kind"));
		cell_or_dash(table, json_text_at(row, "version"));
		if (!is_isolated)
			table_cell(table, STR("the daemon's"));
		else
			table_cell(table, json_bool_at(process, "up") ? STR("up") : STR("down"));
		table_cell_f(table, "%" PRId64, is_isolated ? json_int_at(process, "starts") : 0);
		table_cell_f(table, "%" PRId64, is_isolated ? json_int_at(process, "deaths") : 0);
		cell_or_dash(table, json_text_at(row, "process.lastDeath"));
		cell_time(table, row, "process.lastDeathAt");
	}
	table_print(table, stdout, 2);
}

static void cell_list(struct table *table, struct json row, const char *key)
{
	struct json list, item;
	struct json_iter it;
	struct str text;
	struct buf joined;
	buf_init(&joined, 4096);
	int rc = OK;
	if (list_at(row, key, &list))
		for (json_iter_start(list, &it); json_next_element(&it, &item) && rc == OK;) {
			if (joined.len) rc = buf_append_str(&joined, STR(", "));
			if (rc == OK && json_str(item, &text)) rc = buf_append_str(&joined, text);
		}
	cell_or_dash(table, buf_str(&joined));
	buf_fini(&joined);
}

void show_sources(struct json root)
{
	static const char *const TITLES[] = {"SOURCE", "KIND", "KEYS", "MAY", "ORIGINS", "EVENTS/S", NULL};
	struct json list, row;
	struct json_iter it;
	struct table *table = table_new(TITLES);
	if (list_at(root, "sources", &list))
		for (json_iter_start(list, &it); json_next_element(&it, &row);) {
			table_cell(table, json_text_at(row, "id"));
			table_cell(table, json_text_at(row, "kind"));
			table_cell_f(table, "%" PRId64, json_int_at(row, "writeKeys"));
			cell_list(table, row, "may");
			cell_list(table, row, "origins");
			int64_t limit = json_int_at(row, "eventsPerSecond");
			if (limit)
				table_cell_f(table, "%" PRId64, limit);
			else
				table_cell(table, STR("no limit"));
		}
	if (!table_rows(table)) (void)printf("No sources are configured.\n");
	table_print(table, stdout, 0);
}

/* ── a person ────────────────────────────────────────────────────────────── */

static void show_identifiers(struct json root)
{
	static const char *const TITLES[] = {"IDENTIFIER", "EVENTS", "FIRST SEEN", "LAST SEEN", NULL};
	struct json list, row;
	struct json_iter it;
	if (!list_at(root, "identifiers", &list)) return;
	struct table *table = table_new(TITLES);
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		struct str name = json_text_at(row, "namespace"), value = json_text_at(row, "value");
		table_cell_f(table, "%.*s:%.*s", (int)(name.len < 64 ? name.len : 64), name.ptr,
			     (int)(value.len < 160 ? value.len : 160), value.ptr);
		table_cell_f(table, "%" PRId64, json_int_at(row, "events"));
		cell_time(table, row, "firstSeen");
		cell_time(table, row, "lastSeen");
	}
	table_print(table, stdout, 2);
}

static void show_traits(struct json root)
{
	static const char *const TITLES[] = {"TRAIT", "VALUE", "PROVENANCE", "SOURCE", "UPDATED", NULL};
	struct json map, row, value;
	struct json_iter it;
	struct str name;
	if (!list_at(root, "traits", &map)) return;
	struct table *table = table_new(TITLES);
	for (json_iter_start(map, &it); json_next_member(&it, &name, &row);) {
		table_cell(table, name);
		if (json_get(row, STR("value"), &value))
			table_cell_json(table, value, VALUE_MAX);
		else
			table_cell(table, STR("-"));
		table_cell(table, json_text_at(row, "provenance"));
		cell_or_dash(table, json_text_at(row, "source"));
		cell_time(table, row, "updatedAt");
	}
	(void)putchar('\n');
	table_print(table, stdout, 2);
}

static void show_features(struct json root)
{
	static const char *const TITLES[] = {"FEATURE", "VALUE", NULL};
	struct json map, value;
	struct json_iter it;
	struct str name;
	if (!list_at(root, "features", &map)) return;
	struct table *table = table_new(TITLES);
	for (json_iter_start(map, &it); json_next_member(&it, &name, &value);) {
		table_cell(table, name);
		table_cell_json(table, value, VALUE_MAX);
	}
	(void)putchar('\n');
	table_print(table, stdout, 2);
}

static void show_consents(struct json root)
{
	static const char *const TITLES[] = {"PURPOSE", "CHANNEL", "STATE", "BASIS", "SINCE", "UNTIL", "SOURCE", NULL};
	struct json list, row;
	struct json_iter it;
	if (!list_at(root, "consents", &list)) return;
	struct table *table = table_new(TITLES);
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		struct str channel = json_text_at(row, "channel");
		table_cell(table, json_text_at(row, "purpose"));
		table_cell(table, channel.len ? channel : STR("all"));
		table_cell(table, json_text_at(row, "state"));
		table_cell(table, json_text_at(row, "basis"));
		cell_time(table, row, "at");
		cell_time(table, row, "expiresAt");
		table_cell(table, json_text_at(row, "source"));
	}
	(void)putchar('\n');
	table_print(table, stdout, 2);
}

/* One line: names have no spaces. */
static void show_segments_of(struct json root)
{
	struct json list, item;
	struct json_iter it;
	struct str name;
	if (!list_at(root, "segments", &list)) return;
	(void)printf("\nSegments\n ");
	for (json_iter_start(list, &it); json_next_element(&it, &item);)
		if (json_str(item, &name)) (void)printf(" %.*s", STR_ARG(name));
	(void)putchar('\n');
}

void show_profile(struct json root)
{
	struct str id = json_text_at(root, "id"), requested = json_text_at(root, "requestedId");
	(void)printf("Profile %.*s", STR_ARG(id));
	if (requested.len) (void)printf(" (asked for %.*s, which was joined into it)", STR_ARG(requested));
	(void)printf("\n\n");
	show_identifiers(root);
	show_traits(root);
	show_features(root);
	show_consents(root);
	show_segments_of(root);
}

/* What an event is called: its name for tracks and pages, else its type. */
static struct str event_title(struct json event)
{
	struct str title = json_text_at(event, "event");
	return title.len ? title : json_text_at(event, "name");
}

void show_events(struct json root)
{
	static const char *const TITLES[] = {"TIME", "TYPE", "EVENT", "SOURCE", "MESSAGE ID", NULL};
	struct json list, event;
	struct json_iter it;
	(void)putchar('\n');
	if (!list_at(root, "events", &list)) {
		(void)printf("  no events\n");
		return;
	}
	struct table *table = table_new(TITLES);
	for (json_iter_start(list, &it); json_next_element(&it, &event);) {
		cell_time(table, event, "timestamp");
		table_cell(table, json_text_at(event, "type"));
		cell_or_dash(table, event_title(event));
		table_cell(table, json_text_at(event, "sourceId"));
		table_cell(table, json_text_at(event, "messageId"));
	}
	table_print(table, stdout, 2);
	if (json_text_at(root, "next").len) (void)printf("  … older ones with --limit\n");
}

/* ── events and rejects ──────────────────────────────────────────────────── */

static void line(const char *title, struct str text)
{
	if (!text.len) return;
	(void)printf("  %-12s", title);
	print_text(stdout, text);
	(void)putchar('\n');
}

/* What of the tracking plan the event breaks. */
static void show_violations(struct json event)
{
	struct json list, row;
	struct json_iter it;
	if (!list_at(event, "violations", &list)) return;
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		(void)printf("  %-12s", "violates");
		print_text(stdout, json_text_at(row, "pointer"));
		(void)printf(": ");
		print_text(stdout, json_text_at(row, "message"));
		(void)putchar('\n');
	}
}

static void show_traced_event(struct json event)
{
	struct str verdict = json_text_at(event, "outcome.verdict");
	struct json list, row;
	struct json_iter it;
	(void)printf("In the journal: %.*s\n", STR_ARG(verdict));
	line("reason", json_text_at(event, "outcome.reason"));
	line("type", json_text_at(event, "type"));
	line("event", event_title(event));
	line("source", json_text_at(event, "sourceId"));
	line("event time", json_text_at(event, "timestamp"));
	line("received", json_text_at(event, "receivedAt"));
	line("position", json_text_at(event, "position"));
	line("same as", json_text_at(event, "outcome.duplicateOf"));
	line("profile", json_text_at(event, "profile"));
	show_violations(event);
	if (!list_at(event, "destinations", &list)) return;
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		struct str name = json_text_at(row, "name"), state = json_text_at(row, "state");
		(void)printf("  %-12s%.*s: %.*s\n", "destination", STR_ARG(name), STR_ARG(state));
	}
}

static void show_reject(struct json row)
{
	struct str code = json_text_at(row, "code");
	(void)printf("Refused before the journal: %.*s\n", STR_ARG(code));
	line("why", json_text_at(row, "message"));
	line("where", json_text_at(row, "pointer"));
	line("source", json_text_at(row, "source"));
	line("at", json_text_at(row, "at"));
	line("as sent", json_text_at(row, "excerpt"));
}

void show_trace(struct json root)
{
	struct json list, row;
	struct json_iter it;
	if (list_at(root, "events", &list))
		for (json_iter_start(list, &it); json_next_element(&it, &row);) show_traced_event(row);
	if (list_at(root, "rejects", &list))
		for (json_iter_start(list, &it); json_next_element(&it, &row);) show_reject(row);
	if (!json_bool_at(root, "found"))
		(void)printf("No trace of it in the retained journal, nor among the rejects kept.\n");
}

void show_rejects(struct json root)
{
	static const char *const TITLES[] = {"AT", "STAGE", "CODE", "SOURCE", "MESSAGE ID", "WHERE", "WHY", NULL};
	struct json list, row;
	struct json_iter it;
	if (!list_at(root, "rejects", &list)) {
		(void)printf("Nothing was rejected.\n");
		return;
	}
	struct table *table = table_new(TITLES);
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		struct str why = json_text_at(row, "message");
		cell_time(table, row, "at");
		table_cell(table, json_text_at(row, "stage"));
		table_cell(table, json_text_at(row, "code"));
		cell_or_dash(table, json_text_at(row, "source"));
		cell_or_dash(table, json_text_at(row, "messageId"));
		cell_or_dash(table, json_text_at(row, "pointer"));
		cell_or_dash(table, why.len ? why : json_text_at(row, "outcome.reason"));
	}
	table_print(table, stdout, 0);
}

static struct json first_of(struct json list)
{
	struct json_iter it;
	struct json first = list;
	json_iter_start(list, &it);
	(void)json_next_element(&it, &first);
	return first;
}

void show_tail_event(struct json event)
{
	struct json list;
	struct str at = json_text_at(event, "receivedAt"), verdict = json_text_at(event, "outcome.verdict");
	struct str user = json_text_at(event, "userId"), type = json_text_at(event, "type");
	if (!user.len) user = json_text_at(event, "anonymousId");
	(void)printf("%.*s  %-10.*s %-9.*s", at.len >= 19 ? 19 : (int)at.len, at.ptr, STR_ARG(verdict), STR_ARG(type));
	print_text(stdout, event_title(event));
	(void)printf("  ");
	print_text(stdout, user);
	(void)printf("  ");
	print_text(stdout, json_text_at(event, "messageId"));
	if (list_at(event, "violations", &list)) {
		(void)printf("  violates the plan at ");
		print_text(stdout, json_text_at(first_of(list), "pointer"));
	}
	(void)putchar('\n');
	(void)fflush(stdout);
}

/* ── merge and unmerge ───────────────────────────────────────────────────── */

static void show_list(const char *title, struct json row, const char *key)
{
	struct json list, item;
	struct json_iter it;
	struct str text;
	if (!list_at(row, key, &list)) return;
	(void)printf("  %s", title);
	for (json_iter_start(list, &it); json_next_element(&it, &item);) {
		(void)putchar(' ');
		if (json_str(item, &text)) print_text(stdout, text);
	}
	(void)putchar('\n');
}

static void show_links(const char *title, struct json root, const char *key)
{
	struct json list, row;
	struct json_iter it;
	if (!list_at(root, key, &list)) return;
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		(void)printf("  %s ", title);
		print_text(stdout, json_text_at(row, "a"));
		(void)printf(" - ");
		print_text(stdout, json_text_at(row, "b"));
		struct str rule = json_text_at(row, "rule"), at = json_text_at(row, "at");
		(void)printf("  (%.*s, %.*s)\n", STR_ARG(rule), at.len > 19 ? 19 : (int)at.len, at.ptr);
	}
}

static void show_conflicts(struct json root)
{
	static const char *const TITLES[] = {"TRAIT", "SHOWN", "NOT SHOWN", NULL};
	struct json list, row, value;
	struct json_iter it;
	if (!list_at(root, "conflicts", &list)) return;
	struct table *table = table_new(TITLES);
	for (json_iter_start(list, &it); json_next_element(&it, &row);) {
		table_cell(table, json_text_at(row, "trait"));
		if (json_get(row, STR("winner"), &value)) table_cell_json(table, value, VALUE_MAX);
		if (json_get(row, STR("loser"), &value)) table_cell_json(table, value, VALUE_MAX);
	}
	table_print(table, stdout, 2);
}

static void show_preview(struct json root)
{
	struct json list, row;
	struct json_iter it;
	struct str reason = json_text_at(root, "reason"), name;
	if (reason.len) (void)printf("It would be refused: %.*s\n", STR_ARG(reason));
	if (list_at(root, "limits", &list))
		for (json_iter_start(list, &it); json_next_element(&it, &row);) {
			reason = json_text_at(row, "reason");
			name = json_text_at(row, "namespace");
			(void)printf("  limit %.*s %.*s\n", STR_ARG(reason), STR_ARG(name));
		}
	if (!json_bool_at(root, "allowed")) return;
	(void)printf("%s\n", json_bool_at(root, "alreadyOne") ? "They are one person already."
							      : "Nothing was changed. It would:");
	show_list("make one person of", root, "identifiers");
	show_conflicts(root);
	show_links("cut", root, "cut");
	show_links("link", root, "linked");
	if (list_at(root, "profiles", &list))
		for (json_iter_start(list, &it); json_next_element(&it, &row);)
			show_list("leave a person of", row, "identifiers");
}

void show_act(struct json root)
{
	struct str status = json_text_at(root, "status"), a = json_text_at(root, "profiles.a"),
		   b = json_text_at(root, "profiles.b");
	if (json_bool_at(root, "dryRun")) {
		show_preview(root);
		return;
	}
	print_text(stdout, json_text_at(root, "a"));
	(void)printf(" and ");
	print_text(stdout, json_text_at(root, "b"));
	if (str_eq(status, STR("pending")))
		(void)printf(": recorded, not decided yet; see the history in a moment\n");
	else if (str_eq(status, STR("unmerged")))
		(void)printf(" are two persons now: %.*s and %.*s\n", STR_ARG(a), STR_ARG(b));
	else
		(void)printf(" are one person%s: %.*s\n", str_eq(status, STR("merged")) ? " now" : " already",
			     STR_ARG(a));
}
