#include "base/pattern.h"

#include <stdlib.h>

#include "base/pattern_program.h"

#define DEAD  0 /* no way on from here */
#define FOUND 1 /* matched, whatever follows */
#define SLOTS 2048

_Static_assert(SLOTS > PATTERN_STATES_MAX && PROGRAM_MAX <= UINT16_MAX, "the table finds a free slot");

struct pattern {
	uint16_t start;
	uint16_t class_count;
	uint8_t class_of[256];
	const uint16_t *next;  /* [state * class_count + class] */
	const bool *is_at_end; /* of state: matched when the text ends here */
};

/* ── building: each set of instructions that can be reached together is one state ── */

struct set {
	uint64_t bits[PROGRAM_MAX / 64];
	bool is_start; /* only of the first: `^` holds */
};

struct builder {
	struct pattern_program program;
	struct set sets[PATTERN_STATES_MAX];
	bool is_at_end[PATTERN_STATES_MAX];
	size_t count;
	uint16_t slots[SLOTS];
	uint16_t *next; /* [PATTERN_STATES_MAX * class_count] */
	uint16_t class_count;
	uint8_t class_of[256], sample[256]; /* of a class: a byte of it */
};

static bool has(const struct set *set, size_t pc)
{
	return set->bits[pc >> 6] >> (pc & 63) & 1;
}

/* Everything reached from `pc` without a byte. Each instruction is looked at once and puts at most two on the stack. */
static void close_over(const struct pattern_program *program, struct set *set, size_t pc, bool is_start, bool is_end)
{
	uint16_t stack[PROGRAM_MAX * 2];
	size_t depth = 0;
	stack[depth++] = (uint16_t)pc;
	while (depth) {
		pc = stack[--depth];
		const struct pattern_step *step = &program->steps[pc];
		if (has(set, pc)) continue;
		set->bits[pc >> 6] |= UINT64_C(1) << (pc & 63);
		bool goes_on = (step->op == OP_BEGIN && is_start) || (step->op == OP_END && is_end);
		if (goes_on) stack[depth++] = (uint16_t)(pc + 1);
		if (step->op == OP_SPLIT || step->op == OP_JUMP) stack[depth++] = (uint16_t)((int)pc + step->x);
		if (step->op == OP_SPLIT) stack[depth++] = (uint16_t)((int)pc + step->y);
	}
}

static bool reaches_match(const struct pattern_program *program, const struct set *set)
{
	return has(set, program->count - 1); /* the last instruction is the match, and the only one */
}

static bool matches_at_end(const struct pattern_program *program, const struct set *set)
{
	struct set ended = {.is_start = false};
	for (size_t pc = 0; pc < program->count; pc++)
		if (has(set, pc) && program->steps[pc].op == OP_END)
			close_over(program, &ended, pc, set->is_start, true);
	return reaches_match(program, set) || reaches_match(program, &ended);
}

static uint64_t hash_of(const struct set *set)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < COUNT_OF(set->bits); i++) hash = (hash ^ set->bits[i]) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 29 ^ set->is_start;
}

static bool same_set(const struct set *a, const struct set *b)
{
	return a->is_start == b->is_start && memcmp(a->bits, b->bits, sizeof a->bits) == 0;
}

/* The state of a set, a new one when it is the first of its kind. */
static int intern(struct builder *b, const struct set *set, uint16_t *state)
{
	size_t at = hash_of(set) & (SLOTS - 1);
	if (reaches_match(&b->program, set)) return *state = FOUND, OK;
	for (; b->slots[at]; at = (at + 1) & (SLOTS - 1)) {
		*state = b->slots[at];
		if (same_set(&b->sets[*state], set)) return OK;
	}
	if (b->count == PATTERN_STATES_MAX) return ERR_INVALID;
	*state = b->slots[at] = (uint16_t)b->count++;
	b->sets[*state] = *set;
	b->is_at_end[*state] = matches_at_end(&b->program, set);
	return OK;
}

/* Bytes that no instruction tells apart are one class. */
static void find_classes(struct builder *b)
{
	for (unsigned byte = 0; byte < 256; byte++) {
		unsigned class = 0;
		for (; class < b->class_count; class ++) {
			bool is_same = true;
			for (size_t pc = 0; pc < b->program.count && is_same; pc++)
				is_same = step_takes(&b->program.steps[pc], (uint8_t)byte) ==
					  step_takes(&b->program.steps[pc], b->sample[class]);
			if (is_same) break;
		}
		if (class == b->class_count) b->sample[b->class_count++] = (uint8_t)byte;
		b->class_of[byte] = (uint8_t) class;
	}
}

/* The search begins anew at every place, hence the start's closure in each set. */
static int step_on(struct builder *b, uint16_t from, uint8_t byte, uint16_t *to)
{
	const struct pattern_program *program = &b->program;
	struct set set = {.is_start = false};
	for (size_t pc = 0; pc < program->count; pc++)
		if (has(&b->sets[from], pc) && program->steps[pc].op == OP_BYTES &&
		    step_takes(&program->steps[pc], byte))
			close_over(program, &set, pc + 1, false, false);
	close_over(program, &set, 0, false, false);
	return intern(b, &set, to);
}

static int build(struct builder *b, uint16_t *start)
{
	struct set set = {.is_start = true};
	b->count = 2;
	b->is_at_end[FOUND] = true;
	close_over(&b->program, &set, 0, true, false);
	int rc = intern(b, &set, start);
	for (size_t state = 2; state < b->count && rc == OK; state++)
		for (unsigned class = 0; class < b->class_count && rc == OK; class ++)
			rc = step_on(b, (uint16_t)state, b->sample[class], &b->next[state * b->class_count + class]);
	for (unsigned class = 0; class < b->class_count; class ++) b->next[b->class_count + class] = FOUND;
	return rc;
}

static int keep(const struct builder *b, uint16_t start, struct arena *arena, const struct pattern **out)
{
	struct pattern *pattern = arena_new(arena, struct pattern);
	uint16_t *next = arena_array(arena, uint16_t, b->count * b->class_count);
	bool *is_at_end = arena_array(arena, bool, b->count);
	if (!pattern || !next || !is_at_end) return ERR_NOMEM;
	memcpy(next, b->next, b->count * b->class_count * sizeof *next);
	memcpy(is_at_end, b->is_at_end, b->count * sizeof *is_at_end);
	pattern->start = start;
	pattern->class_count = b->class_count;
	memcpy(pattern->class_of, b->class_of, sizeof pattern->class_of);
	pattern->next = next;
	pattern->is_at_end = is_at_end;
	*out = pattern;
	return OK;
}

int pattern_compile(struct arena *arena, struct str text, const struct pattern **out, const char **why)
{
	uint16_t start;
	struct builder *b = calloc(1, sizeof *b);
	if (!b) return ERR_NOMEM;
	int rc = pattern_program_read(text, &b->program, why);
	if (rc == OK) {
		find_classes(b);
		b->next = calloc((size_t)PATTERN_STATES_MAX * b->class_count, sizeof *b->next);
		rc = b->next ? build(b, &start) : ERR_NOMEM;
		if (rc == ERR_INVALID) *why = "needs too many states to be matched in linear time";
	}
	if (rc == OK) rc = keep(b, start, arena, out);
	free(b->next);
	free(b);
	return rc;
}

bool pattern_matches(const struct pattern *pattern, struct str text)
{
	size_t state = pattern->start;
	for (size_t i = 0; i < text.len && state > FOUND; i++)
		state = pattern->next[state * pattern->class_count + pattern->class_of[(uint8_t)text.ptr[i]]];
	return pattern->is_at_end[state];
}
