/* What an instance publishes, and what it is told of it: the promises of `publish`, with a publisher that answers when the test says so, from any thread. */
#include "plugin_test.h"

#include <pthread.h>

#include "base/clock.h"
#include "plugin/http.h"
#include "plugin/postbox.h"

/* ── a publisher ─────────────────────────────────────────────────────────── */

#define TAKEN_MAX 2000

static struct publication *taken[TAKEN_MAX];
static size_t taken_count;
static int refs;
static bool is_open;

static bool submit(struct publisher *publisher, struct publication *publication)
{
	(void)publisher;
	if (!is_open) return false;
	assert_true(taken_count < TAKEN_MAX);
	taken[taken_count++] = publication;
	return true;
}

static void hold(struct publisher *publisher)
{
	(void)publisher;
	refs++;
}

static void release(struct publisher *publisher)
{
	(void)publisher;
	refs--;
}

static struct publisher publisher = {submit, hold, release};

/* ── an exporter: the test itself ────────────────────────────────────────── */

static const struct cdpd_host *host;
static struct cdpd_instance *instance;
static bool is_destroyed;

static int create(const struct cdpd_host *table, struct cdpd_instance *made, const struct cdpd_conf *conf, void **self)
{
	(void)conf;
	host = table;
	*self = made;
	return CDPD_OK;
}

static void destroy(void *self)
{
	(void)self;
	is_destroyed = true;
}

static enum cdpd_verdict export_batch(void *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt)
{
	(void)self, (void)batch, (void)receipt;
	return CDPD_ACK;
}

static const struct cdpd_plugin table = {.size = sizeof table,
					 .abi_major = CDPD_ABI_MAJOR,
					 .abi_minor = 4,
					 .name = "t",
					 .version = "1",
					 .summary = "t",
					 .caps = CDPD_CAP_EXPORT,
					 .create = create,
					 .destroy = destroy,
					 .export_batch = export_batch};
static const struct plugin plugin = {.table = &table};
static const struct plugin_conf conf = {.sdk = {&table, NULL}};
static struct http_client *http;

static int setup(void **state)
{
	(void)state;
	static const struct http_guard guard;
	const struct http_limits limits = {.guard = &guard};
	if (http_client_new(&limits, &http)) return -1;
	taken_count = 0;
	is_open = true;
	is_destroyed = false;
	const struct instance_services services = {.http = http, .publisher = &publisher};
	return instance_new_with(&plugin, STR("scorer"), &conf, &services, &instance);
}

static void end(void)
{
	if (instance) instance_free(instance);
	instance = NULL;
}

static int teardown(void **state)
{
	(void)state;
	end();
	http_client_cancel(http);
	http_client_free(http);
	return refs; /* of the last postbox */
}

/* ── helpers ─────────────────────────────────────────────────────────────── */

struct told {
	unsigned count;
	int error;
	bool was_destroyed;
};

static void done(void *ctx, int error)
{
	struct told *told = ctx;
	told->count++;
	told->error = error;
	told->was_destroyed = is_destroyed;
}

static int put(const char *json, size_t len, const char *id, struct told *told)
{
	const struct cdpd_publication publication = {
	    .size = sizeof publication, .json = {json, len}, .profile_id = {id, strlen(id)}};
	*told = (struct told){.count = 0};
	return host->publish(instance, &publication, done, told);
}

static int put_text(const char *json, struct told *told)
{
	return put(json, strlen(json), "", told);
}

/* ── the tests ───────────────────────────────────────────────────────────── */

static void test_it_is_told_on_its_own_thread_and_later(void **state)
{
	(void)state;
	struct told told;
	const char *id = "0123456789abcdef0123456789abcdef";
	assert_int_equal(put("{}", 2, id, &told), CDPD_OK);
	assert_int_equal(taken_count, 1);
	assert_true(str_eq(taken[0]->json, STR("{}")) && str_eq(taken[0]->profile_id, str_from(id)));
	assert_true(str_eq(taken[0]->source, STR("scorer")));
	for (size_t i = 0; i < BUF_SLACK; i++) assert_int_equal(taken[0]->json.ptr[2 + i], 0);
	assert_true(instance_next_timer(instance) > clock_mono_us());
	publication_answer(taken[0], CDPD_OK);
	assert_int_equal(told.count, 0);
	assert_true(instance_next_timer(instance) <= clock_mono_us());
	instance_run_timers(instance, clock_mono_us());
	assert_int_equal(told.count, 1);
	assert_int_equal(told.error, CDPD_OK);
	instance_run_timers(instance, clock_mono_us());
	assert_int_equal(told.count, 1);
}

static void *answer_from_elsewhere(void *ctx)
{
	publication_answer(ctx, CDPD_ERR_BUSY);
	return NULL;
}

/* Without the wake-up it would wait for ever. */
static void test_an_answer_wakes_the_thread(void **state)
{
	(void)state;
	struct told told;
	pthread_t thread;
	assert_int_equal(put_text("{}", &told), CDPD_OK);
	assert_int_equal(pthread_create(&thread, NULL, answer_from_elsewhere, taken[0]), 0);
	while (told.count == 0) {
		http_wait(http, instance_next_timer(instance));
		instance_run_timers(instance, clock_mono_us());
	}
	assert_int_equal(told.error, CDPD_ERR_BUSY);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_what_is_malformed_is_refused_at_once(void **state)
{
	(void)state;
	struct told told;
	static char large[PUBLICATION_MAX + 1];
	struct cdpd_publication publication = {.size = 4, .json = {"{}", 2}, .profile_id = {"", 0}};
	memset(large, ' ', sizeof large);
	assert_int_equal(put("", 0, "", &told), CDPD_ERR_INVALID);
	assert_int_equal(put("{}", 2, "0123", &told), CDPD_ERR_INVALID);
	assert_int_equal(put("{}", 2, "0123456789ABCDEF0123456789abcdef", &told), CDPD_ERR_INVALID);
	assert_int_equal(put(large, sizeof large, "", &told), CDPD_ERR_TOO_LARGE);
	assert_int_equal(host->publish(instance, &publication, done, &told), CDPD_ERR_INVALID);
	publication.size = sizeof publication;
	assert_int_equal(host->publish(instance, &publication, NULL, &told), CDPD_ERR_INVALID);
	assert_int_equal(host->publish(instance, NULL, done, &told), CDPD_ERR_INVALID);
	assert_int_equal(taken_count, 0);
	is_open = false;
	assert_int_equal(put_text("{}", &told), CDPD_ERR_BUSY);
	assert_int_equal(told.count, 0);
}

static void test_it_is_bounded(void **state)
{
	(void)state;
	static struct told told[POSTBOX_MAX + 1];
	for (size_t i = 0; i < POSTBOX_MAX; i++) assert_int_equal(put_text("{}", &told[i]), CDPD_OK);
	assert_int_equal(put_text("{}", &told[POSTBOX_MAX]), CDPD_ERR_BUSY);
	publication_answer(taken[5], CDPD_OK);
	assert_int_equal(put_text("{}", &told[POSTBOX_MAX]), CDPD_ERR_BUSY); /* not told yet */
	instance_run_timers(instance, clock_mono_us());
	assert_int_equal(put_text("{}", &told[POSTBOX_MAX]), CDPD_OK);
	assert_int_equal(told[5].count, 1);
	for (size_t i = 0; i < taken_count; i++)
		if (i != 5) publication_answer(taken[i], CDPD_OK);
	end();
	for (size_t i = 0; i <= POSTBOX_MAX; i++) assert_int_equal(told[i].count, 1);
}

static void test_it_is_bounded_in_bytes(void **state)
{
	(void)state;
	static char large[PUBLICATION_MAX];
	struct told told[16];
	size_t count = 0;
	memset(large, ' ', sizeof large);
	while (count < 16 && put(large, sizeof large, "", &told[count]) == CDPD_OK) count++;
	assert_int_equal(count, POSTBOX_BYTES / PUBLICATION_MAX);
	for (size_t i = 0; i < count; i++) publication_answer(taken[i], CDPD_OK);
	end();
}

static void test_the_end_tells_everybody_before_destroy(void **state)
{
	(void)state;
	struct told answered, under_way, late;
	assert_int_equal(put_text("{}", &answered), CDPD_OK);
	assert_int_equal(put_text("{}", &under_way), CDPD_OK);
	assert_int_equal(put_text("{}", &late), CDPD_OK);
	publication_answer(taken[0], CDPD_OK);
	end();
	assert_true(is_destroyed);
	assert_true(answered.count == 1 && answered.error == CDPD_OK && !answered.was_destroyed);
	assert_true(under_way.count == 1 && under_way.error == CDPD_ERR_IO && !under_way.was_destroyed);
	assert_int_equal(refs, 1); /* what is under way still needs it */
	publication_answer(taken[1], CDPD_OK);
	publication_answer(taken[2], CDPD_ERR_BUSY);
	assert_int_equal(refs, 0);
	assert_int_equal(under_way.count, 1);
	assert_int_equal(late.count, 1);
}

static void test_without_a_publisher_nothing_is_published(void **state)
{
	(void)state;
	struct told told;
	end();
	const struct instance_services services = {.http = http};
	assert_int_equal(instance_new_with(&plugin, STR("scorer"), &conf, &services, &instance), OK);
	assert_int_equal(put_text("{}", &told), CDPD_ERR_UNSUPPORTED);
	end();
	assert_int_equal(instance_new(&plugin, STR("scorer"), &conf, true, &instance), OK);
	assert_int_equal(put_text("{}", &told), CDPD_ERR_UNSUPPORTED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_it_is_told_on_its_own_thread_and_later),
	    TEST(test_an_answer_wakes_the_thread),
	    TEST(test_what_is_malformed_is_refused_at_once),
	    TEST(test_it_is_bounded),
	    TEST(test_it_is_bounded_in_bytes),
	    TEST(test_the_end_tells_everybody_before_destroy),
	    TEST(test_without_a_publisher_nothing_is_published),
	};
	return cmocka_run_group_tests_name("postbox", tests, NULL, NULL);
}
