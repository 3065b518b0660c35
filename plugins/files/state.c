/* What is remembered durably: two slots, of which the newer whole one counts, and behind them a ring of the ids of records.
 *
 * A commit writes its slot, its ids and the bytes of a batch, in any order that the disk likes; the slot holds checksums of them all. Torn, it does not count, and
 * the slot before it does: the ring has room enough that its ids were not written over. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "files.h"

#define MAGIC      "cdpdfil2"
#define MAGIC_LEN  (sizeof MAGIC - 1)
#define SLOT_SIZE  ((off_t)4096)
#define RING_AT    (2 * SLOT_SIZE)
#define INDEX_SIZE ((size_t)8 * IDS_KEPT)
#define INDEX_USED (UINT32_C(1) << 31)

_Static_assert(sizeof(struct state) <= 4096, "a slot is a page");

/* Eight bytes at a time. */
uint64_t hash_bytes(const void *ptr, size_t len, uint64_t seed)
{
	const unsigned char *at = ptr;
	uint64_t hash = seed ^ (0x9e3779b97f4a7c15u * (len + 1));
	uint64_t word;
	for (; len >= sizeof word; at += sizeof word, len -= sizeof word) {
		memcpy(&word, at, sizeof word);
		hash = (hash ^ word) * 0xd6e8feb86659fd93u;
		hash ^= hash >> 32;
	}
	word = 0;
	for (size_t i = 0; i < len; i++) word = word << 8 | at[i];
	hash = (hash ^ word) * 0xd6e8feb86659fd93u;
	return hash ^ hash >> 29;
}

struct id id_of(struct cdpd_str delivery_id)
{
	return (struct id){hash_bytes(delivery_id.ptr, delivery_id.len, 0),
			   hash_bytes(delivery_id.ptr, delivery_id.len, 0xa0761d6478bd642fu)};
}

/* ── memory ──────────────────────────────────────────────────────────────── */

bool memory_init(struct memory *memory)
{
	memory->ring = calloc(IDS_SIZE, sizeof memory->ring[0]);
	memory->index = calloc(INDEX_SIZE, sizeof memory->index[0]);
	return memory->ring && memory->index;
}

void memory_free(struct memory *memory)
{
	free(memory->ring);
	free(memory->index);
	*memory = (struct memory){0};
}

static uint64_t oldest(uint64_t count)
{
	return count > IDS_KEPT ? count - IDS_KEPT : 0;
}

static void index_add(struct memory *memory, uint64_t number)
{
	size_t at = memory->ring[number % IDS_SIZE].a % INDEX_SIZE;
	while (memory->index[at]) at = (at + 1) % INDEX_SIZE;
	memory->index[at] = (uint32_t)number | INDEX_USED;
	memory->used++;
}

/* Entries that are forgotten stay until the index is half full. */
static void index_up_to(struct memory *memory, uint64_t count)
{
	if (memory->used + (count - memory->indexed) > INDEX_SIZE / 2 || count < memory->indexed) {
		memset(memory->index, 0, INDEX_SIZE * sizeof memory->index[0]);
		memory->used = 0;
		memory->indexed = oldest(count);
	}
	for (; memory->indexed < count; memory->indexed++) index_add(memory, memory->indexed);
}

bool memory_has(const struct memory *memory, const struct state *state, struct id id)
{
	uint64_t from = oldest(state->id_count);
	for (size_t at = id.a % INDEX_SIZE; memory->index[at]; at = (at + 1) % INDEX_SIZE) {
		/* The number that is nearest below the count and ends in these 31 bits. */
		uint64_t back = (state->id_count - 1 - memory->index[at]) & ~INDEX_USED;
		if (back >= state->id_count - from) continue;
		const struct id *other = &memory->ring[(state->id_count - 1 - back) % IDS_SIZE];
		if (other->a == id.a && other->b == id.b) return true;
	}
	return false;
}

void memory_note(struct memory *memory, struct state *next, struct id id)
{
	memory->ring[next->id_count++ % IDS_SIZE] = id;
}

/* ── the file ────────────────────────────────────────────────────────────── */

static uint64_t hash_ids(const struct memory *memory, uint64_t from, uint64_t to)
{
	uint64_t hash = 1;
	for (uint64_t n = from; n < to; n++) hash = hash_bytes(&memory->ring[n % IDS_SIZE], sizeof(struct id), hash);
	return hash;
}

static int write_all(int fd, const void *ptr, size_t len, off_t at)
{
	for (const char *from = ptr; len > 0;) {
		ssize_t n = pwrite(fd, from, len, at);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return CDPD_ERR_IO;
		from += n;
		at += n;
		len -= (size_t)n;
	}
	return CDPD_OK;
}

static int write_ids(int fd, const struct memory *memory, uint64_t from, uint64_t to)
{
	int rc = CDPD_OK;
	while (from < to && rc == CDPD_OK) {
		uint64_t at = from % IDS_SIZE, part = to - from < IDS_SIZE - at ? to - from : IDS_SIZE - at;
		rc = write_all(fd, &memory->ring[at], part * sizeof(struct id),
			       RING_AT + (off_t)(at * sizeof(struct id)));
		from += part;
	}
	return rc;
}

static bool read_slot(int fd, int slot, struct state *out)
{
	if (pread(fd, out, sizeof *out, slot * SLOT_SIZE) != (ssize_t)sizeof *out) return false;
	return memcmp(out->magic, MAGIC, MAGIC_LEN) == 0 &&
	       out->checksum == hash_bytes(out, offsetof(struct state, checksum), 1) && out->id_from <= out->id_count &&
	       out->id_count - out->id_from <= IDS_SIZE && memchr(out->name, 0, sizeof out->name) != NULL;
}

/* A file that another version has written. */
static bool is_foreign(int fd)
{
	char magic[MAGIC_LEN];
	for (int slot = 0; slot < 2; slot++) {
		if (pread(fd, magic, sizeof magic, slot * SLOT_SIZE) != (ssize_t)sizeof magic) continue;
		if (memcmp(magic, MAGIC, 7) == 0 && memcmp(magic, MAGIC, MAGIC_LEN) != 0) return true;
	}
	return false;
}

static bool is_whole(const struct state *state, const struct memory *memory)
{
	return state->ids_checksum == hash_ids(memory, state->id_from, state->id_count);
}

static void read_ring(int fd, struct memory *memory)
{
	char *at = (char *)memory->ring;
	memset(at, 0, IDS_SIZE * sizeof(struct id));
	for (size_t got = 0, size = IDS_SIZE * sizeof(struct id); got < size;) {
		ssize_t n = pread(fd, at + got, size - got, RING_AT + (off_t)got);
		if (n <= 0) return; /* it is as long as it has become */
		got += (size_t)n;
	}
}

int state_read(int fd, struct state *out, struct memory *memory, state_check_fn has_bytes, void *ctx)
{
	struct state slots[2];
	const struct state *found = NULL;
	if (is_foreign(fd)) return CDPD_ERR_UNSUPPORTED;
	read_ring(fd, memory);
	bool is_good[2], has_all[2];
	for (int i = 0; i < 2; i++) {
		is_good[i] = read_slot(fd, i, &slots[i]) && is_whole(&slots[i], memory);
		has_all[i] = is_good[i] && has_bytes(ctx, &slots[i]);
	}
	/* When neither file is as it was, somebody has changed it: then the newer says more. */
	bool are_both_bad = !has_all[0] && !has_all[1];
	for (int i = 0; i < 2; i++)
		if ((has_all[i] || (are_both_bad && is_good[i])) && (!found || slots[i].turn > found->turn))
			found = &slots[i];
	memset(out, 0, sizeof *out);
	if (found) *out = *found;
	memory->indexed = UINT64_MAX; /* made anew */
	index_up_to(memory, out->id_count);
	/* The next commit writes them all: what was read may not be what the disk holds. */
	out->id_from = oldest(out->id_count);
	return found ? CDPD_OK : CDPD_ERR_NOT_FOUND;
}

int state_write(int fd, struct state *state, struct memory *memory)
{
	state->turn++;
	memcpy(state->magic, MAGIC, MAGIC_LEN);
	state->ids_checksum = hash_ids(memory, state->id_from, state->id_count);
	state->checksum = hash_bytes(state, offsetof(struct state, checksum), 1);
	if (write_ids(fd, memory, state->id_from, state->id_count)) return CDPD_ERR_IO;
	return write_all(fd, state, sizeof *state, (off_t)(state->turn % 2) * SLOT_SIZE);
}

void state_settle(struct state *state, struct memory *memory)
{
	index_up_to(memory, state->id_count);
	state->id_from = state->id_count;
}

int state_commit(int fd, struct state *state, struct memory *memory)
{
	state->bytes_from = state->size;
	state->bytes_checksum = 0;
	if (state_write(fd, state, memory) || fdatasync(fd)) return CDPD_ERR_IO;
	state_settle(state, memory);
	return CDPD_OK;
}
