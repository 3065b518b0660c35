#include "plugin/postbox.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/buf.h"
#include "plugin/http.h"
#include "plugin/internal.h"

struct postbox {
	struct publisher *publisher;
	char source[INSTANCE_NAME_MAX];
	size_t source_len;

	pthread_mutex_t lock; /* everything below */
	struct http_client *http;
	size_t refs; /* the instance and each publication that is not freed */
	size_t waiting, bytes;
	struct publication *first_answered, *last_answered; /* not told yet */
	struct publication *under_way;                      /* with the publisher */
	bool is_closed;
};

int postbox_new(struct publisher *publisher, struct str source, struct http_client *http, struct postbox **out)
{
	*out = NULL;
	struct postbox *postbox = source.len <= INSTANCE_NAME_MAX ? calloc(1, sizeof *postbox) : NULL;
	if (!postbox) return ERR_NOMEM;
	CHECK(pthread_mutex_init(&postbox->lock, NULL) == 0);
	memcpy(postbox->source, source.ptr, source.len);
	postbox->source_len = source.len;
	postbox->publisher = publisher;
	postbox->http = http;
	postbox->refs = 1;
	publisher->hold(publisher);
	*out = postbox;
	return OK;
}

/* The lock is held and let go. */
static void unref_locked(struct postbox *postbox, size_t refs)
{
	postbox->refs -= refs;
	bool is_over = postbox->refs == 0;
	(void)pthread_mutex_unlock(&postbox->lock);
	if (!is_over) return;
	postbox->publisher->release(postbox->publisher);
	(void)pthread_mutex_destroy(&postbox->lock);
	free(postbox);
}

/* ── in ──────────────────────────────────────────────────────────────────── */

static bool is_id(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
	}
	return text.len == 0 || text.len == PROFILE_ID_BYTES;
}

/* One block: the publication, its event with slack, the id. */
static struct publication *copy(const struct cdpd_publication *from)
{
	size_t id_len = from->profile_id.len;
	struct publication *to = calloc(1, sizeof *to + from->json.len + BUF_SLACK + PROFILE_ID_BYTES);
	if (!to) return NULL;
	char *text = (char *)(to + 1), *id = text + from->json.len + BUF_SLACK;
	memcpy(text, from->json.ptr, from->json.len);
	if (id_len) memcpy(id, from->profile_id.ptr, id_len);
	to->json = str_of(text, from->json.len);
	to->profile_id = str_of(id, id_len);
	return to;
}

static bool admit(struct postbox *postbox, struct publication *publication)
{
	size_t len = publication->json.len;
	(void)pthread_mutex_lock(&postbox->lock);
	bool is_in = !postbox->is_closed && postbox->waiting < POSTBOX_MAX &&
		     (postbox->waiting == 0 || postbox->bytes + len <= POSTBOX_BYTES);
	if (is_in) {
		postbox->waiting++;
		postbox->bytes += len;
		postbox->refs++;
		publication->under_way = postbox->under_way;
		publication->under_way_link = &postbox->under_way;
		if (postbox->under_way) postbox->under_way->under_way_link = &publication->under_way;
		postbox->under_way = publication;
	}
	(void)pthread_mutex_unlock(&postbox->lock);
	return is_in;
}

/* The lock is held. */
static void leave_the_way(struct publication *publication)
{
	*publication->under_way_link = publication->under_way;
	if (publication->under_way) publication->under_way->under_way_link = publication->under_way_link;
}

static void forget(struct postbox *postbox, size_t len)
{
	(void)pthread_mutex_lock(&postbox->lock);
	postbox->waiting--;
	postbox->bytes -= len;
	unref_locked(postbox, 1);
}

int postbox_put(struct postbox *postbox, const struct cdpd_publication *from, cdpd_publish_fn done, void *ctx)
{
	bool is_whole = from && done && from->size >= sizeof *from && from->json.ptr && from->json.len;
	if (!is_whole || !is_id(core_str(from->profile_id))) return CDPD_ERR_INVALID;
	if (from->json.len > PUBLICATION_MAX) return CDPD_ERR_TOO_LARGE;
	struct publication *publication = copy(from);
	if (!publication) return CDPD_ERR_NOMEM;
	if (!admit(postbox, publication)) {
		free(publication);
		return CDPD_ERR_BUSY;
	}
	publication->postbox = postbox;
	publication->source = str_of(postbox->source, postbox->source_len);
	publication->done = done;
	publication->ctx = ctx;
	if (postbox->publisher->submit(postbox->publisher, publication)) return CDPD_OK;
	size_t len = publication->json.len;
	(void)pthread_mutex_lock(&postbox->lock);
	leave_the_way(publication);
	(void)pthread_mutex_unlock(&postbox->lock);
	free(publication);
	forget(postbox, len);
	return CDPD_ERR_BUSY;
}

/* ── back ────────────────────────────────────────────────────────────────── */

void publication_answer(struct publication *publication, int error)
{
	struct postbox *postbox = publication->postbox;
	(void)pthread_mutex_lock(&postbox->lock);
	if (postbox->is_closed) {
		free(publication);
		unref_locked(postbox, 1);
		return;
	}
	leave_the_way(publication);
	publication->error = error;
	publication->answered_next = NULL;
	if (postbox->last_answered)
		postbox->last_answered->answered_next = publication;
	else
		postbox->first_answered = publication;
	postbox->last_answered = publication;
	if (postbox->http) http_wake(postbox->http);
	(void)pthread_mutex_unlock(&postbox->lock);
}

bool postbox_has_news(struct postbox *postbox)
{
	(void)pthread_mutex_lock(&postbox->lock);
	bool has_news = postbox->first_answered != NULL;
	(void)pthread_mutex_unlock(&postbox->lock);
	return has_news;
}

static struct publication *take_answered(struct postbox *postbox)
{
	(void)pthread_mutex_lock(&postbox->lock);
	struct publication *publication = postbox->first_answered;
	if (publication) postbox->first_answered = publication->answered_next;
	if (!postbox->first_answered) postbox->last_answered = NULL;
	(void)pthread_mutex_unlock(&postbox->lock);
	return publication;
}

/* It makes room before it is told: `done` may publish again. */
static void tell(struct postbox *postbox, struct publication *publication)
{
	cdpd_publish_fn done = publication->done;
	void *ctx = publication->ctx;
	int error = publication->error;
	size_t len = publication->json.len;
	free(publication);
	forget(postbox, len);
	done(ctx, error);
}

void postbox_tell(struct postbox *postbox)
{
	struct publication *publication;
	while ((publication = take_answered(postbox)) != NULL) tell(postbox, publication);
}

/* ── the end ─────────────────────────────────────────────────────────────── */

struct told {
	cdpd_publish_fn done;
	void *ctx;
};

/* From here on the publications are only the publisher's. */
static size_t let_go(struct postbox *postbox, struct told out[POSTBOX_MAX])
{
	size_t count = 0;
	(void)pthread_mutex_lock(&postbox->lock);
	postbox->is_closed = true;
	postbox->http = NULL;
	for (struct publication *at = postbox->under_way; at; at = at->under_way)
		out[count++] = (struct told){at->done, at->ctx};
	(void)pthread_mutex_unlock(&postbox->lock);
	return count;
}

void postbox_close(struct postbox *postbox)
{
	struct told told[POSTBOX_MAX];
	if (!postbox) return;
	size_t count = let_go(postbox, told);
	postbox_tell(postbox);
	for (size_t i = 0; i < count; i++) told[i].done(told[i].ctx, CDPD_ERR_IO);
	(void)pthread_mutex_lock(&postbox->lock);
	unref_locked(postbox, 1);
}
