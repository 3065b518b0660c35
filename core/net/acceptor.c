#include "net/acceptor.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/endpoint.h"
#include "net/stats.h"

#define ACCEPTOR_MAGIC  0x70636361u
#define ACCEPTS_A_TURN  64
#define BACK_OFF_US     100000
#define LOG_INTERVAL_US (10 * US_PER_SECOND)

struct acceptor {
	uint32_t magic;
	struct worker *worker;
	struct endpoint *endpoint;
	struct event io, back_off;
	bool is_open;
	int64_t logged_us;
};

/* Loopback, unix sockets and our own reverse proxies stand for many clients. */
static const struct ip *counted_ip(const struct worker *worker, const struct ip *ip)
{
	if (!ip || ip_is_loopback(ip) || proxies_trust(settings_proxies(worker->settings), ip)) return NULL;
	return ip;
}

static void take(struct acceptor *acceptor, int fd, const struct sockaddr *address)
{
	struct worker *worker = acceptor->worker;
	const struct conf_limits *limits = settings_limits(worker->settings);
	struct census_entry *entry;
	struct ip storage, *ip = ip_from_sockaddr(address, &storage) ? &storage : NULL;
	uint32_t per_ip = limits->connections_per_ip ? limits->connections_per_ip : UINT32_MAX;
	int rc = census_enter(worker->census, counted_ip(worker, ip), limits->connections, per_ip, &entry);
	if (rc != OK) {
		stats_dropped(rc == ERR_REFUSED ? DROP_CONNECTIONS_PER_IP : DROP_CONNECTIONS);
		(void)close(fd);
		return;
	}
	conn_open(worker, acceptor->endpoint, fd, ip, entry);
}

/* Out of file descriptors or memory: the socket stays readable, so without a pause this would spin. */
static void back_off(struct acceptor *acceptor)
{
	const struct timeval pause = {0, BACK_OFF_US};
	int64_t now = worker_now(acceptor->worker);
	stats_dropped(DROP_FILES);
	if (!acceptor->logged_us || now - acceptor->logged_us > LOG_INTERVAL_US) {
		log_warn(LOG_NET, "accept failed, new connections wait (%s)", strerror(errno));
		acceptor->logged_us = now;
	}
	(void)event_del(&acceptor->io);
	(void)event_add(&acceptor->back_off, &pause);
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor *acceptor = arg;
	(void)fd, (void)what;
	CHECK(acceptor->magic == ACCEPTOR_MAGIC);
	if (acceptor->is_open) (void)event_add(&acceptor->io, NULL);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor *acceptor = arg;
	(void)what;
	CHECK(acceptor->magic == ACCEPTOR_MAGIC);
	(void)worker_tick(acceptor->worker);
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
		struct sockaddr *any = (struct sockaddr *)(void *)&address;
		socklen_t len = sizeof address;
		int client = accept4((int)fd, any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (client >= 0) {
			take(acceptor, client, any);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) back_off(acceptor);
		if (errno == EAGAIN || errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			return;
		/* Else that one connection died in the queue. */
	}
}

int acceptors_new(struct worker *worker, struct endpoint *endpoints, size_t count)
{
	worker->acceptors = calloc(count ? count : 1, sizeof *worker->acceptors);
	if (!worker->acceptors) return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		struct acceptor *acceptor = &worker->acceptors[i];
		*acceptor = (struct acceptor){.magic = ACCEPTOR_MAGIC, .worker = worker, .endpoint = &endpoints[i]};
		(void)evtimer_assign(&acceptor->back_off, worker->base, on_pause_over, acceptor);
	}
	worker->acceptor_count = count;
	return OK;
}

int acceptors_open(struct worker *worker)
{
	for (size_t i = 0; i < worker->acceptor_count; i++) {
		struct acceptor *acceptor = &worker->acceptors[i];
		int fd = acceptor->endpoint->fds[worker->index];
		if (fd < 0) continue;
		if (event_assign(&acceptor->io, worker->base, fd, EV_READ | EV_PERSIST, on_acceptable, acceptor) != 0 ||
		    event_add(&acceptor->io, NULL) != 0)
			return ERR_IO;
		acceptor->is_open = true;
	}
	return OK;
}

void acceptors_close(struct worker *worker)
{
	for (size_t i = 0; i < worker->acceptor_count; i++) {
		struct acceptor *acceptor = &worker->acceptors[i];
		if (!acceptor->is_open) continue;
		acceptor->is_open = false;
		(void)event_del(&acceptor->io);
		(void)event_del(&acceptor->back_off);
		endpoint_close(acceptor->endpoint, worker->index);
	}
}

void acceptors_free(struct worker *worker)
{
	free(worker->acceptors);
	worker->acceptors = NULL;
	worker->acceptor_count = 0;
}
