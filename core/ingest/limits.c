#include "ingest/limits.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"

#define SETS  4096u /* a power of two */
#define WAYS  4u
#define LOCKS 64u

struct bucket {
	uint64_t id; /* hash of kind and name; 0: free */
	double tokens;
	int64_t at_us; /* when tokens was true */
};

struct limits {
	struct hash_key key; /* random: nobody can aim at another's bucket */
	pthread_mutex_t locks[LOCKS];
	struct bucket buckets[SETS][WAYS];
};

int limits_new(struct limits **out)
{
	struct limits *limits = calloc(1, sizeof *limits);
	if (!limits) return ERR_NOMEM;
	random_bytes(&limits->key, sizeof limits->key);
	for (size_t i = 0; i < LOCKS; i++) CHECK(pthread_mutex_init(&limits->locks[i], NULL) == 0);
	*out = limits;
	return OK;
}

void limits_free(struct limits *limits)
{
	if (!limits) return;
	for (size_t i = 0; i < LOCKS; i++) pthread_mutex_destroy(&limits->locks[i]);
	free(limits);
}

/* The bucket of `id`, or the one of its set that nobody used for longest, filled anew. */
static struct bucket *find(struct limits *limits, uint64_t id, int64_t now_us, double rate)
{
	struct bucket *set = limits->buckets[id & (SETS - 1)], *oldest = set;
	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].id == id) return &set[i];
		if (set[i].id == 0 || set[i].at_us < oldest->at_us) oldest = &set[i];
		if (set[i].id == 0) break;
	}
	*oldest = (struct bucket){id, rate, now_us};
	return oldest;
}

static void refill(struct bucket *bucket, int64_t now_us, double rate)
{
	if (now_us > bucket->at_us) {
		bucket->tokens += (double)(now_us - bucket->at_us) * rate / (double)US_PER_SECOND;
		bucket->at_us = now_us;
	}
	if (bucket->tokens > rate) bucket->tokens = rate;
}

/* Refills, takes, and tells what is left. */
static double take(struct limits *limits, char kind, struct str name, double rate, int64_t now_us, double events)
{
	uint64_t id = hash64(&limits->key, name.ptr, name.len) ^ (uint64_t)kind << 56;
	if (id == 0) id = 1;
	pthread_mutex_t *lock = &limits->locks[id & (LOCKS - 1)];
	pthread_mutex_lock(lock);
	struct bucket *bucket = find(limits, id, now_us, rate);
	refill(bucket, now_us, rate);
	bucket->tokens -= events;
	double left = bucket->tokens;
	pthread_mutex_unlock(lock);
	return left;
}

static void note(struct limit_pass *pass, uint32_t rate, double left)
{
	int64_t remaining = left > 0 ? (int64_t)left : 0;
	if (pass->limit < 0 || remaining < pass->remaining) {
		pass->limit = rate;
		pass->remaining = remaining;
	}
	if (left < 1) {
		int wait = (int)((1 - left) / rate) + 1;
		if (wait > pass->retry_after_s) pass->retry_after_s = wait;
	}
}

static void take_both(struct limits *limits, int64_t now_us, struct limit_pass *pass, uint32_t events)
{
	pass->limit = pass->remaining = -1;
	pass->retry_after_s = 0;
	if (pass->key_rate) note(pass, pass->key_rate, take(limits, 'k', pass->key, pass->key_rate, now_us, events));
	if (pass->ip_rate) note(pass, pass->ip_rate, take(limits, 'i', pass->ip, pass->ip_rate, now_us, events));
}

bool limits_check(struct limits *limits, int64_t now_us, struct limit_pass *pass)
{
	take_both(limits, now_us, pass, 0);
	return pass->retry_after_s == 0;
}

void limits_charge(struct limits *limits, int64_t now_us, struct limit_pass *pass, uint32_t events)
{
	take_both(limits, now_us, pass, events);
	pass->retry_after_s = 0;
}
