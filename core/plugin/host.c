#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/log.h"
#include "plugin/decoding.h"
#include "plugin/handover.h"
#include "plugin/http.h"
#include "plugin/internal.h"
#include "plugin/ticket.h"

static bool is_sound(const struct cdpd_instance *instance)
{
	return instance && instance->magic == INSTANCE_MAGIC;
}

static int sdk_error(int status)
{
	switch (status) {
	case OK: return CDPD_OK;
	case ERR_NOMEM: return CDPD_ERR_NOMEM;
	case ERR_TOO_LARGE: return CDPD_ERR_TOO_LARGE;
	case ERR_NOT_FOUND: return CDPD_ERR_NOT_FOUND;
	case ERR_BUSY: return CDPD_ERR_BUSY;
	case ERR_TIMEOUT: return CDPD_ERR_TIMEOUT;
	case ERR_REFUSED: return CDPD_ERR_DENIED;
	case ERR_IO: return CDPD_ERR_IO;
	default: return CDPD_ERR_INVALID;
	}
}

/* ── log and metrics ─────────────────────────────────────────────────────── */

static void host_log(struct cdpd_instance *instance, enum cdpd_log_level level, const char *fmt, ...)
{
	static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};
	char text[1001];
	va_list args;
	if (!is_sound(instance)) return;
	enum log_level at = level <= CDPD_LOG_DEBUG ? levels[level] : LOG_LEVEL_INFO;
	if (!log_enabled(LOG_PLUGIN, at)) return;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	log_line(LOG_PLUGIN, at, instance->name, "%s", text);
}

static bool ends_with(struct str text, struct str end)
{
	return text.len > end.len && memcmp(text.ptr + text.len - end.len, end.ptr, end.len) == 0;
}

/* The suffix keeps a counter and a histogram of two plugins from ever having the same name. */
static int add_metric(struct cdpd_instance *instance, enum metric_type type, struct str suffix, const char *name,
		      const char *help)
{
	char full[80], labels[INSTANCE_NAME_MAX + 20];
	struct str text = str_from(name);
	if (!is_sound(instance) || !instance->is_creating || !help) return CDPD_ERR_INVALID;
	if (text.len > 40 || !plugin_is_name(text, "_") || !ends_with(text, suffix)) return CDPD_ERR_INVALID;
	if (instance->metric_count == INSTANCE_METRICS_MAX) return CDPD_ERR_BUSY;
	snprintf(full, sizeof full, "cdpd_plugin_%s", name);
	snprintf(labels, sizeof labels, "instance=\"%s\"", instance->name);
	instance->metrics[instance->metric_count] = metric_get(type, full, labels, help);
	instance->metric_types[instance->metric_count] = type;
	return (int)instance->metric_count++;
}

static int host_counter(struct cdpd_instance *instance, const char *name, const char *help)
{
	return add_metric(instance, METRIC_COUNTER, STR("_total"), name, help);
}

static int host_histogram(struct cdpd_instance *instance, const char *name, const char *help)
{
	return add_metric(instance, METRIC_HISTOGRAM, STR("_seconds"), name, help);
}

static struct metric *find_metric(const struct cdpd_instance *instance, int number, enum metric_type type)
{
	if (!is_sound(instance) || number < 0 || (size_t)number >= instance->metric_count) return NULL;
	return instance->metric_types[number] == type ? instance->metrics[number] : NULL;
}

static void host_count(struct cdpd_instance *instance, int number, uint64_t n)
{
	struct metric *metric = find_metric(instance, number, METRIC_COUNTER);
	if (metric) metric_add(metric, n);
}

static void host_observe_us(struct cdpd_instance *instance, int number, int64_t us)
{
	struct metric *metric = find_metric(instance, number, METRIC_HISTOGRAM);
	if (metric) metric_observe_us(metric, us);
}

/* ── options ─────────────────────────────────────────────────────────────── */

#define TYPE(name) (1u << CDPD_OPTION_##name)

static const struct option_value *get(const struct cdpd_conf *conf, const char *name, unsigned types)
{
	static const struct option_value none = {.text = {"", 0}};
	const struct option_value *value = conf_find(conf, name, types);
	if (value) return value;
	log_error(LOG_PLUGIN, "plugin %s asks for an option '%s' that its table does not have with that type",
		  conf->table->name, name ? name : "");
	return &none;
}

static bool host_conf_has(const struct cdpd_conf *conf, const char *name)
{
	return get(conf, name, ~0u)->is_set;
}

static struct cdpd_str host_conf_text(const struct cdpd_conf *conf, const char *name)
{
	return sdk_str(get(conf, name, TYPE(STRING) | TYPE(ENUM) | TYPE(SECRET))->text);
}

static int64_t host_conf_int(const struct cdpd_conf *conf, const char *name)
{
	return get(conf, name, TYPE(INT) | TYPE(DURATION) | TYPE(SIZE))->integer;
}

static double host_conf_float(const struct cdpd_conf *conf, const char *name)
{
	return get(conf, name, TYPE(FLOAT) | TYPE(INT))->number;
}

static bool host_conf_bool(const struct cdpd_conf *conf, const char *name)
{
	return get(conf, name, TYPE(BOOL))->boolean;
}

static size_t host_conf_count(const struct cdpd_conf *conf, const char *name)
{
	return get(conf, name, TYPE(LIST))->item_count;
}

static struct cdpd_str host_conf_item(const struct cdpd_conf *conf, const char *name, size_t index)
{
	const struct option_value *value = get(conf, name, TYPE(LIST));
	return sdk_str(index < value->item_count ? value->items[index] : STR_NONE);
}

/* ── events ──────────────────────────────────────────────────────────────── */

static bool is_provided(const struct cdpd_plugin *table, struct str path)
{
	for (size_t i = 0; i < table->provides.count; i++) {
		if (plugin_path_is_under(path, str_from(table->provides.items[i]))) return true;
	}
	return false;
}

static int host_path(struct cdpd_instance *instance, const char *text)
{
	struct str given = str_from(text);
	if (!is_sound(instance) || !instance->is_creating || !plugin_is_field_path(given)) return CDPD_ERR_INVALID;
	for (size_t i = 0; i < instance->path_count; i++) {
		if (str_eq(instance->paths[i].text, given)) return (int)i;
	}
	if (instance->path_count == PLUGIN_PATHS_MAX) return CDPD_ERR_BUSY;
	struct field_path *path = &instance->paths[instance->path_count];
	if (arena_str(&instance->arena, given, &path->text)) return CDPD_ERR_NOMEM;
	path->head = field_head_of(path->text, &path->rest);
	path->is_provided = path->head == FIELD_ENRICHMENT && is_provided(instance->table, path->text);
	return (int)instance->path_count++;
}

/* The view when `event` is the one at hand; *path when the number is one of the instance's. */
static struct enrich_view *view_of(struct cdpd_instance *instance, const struct cdpd_event *event, int number,
				   const struct field_path **path)
{
	if (!is_sound(instance) || !event) return NULL;
	if (path && (number < 0 || (size_t)number >= instance->path_count)) return NULL;
	if (path) *path = &instance->paths[number];
	if (!instance->view) return ticket_view(instance, event);
	return instance->view->event == event ? instance->view : NULL;
}

static int host_event_get(struct cdpd_instance *instance, const struct cdpd_event *event, int number,
			  struct cdpd_value *out)
{
	const struct field_path *path;
	*out = (struct cdpd_value){.kind = CDPD_VALUE_NONE, .text = {"", 0}};
	struct enrich_view *view = view_of(instance, event, number, &path);
	return view ? sdk_error(enrich_view_get(view, path, out)) : CDPD_ERR_INVALID;
}

static int host_event_info(struct cdpd_instance *instance, const struct cdpd_event *event, struct cdpd_event_info *out)
{
	const struct enrich_view *view = view_of(instance, event, 0, NULL);
	if (!view || out->size < sizeof *out) return CDPD_ERR_INVALID;
	event = view->event; /* a ticket's is only a name */
	*out = (struct cdpd_event_info){
	    .size = sizeof *out,
	    .utc_offset_min = event->utc_offset_min,
	    .time_us = event->event_time_us,
	    .received_us = event->received_at_us,
	};
	return CDPD_OK;
}

static int set(struct cdpd_instance *instance, const struct cdpd_event *event, int number, struct enrich_value value)
{
	const struct field_path *path;
	struct enrich_view *view = view_of(instance, event, number, &path);
	if (!view) return CDPD_ERR_INVALID;
	if (!path->is_provided) return CDPD_ERR_DENIED;
	value.index = (uint32_t)number;
	return sdk_error(enrich_view_set(view, path, value));
}

static int host_event_set_text(struct cdpd_instance *instance, struct cdpd_event *event, int number,
			       struct cdpd_str text)
{
	return set(instance, event, number, (struct enrich_value){.kind = CDPD_VALUE_STRING, .text = core_str(text)});
}

static int host_event_set_number(struct cdpd_instance *instance, struct cdpd_event *event, int number, double value)
{
	if (!isfinite(value)) return CDPD_ERR_INVALID;
	return set(instance, event, number,
		   (struct enrich_value){.kind = CDPD_VALUE_NUMBER, .number = value, .text = STR_NONE});
}

static int host_event_set_bool(struct cdpd_instance *instance, struct cdpd_event *event, int number, bool value)
{
	return set(instance, event, number,
		   (struct enrich_value){.kind = CDPD_VALUE_BOOL, .number = value, .text = STR_NONE});
}

static int host_event_set_json(struct cdpd_instance *instance, struct cdpd_event *event, int number,
			       struct cdpd_str json)
{
	return set(instance, event, number, (struct enrich_value){.kind = CDPD_VALUE_JSON, .text = core_str(json)});
}

static int host_event_drop(struct cdpd_instance *instance, struct cdpd_event *event, const char *reason)
{
	struct enrich_view *view = view_of(instance, event, 0, NULL);
	if (!view || !instance->view) return CDPD_ERR_INVALID;
	struct str text = str_from(reason);
	if (text.len > ENRICH_DROP_REASON_MAX) text.len = ENRICH_DROP_REASON_MAX;
	view->is_dropped = true;
	if (arena_str(view->arena, text, &view->drop_reason)) view->drop_reason = STR_NONE;
	return CDPD_ENRICH_DROP;
}

static bool may_rename(const struct cdpd_instance *instance)
{
	return is_provided(instance->table, STR("enrichment.renamed_from"));
}

static int host_event_rename(struct cdpd_instance *instance, struct cdpd_event *event, struct cdpd_str text)
{
	struct enrich_view *view = view_of(instance, event, 0, NULL);
	struct str name = core_str(text);
	if (!view) return CDPD_ERR_INVALID;
	if (!instance->view) return CDPD_ERR_UNSUPPORTED;
	if (view->event->type != EVENT_TRACK || name.len == 0) return CDPD_ERR_INVALID;
	if (name.len > EVENT_NAME_MAX) return CDPD_ERR_TOO_LARGE;
	if (memchr(name.ptr, 0, name.len) || !utf8_is_valid(name)) return CDPD_ERR_INVALID;
	if (!may_rename(instance) || view->event->flags & EVENT_DECLARED) return CDPD_ERR_DENIED;
	return sdk_error(enrich_view_rename(view, name));
}

/* ── timers ──────────────────────────────────────────────────────────────── */

static int host_timer(struct cdpd_instance *instance, int64_t delay_ms, cdpd_timer_fn fn, void *ctx)
{
	if (!is_sound(instance) || !fn || delay_ms < 0) return CDPD_ERR_INVALID;
	if (!instance->can_time) return CDPD_ERR_UNSUPPORTED;
	if (instance->timer_count == INSTANCE_TIMERS_MAX) return CDPD_ERR_BUSY;
	int64_t delay_us = delay_ms > INT64_MAX / 4 / US_PER_MS ? INT64_MAX / 4 : delay_ms * US_PER_MS;
	instance->timers[instance->timer_count++] = (struct instance_timer){clock_mono_us() + delay_us, fn, ctx};
	return CDPD_OK;
}

/* ── HTTP ────────────────────────────────────────────────────────────────── */

static int host_http(struct cdpd_instance *instance, const struct cdpd_http_request *request, cdpd_http_fn done,
		     void *ctx)
{
	if (!is_sound(instance) || !request) return CDPD_ERR_INVALID;
	if (!instance->services.http) return CDPD_ERR_UNSUPPORTED;
	return http_request(instance->services.http, request, done, ctx);
}

/* ── what is kept ────────────────────────────────────────────────────────── */

static int host_cache_get(struct cdpd_instance *instance, const struct cdpd_cache_request *request, cdpd_cache_fn done,
			  void *ctx)
{
	if (!is_sound(instance) || !request) return CDPD_ERR_INVALID;
	return instance->cache ? cache_flight_get(instance->cache, request, done, ctx) : CDPD_ERR_UNSUPPORTED;
}

static int host_kv_get(struct cdpd_instance *instance, struct cdpd_str key, void *value, size_t size, size_t *len)
{
	size_t ignored;
	if (!is_sound(instance) || (size && !value)) return CDPD_ERR_INVALID;
	if (!instance->services.spaces) return CDPD_ERR_UNSUPPORTED;
	return sdk_error(kv_get(instance->services.spaces, space_of(str_from(instance->name)), core_str(key), value,
				size, len ? len : &ignored));
}

static int host_kv_put(struct cdpd_instance *instance, struct cdpd_str key, struct cdpd_str value, int64_t ttl_ms)
{
	if (!is_sound(instance)) return CDPD_ERR_INVALID;
	if (!instance->services.spaces) return CDPD_ERR_UNSUPPORTED;
	int rc = kv_put(instance->services.spaces, space_of(str_from(instance->name)), core_str(key), core_str(value),
			ttl_ms);
	return rc == ERR_FULL || rc == ERR_PANIC ? CDPD_ERR_IO : sdk_error(rc);
}

static int host_publish(struct cdpd_instance *instance, const struct cdpd_publication *publication,
			cdpd_publish_fn done, void *ctx)
{
	if (!is_sound(instance)) return CDPD_ERR_INVALID;
	return instance->postbox ? postbox_put(instance->postbox, publication, done, ctx) : CDPD_ERR_UNSUPPORTED;
}

static const struct cdpd_host host = {
    .size = sizeof host,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = CDPD_ABI_MINOR,
    .log = host_log,
    .counter = host_counter,
    .histogram = host_histogram,
    .count = host_count,
    .observe_us = host_observe_us,
    .conf_has = host_conf_has,
    .conf_text = host_conf_text,
    .conf_int = host_conf_int,
    .conf_float = host_conf_float,
    .conf_bool = host_conf_bool,
    .conf_count = host_conf_count,
    .conf_item = host_conf_item,
    .path = host_path,
    .event_get = host_event_get,
    .event_info = host_event_info,
    .event_set_text = host_event_set_text,
    .event_set_number = host_event_set_number,
    .event_set_bool = host_event_set_bool,
    .event_set_json = host_event_set_json,
    .event_drop = host_event_drop,
    .batch_count = handover_sdk_count,
    .batch_record = handover_sdk_record,
    .receipt_set = handover_sdk_set,
    .receipt_done = handover_sdk_done,
    .timer = host_timer,
    .ticket_event = ticket_sdk_event,
    .ticket_done = ticket_sdk_done,
    .request_info = decoding_sdk_info,
    .request_header = decoding_sdk_header,
    .request_param = decoding_sdk_param,
    .out_event = decoding_sdk_event,
    .out_reject = decoding_sdk_reject,
    .reply_status = decoding_sdk_status,
    .reply_header = decoding_sdk_reply_header,
    .reply_body = decoding_sdk_reply_body,
    .http = host_http,
    .cache_get = host_cache_get,
    .cache_fill = cache_sdk_fill,
    .kv_get = host_kv_get,
    .kv_put = host_kv_put,
    .event_rename = host_event_rename,
    .publish = host_publish,
};

const struct cdpd_host *plugin_host(void)
{
	return &host;
}
