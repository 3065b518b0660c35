/* In the isolated process: a request for a source is decoded at once; a batch for an exporter is the plugin's until its receipt is done. */
#include <stdlib.h>

#include "plugin/isolate_inside.h"

#define REQUEST_ARENA_MAX ((size_t)1 << 20) /* of headers' places: texts lie in the frame */

/* ── requests ────────────────────────────────────────────────────────────── */

static void write_decoded(uint32_t id, struct decoding *decode)
{
	struct wire wire;
	inside_lock();
	wire_begin(&wire, &inside.out, FRAME_DECODED);
	wire_decoded(&wire, id, decode);
	int rc = wire_end(&wire);
	if (rc == ERR_TOO_LARGE) {
		decode->error = CDPD_ERR_TOO_LARGE;
		wire_begin(&wire, &inside.out, FRAME_DECODED);
		wire_decoded(&wire, id, decode);
		rc = wire_end(&wire);
	}
	inside_written(rc);
	inside_unlock();
}

void inside_take_request(struct str body)
{
	struct arena arena;
	struct wire_request request;
	struct decoding decode;
	if (inside.use != CDPD_CAP_SOURCE) inside_end(INSIDE_EXIT_SPEECH);
	arena_init(&arena, 4096, REQUEST_ARENA_MAX);
	if (wire_read_request(body, &arena, &request)) inside_end(INSIDE_EXIT_SPEECH);
	inside_written(decoding_begin(&decode, &request.request, request.items_max, request.bytes_max));
	arena_fini(&arena);
	decoding_run(&decode, inside.instance);
	if (decode.error == CDPD_ERR_NOMEM) inside_end(INSIDE_EXIT_MEMORY);
	write_decoded(request.id, &decode);
	decoding_fini(&decode);
}

/* ── batches ─────────────────────────────────────────────────────────────── */

struct inside_batch {
	struct inside_batch *next;
	uint32_t id;
	size_t count;
	struct arena arena;
	struct cdpd_record *records;
	struct wire_verdict *verdicts;
	bool *is_named;
	struct wire_verdict all; /* what receipt_set said of CDPD_ALL */
};

/* It is of the plugin's: what is not there (any more) is no batch. Under the lock. */
static struct inside_batch *find(const void *handle)
{
	struct inside_batch *batch = inside.batches;
	while (batch && (const void *)batch != handle) batch = batch->next;
	return batch;
}

static void free_batch(struct inside_batch *batch)
{
	struct inside_batch **at = &inside.batches;
	while (*at != batch) at = &(*at)->next;
	*at = batch->next;
	arena_fini(&batch->arena);
	free(batch);
}

static void write_verdicts(struct inside_batch *batch, enum cdpd_verdict rest)
{
	struct wire wire;
	struct wire_verdict others = {.verdict = rest == CDPD_ACK || rest == CDPD_DROP ? rest : CDPD_RETRY,
				      .reason = STR_NONE};
	if (batch->all.verdict == others.verdict) others = batch->all;
	wire_begin(&wire, &inside.out, FRAME_VERDICTS);
	wire_u32(&wire, batch->id);
	wire_u32(&wire, (uint32_t)batch->count);
	for (size_t i = 0; i < batch->count; i++)
		wire_verdict(&wire, batch->is_named[i] ? &batch->verdicts[i] : &others);
	inside_written(wire_end(&wire));
	free_batch(batch);
}

static struct inside_batch *read_batch(struct wire_in *in)
{
	struct inside_batch *batch = calloc(1, sizeof *batch);
	if (!batch) inside_end(INSIDE_EXIT_MEMORY);
	batch->id = wire_take_u32(in);
	batch->count = wire_take_count(in, 44);
	batch->all.reason = STR_NONE;
	arena_init(&batch->arena, 65536, 0);
	batch->records = arena_array(&batch->arena, struct cdpd_record, batch->count + 1);
	batch->verdicts = arena_array(&batch->arena, struct wire_verdict, batch->count + 1);
	batch->is_named = arena_array(&batch->arena, bool, batch->count + 1);
	if (!batch->records || !batch->verdicts || !batch->is_named) inside_end(INSIDE_EXIT_MEMORY);
	memset(batch->is_named, 0, batch->count + 1);
	for (size_t i = 0; i < batch->count; i++) wire_take_record(in, &batch->records[i]);
	return batch;
}

void inside_take_batch(struct str body)
{
	const struct cdpd_plugin *table = plugin_info(inside.plugin);
	struct wire_in in = wire_in(body);
	struct str copy;
	if (inside.use != CDPD_CAP_EXPORT) inside_end(INSIDE_EXIT_SPEECH);
	struct inside_batch *batch = read_batch(&in);
	if (wire_finish(&in)) inside_end(INSIDE_EXIT_SPEECH);
	/* The frame goes, its texts stay. */
	inside_written(arena_str(&batch->arena, body, &copy));
	in = wire_in(copy);
	(void)wire_take_u32(&in), (void)wire_take_u32(&in);
	for (size_t i = 0; i < batch->count; i++) wire_take_record(&in, &batch->records[i]);
	inside_lock();
	batch->next = inside.batches;
	inside.batches = batch;
	inside_unlock();
	void *handle = batch; /* maybe gone when the call returns */
	enum cdpd_verdict answer = table->export_batch(instance_self(inside.instance), handle, handle);
	inside_lock();
	batch = answer == CDPD_PENDING ? NULL : find(handle);
	if (batch) write_verdicts(batch, answer);
	inside_unlock();
}

size_t inside_batch_count(const struct cdpd_batch *handle)
{
	inside_lock();
	const struct inside_batch *batch = find(handle);
	size_t count = batch ? batch->count : 0;
	inside_unlock();
	return count;
}

int inside_batch_record(const struct cdpd_batch *handle, size_t index, struct cdpd_record *out)
{
	uint32_t size = out->size;
	int rc = CDPD_ERR_NOT_FOUND;
	inside_lock();
	const struct inside_batch *batch = find(handle);
	if (batch && index < batch->count) {
		struct cdpd_record record = batch->records[index];
		record.size = size;
		memcpy(out, &record, size < sizeof record ? size : sizeof record);
		rc = CDPD_OK;
	}
	inside_unlock();
	return rc;
}

/* Under the lock. */
static int note(struct inside_batch *batch, size_t index, struct wire_verdict given)
{
	if (index != CDPD_ALL && index >= batch->count) return CDPD_ERR_NOT_FOUND;
	if (given.reason.len > WIRE_REASON_MAX) given.reason.len = WIRE_REASON_MAX;
	if (arena_str(&batch->arena, given.reason, &given.reason)) return CDPD_ERR_NOMEM;
	if (index == CDPD_ALL) {
		batch->all = given;
		return CDPD_OK;
	}
	batch->verdicts[index] = given;
	batch->is_named[index] = true;
	return CDPD_OK;
}

int inside_receipt_set(struct cdpd_receipt *receipt, size_t index, enum cdpd_verdict verdict, int64_t retry_after_ms,
		       const char *reason)
{
	if (verdict != CDPD_RETRY && verdict != CDPD_ACK && verdict != CDPD_DROP) return CDPD_ERR_INVALID;
	inside_lock();
	struct inside_batch *batch = find(receipt);
	int rc = batch ? note(batch, index, (struct wire_verdict){verdict, retry_after_ms, str_from(reason)})
		       : CDPD_ERR_TIMEOUT;
	inside_unlock();
	return rc;
}

int inside_receipt_done(struct cdpd_receipt *receipt, enum cdpd_verdict rest)
{
	inside_lock();
	struct inside_batch *batch = find(receipt);
	bool is_fine = batch && rest != CDPD_PENDING;
	if (is_fine) write_verdicts(batch, rest);
	inside_unlock();
	if (is_fine) inside_wake();
	return is_fine ? CDPD_OK : CDPD_ERR_INVALID;
}
