#include "base/pattern_program.h"

#include "base/encode.h"

#define GROUPS_MAX 32
#define REPEAT_MAX 256
#define WORK_MAX   20000 /* atoms read, those read again for a repetition too */

struct parser {
	struct str text;
	size_t at, depth, work;
	struct pattern_program *program;
	const char *why;
};

static int fail(struct parser *p, const char *why)
{
	if (!p->why) p->why = why;
	return ERR_INVALID;
}

static bool is_at(const struct parser *p, char c)
{
	return p->at < p->text.len && p->text.ptr[p->at] == c;
}

static bool take(struct parser *p, char c)
{
	bool is_there = is_at(p, c);
	p->at += is_there;
	return is_there;
}

/* ── instructions ────────────────────────────────────────────────────────── */

static int emit(struct parser *p, struct pattern_step step)
{
	if (p->program->count == PROGRAM_MAX) return fail(p, "is too long once its repetitions are written out");
	p->program->steps[p->program->count++] = step;
	return OK;
}

/* Before what begins at `start`. */
static int insert(struct parser *p, size_t start, struct pattern_step step)
{
	struct pattern_step *steps = p->program->steps;
	int rc = emit(p, step);
	if (rc != OK) return rc;
	memmove(steps + start + 1, steps + start, (p->program->count - 1 - start) * sizeof *steps);
	steps[start] = step;
	return OK;
}

static void add_range(struct pattern_step *step, unsigned first, unsigned last)
{
	for (unsigned b = first; b <= last; b++) step->bytes[b >> 6] |= UINT64_C(1) << (b & 63);
}

static int emit_range(struct parser *p, unsigned first, unsigned last)
{
	struct pattern_step step = {.op = OP_BYTES};
	add_range(&step, first, last);
	return emit(p, step);
}

/* `ascii`, or any character beyond ASCII. The text is UTF-8, so a leading byte tells how many follow. */
static int emit_ascii_or_beyond(struct parser *p, struct pattern_step ascii)
{
	/* 0 split 1 3 · 1 ascii · 2 end · 3 split 4 6 · 4 lead of 2 · 5 to 12 · 6 split 7 9 · 7 lead of 3 · 8 to 11 · 9 lead of 4 · 10-12 rest */
	int rc = emit(p, (struct pattern_step){.op = OP_SPLIT, .x = 1, .y = 3});
	if (rc == OK) rc = emit(p, ascii);
	if (rc == OK) rc = emit(p, (struct pattern_step){.op = OP_JUMP, .x = 11});
	if (rc == OK) rc = emit(p, (struct pattern_step){.op = OP_SPLIT, .x = 1, .y = 3}); /* two bytes, or more */
	if (rc == OK) rc = emit_range(p, 0xc2, 0xdf);
	if (rc == OK) rc = emit(p, (struct pattern_step){.op = OP_JUMP, .x = 7});
	if (rc == OK) rc = emit(p, (struct pattern_step){.op = OP_SPLIT, .x = 1, .y = 3}); /* three, or four */
	if (rc == OK) rc = emit_range(p, 0xe0, 0xef);
	if (rc == OK) rc = emit(p, (struct pattern_step){.op = OP_JUMP, .x = 3});
	if (rc == OK) rc = emit_range(p, 0xf0, 0xf4);
	if (rc == OK) rc = emit_range(p, 0x80, 0xbf);
	if (rc == OK) rc = emit_range(p, 0x80, 0xbf);
	return rc == OK ? emit_range(p, 0x80, 0xbf) : rc;
}

/* ── characters ──────────────────────────────────────────────────────────── */

static void add_word(struct pattern_step *step)
{
	add_range(step, '0', '9');
	add_range(step, 'A', 'Z');
	add_range(step, 'a', 'z');
	add_range(step, '_', '_');
}

static void add_space(struct pattern_step *step)
{
	add_range(step, '\t', '\r');
	add_range(step, ' ', ' ');
}

static void negate(struct pattern_step *step)
{
	step->bytes[0] = ~step->bytes[0];
	step->bytes[1] = ~step->bytes[1];
}

/* What a letter behind a backslash stands for; `is_negated`: everything but. */
static bool add_kind(struct pattern_step *step, char letter, bool *is_negated)
{
	*is_negated = letter == 'D' || letter == 'W' || letter == 'S';
	switch (letter) {
	case 'd':
	case 'D': add_range(step, '0', '9'); return true;
	case 'w':
	case 'W': add_word(step); return true;
	case 's':
	case 'S': add_space(step); return true;
	default: return false;
	}
}

static int escaped(struct parser *p, char c, unsigned *out)
{
	switch (c) {
	case 'n': *out = '\n'; return OK;
	case 'r': *out = '\r'; return OK;
	case 't': *out = '\t'; return OK;
	default: break;
	}
	bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
	if (is_letter || (uint8_t)c >= 0x80 || (uint8_t)c < 0x20) return fail(p, "has an escape that is not supported");
	*out = (unsigned)c;
	return OK;
}

static int read_escape(struct parser *p)
{
	struct pattern_step step = {.op = OP_BYTES};
	bool is_negated;
	unsigned c = 0;
	if (p->at == p->text.len) return fail(p, "ends with a backslash");
	char letter = p->text.ptr[p->at++];
	if (!add_kind(&step, letter, &is_negated)) {
		int rc = escaped(p, letter, &c);
		return rc == OK ? emit_range(p, c, c) : rc;
	}
	if (!is_negated) return emit(p, step);
	negate(&step);
	return emit_ascii_or_beyond(p, step);
}

/* One member of [...]: its first character, or a kind, which `is_kind` tells. */
static int read_member(struct parser *p, struct pattern_step *set, unsigned *c, bool *is_kind)
{
	bool is_negated;
	*is_kind = false;
	char first = p->text.ptr[p->at++];
	if ((uint8_t)first >= 0x80) return fail(p, "has a character beyond ASCII in [...], which is not supported");
	*c = (unsigned)first;
	if (first == '[' && is_at(p, ':')) return fail(p, "has a class such as [:alpha:], which is not supported");
	if (first != '\\') return OK;
	if (p->at == p->text.len) return fail(p, "ends within [...]");
	char letter = p->text.ptr[p->at++];
	*is_kind = add_kind(set, letter, &is_negated);
	if (*is_kind && is_negated) return fail(p, "has \\D, \\W or \\S in [...], which is not supported");
	return *is_kind ? OK : escaped(p, letter, c);
}

static int read_set(struct parser *p)
{
	struct pattern_step set = {.op = OP_BYTES};
	bool is_negated = take(p, '^'), is_kind, is_first = true;
	unsigned first, last;
	for (; p->at < p->text.len && (is_first || !is_at(p, ']')); is_first = false) {
		int rc = read_member(p, &set, &first, &is_kind);
		if (rc != OK) return rc;
		if (is_kind) continue;
		last = first;
		bool is_range = is_at(p, '-') && p->at + 1 < p->text.len && p->text.ptr[p->at + 1] != ']';
		if (is_range) {
			p->at++;
			rc = read_member(p, &set, &last, &is_kind);
			if (rc != OK) return rc;
			if (is_kind || last < first) return fail(p, "has a range the wrong way round");
		}
		add_range(&set, first, last);
	}
	if (!take(p, ']')) return fail(p, "has a [ without its ]");
	if (!is_negated) return emit(p, set);
	negate(&set);
	return emit_ascii_or_beyond(p, set);
}

static int read_literal(struct parser *p)
{
	size_t len = utf8_sequence(p->text.ptr + p->at, p->text.len - p->at);
	int rc = len ? OK : fail(p, "is not UTF-8");
	for (size_t i = 0; i < len && rc == OK; i++) {
		uint8_t byte = (uint8_t)p->text.ptr[p->at++];
		rc = emit_range(p, byte, byte);
	}
	return rc;
}

static int read_any(struct parser *p)
{
	struct pattern_step step = {.op = OP_BYTES};
	add_range(&step, 0, 0x7f);
	step.bytes[0] &= ~(UINT64_C(1) << '\n' | UINT64_C(1) << '\r');
	return emit_ascii_or_beyond(p, step);
}

/* ── structure ───────────────────────────────────────────────────────────── */

static int read_alternatives(struct parser *p);

static int read_group(struct parser *p)
{
	if (p->depth == GROUPS_MAX) return fail(p, "is nested too deeply");
	if (take(p, '?') && !take(p, ':')) return fail(p, "has a (? that is not supported");
	p->depth++;
	int rc = read_alternatives(p);
	p->depth--;
	if (rc != OK) return rc;
	return take(p, ')') ? OK : fail(p, "has a ( without its )");
}

static int read_atom(struct parser *p)
{
	if (++p->work > WORK_MAX) return fail(p, "repeats repetitions too often");
	switch (p->text.ptr[p->at]) {
	case '*':
	case '+':
	case '?':
	case '{': return fail(p, "repeats nothing");
	case '(': p->at++; return read_group(p);
	case '[': p->at++; return read_set(p);
	case '.': p->at++; return read_any(p);
	case '^': p->at++; return emit(p, (struct pattern_step){.op = OP_BEGIN});
	case '$': p->at++; return emit(p, (struct pattern_step){.op = OP_END});
	case '\\': p->at++; return read_escape(p);
	default: return read_literal(p);
	}
}

static bool read_number(struct parser *p, unsigned *out)
{
	size_t start = p->at;
	for (*out = 0; p->at < p->text.len && p->text.ptr[p->at] >= '0' && p->text.ptr[p->at] <= '9'; p->at++)
		if (*out <= REPEAT_MAX) *out = *out * 10 + (unsigned)(p->text.ptr[p->at] - '0');
	return p->at > start;
}

#define ENDLESS UINT32_MAX

/* How often, from the operator at hand; false: there is none. */
static int read_times(struct parser *p, bool *has, unsigned *least, unsigned *most)
{
	*has = true;
	*least = 0;
	*most = ENDLESS;
	if (take(p, '*')) return OK;
	if (take(p, '+')) return *least = 1, OK;
	if (take(p, '?')) return *most = 1, OK;
	*has = take(p, '{');
	if (!*has) return OK;
	if (!read_number(p, least)) return fail(p, "has a { that is no repetition (write \\{ for the character)");
	*most = *least;
	if (take(p, ',')) {
		if (!read_number(p, most)) *most = ENDLESS;
	}
	if (!take(p, '}')) return fail(p, "has a { without its }");
	if (*least > REPEAT_MAX || (*most != ENDLESS && *most > REPEAT_MAX))
		return fail(p, "repeats more than 256 times");
	return *most < *least ? fail(p, "repeats the wrong way round") : OK;
}

static int make_optional(struct parser *p, size_t start)
{
	size_t len = p->program->count - start;
	return insert(p, start, (struct pattern_step){.op = OP_SPLIT, .x = 1, .y = (int16_t)(len + 1)});
}

static int make_star(struct parser *p, size_t start)
{
	size_t len = p->program->count - start;
	int rc = insert(p, start, (struct pattern_step){.op = OP_SPLIT, .x = 1, .y = (int16_t)(len + 2)});
	return rc == OK ? emit(p, (struct pattern_step){.op = OP_JUMP, .x = (int16_t) - (int)(len + 1)}) : rc;
}

/* The atom that began at `at` of the text once more. */
static int read_again(struct parser *p, size_t at)
{
	size_t here = p->at;
	p->at = at;
	int rc = read_atom(p);
	p->at = here;
	return rc;
}

static int repeat(struct parser *p, size_t at, size_t start, unsigned least, unsigned most)
{
	int rc = OK;
	if (least == 0) p->program->count = start;
	for (unsigned i = 1; i < least && rc == OK; i++) rc = read_again(p, at);
	if (rc == OK && most == ENDLESS) {
		size_t last = p->program->count;
		rc = read_again(p, at);
		return rc == OK ? make_star(p, last) : rc;
	}
	for (unsigned i = least; i < most && rc == OK; i++) {
		size_t last = p->program->count;
		rc = read_again(p, at);
		if (rc == OK) rc = make_optional(p, last);
	}
	return rc;
}

static int read_piece(struct parser *p)
{
	size_t at = p->at, start = p->program->count;
	unsigned least, most;
	bool has;
	int rc = read_atom(p);
	if (rc == OK) rc = read_times(p, &has, &least, &most);
	if (rc != OK || !has) return rc;
	(void)take(p, '?');
	return repeat(p, at, start, least, most);
}

#define NO_JUMP SIZE_MAX

/* Behind each alternative but the last: a jump to the end, which is not known yet; until it is, each tells how far back the one before is. */
static int end_alternative(struct parser *p, size_t start, size_t *last)
{
	size_t len = p->program->count - start;
	int rc = insert(p, start, (struct pattern_step){.op = OP_SPLIT, .x = 1, .y = (int16_t)(len + 2)});
	size_t jump = p->program->count;
	int16_t back = *last == NO_JUMP ? 0 : (int16_t)(jump - *last);
	if (rc == OK) rc = emit(p, (struct pattern_step){.op = OP_JUMP, .x = back});
	if (rc == OK) *last = jump;
	return rc;
}

static int read_alternatives(struct parser *p)
{
	size_t start, last = NO_JUMP;
	int rc = OK;
	do {
		start = p->program->count;
		while (rc == OK && p->at < p->text.len && !is_at(p, '|') && !is_at(p, ')')) rc = read_piece(p);
	} while (rc == OK && take(p, '|') && (rc = end_alternative(p, start, &last)) == OK);
	while (rc == OK && last != NO_JUMP) {
		struct pattern_step *jump = &p->program->steps[last];
		size_t before = jump->x ? last - (size_t)jump->x : NO_JUMP;
		jump->x = (int16_t)(p->program->count - last);
		last = before;
	}
	return rc;
}

int pattern_program_read(struct str text, struct pattern_program *out, const char **why)
{
	struct parser p = {.text = text, .program = out};
	out->count = 0;
	int rc = text.len > PATTERN_TEXT_MAX ? fail(&p, "is longer than 500 bytes") : read_alternatives(&p);
	if (rc == OK && p.at < text.len) rc = fail(&p, "has a ) without its (");
	if (rc == OK) rc = emit(&p, (struct pattern_step){.op = OP_MATCH});
	*why = p.why;
	return rc;
}
