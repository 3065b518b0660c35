#include "net/conn.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "net/endpoint.h"
#include "net/protocol.h"
#include "net/stats.h"
#include "net/tls.h"
#include "net/worker.h"

#define LINGER_US    (5 * US_PER_SECOND)
#define DISCARD_SIZE ((size_t)16 * 1024)
#define TAIL_ENOUGH  2048

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

static void update_watch(struct conn *conn)
{
	bool reads = conn->wants_read && !conn->is_paused && !conn->is_eof;
	short wanted = (short)((reads ? EV_READ : 0) | (conn->wants_write ? EV_WRITE : 0));
	if (wanted == conn->watched || conn->phase == CONN_CLOSED) return;
	if (conn->watched) (void)event_del(&conn->io);
	conn->watched = 0;
	if (wanted == 0) return;
	struct event_base *base = conn->worker->base;
	if (event_assign(&conn->io, base, conn->fd, (short)(wanted | EV_PERSIST), on_io, conn) != 0 ||
	    event_add(&conn->io, NULL) != 0) {
		conn_abort(conn);
		return;
	}
	conn->watched = wanted;
}

/* ── timer ───────────────────────────────────────────────────────────────── */

static int64_t nearest_deadline(const struct conn *conn)
{
	if (!conn->write_deadline_us) return conn->deadline_us;
	if (!conn->deadline_us || conn->write_deadline_us < conn->deadline_us) return conn->write_deadline_us;
	return conn->deadline_us;
}

/* The timer is only ever moved forward to an earlier time. A later deadline is noticed when it fires: a busy
 * connection then costs one timer in 75 s instead of one for each request. */
static void arm_timer(struct conn *conn)
{
	int64_t at = nearest_deadline(conn);
	if (at == 0 || (conn->armed_us && conn->armed_us <= at)) return;
	int64_t wait = at - worker_now(conn->worker);
	if (wait < US_PER_MS) wait = US_PER_MS;
	struct timeval timeout = {wait / US_PER_SECOND, wait % US_PER_SECOND};
	if (event_add(&conn->timer, &timeout) == 0) conn->armed_us = at;
}

void conn_set_deadline(struct conn *conn, int64_t deadline_us)
{
	conn->deadline_us = deadline_us;
	arm_timer(conn);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	(void)fd, (void)what;
	CHECK(conn->magic == CONN_MAGIC);
	int64_t now = worker_tick(conn->worker);
	conn->armed_us = 0;
	if (conn->write_deadline_us && now >= conn->write_deadline_us) {
		stats_dropped(DROP_WRITE_TIMEOUT);
		conn_abort(conn);
	} else if (conn->deadline_us && now >= conn->deadline_us) {
		conn->deadline_us = 0;
		if (conn->phase == CONN_OPEN && conn->protocol)
			conn->protocol->timeout(conn);
		else
			conn_abort(conn);
	}
	if (conn->phase != CONN_CLOSED) arm_timer(conn);
}

/* ── opening and closing ─────────────────────────────────────────────────── */

static int start_tls(struct conn *conn)
{
	struct tls_context *context = settings_tls(conn->worker->settings);
	conn->phase = CONN_HANDSHAKE;
	return context ? tls_new(context, conn->fd, &conn->tls) : ERR_INVALID;
}

/* When it has its age, a little sooner or later: those that were opened together need not come back together. */
static int64_t age_of(const struct worker *worker)
{
	int64_t age_us = settings_limits(worker->settings)->connection_age_ms * US_PER_MS;
	uint16_t random;
	if (age_us == 0) return 0;
	random_bytes(&random, sizeof random);
	return worker_now(worker) + age_us - age_us / 10 + age_us / 5 * random / UINT16_MAX;
}

void conn_open(struct worker *worker, const struct endpoint *endpoint, int fd, const struct ip *ip,
	       struct census_entry *census)
{
	struct conn *conn = calloc(1, sizeof *conn);
	if (!conn) {
		census_leave(worker->census, census);
		(void)close(fd);
		return;
	}
	conn->magic = CONN_MAGIC;
	conn->fd = fd;
	conn->phase = CONN_OPEN;
	conn->wants_read = true;
	conn->worker = worker;
	conn->endpoint = endpoint;
	conn->census = census;
	conn->read_want = CONN_READ_USUAL;
	if (ip) {
		conn->ip = *ip;
		conn->ip_text_len = (uint8_t)ip_format(ip, conn->ip_text);
	}
	buf_init(&conn->in, CONN_READ_MAX);
	buf_init(&conn->out, CONN_OUTPUT_MAX);
	stats_connections(1);
	worker_list(worker, conn);
	(void)evtimer_assign(&conn->timer, worker->base, on_timer, conn);
	conn->age_us = age_of(worker);
	if (endpoint->is_tls && start_tls(conn) != OK) {
		conn_abort(conn);
		return;
	}
	conn_set_deadline(conn, worker_now(worker) + settings_limits(worker->settings)->header_timeout_ms * US_PER_MS);
	update_watch(conn);
}

static void give_buffers(struct conn *conn)
{
	buf_clear(&conn->in);
	buf_clear(&conn->out);
	worker_give_buf(conn->worker, &conn->in);
	worker_give_buf(conn->worker, &conn->out);
	conn_count_output(conn);
}

void conn_abort(struct conn *conn)
{
	if (conn->phase == CONN_CLOSED) return;
	conn->phase = CONN_CLOSED;
	if (conn->watched) (void)event_del(&conn->io);
	(void)event_del(&conn->timer);
	conn->watched = 0;
	tls_free(conn->tls);
	conn->tls = NULL;
	(void)close(conn->fd);
	conn->fd = -1;
	worker_unlist(conn->worker, conn);
	census_leave(conn->worker->census, conn->census);
	stats_connections(-1);
	if (conn->protocol && conn->protocol->close(conn)) {
		conn->is_held = true;
		worker_hold(conn->worker, conn);
		return;
	}
	give_buffers(conn);
	worker_bury(conn->worker, conn);
}

void conn_release(struct conn *conn)
{
	CHECK(conn->phase == CONN_CLOSED && conn->is_held);
	conn->is_held = false;
	worker_unlist(conn->worker, conn);
	give_buffers(conn);
	worker_bury(conn->worker, conn);
}

void conn_finish(struct conn *conn, bool must_linger)
{
	if (conn->phase != CONN_OPEN) return;
	conn->phase = CONN_CLOSING;
	conn->must_linger = must_linger;
	conn->deadline_us = 0;
	conn->is_paused = false;
	update_watch(conn);
}

/* All is sent. Closing a socket with unread input makes the kernel send a reset, which can take the answer away from a
 * peer that is still sending: so first only our half is closed and the rest read. */
static void shut(struct conn *conn)
{
	if (conn->tls) tls_say_goodbye(conn->tls);
	if (!conn->must_linger || conn->is_eof || shutdown(conn->fd, SHUT_WR) != 0) {
		conn_abort(conn);
		return;
	}
	conn->phase = CONN_LINGERING;
	conn_set_deadline(conn, worker_now(conn->worker) + LINGER_US);
}

void conn_retire(struct conn *conn)
{
	if (conn->phase == CONN_HANDSHAKE || (conn->phase == CONN_OPEN && !conn->protocol)) {
		conn_abort(conn);
	} else if (conn->phase == CONN_OPEN) {
		conn->protocol->retire(conn);
	}
}

/* ── output ──────────────────────────────────────────────────────────────── */

struct buf *conn_output(struct conn *conn)
{
	if (!conn->out.data) worker_take_buf(conn->worker, &conn->out);
	return &conn->out;
}

void conn_count_output(struct conn *conn)
{
	size_t now = conn->out.size > CONN_SMALL_OUTPUT + BUF_SLACK ? conn->out.size : 0;
	if (conn->behind > CONN_SMALL_OUTPUT) now += conn->behind;
	if (now == conn->queued) return;
	census_queue(conn->worker->census, conn->queued, now);
	conn->queued = now;
}

bool conn_may_queue(const struct conn *conn, size_t len)
{
	return conn->behind + len <= CONN_SMALL_OUTPUT ||
	       census_queued(conn->worker->census) < settings_limits(conn->worker->settings)->reply_bytes;
}

static int transmit(struct conn *conn, size_t *len)
{
	if (conn->tls) return tls_write(conn->tls, buf_ptr(&conn->out), conn->out.len, len);
	ssize_t n = send(conn->fd, buf_ptr(&conn->out), conn->out.len, MSG_NOSIGNAL);
	if (n >= 0) {
		*len = (size_t)n;
		return OK;
	}
	return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_IO;
}

static void wait_writable(struct conn *conn, bool has_progress)
{
	if (has_progress || !conn->write_deadline_us) {
		uint32_t timeout_ms = settings_limits(conn->worker->settings)->write_timeout_ms;
		conn->write_deadline_us = worker_now(conn->worker) + timeout_ms * US_PER_MS;
		arm_timer(conn);
	}
	conn->wants_write = true;
	update_watch(conn);
}

void conn_flush(struct conn *conn)
{
	bool has_progress = false;
	if (conn->phase == CONN_CLOSED || conn->phase == CONN_HANDSHAKE) return;
	while (conn->out.len > 0) {
		size_t len = 0;
		int rc = transmit(conn, &len);
		if (rc == ERR_AGAIN) {
			wait_writable(conn, has_progress);
			return;
		}
		if (rc != OK) {
			conn_abort(conn);
			return;
		}
		has_progress = true;
		buf_consume(&conn->out, len);
		stats_sent(len);
	}
	if (conn->out.data) worker_give_buf(conn->worker, &conn->out);
	conn_count_output(conn);
	conn->write_deadline_us = 0;
	if (conn->wants_write) {
		conn->wants_write = false;
		update_watch(conn);
	}
	if (conn->phase == CONN_CLOSING) shut(conn);
}

void conn_later(struct conn *conn)
{
	worker_later(conn->worker, conn);
}

/* ── input ───────────────────────────────────────────────────────────────── */

static size_t tail_of(const struct buf *buf)
{
	return buf->data ? buf->size - BUF_SLACK - buf->head - buf->len : 0;
}

/* Where the next bytes go; 0: nowhere now, NULL in *to: no memory. */
static size_t find_room(struct conn *conn, char **to)
{
	struct buf *in = &conn->in;
	if (!in->data && !conn->has_fixed_in) worker_take_buf(conn->worker, in);
	size_t tail = tail_of(in);
	if (!conn->has_fixed_in && tail < TAIL_ENOUGH) {
		size_t left = in->cap - in->len;
		size_t want = conn->read_want < left ? conn->read_want : left;
		if (buf_reserve(in, want, to) != OK) {
			*to = NULL;
			return 0;
		}
		tail = tail_of(in);
	}
	*to = in->data ? buf_ptr(in) + in->len : (char *)"";
	if (tail > in->cap - in->len) tail = in->cap - in->len;
	return tail < CONN_READ_MAX ? tail : CONN_READ_MAX;
}

static int receive(struct conn *conn, char *to, size_t room, size_t *len)
{
	if (conn->tls) return tls_read(conn->tls, to, room, len);
	ssize_t n = recv(conn->fd, to, room, 0);
	if (n > 0) {
		*len = (size_t)n;
		return OK;
	}
	if (n == 0) return ERR_CLOSED;
	return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_IO;
}

static void deliver_eof(struct conn *conn)
{
	conn->is_eof = true;
	update_watch(conn);
	if (conn->phase != CONN_OPEN) return;
	if (conn->protocol)
		conn->protocol->eof(conn);
	else
		conn_abort(conn);
}

/* Bytes inside the TLS layer are not announced by the socket. */
static void look_again(struct conn *conn)
{
	if (conn->phase == CONN_OPEN && conn->tls && !conn->is_paused && !conn->is_eof && tls_has_pending(conn->tls))
		event_active(&conn->io, EV_READ, 0);
}

static void deliver(struct conn *conn, size_t len)
{
	stats_received(len);
	conn->in.len += len;
	if (!conn->protocol) conn->protocol = protocol_choose(conn);
	if (conn->protocol) conn->protocol->data(conn);
	look_again(conn);
}

static void read_some(struct conn *conn)
{
	char *to;
	size_t len = 0, room = find_room(conn, &to);
	if (!to) {
		conn_abort(conn);
		return;
	}
	if (room == 0) {
		conn->is_paused = true;
		update_watch(conn);
		return;
	}
	switch (receive(conn, to, room, &len)) {
	case OK: deliver(conn, len); return;
	case ERR_CLOSED: deliver_eof(conn); return;
	case ERR_AGAIN:
		if (conn->tls && tls_wants_write(conn->tls)) {
			conn->wants_write = true;
			update_watch(conn);
		}
		if (conn->in.len == 0 && !conn->has_fixed_in) conn_give_input(conn);
		return;
	default: conn_abort(conn); return;
	}
}

void conn_unfix(struct conn *conn)
{
	conn->has_fixed_in = false;
	if (!conn->is_paused) return;
	conn->is_paused = false;
	update_watch(conn);
	look_again(conn);
}

void conn_give_input(struct conn *conn)
{
	CHECK(conn->in.len == 0 && !conn->has_fixed_in);
	worker_give_buf(conn->worker, &conn->in);
	conn->in.cap = CONN_READ_MAX;
	conn->read_want = CONN_READ_USUAL;
}

static void discard(struct conn *conn)
{
	char scratch[DISCARD_SIZE];
	for (int i = 0; i < 4; i++) {
		ssize_t n = recv(conn->fd, scratch, sizeof scratch, 0);
		if (n > 0) continue;
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
		if (n < 0 || conn->phase == CONN_LINGERING)
			conn_abort(conn);
		else
			deliver_eof(conn);
		return;
	}
}

/* ── events ──────────────────────────────────────────────────────────────── */

static void shake_hands(struct conn *conn)
{
	int rc = tls_handshake(conn->tls);
	if (rc == OK) conn->phase = CONN_OPEN;
	if (rc != OK && rc != ERR_AGAIN) {
		stats_dropped(DROP_TLS);
		conn_abort(conn);
		return;
	}
	conn->wants_write = rc == ERR_AGAIN && tls_wants_write(conn->tls);
	update_watch(conn);
	look_again(conn);
}

static void on_writable(struct conn *conn)
{
	if (conn->phase == CONN_HANDSHAKE) {
		shake_hands(conn);
		return;
	}
	if (conn->out.len == 0) { /* only TLS wanted to write, to go on reading */
		conn->wants_write = false;
		update_watch(conn);
		if (conn->phase == CONN_OPEN) read_some(conn);
		return;
	}
	conn_flush(conn);
	if (conn->phase == CONN_OPEN && conn->protocol) conn->protocol->drained(conn);
}

static void on_readable(struct conn *conn)
{
	switch (conn->phase) {
	case CONN_HANDSHAKE: shake_hands(conn); return;
	case CONN_OPEN: read_some(conn); return;
	case CONN_CLOSING:
	case CONN_LINGERING: discard(conn); return;
	case CONN_CLOSED: return;
	}
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	(void)fd;
	CHECK(conn->magic == CONN_MAGIC);
	(void)worker_tick(conn->worker);
	if (what & EV_WRITE) on_writable(conn);
	if (what & EV_READ) on_readable(conn);
}
