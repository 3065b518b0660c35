#include "config/schema.h"

#include "config/condition.h"
#include "config/form_schema.h"
#include "config/names.h"
#include "config/read_value.h"

/* Where a row's value goes. */
/* NOLINTBEGIN(bugprone-macro-parentheses): types, members and designators take none */
#define FIELD(type, member)         .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define FIELDS(type, member, n)     .offset = offsetof(type, member), .count_offset = offsetof(type, n)
#define IN(member)                  FIELD(struct draft, config.member)
#define RANGE(default_, min_, max_) .fallback = default_, .min = min_, .max = max_
/* NOLINTEND(bugprone-macro-parentheses) */

/* ── sources ───────────────────────────────────────────────────────────────── */

static const char *const kinds[] = {"browser", "mobile", "server", "webhook", NULL};
static const char *const truncations[] = {"false", "true", "as_global", NULL};
static const char *const rights[] = {"alias", "declared", "link_known", "time", "consent", NULL};
#define ALL_RIGHTS (RIGHT_ALIAS | RIGHT_DECLARED | RIGHT_LINK_KNOWN | RIGHT_TIME | RIGHT_CONSENT)

_Static_assert(SOURCE_BROWSER == 0 && SOURCE_WEBHOOK == 3, "kinds[] is in the enum's order");
_Static_assert(RIGHT_ALIAS == 1 && RIGHT_DECLARED == 2 && RIGHT_LINK_KNOWN == 4 && RIGHT_TIME == 8 &&
		   RIGHT_CONSENT == 16,
	       "rights[] is too");

#define SOURCE(member) FIELD(struct conf_source, member)
static const struct key source_keys[] = {
    {"id", KEY_TEXT, SOURCE(id), .flags = KEY_REQUIRED | KEY_UNIQUE, .check = name_check_id},
    {"kind", KEY_CHOICE, SOURCE(kind), .flags = KEY_REQUIRED, .choices = kinds},
    {"write_keys", KEY_TEXTS, FIELDS(struct conf_source, write_keys, write_key_count), .check = name_check_write_key},
    {"origins", KEY_TEXTS, FIELDS(struct conf_source, origins, origin_count), .check = name_check_origin},
    {"default_country", KEY_TEXT, SOURCE(default_country), .check = name_check_country},
    {"utc_offset", KEY_OFFSET, SOURCE(utc_offset_min)},
    {"may", KEY_FLAGS, SOURCE(rights), .choices = rights},
    {"events_per_second", KEY_INT, SOURCE(events_per_second), RANGE("0", "0", "100000000")},
    {"privacy.drop", KEY_TEXTS, FIELDS(struct conf_source, privacy.drop, privacy.drop_count),
     .check = privacy_check_drop},
    {"privacy.pseudonymize", KEY_TEXTS, FIELDS(struct conf_source, privacy.pseudonymize, privacy.pseudonymize_count),
     .check = privacy_check_pseudonym},
    {"privacy.truncate_ip", KEY_CHOICE, SOURCE(privacy.truncate_ip), .fallback = "as_global", .choices = truncations},
    {"purpose", KEY_TEXT, SOURCE(purpose), .check = name_check_word},
    {"plugin", KEY_TEXT, SOURCE(hook.plugin), .check = name_check_id},
    {"options", KEY_NODE, SOURCE(hook.options)},
    {"deadline", KEY_MS, SOURCE(hook.deadline_ms), RANGE("10s", "10ms", "5m")},
    {"queue", KEY_INT, SOURCE(hook.queue), RANGE("256", "1", "10000")},
    {"http.allow", KEY_TEXTS, FIELDS(struct conf_source, hook.http_allow, hook.http_allow_count)},
    {"http.connections", KEY_INT, SOURCE(hook.http_connections), RANGE("8", "1", "256")},
    {"http.requests_per_second", KEY_INT, SOURCE(hook.http_requests_per_second), RANGE("0", "0", "100000")},
    {"isolated", KEY_BOOL, SOURCE(hook.is_isolated), .fallback = "false"},
    {"memory", KEY_BYTES, SOURCE(hook.memory), RANGE("256MiB", "16MiB", "64GiB")},
    {"read", KEY_TEXTS, FIELDS(struct conf_source, hook.read, hook.read_count)},
};

static int *source_line(void *item)
{
	return &((struct conf_source *)item)->hook.line;
}

/* Keys that say something about a plugin, without one. */
static void check_hook(struct reading *r, const struct node *node, const char *where, const struct conf_source *source)
{
	static const char *const keys[] = {"options", "deadline", "queue", "http", "isolated", "memory", "read"};
	const struct node *plugin = node_child(node, STR("plugin"));
	if (source->hook.plugin.len) {
		if (source->kind != SOURCE_WEBHOOK)
			complain(r->complaints, plugin ? plugin->line : node->line,
				 "%s: only sources of kind webhook have a plugin", where);
		return;
	}
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		const struct node *key = node_child(node, str_from(keys[i]));
		if (key && !node_is_absent(key))
			complain(r->complaints, key->line, "%s: '%s' needs 'plugin'", where, keys[i]);
	}
}

static void check_source(struct reading *r, const struct node *node, const char *where, void *item)
{
	struct conf_source *source = item;
	const struct node *may = node_child(node, STR("may")), *keys = node_child(node, STR("write_keys"));
	bool is_ours = source->kind == SOURCE_SERVER || source->kind == SOURCE_WEBHOOK;
	if (is_ours && (!may || node_is_absent(may))) source->rights = ALL_RIGHTS;
	/* Its key stands in every page: whoever reads it could consent for anybody. */
	if (!is_ours && (source->rights & RIGHT_CONSENT))
		complain(r->complaints, may ? may->line : node->line,
			 "%s: only server and webhook sources may write consent; people do it with person tokens "
			 "(docs/consent.md)",
			 where);
	bool has_keys = keys && !node_is_absent(keys) && (keys->kind != NODE_LIST || keys->child_count);
	/* A webhook may be known by its id and its own secret instead. */
	if (!has_keys && source->kind != SOURCE_WEBHOOK)
		complain(r->complaints, node->line, "%s needs 'write_keys'", where);
	check_hook(r, node, where, source);
}

static const struct table source_table = {
    .keys = source_keys,
    .count = COUNT_OF(source_keys),
    .item_size = sizeof(struct conf_source),
    .line_of = source_line,
    .check = check_source,
};

/* ── identity and features ─────────────────────────────────────────────────── */

static const char *const normalizations[] = {"none", "email", "phone", NULL};

_Static_assert(CONF_NORMALIZE_NONE == 0 && CONF_NORMALIZE_PHONE == 2, "normalizations[] is in the enum's order");

#define NAMESPACE(member) FIELD(struct conf_namespace, member)
static const struct key namespace_keys[] = {
    {"name", KEY_TEXT, NAMESPACE(name), .flags = KEY_REQUIRED | KEY_UNIQUE, .check = name_check_word},
    {"from", KEY_TEXTS, FIELDS(struct conf_namespace, from, from_count), .flags = KEY_REQUIRED,
     .check = name_check_field},
    {"max", KEY_INT, NAMESPACE(max_per_profile), RANGE("5", "1", "1000")},
    {"known", KEY_BOOL, NAMESPACE(is_known), .fallback = "false"},
    {"normalize", KEY_CHOICE, NAMESPACE(normalize), .fallback = "none", .choices = normalizations},
    {"blocked", KEY_TEXTS, FIELDS(struct conf_namespace, blocked, blocked_count)},
};

/* Where the key stands, else where its item does. */
static int line_of_key(const struct node *node, struct str key)
{
	const struct node *child = node_child(node, key);
	return child ? child->line : node->line;
}

static void check_namespace(struct reading *r, const struct node *node, const char *where, void *item)
{
	const struct conf_namespace *ns = item;
	const struct node *from = node_child(node, STR("from"));
	if (from && from->kind == NODE_LIST && ns->from_count == 0)
		complain(r->complaints, from->line, "%s.from must not be empty", where);
	if (ns->from_count > CONF_NAMESPACE_FROM_MAX)
		complain(r->complaints, line_of_key(node, STR("from")), "%s.from: at most %d fields", where,
			 CONF_NAMESPACE_FROM_MAX);
	if (ns->blocked_count > CONF_NAMESPACE_BLOCKED_MAX)
		complain(r->complaints, line_of_key(node, STR("blocked")), "%s.blocked: at most %d values", where,
			 CONF_NAMESPACE_BLOCKED_MAX);
}

static const struct table namespace_table = {
    .keys = namespace_keys,
    .count = COUNT_OF(namespace_keys),
    .item_size = sizeof(struct conf_namespace),
    .check = check_namespace,
};

#define DEFAULT_NAMESPACES \
	"[{name: user_id, from: userId, max: 1, known: true}," \
	" {name: email, from: traits.email, max: 5, known: true, normalize: email}," \
	" {name: anonymous_id, from: anonymousId, max: 45, known: false}]"

/* What broken clients and half-filled forms send for everybody. */
#define DEFAULT_BLOCKED \
	"['null', nil, none, undefined, nan, n/a, na, '(not set)', unknown, guest, anonymous, 'true', 'false', '0', " \
	"'-1'," \
	" '[object object]', '00000000-0000-0000-0000-000000000000', '00000000000000000000000000000000']"

#define FEATURE(member) FIELD(struct conf_feature, member)
static const struct key feature_keys[] = {
    {"name", KEY_TEXT, FEATURE(name), .flags = KEY_REQUIRED | KEY_UNIQUE, .check = name_check_word},
    {"type", KEY_TEXT, FEATURE(type), .flags = KEY_REQUIRED, .check = name_check_id},
    {"event", KEY_TEXTS, FIELDS(struct conf_feature, events, event_count), .check = name_check_event},
    {"field", KEY_TEXT, FEATURE(field), .check = name_check_field},
    {"key", KEY_TEXT, FEATURE(key), .check = name_check_field},
    {"max_keys", KEY_INT, FEATURE(max_keys), .min = "1", .max = "50"},
    {"where", KEY_ITEMS, FIELDS(struct conf_feature, where, where_count), .items = &condition_table},
};

static int *feature_line(void *item)
{
	return &((struct conf_feature *)item)->line;
}

/* What the type asks for is checked against the type, by the room that knows it (profile/feature.h). */
static void check_feature(struct reading *r, const struct node *node, const char *where, void *item)
{
	static const char *const of_a_field[] = {"sum", "first", "last"};
	struct conf_feature *feature = item;
	size_t kept = 0;
	feature->node = node;
	for (size_t i = 0; i < feature->event_count; i++)
		if (feature->events[i].len) feature->events[kept++] = feature->events[i];
	feature->event_count = kept;
	for (size_t i = 0; i < COUNT_OF(of_a_field); i++)
		if (str_eq(feature->type, str_from(of_a_field[i])) && !feature->field.len)
			complain(r->complaints, node->line, "%s: type %s needs 'field'", where, of_a_field[i]);
}

static const struct table feature_table = {
    .keys = feature_keys,
    .count = COUNT_OF(feature_keys),
    .item_size = sizeof(struct conf_feature),
    .is_open = true,
    .line_of = feature_line,
    .check = check_feature,
};

/* ── consent ───────────────────────────────────────────────────────────────── */

static const char *const defaults[] = {"denied", "granted", NULL};

#define PURPOSE(member) FIELD(struct conf_purpose, member)
static const struct key purpose_keys[] = {
    {"name", KEY_TEXT, PURPOSE(name), .flags = KEY_REQUIRED | KEY_UNIQUE, .check = name_check_word},
    {"channels", KEY_TEXTS, FIELDS(struct conf_purpose, channels, channel_count), .check = name_check_word},
    {"default", KEY_CHOICE, PURPOSE(default_), .fallback = "denied", .choices = defaults},
    {"lawful_basis", KEY_CHOICE, PURPOSE(basis), .fallback = "consent", .choices = lawful_basis_names},
    {"double_opt_in", KEY_BOOL, PURPOSE(double_opt_in), .fallback = "false"},
    {"gates", KEY_TEXTS, FIELDS(struct conf_purpose, gates, gate_count), .check = name_check_id},
    {"events", KEY_TEXTS, FIELDS(struct conf_purpose, events, event_count), .check = name_check_event},
    {"tcf", KEY_INT, PURPOSE(tcf), RANGE("0", "0", "24")},
};
static const struct table purpose_table = {
    .keys = purpose_keys,
    .count = COUNT_OF(purpose_keys),
    .item_size = sizeof(struct conf_purpose),
    .short_form = "name",
};

/* ── segments ──────────────────────────────────────────────────────────────── */

#define SEGMENT(member) FIELD(struct conf_segment, member)
static const struct key segment_keys[] = {
    {"name", KEY_TEXT, SEGMENT(name), .flags = KEY_REQUIRED | KEY_UNIQUE, .check = name_check_id},
    {"when", KEY_NODE, SEGMENT(when), .flags = KEY_REQUIRED},
};

static int *segment_line(void *item)
{
	return &((struct conf_segment *)item)->line;
}

static const struct table segment_table = {
    .keys = segment_keys,
    .count = COUNT_OF(segment_keys),
    .item_size = sizeof(struct conf_segment),
    .line_of = segment_line,
};

static const struct key segment_file_keys[] = {
    {"segments", KEY_ITEMS, FIELDS(struct segment_file, items, count), .items = &segment_table},
};
const struct table schema_segment_file = {.keys = segment_file_keys, .count = COUNT_OF(segment_file_keys)};

/* ── enrichers and destinations ────────────────────────────────────────────── */

#define INSTANCE(member) FIELD(struct conf_instance, member)
static const char *const fails[] = {"open", "closed", NULL};
static const struct key instance_keys[] = {
    {"name", KEY_TEXT, INSTANCE(name), .flags = KEY_UNIQUE, .check = name_check_id},
    {"plugin", KEY_TEXT, INSTANCE(plugin), .flags = KEY_REQUIRED, .check = name_check_id},
    {"options", KEY_NODE, INSTANCE(options)},
    {"events", KEY_TEXTS, FIELDS(struct conf_instance, async.events, async.event_count)},
    {"deadline", KEY_MS, INSTANCE(async.deadline_ms), RANGE("10s", "10ms", "10m")},
    {"max_wait", KEY_US, INSTANCE(async.max_wait_us), RANGE("1d", "1s", "30d")},
    {"concurrency", KEY_INT, INSTANCE(async.concurrency), RANGE("16", "1", "1024")},
    {"fail", KEY_CHOICE, INSTANCE(async.fail), .fallback = "open", .choices = fails},
    {"http.allow", KEY_TEXTS, FIELDS(struct conf_instance, async.http_allow, async.http_allow_count)},
    {"http.connections", KEY_INT, INSTANCE(async.http_connections), RANGE("8", "1", "256")},
    {"http.requests_per_second", KEY_INT, INSTANCE(async.http_requests_per_second), RANGE("0", "0", "100000")},
    {"isolated", KEY_BOOL, INSTANCE(isolation.is_on), .fallback = "false"},
    {"memory", KEY_BYTES, INSTANCE(isolation.memory), RANGE("256MiB", "16MiB", "64GiB")},
    {"read", KEY_TEXTS, FIELDS(struct conf_instance, isolation.read, isolation.read_count)},
};

static int *instance_line(void *item)
{
	return &((struct conf_instance *)item)->line;
}

static void name_instance(struct reading *r, const struct node *node, const char *where, void *item)
{
	struct conf_instance *instance = item;
	(void)r, (void)node, (void)where;
	if (instance->name.len == 0) instance->name = instance->plugin;
}

static const struct table instance_table = {
    .keys = instance_keys,
    .count = COUNT_OF(instance_keys),
    .item_size = sizeof(struct conf_instance),
    .short_form = "plugin",
    .line_of = instance_line,
    .check = name_instance,
};

static const char *const records[] = {"events", "profiles", "changes", NULL}; /* bits: enum conf_record */
static const char *const starts[] = {"auto", "oldest", "now", "snapshot", NULL};

static const struct key destination_keys[] = {
    {"name", KEY_TEXT, INSTANCE(name), .flags = KEY_UNIQUE, .check = name_check_id},
    {"plugin", KEY_TEXT, INSTANCE(plugin), .flags = KEY_REQUIRED, .check = name_check_id},
    {"options", KEY_NODE, INSTANCE(options)},
    {"purpose", KEY_TEXT, INSTANCE(purpose), .check = name_check_word},
    {"events", KEY_TEXTS, FIELDS(struct conf_instance, async.events, async.event_count), .check = name_check_event},
    {"segments", KEY_TEXTS, FIELDS(struct conf_instance, segments, segment_count)},
    {"records", KEY_FLAGS, INSTANCE(records), .choices = records},
    {"changes", KEY_TEXTS, FIELDS(struct conf_instance, changes, change_count)},
    {"start", KEY_CHOICE, INSTANCE(start), .fallback = "auto", .choices = starts},
    {"where", KEY_ANY, INSTANCE(where)},
    {"mapping", KEY_ANY, INSTANCE(mapping)},
    {"batch.records", KEY_INT, INSTANCE(flow.batch_records), RANGE("500", "1", "5000")},
    {"batch.bytes", KEY_BYTES, INSTANCE(flow.batch_bytes), RANGE("1MB", "1KB", "16MB")},
    {"batch.age", KEY_US, INSTANCE(flow.batch_age_us), RANGE("0s", "0s", "1h")},
    {"concurrency", KEY_INT, INSTANCE(flow.concurrency), RANGE("1", "1", "64")},
    {"rate.records_per_second", KEY_INT, INSTANCE(flow.records_per_second), RANGE("0", "0", "1000000")},
    {"max_attempts", KEY_INT, INSTANCE(flow.max_attempts), RANGE("0", "0", "1000000")},
    {"max_hold", KEY_US, INSTANCE(flow.max_hold_us), RANGE("0s", "0s", "3650d")},
    {"http.allow", KEY_TEXTS, FIELDS(struct conf_instance, async.http_allow, async.http_allow_count)},
    {"http.connections", KEY_INT, INSTANCE(async.http_connections), RANGE("8", "1", "256")},
    {"http.requests_per_second", KEY_INT, INSTANCE(async.http_requests_per_second), RANGE("0", "0", "100000")},
    {"http.ca", KEY_TEXT, INSTANCE(async.http_tls.ca)},
    {"http.certificate", KEY_TEXT, INSTANCE(async.http_tls.certificate)},
    {"http.key", KEY_TEXT, INSTANCE(async.http_tls.key)},
    {"isolated", KEY_BOOL, INSTANCE(isolation.is_on), .fallback = "false"},
    {"memory", KEY_BYTES, INSTANCE(isolation.memory), RANGE("256MiB", "16MiB", "64GiB")},
    {"read", KEY_TEXTS, FIELDS(struct conf_instance, isolation.read, isolation.read_count)},
};

static const struct table destination_table = {
    .keys = destination_keys,
    .count = COUNT_OF(destination_keys),
    .item_size = sizeof(struct conf_instance),
    .short_form = "plugin",
    .line_of = instance_line,
    .check = name_instance,
};

/* ── events that are kept for less ─────────────────────────────────────────── */

#define RETENTION(member) FIELD(struct conf_event_retention, member)
static const struct key retention_keys[] = {
    {"event", KEY_TEXTS, FIELDS(struct conf_event_retention, events, event_count), .flags = KEY_REQUIRED,
     .check = name_check_kept_event},
    {"keep", KEY_US, RETENTION(keep_us), .flags = KEY_REQUIRED, .min = "1s", .max = "36500d"},
};

static int *retention_line(void *item)
{
	return &((struct conf_event_retention *)item)->line;
}

static const struct table retention_table = {
    .keys = retention_keys,
    .count = COUNT_OF(retention_keys),
    .item_size = sizeof(struct conf_event_retention),
    .line_of = retention_line,
};

/* ── the whole ─────────────────────────────────────────────────────────────── */

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const truth[] = {"false", "true", NULL};
static const char *const formats[] = {"logfmt", "json", NULL};

#define TEXTS_IN(member, n)   FIELDS(struct draft, config.member, config.n)
#define OPTIONS_IN(member, n) FIELDS(struct draft, preferences.member, preferences.n)

static const struct key root_keys[] = {
    {"store.path", KEY_TEXT, IN(store_path), .fallback = "/var/lib/cdpd", .flags = KEY_RESTART},

    {"listen.http", KEY_TEXTS, FIELDS(struct draft, http, http_count), .flags = KEY_RESTART,
     .check = name_check_listener},
    {"listen.https", KEY_TEXTS, FIELDS(struct draft, https, https_count), .flags = KEY_RESTART,
     .check = name_check_listener},
    {"listen.admin", KEY_TEXTS, FIELDS(struct draft, admin, admin_count), .flags = KEY_RESTART,
     .check = name_check_listener},
    {"tls.certificate", KEY_TEXT, IN(tls_certificate)},
    {"tls.key", KEY_TEXT, IN(tls_key)},
    {"tls.min_version", KEY_TEXT, IN(tls_min_version), .fallback = "1.2", .check = name_check_tls_version},
    {"public_url", KEY_TEXT, IN(public_url), .check = name_check_url},
    {"trusted_proxies", KEY_TEXTS, TEXTS_IN(trusted_proxies, trusted_proxy_count), .check = name_check_network},
    {"grpc.reflection", KEY_BOOL, IN(grpc_reflection), .fallback = "true"},
    {"io_threads", KEY_INT, IN(io_threads), RANGE("0", "0", "64"), .flags = KEY_RESTART},
    {"tokens_file", KEY_TEXT, IN(tokens_file)},
    {"log.level", KEY_CHOICE, IN(log_level), .fallback = "info", .choices = levels},
    {"log.format", KEY_CHOICE, IN(log_format), .fallback = "logfmt", .choices = formats},

    {"limits.connections", KEY_INT, IN(limits.connections), RANGE("10000", "1", "1000000")},
    {"limits.connections_per_ip", KEY_INT, IN(limits.connections_per_ip), RANGE("1000", "1", "1000000")},
    {"limits.requests_per_connection", KEY_INT, IN(limits.requests_per_connection), RANGE("100000", "1", "1000000000")},
    {"limits.body_bytes", KEY_BYTES, IN(limits.body_bytes), RANGE("5MiB", "1KiB", "256MiB")},
    {"limits.reply_bytes", KEY_BYTES, IN(limits.reply_bytes), RANGE("128MiB", "1MiB", "64GiB")},
    {"limits.event_bytes", KEY_BYTES, IN(limits.event_bytes), RANGE("64KiB", "256B", "1MiB")},
    {"limits.batch_events", KEY_INT, IN(limits.batch_events), RANGE("2500", "1", "100000")},
    {"limits.header_timeout", KEY_MS, IN(limits.header_timeout_ms), RANGE("10s", "100ms", "10m")},
    {"limits.body_timeout", KEY_MS, IN(limits.body_timeout_ms), RANGE("10s", "100ms", "10m")},
    {"limits.body_min_rate", KEY_BYTES, IN(limits.body_min_rate), RANGE("1KiB", "0", "1GiB")},
    {"limits.idle_timeout", KEY_MS, IN(limits.idle_timeout_ms), RANGE("75s", "100ms", "1h")},
    {"limits.streams_per_connection", KEY_INT, IN(limits.streams_per_connection), RANGE("100", "1", "10000")},
    {"limits.keepalive", KEY_MS, IN(limits.keepalive_ms), RANGE("60s", "0", "1h")},
    {"limits.connection_age", KEY_MS, IN(limits.connection_age_ms), RANGE("0", "0", "30d")},
    {"limits.write_timeout", KEY_MS, IN(limits.write_timeout_ms), RANGE("30s", "100ms", "10m")},
    {"limits.events_per_second_per_ip", KEY_INT, IN(limits.events_per_second_per_ip), RANGE("0", "0", "100000000")},

    {"journal.segment_bytes", KEY_BYTES, IN(journal.segment_bytes), RANGE("1GiB", "1MiB", "64GiB")},
    {"journal.segment_age", KEY_US, IN(journal.segment_age_us), RANGE("1d", "1s", "365d")},
    {"journal.retention", KEY_US, IN(journal.retention_us), RANGE("0", "0", "36500d")},
    {"journal.retention_bytes", KEY_BYTES, IN(journal.retention_bytes), RANGE("0", "0", "1024TiB")},
    {"journal.event_retention", KEY_ITEMS, TEXTS_IN(event_retention, event_retention_count), .items = &retention_table},
    {"journal.queue_bytes", KEY_BYTES, IN(journal.queue_bytes), RANGE("64MiB", "64KiB", "16GiB")},
    {"journal.disk_free_min", KEY_BYTES, IN(journal.disk_free_min), RANGE("512MiB", "0", "16TiB")},
    {"journal.ballast", KEY_BYTES, IN(journal.ballast_bytes), RANGE("64MiB", "0", "64GiB")},
    {"journal.rejects_bytes", KEY_BYTES, IN(journal.rejects_bytes), RANGE("16MiB", "0", "1GiB")},
    {"journal.clock_jump", KEY_US, IN(journal.clock_jump_us), RANGE("1h", "1s", "365d")},

    {"dedup.window", KEY_US, IN(dedup_window_us), RANGE("7d", "1s", "365d")},
    {"dedup.max_ids", KEY_INT, IN(dedup_max_ids), RANGE("20000000", "1000", "1000000000")},

    {"identity.namespaces", KEY_ITEMS, TEXTS_IN(namespaces, namespace_count), .fallback = DEFAULT_NAMESPACES,
     .items = &namespace_table},
    {"identity.max_fragments", KEY_INT, IN(max_fragments), RANGE("50", "1", "1000")},
    {"identity.blocked", KEY_TEXTS, TEXTS_IN(blocked_identifiers, blocked_identifier_count),
     .fallback = DEFAULT_BLOCKED},

    {"sources", KEY_ITEMS, TEXTS_IN(sources, source_count), .items = &source_table},
    {"features", KEY_ITEMS, TEXTS_IN(features, feature_count), .items = &feature_table},
    {"forms", KEY_ITEMS, TEXTS_IN(forms, form_count), .items = &form_table},
    {"forms_file", KEY_TEXT, IN(forms_file)},
    {"amp.senders", KEY_TEXTS, TEXTS_IN(amp_senders, amp_sender_count), .check = name_check_sender},
    {"preferences.version", KEY_INT, FIELD(struct draft, preferences.version), RANGE("1", "1", "1000000")},
    {"preferences.title", KEY_ANY, FIELD(struct draft, preferences.title)},
    {"preferences.topics", KEY_ITEMS, OPTIONS_IN(topics, topic_count), .items = &form_option_table},
    {"preferences.channels", KEY_ITEMS, OPTIONS_IN(channels, channel_count), .items = &form_option_table},
    {"preferences.frequencies", KEY_ITEMS, OPTIONS_IN(frequencies, frequency_count), .items = &form_option_table},
    {"preferences.languages", KEY_ITEMS, OPTIONS_IN(languages, language_count), .items = &form_option_table},
    {"preferences.quiet_hours", KEY_BOOL, FIELD(struct draft, preferences.has_quiet_hours), .fallback = "false"},
    {"consent.purposes", KEY_ITEMS, TEXTS_IN(purposes, purpose_count), .items = &purpose_table},
    {"features_file", KEY_TEXT, IN(features_file)},
    {"segments", KEY_ITEMS, TEXTS_IN(segments, segment_count), .items = &segment_table},
    {"segments_file", KEY_TEXT, IN(segments_file)},
    {"plugins.path", KEY_TEXT, IN(plugin_path), .flags = KEY_RESTART},
    {"plugins.cache_bytes", KEY_BYTES, IN(plugin_cache_bytes), RANGE("256MiB", "1MiB", "1TiB"), .flags = KEY_RESTART},
    {"enrichers", KEY_ITEMS, TEXTS_IN(enrichers, enricher_count), .items = &instance_table},
    {"destinations", KEY_ITEMS, TEXTS_IN(destinations, destination_count), .items = &destination_table},

    {"changes.retention", KEY_US, IN(changes_retention_us), RANGE("7d", "1m", "365d")},
    {"changes.min_position_wait", KEY_MS, IN(min_position_wait_ms), RANGE("5s", "0", "1m")},
    {"privacy.drop", KEY_TEXTS, TEXTS_IN(privacy.drop, privacy.drop_count), .check = privacy_check_drop},
    {"privacy.pseudonymize", KEY_TEXTS, TEXTS_IN(privacy.pseudonymize, privacy.pseudonymize_count),
     .check = privacy_check_pseudonym},
    {"privacy.truncate_ip", KEY_CHOICE, IN(privacy.truncate_ip), .fallback = "false", .choices = truth},
    {"privacy.hash_key_file", KEY_TEXT, IN(hash_key_file), .flags = KEY_RESTART},
    {"tracking_plan", KEY_NODE, IN(tracking_plan_node)},
    {"drain_timeout", KEY_MS, IN(drain_timeout_ms), RANGE("10s", "0", "10m")},
};

const struct table schema_root = {.keys = root_keys, .count = COUNT_OF(root_keys)};

static const struct key features_keys[] = {
    {"features", KEY_ITEMS, TEXTS_IN(features, feature_count), .items = &feature_table},
};

const struct table schema_features = {.keys = features_keys, .count = COUNT_OF(features_keys)};
