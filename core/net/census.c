#include "net/census.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/hash.h"

#define BUCKETS 4096

struct census_entry {
	struct census_entry *next;
	struct ip ip;
	uint32_t count;
};

struct census {
	pthread_mutex_t lock;
	pthread_cond_t emptied;
	size_t total;
	atomic_size_t held, queued;
	struct hash_key key;
	struct census_entry *buckets[BUCKETS];
};

int census_new(struct census **out)
{
	struct census *census = calloc(1, sizeof *census);
	pthread_condattr_t attr;
	if (!census) return ERR_NOMEM;
	(void)pthread_mutex_init(&census->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&census->emptied, &attr);
	(void)pthread_condattr_destroy(&attr);
	random_bytes(&census->key, sizeof census->key);
	*out = census;
	return OK;
}

void census_free(struct census *census)
{
	if (!census) return;
	for (size_t i = 0; i < BUCKETS; i++) CHECK(!census->buckets[i]);
	CHECK(atomic_load(&census->held) == 0 && atomic_load(&census->queued) == 0);
	(void)pthread_cond_destroy(&census->emptied);
	(void)pthread_mutex_destroy(&census->lock);
	free(census);
}

static struct census_entry **bucket_of(struct census *census, const struct ip *ip)
{
	return &census->buckets[hash64(&census->key, ip, sizeof *ip) % BUCKETS];
}

/* Whoever has one IPv6 address has a /64 of them. */
static struct ip household(const struct ip *ip)
{
	static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};
	struct ip out = *ip;
	if (memcmp(ip->bytes, v4_prefix, sizeof v4_prefix) != 0) memset(out.bytes + 8, 0, 8);
	return out;
}

static int enter_ip(struct census *census, const struct ip *ip, uint32_t max_per_ip, struct census_entry **out)
{
	struct ip key = household(ip);
	struct census_entry **bucket = bucket_of(census, &key), *entry = *bucket;
	while (entry && memcmp(&entry->ip, &key, sizeof key) != 0) entry = entry->next;
	if (entry && entry->count >= max_per_ip) return ERR_REFUSED;
	if (!entry) {
		entry = malloc(sizeof *entry);
		if (!entry) return ERR_NOMEM;
		*entry = (struct census_entry){.next = *bucket, .ip = key};
		*bucket = entry;
	}
	entry->count++;
	*out = entry;
	return OK;
}

int census_enter(struct census *census, const struct ip *ip, uint32_t max_total, uint32_t max_per_ip,
		 struct census_entry **entry)
{
	int rc = OK;
	*entry = NULL;
	(void)pthread_mutex_lock(&census->lock);
	if (census->total >= max_total)
		rc = ERR_BUSY;
	else if (ip)
		rc = enter_ip(census, ip, max_per_ip, entry);
	if (rc == OK) census->total++;
	(void)pthread_mutex_unlock(&census->lock);
	return rc;
}

static void leave_ip(struct census *census, struct census_entry *entry)
{
	if (--entry->count > 0) return;
	struct census_entry **at = bucket_of(census, &entry->ip);
	while (*at != entry) at = &(*at)->next;
	*at = entry->next;
	free(entry);
}

void census_leave(struct census *census, struct census_entry *entry)
{
	(void)pthread_mutex_lock(&census->lock);
	CHECK(census->total > 0);
	if (entry) leave_ip(census, entry);
	if (--census->total == 0) (void)pthread_cond_broadcast(&census->emptied);
	(void)pthread_mutex_unlock(&census->lock);
}

size_t census_total(struct census *census)
{
	(void)pthread_mutex_lock(&census->lock);
	size_t total = census->total;
	(void)pthread_mutex_unlock(&census->lock);
	return total;
}

size_t census_hold(struct census *census, size_t bytes)
{
	return atomic_fetch_add_explicit(&census->held, bytes, memory_order_relaxed) + bytes;
}

void census_let_go(struct census *census, size_t bytes)
{
	CHECK(atomic_fetch_sub_explicit(&census->held, bytes, memory_order_relaxed) >= bytes);
}

void census_queue(struct census *census, size_t before, size_t now)
{
	/* Wraps round when it shrinks, as unsigned numbers do. */
	(void)atomic_fetch_add_explicit(&census->queued, now - before, memory_order_relaxed);
}

size_t census_queued(const struct census *census)
{
	return atomic_load_explicit(&census->queued, memory_order_relaxed);
}

bool census_wait_empty(struct census *census, int timeout_ms)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_mutex_lock(&census->lock);
	while (census->total > 0)
		if (pthread_cond_timedwait(&census->emptied, &census->lock, &until) != 0) break;
	bool is_empty = census->total == 0;
	(void)pthread_mutex_unlock(&census->lock);
	return is_empty;
}
