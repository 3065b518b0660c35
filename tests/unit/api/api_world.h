/* api_world: the rooms as the daemon puts them together, on a free port of loopback and a temporary folder, and a small
 * HTTP client. */
#pragma once

#include "api/api_test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "api/api.h"
#include "api/auth.h"
#include "base/clock.h"
#include "event/position.h"

#define READER "reader-token-0123456789"
#define ADMIN  "admin-token-0123456789"
#define MERGER "secret-of-merger"
#define WRITER "web-key"

struct world {
	char folder[256];
	const struct config *config;
	struct journal *journal;
	struct people *people;
	struct fold *fold;
	struct ingest *ingest;
	struct deliver *deliver; /* without destinations */
	struct api *api;
	struct router *router;
	struct net *net;
	_Atomic(struct api *) woken; /* by the fold */
	bool is_folding;
	uint16_t port;
	uint64_t commits_before;
};

static const char WORLD_CONFIG[] = "store: {path: %s/data}\n"
				   "listen: {http: \"127.0.0.1:0\"}\n"
				   "tokens_file: %s/tokens.yaml\n"
				   "io_threads: 2\n"
				   "drain_timeout: 1s\n"
				   "changes: {min_position_wait: %s}\n"
				   "journal: {disk_free_min: 1MiB, ballast: 0}\n"
				   "sources:\n"
				   "  - {id: web, kind: browser, write_keys: [" WRITER "], may: [alias]}\n"
				   "features:\n"
				   "  - {name: events, type: count}\n"
				   "  - {name: orders, type: count, event: Order}\n";

static const char WORLD_TOKENS[] =
    "tokens:\n"
    "  - {name: reader, token: " READER ", scopes: [\"profiles:read\", \"changes:read\"]}\n"
    "  - {name: merger, token: " MERGER ", scopes: [merge]}\n"
    "  - {name: admin, token: " ADMIN ", scopes: [admin]}\n";

static inline void world_on_commit(void *ctx, uint64_t applied, uint64_t last_change)
{
	struct world *world = ctx;
	struct api *api = atomic_load(&world->woken);
	if (api) api_on_commit(api, applied, last_change);
}

static inline void world_load(struct world *world, const char *wait)
{
	char text[4096], path[512], *errors = NULL;
	(void)snprintf(text, sizeof text, WORLD_CONFIG, world->folder, world->folder, wait);
	write_file(world->folder, "cdpd.yaml", 0600, text);
	write_file(world->folder, "tokens.yaml", 0600, WORLD_TOKENS);
	(void)snprintf(path, sizeof path, "%s/cdpd.yaml", world->folder);
	int rc = config_load(path, NULL, 0, &world->config, &errors);
	if (rc != OK) fail_msg("%s", errors);
}

static inline void world_open_store(struct world *world)
{
	char path[512];
	(void)snprintf(path, sizeof path, "%s/data", world->folder);
	(void)mkdir(path, 0700);
	assert_int_equal(journal_open(path, &world->config->journal, &world->journal), OK);
	assert_int_equal(people_open(path, &world->people), OK);
	assert_int_equal(journal_start(world->journal), OK);
	const struct fold_options options = {.config = world->config, .on_commit = world_on_commit, .ctx = world};
	assert_int_equal(fold_new(world->journal, world->people, &options, &world->fold), OK);
	assert_int_equal(ingest_new(world->journal, world->config, &world->ingest), OK);
	assert_int_equal(deliver_new(world->journal, world->people, world->config, &world->deliver), OK);
}

static inline void world_fold(struct world *world)
{
	assert_int_equal(fold_start(world->fold), OK);
	world->is_folding = true;
}

static uint32_t world_heartbeat_ms; /* of the next world's streams */

/* `wait`: the bound of ?min_position=. The fold is not started yet. */
static inline void world_start(struct world *world, const char *wait)
{
	memset(world, 0, sizeof *world);
	make_temp_dir(world->folder);
	log_setup(LOG_FORMAT_LOGFMT, LOG_LEVEL_ERROR);
	world_load(world, wait);
	world_open_store(world);
	const struct api_options options = {.journal = world->journal,
					    .people = world->people,
					    .fold = world->fold,
					    .ingest = world->ingest,
					    .deliver = world->deliver,
					    .config = world->config,
					    .heartbeat_ms = world_heartbeat_ms};
	assert_int_equal(router_new(&world->router), OK);
	assert_int_equal(api_new(&options, &world->api), OK);
	assert_int_equal(api_register(world->api, world->router), OK);
	atomic_store(&world->woken, world->api);
	const struct net_options net = {.config = world->config,
					.router = world->router,
					.worker_start = api_worker_start,
					.worker_stop = api_worker_stop,
					.ctx = world->api};
	assert_int_equal(net_new(&net, &world->net), OK);
	assert_int_equal(net_start(world->net), OK);
	const char *colon = strrchr(net_url(world->net, 0), ':');
	world->port = (uint16_t)strtoul(colon + 1, NULL, 10);
}

static inline void world_stop(struct world *world)
{
	char command[512];
	net_stop(world->net);
	if (world->is_folding) fold_stop(world->fold);
	journal_stop(world->journal);
	net_free(world->net);
	atomic_store(&world->woken, NULL);
	api_free(world->api);
	router_free(world->router);
	ingest_free(world->ingest);
	deliver_free(world->deliver);
	fold_free(world->fold);
	people_close(world->people);
	journal_close(world->journal);
	config_unref(world->config);
	(void)snprintf(command, sizeof command, "rm -rf '%s'", world->folder);
	assert_int_equal(system(command), 0);
}

/* ── the client ──────────────────────────────────────────────────────────── */

struct reply {
	int status;
	struct buf text; /* head and body */
	struct str head, body;
};

static inline int client_connect(const struct world *world)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(world->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static inline void client_send(int fd, const char *method, const char *path, const char *headers, const char *body)
{
	struct buf text;
	buf_init(&text, 8 << 20);
	assert_int_equal(buf_printf(&text, "%s %s HTTP/1.1\r\nHost: test\r\n%s", method, path, headers), OK);
	if (body) assert_int_equal(buf_printf(&text, "Content-Length: %zu\r\n", strlen(body)), OK);
	assert_int_equal(buf_append_str(&text, STR("\r\n")), OK);
	if (body) assert_int_equal(buf_append(&text, body, strlen(body)), OK);
	assert_int_equal(send(fd, buf_ptr(&text), text.len, MSG_NOSIGNAL), text.len);
	buf_fini(&text);
}

static inline bool client_has_answer(int fd, int timeout_ms)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	return poll(&poller, 1, timeout_ms) == 1;
}

/* Reads to the end of the connection. */
static inline void client_receive(int fd, struct reply *reply)
{
	char *room;
	ssize_t got;
	buf_init(&reply->text, 32 << 20);
	do {
		assert_true(client_has_answer(fd, 20000));
		assert_int_equal(buf_reserve(&reply->text, 65536, &room), OK);
		got = recv(fd, room, 65536, 0);
		assert_true(got >= 0);
		buf_commit(&reply->text, (size_t)got);
	} while (got > 0);
	struct str all = buf_str(&reply->text);
	const char *end = memmem(all.ptr, all.len, "\r\n\r\n", 4);
	assert_non_null(end);
	reply->head = str_of(all.ptr, (size_t)(end - all.ptr));
	reply->body = str_of(end + 4, all.len - reply->head.len - 4);
	reply->status = atoi(all.ptr + 9);
}

static inline struct reply ask(const struct world *world, const char *method, const char *path, const char *token,
			       const char *body)
{
	struct reply reply;
	char headers[256] = "Connection: close\r\n";
	if (token) (void)snprintf(headers, sizeof headers, "Connection: close\r\nAuthorization: Bearer %s\r\n", token);
	int fd = client_connect(world);
	client_send(fd, method, path, headers, body);
	client_receive(fd, &reply);
	close(fd);
	return reply;
}

static inline void reply_free(struct reply *reply)
{
	buf_fini(&reply->text);
}

/* Value of a header, by its lower-case or usual spelling. */
static inline void reply_header(const struct reply *reply, const char *name, char out[128])
{
	const char *at = memmem(reply->head.ptr, reply->head.len, name, strlen(name));
	assert_non_null(at);
	at += strlen(name) + 2;
	size_t len = strcspn(at, "\r\n");
	assert_true(len < 128);
	memcpy(out, at, len);
	out[len] = '\0';
}

/* Sends one message with the write key; its position. */
static inline void track(const struct world *world, const char *message, char position[128])
{
	struct reply reply;
	int fd = client_connect(world);
	client_send(fd, "POST", "/v1/batch?writeKey=" WRITER, "Connection: close\r\n", message);
	client_receive(fd, &reply);
	close(fd);
	if (reply.status != 200) fail_msg("%.*s", STR_ARG(buf_str(&reply.text)));
	reply_header(&reply, "X-Cdpd-Position", position);
	reply_free(&reply);
}

/* GET with ?min_position=, so that what was written is there. */
static inline struct reply ask_after(const struct world *world, const char *path, const char *token,
				     const char *position)
{
	char full[1024];
	(void)snprintf(full, sizeof full, "%s%cmin_position=%s", path, strchr(path, '?') ? '&' : '?', position);
	return ask(world, "GET", full, token, NULL);
}
