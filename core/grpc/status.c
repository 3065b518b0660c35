/* How a call ends: trailers, and what they tell of the reasons. The messages of google.rpc are few and flat: they are written by hand. */
#include <stdio.h>

#include "base/encode.h"
#include "base/wire.h"
#include "grpc/call.h"
#include "grpc/text.h"

#define MESSAGE_MAX ((size_t)1024) /* clients cap the size of all trailers at 8 KB; every byte may become three */
#define DETAILS_MAX ((size_t)3 * 1024)

static const struct str MIME_GRPC = STR("application/grpc");

enum { TRAILER_STATUS, TRAILER_MESSAGE, TRAILER_DETAILS, TRAILERS_OWN };

static struct str status_text(enum grpc_status status)
{
	static const struct str texts[GRPC_STATUS_COUNT] = {
	    STR("0"), STR("1"),  STR("2"),  STR("3"),  STR("4"),  STR("5"),  STR("6"),  STR("7"), STR("8"),
	    STR("9"), STR("10"), STR("11"), STR("12"), STR("13"), STR("14"), STR("15"), STR("16")};
	CHECK((unsigned)status < GRPC_STATUS_COUNT);
	return texts[status];
}

static void no_data(void *ctx, struct str data)
{
	(void)ctx, (void)data;
}

static void nothing(void *ctx)
{
	(void)ctx;
}

void grpc_status_refuse(struct http_request *request, enum grpc_status status, struct str message, struct str accepted)
{
	static const struct http_duplex_events events = {
	    .on_data = no_data, .on_end = nothing, .on_drain = nothing, .on_close = nothing};
	struct http_trailer trailers[3] = {{STR("grpc-status"), status_text(status)}};
	size_t count = 1;
	struct str text;
	if (grpc_message_encode(http_arena(request), message, MESSAGE_MAX, &text) == OK)
		trailers[count++] = (struct http_trailer){STR("grpc-message"), text};
	if (accepted.len) trailers[count++] = (struct http_trailer){STR("grpc-accept-encoding"), accepted};
	struct http_duplex *duplex = http_duplex_begin(request, &events, NULL);
	if (duplex) http_duplex_end(duplex, MIME_GRPC, trailers, count);
}

/* ── the end ─────────────────────────────────────────────────────────────── */

/* Our own trailers that were not needed are left out by closing the gaps. */
void grpc_status_send(struct grpc_call *call)
{
	struct http_trailer trailers[GRPC_TRAILERS_MAX];
	size_t count = 0;
	for (size_t i = 0; i < call->trailer_count; i++)
		if (call->trailers[i].name.len) trailers[count++] = call->trailers[i];
	/* Initial metadata would be lost in a head that is all trailers. */
	if (call->has_metadata) grpc_call_head(call);
	http_duplex_end(call->duplex, MIME_GRPC, trailers, count);
	grpc_call_release(call);
}

static void make_room_for_own(struct grpc_call *call)
{
	for (; call->trailer_count < TRAILERS_OWN; call->trailer_count++)
		call->trailers[call->trailer_count] = (struct http_trailer){STR_NONE, STR_NONE};
}

void grpc_status_end(struct grpc_call *call, enum grpc_status status, struct str message)
{
	struct str text;
	CHECK(call->state == GRPC_CALL_OPEN);
	grpc_route_count(call->route, status);
	if (call->is_broken) {
		http_duplex_reset(call->duplex);
		grpc_call_release(call);
		return;
	}
	make_room_for_own(call);
	call->trailers[TRAILER_STATUS] = (struct http_trailer){STR("grpc-status"), status_text(status)};
	if (message.len && grpc_message_encode(grpc_arena(call), message, MESSAGE_MAX, &text) == OK)
		call->trailers[TRAILER_MESSAGE] = (struct http_trailer){STR("grpc-message"), text};
	call->state = GRPC_CALL_ENDING;
	if (!call->backlog.len) {
		grpc_status_send(call);
		return;
	}
	if (call->pending.len) http_duplex_consume(call->duplex, call->pending.len);
	buf_fini(&call->pending);
	grpc_call_watch(call);
}

void grpc_finish(struct grpc_call *call, enum grpc_status status, struct str message)
{
	CHECK(call->magic == GRPC_CALL_MAGIC);
	grpc_status_end(call, status, message);
}

void grpc_reply(struct grpc_call *call, const ProtobufCMessage *message)
{
	int rc = grpc_send(call, message);
	if (rc == OK)
		grpc_finish(call, GRPC_OK, STR_NONE);
	else
		grpc_finish_problem(call, PROBLEM_OVERLOADED,
				    STR("too many large answers wait for clients to read them"), STR_NONE);
}

/* ── details ─────────────────────────────────────────────────────────────── */

/* Over memory of the caller: its cap keeps it from growing. */
static struct buf fixed_buf(char *bytes, size_t size)
{
	return (struct buf){.data = bytes, .size = size, .cap = size - BUF_SLACK};
}

/* google.rpc.Status.details: google.protobuf.Any{type_url = 1, value = 2} */
static int put_detail(struct buf *status, const char *type, struct str value)
{
	char bytes[DETAILS_MAX];
	struct buf any = fixed_buf(bytes, sizeof bytes);
	char url[64];
	int len = snprintf(url, sizeof url, "type.googleapis.com/google.rpc.%s", type);
	int rc = wire_put_bytes(&any, 1, str_of(url, (size_t)len));
	if (rc == OK) rc = wire_put_bytes(&any, 2, value);
	return rc == OK ? wire_put_bytes(status, 3, buf_str(&any)) : rc;
}

static int put_error_info(struct buf *status, struct str reason)
{
	char bytes[256];
	struct buf info = fixed_buf(bytes, sizeof bytes);
	int rc = wire_put_bytes(&info, 1, reason);
	if (rc == OK) rc = wire_put_bytes(&info, 2, STR("cdpd"));
	return rc == OK ? put_detail(status, "ErrorInfo", buf_str(&info)) : rc;
}

/* BadRequest{field_violations = 1 {field = 1, description = 2}} */
static int put_bad_request(struct buf *status, struct str field, struct str description)
{
	char bytes[DETAILS_MAX], outer[DETAILS_MAX];
	struct buf violation = fixed_buf(bytes, sizeof bytes);
	struct buf request = fixed_buf(outer, sizeof outer);
	int rc = wire_put_bytes(&violation, 1, field);
	if (rc == OK) rc = wire_put_bytes(&violation, 2, description);
	if (rc == OK) rc = wire_put_bytes(&request, 1, buf_str(&violation));
	return rc == OK ? put_detail(status, "BadRequest", buf_str(&request)) : rc;
}

/* RetryInfo{retry_delay = 1: google.protobuf.Duration{seconds = 1}} */
static int put_retry_info(struct buf *status, int seconds)
{
	char bytes[128], outer[128];
	struct buf delay = fixed_buf(bytes, sizeof bytes);
	struct buf info = fixed_buf(outer, sizeof outer);
	int rc = wire_put_varint(&delay, 1, (uint64_t)seconds);
	if (rc == OK) rc = wire_put_bytes(&info, 1, buf_str(&delay));
	return rc == OK ? put_detail(status, "RetryInfo", buf_str(&info)) : rc;
}

static int put_status(struct buf *out, const struct problem_info *info, struct str message, struct str pointer,
		      int retry_after_s)
{
	int rc = wire_put_varint(out, 1, (uint64_t)info->grpc_status);
	if (rc == OK) rc = wire_put_bytes(out, 2, message);
	if (rc == OK) rc = put_error_info(out, str_from(info->code));
	if (rc == OK && pointer.len) rc = put_bad_request(out, pointer, message);
	if (rc == OK && retry_after_s > 0) rc = put_retry_info(out, retry_after_s);
	return rc;
}

static void set_details(struct grpc_call *call, const struct problem_info *info, struct str message, struct str pointer,
			int retry_after_s)
{
	char bytes[DETAILS_MAX], text[BASE64_SIZE(DETAILS_MAX)];
	struct buf status = fixed_buf(bytes, sizeof bytes);
	struct str value;
	/* Details that do not fit are left out rather than cut. */
	if (put_status(&status, info, message, pointer, retry_after_s) != OK) return;
	size_t len = base64_encode(status.data, status.len, text);
	if (arena_str(grpc_arena(call), str_of(text, len), &value) != OK) return;
	make_room_for_own(call);
	call->trailers[TRAILER_DETAILS] = (struct http_trailer){STR("grpc-status-details-bin"), value};
}

void grpc_set_retry_after(struct grpc_call *call, int seconds)
{
	call->retry_after_s = seconds;
}

/* Clients that retry by themselves go by the status: they are told when it would be in vain. */
static void push_back(struct grpc_call *call, int status, int seconds)
{
	char text[16];
	bool is_retried = status == GRPC_RESOURCE_EXHAUSTED || status == GRPC_UNAVAILABLE;
	if (seconds <= 0 && !is_retried) return;
	struct str value = STR("-1");
	if (seconds > 0) value = str_of(text, (size_t)snprintf(text, sizeof text, "%d000", seconds));
	grpc_set_trailer(call, STR("grpc-retry-pushback-ms"), value);
}

void grpc_finish_problem(struct grpc_call *call, enum problem problem, struct str message, struct str pointer)
{
	const struct problem_info *info = problem_info(problem);
	int seconds = call->retry_after_s >= 0 ? call->retry_after_s : info->retry_after_s;
	if (message.len == 0) message = str_from(info->text);
	if (info->grpc_status != GRPC_OK && !call->is_broken) set_details(call, info, message, pointer, seconds);
	push_back(call, info->grpc_status, seconds);
	grpc_finish(call, (enum grpc_status)info->grpc_status, message);
}

/* ── metadata ────────────────────────────────────────────────────────────── */

static bool is_binary(struct str name)
{
	const struct str suffix = STR("-bin");
	return name.len > suffix.len && str_eq_nocase(str_of(name.ptr + name.len - suffix.len, suffix.len), suffix);
}

struct str grpc_metadata(const struct grpc_call *call, struct str name)
{
	struct str value = http_header(call->request, name), bytes;
	if (!is_binary(name)) return value;
	/* Several values of one name may have been joined. */
	const char *comma = memchr(value.ptr, ',', value.len);
	if (comma) value.len = (size_t)(comma - value.ptr);
	return base64_decode(http_arena(call->request), str_trim(value), &bytes) == OK ? bytes : STR_NONE;
}

/* A copy of the value as it travels. */
static int copy_value(struct grpc_call *call, struct str name, struct str value, struct str *out)
{
	struct arena *arena = grpc_arena(call);
	if (!is_binary(name)) return arena_str(arena, value, out);
	char *text = arena_alloc(arena, BASE64_SIZE(value.len));
	if (!text) return ERR_NOMEM;
	*out = str_of(text, base64_encode(value.ptr, value.len, text));
	return OK;
}

void grpc_set_metadata(struct grpc_call *call, struct str name, struct str value)
{
	struct str text;
	CHECK(call->state == GRPC_CALL_OPEN && !call->has_head);
	if (copy_value(call, name, value, &text) != OK) return;
	http_set_header(call->request, name, text);
	call->has_metadata = true;
}

/* Printable ASCII only: a line break would be another trailer. */
static bool is_value(struct str value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] < 0x20 || value.ptr[i] > 0x7e) return false;
	return true;
}

void grpc_set_trailer(struct grpc_call *call, struct str name, struct str value)
{
	struct http_trailer trailer;
	CHECK(call->state == GRPC_CALL_OPEN);
	make_room_for_own(call);
	if (call->trailer_count == GRPC_TRAILERS_MAX) return;
	if (arena_str(grpc_arena(call), name, &trailer.name) != OK) return;
	if (copy_value(call, name, value, &trailer.value) != OK || !is_value(trailer.value)) return;
	call->trailers[call->trailer_count++] = trailer;
}
