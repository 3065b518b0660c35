/* cdpctl: asks a running cdpd over its HTTP API and shows the answer. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/destinations.h"
#include "ctl/erase.h"
#include "ctl/forms.h"
#include "ctl/plugin_check.h"
#include "ctl/print.h"
#include "ctl/show.h"

#define DEFAULT_URL "http://127.0.0.1:8080"
#define BODY_MAX    (64u << 20)

static const char HELP[] =
    "Usage: cdpctl [options] command\n"
    "\n"
    "Commands\n"
    "  status              what the daemon does and whether every event is accounted for\n"
    "  profile REF         one person; REF is namespace:value (user_id:42) or id:PROFILE_ID\n"
    "      --events        and the newest events (--limit N, at most 500)\n"
    "  merge A B           says that two references are one person (--reason TEXT)\n"
    "  unmerge A B         says that they never were (--reason TEXT)\n"
    "      --dry-run       tells what would change and changes nothing\n"
    "  trace MESSAGE_ID    where one event went and why (--source ID: of that source only)\n"
    "  tail                events as they are decided on, live\n"
    "  rejects             events that did not get through, newest first (--limit N)\n"
    "  destinations        what each destination has taken and what waits for it; destinations pause NAME,\n"
    "                      resume NAME, replay NAME --from POSITION|--since TIME; preview NAME --message-id ID or\n"
    "                      --file EVENT.json [--profile REF]: what it would be handed, and if nothing, why not;\n"
    "                      test NAME hands a test event over and shows the answer\n"
    "  deadletters [NAME]  records that a destination could not take, and why (--limit N); deadletters redrive\n"
    "                      NAME [POSITION] hands them over again, deadletters discard NAME [POSITION] forgets them\n"
    "  plugins             enrichers and destinations, and how the processes of isolated ones fare\n"
    "  sources             who may send events\n"
    "  export REF          everything held on one person, as JSON\n"
    "  erase REF           takes a person out of everything; --dry-run only says what would go,\n"
    "                      --identifier takes out that one identifier, --wait follows it to the end\n"
    "  erasures            what was asked to be erased, newest first (--limit N)\n"
    "  suppress REF        later events of that person are not applied; unsuppress REF lifts it\n"
    "  link REF            a link that speaks for one person, by default to confirm a consent:\n"
    "                      --purpose NAME [--channel NAME] [--target URL]; or, to let the person speak,\n"
    "                      --for form|preferences|consent --target URL; --ttl SECONDS, --single-use\n"
    "  plugin check FILE   loads a plugin and runs it over events, without a daemon (plugin check --help)\n"
    "  forms               forms of the configuration and of the store; forms show NAME, forms put NAME FILE\n"
    "                      (JSON; --dry-run only checks), forms delete NAME, forms results NAME\n"
    "  verify consents     whether the chained consent log is whole\n"
    "\n"
    "Options\n"
    "  --url URL           the daemon: http://…, https://… or unix:/path (CDPD_URL; default " DEFAULT_URL ")\n"
    "  --token TOKEN       Bearer token (CDPD_TOKEN keeps it out of the process list)\n"
    "  --token-file FILE   its first line is the token\n"
    "  --json              the daemon's answer as it came; tail: one JSON object a line\n"
    "  --help, --version\n"
    "\n"
    "Without a token, and only for a daemon on this machine, the quickstart's are tried:\n"
    "demo-read-token for profile, demo-admin-token for everything else.\n"
    "profile and forms results need the scope profiles:read, merge and unmerge the scope merge, link the scope\n"
    "links, export the scope export, erase, erasures, suppress and unsuppress the scope erase, all other commands\n"
    "the scope admin.\n"
    "\n"
    "Exit codes: 0 done, 1 no such thing, 2 wrong usage, 3 no daemon answered, 4 token refused,\n"
    "5 any other refusal.\n";

struct ctl {
	struct client *client;
	struct json_reader *reader;
	struct buf body;
	const char *url, *token, *token_file, *source;
	struct erase_options erase;
	struct destinations_options operate;
	const char *argument, *second; /* second: of commands that take two */
	const char *reason;
	bool is_json, has_events, is_dry_run;
	uint64_t limit; /* 0: the daemon's default */
	const char *link_for, *purpose, *channel, *target;
	uint64_t ttl; /* 0: the daemon's default */
	bool is_single_use;
	char *const *words; /* of commands that have commands of their own */
	int word_count;
};

/* ── asking ──────────────────────────────────────────────────────────────── */

static enum ctl_exit parse_body(struct ctl *ctl, struct json *root)
{
	const char *why;
	if (json_parse(ctl->reader, buf_str(&ctl->body), root, &why) == OK) return CTL_OK;
	(void)fprintf(stderr, "cdpctl: the answer is not JSON (%s): is %s really cdpd?\n", why, ctl->url);
	return CTL_FAILED;
}

static enum ctl_exit get(struct ctl *ctl, const char *path, struct json *root)
{
	enum ctl_exit result = client_get(ctl->client, path, &ctl->body);
	return result == CTL_OK ? parse_body(ctl, root) : result;
}

static void print_body(const struct ctl *ctl)
{
	(void)fwrite(buf_ptr(&ctl->body), 1, ctl->body.len, stdout);
	(void)putchar('\n');
}

/* "PREFIX<escaped argument>SUFFIX"; malloc'd. */
static char *path_with(struct ctl *ctl, const char *prefix, const char *argument, const char *suffix)
{
	char *escaped = client_escape(ctl->client, argument);
	char *path = NULL;
	if (!escaped || asprintf(&path, "%s%s%s", prefix, escaped, suffix) < 0) path = NULL;
	free(escaped);
	if (!path) (void)fputs("cdpctl: out of memory\n", stderr);
	return path;
}

static enum ctl_exit show_simple(struct ctl *ctl, const char *path, void (*show)(struct json root))
{
	struct json root;
	enum ctl_exit result = get(ctl, path, &root);
	if (result != CTL_OK) return result;
	if (ctl->is_json)
		print_body(ctl);
	else
		show(root);
	return CTL_OK;
}

/* ── commands ────────────────────────────────────────────────────────────── */

static enum ctl_exit run_status(struct ctl *ctl)
{
	struct json root;
	enum ctl_exit result = get(ctl, "/v1/admin/status", &root);
	if (result != CTL_OK) return result;
	if (ctl->is_json)
		print_body(ctl);
	else
		show_status(root, ctl->url);
	return CTL_OK;
}

static enum ctl_exit run_events(struct ctl *ctl)
{
	char suffix[64];
	(void)snprintf(suffix, sizeof suffix, "/events?limit=%" PRIu64, ctl->limit ? ctl->limit : 20);
	char *path = path_with(ctl, "/v1/profiles/", ctl->argument, suffix);
	enum ctl_exit result = path ? show_simple(ctl, path, show_events) : CTL_FAILED;
	free(path);
	return result;
}

static enum ctl_exit run_profile(struct ctl *ctl)
{
	char *path = path_with(ctl, "/v1/profiles/", ctl->argument, "");
	enum ctl_exit result = path ? show_simple(ctl, path, show_profile) : CTL_FAILED;
	free(path);
	return result == CTL_OK && ctl->has_events ? run_events(ctl) : result;
}

static char *trace_path(struct ctl *ctl, struct str next)
{
	char *path = path_with(ctl, "/v1/admin/trace?message_id=", ctl->argument, "");
	char *longer = NULL;
	if (path && ctl->source) {
		longer = path_with(ctl, "&source=", ctl->source, "");
		char *both = NULL;
		if (!longer || asprintf(&both, "%s%s", path, longer) < 0) both = NULL;
		free(path);
		free(longer);
		path = both;
	}
	if (!path || !next.len) return path;
	if (asprintf(&longer, "%s&cursor=%.*s", path, STR_ARG(next)) < 0) longer = NULL;
	free(path);
	return longer;
}

/* Each answer covers a bounded stretch of the journal: go on until it is found or the journal ends. */
static enum ctl_exit run_trace(struct ctl *ctl)
{
	struct json root;
	char next[64] = "";
	int64_t scanned = 0;
	bool is_first = true;
	for (;; is_first = false) {
		char *path = trace_path(ctl, str_from(next));
		enum ctl_exit result = path ? get(ctl, path, &root) : CTL_FAILED;
		free(path);
		if (result != CTL_OK) return result;
		struct str cursor = json_text_at(root, "next");
		scanned += json_int_at(root, "scanned");
		if (json_bool_at(root, "found") || !cursor.len || cursor.len >= sizeof next) break;
		(void)snprintf(next, sizeof next, "%.*s", STR_ARG(cursor));
		if (isatty(STDERR_FILENO))
			(void)fprintf(stderr, "\rlooked at %" PRId64 " records, going back …", scanned);
	}
	if (!is_first && isatty(STDERR_FILENO)) (void)fputc('\n', stderr);
	if (ctl->is_json)
		print_body(ctl);
	else
		show_trace(root);
	return json_bool_at(root, "found") ? CTL_OK : CTL_NOT_FOUND;
}

static int on_tail(void *ctx, struct str event, struct str data)
{
	struct ctl *ctl = ctx;
	struct json root;
	(void)event;
	if (ctl->is_json) {
		(void)fwrite(data.ptr, 1, data.len, stdout);
		(void)putchar('\n');
		return fflush(stdout) != 0;
	}
	/* The parser wants readable bytes behind the text: buffers have them. */
	buf_clear(&ctl->body);
	if (buf_append_str(&ctl->body, data) != OK || parse_body(ctl, &root) != CTL_OK) return 1;
	show_tail_event(root);
	return ferror(stdout) != 0;
}

static enum ctl_exit run_tail(struct ctl *ctl)
{
	return client_stream(ctl->client, "/v1/admin/tail", on_tail, ctl);
}

static enum ctl_exit run_rejects(struct ctl *ctl)
{
	char path[96];
	(void)snprintf(path, sizeof path, "/v1/admin/rejects?limit=%" PRIu64, ctl->limit ? ctl->limit : 50);
	return show_simple(ctl, path, show_rejects);
}

static enum ctl_exit run_destinations(struct ctl *ctl)
{
	if (!ctl->word_count) return show_simple(ctl, "/v1/admin/destinations", show_destinations);
	ctl->operate.words = ctl->words;
	ctl->operate.word_count = ctl->word_count;
	ctl->operate.is_json = ctl->is_json;
	return destinations_run(ctl->client, ctl->reader, &ctl->body, &ctl->operate);
}

static enum ctl_exit run_deadletters(struct ctl *ctl)
{
	ctl->operate.words = ctl->words;
	ctl->operate.word_count = ctl->word_count;
	ctl->operate.is_json = ctl->is_json;
	ctl->operate.limit = ctl->limit;
	return deadletters_run(ctl->client, ctl->reader, &ctl->body, &ctl->operate);
}

static enum ctl_exit run_plugins(struct ctl *ctl)
{
	return show_simple(ctl, "/v1/admin/plugins", show_plugins);
}

static enum ctl_exit run_sources(struct ctl *ctl)
{
	return show_simple(ctl, "/v1/admin/sources", show_sources);
}

static enum ctl_exit run_export(struct ctl *ctl)
{
	char *path = path_with(ctl, "/v1/profiles/", ctl->argument, "/export");
	enum ctl_exit result = path ? client_save(ctl->client, path, stdout, &ctl->body) : CTL_FAILED;
	free(path);
	if (result == CTL_OK) (void)putchar('\n');
	return result;
}

static enum ctl_exit run_erase(struct ctl *ctl)
{
	char *escaped = path_with(ctl, "", ctl->argument, "");
	ctl->erase.is_json = ctl->is_json;
	ctl->erase.is_dry_run = ctl->is_dry_run;
	enum ctl_exit result =
	    escaped ? erase_run(ctl->client, ctl->reader, &ctl->body, escaped, &ctl->erase) : CTL_FAILED;
	free(escaped);
	return result;
}

static enum ctl_exit run_erasures(struct ctl *ctl)
{
	char path[96];
	(void)snprintf(path, sizeof path, "/v1/erasures?limit=%" PRIu64, ctl->limit ? ctl->limit : 50);
	return show_simple(ctl, path, show_erasures);
}

static enum ctl_exit change_suppression(struct ctl *ctl, const char *method)
{
	char *path = path_with(ctl, "/v1/suppressions/", ctl->argument, "");
	enum ctl_exit result = path ? client_request(ctl->client, method, path, &ctl->body) : CTL_FAILED;
	free(path);
	if (result == CTL_OK && ctl->is_json) print_body(ctl);
	return result;
}

static enum ctl_exit run_suppress(struct ctl *ctl)
{
	return change_suppression(ctl, "PUT");
}

static enum ctl_exit run_unsuppress(struct ctl *ctl)
{
	return change_suppression(ctl, "DELETE");
}

static void write_member(struct json_out *out, const char *key, const char *value)
{
	if (!value) return;
	jo_key(out, str_from(key));
	jo_str(out, str_from(value));
}

static int write_order(const struct ctl *ctl, struct buf *buf)
{
	struct json_out out;
	json_out_init(&out, buf);
	jo_object(&out);
	write_member(&out, "purpose", ctl->link_for ? ctl->link_for : "consent");
	write_member(&out, "person", ctl->argument);
	write_member(&out, "target", ctl->target);
	if (ctl->purpose) {
		jo_key(&out, STR("consent"));
		jo_object(&out);
		write_member(&out, "purpose", ctl->purpose);
		write_member(&out, "channel", ctl->channel);
		jo_end_object(&out);
	}
	if (ctl->ttl) {
		jo_key(&out, STR("ttl"));
		jo_uint(&out, ctl->ttl);
	}
	if (ctl->is_single_use) {
		jo_key(&out, STR("single_use"));
		jo_bool(&out, true);
	}
	jo_end_object(&out);
	return out.status;
}

/* Posts the order; prints the answer by `show`, or as it is. */
static enum ctl_exit post(struct ctl *ctl, const char *path, struct str order, void (*show)(struct json root))
{
	struct json root;
	enum ctl_exit result = client_post_json(ctl->client, path, order, &ctl->body);
	if (result == CTL_OK) result = parse_body(ctl, &root);
	if (result != CTL_OK) return result;
	if (ctl->is_json)
		print_body(ctl);
	else
		show(root);
	return CTL_OK;
}

static enum ctl_exit run_link(struct ctl *ctl)
{
	struct buf order;
	enum ctl_exit result = CTL_FAILED;
	buf_init(&order, 64u << 10);
	if (write_order(ctl, &order) == OK) result = post(ctl, "/v1/links", buf_str(&order), show_link);
	buf_fini(&order);
	return result;
}

static int write_act(const struct ctl *ctl, struct buf *buf)
{
	struct json_out out;
	json_out_init(&out, buf);
	jo_object(&out);
	write_member(&out, "a", ctl->argument);
	write_member(&out, "b", ctl->second);
	write_member(&out, "reason", ctl->reason ? ctl->reason : "");
	jo_end_object(&out);
	return out.status;
}

static enum ctl_exit run_act(struct ctl *ctl, const char *verb)
{
	char path[64];
	struct buf order;
	enum ctl_exit result = CTL_FAILED;
	buf_init(&order, 64u << 10);
	(void)snprintf(path, sizeof path, "/v1/profiles/%s%s", verb, ctl->is_dry_run ? "?dry_run=1" : "");
	if (write_act(ctl, &order) == OK) result = post(ctl, path, buf_str(&order), show_act);
	buf_fini(&order);
	return result;
}

static enum ctl_exit run_merge(struct ctl *ctl)
{
	return run_act(ctl, "merge");
}

static enum ctl_exit run_unmerge(struct ctl *ctl)
{
	return run_act(ctl, "unmerge");
}

static enum ctl_exit run_verify(struct ctl *ctl)
{
	struct json root;
	if (strcmp(ctl->argument, "consents") != 0) {
		(void)fprintf(stderr, "cdpctl: verify consents is all that can be verified, not '%s'\n", ctl->argument);
		return CTL_USAGE;
	}
	enum ctl_exit result = get(ctl, "/v1/admin/consents/verify", &root);
	if (result != CTL_OK) return result;
	if (ctl->is_json)
		print_body(ctl);
	else
		show_consent_chain(root);
	return json_bool_at(root, "intact") ? CTL_OK : CTL_FAILED;
}

static enum ctl_exit run_forms(struct ctl *ctl)
{
	const struct forms_options options = {
	    .words = ctl->words, .word_count = ctl->word_count, .is_json = ctl->is_json, .is_dry_run = ctl->is_dry_run};
	return forms_run(ctl->client, ctl->reader, &ctl->body, &options);
}

static const struct command {
	const char *name, *argument; /* NULL: takes none; "A B": takes two; "…": looks at its words itself */
	const char *demo_token;
	enum ctl_exit (*run)(struct ctl *ctl);
} COMMANDS[] = {
    {"status", NULL, "demo-admin-token", run_status},
    {"profile", "REF", "demo-read-token", run_profile},
    {"merge", "A B", "demo-admin-token", run_merge},
    {"unmerge", "A B", "demo-admin-token", run_unmerge},
    {"trace", "MESSAGE_ID", "demo-admin-token", run_trace},
    {"tail", NULL, "demo-admin-token", run_tail},
    {"rejects", NULL, "demo-admin-token", run_rejects},
    {"destinations", "…", "demo-admin-token", run_destinations},
    {"deadletters", "…", "demo-admin-token", run_deadletters},
    {"plugins", NULL, "demo-admin-token", run_plugins},
    {"sources", NULL, "demo-admin-token", run_sources},
    {"export", "REF", "demo-admin-token", run_export},
    {"erase", "REF", "demo-admin-token", run_erase},
    {"erasures", NULL, "demo-admin-token", run_erasures},
    {"suppress", "REF", "demo-admin-token", run_suppress},
    {"unsuppress", "REF", "demo-admin-token", run_unsuppress},
    {"link", "REF", "demo-admin-token", run_link},
    {"forms", "…", "demo-admin-token", run_forms},
    {"verify", "consents", "demo-admin-token", run_verify},
};

static const struct command *find_command(const char *name)
{
	const char *names[COUNT_OF(COMMANDS)];
	for (size_t i = 0; i < COUNT_OF(COMMANDS); i++) {
		names[i] = COMMANDS[i].name;
		if (strcmp(name, names[i]) == 0) return &COMMANDS[i];
	}
	const char *near = str_nearest(str_from(name), names, COUNT_OF(names));
	(void)fprintf(stderr, "cdpctl: unknown command '%s'%s%s%s; see cdpctl --help\n", name,
		      near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
	return NULL;
}

/* ── the command line ────────────────────────────────────────────────────── */

static bool is_local(const char *url)
{
	static const char *const LOCAL[] = {"http://127.", "http://localhost", "http://[::1]", "unix:"};
	for (size_t i = 0; i < COUNT_OF(LOCAL); i++)
		if (strncmp(url, LOCAL[i], strlen(LOCAL[i])) == 0) return true;
	return false;
}

static char *read_token_file(const char *path)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = fopen(path, "re");
	ssize_t len = file ? getline(&text, &size, file) : -1;
	if (file) (void)fclose(file);
	if (len < 0) {
		(void)fprintf(stderr, "cdpctl: no token can be read from %s\n", path);
		free(text);
		return NULL;
	}
	struct str token = str_trim(str_of(text, (size_t)len));
	memmove(text, token.ptr, token.len);
	text[token.len] = '\0';
	return text;
}

static bool choose_token(struct ctl *ctl, const struct command *command, struct client_options *options, char **owned)
{
	const char *env = getenv("CDPD_TOKEN");
	options->token_origin = "--token";
	options->token = ctl->token;
	if (ctl->token) return true;
	if (ctl->token_file) {
		options->token_origin = ctl->token_file;
		options->token = *owned = read_token_file(ctl->token_file);
		return *owned != NULL;
	}
	options->token_origin = env && *env ? "CDPD_TOKEN" : "the quickstart (no other was given)";
	options->token = env && *env ? env : is_local(ctl->url) ? command->demo_token : NULL;
	return true;
}

static enum ctl_exit run(struct ctl *ctl, const struct command *command)
{
	struct client_options options = {.url = ctl->url};
	char *owned = NULL;
	enum ctl_exit result = CTL_FAILED;
	if (!choose_token(ctl, command, &options, &owned)) return CTL_USAGE;
	buf_init(&ctl->body, BODY_MAX);
	if (client_new(&options, &ctl->client) == OK && json_reader_new(&ctl->reader) == OK)
		result = command->run(ctl);
	else
		(void)fputs("cdpctl: out of memory\n", stderr);
	json_reader_free(ctl->reader);
	client_free(ctl->client);
	buf_fini(&ctl->body);
	free(owned);
	return result;
}

enum option_code {
	OPT_URL = 256,
	OPT_TOKEN,
	OPT_TOKEN_FILE,
	OPT_JSON,
	OPT_EVENTS,
	OPT_LIMIT,
	OPT_SOURCE,
	OPT_IDENTIFIER,
	OPT_WAIT,
	OPT_FOR,
	OPT_PURPOSE,
	OPT_CHANNEL,
	OPT_TARGET,
	OPT_TTL,
	OPT_SINGLE_USE,
	OPT_REASON,
	OPT_DRY_RUN,
	OPT_FROM,
	OPT_SINCE,
	OPT_MESSAGE_ID,
	OPT_FILE,
	OPT_PROFILE,
	OPT_HELP,
	OPT_VERSION
};

static const struct option OPTIONS[] = {
    {"url", required_argument, NULL, OPT_URL},
    {"token", required_argument, NULL, OPT_TOKEN},
    {"json", no_argument, NULL, OPT_JSON},
    {"token-file", required_argument, NULL, OPT_TOKEN_FILE},
    {"events", no_argument, NULL, OPT_EVENTS},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"help", no_argument, NULL, OPT_HELP},
    {"source", required_argument, NULL, OPT_SOURCE},
    {"identifier", no_argument, NULL, OPT_IDENTIFIER},
    {"wait", no_argument, NULL, OPT_WAIT},
    {"version", no_argument, NULL, OPT_VERSION},
    {"for", required_argument, NULL, OPT_FOR},
    {"purpose", required_argument, NULL, OPT_PURPOSE},
    {"channel", required_argument, NULL, OPT_CHANNEL},
    {"target", required_argument, NULL, OPT_TARGET},
    {"ttl", required_argument, NULL, OPT_TTL},
    {"single-use", no_argument, NULL, OPT_SINGLE_USE},
    {"reason", required_argument, NULL, OPT_REASON},
    {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"from", required_argument, NULL, OPT_FROM},
    {"since", required_argument, NULL, OPT_SINCE},
    {"message-id", required_argument, NULL, OPT_MESSAGE_ID},
    {"file", required_argument, NULL, OPT_FILE},
    {"profile", required_argument, NULL, OPT_PROFILE},
    {NULL, 0, NULL, 0},
};

static int usage(const char *what, const char *word)
{
	(void)fprintf(stderr, "cdpctl: %s%s; see cdpctl --help\n", what, word);
	return CTL_USAGE;
}

/* -1: go on; else exit with it. */
static int read_options(struct ctl *ctl, int argc, char **argv)
{
	for (int code; (code = getopt_long(argc, argv, "h", OPTIONS, NULL)) != -1;) {
		switch (code) {
		case OPT_URL: ctl->url = optarg; break;
		case OPT_TOKEN: ctl->token = optarg; break;
		case OPT_TOKEN_FILE: ctl->token_file = optarg; break;
		case OPT_JSON: ctl->is_json = true; break;
		case OPT_EVENTS: ctl->has_events = true; break;
		case OPT_SOURCE: ctl->source = optarg; break;
		case OPT_IDENTIFIER: ctl->erase.is_identifier = true; break;
		case OPT_WAIT: ctl->erase.should_wait = true; break;
		case OPT_FOR: ctl->link_for = optarg; break;
		case OPT_PURPOSE: ctl->purpose = optarg; break;
		case OPT_CHANNEL: ctl->channel = optarg; break;
		case OPT_TARGET: ctl->target = optarg; break;
		case OPT_SINGLE_USE: ctl->is_single_use = true; break;
		case OPT_TTL:
			if (str_to_u64(str_from(optarg), &ctl->ttl) != OK || !ctl->ttl)
				return usage("--ttl takes a number of seconds, not ", optarg);
			break;
		case OPT_REASON: ctl->reason = optarg; break;
		case OPT_DRY_RUN: ctl->is_dry_run = true; break;
		case OPT_FROM: ctl->operate.from = optarg; break;
		case OPT_SINCE: ctl->operate.since = optarg; break;
		case OPT_MESSAGE_ID: ctl->operate.message_id = optarg; break;
		case OPT_FILE: ctl->operate.file = optarg; break;
		case OPT_PROFILE: ctl->operate.person = optarg; break;
		case OPT_LIMIT:
			if (str_to_u64(str_from(optarg), &ctl->limit) != OK || !ctl->limit || ctl->limit > 500)
				return usage("--limit takes a number from 1 to 500, not ", optarg);
			break;
		case 'h':
		case OPT_HELP: (void)fputs(HELP, stdout); return CTL_OK;
		case OPT_VERSION: (void)puts("cdpctl " CDPD_VERSION); return CTL_OK;
		default: (void)fputs("see cdpctl --help\n", stderr); return CTL_USAGE;
		}
	}
	return -1;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "plugin") == 0) return plugin_check_main(argc - 1, argv + 1);
	const char *url = getenv("CDPD_URL");
	struct ctl ctl = {.url = url && *url ? url : DEFAULT_URL};
	int result = read_options(&ctl, argc, argv);
	if (result >= 0) return result;
	if (optind == argc) {
		(void)fputs(HELP, stderr);
		return CTL_USAGE;
	}
	const struct command *command = find_command(argv[optind]);
	if (!command) return CTL_USAGE;
	int given = argc - optind - 1;
	if (command->argument && strcmp(command->argument, "…") == 0) {
		ctl.words = argv + optind + 1;
		ctl.word_count = given;
		return run(&ctl, command);
	}
	if (!command->argument && given) return usage("too many arguments for ", command->name);
	int wanted = !command->argument ? 0 : strchr(command->argument, ' ') ? 2 : 1;
	if (given != wanted)
		return usage(command->argument,
			     wanted == 2 ? " are needed, and nothing else" : " is needed, and nothing else");
	ctl.argument = given ? argv[optind + 1] : NULL;
	ctl.second = given == 2 ? argv[optind + 2] : NULL;
	return run(&ctl, command);
}
