/* last: the score that was last written of each person, in bounded memory: what is forgotten costs one event more, nothing else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAST_ID_SIZE 16

struct last;

/* Of about `people` persons; 0: of nobody. NULL: no memory. */
struct last *last_new(size_t people);
void last_free(struct last *last); /* NULL is fine */
/* False: not known. `version`: the caller's, told by last_put. */
bool last_get(const struct last *last, const uint8_t id[LAST_ID_SIZE], float *score, uint32_t *version);
void last_put(struct last *last, const uint8_t id[LAST_ID_SIZE], float score, uint32_t version);
void last_drop(struct last *last, const uint8_t id[LAST_ID_SIZE]);
