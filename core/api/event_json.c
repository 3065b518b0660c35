#include "api/event_json.h"

#include "api/profile_json.h"
#include "enrich/patched.h"
#include "profile/awaits.h"

void event_json_position(struct json_out *out, const struct api *api, struct str key, uint64_t seq)
{
	char text[POSITION_TEXT_SIZE];
	jo_key(out, key);
	jo_str(out, api_position_text(api, seq + 1, text));
}

static bool is_zero(const uint8_t id[16])
{
	static const uint8_t zero[16];
	return memcmp(id, zero, sizeof zero) == 0;
}

void event_json_outcome(struct json_out *out, const struct api *api, const struct outcome *outcome)
{
	jo_key(out, STR("outcome"));
	jo_object(out);
	jo_key(out, STR("verdict"));
	jo_str(out, outcome ? str_from(outcome_verdict_name(outcome->verdict)) : STR("pending"));
	if (outcome && outcome->reason != OUTCOME_REASON_NONE) {
		jo_key(out, STR("reason"));
		jo_str(out, str_from(outcome_reason_name(outcome->reason)));
	}
	if (outcome && !is_zero(outcome->fragment)) {
		jo_key(out, STR("fragment"));
		profile_write_id(out, outcome->fragment);
	}
	if (outcome && (outcome->verdict == OUTCOME_DUPLICATE || outcome->verdict == OUTCOME_CONFLICT) &&
	    outcome->previous_seq)
		event_json_position(out, api, STR("duplicateOf"), outcome->previous_seq);
	jo_end_object(out);
}

int event_json_begin(struct json_out *out, const struct api *api, const struct cdpd_event *event, uint64_t seq,
		     const struct outcome *outcome)
{
	jo_raw(out, STR_NONE); /* the comma before an element */
	if (out->status == OK) out->status = event_write_json(out->buf, event, true);
	out->need_comma = true;
	event_json_position(out, api, STR("position"), seq);
	event_json_outcome(out, api, outcome);
	return out->status;
}

int event_json_write(struct json_out *out, const struct api *api, const struct cdpd_event *event, uint64_t seq,
		     const struct outcome *outcome)
{
	int rc = event_json_begin(out, api, event, seq, outcome);
	jo_end_object(out);
	return rc == OK ? out->status : rc;
}

int event_json_patch(const struct api *api, struct read_thread *thread, const struct outcome *outcome,
		     struct cdpd_event *event)
{
	uint64_t seqs[ASYNC_ENRICHERS_MAX], applied;
	size_t count;
	if (!outcome->resolution_seq) return OK;
	int rc = people_read_begin(thread->people, &applied);
	if (rc != OK) return rc;
	rc = people_read_resolutions(thread->people, outcome, seqs, &count);
	people_read_end(thread->people);
	return rc == OK ? event_patch(api->journal, &thread->scratch, seqs, count, event) : rc;
}
