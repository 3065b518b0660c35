/* The event that a form's answers become. */
#include <stdio.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/hash.h"
#include "ingest/form_answers.h"

struct writing {
	const struct conf_form *form;
	const struct form_verdict *verdict;
	struct json_out out;
};

static void write_value(struct writing *w, struct json value)
{
	struct buf *buf = w->out.buf;
	if (w->out.status != OK) return;
	jo_raw(&w->out, STR_NONE); /* the comma */
	w->out.status = json_write_canonical(buf, value);
}

static bool is_told(const struct form_answer *answer, enum answer_state state)
{
	return answer->is_new && answer->state == state;
}

static void write_answers(struct writing *w)
{
	jo_key(&w->out, STR("answers"));
	jo_object(&w->out);
	for (size_t i = 0; i < w->form->question_count; i++) {
		const struct form_answer *answer = &w->verdict->answers[i];
		if (!is_told(answer, ANSWER_GIVEN) && !is_told(answer, ANSWER_CLEARED)) continue;
		jo_key(&w->out, w->form->questions[i].id);
		if (answer->state == ANSWER_GIVEN)
			write_value(w, answer->value);
		else
			jo_null(&w->out);
	}
	jo_end_object(&w->out);
	jo_key(&w->out, STR("refused"));
	jo_array(&w->out);
	for (size_t i = 0; i < w->form->question_count; i++)
		if (is_told(&w->verdict->answers[i], ANSWER_REFUSED)) jo_str(&w->out, w->form->questions[i].id);
	jo_end_array(&w->out);
}

static void write_text(struct json_out *out, const struct node *node)
{
	if (node->kind == NODE_SCALAR) {
		jo_str(out, node->text);
		return;
	}
	jo_object(out);
	for (const struct node *child = node->children; child; child = child->next) {
		jo_key(out, child->key);
		jo_str(out, child->text);
	}
	jo_end_object(out);
}

static void write_consent(struct json_out *out, const struct conf_form_consent *consent, bool is_given)
{
	jo_object(out);
	jo_key(out, STR("purpose"));
	jo_str(out, consent->purpose);
	jo_key(out, STR("channels"));
	jo_array(out);
	for (size_t i = 0; i < consent->channel_count; i++) jo_str(out, consent->channels[i]);
	jo_end_array(out);
	jo_key(out, STR("granted"));
	jo_bool(out, is_given);
	jo_key(out, STR("version"));
	jo_uint(out, consent->version);
	jo_key(out, STR("text"));
	write_text(out, consent->text);
	jo_end_object(out);
}

static void write_consents(struct writing *w)
{
	if (w->form->consent_count == 0) return;
	jo_key(&w->out, STR("consents"));
	jo_array(&w->out);
	for (size_t i = 0; i < w->form->consent_count; i++)
		if (w->verdict->is_consent_told[i])
			write_consent(&w->out, &w->form->consents[i], w->verdict->consents[i]);
	jo_end_array(&w->out);
}

static void write_origin(struct writing *w, struct str trait, const struct conf_question *question)
{
	jo_key(&w->out, trait);
	jo_object(&w->out);
	jo_key(&w->out, STR("question"));
	jo_str(&w->out, question->id);
	if (question->expires_us) {
		jo_key(&w->out, STR("expiresIn"));
		jo_int(&w->out, (question->expires_us + US_PER_SECOND - 1) / US_PER_SECOND);
	}
	jo_end_object(&w->out);
}

static void write_provenance(struct writing *w)
{
	jo_key(&w->out, STR("provenance"));
	jo_object(&w->out);
	for (size_t i = 0; i < w->form->question_count; i++) {
		const struct conf_question *question = &w->form->questions[i];
		const struct form_answer *answer = &w->verdict->answers[i];
		if (!answer->is_new) continue;
		write_origin(w, answer->state == ANSWER_REFUSED ? question->refusal : question->trait, question);
	}
	jo_end_object(&w->out);
}

static void write_result(struct writing *w, struct str score, struct str passed)
{
	if (!w->verdict->has_result) return;
	if (w->form->has_score) {
		jo_key(&w->out, score);
		jo_uint(&w->out, w->verdict->score);
	}
	if (!w->form->has_pass) return;
	jo_key(&w->out, passed);
	jo_bool(&w->out, w->verdict->is_passed);
}

/* The fold remembers that it was used. */
static void write_token(struct writing *w, const struct form_person *person)
{
	if (person->token_id.len == 0) return;
	jo_key(&w->out, STR("singleUse"));
	jo_object(&w->out);
	jo_key(&w->out, STR("id"));
	jo_str(&w->out, person->token_id);
	jo_key(&w->out, STR("expires"));
	jo_int(&w->out, person->token_expires);
	jo_end_object(&w->out);
}

static void write_properties(struct writing *w, const struct form_person *person)
{
	jo_key(&w->out, STR("properties"));
	jo_object(&w->out);
	jo_key(&w->out, STR("form"));
	jo_str(&w->out, w->form->name);
	jo_key(&w->out, STR("version"));
	jo_uint(&w->out, w->verdict->version);
	jo_key(&w->out, STR("kind"));
	jo_str(&w->out, str_from(form_kind_name(w->form->kind)));
	jo_key(&w->out, STR("complete"));
	jo_bool(&w->out, w->verdict->is_complete);
	write_answers(w);
	write_consents(w);
	write_provenance(w);
	write_token(w, person);
	write_result(w, STR("score"), STR("passed"));
	jo_end_object(&w->out);
}

static void write_traits(struct writing *w)
{
	jo_key(&w->out, STR("traits"));
	jo_object(&w->out);
	for (size_t i = 0; i < w->form->question_count; i++) {
		const struct conf_question *question = &w->form->questions[i];
		const struct form_answer *answer = &w->verdict->answers[i];
		if (!answer->is_new) continue;
		jo_key(&w->out, answer->state == ANSWER_REFUSED ? question->refusal : question->trait);
		if (answer->state == ANSWER_GIVEN)
			write_value(w, answer->value);
		else
			jo_raw(&w->out, answer->state == ANSWER_REFUSED ? STR("true") : STR("null"));
	}
	write_result(w, w->form->score, w->form->passed);
	jo_end_object(&w->out);
}

static void write_if(struct json_out *out, struct str key, struct str value)
{
	if (value.len == 0) return;
	jo_key(out, key);
	jo_str(out, value);
}

/* ── acts of consent ───────────────────────────────────────────────────────── */

/* The same for the same response, so that it counts once however often it comes. */
static void write_act_id(struct writing *w, struct str response_id, const struct conf_form_consent *consent,
			 struct str channel)
{
	static const struct hash_key key = {{0}};
	struct hash128 hash;
	struct buf text;
	char hex[2 * sizeof hash.bytes + 1];
	if (response_id.len == 0) return;
	buf_init(&text, 1024);
	int rc = buf_printf(&text, "%.*s\n%.*s\n%.*s\n%.*s", STR_ARG(w->form->name), STR_ARG(response_id),
			    STR_ARG(consent->purpose), STR_ARG(channel));
	if (rc == OK) {
		hash128(&key, buf_ptr(&text), text.len, &hash);
		hex_encode(hash.bytes, sizeof hash.bytes, hex);
		jo_key(&w->out, STR("messageId"));
		jo_str(&w->out, str_from(hex));
	} else if (w->out.status == OK) {
		w->out.status = rc;
	}
	buf_fini(&text);
}

/* A proof's text is one text: of several languages all that were shown are kept, as JSON. */
static int write_proof_text(struct json_out *out, const struct node *node)
{
	struct buf text;
	struct json_out json;
	if (node->kind == NODE_SCALAR) {
		jo_str(out, node->text);
		return OK;
	}
	buf_init(&text, 64u << 10);
	json_out_init(&json, &text);
	write_text(&json, node);
	if (json.status == OK) jo_str(out, buf_str(&text));
	buf_fini(&text);
	return json.status;
}

static void write_proof(struct writing *w, const struct conf_form_consent *consent)
{
	char version[16];
	int len = snprintf(version, sizeof version, "%u", (unsigned)consent->version);
	jo_key(&w->out, STR("proof"));
	jo_object(&w->out);
	jo_key(&w->out, STR("how"));
	jo_str(&w->out, STR("form"));
	jo_key(&w->out, STR("where"));
	jo_str(&w->out, w->form->name);
	jo_key(&w->out, STR("version"));
	jo_str(&w->out, str_of(version, (size_t)len));
	jo_key(&w->out, STR("text"));
	int rc = write_proof_text(&w->out, consent->text);
	if (rc != OK && w->out.status == OK) w->out.status = rc;
	jo_end_object(&w->out);
}

static void write_act(struct writing *w, const struct form_person *person, struct str response_id, size_t index,
		      struct str channel)
{
	const struct conf_form_consent *consent = &w->form->consents[index];
	jo_object(&w->out);
	write_if(&w->out, STR("person"), person->ref);
	jo_key(&w->out, STR("purpose"));
	jo_str(&w->out, consent->purpose);
	write_if(&w->out, STR("channel"), channel);
	jo_key(&w->out, STR("state"));
	jo_str(&w->out, w->verdict->consents[index] ? STR("granted") : STR("denied"));
	write_act_id(w, response_id, consent, channel);
	write_proof(w, consent);
	jo_end_object(&w->out);
}

static void write_acts(struct writing *w, const struct form_person *person, struct str response_id)
{
	jo_key(&w->out, STR("consents"));
	jo_array(&w->out);
	for (size_t i = 0; person->tells_consents && i < w->form->consent_count; i++) {
		const struct conf_form_consent *consent = &w->form->consents[i];
		if (!w->verdict->is_consent_told[i]) continue;
		if (consent->channel_count == 0) write_act(w, person, response_id, i, STR_NONE);
		for (size_t k = 0; k < consent->channel_count; k++)
			write_act(w, person, response_id, i, consent->channels[k]);
	}
	jo_end_array(&w->out);
}

/* ── the whole ─────────────────────────────────────────────────────────────── */

static void write_message(struct writing *w, const struct form_person *person, struct str response_id,
			  struct str sent_at)
{
	jo_object(&w->out);
	jo_key(&w->out, STR("type"));
	jo_str(&w->out, STR("track"));
	jo_key(&w->out, STR("event"));
	jo_str(&w->out, FORM_EVENT);
	write_if(&w->out, STR("messageId"), response_id);
	write_if(&w->out, STR("userId"), person->user_id);
	write_if(&w->out, STR("anonymousId"), person->anonymous_id);
	write_if(&w->out, STR("sentAt"), sent_at);
	write_properties(w, person);
	write_traits(w);
	jo_end_object(&w->out);
}
int form_write_message(struct buf *out, const struct form_response *response, const struct form_verdict *verdict,
		       const struct form_person *person, struct str response_id, struct str sent_at)
{
	struct writing w = {.form = response->form, .verdict = verdict};
	json_out_init(&w.out, out);
	jo_object(&w.out);
	jo_key(&w.out, STR("message"));
	write_message(&w, person, response_id, sent_at);
	write_acts(&w, person, response_id);
	jo_end_object(&w.out);
	return w.out.status;
}
