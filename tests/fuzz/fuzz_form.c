// rooms: ingest
/* Whatever a form is answered with: it is judged or refused with a pointer and a message, and what was accepted becomes a
 * message that is JSON again, names only questions of the form and is accepted a second time with the same verdict. */
#include <stdlib.h>
#include <unistd.h>

#include "ingest/form_answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char definitions[] =
    "forms:\n- name: f\n  kind: quiz\n  questions:\n"
    "  - {id: a, type: single, text: T, options: [x, 1, true], required: true, correct: x}\n"
    "  - {id: b, type: multiple, text: T, options: [x, y], correct: [x, y]}\n"
    "  - {id: c, type: scale, text: T, min: 0, max: 1, step: 0.1, correct: 0.5}\n"
    "  - {id: d, type: text, text: T, max_length: 9, when: {question: b, is: y}}\n"
    "  - {id: e, type: date, text: T, min: 2000-01-01}\n"
    "  - {id: g, type: number, text: T, max: 10, when: {question: c, at_least: 0.2}}\n"
    "  - {id: h, type: hours, text: T, expires: 1d}\n"
    "  consents: [{purpose: mail, text: T}]\n  pass: {score: 1, require: {question: e, answered: true}}\n";

static const struct conf_form *form;
static struct json_reader *reader, *again;
static struct arena arena;
static struct buf message;

static void start(void)
{
	static const struct config *config;
	char path[] = "/tmp/cdpd-fuzz-XXXXXX", *errors;
	if (form) return;
	int fd = mkstemp(path);
	CHECK(fd >= 0 && write(fd, definitions, sizeof definitions - 1) == (ssize_t)sizeof definitions - 1);
	close(fd);
	CHECK(config_load(path, NULL, 0, &config, &errors) == OK);
	unlink(path);
	form = config_form(config, STR("f"));
	CHECK(json_reader_new(&reader) == OK && json_reader_new(&again) == OK);
	arena_init(&arena, 65536, 64 << 20);
	buf_init(&message, 8 << 20);
}

static void check_accepted(const struct form_response *response, const struct form_verdict *verdict)
{
	const struct form_person person = {.user_id = STR("u"),
					   .anonymous_id = STR_NONE,
					   .token_id = STR_NONE,
					   .tells_consents = true,
					   .ref = STR("user_id:u")};
	struct json root, answers, value;
	struct json_iter it;
	struct str id;
	const char *why;
	buf_clear(&message);
	CHECK(form_write_message(&message, response, verdict, &person, STR_NONE, STR_NONE) == OK);
	CHECK(json_parse(again, buf_str(&message), &root, &why) == OK);
	CHECK(json_get_path(root, STR("message.properties.answers"), &answers));
	for (json_iter_start(answers, &it); json_next_member(&it, &id, &value);)
		CHECK(form_question_index(form, id) < form->question_count);
	if (json_count(answers) == 0) return;
	struct form_response second = {.form = form, .is_partial = true, .has_answers = true, .answers = answers};
	struct form_verdict verdict_again;
	second.has_known = response->has_known;
	second.known = response->known;
	second.known_refused = response->known_refused;
	CHECK(form_judge(&second, &arena, &verdict_again) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json root, value;
	struct form_verdict verdict;
	const char *why;
	start();
	arena_reset(&arena);
	char *copy = malloc(size + BUF_SLACK);
	if (!copy) return 0;
	memcpy(copy, data, size);
	memset(copy + size, 0, BUF_SLACK);
	if (json_parse(reader, str_of(copy, size), &root, &why) == OK) {
		struct form_response response = {.form = form};
		response.has_answers = json_get(root, STR("answers"), &response.answers);
		response.has_refused = json_get(root, STR("refused"), &response.refused);
		response.has_consents = json_get(root, STR("consents"), &response.consents);
		response.is_partial = json_get(root, STR("partial"), &value);
		response.has_known = json_get(root, STR("known"), &response.known);
		response.known_refused = response.known;
		int rc = form_judge(&response, &arena, &verdict);
		CHECK(rc == OK || rc == ERR_INVALID || rc == ERR_NOMEM);
		if (rc == ERR_INVALID) CHECK(verdict.message.len > 0 && verdict.pointer.len > 0);
		if (rc == OK) check_accepted(&response, &verdict);
		size_t next[4], count;
		if (response.has_known)
			CHECK(form_next(form, &response.known, &response.known, &arena, 4, next, &count) == OK);
	}
	free(copy);
	return 0;
}
