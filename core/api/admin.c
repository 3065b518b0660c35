/* /v1/admin/{status,destinations,sources,plugins,clock/confirm}, on the read pool. */
#include <stdio.h>
#include <unistd.h>

#include "api/accounting.h"
#include "api/answer.h"
#include "api/event_json.h"
#include "api/internal.h"
#include "api/segments.h"
#include "base/clock.h"
#include "plugin/instance.h"
#include "plugin/isolate.h"
#include "plugin/plugin.h"
#include "profile/backfill.h"

static void write_uint(struct json_out *out, struct str key, uint64_t value)
{
	jo_key(out, key);
	jo_uint(out, value);
}

static void write_str(struct json_out *out, struct str key, struct str value)
{
	jo_key(out, key);
	jo_str(out, value);
}

/* ── status ──────────────────────────────────────────────────────────────── */

/* After the terms of the identity, what `rejected` is made of beyond the journal's own refusals. */
static void write_accounting(struct json_out *out, const struct accounting *a)
{
	static const enum outcome_verdict REJECTED[] = {OUTCOME_CONFLICT, OUTCOME_REFUSED, OUTCOME_DENIED,
							OUTCOME_SUPPRESSED, OUTCOME_QUARANTINED};
	jo_key(out, STR("balanced"));
	jo_bool(out, a->is_balanced);
	jo_key(out, STR("events"));
	jo_object(out);
	write_uint(out, STR("received"), a->received);
	write_uint(out, STR("applied"), a->applied);
	write_uint(out, STR("duplicate"), a->duplicate);
	write_uint(out, STR("rejected"), a->rejected);
	write_uint(out, STR("erased"), a->erased);
	jo_key(out, STR("pending"));
	jo_int(out, a->pending);
	for (size_t i = 0; i < COUNT_OF(REJECTED); i++)
		write_uint(out, str_from(outcome_verdict_name(REJECTED[i])), a->verdicts[REJECTED[i]]);
	jo_end_object(out);
}

static void write_journal(struct json_out *out, struct api *api, const struct accounting *a)
{
	const char *refusal = journal_refusal(api->journal);
	uint64_t next = journal_next_seq(api->journal);
	jo_key(out, STR("journal"));
	jo_object(out);
	event_json_position(out, api, STR("position"), next ? next - 1 : 0);
	write_uint(out, STR("first"), journal_first_seq(api->journal));
	write_uint(out, STR("next"), next);
	write_uint(out, STR("bytes"), journal_bytes(api->journal));
	jo_key(out, STR("lastAt"));
	jo_time(out, journal_last_t(api->journal));
	jo_key(out, STR("refusal"));
	if (refusal)
		jo_str(out, str_from(refusal));
	else
		jo_null(out);
	jo_key(out, STR("clockHeld"));
	jo_bool(out, journal_clock_is_held(api->journal));
	write_uint(out, STR("rejected"), a->journal.rejected);
	write_uint(out, STR("rejectsNotKept"), a->journal.rejects_not_kept);
	jo_key(out, STR("rejectedBy"));
	jo_object(out);
	for (size_t i = 0; i < PROBLEM_COUNT; i++)
		if (a->journal.rejected_by[i])
			write_uint(out, str_from(problem_info((enum problem)i)->code), a->journal.rejected_by[i]);
	jo_end_object(out);
	jo_end_object(out);
}

/* New features that still count what was there before them; null: none. */
static void write_counting(struct json_out *out, const struct api *api)
{
	struct backfill_progress progress;
	people_backfill_progress(api->people, &progress);
	jo_key(out, STR("features"));
	jo_object(out);
	jo_key(out, STR("counting"));
	if (!progress.features) {
		jo_null(out);
	} else {
		jo_object(out);
		write_uint(out, STR("features"), progress.features);
		write_uint(out, STR("next"), progress.next == BACKFILL_NONE ? progress.end : progress.next);
		write_uint(out, STR("end"), progress.end);
		jo_key(out, STR("percent"));
		jo_double(out, progress.permille / 10.0);
		jo_end_object(out);
	}
	jo_end_object(out);
}

static void write_fold(struct json_out *out, struct api *api)
{
	struct fold *fold = api_fold(api);
	jo_key(out, STR("fold"));
	if (!fold) {
		jo_null(out);
		return;
	}
	struct fold_status status;
	fold_status(fold, &status);
	jo_object(out);
	write_uint(out, STR("applied"), status.applied);
	write_uint(out, STR("pending"), status.pending);
	jo_key(out, STR("ready"));
	jo_bool(out, status.is_ready);
	write_uint(out, STR("dedupIds"), status.dedup_ids);
	jo_key(out, STR("dedupWindowSeconds"));
	jo_int(out, status.dedup_window_us / US_PER_SECOND);
	write_uint(out, STR("maybeDuplicates"), status.maybe_duplicates);
	jo_end_object(out);
}

static void write_when(struct json_out *out, struct str key, int64_t us)
{
	jo_key(out, key);
	if (us)
		jo_time(out, us);
	else
		jo_null(out);
}

static void write_state(struct json_out *out, const struct destination_state *state)
{
	write_str(out, STR("state"), str_from(destination_condition_name(state->condition)));
	write_when(out, STR("stateSince"), state->since_us);
	write_when(out, STR("nextAttemptAt"), state->retry_at_us);
}

static int write_destinations(struct json_out *out, struct api *api, struct arena *arena)
{
	struct destination_status *rows = NULL;
	size_t count = 0;
	int rc = api->deliver ? deliver_status(api->deliver, arena, &rows, &count) : OK;
	if (rc != OK) return rc;
	jo_key(out, STR("destinations"));
	jo_array(out);
	for (size_t i = 0; i < count; i++) {
		jo_object(out);
		write_str(out, STR("name"), rows[i].name);
		write_str(out, STR("plugin"), rows[i].plugin);
		event_json_position(out, api, STR("position"), rows[i].cursor ? rows[i].cursor - 1 : 0);
		write_uint(out, STR("lag"), rows[i].lag);
		jo_key(out, STR("lagSeconds"));
		jo_double(out, (double)rows[i].lag_us / (double)US_PER_SECOND);
		write_uint(out, STR("delivered"), rows[i].delivered);
		write_uint(out, STR("dropped"), rows[i].dropped);
		write_uint(out, STR("retries"), rows[i].retries);
		write_uint(out, STR("expiredRecords"), rows[i].expired_records);
		write_uint(out, STR("denied"), rows[i].denied);
		write_uint(out, STR("filtered"), rows[i].filtered);
		write_uint(out, STR("unmapped"), rows[i].unmapped);
		write_uint(out, STR("deadLetters"), rows[i].letters);
		write_uint(out, STR("deadLettersQueued"), rows[i].letters_queued);
		write_uint(out, STR("deadLettersLost"), rows[i].letters_lost);
		write_uint(out, STR("parked"), rows[i].state.parked);
		write_state(out, &rows[i].state);
		jo_key(out, STR("paused"));
		jo_bool(out, rows[i].is_paused);
		jo_key(out, STR("failing"));
		jo_bool(out, rows[i].is_failing);
		write_str(out, STR("lastError"), rows[i].last_error);
		write_when(out, STR("lastSuccessAt"), rows[i].last_success_us);
		jo_end_object(out);
	}
	jo_end_array(out);
	return OK;
}

/* Pages of `/proc/self/statm`: resident and, of those, not backed by files. */
static void write_memory(struct json_out *out)
{
	unsigned long long size = 0, resident = 0, shared = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	if (file && fscanf(file, "%llu %llu %llu", &size, &resident, &shared) != 3) resident = shared = 0;
	if (file) (void)fclose(file);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	jo_key(out, STR("memory"));
	jo_object(out);
	write_uint(out, STR("residentBytes"), resident * page);
	write_uint(out, STR("anonymousBytes"), (resident - shared) * page);
	jo_end_object(out);
}

static int status(struct answer *answer, struct read_thread *thread)
{
	struct api *api = answer->api;
	struct json_out *out = &answer->json;
	struct accounting accounting;
	accounting_read(api->journal, api->people, &accounting);
	int64_t now = clock_wall_us();
	jo_object(out);
	write_str(out, STR("version"), STR(CDPD_VERSION));
	jo_key(out, STR("now"));
	jo_time(out, now);
	jo_key(out, STR("startedAt"));
	jo_time(out, api->started_at_us);
	jo_key(out, STR("uptimeSeconds"));
	jo_int(out, (now - api->started_at_us) / US_PER_SECOND);
	write_accounting(out, &accounting);
	write_journal(out, api, &accounting);
	write_fold(out, api);
	jo_key(out, STR("segments"));
	jo_object(out);
	segments_write_progress(out, api);
	jo_end_object(out);
	write_counting(out, api);
	jo_key(out, STR("changes"));
	jo_object(out);
	write_uint(out, STR("last"), people_last_change(api->people));
	jo_end_object(out);
	int rc = write_destinations(out, api, &thread->scratch);
	write_memory(out);
	jo_end_object(out);
	return rc;
}

/* ── destinations, sources, plugins ──────────────────────────────────────── */

static int destinations(struct answer *answer, struct read_thread *thread)
{
	jo_object(&answer->json);
	int rc = write_destinations(&answer->json, answer->api, &thread->scratch);
	jo_end_object(&answer->json);
	return rc;
}

static void write_rights(struct json_out *out, uint32_t rights)
{
	static const struct {
		uint32_t right;
		struct str name;
	} NAMES[] = {{RIGHT_ALIAS, STR("alias")},
		     {RIGHT_DECLARED, STR("declared")},
		     {RIGHT_LINK_KNOWN, STR("link_known")},
		     {RIGHT_TIME, STR("time")}};
	jo_key(out, STR("may"));
	jo_array(out);
	for (size_t i = 0; i < COUNT_OF(NAMES); i++)
		if (rights & NAMES[i].right) jo_str(out, NAMES[i].name);
	jo_end_array(out);
}

/* Write keys are counted, not shown: those of servers and webhooks are secrets. */
static void write_source(struct json_out *out, const struct conf_source *source)
{
	jo_object(out);
	write_str(out, STR("id"), source->id);
	write_str(out, STR("kind"), str_from(source_kind_name(source->kind)));
	write_uint(out, STR("writeKeys"), source->write_key_count);
	jo_key(out, STR("origins"));
	jo_array(out);
	for (size_t i = 0; i < source->origin_count; i++) jo_str(out, source->origins[i]);
	jo_end_array(out);
	write_rights(out, source->rights);
	write_uint(out, STR("eventsPerSecond"), source->events_per_second);
	jo_end_object(out);
}

static int sources(struct answer *answer, struct read_thread *thread)
{
	(void)thread;
	const struct config *config = api_config(answer->api);
	jo_object(&answer->json);
	jo_key(&answer->json, STR("sources"));
	jo_array(&answer->json);
	for (size_t i = 0; i < config->source_count; i++) write_source(&answer->json, &config->sources[i]);
	jo_end_array(&answer->json);
	jo_end_object(&answer->json);
	config_unref(config);
	return OK;
}

static void write_life(struct json_out *out, struct str instance)
{
	struct isolate_life life = {.starts = 0};
	(void)isolate_life_of(instance, &life);
	jo_key(out, STR("process"));
	jo_object(out);
	jo_key(out, STR("up"));
	jo_bool(out, life.is_up);
	jo_key(out, STR("starts"));
	jo_uint(out, life.starts);
	jo_key(out, STR("deaths"));
	jo_uint(out, life.deaths);
	if (life.last_death[0]) {
		write_str(out, STR("lastDeath"), str_from(life.last_death));
		jo_key(out, STR("lastDeathAt"));
		jo_time(out, life.last_death_us);
	}
	jo_end_object(out);
}

static void write_instances(struct json_out *out, const struct config *config, struct arena *arena, const char *kind,
			    const struct conf_instance *instances, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct plugin *plugin = NULL;
		struct str error = STR_NONE;
		int rc = plugin_load_for(arena, config, &instances[i], &plugin, &error);
		bool is_async = rc == OK && plugin_is_async(plugin) && strcmp(kind, "enrich") == 0;
		jo_object(out);
		write_str(out, STR("name"), instances[i].name);
		write_str(out, STR("plugin"), instances[i].plugin);
		write_str(out, STR("kind"), is_async ? STR("enrich_async") : str_from(kind));
		if (rc == OK) {
			write_str(out, STR("version"), str_from(plugin_info(plugin)->version));
			write_str(out, STR("summary"), str_from(plugin_info(plugin)->summary));
		} else {
			write_str(out, STR("error"), error);
		}
		if (instances[i].isolation.is_on) write_life(out, instances[i].name);
		jo_end_object(out);
	}
}

static int plugins(struct answer *answer, struct read_thread *thread)
{
	const struct config *config = api_config(answer->api);
	struct json_out *out = &answer->json;
	jo_object(out);
	jo_key(out, STR("plugins"));
	jo_array(out);
	write_instances(out, config, &thread->scratch, "enrich", config->enrichers, config->enricher_count);
	write_instances(out, config, &thread->scratch, "export", config->destinations, config->destination_count);
	jo_end_array(out);
	jo_end_object(out);
	config_unref(config);
	return OK;
}

/* ── the operator's word on the clock ────────────────────────────────────── */

static int confirm_clock(struct answer *answer, struct read_thread *thread)
{
	(void)thread;
	const struct str *actor = answer->params;
	int rc = journal_confirm_clock(answer->api->journal, *actor);
	if (rc == ERR_NOT_FOUND)
		return answer_fail(answer, PROBLEM_NOT_FOUND,
				   STR("the clock is not held: there is nothing to confirm"));
	if (rc == ERR_FULL || rc == ERR_CLOSED || rc == ERR_BUSY)
		return answer_fail(answer, PROBLEM_NOT_DURABLE, STR_NONE);
	if (rc != OK) return rc;
	jo_object(&answer->json);
	jo_key(&answer->json, STR("ok"));
	jo_bool(&answer->json, true);
	jo_end_object(&answer->json);
	return OK;
}

static void post_confirm(struct api_worker *worker, struct http_request *req)
{
	struct answer *answer = answer_new(worker, req, confirm_clock, sizeof(struct str));
	if (!answer) return;
	struct str *actor = answer->params;
	if (arena_str(&answer->arena, auth_actor(worker, req), actor) != OK) *actor = STR_NONE;
	answer_submit(answer);
}

static void submit_simple(struct api_worker *worker, struct http_request *req,
			  int (*work)(struct answer *answer, struct read_thread *thread))
{
	struct answer *answer = answer_new(worker, req, work, 0);
	if (answer) answer_submit(answer);
}

static void get_status(struct api_worker *worker, struct http_request *req)
{
	submit_simple(worker, req, status);
}

static void get_destinations(struct api_worker *worker, struct http_request *req)
{
	submit_simple(worker, req, destinations);
}

static void get_sources(struct api_worker *worker, struct http_request *req)
{
	submit_simple(worker, req, sources);
}

static void get_plugins(struct api_worker *worker, struct http_request *req)
{
	submit_simple(worker, req, plugins);
}

static const struct api_route ROUTES[] = {
    {HTTP_GET, "/v1/admin/status", SCOPE_ADMIN, true, false, 0, get_status},
    {HTTP_GET, "/v1/admin/destinations", SCOPE_ADMIN, true, false, 0, get_destinations},
    {HTTP_GET, "/v1/admin/sources", SCOPE_ADMIN, true, false, 0, get_sources},
    {HTTP_GET, "/v1/admin/plugins", SCOPE_ADMIN, true, false, 0, get_plugins},
    {HTTP_POST, "/v1/admin/clock/confirm", SCOPE_ADMIN, true, false, 4096, post_confirm},
};

int admin_register(struct router *router)
{
	return api_add_routes(router, ROUTES, COUNT_OF(ROUTES));
}
