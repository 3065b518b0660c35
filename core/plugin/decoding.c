#include "plugin/decoding.h"

#include "base/encode.h"
#include "plugin/handle.h"
#include "plugin/internal.h"

#define OVERHEAD ((size_t)64 << 10) /* of the arena: items, headers, the answer */

/* ── its life ────────────────────────────────────────────────────────────── */

static int copy_headers(struct decoding *decode, const struct decoding_request *from)
{
	struct decoding_header *headers = arena_array(&decode->arena, struct decoding_header, from->header_count + 1);
	if (!headers) return ERR_NOMEM;
	for (size_t i = 0; i < from->header_count; i++) {
		int rc = arena_str(&decode->arena, from->headers[i].name, &headers[i].name);
		if (rc == OK) rc = arena_str(&decode->arena, from->headers[i].value, &headers[i].value);
		if (rc) return rc;
	}
	decode->request.headers = headers;
	return OK;
}

int decoding_begin(struct decoding *decode, const struct decoding_request *request, size_t items_max, size_t bytes_max)
{
	*decode = (struct decoding){.request = *request,
				    .items_max = items_max,
				    .bytes_left = bytes_max,
				    .status = 200,
				    .error = CDPD_ERR_INVALID,
				    .content_type = STR_NONE,
				    .body = STR_NONE};
	size_t cap = request->body.len + 2 * bytes_max +
		     items_max * (4 * sizeof(struct decoding_item) + 2 * BUF_SLACK) + 8 * DECODING_REPLY_MAX +
		     4 * OVERHEAD;
	arena_init(&decode->arena, 4096, cap);
	struct decoding_request *own = &decode->request;
	int rc = arena_str(&decode->arena, request->method, &own->method);
	if (rc == OK) rc = arena_str(&decode->arena, request->path, &own->path);
	if (rc == OK) rc = arena_str(&decode->arena, request->query, &own->query);
	if (rc == OK) rc = arena_str(&decode->arena, request->body, &own->body);
	if (rc == OK) rc = arena_str(&decode->arena, request->client_ip, &own->client_ip);
	return rc == OK ? copy_headers(decode, request) : rc;
}

void decoding_fini(struct decoding *decode)
{
	arena_fini(&decode->arena);
}

void decoding_run(struct decoding *decode, struct cdpd_instance *instance)
{
	void *handle = handle_new(HANDLE_DECODE, decode);
	if (!handle) {
		decode->error = CDPD_ERR_BUSY;
		return;
	}
	int rc = instance_plugin(instance)->decode(instance_self(instance), handle, handle, handle);
	decode->error = rc > 0 ? CDPD_ERR_INVALID : rc;
	handle_release(handle);
}

/* ── the plugin's side: the request ──────────────────────────────────────── */

static struct decoding *find(const void *handle)
{
	struct decoding *decode = handle_lock(HANDLE_DECODE, handle);
	handle_unlock();
	return decode;
}

const struct decoding *decoding_of(const struct cdpd_request *request)
{
	return find(request);
}

int decoding_sdk_info(const struct cdpd_request *request, struct cdpd_request_info *out)
{
	const struct decoding *decode = find(request);
	if (!decode || out->size < sizeof *out) return CDPD_ERR_INVALID;
	const struct decoding_request *own = &decode->request;
	*out = (struct cdpd_request_info){
	    .size = sizeof *out,
	    .method = sdk_str(own->method),
	    .path = sdk_str(own->path),
	    .query = sdk_str(own->query),
	    .body = sdk_str(own->body),
	    .client_ip = sdk_str(own->client_ip),
	    .received_us = own->received_us,
	};
	return CDPD_OK;
}

struct cdpd_str decoding_sdk_header(const struct cdpd_request *request, const char *name)
{
	const struct decoding *decode = find(request);
	struct str wanted = str_from(name ? name : "");
	for (size_t i = 0; decode && i < decode->request.header_count; i++) {
		if (str_eq_nocase(decode->request.headers[i].name, wanted))
			return sdk_str(decode->request.headers[i].value);
	}
	return sdk_str(STR_NONE);
}

/* Of a form: '+' is a space. */
static bool decoding_form(struct arena *arena, struct str raw, struct str *out)
{
	char *copy = raw.len <= DECODING_PARAM_MAX ? arena_alloc(arena, raw.len + 1) : NULL;
	if (!copy) return false;
	for (size_t i = 0; i < raw.len; i++) copy[i] = raw.ptr[i] == '+' ? ' ' : raw.ptr[i];
	return percent_decode(arena, str_of(copy, raw.len), out) == OK;
}

struct cdpd_str decoding_sdk_param(const struct cdpd_request *request, const char *name)
{
	struct decoding *decode = find(request);
	struct str rest = decode ? decode->request.query : STR_NONE, wanted = str_from(name ? name : ""), key, value;
	while (rest.len > 0) {
		const char *end = memchr(rest.ptr, '&', rest.len);
		struct str pair = str_of(rest.ptr, end ? (size_t)(end - rest.ptr) : rest.len);
		size_t used = pair.len + (end ? 1 : 0);
		rest = str_of(rest.ptr + used, rest.len - used);
		const char *equals = memchr(pair.ptr, '=', pair.len);
		struct str raw = str_of(pair.ptr, equals ? (size_t)(equals - pair.ptr) : pair.len);
		if (!decoding_form(&decode->arena, raw, &key) || !str_eq(key, wanted)) continue;
		raw = equals ? str_of(equals + 1, pair.len - raw.len - 1) : STR_NONE;
		if (decoding_form(&decode->arena, raw, &value)) return sdk_str(value);
	}
	return sdk_str(STR_NONE);
}

/* ── events and rejects ──────────────────────────────────────────────────── */

static int take_item(struct decoding *decode, struct decoding_item **out)
{
	if (decode->item_count == decode->items_max) return CDPD_ERR_TOO_LARGE;
	if (decode->item_count == decode->item_room) {
		size_t room = decode->item_room ? 2 * decode->item_room : 8;
		struct decoding_item *items = arena_array(&decode->arena, struct decoding_item, room);
		if (!items) return CDPD_ERR_NOMEM;
		if (decode->item_count) memcpy(items, decode->items, decode->item_count * sizeof *items);
		decode->items = items;
		decode->item_room = room;
	}
	*out = &decode->items[decode->item_count];
	return CDPD_OK;
}

/* JSON is read a little past its end. */
static int copy_with_slack(struct arena *arena, struct str text, struct str *out)
{
	char *copy = arena_alloc(arena, text.len + BUF_SLACK);
	if (!copy) return ERR_NOMEM;
	memcpy(copy, text.ptr, text.len);
	memset(copy + text.len, 0, BUF_SLACK);
	*out = str_of(copy, text.len);
	return OK;
}

static int put_item(struct decoding *decode, bool is_reject, struct str reason, struct str text)
{
	struct decoding_item *item;
	if (reason.len + text.len > decode->bytes_left) return CDPD_ERR_TOO_LARGE;
	int rc = take_item(decode, &item);
	if (rc) return rc;
	*item = (struct decoding_item){.is_reject = is_reject, .text = STR_NONE, .reason = STR_NONE};
	if (arena_str(&decode->arena, reason, &item->reason) || copy_with_slack(&decode->arena, text, &item->text))
		return CDPD_ERR_NOMEM;
	decode->bytes_left -= reason.len + text.len;
	decode->item_count++;
	if (!is_reject) decode->event_count++;
	return CDPD_OK;
}

int decoding_sdk_event(struct cdpd_batch_out *out, struct cdpd_str json)
{
	struct decoding *decode = find(out);
	if (!decode || json.len == 0) return CDPD_ERR_INVALID;
	return put_item(decode, false, STR_NONE, core_str(json));
}

static struct str cut(struct str text, size_t max)
{
	if (text.len <= max) return text;
	while (max > 0 && ((uint8_t)text.ptr[max] & 0xc0) == 0x80) max--;
	return str_of(text.ptr, max);
}

int decoding_sdk_reject(struct cdpd_batch_out *out, const char *reason, struct cdpd_str excerpt)
{
	struct decoding *decode = find(out);
	if (!decode) return CDPD_ERR_INVALID;
	struct str why = cut(str_from(reason ? reason : ""), DECODING_REASON_MAX);
	return put_item(decode, true, utf8_is_valid(why) ? why : STR_NONE,
			cut(core_str(excerpt), DECODING_EXCERPT_MAX));
}

/* ── the answer ──────────────────────────────────────────────────────────── */

int decoding_sdk_status(struct cdpd_reply *reply, int status)
{
	struct decoding *decode = find(reply);
	if (!decode || status < 200 || status > 599) return CDPD_ERR_INVALID;
	decode->status = status;
	return CDPD_OK;
}

static bool is_header_name(struct str name)
{
	static const char others[] = "!#$%&'*+-.^_`|~";
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!is_alnum && !memchr(others, c, sizeof others - 1)) return false;
	}
	return name.len > 0 && name.len <= 64;
}

/* A line break would begin another header. */
static bool is_header_value(struct str value)
{
	for (size_t i = 0; i < value.len; i++) {
		uint8_t c = (uint8_t)value.ptr[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
	}
	return value.len <= DECODING_HEADER_MAX;
}

static bool is_servers_own(struct str name)
{
	static const struct str own[] = {
	    STR("Content-Length"),  STR("Transfer-Encoding"), STR("Connection"), STR("Date"),
	    STR("Keep-Alive"),      STR("Upgrade"),           STR("Trailer"),    STR("TE"),
	    STR("Content-Encoding")};
	for (size_t i = 0; i < COUNT_OF(own); i++)
		if (str_eq_nocase(name, own[i])) return true;
	return false;
}

int decoding_sdk_reply_header(struct cdpd_reply *reply, const char *name, struct cdpd_str value)
{
	struct decoding *decode = find(reply);
	struct str given = str_from(name ? name : ""), text = core_str(value);
	if (!decode || !is_header_name(given) || !is_header_value(text)) return CDPD_ERR_INVALID;
	if (is_servers_own(given)) return CDPD_ERR_DENIED;
	if (str_eq_nocase(given, STR("Content-Type")))
		return arena_str(&decode->arena, text, &decode->content_type) ? CDPD_ERR_NOMEM : CDPD_OK;
	if (decode->header_count == DECODING_HEADERS_MAX) return CDPD_ERR_TOO_LARGE;
	struct decoding_header *header = &decode->headers[decode->header_count];
	if (arena_str(&decode->arena, given, &header->name) || arena_str(&decode->arena, text, &header->value))
		return CDPD_ERR_NOMEM;
	decode->header_count++;
	return CDPD_OK;
}

int decoding_sdk_reply_body(struct cdpd_reply *reply, struct cdpd_str body)
{
	struct decoding *decode = find(reply);
	if (!decode) return CDPD_ERR_INVALID;
	if (body.len > DECODING_REPLY_MAX) return CDPD_ERR_TOO_LARGE;
	return arena_str(&decode->arena, core_str(body), &decode->body) ? CDPD_ERR_NOMEM : CDPD_OK;
}
