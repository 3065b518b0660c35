/* A connection that was kept open breaks over a request: it is sent once more, but not what is to be sent once. */
#include "plugin/http.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static int listener;
static atomic_int arrived;

/* A whole request, which may come in pieces. */
static bool take_request(int fd)
{
	char bytes[4096] = "";
	size_t len = 0;
	for (;;) {
		ssize_t more = read(fd, bytes + len, sizeof bytes - 1 - len);
		if (more <= 0) return false;
		bytes[len += (size_t)more] = '\0';
		const char *end = strstr(bytes, "\r\n\r\n");
		if (end && (!strstr(bytes, "Content-Length: 6") || strlen(end + 4) == 6)) break;
	}
	atomic_fetch_add(&arrived, 1);
	return true;
}

/* Answers the first request of a connection, and hangs up over the second. */
static void *serve_one(void *ctx)
{
	static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
	int fd = (int)(intptr_t)ctx;
	if (take_request(fd) && write(fd, answer, sizeof answer - 1) > 0) (void)take_request(fd);
	close(fd);
	return NULL;
}

static void *serve(void *ctx)
{
	(void)ctx;
	for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
		pthread_t thread;
		CHECK(pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd) == 0);
		CHECK(pthread_detach(thread) == 0);
	}
	return NULL;
}

static int errors[2];
static size_t answers;

static void on_answer(void *ctx, const struct cdpd_http_response *response)
{
	(void)ctx;
	errors[answers++] = response->error;
}

static void ask(struct http_client *client, const char *url, const char *method, const char *body, uint32_t flags)
{
	size_t before = answers;
	const struct cdpd_http_request request = {.size = sizeof request,
						  .timeout_ms = 5000,
						  .method = {method, strlen(method)},
						  .url = {url, strlen(url)},
						  .body = {body, strlen(body)},
						  .flags = flags};
	assert_int_equal(http_request(client, &request, on_answer, NULL), CDPD_OK);
	while (answers == before) http_wait(client, clock_mono_us() + US_PER_SECOND);
}

/* How many requests arrived of two. */
static int ask_twice(const char *method, const char *body, uint32_t flags)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;
	struct arena arena;
	struct http_guard guard;
	struct http_client *client;
	pthread_t thread;
	struct str bad, allowed = STR("127.0.0.1");
	char url[64];
	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	snprintf(url, sizeof url, "http://127.0.0.1:%u/", ntohs(address.sin_port));
	arena_init(&arena, 1024, 0);
	assert_int_equal(http_guard_make(&arena, &allowed, 1, &guard, &bad), OK);
	assert_int_equal(http_client_new(&(struct http_limits){.guard = &guard, .name = STR("x")}, &client), OK);
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	arrived = 0;
	answers = 0;
	ask(client, url, method, body, flags);
	ask(client, url, method, body, flags);
	http_client_cancel(client);
	http_client_free(client);
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listener);
	arena_fini(&arena);
	assert_int_equal(errors[0], CDPD_OK);
	return arrived;
}

static void test_what_is_sent_once_arrives_once(void **state)
{
	(void)state;
	assert_int_equal(ask_twice("POST", "a body", 0), 3);
	assert_int_equal(errors[1], CDPD_OK);
	assert_int_equal(ask_twice("POST", "a body", CDPD_HTTP_ONCE), 2);
	assert_int_equal(errors[1], CDPD_ERR_IO);
	assert_int_equal(ask_twice("POST", "", 0), 3);
	assert_int_equal(ask_twice("POST", "", CDPD_HTTP_ONCE), 2);
	assert_int_equal(ask_twice("GET", "", CDPD_HTTP_ONCE), 3); /* makes nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_sent_once_arrives_once)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
