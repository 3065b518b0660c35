#include "net/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#define BACKLOG 1024

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un local;
};

static int fail(const char *what, struct str where)
{
	log_error(LOG_NET, "%s %.*s failed (%s)", what, STR_ARG(where), strerror(errno));
	return ERR_IO;
}

static int parse_host(const char *host, uint16_t port, union address *out, socklen_t *len)
{
	memset(out, 0, sizeof *out);
	if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = htons(port);
		*len = sizeof out->v4;
	} else if (inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
		out->v6.sin6_family = AF_INET6;
		out->v6.sin6_port = htons(port);
		*len = sizeof out->v6;
	} else {
		log_error(LOG_NET, "listen: %s is not a numeric address", host);
		return ERR_INVALID;
	}
	return OK;
}

static int open_socket(int family)
{
	const int on = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || family == AF_UNIX) return fd;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	/* Accepted sockets inherit it. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (family == AF_INET6) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	return fd;
}

static uint16_t bound_port(int fd)
{
	union address address = {0};
	socklen_t len = sizeof address;
	if (getsockname(fd, &address.any, &len) != 0) return 0;
	return ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
}

/* SO_REUSEPORT would let a second daemon of the same user share the port unnoticed: a first bind without it finds out. */
static int check_free(const union address *address, socklen_t len)
{
	const int on = 1;
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) return ERR_IO;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (address->any.sa_family == AF_INET6) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	int rc = bind(fd, &address->any, len) == 0 ? OK : ERR_IO;
	int saved = errno;
	(void)close(fd);
	errno = saved;
	return rc;
}

static int bind_inet(struct endpoint *endpoint, const char *host, uint16_t port)
{
	union address address;
	socklen_t len;
	int rc = parse_host(host, port, &address, &len);
	if (rc != OK) return rc;
	if (port && check_free(&address, len) != OK) return fail("listening on", str_from(host));
	endpoint->port = port;
	for (size_t i = 0; i < endpoint->fd_count; i++) {
		int fd = endpoint->fds[i] = open_socket(address.any.sa_family);
		/* The port that the first socket got is the others' too. */
		rc = parse_host(host, endpoint->port, &address, &len);
		if (rc != OK) return rc;
		if (fd < 0 || bind(fd, &address.any, len) != 0) return fail("listening on", str_from(host));
		if (endpoint->port == 0) endpoint->port = bound_port(fd);
	}
	return OK;
}

/* A socket file that nobody answers on was left by a crash. */
static bool is_stale(const struct sockaddr_un *address)
{
	struct stat info;
	if (lstat(address->sun_path, &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
	int fd = open_socket(AF_UNIX);
	if (fd < 0) return false;
	int rc = connect(fd, (const struct sockaddr *)(const void *)address, sizeof *address);
	bool is_refused = rc != 0 && errno == ECONNREFUSED;
	(void)close(fd);
	return is_refused;
}

static int bind_unix(struct endpoint *endpoint)
{
	struct str path = endpoint->unix_path;
	union address address = {.local = {.sun_family = AF_UNIX}};
	errno = ENAMETOOLONG;
	if (path.len >= sizeof address.local.sun_path) return fail("listening on", path);
	memcpy(address.local.sun_path, path.ptr, path.len + 1);
	if (is_stale(&address.local)) (void)unlink(address.local.sun_path);
	int fd = open_socket(AF_UNIX);
	if (fd < 0 || bind(fd, &address.any, sizeof address.local) != 0) {
		int saved = errno;
		if (fd >= 0) (void)close(fd);
		errno = saved;
		endpoint->unix_path = STR_NONE; /* not ours to remove */
		return fail("listening on", path);
	}
	endpoint->fds[0] = fd;
	if (chmod(address.local.sun_path, 0660) != 0) return fail("setting the mode of", path);
	return OK;
}

static int name_it(struct endpoint *endpoint, struct str host, struct arena *arena)
{
	if (endpoint->is_unix) {
		endpoint->authority = STR("localhost");
		return arena_printf(arena, &endpoint->url, "unix:%.*s", STR_ARG(endpoint->unix_path));
	}
	bool is_v6 = memchr(host.ptr, ':', host.len) != NULL;
	int rc = arena_printf(arena, &endpoint->authority, "%s%.*s%s:%u", is_v6 ? "[" : "", STR_ARG(host),
			      is_v6 ? "]" : "", endpoint->port);
	if (rc != OK) return rc;
	return arena_printf(arena, &endpoint->url, "%s://%.*s", endpoint->is_tls ? "https" : "http",
			    STR_ARG(endpoint->authority));
}

int endpoint_bind(struct endpoint *endpoint, const struct conf_listener *listener, size_t workers, struct arena *arena)
{
	struct str host;
	*endpoint = (struct endpoint){.is_tls = listener->is_tls,
				      .is_admin = listener->is_admin,
				      .is_unix = listener->unix_path.len > 0,
				      .unix_path = STR_NONE};
	endpoint->fds = arena_array(arena, int, workers);
	if (!endpoint->fds) return ERR_NOMEM;
	endpoint->fd_count = workers;
	for (size_t i = 0; i < workers; i++) endpoint->fds[i] = -1;
	int rc = arena_str(arena, listener->host, &host);
	if (rc == OK && endpoint->is_unix) rc = arena_str(arena, listener->unix_path, &endpoint->unix_path);
	if (rc == OK) rc = endpoint->is_unix ? bind_unix(endpoint) : bind_inet(endpoint, host.ptr, listener->port);
	return rc == OK ? name_it(endpoint, host, arena) : rc;
}

int endpoint_listen(const struct endpoint *endpoint)
{
	for (size_t i = 0; i < endpoint->fd_count; i++)
		if (endpoint->fds[i] >= 0 && listen(endpoint->fds[i], BACKLOG) != 0)
			return fail("listening on", endpoint->url);
	return OK;
}

void endpoint_close(struct endpoint *endpoint, size_t worker)
{
	if (endpoint->fds[worker] >= 0) (void)close(endpoint->fds[worker]);
	endpoint->fds[worker] = -1;
}

void endpoint_fini(struct endpoint *endpoint)
{
	for (size_t i = 0; i < endpoint->fd_count; i++) endpoint_close(endpoint, i);
	if (endpoint->is_unix && endpoint->unix_path.len) (void)unlink(endpoint->unix_path.ptr);
	endpoint->unix_path = STR_NONE;
}
