/* loadgen: HTTP load for the benches: one thread, many keep-alive connections, bytes prepared ahead, so that the client
 * costs little beside what it measures. Closed loop by default; --rate makes it an open loop, where latency counts from
 * the moment a request was due (a stalled server is not spared the requests it delayed).
 *
 * rooms: none */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENT_BYTES  600
#define USER_DIGITS  9
#define ID_DIGITS    16
#define BUCKETS      4096
#define RESPONSE_MAX 262144

enum mode { MODE_SINGLE, MODE_BATCH, MODE_GET };

struct options {
	const char *host, *key, *path, *token;
	int port, connections, batch;
	double seconds, rate;
	uint64_t users, requests; /* requests: stop after that many, 0: after `seconds` */
	enum mode mode;
	bool is_sequential, is_anonymous, has_places; /* places: a new one with every 500th event */
	uint64_t seed;
};

struct slot { /* where one event's ids lie in the request */
	size_t user, visitor, id, place;
};

struct client {
	int fd;
	char *request;
	size_t request_len, sent;
	struct slot *slots;
	size_t path_user; /* GET: offset of the user digits */
	char *response;
	size_t received;
	bool is_busy;
	int64_t due_ns;
};

static struct options opt = {.host = "127.0.0.1",
			     .key = "demo-write-key",
			     .path = "/v1/track",
			     .token = "",
			     .connections = 64,
			     .batch = 100,
			     .seconds = 10,
			     .users = 1000000,
			     .seed = 1};
static uint64_t next_id, next_user, done_requests, ok_requests, started;
static uint64_t histogram[BUCKETS];
static int64_t slowest_ns;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static uint64_t random_u64(void)
{
	opt.seed += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = opt.seed;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void put_digits(char *at, int digits, uint64_t value)
{
	for (int i = digits; i-- > 0; value /= 10) at[i] = (char)('0' + value % 10);
}

/* ── requests ────────────────────────────────────────────────────────────── */

/* Appends one event of EVENT_BYTES and remembers where its ids lie. */
static size_t append_event(char *out, size_t at, struct slot *slot)
{
	size_t start = at;
	at += (size_t)sprintf(out + at, "{\"type\":\"track\",\"event\":\"Order Completed\",\"userId\":\"u");
	slot->user = at;
	at += (size_t)sprintf(out + at, "%0*d\",", USER_DIGITS, 0);
	slot->visitor = 0;
	if (opt.is_anonymous) {
		at += (size_t)sprintf(out + at, "\"anonymousId\":\"a");
		slot->visitor = at;
		at += (size_t)sprintf(out + at, "%0*d\",", USER_DIGITS, 0);
	}
	at += (size_t)sprintf(out + at, "\"messageId\":\"bench-");
	slot->id = at;
	at += (size_t)sprintf(out + at,
			      "%0*d\",\"properties\":{\"total\":27.5,\"currency\":\"EUR\",\"order_id\":\"o-17\","
			      "\"products\":[{\"sku\":\"G-32\",\"price\":19,\"quantity\":1}]},"
			      "\"context\":{\"locale\":\"en-US\",",
			      ID_DIGITS, 0);
	if (opt.has_places) at += (size_t)sprintf(out + at, "\"location\":{\"latitude\":10.5,\"longitude\":1");
	slot->place = opt.has_places ? at : 0;
	if (opt.has_places) at += (size_t)sprintf(out + at, "00.0},");
	at += (size_t)sprintf(out + at, "\"page\":{\"path\":\"/"
					"checkout\",\"title\":\"Checkout\",\"url\":\"https://shop.example/checkout\"},"
					"\"library\":{\"name\":\"bench\",\"version\":\"1\"}},\"note\":\"");
	while (at - start < EVENT_BYTES - 2) out[at++] = 'x';
	memcpy(out + at, "\"}", 2);
	return at + 2;
}

static void make_request(struct client *c)
{
	size_t events = opt.mode == MODE_BATCH ? (size_t)opt.batch : 1;
	c->request = malloc(1024 + events * (EVENT_BYTES + 64));
	c->slots = calloc(events, sizeof *c->slots);
	c->response = malloc(RESPONSE_MAX);
	if (!c->request || !c->slots || !c->response) die("malloc");
	if (opt.mode == MODE_GET) {
		size_t at = (size_t)sprintf(c->request, "GET %s", opt.path);
		c->path_user = strchr(opt.path, '#') ? (size_t)(strchr(c->request, '#') - c->request) : 0;
		if (c->path_user)
			at = c->path_user + (size_t)sprintf(c->request + c->path_user, "u%0*d", USER_DIGITS, 0);
		c->request_len =
		    at + (size_t)sprintf(c->request + at,
					 " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n\r\n", opt.token);
		if (c->path_user) c->path_user++;
		return;
	}
	size_t length = events * EVENT_BYTES + (opt.mode == MODE_BATCH ? strlen("{\"batch\":[]}") + events - 1 : 0);
	size_t at = (size_t)sprintf(c->request,
				    "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nX-Write-Key: "
				    "%s\r\nContent-Length: %zu\r\n\r\n",
				    opt.path, opt.key, length);
	if (opt.mode == MODE_BATCH) at += (size_t)sprintf(c->request + at, "{\"batch\":[");
	for (size_t i = 0; i < events; i++) {
		if (i) c->request[at++] = ',';
		at = append_event(c->request, at, &c->slots[i]);
	}
	if (opt.mode == MODE_BATCH) at += (size_t)sprintf(c->request + at, "]}");
	c->request_len = at;
}

static uint64_t pick_user(void)
{
	return opt.is_sequential ? next_user++ % opt.users : random_u64() % opt.users;
}

static void refresh(struct client *c)
{
	if (opt.mode == MODE_GET) {
		if (c->path_user) put_digits(c->request + c->path_user, USER_DIGITS, pick_user());
		return;
	}
	size_t events = opt.mode == MODE_BATCH ? (size_t)opt.batch : 1;
	for (size_t i = 0; i < events; i++) {
		uint64_t user = pick_user();
		put_digits(c->request + c->slots[i].user, USER_DIGITS, user);
		if (c->slots[i].visitor) put_digits(c->request + c->slots[i].visitor, USER_DIGITS, user);
		if (c->slots[i].place) {
			uint64_t place = next_id / 500 % 800;
			put_digits(c->request + c->slots[i].place, 2, place / 10);
			put_digits(c->request + c->slots[i].place + 3, 1, place % 10);
		}
		put_digits(c->request + c->slots[i].id, ID_DIGITS, next_id++);
	}
}

/* ── one connection ──────────────────────────────────────────────────────── */

static void open_client(struct client *c, int epoll_fd)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
	if (inet_pton(AF_INET, opt.host, &address.sin_addr) != 1) die("address");
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
	int one = 1;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
	make_request(c);
}

static void send_more(struct client *c)
{
	while (c->sent < c->request_len) {
		ssize_t n = send(c->fd, c->request + c->sent, c->request_len - c->sent, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
		if (n <= 0) die("send");
		c->sent += (size_t)n;
	}
}

static void start_request(struct client *c, int64_t due_ns)
{
	refresh(c);
	c->sent = c->received = 0;
	c->is_busy = true;
	c->due_ns = due_ns;
	started++;
	send_more(c);
}

/* Length of the whole response once its head is there, 0 before. */
static size_t response_length(const struct client *c)
{
	char *end = memmem(c->response, c->received, "\r\n\r\n", 4);
	if (!end) return 0;
	char *field = memmem(c->response, (size_t)(end - c->response), "ontent-Length: ", 15);
	if (!field) field = memmem(c->response, (size_t)(end - c->response), "ontent-length: ", 15);
	return (size_t)(end - c->response) + 4 + (field ? strtoul(field + 15, NULL, 10) : 0);
}

static void count_latency(int64_t ns)
{
	/* 1 µs steps to 1 ms, 16 µs steps to about 50 ms, then one bucket of 1 ms each */
	int64_t us = ns / 1000;
	size_t bucket = us < 1000    ? (size_t)us
			: us < 50000 ? 1000 + (size_t)((us - 1000) / 32)
				     : 2600 + (size_t)(us / 1000);
	histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
	if (ns > slowest_ns) slowest_ns = ns;
}

static double bucket_ms(size_t bucket)
{
	if (bucket < 1000) return (double)bucket / 1000;
	return bucket < 2600 ? (1000 + (double)(bucket - 1000) * 32) / 1000 : (double)(bucket - 2600);
}

static double percentile(double fraction)
{
	uint64_t seen = 0, wanted = (uint64_t)((double)done_requests * fraction);
	for (size_t i = 0; i < BUCKETS; i++)
		if ((seen += histogram[i]) > wanted) return bucket_ms(i);
	return (double)slowest_ns / 1e6;
}

/* True when a whole response has been read. */
static bool read_response(struct client *c)
{
	for (;;) {
		ssize_t n = recv(c->fd, c->response + c->received, RESPONSE_MAX - c->received, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
		if (n <= 0) {
			(void)fprintf(stderr, "loadgen: the server closed a connection\n");
			exit(1);
		}
		c->received += (size_t)n;
		size_t length = response_length(c);
		if (!length || c->received < length) continue;
		c->is_busy = false;
		done_requests++;
		if (!memcmp(c->response, "HTTP/1.1 200", 12)) ok_requests++;
		count_latency(now_ns() - c->due_ns);
		return true;
	}
}

/* ── the run ─────────────────────────────────────────────────────────────── */

static bool is_over(int64_t start, int64_t now)
{
	if (opt.requests) return started >= opt.requests;
	return (double)(now - start) / 1e9 >= opt.seconds;
}

static void drive_closed(struct client *clients, int epoll_fd, int64_t start)
{
	struct epoll_event events[256];
	for (int i = 0; i < opt.connections; i++) start_request(&clients[i], now_ns());
	for (int busy = opt.connections; busy > 0;) {
		int n = epoll_wait(epoll_fd, events, 256, 1000);
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			if (events[i].events & EPOLLOUT) send_more(c);
			if (!(events[i].events & EPOLLIN) || !read_response(c)) continue;
			int64_t now = now_ns();
			if (is_over(start, now))
				busy--;
			else
				start_request(c, now);
		}
	}
}

static void drive_rate(struct client *clients, int epoll_fd, int64_t start)
{
	struct epoll_event events[256];
	double interval_ns = 1e9 / opt.rate;
	uint64_t issued = 0;
	int cursor = 0, idle_scan;
	while (!is_over(start, now_ns())) {
		int64_t due;
		while ((due = start + (int64_t)((double)issued * interval_ns)) <= now_ns()) {
			for (idle_scan = 0; idle_scan < opt.connections && clients[cursor].is_busy; idle_scan++)
				cursor = (cursor + 1) % opt.connections;
			if (clients[cursor].is_busy)
				break; /* all are waiting: the next answer takes this one, late and counted so */
			start_request(&clients[cursor], due);
			issued++;
		}
		int n = epoll_wait(epoll_fd, events, 256, 0);
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			if (events[i].events & EPOLLOUT && c->is_busy) send_more(c);
			if (events[i].events & EPOLLIN && c->is_busy) (void)read_response(c);
		}
		if (!n) {
			struct timespec pause = {.tv_nsec = 20000};
			nanosleep(&pause, NULL);
		}
	}
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
	    {"host", 1, NULL, 'h'},       {"port", 1, NULL, 'p'},  {"connections", 1, NULL, 'c'},
	    {"seconds", 1, NULL, 's'},    {"mode", 1, NULL, 'm'},  {"batch", 1, NULL, 'b'},
	    {"rate", 1, NULL, 'r'},       {"users", 1, NULL, 'u'}, {"path", 1, NULL, 'P'},
	    {"key", 1, NULL, 'k'},        {"token", 1, NULL, 't'}, {"requests", 1, NULL, 'n'},
	    {"sequential", 0, NULL, 'q'}, {"seed", 1, NULL, 'S'},  {"anonymous", 0, NULL, 'a'},
	    {"places", 0, NULL, 'l'},     {NULL, 0, NULL, 0},
	};
	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (o) {
		case 'h': opt.host = optarg; break;
		case 'p': opt.port = atoi(optarg); break;
		case 'c': opt.connections = atoi(optarg); break;
		case 's': opt.seconds = atof(optarg); break;
		case 'm':
			opt.mode = !strcmp(optarg, "batch") ? MODE_BATCH
				   : !strcmp(optarg, "get") ? MODE_GET
							    : MODE_SINGLE;
			break;
		case 'b': opt.batch = atoi(optarg); break;
		case 'r': opt.rate = atof(optarg); break;
		case 'u': opt.users = strtoull(optarg, NULL, 10); break;
		case 'P': opt.path = optarg; break;
		case 'k': opt.key = optarg; break;
		case 't': opt.token = optarg; break;
		case 'n': opt.requests = strtoull(optarg, NULL, 10); break;
		case 'q': opt.is_sequential = true; break;
		case 'a': opt.is_anonymous = true; break;
		case 'l': opt.has_places = true; break;
		case 'S': opt.seed = strtoull(optarg, NULL, 10); break;
		default: exit(2);
		}
	}
	next_id = opt.seed * UINT64_C(1000000000000);
}

int main(int argc, char **argv)
{
	parse_options(argc, argv);
	int epoll_fd = epoll_create1(0);
	struct client *clients = calloc((size_t)opt.connections, sizeof *clients);
	if (epoll_fd < 0 || !clients) die("start");
	for (int i = 0; i < opt.connections; i++) open_client(&clients[i], epoll_fd);
	int64_t start = now_ns();
	if (opt.rate > 0)
		drive_rate(clients, epoll_fd, start);
	else
		drive_closed(clients, epoll_fd, start);
	double seconds = (double)(now_ns() - start) / 1e9;
	uint64_t events = opt.mode == MODE_BATCH ? (uint64_t)opt.batch : 1;
	printf("{\"requests\":%llu,\"ok\":%llu,", (unsigned long long)done_requests, (unsigned long long)ok_requests);
	printf("\"seconds\":%.3f,\"requests_per_s\":%.0f,", seconds, (double)ok_requests / seconds);
	printf("\"events_per_s\":%.0f,", (double)(ok_requests * events) / seconds);
	printf("\"p50_ms\":%.3f,\"p99_ms\":%.3f,", percentile(0.5), percentile(0.99));
	printf("\"max_ms\":%.3f}\n", (double)slowest_ns / 1e6);
	return ok_requests == done_requests ? 0 : 1;
}
