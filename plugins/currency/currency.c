/* currency: a sync enricher that tells amounts in one base currency, by the rates of the event's day. See README.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../shared/watched_option.h"
#include "cdpd_plugin.h"
#include "items.h"
#include "rates.h"

#define FIELDS_MAX 16
#define KEYS_MAX   4
#define KEY_LEN    63
#define ITEMS_MAX  100  /* of a list; a longer one is left out: this runs before every event is written */
#define LIST_BYTES 4096 /* the host's own bound of a value */
#define DAY_US     INT64_C(86400000000)

struct field {
	int in, out;
};

/* properties.products[].price and others of the same list: one array of objects, of which each stands where its item does. */
struct list {
	char path[200];
	int in, out;
	char keys[KEYS_MAX][KEY_LEN + 1];
	size_t key_count;
};

struct currency {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	struct watched_reader *reader;
	struct field fields[FIELDS_MAX];
	size_t field_count;
	struct list lists[FIELDS_MAX];
	size_t list_count;
	int base, file_base, fallback; /* currencies; fallback -1: none */
	char base_text[CURRENCY_LEN + 1];
	int32_t max_age_days;
	unsigned places;
	int code, out_base, out_from, out_date;
	int converted, unknown, stale, unreadable;
	struct watched_option file; /* of rates */
};

static const struct decimal one = {1000000000000};

/* ── one event ───────────────────────────────────────────────────────────── */

static void count(const struct currency *self, int counter)
{
	self->host->count(self->instance, counter, 1);
}

/* What one unit of the file's own currency buys; NULL: not known, and counted. */
static const struct decimal *rate_of(struct currency *self, const struct rates *rates, int currency, int32_t day,
				     int32_t *oldest)
{
	const struct rate *rate;
	if (currency == self->file_base) return &one;
	switch (rates_find(rates, currency, day, &rate)) {
	case RATE_FOUND: break;
	case RATE_UNKNOWN: count(self, self->unknown); return NULL;
	case RATE_NONE_YET: count(self, self->stale); return NULL;
	}
	if (day - rate->day > self->max_age_days) {
		count(self, self->stale);
		return NULL;
	}
	if (rate->day < *oldest) *oldest = rate->day;
	return &rate->units;
}

static bool read_amount(const struct cdpd_value *value, struct decimal *out)
{
	if (value->kind != CDPD_VALUE_NUMBER && value->kind != CDPD_VALUE_STRING) return false;
	return decimal_read(value->text.ptr, value->text.len, out);
}

static int convert(struct currency *self, struct cdpd_event *event, const struct field *field, const struct decimal *by,
		   const struct decimal *per, bool *is_any)
{
	struct cdpd_value value;
	struct decimal amount, result;
	char text[48];
	int rc = self->host->event_get(self->instance, event, field->in, &value);
	if (rc != CDPD_OK || value.kind == CDPD_VALUE_NONE) return rc;
	if (!read_amount(&value, &amount) || !decimal_scale(&amount, by, per, self->places, &result)) {
		count(self, self->unreadable);
		return CDPD_OK;
	}
	decimal_write(&result, text);
	*is_any = true;
	count(self, self->converted);
	return self->host->event_set_number(self->instance, event, field->out, strtod(text, NULL));
}

/* ── lists ───────────────────────────────────────────────────────────────── */

struct output {
	char text[LIST_BYTES];
	size_t len;
	bool is_full, has_any;
};

static void put(struct output *out, const char *text, size_t len)
{
	if (out->is_full || len > sizeof out->text - out->len) {
		out->is_full = true;
		return;
	}
	memcpy(out->text + out->len, text, len);
	out->len += len;
}

static void put_amount(struct output *out, const char *key, const struct decimal *amount, bool is_first)
{
	char digits[48];
	size_t len = decimal_write(amount, digits);
	put(out, is_first ? "\"" : ",\"", is_first ? 1 : 2);
	put(out, key, strlen(key));
	put(out, "\":", 2);
	put(out, digits, len);
	out->has_any = true;
}

static void convert_item(struct currency *self, const struct list *list, const char *item, size_t len,
			 const struct decimal *by, const struct decimal *per, struct output *out)
{
	bool is_first = true;
	put(out, "{", 1);
	for (size_t i = 0; i < list->key_count; i++) {
		const char *text;
		size_t text_len;
		struct decimal amount, result;
		if (!item_get(item, len, list->keys[i], &text, &text_len)) continue;
		if (!decimal_read(text, text_len, &amount) || !decimal_scale(&amount, by, per, self->places, &result)) {
			count(self, self->unreadable);
			continue;
		}
		put_amount(out, list->keys[i], &result, is_first);
		is_first = false;
		count(self, self->converted);
	}
	put(out, "}", 1);
}

static int convert_list(struct currency *self, struct cdpd_event *event, const struct list *list,
			const struct decimal *by, const struct decimal *per, bool *is_any)
{
	struct cdpd_value value;
	struct output out = {.len = 0};
	struct items items;
	const char *item;
	size_t len, number = 0;
	int rc = self->host->event_get(self->instance, event, list->in, &value);
	if (rc != CDPD_OK || value.kind != CDPD_VALUE_JSON || !items_begin(&items, value.text.ptr, value.text.len))
		return rc;
	put(&out, "[", 1);
	while (!out.is_full && items_next(&items, &item, &len)) {
		if (number > 0) put(&out, ",", 1);
		out.is_full |= number++ == ITEMS_MAX;
		if (!out.is_full) convert_item(self, list, item, len, by, per, &out);
	}
	put(&out, "]", 1);
	if (out.is_full) count(self, self->unreadable);
	if (out.is_full || !out.has_any) return CDPD_OK;
	*is_any = true;
	return self->host->event_set_json(self->instance, event, list->out, (struct cdpd_str){out.text, out.len});
}

static bool has_amount(struct currency *self, const struct cdpd_event *event)
{
	struct cdpd_value value;
	for (size_t i = 0; i < self->list_count; i++) {
		int rc = self->host->event_get(self->instance, event, self->lists[i].in, &value);
		if (rc == CDPD_OK && value.kind == CDPD_VALUE_JSON) return true;
	}
	for (size_t i = 0; i < self->field_count; i++) {
		int rc = self->host->event_get(self->instance, event, self->fields[i].in, &value);
		if (rc == CDPD_OK && value.kind != CDPD_VALUE_NONE) return true;
	}
	return false;
}

static int currency_at(struct currency *self, const struct cdpd_event *event)
{
	struct cdpd_value value;
	int rc = self->host->event_get(self->instance, event, self->code, &value);
	if (rc != CDPD_OK || value.kind != CDPD_VALUE_STRING || value.text.len == 0) return self->fallback;
	return currency_of(value.text.ptr, value.text.len);
}

static int set_text(struct currency *self, struct cdpd_event *event, int path, const char *text)
{
	return self->host->event_set_text(self->instance, event, path, (struct cdpd_str){text, strlen(text)});
}

/* The calendar's inverse of a day's number. */
static void write_day(int32_t day, char out[16])
{
	int32_t z = day + 719468, era = z / 146097, of_era = z - era * 146097;
	int32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int32_t of_year = of_era - (365 * year + year / 4 - year / 100), m = (5 * of_year + 2) / 153;
	int32_t month = m + (m < 10 ? 3 : -9);
	snprintf(out, 16, "%04d-%02d-%02d", (int)(year + era * 400 + (month <= 2)) % 10000, (int)month % 100,
		 (int)(of_year - (153 * m + 2) / 5 + 1) % 100);
}

static int describe(struct currency *self, struct cdpd_event *event, int from, int32_t oldest, bool has_date)
{
	char code[CURRENCY_LEN + 1] = {(char)('A' + from / 676), (char)('A' + from / 26 % 26), (char)('A' + from % 26),
				       '\0'};
	char date[16];
	int rc = set_text(self, event, self->out_base, self->base_text);
	if (rc == CDPD_OK) rc = set_text(self, event, self->out_from, code);
	if (rc != CDPD_OK || !has_date) return rc;
	write_day(oldest, date);
	return set_text(self, event, self->out_date, date);
}

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct currency *self = ctx;
	struct cdpd_event_info info = {.size = sizeof info};
	int is_new;
	const struct rates *rates = watched_get(self->reader, &is_new);
	if (!has_amount(self, event)) return CDPD_OK;
	int from = currency_at(self, event), rc = self->host->event_info(self->instance, event, &info);
	if (rc != CDPD_OK) return rc;
	if (from < 0) {
		count(self, self->unknown);
		return CDPD_OK;
	}
	int32_t day = (int32_t)(info.time_us / DAY_US), oldest = INT32_MAX;
	const struct decimal *by = &one, *per = &one;
	if (from != self->base) {
		per = rate_of(self, rates, from, day, &oldest);
		if (per) by = rate_of(self, rates, self->base, day, &oldest);
		if (!per || !by) return CDPD_OK;
	}
	bool is_any = false;
	for (size_t i = 0; i < self->field_count && rc == CDPD_OK; i++)
		rc = convert(self, event, &self->fields[i], by, per, &is_any);
	for (size_t i = 0; i < self->list_count && rc == CDPD_OK; i++)
		rc = convert_list(self, event, &self->lists[i], by, per, &is_any);
	return rc == CDPD_OK && is_any ? describe(self, event, from, oldest, oldest != INT32_MAX) : rc;
}

/* ── life ────────────────────────────────────────────────────────────────── */

static int refuse(struct currency *self, const char *option, struct cdpd_str text, const char *why)
{
	return setup_refuse(self->file.setup, option, text, why);
}

static int read_currency(struct currency *self, const struct cdpd_conf *conf, const char *option, int *out)
{
	struct cdpd_str text = self->host->conf_text(conf, option);
	*out = currency_of(text.ptr, text.len);
	if (*out >= 0 || text.len == 0) return CDPD_OK;
	return refuse(self, option, text, "is no currency of three letters");
}

/* properties.total → enrichment.currency.total; anything else keeps its whole path. */
static int name_paths(struct currency *self, struct cdpd_str path, const char *in, int *from, int *to)
{
	char out[240];
	const char *name = strncmp(in, "properties.", 11) == 0 ? in + 11 : in;
	if (strcmp(name, "base") == 0 || strcmp(name, "from") == 0 || strcmp(name, "date") == 0)
		return refuse(self, "fields", path, "has a name that currency sets itself");
	snprintf(out, sizeof out, "enrichment.currency.%s", name);
	*from = self->host->path(self->instance, in);
	*to = self->host->path(self->instance, out);
	return *from < 0 || *to < 0 ? refuse(self, "fields", path, "is no path of a field") : CDPD_OK;
}

static int find_list(struct currency *self, struct cdpd_str path, const char *in, struct list **out)
{
	for (size_t i = 0; i < self->list_count; i++) {
		*out = &self->lists[i];
		if (strcmp((*out)->path, in) == 0) return CDPD_OK;
	}
	*out = &self->lists[self->list_count++];
	snprintf((*out)->path, sizeof(*out)->path, "%s", in);
	return name_paths(self, path, in, &(*out)->in, &(*out)->out);
}

/* `in` is cut at the brackets. */
static int add_list_field(struct currency *self, struct cdpd_str path, char *in, char *brackets)
{
	struct list *list;
	const char *key = brackets + 3;
	*brackets = '\0';
	if (brackets[2] != '.' || !*key || strlen(key) > KEY_LEN || strpbrk(key, ".[]\"\\"))
		return refuse(self, "fields", path, "is no 'list[].name'");
	int rc = find_list(self, path, in, &list);
	if (rc != CDPD_OK) return rc;
	if (list->key_count == KEYS_MAX) return refuse(self, "fields", path, "is the fifth of its list");
	snprintf(list->keys[list->key_count++], KEY_LEN + 1, "%s", key);
	return CDPD_OK;
}

static int add_field(struct currency *self, struct cdpd_str path)
{
	char in[200];
	int rc = setup_text(self->file.setup, "fields", path, in, sizeof in);
	if (rc != CDPD_OK) return rc;
	char *brackets = strstr(in, "[]");
	if (brackets) return add_list_field(self, path, in, brackets);
	struct field *field = &self->fields[self->field_count++];
	return name_paths(self, path, in, &field->in, &field->out);
}

static int read_fields(struct currency *self, const struct cdpd_conf *conf)
{
	size_t fields = self->host->conf_count(conf, "fields");
	int rc = CDPD_OK;
	for (size_t i = 0; i < fields && i < FIELDS_MAX && rc == CDPD_OK; i++)
		rc = add_field(self, self->host->conf_item(conf, "fields", i));
	return rc;
}

static int read_code_path(struct currency *self, const struct cdpd_conf *conf)
{
	char path[200];
	struct cdpd_str text = self->host->conf_text(conf, "currency_field");
	int rc = setup_text(self->file.setup, "currency_field", text, path, sizeof path);
	if (rc != CDPD_OK) return rc;
	self->code = self->host->path(self->instance, path);
	return self->code < 0 ? refuse(self, "currency_field", text, "is no path of a field") : CDPD_OK;
}

static int read_options(struct currency *self, const struct cdpd_conf *conf)
{
	const struct cdpd_host *host = self->host;
	int rc = read_currency(self, conf, "base", &self->base);
	if (rc == CDPD_OK) rc = read_currency(self, conf, "file_base", &self->file_base);
	if (rc == CDPD_OK) rc = read_currency(self, conf, "default", &self->fallback);
	if (rc == CDPD_OK) rc = read_code_path(self, conf);
	if (rc == CDPD_OK) rc = read_fields(self, conf);
	if (rc != CDPD_OK) return rc;
	for (size_t i = 0; i < CURRENCY_LEN; i++)
		self->base_text[i] = (char)(host->conf_text(conf, "base").ptr[i] & ~0x20);
	self->max_age_days = (int32_t)(host->conf_int(conf, "max_age") / DAY_US);
	self->places = (unsigned)host->conf_int(conf, "places");
	return CDPD_OK;
}

static int open_rates(struct currency *self, const struct cdpd_conf *conf)
{
	const struct rate *rate;
	int is_new;
	self->reader = watched_option_open(&self->file, &rates_kind, "rates", self->host->conf_text(conf, "rates"),
					   self->host->conf_int(conf, "reload"), "");
	if (!self->reader) return CDPD_ERR_INVALID;
	if (self->base == self->file_base) return CDPD_OK;
	if (rates_find(watched_get(self->reader, &is_new), self->base, INT32_MAX, &rate) == RATE_FOUND) return CDPD_OK;
	return refuse(self, "base", self->host->conf_text(conf, "base"), "is neither file_base nor among the rates");
}

static int intern(struct currency *self)
{
	const struct setup_path paths[] = {
	    {&self->out_base, "enrichment.currency.base"},
	    {&self->out_from, "enrichment.currency.from"},
	    {&self->out_date, "enrichment.currency.date"},
	};
	const struct setup_counter counters[] = {
	    {&self->converted, "currency_converted_total", "Amounts told in the base currency."},
	    {&self->unknown, "currency_unknown_total", "Events with amounts in no known currency."},
	    {&self->stale, "currency_stale_total", "Events without a rate that is young enough."},
	    {&self->unreadable, "currency_unreadable_total", "Amounts that are no numbers, or too large."},
	    {&self->file.reloads, "currency_reloads_total", "Rate files that changed and were taken."},
	    {&self->file.failures, "currency_reload_failures_total",
	     "Rate files that changed and could not be used; the old ones stay."},
	};
	setup_counters(self->file.setup, counters, sizeof counters / sizeof counters[0]);
	return setup_paths(self->file.setup, paths, sizeof paths / sizeof paths[0]);
}

static void destroy(void *ctx)
{
	struct currency *self = ctx;
	watched_close(self->reader);
	free(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct currency *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->file.setup = (struct setup){host, instance};
	int rc = intern(self);
	if (rc == CDPD_OK) rc = read_options(self, conf);
	if (rc == CDPD_OK) rc = open_rates(self, conf);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

static const char *const needs[] = {"properties"};
static const char *const provides[] = {"enrichment.currency"};
static const struct cdpd_option options[] = {
    {
	.name = "rates",
	.type = CDPD_OPTION_STRING,
	.is_required = true,
	.min = 1,
	.max = 4095,
	.help = "the file of rates: date,currency,rate or the European Central Bank's eurofxref-hist.csv",
    },
    {
	.name = "base",
	.type = CDPD_OPTION_STRING,
	.default_text = "EUR",
	.min = 3,
	.max = 3,
	.help = "the currency that amounts are told in",
    },
    {
	.name = "file_base",
	.type = CDPD_OPTION_STRING,
	.default_text = "EUR",
	.min = 3,
	.max = 3,
	.help = "the currency whose unit buys what the file says",
    },
    {
	.name = "fields",
	.type = CDPD_OPTION_LIST,
	.default_text =
	    "properties.revenue, properties.total, properties.price, properties.value, properties.products[].price",
	.min = 1,
	.max = FIELDS_MAX,
	.help = "the fields with amounts; list[].name: of each item of a list",
    },
    {
	.name = "currency_field",
	.type = CDPD_OPTION_STRING,
	.default_text = "properties.currency",
	.min = 1,
	.max = 199,
	.help = "the field that names their currency",
    },
    {
	.name = "default",
	.type = CDPD_OPTION_STRING,
	.default_text = "",
	.max = 3,
	.help = "the currency of events that name none; none: they are counted as unknown",
    },
    {
	.name = "max_age",
	.type = CDPD_OPTION_DURATION,
	.default_text = "7d",
	.max = 3650 * 86400e6,
	.help = "how long before the event the last rate may be, in whole days",
    },
    {
	.name = "places",
	.type = CDPD_OPTION_INT,
	.default_text = "2",
	.max = 6,
	.help = "decimal places of the results, rounded half to even",
    },
    {
	.name = "reload",
	.type = CDPD_OPTION_DURATION,
	.default_text = "10s",
	.min = 10e3,
	.max = 86400e6,
	.help = "how often the file is looked at; a changed one is used without a restart",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 0,
    .name = "currency",
    .version = "1.0.0",
    .summary = "amounts in one base currency, by the rates of the event's day",
    .caps = CDPD_CAP_ENRICH,
    .needs = {1, needs},
    .provides = {1, provides},
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .enrich = enrich,
};
