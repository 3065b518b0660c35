#include "api/form_tally.h"

#include <math.h>
#include <stdlib.h>

#define REFUSED STR(".refused")

/* ── bins ────────────────────────────────────────────────────────────────── */

static size_t steps_of(const struct conf_question *question)
{
	double steps = floor((question->max - question->min) / question->step + 1e-9) + 1;
	return steps < 1 ? 1 : steps < 1e9 ? (size_t)steps : (size_t)1e9;
}

static size_t steps_in_bin(const struct conf_question *question)
{
	return (steps_of(question) + TALLY_BINS_MAX - 1) / TALLY_BINS_MAX;
}

static size_t bins_of(const struct conf_question *question)
{
	if (question->type != QUESTION_SCALE) return question->option_count;
	size_t each = steps_in_bin(question);
	return (steps_of(question) + each - 1) / each;
}

static bool is_numeric(const struct conf_question *question)
{
	return question->type == QUESTION_SCALE || question->type == QUESTION_NUMBER;
}

/* ── making ──────────────────────────────────────────────────────────────── */

static int add_block(struct tally *tally, uint32_t version, struct tally_block **out)
{
	const struct conf_form *form = tally->form;
	struct tally_block *block = arena_new(tally->arena, struct tally_block);
	if (block) block->questions = arena_array(tally->arena, struct tally_question, form->question_count + 1);
	if (!block || !block->questions) return ERR_NOMEM;
	block->version = version;
	for (size_t i = 0; i < form->question_count; i++) {
		struct tally_question *question = &block->questions[i];
		question->count = bins_of(&form->questions[i]);
		question->counts = arena_array(tally->arena, uint64_t, question->count + 1);
		if (!question->counts) return ERR_NOMEM;
	}
	tally->blocks[tally->block_count++] = block;
	*out = block;
	return OK;
}

/* *out NULL: there are too many versions. */
static int block_of(struct tally *tally, uint32_t version, struct tally_block **out)
{
	*out = NULL;
	for (size_t i = 1; i < tally->block_count; i++)
		if (tally->blocks[i]->version == version) *out = tally->blocks[i];
	if (*out || tally->block_count == COUNT_OF(tally->blocks)) return OK;
	return add_block(tally, version, out);
}

int tally_init(struct tally *tally, const struct conf_form *form, struct arena *arena)
{
	struct tally_block *all;
	*tally = (struct tally){.form = form, .arena = arena};
	return add_block(tally, 0, &all);
}

void tally_clear(struct tally *tally)
{
	for (size_t b = 0; b < tally->block_count; b++) {
		tally->blocks[b]->respondents = 0;
		for (size_t i = 0; i < tally->form->question_count; i++) {
			struct tally_question *question = &tally->blocks[b]->questions[i];
			uint64_t *counts = question->counts;
			size_t count = question->count;
			memset(counts, 0, count * sizeof *counts);
			*question = (struct tally_question){.counts = counts, .count = count};
		}
	}
}

/* ── one answer ──────────────────────────────────────────────────────────── */

static void count_option(const struct conf_question *question, struct tally_question *tally, struct str json)
{
	for (size_t i = 0; i < question->option_count; i++) {
		if (!str_eq(question->options[i].json, json)) continue;
		tally->counts[i]++;
		return;
	}
	tally->other++;
}

static int count_canonical(const struct conf_question *question, struct tally_question *tally, struct json value)
{
	struct buf text;
	buf_init(&text, 8192);
	int rc = json_write_canonical(&text, value);
	if (rc == OK) count_option(question, tally, buf_str(&text));
	if (rc == ERR_TOO_LARGE) tally->other++;
	buf_fini(&text);
	return rc == ERR_TOO_LARGE ? OK : rc;
}

static int count_choices(const struct conf_question *question, struct tally_question *tally, struct json value)
{
	struct json_iter it;
	struct json element;
	int rc = OK;
	if (json_type(value) != JSON_ARRAY) return count_canonical(question, tally, value);
	for (json_iter_start(value, &it); rc == OK && json_next_element(&it, &element);)
		rc = count_canonical(question, tally, element);
	return rc;
}

static void count_number(const struct conf_question *question, struct tally_question *tally, struct json value)
{
	double number;
	if (!json_double(value, &number)) {
		tally->other++;
		return;
	}
	tally->sum += number;
	if (question->type != QUESTION_SCALE) return;
	double step = nearbyint((number - question->min) / question->step);
	if (step < 0 || step >= (double)steps_of(question))
		tally->other++;
	else
		tally->counts[(size_t)step / steps_in_bin(question)]++;
}

static int count_value(const struct conf_question *question, struct tally_question *tally, struct json value)
{
	tally->answered++;
	if (question->option_count) return count_choices(question, tally, value);
	if (is_numeric(question)) count_number(question, tally, value);
	return OK;
}

/* ── one person ──────────────────────────────────────────────────────────── */

/* Of each question the newest answer; a trait may have had another name in an older version. */
struct picked {
	const struct answer_found *answers[FORM_QUESTIONS_MAX];
	const struct answer_found *refusals[FORM_QUESTIONS_MAX];
	int64_t told_at[FORM_QUESTIONS_MAX]; /* newest answer, expired ones too */
	uint32_t versions[TALLY_VERSIONS_MAX];
	size_t version_count;
	bool has_answered;
};

static bool is_refusal(const struct answer_found *answer)
{
	struct str name = answer->trait, end = REFUSED;
	return name.len > end.len && str_eq(str_of(name.ptr + name.len - end.len, end.len), end);
}

static void note_version(struct picked *picked, uint32_t version)
{
	picked->has_answered = true;
	for (size_t i = 0; i < picked->version_count; i++)
		if (picked->versions[i] == version) return;
	if (picked->version_count < COUNT_OF(picked->versions)) picked->versions[picked->version_count++] = version;
}

static void pick(struct picked *picked, const struct conf_form *form, const struct answer_found *answer)
{
	bool is_no = is_refusal(answer);
	if (answer->question.len == 0 || str_eq(answer->value, STR("null"))) return;
	if (is_no && !str_eq(answer->value, STR("true"))) return;
	if (!is_no && !answer->is_expired) note_version(picked, answer->version);
	size_t index = form_question_index(form, answer->question);
	if (index == form->question_count) return; /* it is not asked any more */
	if (!is_no && answer->at > picked->told_at[index]) picked->told_at[index] = answer->at;
	if (answer->is_expired) return;
	const struct answer_found **place = is_no ? &picked->refusals[index] : &picked->answers[index];
	if (!*place || answer->at > (*place)->at) *place = answer;
}

static int count_answer(struct tally *tally, const struct tally_reader *reader, size_t index,
			const struct answer_found *answer)
{
	const struct conf_question *question = &tally->form->questions[index];
	struct tally_block *block;
	struct json value;
	const char *why;
	int rc = block_of(tally, answer->version, &block);
	buf_clear(reader->text);
	if (rc == OK) rc = buf_append_str(reader->text, answer->value);
	if (rc == OK) rc = json_parse(reader->json, buf_str(reader->text), &value, &why);
	if (rc != OK) return rc == ERR_INVALID ? ERR_CORRUPT : rc;
	rc = count_value(question, &tally->blocks[0]->questions[index], value);
	return rc == OK && block ? count_value(question, &block->questions[index], value) : rc;
}

static int count_refusal(struct tally *tally, size_t index, const struct answer_found *refusal)
{
	struct tally_block *block;
	int rc = block_of(tally, refusal->version, &block);
	tally->blocks[0]->questions[index].refused++;
	if (block) block->questions[index].refused++;
	return rc;
}

int tally_add(struct tally *tally, const struct tally_reader *reader, const struct answer_found *answers, size_t count)
{
	struct picked picked = {.has_answered = false};
	struct tally_block *block;
	int rc = OK;
	for (size_t i = 0; i < count; i++) pick(&picked, tally->form, &answers[i]);
	tally->blocks[0]->respondents += picked.has_answered;
	for (size_t i = 0; i < picked.version_count && rc == OK; i++) {
		rc = block_of(tally, picked.versions[i], &block);
		if (rc == OK && block) block->respondents++;
	}
	for (size_t i = 0; i < tally->form->question_count && rc == OK; i++) {
		if (picked.answers[i])
			rc = count_answer(tally, reader, i, picked.answers[i]);
		else if (picked.refusals[i] && picked.refusals[i]->at >= picked.told_at[i])
			rc = count_refusal(tally, i, picked.refusals[i]);
	}
	return rc;
}

/* ── together ────────────────────────────────────────────────────────────── */

static void merge_block(const struct conf_form *form, struct tally_block *into, const struct tally_block *from)
{
	into->respondents += from->respondents;
	for (size_t i = 0; i < form->question_count; i++) {
		struct tally_question *a = &into->questions[i];
		const struct tally_question *b = &from->questions[i];
		a->answered += b->answered;
		a->refused += b->refused;
		a->other += b->other;
		a->sum += b->sum;
		for (size_t k = 0; k < a->count; k++) a->counts[k] += b->counts[k];
	}
}

int tally_merge(struct tally *into, const struct tally *from)
{
	struct tally_block *block = into->blocks[0];
	for (size_t i = 0; i < from->block_count; i++) {
		int rc = i ? block_of(into, from->blocks[i]->version, &block) : OK;
		if (rc != OK) return rc;
		if (block) merge_block(into->form, block, from->blocks[i]);
	}
	return OK;
}

/* ── showing ─────────────────────────────────────────────────────────────── */

static void write_options(struct json_out *out, const struct conf_question *question, const struct tally_question *q)
{
	jo_key(out, STR("options"));
	jo_array(out);
	for (size_t i = 0; i < question->option_count; i++) {
		jo_object(out);
		jo_key(out, STR("value"));
		jo_raw(out, question->options[i].json);
		jo_key(out, STR("count"));
		jo_uint(out, q->counts[i]);
		jo_end_object(out);
	}
	jo_end_array(out);
}

static void write_number(struct json_out *out, double number)
{
	if (trunc(number) == number && fabs(number) < 1e15)
		jo_int(out, (int64_t)number);
	else
		jo_double(out, number);
}

static void write_bins(struct json_out *out, const struct conf_question *question, const struct tally_question *q)
{
	size_t each = steps_in_bin(question), steps = steps_of(question);
	jo_key(out, STR("histogram"));
	jo_array(out);
	for (size_t i = 0; i < q->count; i++) {
		size_t last = (i + 1) * each < steps ? (i + 1) * each - 1 : steps - 1;
		jo_object(out);
		jo_key(out, STR("value"));
		write_number(out, question->min + (double)(i * each) * question->step);
		if (each > 1) {
			jo_key(out, STR("to"));
			write_number(out, question->min + (double)last * question->step);
		}
		jo_key(out, STR("count"));
		jo_uint(out, q->counts[i]);
		jo_end_object(out);
	}
	jo_end_array(out);
}

static void write_question(struct json_out *out, const struct conf_question *question, const struct tally_question *q)
{
	jo_object(out);
	jo_key(out, STR("id"));
	jo_str(out, question->id);
	jo_key(out, STR("type"));
	jo_str(out, str_from(question_type_name(question->type)));
	jo_key(out, STR("answered"));
	jo_uint(out, q->answered);
	jo_key(out, STR("refused"));
	jo_uint(out, q->refused);
	if (is_numeric(question)) {
		jo_key(out, STR("mean"));
		if (q->answered)
			jo_double(out, q->sum / (double)q->answered);
		else
			jo_null(out);
	}
	if (question->option_count) write_options(out, question, q);
	if (question->type == QUESTION_SCALE) write_bins(out, question, q);
	if (q->count) {
		jo_key(out, STR("other"));
		jo_uint(out, q->other);
	}
	jo_end_object(out);
}

static void write_block(struct json_out *out, const struct conf_form *form, const struct tally_block *block)
{
	jo_key(out, STR("respondents"));
	jo_uint(out, block->respondents);
	jo_key(out, STR("questions"));
	jo_array(out);
	for (size_t i = 0; i < form->question_count; i++)
		write_question(out, &form->questions[i], &block->questions[i]);
	jo_end_array(out);
}

static int order_blocks(const void *a, const void *b)
{
	const struct tally_block *x = *(struct tally_block *const *)a, *y = *(struct tally_block *const *)b;
	return x->version < y->version ? -1 : x->version > y->version;
}

void tally_write(struct json_out *out, const struct tally *tally)
{
	struct tally_block *blocks[TALLY_VERSIONS_MAX + 1];
	memcpy(blocks, tally->blocks, tally->block_count * sizeof(struct tally_block *));
	qsort(blocks, tally->block_count, sizeof(struct tally_block *), order_blocks);
	write_block(out, tally->form, blocks[0]); /* version 0: the whole */
	jo_key(out, STR("versions"));
	jo_array(out);
	for (size_t i = 1; i < tally->block_count; i++) {
		jo_object(out);
		jo_key(out, STR("version"));
		jo_uint(out, blocks[i]->version);
		write_block(out, tally->form, blocks[i]);
		jo_end_object(out);
	}
	jo_end_array(out);
}
