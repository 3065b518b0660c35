// rooms: plugin
/* What the daemon and the process of an isolated enricher say to each other, from any bytes: the first one picks a stream of frames, or what one of
 * them holds. Whatever reads is written and read again without a change. */
#include "plugin/isolate_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena arena;

static void try_setup(struct str body)
{
	struct wire_setup setup, again;
	struct buf buf;
	enum frame_type type;
	struct str written;
	size_t used;
	int rc = wire_read_setup(body, &arena, &setup);
	if (rc) return;
	buf_init(&buf, 2 * WIRE_FRAME_MAX);
	CHECK(wire_write_setup(&buf, &setup) == OK);
	CHECK(wire_frame(buf_str(&buf), &type, &written, &used) == OK && type == FRAME_SETUP && used == buf.len);
	CHECK(wire_read_setup(written, &arena, &again) == OK);
	CHECK(str_eq(setup.plugin, again.plugin) && setup.value_count == again.value_count);
	buf_fini(&buf);
}

static void try_table(struct str body)
{
	struct cdpd_plugin table, again;
	struct buf buf;
	enum frame_type type;
	struct str why, written;
	size_t used;
	if (wire_read_table(body, &arena, &table, &why)) return;
	buf_init(&buf, 2 * WIRE_FRAME_MAX);
	CHECK(wire_write_table(&buf, &table) == OK);
	CHECK(wire_frame(buf_str(&buf), &type, &written, &used) == OK && type == FRAME_TABLE);
	CHECK(wire_read_table(written, &arena, &again, &why) == OK);
	CHECK(strcmp(table.name, again.name) == 0 && table.options.count == again.options.count);
	table.caps = CDPD_CAP_ENRICH_ASYNC;
	CHECK(plugin_table_check(&arena, &table, str_from(table.name), &why) <= OK);
	buf_fini(&buf);
}

static void try_ready(struct str body)
{
	struct wire_ready ready;
	CHECK(wire_read_ready(body, &ready) != OK ||
	      (ready.metric_count <= INSTANCE_METRICS_MAX && ready.path_count <= PLUGIN_PATHS_MAX));
}

static void try_questions(struct str body)
{
	struct wire_in in = wire_in(body);
	uint32_t count = wire_take_count(&in, sizeof(uint32_t));
	for (uint32_t i = 0; i < count && !in.is_bad; i++) {
		struct cdpd_event event, again;
		struct buf buf;
		struct wire wire;
		uint32_t id = wire_take_u32(&in);
		wire_take_event(&in, &event);
		if (in.is_bad) break;
		buf_init(&buf, 2 * WIRE_FRAME_MAX);
		wire_begin(&wire, &buf, FRAME_QUESTIONS);
		wire_u32(&wire, id);
		wire_event(&wire, &event, ~0u);
		CHECK(wire_end(&wire) == OK);
		struct wire_in back = wire_in(str_of(buf_ptr(&buf) + WIRE_HEADER, buf.len - WIRE_HEADER));
		CHECK(wire_take_u32(&back) == id);
		wire_take_event(&back, &again);
		CHECK(wire_finish(&back) == OK && str_eq(event.properties, again.properties) &&
		      event.type == again.type && str_eq(event.user_agent, again.user_agent));
		buf_fini(&buf);
	}
}

static void try_answers(struct str body)
{
	struct wire_in in = wire_in(body);
	uint32_t count = wire_take_count(&in, 16);
	for (uint32_t i = 0; i < count && !in.is_bad; i++) {
		struct wire_answer answer;
		wire_take_answer(&in, &answer);
		for (uint32_t k = 0; k < answer.count && !in.is_bad; k++) {
			struct enrich_value value;
			wire_take_value(&in, &value);
			CHECK(in.is_bad || value.text.ptr + value.text.len <= body.ptr + body.len);
		}
	}
}

/* What reads is written and reads again. */
static void try_request(struct str body)
{
	struct wire_request request, again;
	struct decoding decode;
	struct buf buf;
	struct wire wire;
	if (wire_read_request(body, &arena, &request) || request.items_max > 1000 || request.bytes_max > 1 << 20)
		return;
	CHECK(decoding_begin(&decode, &request.request, request.items_max, request.bytes_max) == OK);
	buf_init(&buf, 2 * WIRE_FRAME_MAX);
	wire_begin(&wire, &buf, FRAME_REQUEST);
	wire_request(&wire, request.id, &decode);
	CHECK(wire_end(&wire) == OK);
	CHECK(wire_read_request(str_of(buf_ptr(&buf) + WIRE_HEADER, buf.len - WIRE_HEADER), &arena, &again) == OK);
	CHECK(str_eq(request.request.body, again.request.body) && request.items_max == again.items_max &&
	      request.request.header_count == again.request.header_count);
	buf_fini(&buf);
	decoding_fini(&decode);
}

/* As the daemon takes it: inside decode. Whatever comes, the bounds hold. */
static struct str answered;
static int decode_as_told(void *self, const struct cdpd_request *request, struct cdpd_batch_out *out,
			  struct cdpd_reply *reply)
{
	int error = 0;
	(void)self;
	CHECK(decoding_of(request));
	int rc = wire_take_decoded(answered, 7, out, reply, &error);
	CHECK(rc != OK || error <= 0);
	return rc ? CDPD_ERR_INVALID : error;
}

static void try_decoded(struct str body)
{
	static const struct cdpd_plugin table = {
	    .size = sizeof table, .name = "told", .caps = CDPD_CAP_SOURCE, .decode = decode_as_told};
	struct cdpd_instance instance = {.magic = INSTANCE_MAGIC, .table = &table};
	const struct decoding_request request = {
	    .method = STR("POST"), .path = STR("/"), .query = STR(""), .body = STR(""), .client_ip = STR("")};
	struct decoding decode;
	size_t bytes = 0;
	answered = body;
	CHECK(decoding_begin(&decode, &request, 50, 5000) == OK);
	decoding_run(&decode, &instance);
	CHECK(decode.item_count <= 50 && decode.header_count <= DECODING_HEADERS_MAX &&
	      decode.body.len <= DECODING_REPLY_MAX);
	CHECK(decode.status >= 200 && decode.status <= 599);
	for (size_t i = 0; i < decode.item_count; i++) bytes += decode.items[i].text.len + decode.items[i].reason.len;
	CHECK(bytes <= 5000);
	decoding_fini(&decode);
}

static void try_batch(struct str body)
{
	struct wire_in in = wire_in(body);
	uint32_t id = wire_take_u32(&in), count = wire_take_count(&in, 44);
	for (uint32_t i = 0; i < count && !in.is_bad; i++) {
		struct cdpd_record record;
		wire_take_record(&in, &record);
		CHECK(in.is_bad || record.json.ptr + record.json.len <= body.ptr + body.len);
	}
	in = wire_in(body);
	CHECK(wire_take_u32(&in) == id || body.len < 4);
	count = wire_take_count(&in, 13);
	for (uint32_t i = 0; i < count && !in.is_bad; i++) {
		struct wire_verdict verdict;
		wire_take_verdict(&in, &verdict);
		CHECK(in.is_bad || (verdict.verdict != CDPD_PENDING && verdict.reason.len <= WIRE_REASON_MAX));
	}
}

static void try_stream(struct str bytes)
{
	static void (*const tries[])(struct str body) = {try_setup, try_table, try_ready, try_questions, try_answers};
	enum frame_type type;
	struct str body;
	size_t used;
	while (wire_frame(bytes, &type, &body, &used) == OK) {
		CHECK(used <= bytes.len && body.ptr + body.len <= bytes.ptr + used);
		CHECK(wire_read_hello(body) <= OK);
		if (type >= FRAME_SETUP && type <= FRAME_ANSWERS) tries[type - FRAME_SETUP](body);
		bytes = str_of(bytes.ptr + used, bytes.len - used);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(struct str body) = {try_stream,  try_setup,     try_table,
							 try_ready,   try_questions, try_answers,
							 try_request, try_decoded,   try_batch};
	if (size == 0) return 0;
	arena_init(&arena, 4096, 64 << 20);
	tries[data[0] % COUNT_OF(tries)](str_of(data + 1, size - 1));
	arena_fini(&arena);
	return 0;
}
