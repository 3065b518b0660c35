#include "config/check.h"

#include <unistd.h>

#include "config/form_schema.h"
#include "config/index.h"
#include "config/segments.h"
#include "config/tracking_plan.h"
#include "config/units.h"

#define DEFAULT_LISTENER "127.0.0.1:8080"

int line_of(const struct node *root, const char *path)
{
	const struct node *node = node_at(root, str_from(path));
	return node ? node->line : root->line;
}

int line_of_item(const struct node *root, const char *path, size_t index)
{
	const struct node *list = node_at(root, str_from(path));
	const struct node *item = list && list->kind == NODE_LIST ? list->children : NULL;
	while (item && index--) item = item->next;
	return item ? item->line : line_of(root, path);
}

int line_of_item_key(const struct node *root, const char *path, size_t index, const char *key)
{
	const struct node *list = node_at(root, str_from(path));
	const struct node *item = list && list->kind == NODE_LIST ? list->children : NULL;
	while (item && index--) item = item->next;
	const struct node *node = item && item->kind == NODE_MAP ? node_child(item, str_from(key)) : NULL;
	return node ? node->line : item ? item->line : line_of(root, path);
}

/* ── listeners ─────────────────────────────────────────────────────────────── */

static struct conf_listener *find_listener(struct config *config, const struct conf_listener *wanted)
{
	for (size_t i = 0; i < config->listener_count; i++) {
		struct conf_listener *l = &config->listeners[i];
		bool is_free_port = !l->unix_path.len && l->port == 0; /* each becomes another port */
		if (!is_free_port && l->port == wanted->port && str_eq(l->host, wanted->host) &&
		    str_eq(l->unix_path, wanted->unix_path))
			return l;
	}
	return NULL;
}

static void add_listeners(struct reading *r, const struct node *root, struct config *config, const char *key,
			  const struct str *texts, size_t count)
{
	bool is_admin_key = strcmp(key, "listen.admin") == 0;
	for (size_t i = 0; i < count; i++) {
		struct conf_listener made;
		CHECK(unit_read_listener(texts[i], &made)); /* the schema has checked it */
		struct conf_listener *same = find_listener(config, &made);
		if (same && is_admin_key) {
			same->is_admin = true;
		} else if (same) {
			complain(r->complaints, line_of(root, key), "%s: %.*s is listed twice", key, STR_ARG(texts[i]));
		} else {
			made.is_tls = strcmp(key, "listen.https") == 0;
			made.is_admin = is_admin_key || made.is_loopback;
			config->listeners[config->listener_count++] = made;
		}
	}
}

static void make_listeners(struct reading *r, const struct node *root, struct draft *draft)
{
	static struct str fallback[] = {{DEFAULT_LISTENER, sizeof DEFAULT_LISTENER - 1}};
	struct config *config = &draft->config;
	size_t count = draft->http_count + draft->https_count + draft->admin_count;
	if (count == 0) {
		draft->http = fallback;
		draft->http_count = count = 1;
	}
	config->listeners = arena_array(r->arena, struct conf_listener, count);
	if (!config->listeners) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	add_listeners(r, root, config, "listen.http", draft->http, draft->http_count);
	add_listeners(r, root, config, "listen.https", draft->https, draft->https_count);
	add_listeners(r, root, config, "listen.admin", draft->admin, draft->admin_count);
	bool has_tls = config->tls_certificate.len && config->tls_key.len;
	if (draft->https_count && !has_tls)
		complain(r->complaints, line_of(root, "listen.https"),
			 "listen.https needs tls.certificate and tls.key");
	else if (!config->tls_certificate.len != !config->tls_key.len)
		complain(r->complaints, line_of(root, "tls"), "tls needs both certificate and key");
}

static bool is_public(const struct config *config)
{
	for (size_t i = 0; i < config->listener_count; i++)
		if (!config->listeners[i].is_loopback) return true;
	return false;
}

/* ── sources ───────────────────────────────────────────────────────────────── */

static void check_keys(struct reading *r, const struct node *root, const struct config *config)
{
	struct index seen;
	size_t count = 0;
	bool reaches_out = is_public(config);
	for (size_t i = 0; i < config->source_count; i++) count += config->sources[i].write_key_count;
	if (index_init(&seen, r->arena, count) != OK) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < config->source_count; i++) {
		const struct conf_source *source = &config->sources[i];
		for (size_t k = 0; k < source->write_key_count; k++) {
			struct str key = source->write_keys[k];
			const struct conf_source *other = index_add(&seen, key, source);
			if (other)
				complain(r->complaints, line_of_item(root, "sources", i),
					 "sources[%zu]: write key '%.*s' is taken by source '%.*s'", i, STR_ARG(key),
					 STR_ARG(other->id));
			if (reaches_out && str_starts(key, STR("demo-")))
				complain(r->complaints, line_of_item(root, "sources", i),
					 "sources[%zu]: write key '%.*s' is a demo credential, which only loopback "
					 "listeners may serve",
					 i, STR_ARG(key));
		}
	}
}

/* ── texts that are kept in one spelling ───────────────────────────────────── */

static void lower_texts(struct reading *r, struct str *texts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct str *text = &texts[i];
		char *copy = arena_alloc(r->arena, text->len + 1);
		if (!copy) {
			r->complaints->status = ERR_NOMEM;
			return;
		}
		for (size_t k = 0; k < text->len; k++) {
			char c = text->ptr[k];
			copy[k] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
		}
		copy[text->len] = '\0';
		text->ptr = copy;
	}
}

static void lower_blocked(struct reading *r, struct config *config)
{
	lower_texts(r, config->blocked_identifiers, config->blocked_identifier_count);
	for (size_t i = 0; i < config->namespace_count; i++)
		lower_texts(r, config->namespaces[i].blocked, config->namespaces[i].blocked_count);
}

static void strip_slash(struct str *url)
{
	while (url->len && url->ptr[url->len - 1] == '/') url->len--;
}

static void default_plugin_path(struct reading *r, struct config *config)
{
	if (config->plugin_path.len) return;
	int rc = config_plugin_folder(r->arena, &config->plugin_path);
	if (rc != OK) r->complaints->status = rc;
}

/* ── what is not kept of an event ──────────────────────────────────────────── */

static void check_hash_key(struct reading *r, const struct node *root, struct config *config)
{
	struct str path;
	if (config->hash_key_file.len == 0 &&
	    arena_printf(r->arena, &config->hash_key_file, "%.*s/privacy.key", STR_ARG(config->store_path)) != OK)
		r->complaints->status = ERR_NOMEM;
	if (!config->needs_hash_key || arena_str(r->arena, config->hash_key_file, &path) != OK) return;
	const char *must = privacy_check_key_file(path.ptr);
	if (must)
		complain(r->complaints, line_of(root, "privacy.hash_key_file"), "privacy.hash_key_file: %s %s",
			 path.ptr, must);
}

static void compile_privacy(struct reading *r, const struct node *root, struct config *config)
{
	int rc = privacy_compile(r->arena, &config->privacy, NULL, &config->rules);
	config->has_privacy = config->rules != NULL;
	config->needs_hash_key = config->rules && config->rules->needs_key;
	for (size_t i = 0; i < config->source_count && rc == OK; i++) {
		struct conf_source *source = &config->sources[i];
		rc = privacy_compile(r->arena, &config->privacy, &source->privacy, &source->rules);
		if (source->rules) config->has_privacy = true;
		if (source->rules && source->rules->needs_key) config->needs_hash_key = true;
	}
	if (rc != OK) r->complaints->status = rc;
	check_hash_key(r, root, config);
}

/* ── events that are kept for less ─────────────────────────────────────────── */

#define EVENT_RETENTIONS_MAX 100

/* A rule that never acts is a mistake, and so is a second one for the same events. */
static void check_event_retention(struct reading *r, const struct node *root, const struct config *config)
{
	struct index seen;
	size_t count = 0;
	if (config->event_retention_count > EVENT_RETENTIONS_MAX)
		complain(r->complaints, line_of(root, "journal.event_retention"), "journal.event_retention: at most %d",
			 EVENT_RETENTIONS_MAX);
	for (size_t i = 0; i < config->event_retention_count; i++) count += config->event_retention[i].event_count;
	if (index_init(&seen, r->arena, count + 1) != OK) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < config->event_retention_count; i++) {
		const struct conf_event_retention *rule = &config->event_retention[i];
		if (config->journal.retention_us && rule->keep_us >= config->journal.retention_us)
			complain(r->complaints, rule->line,
				 "journal.event_retention[%zu]: keep must be shorter than journal.retention, after "
				 "which everything goes",
				 i);
		for (size_t k = 0; k < rule->event_count; k++)
			if (index_add(&seen, rule->events[k], rule))
				complain(r->complaints, rule->line,
					 "journal.event_retention[%zu]: '%.*s' has a rule already", i,
					 STR_ARG(rule->events[k]));
	}
}

void check_draft(struct reading *reading, const struct node *root, struct draft *draft)
{
	struct config *config = &draft->config;
	make_listeners(reading, root, draft);
	check_keys(reading, root, config);
	lower_blocked(reading, config);
	strip_slash(&config->public_url);
	default_plugin_path(reading, config);
	compile_privacy(reading, root, config);
	tracking_plan_load(reading, config->tracking_plan_node, &config->tracking_plan);
	if (config->limits.event_bytes > config->limits.body_bytes)
		complain(reading->complaints, line_of(root, "limits.event_bytes"),
			 "limits.event_bytes must not be above limits.body_bytes");
	if (config->namespace_count == 0)
		complain(reading->complaints, line_of(root, "identity.namespaces"),
			 "identity.namespaces must not be empty");
	if (config->namespace_count > 32)
		complain(reading->complaints, line_of(root, "identity.namespaces"), "identity.namespaces: at most 32");
	check_event_retention(reading, root, config);
	check_consent(reading, root, config);
	if (config->feature_count > 256)
		complain(reading->complaints, line_of(root, "features"), "features: at most 256");
	segments_check(reading, root, draft);
	check_destinations(reading, root, config);
	check_records(reading, root, config);
	forms_check(reading, root, draft);
}
