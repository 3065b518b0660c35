#include "literals.h"

#include <string.h>

#define RUN_MAX 64

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static uint16_t gram(const unsigned char *at)
{
	uint32_t three = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
	return (uint16_t)((three * 0x9e3779b1u) >> 20); /* twelve bits: SIEVE_BITS */
}

void sieve_fill(struct sieve *sieve, const char *text, size_t len)
{
	unsigned char last[3] = {0};
	memset(sieve, 0, sizeof *sieve);
	for (size_t i = 0; i < len; i++) {
		last[0] = last[1];
		last[1] = last[2];
		last[2] = lower(text[i]);
		if (i >= 2) sieve->bits[gram(last) / 64] |= UINT64_C(1) << (gram(last) % 64);
	}
}

struct walk {
	const char *at;
	unsigned char run[RUN_MAX]; /* literal bytes that stand side by side */
	size_t len;
	struct literals *out;
};

/* Keeps the trigrams of the run, spread over it. */
static void end_run(struct walk *walk)
{
	for (size_t i = 0; i + 3 <= walk->len && walk->out->count < LITERALS_MAX; i += 3)
		walk->out->grams[walk->out->count++] = gram(walk->run + i);
	walk->len = 0;
}

/* Does what stands before `at` count any number of times, none included? Moves past the quantifier; one that asks for at least
 * one leaves a run broken, but the literal in force. */
static bool is_optional(const char **at, bool *is_quantified)
{
	const char *p = *at;
	bool is_zero = *p == '*' || *p == '?' || (*p == '{' && (p[1] == '0' || p[1] == ','));
	*is_quantified = is_zero || *p == '+' || *p == '{';
	if (!*is_quantified) return false;
	if (*p == '{')
		while (*p && *p != '}') p++;
	if (*p) p++;
	if (*p == '?' || *p == '+') p++;
	*at = p;
	return is_zero;
}

static const char *skip_class(const char *p)
{
	p++;
	if (*p == '^') p++;
	if (*p == ']') p++;
	while (*p && *p != ']') p += *p == '\\' && p[1] ? 2 : 1;
	return *p ? p + 1 : p;
}

/* Past the group that opens at p. */
static const char *skip_group(const char *p, bool *has_choice)
{
	int depth = 0;
	*has_choice = false;
	while (*p) {
		if (*p == '[') {
			p = skip_class(p);
			continue;
		}
		if (*p == '\\' && p[1])
			p++;
		else if (*p == '(')
			depth++;
		else if (*p == '|' && depth == 1)
			*has_choice = true;
		else if (*p == ')' && --depth == 0)
			return p + 1;
		p++;
	}
	return p;
}

static void add_byte(struct walk *walk, char c)
{
	bool is_quantified;
	const char *after = walk->at;
	bool is_zero = is_optional(&after, &is_quantified);
	walk->at = after;
	if (!is_zero && walk->len < RUN_MAX) walk->run[walk->len++] = lower(c);
	if (is_quantified || walk->len == RUN_MAX) end_run(walk);
}

static void skip_one(struct walk *walk, const char *after)
{
	bool is_quantified;
	walk->at = after;
	end_run(walk);
	is_optional(&walk->at, &is_quantified);
}

static void walk_sequence(struct walk *walk, const char *end);

static void walk_group(struct walk *walk)
{
	bool has_choice, is_quantified;
	const char *open = walk->at, *after = skip_group(open, &has_choice), *beyond = after;
	bool is_zero = is_optional(&beyond, &is_quantified);
	bool is_plain = open[1] != '?' || (open[1] == '?' && open[2] == ':');
	end_run(walk);
	if (is_plain && !has_choice && !is_zero) {
		walk->at = open + (open[1] == '?' ? 3 : 1);
		walk_sequence(walk, after - 1);
		end_run(walk);
	}
	walk->at = beyond;
}

static void walk_escape(struct walk *walk)
{
	char c = walk->at[1];
	bool is_literal = c && !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
	if (!is_literal) {
		skip_one(walk, walk->at + (c ? 2 : 1));
		return;
	}
	walk->at += 2;
	add_byte(walk, c);
}

static void walk_sequence(struct walk *walk, const char *end)
{
	while (walk->at < end) {
		char c = *walk->at;
		switch (c) {
		case '(': walk_group(walk); break;
		case '[': skip_one(walk, skip_class(walk->at)); break;
		case '\\': walk_escape(walk); break;
		case '.':
		case '^':
		case '$': skip_one(walk, walk->at + 1); break;
		default: walk->at++; add_byte(walk, c);
		}
	}
}

/* With a choice at the top none of its texts is needed. */
static bool has_one_way(const char *pattern)
{
	for (const char *p = pattern; *p;) {
		bool has_choice;
		if (*p == '|') return false;
		if (*p == '(')
			p = skip_group(p, &has_choice);
		else if (*p == '[')
			p = skip_class(p);
		else
			p += *p == '\\' && p[1] ? 2 : 1;
	}
	return true;
}

void literals_of(const char *pattern, struct literals *out)
{
	struct walk walk = {.at = pattern, .out = out};
	out->count = 0;
	if (!has_one_way(pattern)) return;
	walk_sequence(&walk, pattern + strlen(pattern));
	end_run(&walk);
}
