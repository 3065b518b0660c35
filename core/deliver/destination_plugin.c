/* A destination's calls into its plugin: on its thread, and never touching the rooms below once it was left behind. */
#include "base/clock.h"
#include "deliver/destination.h"

static void enter(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	d->is_inside = true;
	pthread_cond_broadcast(&d->changed); /* destination_join looks */
	pthread_mutex_unlock(&d->lock);
}

static void leave(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	d->is_inside = false;
	bool is_left_behind = d->is_left_behind;
	pthread_mutex_unlock(&d->lock);
	if (is_left_behind) pthread_exit(NULL); /* the rooms below may be gone */
}

static void set_http(struct destination *d, struct http_client *http)
{
	pthread_mutex_lock(&d->lock);
	struct http_client *old = d->http;
	d->http = http;
	pthread_mutex_unlock(&d->lock);
	if (old) http_client_cancel(old);
	http_client_free(old);
}

static void enter_call(void *ctx)
{
	enter(ctx);
}

static void leave_call(void *ctx)
{
	leave(ctx);
}

bool destination_create(struct destination *d)
{
	const struct http_limits limits = {.guard = &d->guard,
					   .name = d->name,
					   .tls = &d->async.http_tls,
					   .connections = d->async.http_connections,
					   .requests_per_second = d->async.http_requests_per_second,
					   .enter = enter_call,
					   .leave = leave_call,
					   .ctx = d};
	struct http_client *http;
	if (http_client_new(&limits, &http)) return false;
	set_http(d, http);
	const struct instance_services services = {.http = http, .spaces = d->shared->spaces};
	enter(d);
	int rc = instance_new_with(d->plugin, d->name, d->conf, &services, &d->instance);
	leave(d);
	if (rc) set_http(d, NULL);
	return rc == OK;
}

void destination_run_timers(struct destination *d)
{
	int64_t now = clock_mono_us();
	if (!d->instance || instance_next_timer(d->instance) > now) return;
	enter(d);
	instance_run_timers(d->instance, now);
	leave(d);
}

/* From whatever thread answers; under the handover's lock. */
static void on_answer(void *ctx)
{
	struct destination *d = ctx;
	pthread_mutex_lock(&d->lock);
	d->was_answered = true;
	pthread_cond_broadcast(&d->changed);
	if (d->http) http_wake(d->http);
	pthread_mutex_unlock(&d->lock);
}

int destination_hand_over(struct destination *d, struct handover *h)
{
	enter(d);
	int rc = handover_begin(h, d->instance, on_answer, d);
	leave(d);
	return rc;
}

void destination_destroy(struct destination *d)
{
	if (d->http) http_client_cancel(d->http);
	enter(d);
	instance_free(d->instance);
	leave(d);
	d->instance = NULL;
	set_http(d, NULL);
	for (size_t i = 0; i < d->abandoned_count; i++) {
		handover_reclaim(d->abandoned[i]);
		handover_unref(d->abandoned[i]);
	}
	d->abandoned_count = 0;
}
