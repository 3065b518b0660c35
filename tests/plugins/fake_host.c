#include "fake_host.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER; /* plugins may log from threads of their own */

static void fake_log(struct cdpd_instance *fake, enum cdpd_log_level level, const char *fmt, ...)
{
	va_list args;
	(void)level;
	pthread_mutex_lock(&log_lock);
	va_start(args, fmt);
	vsnprintf(fake->log, sizeof fake->log, fmt, args);
	va_end(args);
	fake->log_count++;
	pthread_mutex_unlock(&log_lock);
}

bool fake_has_logged(struct cdpd_instance *fake, const char *part)
{
	pthread_mutex_lock(&log_lock);
	bool has = strstr(fake->log, part) != NULL;
	pthread_mutex_unlock(&log_lock);
	return has;
}

static int fake_counter(struct cdpd_instance *fake, const char *name, const char *help)
{
	assert_non_null(name);
	assert_non_null(help);
	assert_true(fake->counter_count < FAKE_MAX);
	snprintf(fake->counters[fake->counter_count], sizeof fake->counters[0], "%s", name);
	return fake->counter_count++;
}

static void fake_count(struct cdpd_instance *fake, int metric, uint64_t n)
{
	assert_true(metric >= 0 && metric < fake->counter_count);
	__atomic_fetch_add(&fake->counted[metric], n,
			   __ATOMIC_RELAXED); /* plugins may count from threads of their own */
}

static void fake_observe(struct cdpd_instance *fake, int metric, int64_t us)
{
	(void)us;
	fake_count(fake, metric, 1);
}

/* ── options ─────────────────────────────────────────────────────────────── */

static const char *option_text(const struct cdpd_conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->count; i++) {
		if (strcmp(conf->options[i].name, name) == 0) return conf->options[i].text;
	}
	for (size_t i = 0; i < conf->table->count; i++) {
		const struct cdpd_option *option = &conf->table->items[i];
		if (strcmp(option->name, name) == 0) return option->default_text ? option->default_text : "";
	}
	fail_msg("the plugin asks for an option that is not in its table: %s", name);
	return "";
}

static bool fake_conf_has(const struct cdpd_conf *conf, const char *name)
{
	return option_text(conf, name)[0] != '\0';
}

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static struct cdpd_str fake_conf_text(const struct cdpd_conf *conf, const char *name)
{
	return str(option_text(conf, name));
}

static int64_t fake_conf_int(const struct cdpd_conf *conf, const char *name)
{
	char *end;
	int64_t value = strtoll(option_text(conf, name), &end, 10);
	if (strcmp(end, "KB") == 0) return value * 1000;
	if (strcmp(end, "MB") == 0) return value * 1000000;
	if (strcmp(end, "MiB") == 0) return value << 20;
	if (strcmp(end, "ms") == 0) return value * 1000;
	if (strcmp(end, "s") == 0) return value * 1000000;
	if (strcmp(end, "m") == 0) return value * 60000000;
	if (strcmp(end, "h") == 0) return value * 3600000000;
	if (strcmp(end, "d") == 0) return value * 86400000000;
	assert_string_equal(end, "");
	return value;
}

static double fake_conf_float(const struct cdpd_conf *conf, const char *name)
{
	return strtod(option_text(conf, name), NULL);
}

static bool fake_conf_bool(const struct cdpd_conf *conf, const char *name)
{
	return strcmp(option_text(conf, name), "true") == 0;
}

static size_t fake_conf_count(const struct cdpd_conf *conf, const char *name)
{
	const char *text = option_text(conf, name);
	size_t count = text[0] != '\0';
	for (; *text; text++) count += *text == ',';
	return count;
}

static struct cdpd_str fake_conf_item(const struct cdpd_conf *conf, const char *name, size_t index)
{
	const char *text = option_text(conf, name);
	for (; index > 0 && *text; text++) index -= *text == ',';
	text += strspn(text, " ");
	return (struct cdpd_str){text, strcspn(text, ",")};
}

/* ── events ──────────────────────────────────────────────────────────────── */

static int fake_path(struct cdpd_instance *fake, const char *text)
{
	assert_true(fake->path_count < FAKE_MAX && strlen(text) < sizeof fake->paths[0]);
	if (strstr(text, "..")) return CDPD_ERR_INVALID;
	snprintf(fake->paths[fake->path_count], sizeof fake->paths[0], "%s", text);
	return (int)fake->path_count++;
}

static const char *path_text(const struct cdpd_instance *fake, int path)
{
	assert_true(path >= 0 && (size_t)path < fake->path_count);
	return fake->paths[path];
}

static int fake_event_get(struct cdpd_instance *fake, const struct cdpd_event *event, int path, struct cdpd_value *out)
{
	*out = (struct cdpd_value){.kind = CDPD_VALUE_NONE, .text = {"", 0}};
	if (path < 0 || (size_t)path >= fake->path_count) return CDPD_ERR_INVALID;
	for (size_t i = 0; i < event->field_count; i++) {
		if (strcmp(event->fields[i].path, path_text(fake, path)) == 0) *out = event->fields[i].value;
	}
	return CDPD_OK;
}

static int fake_event_info(struct cdpd_instance *fake, const struct cdpd_event *event, struct cdpd_event_info *out)
{
	(void)fake;
	*out = (struct cdpd_event_info){
	    .size = sizeof *out,
	    .utc_offset_min = event->has_offset ? event->utc_offset_min : 32767,
	    .time_us = event->time_us,
	    .received_us = event->received_us,
	};
	return CDPD_OK;
}

static int fake_set_text(struct cdpd_instance *fake, struct cdpd_event *event, int path, struct cdpd_str text)
{
	(void)event;
	const char *name = path_text(fake, path);
	bool is_provided = false;
	for (size_t i = 0; i < fake->plugin->provides.count; i++) {
		size_t len = strlen(fake->plugin->provides.items[i]);
		is_provided |=
		    strncmp(name, fake->plugin->provides.items[i], len) == 0 && (name[len] == '.' || !name[len]);
	}
	if (!is_provided) return CDPD_ERR_DENIED;
	struct fake_set *set = &fake->sets[fake->set_count++];
	assert_true(fake->set_count < FAKE_MAX && text.len < sizeof set->text);
	memcpy(set->path, name, strlen(name) + 1); /* both hold 256 bytes */
	memcpy(set->text, text.ptr, text.len);
	set->text[text.len] = 0;
	set->len = text.len;
	return CDPD_OK;
}

static int fake_set_number(struct cdpd_instance *fake, struct cdpd_event *event, int path, double number)
{
	char text[40];
	snprintf(text, sizeof text, "%.17g", number);
	return fake_set_text(fake, event, path, str(text));
}

static int fake_set_bool(struct cdpd_instance *fake, struct cdpd_event *event, int path, bool value)
{
	return fake_set_text(fake, event, path, str(value ? "true" : "false"));
}

static int fake_drop(struct cdpd_instance *fake, struct cdpd_event *event, const char *reason)
{
	(void)event;
	snprintf(fake->log, sizeof fake->log, "%s", reason);
	return CDPD_ENRICH_DROP;
}

static int fake_rename(struct cdpd_instance *fake, struct cdpd_event *event, struct cdpd_str name)
{
	(void)event;
	if (name.len == 0 || name.len > 200) return name.len ? CDPD_ERR_TOO_LARGE : CDPD_ERR_INVALID;
	(void)snprintf(fake->renamed, sizeof fake->renamed, "%.*s", (int)name.len, name.ptr);
	return CDPD_OK;
}

/* ── export ──────────────────────────────────────────────────────────────── */

static size_t fake_batch_count(const struct cdpd_batch *batch)
{
	return batch->count;
}

static int fake_batch_record(const struct cdpd_batch *batch, size_t index, struct cdpd_record *out)
{
	assert_int_equal(out->size, sizeof *out);
	if (index >= batch->count) return CDPD_ERR_NOT_FOUND;
	*out = batch->records[index];
	out->size = sizeof *out;
	return CDPD_OK;
}

static int fake_receipt_set(struct cdpd_receipt *receipt, size_t index, enum cdpd_verdict verdict,
			    int64_t retry_after_ms, const char *reason)
{
	assert_true(index == CDPD_ALL || index < FAKE_RECORDS_MAX);
	struct fake_verdict *at = index == CDPD_ALL ? &receipt->all : &receipt->named[index];
	*at = (struct fake_verdict){.verdict = verdict, .is_set = true, .retry_after_ms = retry_after_ms};
	snprintf(at->reason, sizeof at->reason, "%s", reason ? reason : "");
	return CDPD_OK;
}

static int fake_receipt_done(struct cdpd_receipt *receipt, enum cdpd_verdict rest)
{
	receipt->done_count++;
	if (receipt->all.is_set && receipt->all.verdict == rest) return CDPD_OK; /* what was said of it holds */
	return fake_receipt_set(receipt, CDPD_ALL, rest, 0, NULL);
}

static int fake_timer(struct cdpd_instance *fake, int64_t delay_ms, cdpd_timer_fn fn, void *ctx)
{
	fake->timer = fn;
	fake->timer_ctx = ctx;
	fake->timer_ms = delay_ms;
	return CDPD_OK;
}

/* ── sources ─────────────────────────────────────────────────────────────── */

static int fake_request_info(const struct cdpd_request *request, struct cdpd_request_info *out)
{
	assert_int_equal(out->size, sizeof *out);
	*out = (struct cdpd_request_info){
	    .size = sizeof *out,
	    .method = str(request->method ? request->method : "POST"),
	    .path = str("/v1/hooks/test"),
	    .query = str(""),
	    .body = str(request->body ? request->body : ""),
	    .client_ip = str(request->ip ? request->ip : "192.0.2.1"),
	    .received_us = request->received_us,
	};
	if (request->body_len) out->body.len = request->body_len;
	return CDPD_OK;
}

static struct cdpd_str find_pair(const struct fake_pair pairs[8], const char *name)
{
	for (size_t i = 0; i < 8 && pairs[i].name; i++)
		if (strcasecmp(pairs[i].name, name) == 0) return str(pairs[i].value);
	return str("");
}

static struct cdpd_str fake_request_header(const struct cdpd_request *request, const char *name)
{
	return find_pair(request->headers, name);
}

static struct cdpd_str fake_request_param(const struct cdpd_request *request, const char *name)
{
	return find_pair(request->params, name);
}

static int put_item(struct cdpd_batch_out *out, bool is_reject, const char *reason, struct cdpd_str text)
{
	if (out->count == (out->max ? out->max : FAKE_MAX)) return CDPD_ERR_TOO_LARGE;
	struct fake_item *item = &out->items[out->count++];
	item->is_reject = is_reject;
	snprintf(item->reason, sizeof item->reason, "%s", reason);
	snprintf(item->text, sizeof item->text, "%.*s", (int)text.len, text.ptr);
	return CDPD_OK;
}

static int fake_out_event(struct cdpd_batch_out *out, struct cdpd_str json)
{
	return put_item(out, false, "", json);
}

static int fake_out_reject(struct cdpd_batch_out *out, const char *reason, struct cdpd_str excerpt)
{
	return put_item(out, true, reason, excerpt);
}

static int fake_reply_status(struct cdpd_reply *reply, int status)
{
	reply->status = status;
	return CDPD_OK;
}

static int fake_reply_header(struct cdpd_reply *reply, const char *name, struct cdpd_str value)
{
	if (strcasecmp(name, "Content-Type") == 0)
		snprintf(reply->type, sizeof reply->type, "%.*s", (int)value.len, value.ptr);
	return CDPD_OK;
}

static int fake_reply_body(struct cdpd_reply *reply, struct cdpd_str body)
{
	snprintf(reply->body, sizeof reply->body, "%.*s", (int)body.len, body.ptr);
	return CDPD_OK;
}

int fake_decode(struct cdpd_instance *fake, const struct cdpd_request *request, struct cdpd_batch_out *out,
		struct cdpd_reply *reply)
{
	out->count = 0;
	*reply = (struct cdpd_reply){.status = 200};
	return fake->plugin->decode(fake->self, request, out, reply);
}

const struct cdpd_host fake_host_table = {
    .size = sizeof fake_host_table,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = CDPD_ABI_MINOR,
    .log = fake_log,
    .counter = fake_counter,
    .histogram = fake_counter,
    .count = fake_count,
    .observe_us = fake_observe,
    .conf_has = fake_conf_has,
    .conf_text = fake_conf_text,
    .conf_int = fake_conf_int,
    .conf_float = fake_conf_float,
    .conf_bool = fake_conf_bool,
    .conf_count = fake_conf_count,
    .conf_item = fake_conf_item,
    .path = fake_path,
    .event_get = fake_event_get,
    .event_info = fake_event_info,
    .event_set_text = fake_set_text,
    .event_set_number = fake_set_number,
    .event_set_bool = fake_set_bool,
    .event_set_json = fake_set_text,
    .event_drop = fake_drop,
    .event_rename = fake_rename,
    .batch_count = fake_batch_count,
    .batch_record = fake_batch_record,
    .receipt_set = fake_receipt_set,
    .receipt_done = fake_receipt_done,
    .timer = fake_timer,
    .request_info = fake_request_info,
    .request_header = fake_request_header,
    .request_param = fake_request_param,
    .out_event = fake_out_event,
    .out_reject = fake_out_reject,
    .reply_status = fake_reply_status,
    .reply_header = fake_reply_header,
    .reply_body = fake_reply_body,
};

const struct cdpd_host *fake_host = &fake_host_table;

/* ── for the test ────────────────────────────────────────────────────────── */

void fake_open(struct cdpd_instance *fake, const char *name)
{
	char path[1024];
	memset(fake, 0, sizeof *fake);
	snprintf(path, sizeof path, "%s/%s.so", PLUGINS, name);
	fake->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!fake->library) fail_msg("%s", dlerror());
	fake->plugin = dlsym(fake->library, "cdpd_plugin");
	assert_non_null(fake->plugin);
	assert_int_equal(fake->plugin->abi_major, CDPD_ABI_MAJOR);
	assert_string_equal(fake->plugin->name, name);
}

int fake_create(struct cdpd_instance *fake, const struct fake_option *options, size_t count)
{
	struct cdpd_conf conf = {options, count, &fake->plugin->options};
	fake->self = NULL;
	fake->path_count = 0;
	fake->counter_count = 0;
	fake->timer = NULL;
	return fake->plugin->create(fake_host, fake, &conf, &fake->self);
}

void fake_destroy(struct cdpd_instance *fake)
{
	fake->plugin->destroy(fake->self);
	fake->self = NULL;
}

void fake_close(struct cdpd_instance *fake)
{
	dlclose(fake->library);
}

void fake_bytes(struct cdpd_event *event, const char *path, const void *ptr, size_t len)
{
	assert_true(event->field_count < FAKE_MAX);
	event->fields[event->field_count++] =
	    (struct fake_field){path, {.kind = CDPD_VALUE_STRING, .text = {ptr, len}}};
}

static void add_field(struct cdpd_event *event, const char *path, struct cdpd_value value)
{
	assert_true(event->field_count < FAKE_MAX);
	event->fields[event->field_count++] = (struct fake_field){path, value};
}

void fake_number(struct cdpd_event *event, const char *path, const char *text)
{
	add_field(event, path, (struct cdpd_value){CDPD_VALUE_NUMBER, strtod(text, NULL), str(text)});
}

void fake_json(struct cdpd_event *event, const char *path, const char *text)
{
	add_field(event, path, (struct cdpd_value){CDPD_VALUE_JSON, 0, str(text)});
}

uint64_t fake_counted(struct cdpd_instance *fake, const char *name)
{
	for (int i = 0; i < fake->counter_count; i++) {
		if (strcmp(fake->counters[i], name) == 0) return __atomic_load_n(&fake->counted[i], __ATOMIC_RELAXED);
	}
	fail_msg("no counter %s", name);
	return 0;
}

void fake_expect(const struct cdpd_instance *fake, const char *path, const char *text)
{
	const struct fake_set *set = fake_get(fake, path);
	if (!text) {
		if (set) fail_msg("%s was set to %.*s", path, (int)set->len, set->text);
		return;
	}
	if (!set) fail_msg("%s was not set", path);
	if (set->len != strlen(text) || memcmp(set->text, text, set->len) != 0)
		fail_msg("%s is %.*s, not %s", path, (int)set->len, set->text, text);
}

void fake_text(struct cdpd_event *event, const char *path, const char *text)
{
	fake_bytes(event, path, text, strlen(text));
}

const struct fake_set *fake_get(const struct cdpd_instance *fake, const char *path)
{
	for (size_t i = fake->set_count; i-- > 0;) {
		if (strcmp(fake->sets[i].path, path) == 0) return &fake->sets[i];
	}
	return NULL;
}

int fake_enrich(struct cdpd_instance *fake, struct cdpd_event *event)
{
	fake->set_count = 0;
	return fake->plugin->enrich(fake->self, event);
}

enum cdpd_verdict fake_export(struct cdpd_instance *fake, const struct cdpd_record *records, size_t count)
{
	struct cdpd_batch batch = {records, count};
	assert_true(count <= FAKE_RECORDS_MAX);
	memset(fake->receipt.named, 0, count * sizeof fake->receipt.named[0]);
	fake->receipt.all = (struct fake_verdict){0};
	fake->receipt.done_count = 0;
	return fake->plugin->export_batch(fake->self, &batch, &fake->receipt);
}
