/* pattern_program: what an expression says, as instructions that each take one byte or branch. Jumps are relative, so that a finished
 * stretch can be moved when an operator in front of it is found only behind it. */
#pragma once

#include "base/pattern.h"

#define PROGRAM_MAX 4096 /* instructions */

enum pattern_op { OP_BYTES, OP_SPLIT, OP_JUMP, OP_BEGIN, OP_END, OP_MATCH };

struct pattern_step {
	enum pattern_op op;
	int16_t x, y;      /* SPLIT: both ways on; JUMP: x */
	uint64_t bytes[4]; /* BYTES: a bit for each that goes on */
};

struct pattern_program {
	struct pattern_step steps[PROGRAM_MAX];
	size_t count;
};

/* OK, or ERR_INVALID with *why. */
MUST_USE int pattern_program_read(struct str text, struct pattern_program *out, const char **why);

static inline bool step_takes(const struct pattern_step *step, uint8_t byte)
{
	return step->bytes[byte >> 6] >> (byte & 63) & 1;
}
