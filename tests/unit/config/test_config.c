#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include "config/config_test.h"

static char folder[] = "/tmp/cdpd-config-XXXXXX";
static char file[64];

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder)) return -1;
	(void)snprintf(file, sizeof file, "%s/c.yaml", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)unlink(file);
	return rmdir(folder);
}

static int load_with(const char *text, const struct config_override *overrides, size_t count, const struct config **out,
		     char **errors)
{
	FILE *f = fopen(file, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	return config_load(file, overrides, count, out, errors);
}

static const struct config *loaded(const char *text)
{
	const struct config *config;
	char *errors;
	if (load_with(text, NULL, 0, &config, &errors) != OK) fail_msg("%s", errors);
	assert_null(errors);
	return config;
}

static void defaults(void **state)
{
	const struct config *c = loaded("");
	(void)state;
	assert_str(c->file, file);
	assert_str(c->store_path, "/var/lib/cdpd");
	assert_int_equal(c->listener_count, 1);
	assert_str(c->listeners[0].host, "127.0.0.1");
	assert_int_equal(c->listeners[0].port, 8080);
	assert_true(c->listeners[0].is_admin && c->listeners[0].is_loopback && !c->listeners[0].is_tls);
	assert_str(c->tls_min_version, "1.2");
	assert_str(c->public_url, "");
	assert_str(c->tokens_file, "");
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	assert_int_equal(c->limits.connections, 10000);
	assert_int_equal(c->limits.body_bytes, 5 << 20);
	assert_int_equal(c->limits.event_bytes, 64 << 10);
	assert_int_equal(c->limits.header_timeout_ms, 10000);
	assert_int_equal(c->limits.idle_timeout_ms, 75000);
	assert_int_equal(c->limits.body_min_rate, 1024);
	assert_true(c->journal.segment_bytes == UINT64_C(1) << 30);
	assert_true(c->journal.segment_age_us == INT64_C(86400000000));
	assert_true(c->journal.retention_us == 0);
	assert_true(c->journal.clock_jump_us == INT64_C(3600000000));
	assert_true(c->dedup_window_us == INT64_C(604800000000));
	assert_true(c->dedup_max_ids == 20000000);
	assert_int_equal(c->max_fragments, 50);
	assert_int_equal(c->drain_timeout_ms, 10000);
	assert_int_equal(c->min_position_wait_ms, 5000);
	assert_non_null(memmem(c->plugin_path.ptr, c->plugin_path.len, "/plugins", 8));
	assert_int_equal(c->plugin_path.ptr[0], '/');
	assert_int_equal(c->source_count + c->feature_count + c->enricher_count + c->destination_count, 0);
	config_unref(c);
}

static bool is_blocked(const struct config *c, const char *text)
{
	for (size_t i = 0; i < c->blocked_identifier_count; i++)
		if (str_eq(c->blocked_identifiers[i], str_from(text))) return true;
	return false;
}

static void default_identity(void **state)
{
	const struct config *c = loaded("");
	(void)state;
	assert_int_equal(c->namespace_count, 3);
	assert_str(c->namespaces[0].name, "user_id");
	assert_str(c->namespaces[0].from[0], "userId");
	assert_int_equal(c->namespaces[0].max_per_profile, 1);
	assert_true(c->namespaces[0].is_known);
	assert_str(c->namespaces[1].from[0], "traits.email");
	assert_int_equal(c->namespaces[1].max_per_profile, 5);
	assert_str(c->namespaces[2].name, "anonymous_id");
	assert_int_equal(c->namespaces[2].max_per_profile, 45);
	assert_false(c->namespaces[2].is_known);
	static const char *const blocked[] = {"null",
					      "undefined",
					      "none",
					      "nil",
					      "n/a",
					      "unknown",
					      "guest",
					      "anonymous",
					      "0",
					      "-1",
					      "true",
					      "false",
					      "[object object]",
					      "00000000-0000-0000-0000-000000000000"};
	for (size_t i = 0; i < COUNT_OF(blocked); i++) assert_true(is_blocked(c, blocked[i]));
	assert_false(is_blocked(c, "1"));
	config_unref(c);
	c = loaded("identity: {blocked: [NULL, Nobody, '']}\n");
	assert_true(is_blocked(c, "null") && is_blocked(c, "nobody") && !is_blocked(c, "guest"));
	config_unref(c);
}

static const char full[] = "store: {path: ./x}\n"
			   "listen:\n"
			   "  http: [127.0.0.1:0, '0.0.0.0:8080', 'unix:/tmp/s']\n"
			   "  https: '[::]:8443'\n"
			   "  admin: ['0.0.0.0:8080', '10.0.0.1:9000']\n"
			   "tls: {certificate: a.pem, key: b.pem, min_version: 1.3}\n"
			   "public_url: https://cdp.example.com/\n"
			   "trusted_proxies: [10.0.0.0/8, '::1']\n"
			   "log: {level: debug, format: json}\n"
			   "sources:\n"
			   "  - id: web\n"
			   "    kind: browser\n"
			   "    write_keys: [k1, k2]\n"
			   "    origins: ['https://a.example', 'http://b.example:8080']\n"
			   "    default_country: FR\n"
			   "    utc_offset: +03:00\n"
			   "    may: [alias, time]\n"
			   "    events_per_second: 5\n"
			   "  - {id: app, kind: mobile, write_keys: k3}\n"
			   "  - {id: back, kind: server, write_keys: [k4]}\n"
			   "  - {id: back2, kind: server, write_keys: [k5], may: []}\n"
			   "  - {id: hook, kind: webhook}\n"
			   "features:\n"
			   "  - {name: n, type: count, event: Order Completed}\n"
			   "  - {name: s, type: sum, field: properties.total}\n"
			   "  - {name: h, type: hyper-log, field: context.x.y}\n"
			   "enrichers: [campaign, {plugin: geo, name: geo2}]\n"
			   "destinations:\n"
			   "  - plugin: ndjson\n"
			   "    name: files\n"
			   "    options: {directory: /x, list: [a, b]}\n";

static void everything_given(void **state)
{
	const struct config *c = loaded(full);
	(void)state;
	assert_int_equal(c->listener_count, 5);
	assert_true(c->listeners[0].is_admin && c->listeners[0].is_loopback);
	assert_true(c->listeners[1].is_admin && !c->listeners[1].is_loopback); /* listed twice: http and admin */
	assert_str(c->listeners[2].unix_path, "/tmp/s");
	assert_true(c->listeners[2].is_admin);
	assert_true(c->listeners[3].is_tls && !c->listeners[3].is_admin);
	assert_str(c->listeners[3].host, "::");
	assert_true(c->listeners[4].is_admin && !c->listeners[4].is_tls);
	assert_int_equal(c->listeners[4].port, 9000);
	assert_str(c->public_url, "https://cdp.example.com");
	assert_int_equal(c->trusted_proxy_count, 2);
	assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(c->log_format, LOG_FORMAT_JSON);
	assert_str(c->tls_min_version, "1.3");
	assert_int_equal(c->feature_count, 3);
	assert_str(c->features[0].events[0], "Order Completed");
	assert_str(c->features[0].field, "");
	assert_str(c->features[1].field, "properties.total");
	assert_int_equal(c->enricher_count, 2);
	assert_str(c->enrichers[0].name, "campaign");
	assert_null(c->enrichers[0].options);
	assert_str(c->enrichers[1].name, "geo2");
	assert_str(c->destinations[0].plugin, "ndjson");
	assert_int_equal(c->destinations[0].line, 29);
	assert_int_equal(c->destinations[0].options->line, 31);
	assert_str(node_child(c->destinations[0].options, STR("directory"))->text, "/x");
	config_unref(c);
}

static void sources_and_their_rights(void **state)
{
	const struct config *c = loaded(full);
	const struct conf_source *s = config_source_by_key(c, STR("k2"));
	const uint32_t all = RIGHT_ALIAS | RIGHT_DECLARED | RIGHT_LINK_KNOWN | RIGHT_TIME | RIGHT_CONSENT;
	(void)state;
	assert_non_null(s);
	assert_ptr_equal(s, config_source_by_id(c, STR("web")));
	assert_ptr_equal(s, config_source_by_key(c, STR("k1")));
	assert_int_equal(s->rights, RIGHT_ALIAS | RIGHT_TIME);
	assert_str(s->default_country, "FR");
	assert_int_equal(s->utc_offset_min, 180);
	assert_int_equal(s->events_per_second, 5);
	assert_int_equal(s->origin_count, 2);
	assert_int_equal(config_source_by_id(c, STR("app"))->rights, 0);
	assert_int_equal(config_source_by_id(c, STR("app"))->write_key_count, 1);
	assert_int_equal(config_source_by_id(c, STR("back"))->rights, all);
	assert_int_equal(config_source_by_id(c, STR("back2"))->rights, 0);
	assert_int_equal(config_source_by_id(c, STR("hook"))->rights, all);
	assert_int_equal(config_source_by_id(c, STR("hook"))->kind, SOURCE_WEBHOOK);
	assert_null(config_source_by_key(c, STR("k")));
	assert_null(config_source_by_key(c, STR_NONE));
	assert_null(config_source_by_id(c, STR("k1")));
	assert_string_equal(source_kind_name(SOURCE_MOBILE), "mobile");
	config_unref(c);
}

static void many_write_keys(void **state)
{
	struct buf buf;
	char key[16];
	(void)state;
	buf_init(&buf, 1 << 20);
	assert_ok(buf_append_str(&buf, STR("sources:\n")));
	for (int i = 0; i < 1000; i++)
		assert_ok(buf_printf(&buf, "- {id: s%d, kind: server, write_keys: [a%d, b%d, c%d]}\n", i, i, i, i));
	assert_ok(buf_putc(&buf, 0));
	const struct config *c = loaded(buf_ptr(&buf));
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(key, sizeof key, "b%d", i);
		assert_ptr_equal(config_source_by_key(c, str_from(key)), &c->sources[i]);
	}
	assert_null(config_source_by_key(c, STR("b1000")));
	config_unref(c);
	buf_fini(&buf);
}

/* ── complaints ────────────────────────────────────────────────────────────── */

#define SOURCE "sources: [{id: a, kind: browser, write_keys: [k]}]\n"

/* `complaint` stands after "file:". */
static const struct {
	const char *text, *complaint;
} wrong[] = {
    {"limts: {}\n", "1: unknown key 'limts', did you mean 'limits'?"},
    {"\nlimits:\n  conections: 5\n", "3: unknown key 'conections' in limits, did you mean 'connections'?"},
    {"banana: 1\n", "1: unknown key 'banana'"},
    {"store.path: x\n", "1: unknown key 'store.path'"},
    {"limits: 5\n", "1: limits must be a map"},
    {"limits: {connections: many}\n", "1: limits.connections: 'many' is not a whole number"},
    {"limits: {connections: -5}\n", "1: limits.connections: '-5' is not a whole number"},
    {"limits: {connections: '5'}\n", "1: limits.connections: '5' is not a whole number (leave the quotes out)"},
    {"limits: {connections: 0}\n", "1: limits.connections: 0 is out of range, it must be 1 to 1000000"},
    {"limits: {connections: 4294967297}\n", "1: limits.connections: 4294967297 is out of range"},
    {"limits: {connections: [1]}\n", "1: limits.connections must be a single value"},
    {"limits:\n  body_bytes: 5 megs\n", "2: limits.body_bytes: '5 megs' is not a size such as"},
    {"limits:\n  body_bytes: 1TB\n", "2: limits.body_bytes: 1TB is out of range, it must be 1KiB to 256MiB"},
    {"limits: {body_bytes: 2KiB, event_bytes: 4KiB}\n", "1: limits.event_bytes must not be above limits.body_bytes"},
    {"limits: {header_timeout: 10}\n", "1: limits.header_timeout: '10' is not a duration such as"},
    {"limits: {header_timeout: 1ms}\n", "1: limits.header_timeout: 1ms is out of range, it must be 100ms to 10m"},
    {"journal: {segment_bytes: 128GiB}\n", "1: journal.segment_bytes: 128GiB is out of range"},
    {"log: {level: debgu}\n", "1: log.level: 'debgu' is not one of: error, warn, info, debug, did you mean 'debug'?"},
    {"log: {level: [debug]}\n", "1: log.level must be a single value"},
    {"drain_timeout: {a: 1}\n", "1: drain_timeout must be a single value"},
    {"listen: {http: localhost}\n", "1: listen.http: 'localhost' must be a numeric address and port"},
    {"listen: {http: ['127.0.0.1:80', '127.0.0.1:80']}\n", "1: listen.http: 127.0.0.1:80 is listed twice"},
    {"listen: {http: '127.0.0.1:80', https: '127.0.0.1:80'}\ntls: {certificate: a, key: b}\n",
     "1: listen.https: 127.0.0.1:80 is listed twice"},
    {"listen: {http: [[a]]}\n", "1: listen.http must be a list of texts"},
    {"listen: {http: {a: b}}\n", "1: listen.http must be a list of texts"},
    {"listen:\n  https: '127.0.0.1:1'\n", "2: listen.https needs tls.certificate and tls.key"},
    {"tls: {key: b.pem}\n", "1: tls needs both certificate and key"},
    {"tls: {min_version: 1.1}\n", "1: tls.min_version: '1.1' must be 1.2 or 1.3"},
    {"public_url: cdp.example.com\n", "1: public_url: 'cdp.example.com' must be a URL"},
    {"trusted_proxies: [10.0.0.0/40]\n", "1: trusted_proxies: '10.0.0.0/40' must be an address or network"},
    {"sources: {id: a}\n", "1: sources must be a list"},
    {"sources: [a]\n", "1: sources[0] must be a map"},
    {"sources:\n- {id: a, kind: browser, write_keys: [k]}\n- {id: a, kind: browser, write_keys: [l]}\n",
     "3: sources[1]: id 'a' is taken by sources[0]"},
    {"sources:\n- {id: a, kind: browser, write_keys: [k]}\n- {id: b, kind: browser, write_keys: [k]}\n",
     "3: sources[1]: write key 'k' is taken by source 'a'"},
    {"sources: [{id: a, kind: browser, write_keys: [k, k]}]\n", "1: sources[0]: write key 'k' is taken by source 'a'"},
    {"sources: [{kind: browser, write_keys: [k]}]\n", "1: sources[0] needs 'id'"},
    {"sources: [{id: a, write_keys: [k]}]\n", "1: sources[0] needs 'kind'"},
    {"sources: [{id: a, kind: browser}]\n", "1: sources[0] needs 'write_keys'"},
    {"sources: [{id: 'A b', kind: browser, write_keys: [k]}]\n",
     "1: sources[0].id: 'A b' must be 1 to 64 of a-z, 0-9, _ and -"},
    {"sources: [{id: '', kind: browser, write_keys: [k]}]\n", "1: sources[0].id: '' must be 1 to 64"},
    {"sources: [{id: a, kind: brwoser, write_keys: [k]}]\n",
     "1: sources[0].kind: 'brwoser' is not one of: browser, mobile, server, webhook, did you mean 'browser'?"},
    {"sources:\n- id: a\n  kind: browser\n  write_keys: k\n  origin: x\n",
     "5: unknown key 'origin' in sources[0], did you mean 'origins'?"},
    {"sources: [{id: a, kind: browser, write_keys: ['k:']}]\n", "1: sources[0].write_keys: 'k:' must be 1 to 128 of"},
    {"sources: [{id: a, kind: browser, write_keys: ['']}]\n", "1: sources[0].write_keys: '' must be 1 to 128 of"},
    {"sources: [{id: a, kind: browser, write_keys: [k], may: [alais]}]\n",
     "1: sources[0].may: 'alais' is not one of: alias, declared, link_known, time, consent, did you mean 'alias'?"},
    {"sources: [{id: a, kind: browser, write_keys: [k], may: [consent]}]\n",
     "1: sources[0]: only server and webhook sources may write consent"},
    {"sources: [{id: person, kind: server, write_keys: [k]}]\n", "1: sources: the id 'person' is that of people"},
    {"consent: {purposes: [{name: ads, gates: [ingets]}]}\n",
     "1: consent.purposes: a gate is ingest, enrich or the name of a destination, not 'ingets', did you mean "
     "'ingest'?"},
    {"consent: {purposes: [{name: ads, default: maybe}]}\n", "1: consent.purposes[0].default"},
    {"consent: {purposes: [{name: Ads}]}\n", "1: consent.purposes[0].name"},
    {"consent:\n  purposes:\n    - {name: a, events: [X]}\n    - {name: b, events: [X]}\n",
     "4: consent.purposes: event 'X' is for purpose 'a' already"},
    {"consent: {purposes: [{name: a, tcf: 25}]}\n", "1: consent.purposes[0].tcf"},
    {"consent: {purposes: [{name: news}]}\nsources: [{id: a, kind: browser, write_keys: [k], purpose: nws}]\n",
     "2: sources: unknown purpose 'nws', did you mean 'news'?"},
    {"sources: [{id: a, kind: browser, write_keys: [k], may: alias}]\n", "1: sources[0].may must be a list"},
    {"sources: [{id: a, kind: browser, write_keys: [k], origins: [a.example]}]\n",
     "1: sources[0].origins: 'a.example' must be an origin"},
    {"sources: [{id: a, kind: browser, write_keys: [k], origins: ['https://a/b']}]\n",
     "1: sources[0].origins: 'https://a/b' must be an origin"},
    {"sources: [{id: a, kind: browser, write_keys: [k], default_country: france}]\n",
     "1: sources[0].default_country: 'france' must be two capital letters"},
    {"sources: [{id: a, kind: browser, write_keys: [k], utc_offset: 3}]\n",
     "1: sources[0].utc_offset: '3' is not an offset"},
    {"sources: [{id: a, kind: browser, write_keys: [demo-key]}]\nlisten: {http: '0.0.0.0:80'}\n",
     "1: sources[0]: write key 'demo-key' is a demo credential"},
    {"sources: [{id: a, kind: browser, write_keys: [demo-key]}]\nlisten: {admin: '10.0.0.1:80'}\n",
     "1: sources[0]: write key 'demo-key' is a demo credential"},
    {"features: [{name: a, type: sum}]\n", "1: features[0]: type sum needs 'field'"},
    {"features: [{name: a, type: last}]\n", "1: features[0]: type last needs 'field'"},
    {"features: [{name: a, type: count, max_keys: 51}]\n",
     "1: features[0].max_keys: 51 is out of range, it must be 1 to 50"},
    {"features: [{name: a, type: sum, field: total}]\n", "1: features[0].field: 'total' must be userId"},
    {"features: [{name: a, type: sum, field: properties.}]\n", "1: features[0].field: 'properties.' must be"},
    {"features: [{name: a-b, type: count}]\n", "1: features[0].name: 'a-b' must be 1 to 64 of a-z, 0-9 and _"},
    {"features: [{name: a, type: count}, {name: a, type: count}]\n",
     "1: features[1]: name 'a' is taken by features[0]"},
    {"identity: {namespaces: []}\n", "1: identity.namespaces must not be empty"},
    {"identity: {namespaces: [{name: a, from: []}]}\n", "1: identity.namespaces[0].from must not be empty"},
    {"identity: {namespaces: [{name: a, from: [userId, nonsense]}]}\n", "1: identity.namespaces[0].from"},
    {"identity: {namespaces: [{name: a, from: [name, name, name, name, name, name, name, name, name]}]}\n",
     "1: identity.namespaces[0].from: at most 8 fields"},
    {"identity: {namespaces: [{name: a, from: userId, normalize: emial}]}\n",
     "1: identity.namespaces[0].normalize: 'emial' is not one of: none, email, phone, did you mean 'email'?"},
    {"identity: {namespaces: [{name: a}]}\n", "1: identity.namespaces[0] needs 'from'"},
    {"identity: {namespaces: [{name: a, from: userId, known: yes}]}\n",
     "1: identity.namespaces[0].known: 'yes' is not true or false"},
    {"identity: {namespaces: [{name: a, from: userId, known: 'true'}]}\n",
     "1: identity.namespaces[0].known: 'true' is not true or false (leave the quotes out)"},
    {"identity: {namespaces: [{name: a, from: userId, max: 0}]}\n", "1: identity.namespaces[0].max: 0 is out of range"},
    {"identity: {max_fragments: 70000}\n", "1: identity.max_fragments: 70000 is out of range"},
    {"enrichers:\n- campaign\n- campaign\n", "3: enrichers[1]: name 'campaign' is taken by enrichers[0]"},
    {"destinations: [{name: a}]\n", "1: destinations[0] needs 'plugin'"},
    {"destinations: [{plugin: a, options: x}]\n", "1: destinations[0].options must be a map"},
    {"destinations:\n- plugin: a\n  optoins: {}\n",
     "3: unknown key 'optoins' in destinations[0], did you mean 'options'?"},
    {"destinations: [{plugin: ../a}]\n", "1: destinations[0].plugin: '../a' must be 1 to 64"},
    {"- a\n", "1: must be a map"},
    {"text\n", "1: must be a map"},
    {"a: 1\na: 2\n", "2: 'a' is here twice, first in line 1"},
    {"a: *b\n", "1: "},
    {"log: {}\n  x: 1\n", "2: "},
};

static void every_complaint_has_file_and_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		const struct config *config;
		char *errors = NULL, want[600];
		int rc = load_with(wrong[i].text, NULL, 0, &config, &errors);
		(void)snprintf(want, sizeof want, "%s:%s", file, wrong[i].complaint);
		if (rc != ERR_INVALID || config || !errors || strncmp(errors, want, strlen(want)) != 0)
			fail_msg("%s\ngot  %s\nwant %s", wrong[i].text, errors ? errors : "nothing", want);
		if (strchr(errors, '\n')) fail_msg("more than one complaint: %s", errors);
		free(errors);
	}
}

static void all_complaints_come_at_once(void **state)
{
	const struct config *config;
	char *errors, *line;
	static const char *const parts[] = {
	    ":1: unknown key 'a'", ":3: log.level",       ":4: unknown key 'formt' in log",
	    ":6: sources[0].id",   ":8: sources[0].kind", ":9: limits.body_bytes"};
	int count = 0;
	(void)state;
	int rc = load_with("a: 1\nlog:\n  level: x\n  formt: json\nsources:\n- id: A\n  write_keys: [k]\n  kind: "
			   "x\nlimits: {body_bytes: x}\n",
			   NULL, 0, &config, &errors);
	assert_int_equal(rc, ERR_INVALID);
	for (size_t i = 0; i < COUNT_OF(parts); i++)
		if (!strstr(errors, parts[i])) fail_msg("missing %s in\n%s", parts[i], errors);
	for (line = errors; line; line = strchr(line + 1, '\n')) count++;
	assert_int_equal(count, COUNT_OF(parts));
	assert_int_not_equal(errors[strlen(errors) - 1], '\n');
	free(errors);
}

static void a_flood_of_complaints_is_cut(void **state)
{
	const struct config *config;
	struct buf buf;
	char *errors;
	int count = 0;
	(void)state;
	buf_init(&buf, 1 << 20);
	for (int i = 0; i < 4000; i++) assert_ok(buf_printf(&buf, "nonsense%d: 1\n", i));
	assert_ok(buf_putc(&buf, 0));
	assert_int_equal(load_with(buf_ptr(&buf), NULL, 0, &config, &errors), ERR_INVALID);
	for (char *line = errors; line; line = strchr(line + 1, '\n')) count++;
	assert_int_equal(count, 101);
	assert_non_null(strstr(errors, "and more"));
	free(errors);
	buf_fini(&buf);
}

static void a_missing_file(void **state)
{
	const struct config *config;
	char *errors;
	(void)state;
	assert_int_equal(config_load("/nonexistent.yaml", NULL, 0, &config, &errors), ERR_IO);
	assert_string_equal(errors, "/nonexistent.yaml:1: cannot be opened: No such file or directory");
	free(errors);
}

/* ── --set ─────────────────────────────────────────────────────────────────── */

static void overrides(void **state)
{
	const struct config_override set[] = {
	    {STR("listen.http"), STR("127.0.0.1:0")},
	    {STR("limits.connections"), STR("7")},
	    {STR("sources.0.id"), STR("other")},
	    {STR("sources.1"), STR("{id: b, kind: server, write_keys: [x]}")},
	    {STR("trusted_proxies"), STR("[10.0.0.1]")},
	    {STR("log.level"), STR("warn")},
	    {STR("destinations"), STR("[{plugin: p, options: {a: 1}}]")},
	};
	const struct config *c;
	char *errors;
	(void)state;
	if (load_with("listen: {http: ['127.0.0.1:1', '127.0.0.1:2']}\n" SOURCE, set, COUNT_OF(set), &c, &errors) != OK)
		fail_msg("%s", errors);
	assert_int_equal(c->listener_count, 1);
	assert_int_equal(c->listeners[0].port, 0);
	assert_int_equal(c->limits.connections, 7);
	assert_str(c->sources[0].id, "other");
	assert_str(c->sources[1].id, "b");
	assert_str(c->trusted_proxies[0], "10.0.0.1");
	assert_int_equal(c->log_level, LOG_LEVEL_WARN);
	assert_str(c->destinations[0].name, "p");
	config_unref(c);
}

static void wrong_overrides(void **state)
{
	static const struct {
		struct config_override set;
		const char *complaint;
	} cases[] = {
	    {{STR("limits.connections"), STR("-5")}, "--set: limits.connections: '-5' is not a whole number"},
	    {{STR("limits.conections"), STR("5")},
	     "--set: unknown key 'conections' in limits, did you mean 'connections'?"},
	    {{STR("log.level.x"), STR("5")}, "--set log.level.x: 'level' has a value, not keys"},
	    {{STR("sources.5.id"), STR("x")}, "--set sources.5.id: '5' is past the end of the list"},
	    {{STR("sources"), STR("[")}, "--set sources:"},
	    {{STR("sources.1.id"), STR("x")}, "--set: sources[1] needs 'kind'"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct config *config;
		char *errors;
		assert_int_equal(load_with("log: {level: info}\n" SOURCE, &cases[i].set, 1, &config, &errors),
				 ERR_INVALID);
		if (strncmp(errors, cases[i].complaint, strlen(cases[i].complaint)) != 0) fail_msg("%s", errors);
		free(errors);
	}
}

/* ── reload ────────────────────────────────────────────────────────────────── */

static void what_needs_a_restart(void **state)
{
	static const struct {
		const char *a, *b, *key;
	} cases[] = {
	    {"", "", NULL},
	    {"", "store: {path: /var/lib/cdpd}\nio_threads: 0\nenrichers: []\n", NULL}, /* a default written out */
	    {"store: {path: a}", "store: {path: b}", "store.path"},
	    {"listen: {http: '127.0.0.1:1'}", "listen: {http: '127.0.0.1:2'}", "listen.http"},
	    {"listen: {http: '127.0.0.1:1'}", "listen: {http: ['127.0.0.1:1']}", NULL},
	    {"listen: {http: '127.0.0.1:1'}", "listen: {http: '127.0.0.1:1', admin: '127.0.0.1:2'}", "listen.admin"},
	    {"io_threads: 1", "io_threads: 2", "io_threads"},
	    {"plugins: {path: a}", "plugins: {path: b}", "plugins.path"},
	    {"enrichers: [a]", "enrichers: [b]", NULL}, /* the plugin room knows which of them may */
	    {"enrichers: [a]", "enrichers: [{plugin: a, name: a}]", NULL},
	    {"enrichers: [{plugin: a, options: {x: 1}}]", "\nenrichers:\n- plugin: a\n  options:\n    x: 1\n", NULL},
	    {"enrichers: [{plugin: a, options: {x: 1}}]", "enrichers: [{plugin: a, options: {x: 2}}]", NULL},
	    {"enrichers: [a, b]", "enrichers: [b, a]", NULL},
	    {"limits: {connections: 1}", "limits: {connections: 2}\nlog: {level: debug}\n" SOURCE, NULL},
	};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct config *a = loaded(cases[i].a), *b = loaded(cases[i].b);
		const char *key = config_needs_restart(a, b), *back = config_needs_restart(b, a);
		if ((key == NULL) != (cases[i].key == NULL) || (key && strcmp(key, cases[i].key) != 0))
			fail_msg("%zu: %s", i, key);
		assert_ptr_equal(key, back);
		config_unref(a);
		config_unref(b);
	}
}

static void *ref_and_unref(void *arg)
{
	const struct config *c = arg;
	for (int i = 0; i < 10000; i++) config_unref(config_ref(c));
	config_unref(c);
	return NULL;
}

static void references_from_threads(void **state)
{
	const struct config *c = loaded(full);
	pthread_t threads[4];
	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, (void *)(uintptr_t)config_ref(c)), 0);
	config_unref(c);
	for (int i = 0; i < 4; i++) (void)pthread_join(threads[i], NULL);
	config_unref(NULL);
}

/* ── the files we ship ─────────────────────────────────────────────────────── */

static void shipped_files_load(void **state)
{
	DIR *dir = opendir(CONF_DIR);
	size_t count = 0;
	(void)state;
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));) {
		const struct config *config;
		char path[1024], *errors;
		size_t len = strlen(entry->d_name);
		if (len < 5 || strcmp(entry->d_name + len - 5, ".yaml") != 0 || strstr(entry->d_name, "tokens") ||
		    strcmp(entry->d_name, "tracking-plan.yaml") == 0 ||
		    strstr(entry->d_name, "segments")) /* part of the quickstart */
			continue;
		(void)snprintf(path, sizeof path, "%s/%s", CONF_DIR, entry->d_name);
		if (config_load(path, NULL, 0, &config, &errors) != OK) fail_msg("%s", errors);
		config_unref(config);
		count++;
	}
	(void)closedir(dir);
	assert_true(count >= 2);
}

/* conf/cdpd.yaml claims to show every key with its default. */
static void the_reference_file_shows_the_defaults(void **state)
{
	const struct config *reference, *plain = loaded("");
	char *errors;
	(void)state;
	assert_ok(config_load(CONF_DIR "/cdpd.yaml", NULL, 0, &reference, &errors));
	assert_null(config_needs_restart(plain, reference));
	assert_memory_equal(&reference->limits, &plain->limits, sizeof plain->limits);
	assert_memory_equal(&reference->journal, &plain->journal, sizeof plain->journal);
	assert_true(reference->dedup_window_us == plain->dedup_window_us &&
		    reference->dedup_max_ids == plain->dedup_max_ids);
	assert_int_equal(reference->listener_count, 1);
	assert_str(reference->listeners[0].host, "127.0.0.1");
	assert_int_equal(reference->max_fragments, plain->max_fragments);
	assert_int_equal(reference->namespace_count, plain->namespace_count);
	for (size_t i = 0; i < plain->namespace_count; i++) {
		const struct conf_namespace *a = &plain->namespaces[i], *b = &reference->namespaces[i];
		assert_true(str_eq(a->name, b->name) && a->from_count == 1 && b->from_count == 1);
		assert_true(str_eq(a->from[0], b->from[0]) && a->normalize == b->normalize);
		assert_true(a->max_per_profile == b->max_per_profile && a->is_known == b->is_known);
	}
	assert_int_equal(reference->blocked_identifier_count, plain->blocked_identifier_count);
	for (size_t i = 0; i < plain->blocked_identifier_count; i++)
		assert_true(str_eq(reference->blocked_identifiers[i], plain->blocked_identifiers[i]));
	assert_true(reference->changes_retention_us == plain->changes_retention_us);
	assert_int_equal(reference->min_position_wait_ms, plain->min_position_wait_ms);
	assert_int_equal(reference->drain_timeout_ms, plain->drain_timeout_ms);
	assert_int_equal(reference->log_level, plain->log_level);
	assert_str(reference->public_url, "");
	config_unref(reference);
	config_unref(plain);
}

static void the_quickstart_is_as_documented(void **state)
{
	const struct config *c;
	char *errors;
	(void)state;
	assert_ok(config_load(CONF_DIR "/quickstart.yaml", NULL, 0, &c, &errors));
	const struct conf_source *demo = config_source_by_key(c, STR("demo-write-key"));
	assert_non_null(demo);
	assert_str(demo->id, "demo");
	assert_int_equal(demo->kind, SOURCE_BROWSER);
	assert_int_equal(demo->rights, RIGHT_ALIAS | RIGHT_DECLARED);
	assert_str(c->store_path, "./data");
	assert_str(c->tokens_file, "conf/quickstart-tokens.yaml");
	assert_int_equal(c->listeners[0].port, 8080);
	assert_str(c->destinations[0].name, "events-file");
	config_unref(c);
	const struct config_override open_to_all = {STR("listen.http"), STR("0.0.0.0:8080")};
	assert_int_equal(config_load(CONF_DIR "/quickstart.yaml", &open_to_all, 1, &c, &errors), ERR_INVALID);
	assert_non_null(strstr(errors, "demo-write-key"));
	free(errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults),
	    cmocka_unit_test(default_identity),
	    cmocka_unit_test(everything_given),
	    cmocka_unit_test(sources_and_their_rights),
	    cmocka_unit_test(many_write_keys),
	    cmocka_unit_test(every_complaint_has_file_and_line),
	    cmocka_unit_test(all_complaints_come_at_once),
	    cmocka_unit_test(a_flood_of_complaints_is_cut),
	    cmocka_unit_test(a_missing_file),
	    cmocka_unit_test(overrides),
	    cmocka_unit_test(wrong_overrides),
	    cmocka_unit_test(what_needs_a_restart),
	    cmocka_unit_test(references_from_threads),
	    cmocka_unit_test(shipped_files_load),
	    cmocka_unit_test(the_reference_file_shows_the_defaults),
	    cmocka_unit_test(the_quickstart_is_as_documented),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
