#include "rate.h"

#include <stdlib.h>

#define WAYS 4

struct entry {
	uint64_t key;
	int64_t window;
	uint32_t count, before; /* in this window and in the one before */
};

struct rate {
	uint32_t limit;
	int64_t span_us;
	size_t sets; /* a power of two */
	struct entry *entries;
};

struct rate *rate_new(size_t keys, uint32_t limit, int64_t span_us)
{
	struct rate *rate = calloc(1, sizeof *rate);
	if (!rate) return NULL;
	rate->limit = limit;
	rate->span_us = span_us;
	rate->sets = 1;
	while (rate->sets * WAYS < keys) rate->sets *= 2;
	rate->entries = calloc(rate->sets * WAYS, sizeof *rate->entries);
	if (rate->entries) return rate;
	free(rate);
	return NULL;
}

void rate_free(struct rate *rate)
{
	if (!rate) return;
	free(rate->entries);
	free(rate);
}

static struct entry *find(struct rate *rate, uint64_t key)
{
	struct entry *set = &rate->entries[((key >> 32) & (rate->sets - 1)) * WAYS], *oldest = set;
	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].count && set[i].key == key) return &set[i];
		if (set[i].count == 0 || set[i].window < oldest->window) oldest = &set[i];
		if (oldest->count == 0) break;
	}
	*oldest = (struct entry){.key = key};
	return oldest;
}

bool rate_is_high(struct rate *rate, uint64_t key, int64_t now_us)
{
	struct entry *entry = find(rate, key);
	int64_t window = now_us / rate->span_us;
	if (window > entry->window) {
		entry->before = window == entry->window + 1 ? entry->count : 0;
		entry->count = 0;
		entry->window = window;
	}
	if (entry->count < UINT32_MAX) entry->count++;
	double left = 1.0 - (double)(now_us % rate->span_us) / (double)rate->span_us; /* of the window before */
	return (double)entry->before * left + (double)entry->count > (double)rate->limit;
}
