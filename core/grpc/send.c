/* Messages to the client. The carrier takes what it has room for; the rest of one message at most waits here. */
#include "base/encode.h"
#include "grpc/call.h"
#include "grpc/memory.h"

#define PREFIX     ((size_t)5)
#define SMALL      ((size_t)2048) /* assembled on the stack */
#define KEPT       ((size_t)4096) /* of a buffer between two messages: a stream may be idle for hours */
#define GZIP_USUAL ((size_t)16 * 1024)
#define GZIP_MAX   ((size_t)1024 * 1024) /* more would hold up the other calls of the thread */
#define GZIP_ASKED ((size_t)1024)        /* of clients that compress themselves */

static void put_prefix(uint8_t *out, bool is_compressed, size_t len)
{
	out[0] = is_compressed;
	put_be32(out + 1, (uint32_t)len);
}

/* ── towards the carrier ─────────────────────────────────────────────────── */

static int keep(struct grpc_call *call, struct str data)
{
	int rc = buf_append_str(&call->backlog, data);
	if (rc == OK && !grpc_memory_count(&call->backlog_counted, call->backlog.size)) rc = ERR_BUSY;
	return rc == OK ? OK : ERR_BUSY;
}

static int push(struct grpc_call *call, struct str data)
{
	size_t room = call->backlog.len ? 0 : http_duplex_room(call->duplex);
	size_t now = data.len < room ? data.len : room;
	int rc = now ? http_duplex_write(call->duplex, str_of(data.ptr, now)) : OK;
	if (rc != OK) return ERR_BUSY;
	rc = now < data.len ? keep(call, str_of(data.ptr + now, data.len - now)) : OK;
	if (rc != OK) call->is_broken = true;
	return rc;
}

bool grpc_send_backlog(struct grpc_call *call)
{
	while (call->backlog.len) {
		size_t room = http_duplex_room(call->duplex);
		size_t now = call->backlog.len < room ? call->backlog.len : room;
		if (!now) return false;
		if (http_duplex_write(call->duplex, str_of(buf_ptr(&call->backlog), now)) != OK) {
			call->is_broken = true;
			return false;
		}
		buf_consume(&call->backlog, now);
	}
	buf_shrink(&call->backlog, 0);
	grpc_memory_release(&call->backlog_counted);
	return true;
}

/* ── messages ────────────────────────────────────────────────────────────── */

static bool pays(const struct grpc_call *call, size_t len)
{
	size_t least = call->reader.has_gzip ? GZIP_ASKED : GZIP_USUAL;
	return call->accepts_gzip && len >= least && len <= GZIP_MAX;
}

/* The head must say gzip before the first compressed message, which may not be a stream's first. */
static void begin(struct grpc_call *call, bool is_compressed)
{
	if (call->has_head) return;
	if (is_compressed || (call->accepts_gzip && call->route->method->server_streams))
		http_set_header(call->request, STR("grpc-encoding"), STR("gzip"));
	grpc_call_head(call);
}

void grpc_begin(struct grpc_call *call)
{
	if (call->state == GRPC_CALL_OPEN && !call->is_closing) begin(call, false);
}

static int send_framed(struct grpc_call *call, bool is_compressed, struct str packed)
{
	uint8_t bytes[PREFIX + SMALL];
	begin(call, is_compressed);
	put_prefix(bytes, is_compressed, packed.len);
	if (packed.len <= SMALL) {
		memcpy(bytes + PREFIX, packed.ptr, packed.len);
		return push(call, str_of(bytes, PREFIX + packed.len));
	}
	int rc = push(call, str_of(bytes, PREFIX));
	if (rc != OK) return rc;
	rc = push(call, packed);
	if (rc != OK) call->is_broken = true; /* the client waits for the bytes that the prefix has announced */
	return rc;
}

/* False: sent as it is, when it cannot be compressed. */
static bool compress(struct grpc_call *call, struct str packed)
{
	buf_clear(&call->out);
	if (!call->gzip && gzip_new(&call->gzip) != OK) return false;
	return gzip_pack(call->gzip, packed, &call->out) == OK && call->out.len < packed.len;
}

static int may_send(const struct grpc_call *call)
{
	if (call->state != GRPC_CALL_OPEN || call->is_closing) return ERR_CLOSED;
	if (call->is_broken) return ERR_BUSY;
	return grpc_room(call) ? OK : ERR_TOO_LARGE;
}

int grpc_send_bytes(struct grpc_call *call, struct str packed)
{
	int rc = may_send(call);
	if (rc != OK) return rc;
	if (pays(call, packed.len) && compress(call, packed))
		rc = send_framed(call, true, buf_str(&call->out));
	else
		rc = send_framed(call, false, packed);
	buf_clear(&call->out);
	buf_shrink(&call->out, KEPT);
	if (rc == OK) metric_add(call->route->sent, 1);
	return rc;
}

int grpc_send(struct grpc_call *call, const ProtobufCMessage *message)
{
	uint8_t small[SMALL];
	char *large;
	size_t len = protobuf_c_message_get_packed_size(message);
	int rc = may_send(call);
	if (rc != OK) return rc;
	if (len <= SMALL) return grpc_send_bytes(call, str_of(small, protobuf_c_message_pack(message, small)));
	buf_clear(&call->packed);
	rc = buf_reserve(&call->packed, len, &large);
	if (rc != OK) return rc == ERR_TOO_LARGE ? ERR_TOO_LARGE : ERR_BUSY;
	buf_commit(&call->packed, protobuf_c_message_pack(message, (uint8_t *)large));
	rc = grpc_send_bytes(call, buf_str(&call->packed));
	buf_clear(&call->packed);
	buf_shrink(&call->packed, KEPT);
	return rc;
}

size_t grpc_room(const struct grpc_call *call)
{
	if (call->state != GRPC_CALL_OPEN || call->is_closing || call->backlog.len) return 0;
	size_t room = http_duplex_room(call->duplex);
	return room > PREFIX ? room - PREFIX : 0;
}
