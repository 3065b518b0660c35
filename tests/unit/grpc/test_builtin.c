/* Health and reflection. */
#include "base/wire.h"
#include "grpc/fake_duplex.h"

static struct grpc_server *server;

static void ignore(struct grpc_call *call, struct str bytes)
{
	(void)call, (void)bytes;
}

static const struct grpc_method methods[] = {{.name = "M", .message = ignore}};
static const struct grpc_service service = {"t.T", methods, 1, NULL};
static const struct grpc_service *const services[] = {&service};

static int setup(void **state)
{
	if (!server) assert_int_equal(grpc_server_new(services, 1, STR_NONE, &server), OK);
	return fake_setup(state);
}

static int teardown(void **state)
{
	int rc = fake_teardown(state);
	grpc_server_free(server);
	server = NULL;
	return rc;
}

static struct str take(void)
{
	struct str message;
	bool is_compressed;
	assert_true(fake_take(&message, &is_compressed));
	return message;
}

/* A message whose field holds the text. */
static void send_field(uint32_t number, struct str text)
{
	struct buf buf;
	buf_init(&buf, 70000);
	if (text.len) assert_int_equal(wire_put_bytes(&buf, number, text), OK);
	fake_message(false, buf.data ? buf.data : "", buf.len);
	buf_fini(&buf);
}

static int check(struct str name)
{
	void *state = NULL;
	(void)setup(&state);
	fake_call(server, "/grpc.health.v1.Health/Check");
	send_field(1, name);
	fake_end();
	return fake_status() == GRPC_OK ? (int)wire_find_varint(take(), 1) : -fake_status();
}

static void test_check(void **state)
{
	(void)state;
	assert_int_equal(check(STR("")), 1);
	assert_int_equal(check(STR("t.T")), 1);
	assert_int_equal(check(STR("grpc.health.v1.Health")), 1);
	assert_int_equal(check(STR("t.Other")), -GRPC_NOT_FOUND);
	grpc_set_draining(server);
	assert_int_equal(check(STR("")), 2);
	assert_int_equal(check(STR("t.T")), 2);
	assert_int_equal(check(STR("t.Other")), -GRPC_NOT_FOUND);
}

static void test_watch(void **state)
{
	(void)state;
	fake_call(server, "/grpc.health.v1.Health/Watch");
	send_field(1, STR("t.T"));
	fake_end();
	assert_int_equal(wire_find_varint(take(), 1), 1);
	assert_int_equal(fake_status(), -1);
	grpc_set_draining(server);
	fake_retire();
	assert_int_equal(wire_find_varint(take(), 1), 2);
	assert_int_equal(fake_status(), GRPC_UNAVAILABLE);
}

static void test_watch_unknown(void **state)
{
	(void)state;
	fake_call(server, "/grpc.health.v1.Health/Watch");
	send_field(1, STR("t.Other"));
	fake_end();
	assert_int_equal(wire_find_varint(take(), 1), 3);
	assert_int_equal(fake_status(), -1);
}

static void test_broken_request(void **state)
{
	(void)state;
	fake_call(server, "/grpc.health.v1.Health/Check");
	fake_message(false, "\x0a\x7f", 2);
	fake_end();
	assert_int_equal(fake_status(), GRPC_INVALID_ARGUMENT);
}

/* ── reflection ──────────────────────────────────────────────────────────── */

static struct str ask(uint32_t number, const char *text)
{
	send_field(number, str_from(text));
	return take();
}

static bool lists(struct str answer, const char *name)
{
	struct wire_field field;
	struct str list = wire_find_bytes(answer, 6);
	while (list.len && wire_take(&list, &field))
		if (str_eq(wire_find_bytes(field.bytes, 1), str_from(name))) return true;
	return false;
}

static void expect_file(struct str answer, const char *name)
{
	struct str file = wire_find_bytes(wire_find_bytes(answer, 4), 1);
	assert_true(str_eq(wire_find_bytes(file, 1), str_from(name)));
}

static void expect_error(struct str answer, enum grpc_status status)
{
	struct str error = wire_find_bytes(answer, 7);
	assert_true(error.len > 0);
	assert_int_equal(wire_find_varint(error, 1), status);
}

static void reflect(const char *path)
{
	void *state = NULL;
	(void)setup(&state);
	fake_call(server, path);
	struct str answer = ask(7, "*");
	assert_true(lists(answer, "t.T") && lists(answer, "grpc.health.v1.Health"));
	assert_true(lists(answer, "grpc.reflection.v1.ServerReflection"));
	assert_true(lists(answer, "grpc.reflection.v1alpha.ServerReflection"));
	assert_true(str_eq(wire_find_bytes(wire_find_bytes(answer, 2), 7), STR("*"))); /* the request comes back */
	const char *health = "grpc/health/v1/health.proto";
	expect_file(ask(3, health), health);
	expect_file(ask(4, "grpc.health.v1.Health"), health);
	expect_file(ask(4, "grpc.health.v1.Health.Watch"), health);
	expect_file(ask(4, "grpc.health.v1.HealthCheckRequest"), health);
	expect_file(ask(4, "grpc.health.v1.HealthCheckRequest.service"), health);
	expect_file(ask(4, "grpc.health.v1.HealthCheckResponse.ServingStatus"), health);
	expect_file(ask(4, "grpc.reflection.v1.ServerReflection"), "grpc/reflection/v1/reflection.proto");
	expect_error(ask(3, "none.proto"), GRPC_NOT_FOUND);
	expect_error(ask(4, "grpc.health.v1"), GRPC_NOT_FOUND);
	expect_error(ask(4, "grpc.health.v1."), GRPC_NOT_FOUND);
	expect_error(ask(4, "grpc.health.v1.Health.Nothing"), GRPC_NOT_FOUND);
	expect_error(ask(4, "grpc.health.v1.HealthCheckResponse.ServingStatus.X.Y"), GRPC_NOT_FOUND);
	expect_error(ask(4, "Health"), GRPC_NOT_FOUND);
	expect_error(ask(6, "t.T"), GRPC_NOT_FOUND);
	expect_error(ask(9, "x"), GRPC_INVALID_ARGUMENT);
	fake_end();
	assert_int_equal(fake_status(), GRPC_OK);
}

static void test_reflection(void **state)
{
	(void)state;
	reflect("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
	reflect("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
}

static void test_reflection_is_off(void **state)
{
	(void)state;
	grpc_set_reflection(server, false);
	fake_call(server, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
	assert_int_equal(fake_status(), GRPC_UNIMPLEMENTED);
}

/* Who asks without reading is not asked for more. */
static void test_reflection_is_held(void **state)
{
	(void)state;
	fake_call(server, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
	fake.room = 100;
	send_field(7, STR("*"));
	size_t consumed = fake.consumed;
	for (int i = 0; i < 10; i++) send_field(7, STR("*"));
	assert_int_equal(fake.consumed, consumed);
	fake_drain((size_t)1 << 20);
	for (int i = 0; i < 11; i++) assert_true(lists(take(), "t.T"));
	assert_int_equal(fake.out.len, 0);
	fake_end();
	assert_int_equal(fake_status(), GRPC_OK);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_check),
	    CASE(test_watch),
	    CASE(test_watch_unknown),
	    CASE(test_broken_request),
	    CASE(test_reflection),
	    CASE(test_reflection_is_held),
	    CASE(test_reflection_is_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
