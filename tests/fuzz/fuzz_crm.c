// rooms: base
/* Answers of whatever bytes to the three CRMs' requests: whatever they say, each record gets one verdict, requests end, and no secret is told. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "cdpd_plugin.h"

#define RECORDS  6
#define REQUESTS 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct cdpd_instance {
	cdpd_http_fn done;
	cdpd_timer_fn timer;
	void *done_ctx, *timer_ctx;
	unsigned pairs;
	char keys[64][256], values[64][64];
};
struct cdpd_conf {
	const char *provider;
};
struct cdpd_batch {
	int unused;
};
struct cdpd_receipt {
	unsigned done;
};

static void take_log(struct cdpd_instance *it, enum cdpd_log_level level, const char *fmt, ...)
{
	(void)it, (void)level, (void)fmt;
}
static int counter(struct cdpd_instance *it, const char *name, const char *help)
{
	(void)it, (void)name, (void)help;
	return 0;
}
static void count(struct cdpd_instance *it, int metric, uint64_t n)
{
	(void)it, (void)metric, (void)n;
}

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static struct cdpd_str conf_text(const struct cdpd_conf *conf, const char *name)
{
	if (strcmp(name, "provider") == 0) return str(conf->provider);
	if (strcmp(name, "url") == 0) return str("https://a.example");
	if (strcmp(name, "webhook") == 0) return str("https://a.example/rest/1/s3cretsecret");
	if (strcmp(name, "token") == 0 && conf->provider[0] != 'b') return str("s3cretsecret");
	if (strcmp(name, "origin") == 0 || strcmp(name, "merge_tag") == 0) return str("cdpd");
	if (strcmp(name, "withdrawn_field") == 0 || strcmp(name, "withdrawn_value") == 0) return str("true");
	return str("");
}
static int64_t conf_int(const struct cdpd_conf *conf, const char *name)
{
	(void)conf, (void)name;
	return 1000000;
}
static double conf_float(const struct cdpd_conf *conf, const char *name)
{
	(void)conf, (void)name;
	return 1e6;
}

static size_t batch_count(const struct cdpd_batch *batch)
{
	(void)batch;
	return RECORDS;
}
static int batch_record(const struct cdpd_batch *batch, size_t index, struct cdpd_record *out)
{
	static const char *const jsons[RECORDS] = {
	    "{\"contact\":{\"NAME\":\"a\"},\"key\":{\"email\":\"a@b\",\"phone\":\"+1 234\"}}",
	    "{\"contact\":{\"x\":[1,\"y\"]},\"key\":{\"email\":\"c@d\"},\"lead\":{\"name\":\"n\"},\"lead_key\":7}",
	    "{\"contact\":{}}",
	    "{\"type\":\"withdrawn\",\"profileIds\":[\"p0\",\"p1\"]}",
	    "{\"type\":\"profile\",\"id\":\"p0\",\"gone\":\"merged\",\"mergedInto\":\"p1\"}",
	    "{\"type\":\"erased\",\"profileIds\":[\"p1\",\"p2\"]}",
	};
	static const char *const profiles[RECORDS] = {"p0", "p1", "p2", "p3", "p0", "p1"};
	(void)batch;
	out->json = str(jsons[index]);
	out->profile_id = str(profiles[index]);
	return CDPD_OK;
}
static int receipt_set(struct cdpd_receipt *receipt, size_t index, enum cdpd_verdict verdict, int64_t after_ms,
		       const char *reason)
{
	CHECK(!receipt->done && (index < RECORDS || index == CDPD_ALL) && verdict != CDPD_PENDING && after_ms >= 0);
	CHECK(!reason || (strlen(reason) <= 200 && !strstr(reason, "s3cretsecret")));
	return CDPD_OK;
}
static int receipt_done(struct cdpd_receipt *receipt, enum cdpd_verdict rest)
{
	(void)rest;
	CHECK(receipt->done++ == 0);
	return CDPD_OK;
}
static int timer(struct cdpd_instance *it, int64_t delay_ms, cdpd_timer_fn fn, void *ctx)
{
	CHECK(delay_ms > 0 && !it->timer);
	it->timer = fn;
	it->timer_ctx = ctx;
	return CDPD_OK;
}
static int http(struct cdpd_instance *it, const struct cdpd_http_request *request, cdpd_http_fn done, void *ctx)
{
	CHECK(!it->done && request->url.len < 4096 && memcmp(request->url.ptr, "https://a.example/", 18) == 0);
	it->done = done;
	it->done_ctx = ctx;
	return CDPD_OK;
}

static unsigned find(struct cdpd_instance *it, struct cdpd_str key)
{
	unsigned i = 0;
	while (i < it->pairs && (strlen(it->keys[i]) != key.len || memcmp(it->keys[i], key.ptr, key.len) != 0)) i++;
	return i;
}
static int kv_get(struct cdpd_instance *it, struct cdpd_str key, void *value, size_t size, size_t *len)
{
	unsigned i = find(it, key);
	if (i == it->pairs || !it->values[i][0]) return CDPD_ERR_NOT_FOUND;
	*len = strlen(it->values[i]);
	memcpy(value, it->values[i], *len < size ? *len : size);
	return CDPD_OK;
}
static int kv_put(struct cdpd_instance *it, struct cdpd_str key, struct cdpd_str value, int64_t ttl_ms)
{
	unsigned i = find(it, key);
	(void)ttl_ms;
	CHECK(key.len > 0 && key.len <= 255 && value.len < sizeof it->values[0] && i < 64);
	if (i == it->pairs) it->pairs++;
	memcpy(it->keys[i], key.ptr, key.len);
	memcpy(it->values[i], value.ptr, value.len);
	it->values[i][value.len] = '\0';
	return CDPD_OK;
}

static const struct cdpd_host host = {
    .size = sizeof host,
    .log = take_log,
    .counter = counter,
    .count = count,
    .conf_text = conf_text,
    .conf_int = conf_int,
    .conf_float = conf_float,
    .batch_count = batch_count,
    .batch_record = batch_record,
    .receipt_set = receipt_set,
    .receipt_done = receipt_done,
    .timer = timer,
    .http = http,
    .kv_get = kv_get,
    .kv_put = kv_put,
};

/* An answer: a byte that picks the status, then the body up to a line's end. */
static void answer(struct cdpd_instance *it, const uint8_t **data, size_t *len)
{
	static const int statuses[] = {200, 200, 200, 207, 204, 400, 400, 401, 404, 409, 423, 429, 503, 422, 201, 414};
	cdpd_http_fn done = it->done;
	struct cdpd_http_response response = {
	    .size = sizeof response, .retry_after_ms = -1, .body = {"", 0}, .why = {"", 0}};
	response.error = *len ? CDPD_OK : CDPD_ERR_IO;
	if (*len) response.status = statuses[**data & 15];
	if (*len) ++*data, --*len;
	const uint8_t *end = *len ? memchr(*data, '\n', *len) : NULL;
	size_t size = end ? (size_t)(end - *data) : *len;
	char *body = malloc(size + 1);
	CHECK(body);
	memcpy(body, *data, size);
	if (response.status != 204) response.body = (struct cdpd_str){body, size};
	*data += size + (end != NULL);
	*len -= size + (end != NULL);
	it->done = NULL;
	done(it->done_ctx, &response);
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const providers[] = {"hubspot", "bitrix24", "amocrm"};
	struct cdpd_instance *it = calloc(1, sizeof *it);
	struct cdpd_batch batch = {0};
	struct cdpd_receipt receipt = {0};
	void *self = NULL;
	CHECK(it);
	struct cdpd_conf conf = {providers[len ? data[0] % 3 : 0]};
	if (len) data++, len--;
	CHECK(cdpd_plugin.create(&host, it, &conf, &self) == CDPD_OK);
	CHECK(kv_put(it, str("c/p0"), str("11"), 0) == CDPD_OK);
	CHECK(cdpd_plugin.export_batch(self, &batch, &receipt) == CDPD_PENDING);
	unsigned requests = 0;
	while (!receipt.done) {
		cdpd_timer_fn fn = it->timer;
		CHECK(fn || it->done);
		it->timer = NULL;
		if (fn) {
			fn(it->timer_ctx);
			continue;
		}
		CHECK(++requests < REQUESTS);
		answer(it, &data, &len);
	}
	cdpd_plugin.destroy(self);
	free(it);
	return 0;
}
