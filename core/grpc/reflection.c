/* grpc.reflection.v1.ServerReflection, and v1alpha, which is the same but for its name. */
#include "base/wire.h"
#include "grpc/call.h"
#include "grpc/server.h"

#define ANSWER_MAX ((size_t)1024 * 1024)

enum { /* ServerReflectionRequest */
       REQUEST_FILE_BY_FILENAME = 3,
       REQUEST_FILE_CONTAINING_SYMBOL = 4,
       REQUEST_FILE_CONTAINING_EXTENSION = 5,
       REQUEST_ALL_EXTENSIONS_OF_TYPE = 6,
       REQUEST_LIST_SERVICES = 7,
};
enum { /* ServerReflectionResponse */
       RESPONSE_VALID_HOST = 1,
       RESPONSE_ORIGINAL_REQUEST = 2,
       RESPONSE_FILES = 4,
       RESPONSE_SERVICES = 6,
       RESPONSE_ERROR = 7,
};

struct answer {
	struct buf out, part;
	int status;
};

static void put(struct answer *answer, struct buf *out, uint32_t number, struct str bytes)
{
	if (answer->status == OK) answer->status = wire_put_bytes(out, number, bytes);
}

static void put_error(struct answer *answer, enum grpc_status status, struct str text)
{
	if (answer->status == OK) answer->status = wire_put_varint(&answer->part, 1, (uint64_t)status);
	put(answer, &answer->part, 2, text);
	put(answer, &answer->out, RESPONSE_ERROR, buf_str(&answer->part));
}

static void put_file(void *ctx, struct str file)
{
	struct answer *answer = ctx;
	put(answer, &answer->part, 1, file); /* FileDescriptorResponse.file_descriptor_proto */
}

static void put_files(struct answer *answer, const struct grpc_server *server, struct str file)
{
	if (!file.len) {
		put_error(answer, GRPC_NOT_FOUND, STR("there is no such file or symbol"));
		return;
	}
	descriptors_each_needed(grpc_server_descriptors(server), file, put_file, answer);
	put(answer, &answer->out, RESPONSE_FILES, buf_str(&answer->part));
}

static void put_services(struct answer *answer, const struct grpc_server *server)
{
	const struct grpc_service *service;
	for (size_t i = 0; (service = grpc_server_service(server, i)); i++) {
		char bytes[256];
		struct buf one = {.data = bytes, .size = sizeof bytes, .cap = sizeof bytes - BUF_SLACK};
		put(answer, &one, 1, str_from(service->name)); /* ServiceResponse.name */
		put(answer, &answer->part, 1, buf_str(&one));  /* ListServiceResponse.service */
	}
	put(answer, &answer->out, RESPONSE_SERVICES, buf_str(&answer->part));
}

static void put_answer(struct answer *answer, const struct grpc_server *server, const struct wire_field *asked)
{
	const struct descriptors *descriptors = grpc_server_descriptors(server);
	switch (asked->number) {
	case REQUEST_FILE_BY_FILENAME: put_files(answer, server, descriptors_file(descriptors, asked->bytes)); break;
	case REQUEST_FILE_CONTAINING_SYMBOL:
		put_files(answer, server, descriptors_symbol(descriptors, asked->bytes));
		break;
	case REQUEST_LIST_SERVICES: put_services(answer, server); break;
	case REQUEST_FILE_CONTAINING_EXTENSION:
	case REQUEST_ALL_EXTENSIONS_OF_TYPE: put_error(answer, GRPC_NOT_FOUND, STR("there are no extensions")); break;
	default: put_error(answer, GRPC_INVALID_ARGUMENT, STR("the request asks for nothing that is known")); break;
	}
}

/* Of a oneof the last counts. False: malformed. */
static bool read_request(struct str bytes, struct str *host, struct wire_field *asked)
{
	struct wire_field field;
	*host = STR_NONE;
	*asked = (struct wire_field){.bytes = STR_NONE};
	while (bytes.len) {
		if (!wire_take(&bytes, &field)) return false;
		if (field.type != WIRE_BYTES) continue;
		if (field.number == RESPONSE_VALID_HOST) *host = field.bytes;
		if (field.number >= REQUEST_FILE_BY_FILENAME && field.number <= REQUEST_LIST_SERVICES) *asked = field;
	}
	return true;
}

static void answer_one(struct grpc_call *call, struct str bytes)
{
	struct answer answer = {.status = OK};
	struct wire_field asked;
	struct str host;
	if (!read_request(bytes, &host, &asked)) {
		grpc_finish(call, GRPC_INVALID_ARGUMENT, STR("the message is not valid protobuf"));
		return;
	}
	buf_init(&answer.out, ANSWER_MAX);
	buf_init(&answer.part, ANSWER_MAX);
	if (host.len) put(&answer, &answer.out, RESPONSE_VALID_HOST, host);
	put(&answer, &answer.out, RESPONSE_ORIGINAL_REQUEST, bytes);
	put_answer(&answer, grpc_ctx(call), &asked);
	int rc = answer.status == OK ? grpc_send_bytes(call, buf_str(&answer.out)) : answer.status;
	buf_fini(&answer.out);
	buf_fini(&answer.part);
	if (rc != OK)
		grpc_finish_problem(call, PROBLEM_OVERLOADED, STR_NONE, STR_NONE);
	else if (grpc_room(call) == 0) /* who asks and does not read the answers is not asked for more */
		grpc_hold(call);
}

static void on_writable(struct grpc_call *call)
{
	if (grpc_room(call)) grpc_next(call);
}

static void refuse_when_off(struct grpc_call *call)
{
	if (!grpc_server_has_reflection(grpc_ctx(call)))
		grpc_finish(call, GRPC_UNIMPLEMENTED, STR("reflection is switched off (grpc.reflection)"));
}

static void end(struct grpc_call *call)
{
	grpc_finish(call, GRPC_OK, STR_NONE);
}

static void give_up(struct grpc_call *call)
{
	grpc_finish_problem(call, PROBLEM_SHUTTING_DOWN, STR_NONE, STR_NONE);
}

const struct grpc_method grpc_reflection_methods[1] = {
    {.name = "ServerReflectionInfo",
     .client_streams = true,
     .server_streams = true,
     .message_max = (size_t)64 * 1024,
     .scope = "",
     .start = refuse_when_off,
     .message = answer_one,
     .half_closed = end,
     .writable = on_writable,
     .drain = give_up},
};
