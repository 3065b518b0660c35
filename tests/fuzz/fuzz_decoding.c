// rooms: plugin
/* A source's request from any bytes: parameters are found inside it, decoded within bounds; a header value with a line break never passes. The first line is the
 * query, the second a parameter's name, the rest a header's value. */
#include "plugin/decoding.h"
#include "plugin/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str name, value;

static int decode_it(void *self, const struct cdpd_request *request, struct cdpd_batch_out *out,
		     struct cdpd_reply *reply)
{
	char wanted[64];
	(void)self;
	size_t len = name.len < sizeof wanted - 1 ? name.len : sizeof wanted - 1;
	memcpy(wanted, name.ptr, len);
	wanted[len] = '\0';
	struct cdpd_str found = decoding_sdk_param(request, wanted);
	CHECK(found.ptr && found.len <= DECODING_PARAM_MAX);
	int rc = decoding_sdk_reply_header(reply, "X-Value", sdk_str(value));
	bool is_broken =
	    memchr(value.ptr, '\n', value.len) || memchr(value.ptr, '\r', value.len) || memchr(value.ptr, 0, value.len);
	CHECK(!is_broken || rc == CDPD_ERR_INVALID);
	(void)decoding_sdk_reply_header(reply, wanted, sdk_str(STR("v")));
	(void)decoding_sdk_reject(out, wanted, sdk_str(value));
	(void)decoding_sdk_event(out, sdk_str(value));
	return 0;
}

static struct str take_line(struct str *rest)
{
	const char *end = memchr(rest->ptr, '\n', rest->len);
	struct str line = str_of(rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len);
	size_t used = line.len + (end ? 1 : 0);
	*rest = str_of(rest->ptr + used, rest->len - used);
	return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cdpd_plugin table = {
	    .size = sizeof table, .name = "f", .caps = CDPD_CAP_SOURCE, .decode = decode_it};
	struct cdpd_instance instance = {.magic = INSTANCE_MAGIC, .table = &table};
	struct decoding decode;
	struct str rest = str_of((const char *)data, size);
	struct decoding_request request = {
	    .method = STR("GET"), .path = STR("/"), .query = take_line(&rest), .body = STR(""), .client_ip = STR("")};
	name = take_line(&rest);
	value = rest;
	CHECK(decoding_begin(&decode, &request, 4, 4096) == OK);
	decoding_run(&decode, &instance);
	CHECK(decode.item_count <= 4 && decode.header_count <= DECODING_HEADERS_MAX);
	for (size_t i = 0; i < decode.item_count; i++)
		CHECK(decode.items[i].reason.len <= DECODING_REASON_MAX &&
		      (!decode.items[i].is_reject || decode.items[i].text.len <= DECODING_EXCERPT_MAX));
	decoding_fini(&decode);
	return 0;
}
