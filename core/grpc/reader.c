#include "grpc/reader.h"

#include "grpc/memory.h"

#define PREFIX 5

void grpc_reader_init(struct grpc_reader *reader, size_t message_max, bool has_gzip, bool is_single)
{
	*reader = (struct grpc_reader){.message_max = message_max, .has_gzip = has_gzip, .is_single = is_single};
	buf_init(&reader->body, message_max);
	buf_init(&reader->plain, message_max);
}

void grpc_reader_fini(struct grpc_reader *reader)
{
	buf_fini(&reader->body);
	buf_fini(&reader->plain);
	grpc_memory_release(&reader->body_counted);
	grpc_memory_release(&reader->plain_counted);
	gunzip_free(reader->gunzip);
	reader->gunzip = NULL;
}

bool grpc_reader_is_between(const struct grpc_reader *reader)
{
	return reader->prefix_len == 0;
}

static void take_prefix(struct grpc_reader *reader, struct str *in)
{
	size_t len = PREFIX - (size_t)reader->prefix_len;
	if (len > in->len) len = in->len;
	memcpy(reader->prefix + reader->prefix_len, in->ptr, len);
	reader->prefix_len = (uint8_t)(reader->prefix_len + len);
	*in = str_of(in->ptr + len, in->len - len);
}

static void forget(struct buf *buf, size_t *counted)
{
	buf_clear(buf);
	buf_shrink(buf, GRPC_MEMORY_SMALL);
	if (!buf->data) grpc_memory_release(counted);
}

/* Memory follows what has really come: a length alone makes us keep no more than a small buffer. */
static enum grpc_read begin_body(struct grpc_reader *reader)
{
	const uint8_t *p = reader->prefix;
	char *tail;
	if (reader->is_single && reader->has_message) return GRPC_READ_SECOND;
	if (p[0] > 1) return GRPC_READ_BAD_FLAG;
	if (p[0] == 1 && !reader->has_gzip) return GRPC_READ_NO_ENCODING;
	reader->want = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | (size_t)p[4];
	if (reader->want > reader->message_max) return GRPC_READ_TOO_LARGE;
	reader->is_compressed = p[0] == 1;
	reader->is_in_body = true;
	forget(&reader->body, &reader->body_counted);
	size_t first = reader->want < GRPC_MEMORY_SMALL - BUF_SLACK ? reader->want : GRPC_MEMORY_SMALL - BUF_SLACK;
	return buf_reserve(&reader->body, first, &tail) == OK ? GRPC_READ_MORE : GRPC_READ_NO_MEMORY;
}

static enum grpc_read decompress(struct grpc_reader *reader, struct str *message)
{
	forget(&reader->plain, &reader->plain_counted);
	if (!reader->gunzip && gunzip_new(&reader->gunzip) != OK) return GRPC_READ_NO_MEMORY;
	int rc = gunzip_feed(reader->gunzip, buf_str(&reader->body), &reader->plain);
	if (rc == OK) rc = gunzip_end(reader->gunzip);
	if (rc == ERR_TOO_LARGE) return GRPC_READ_TOO_LARGE;
	if (rc == ERR_NOMEM) return GRPC_READ_NO_MEMORY;
	if (rc != OK) return GRPC_READ_BROKEN;
	if (!grpc_memory_count(&reader->plain_counted, reader->plain.size)) return GRPC_READ_NO_MEMORY;
	*message = buf_str(&reader->plain);
	return GRPC_READ_MESSAGE;
}

static enum grpc_read end_body(struct grpc_reader *reader, struct str *message)
{
	reader->is_in_body = false;
	reader->prefix_len = 0;
	reader->has_message = true;
	if (reader->is_compressed) return decompress(reader, message);
	*message = buf_str(&reader->body);
	return GRPC_READ_MESSAGE;
}

enum grpc_read grpc_reader_take(struct grpc_reader *reader, struct str *in, struct str *message)
{
	if (!reader->is_in_body) {
		take_prefix(reader, in);
		if (reader->prefix_len < PREFIX) return GRPC_READ_MORE;
		enum grpc_read begun = begin_body(reader);
		if (begun != GRPC_READ_MORE) return begun;
	}
	size_t len = reader->want - reader->body.len;
	if (len > in->len) len = in->len;
	if (buf_append(&reader->body, in->ptr, len) != OK) return GRPC_READ_NO_MEMORY;
	if (!grpc_memory_count(&reader->body_counted, reader->body.size)) return GRPC_READ_NO_MEMORY;
	*in = str_of(in->ptr + len, in->len - len);
	return reader->body.len == reader->want ? end_body(reader, message) : GRPC_READ_MORE;
}
