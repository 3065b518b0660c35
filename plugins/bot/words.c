#include "words.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX  64
#define NODES_MAX 20000
#define CLASSES   64

enum { EDGE_LEFT = 1, EDGE_RIGHT = 2 };

struct node { /* of a tree of all words; then an automaton (Aho and Corasick) */
	uint16_t next[CLASSES], back;
	uint8_t is_exception;
	uint8_t len[4]; /* of the word that ends here, by its edges; 0: none */
};

struct words {
	uint8_t class_of[256]; /* 0: in no word */
	unsigned class_count;
	struct node *nodes;
	size_t count, room;
	uint16_t *suffix; /* the next state with a word that ends here too, 0: none */
};

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static bool is_letter(char c)
{
	return lower(c) >= 'a' && lower(c) <= 'z';
}

static uint16_t add_node(struct words *words)
{
	if (words->count == words->room) {
		size_t room = words->room ? words->room * 2 : 1024;
		struct node *nodes = room <= NODES_MAX * 2 ? realloc(words->nodes, room * sizeof *nodes) : NULL;
		if (!nodes) return 0;
		words->nodes = nodes;
		words->room = room;
	}
	if (words->count >= NODES_MAX) return 0;
	memset(&words->nodes[words->count], 0, sizeof *words->nodes);
	return (uint16_t)words->count++;
}

static unsigned class_for(struct words *words, unsigned char byte)
{
	if (words->class_of[byte] == 0 && words->class_count < CLASSES)
		words->class_of[byte] = (uint8_t)words->class_count++;
	return words->class_of[byte];
}

static const char *add_word(struct words *words, const char *word, size_t len, unsigned edges, bool is_exception)
{
	uint16_t at = 0;
	if (len == 0 || len > WORD_MAX) return "a word has 1 to 64 bytes";
	for (size_t i = 0; i < len; i++) {
		unsigned class = class_for(words, lower(word[i]));
		if (class == 0) return "too many different bytes";
		if (words->nodes[at].next[class] == 0) {
			uint16_t made = add_node(words); /* may move the nodes */
			if (made == 0) return "too many words";
			words->nodes[at].next[class] = made;
		}
		at = words->nodes[at].next[class];
	}
	if (is_exception)
		words->nodes[at].is_exception = 1;
	else
		words->nodes[at].len[edges] = (uint8_t)len;
	return NULL;
}

static const char *read_line(struct words *words, const char *line, size_t len)
{
	unsigned edges = 0;
	while (len && (line[len - 1] == ' ' || line[len - 1] == '\r')) len--;
	if (len == 0 || line[0] == '#') return NULL;
	bool is_exception = line[0] == '!';
	if (is_exception) line++, len--;
	if (len && line[0] == '|') edges |= EDGE_LEFT, line++, len--;
	if (len && line[len - 1] == '|') edges |= EDGE_RIGHT, len--;
	return add_word(words, line, len, edges, is_exception);
}

static bool has_word(const struct node *node)
{
	return node->len[0] || node->len[1] || node->len[2] || node->len[3];
}

/* Breadth first: where a text goes on when the word at hand does not. */
static bool link_nodes(struct words *words)
{
	uint16_t *queue = calloc(words->count, sizeof *queue);
	words->suffix = calloc(words->count, sizeof *words->suffix);
	size_t head = 0, tail = 0;
	if (!queue || !words->suffix) {
		free(queue);
		return false;
	}
	queue[tail++] = 0;
	while (head < tail) {
		uint16_t at = queue[head++];
		struct node *node = &words->nodes[at];
		const struct node *back = &words->nodes[node->back];
		if (at) {
			words->suffix[at] = has_word(back) ? node->back : words->suffix[node->back];
			node->is_exception |= back->is_exception;
		}
		for (unsigned class = 1; class < words->class_count; class ++) {
			uint16_t next = node->next[class];
			if (next == 0) {
				node->next[class] = at ? back->next[class] : 0;
				continue;
			}
			words->nodes[next].back = at ? back->next[class] : 0;
			queue[tail++] = next;
		}
	}
	free(queue);
	return true;
}

static const char *read_lines(struct words *words, const char *lines, size_t len, int *number)
{
	for (size_t start = 0; start < len;) {
		const char *end = memchr(lines + start, '\n', len - start);
		size_t line_len = end ? (size_t)(end - lines) - start : len - start;
		++*number;
		const char *wrong = read_line(words, lines + start, line_len);
		if (wrong) return wrong;
		start += line_len + 1;
	}
	return NULL;
}

struct words *words_new(const char *lines, size_t len, char why[WORDS_WHY_MAX])
{
	struct words *words = calloc(1, sizeof *words);
	int number = 0;
	snprintf(why, WORDS_WHY_MAX, "out of memory");
	if (!words) return NULL;
	words->class_count = 1;
	add_node(words); /* the root */
	const char *wrong = words->nodes ? read_lines(words, lines, len, &number) : "out of memory";
	if (wrong) snprintf(why, WORDS_WHY_MAX, "line %d: %s", number, wrong);
	if (!wrong && link_nodes(words)) return words;
	words_free(words);
	return NULL;
}

void words_free(struct words *words)
{
	if (!words) return;
	free(words->nodes);
	free(words->suffix);
	free(words);
}

static bool fits(const struct node *node, const char *text, size_t end, size_t len)
{
	for (unsigned edges = 0; edges < 4; edges++) {
		size_t word = node->len[edges];
		if (word == 0) continue;
		if (edges & EDGE_LEFT && end > word && is_letter(text[end - word - 1])) continue;
		if (edges & EDGE_RIGHT && end < len && is_letter(text[end])) continue;
		return true;
	}
	return false;
}

size_t words_find(const struct words *words, const char *text, size_t len)
{
	uint16_t at = 0;
	for (size_t i = 0; i < len; i++) {
		unsigned class = words->class_of[lower(text[i])];
		at = class ? words->nodes[at].next[class] : 0;
		if (words->nodes[at].is_exception) continue;
		uint16_t found = has_word(&words->nodes[at]) ? at : words->suffix[at];
		for (; found; found = words->suffix[found]) {
			if (fits(&words->nodes[found], text, i + 1, len)) return i + 1;
		}
	}
	return 0;
}
