#include "profile/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>

#include "profile/sealed.h"
#include "profile/wire.h"

#define KEY_CHECKPOINT  STR("checkpoint")
#define KEY_HASH        STR("hash-key")
#define KEY_DEFINITIONS STR("definitions")
#define CHECKPOINT_MAX  (SEALED_HEADER + 8 * (8 + OUTCOME_VERDICT_COUNT))

static int read_sealed(struct store_txn *txn, store_db meta, struct str key, struct wire_in *out)
{
	struct str value;
	struct sealed sealed;
	int rc = store_get(txn, meta, key, &value);
	if (!rc) rc = sealed_open(key, value, &sealed);
	if (rc) return rc;
	*out = wire_in((struct str){value.ptr + SEALED_HEADER, value.len - SEALED_HEADER});
	return OK;
}

int checkpoint_read(struct store_txn *txn, store_db meta, struct checkpoint *out)
{
	struct wire_in in;
	*out = (struct checkpoint){0};
	int rc = read_sealed(txn, meta, KEY_CHECKPOINT, &in);
	if (rc) return rc;
	out->applied = wire_u64(&in);
	out->applied_t = (int64_t)wire_u64(&in);
	out->epoch = wire_u64(&in);
	out->last_change = wire_u64(&in);
	out->changes_floor = wire_u64(&in);
	out->last_outcome = wire_u64(&in);
	out->plan_seq = wire_u64(&in);
	uint64_t count = wire_u64(&in);
	if (count > OUTCOME_VERDICT_COUNT) return ERR_CORRUPT;
	for (size_t i = 0; i < count; i++) out->verdicts[i] = wire_u64(&in);
	return in.is_bad || in.at != in.end ? ERR_CORRUPT : OK;
}

int checkpoint_write(struct store_txn *txn, store_db meta, const struct checkpoint *checkpoint)
{
	uint8_t value[CHECKPOINT_MAX];
	uint8_t *at = value + SEALED_HEADER;
	at = wire_put_u64(at, checkpoint->applied);
	at = wire_put_u64(at, (uint64_t)checkpoint->applied_t);
	at = wire_put_u64(at, checkpoint->epoch);
	at = wire_put_u64(at, checkpoint->last_change);
	at = wire_put_u64(at, checkpoint->changes_floor);
	at = wire_put_u64(at, checkpoint->last_outcome);
	at = wire_put_u64(at, checkpoint->plan_seq);
	at = wire_put_u64(at, OUTCOME_VERDICT_COUNT);
	for (size_t i = 0; i < OUTCOME_VERDICT_COUNT; i++) at = wire_put_u64(at, checkpoint->verdicts[i]);
	size_t len = (size_t)(at - value);
	sealed_close(KEY_CHECKPOINT, (char *)value, len, (struct sealed){0});
	return store_put(txn, meta, KEY_CHECKPOINT, (struct str){(const char *)value, len});
}

int hash_key_read(struct store_txn *txn, store_db meta, struct hash_key *out)
{
	struct wire_in in;
	int rc = read_sealed(txn, meta, KEY_HASH, &in);
	if (rc) return rc;
	wire_copy(&in, out, sizeof *out);
	return in.is_bad || in.at != in.end ? ERR_CORRUPT : OK;
}

int hash_key_write(struct store_txn *txn, store_db meta, const struct hash_key *key)
{
	char value[SEALED_HEADER + sizeof *key];
	memcpy(value + SEALED_HEADER, key, sizeof *key);
	sealed_close(KEY_HASH, value, sizeof value, (struct sealed){0});
	return store_put(txn, meta, KEY_HASH, (struct str){value, sizeof value});
}

static int read_plan(struct store_txn *txn, store_db meta, struct str key, struct plan **out)
{
	struct wire_in in;
	*out = NULL;
	int rc = read_sealed(txn, meta, key, &in);
	if (rc) return rc;
	uint64_t seq = wire_u64(&in), identity_seq = wire_u64(&in), count = wire_u64(&in);
	uint64_t since[PLAN_FEATURES_MAX];
	if (count > PLAN_FEATURES_MAX) return ERR_CORRUPT;
	wire_copy(&in, since, count * sizeof *since);
	struct str text = wire_str(&in);
	if (in.is_bad || in.at != in.end) return ERR_CORRUPT;
	rc = plan_new(text, seq, identity_seq, since, count, PLAN_LENIENT, out);
	return rc == ERR_INVALID ? ERR_CORRUPT : rc;
}

static int write_plan(struct store_txn *txn, store_db meta, struct str key, const struct plan *plan)
{
	size_t count = plan->definitions.feature_count;
	size_t size = SEALED_HEADER + (3 + count) * sizeof(uint64_t) + WIRE_VARINT_MAX + plan->text.len;
	struct arena arena;
	arena_init(&arena, size + 64, 0);
	uint8_t *value = arena_alloc(&arena, size);
	int rc = value ? OK : ERR_NOMEM;
	if (!rc) {
		uint8_t *at = wire_put_u64(value + SEALED_HEADER, plan->seq);
		at = wire_put_u64(at, plan->identity_seq);
		at = wire_put_u64(at, count);
		for (size_t i = 0; i < count; i++) at = wire_put_u64(at, plan->definitions.features[i].since_seq);
		at = wire_put_str(at, plan->text);
		size_t len = (size_t)(at - value);
		sealed_close(key, (char *)value, len, (struct sealed){0});
		rc = store_put(txn, meta, key, (struct str){(const char *)value, len});
	}
	arena_fini(&arena);
	return rc;
}

int plan_read(struct store_txn *txn, store_db meta, struct plan **out)
{
	return read_plan(txn, meta, KEY_DEFINITIONS, out);
}

int plan_write(struct store_txn *txn, store_db meta, const struct plan *plan)
{
	return write_plan(txn, meta, KEY_DEFINITIONS, plan);
}

#define RULES_KEY_MAX 32

static struct str rules_key(uint64_t version, char key[RULES_KEY_MAX])
{
	int len = snprintf(key, RULES_KEY_MAX, "rules %020" PRIu64, version);
	return (struct str){key, (size_t)len};
}

int rules_write(struct store_txn *txn, store_db meta, const struct plan *plan)
{
	char key[RULES_KEY_MAX];
	return write_plan(txn, meta, rules_key(plan->identity_seq, key), plan);
}

int rules_read(struct store_txn *txn, store_db meta, uint64_t version, struct plan **out)
{
	char key[RULES_KEY_MAX];
	return read_plan(txn, meta, rules_key(version, key), out);
}
