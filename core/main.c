/* main: the command line of cdpd. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon.h"
#include "plugin/isolate_child.h"
#include "plugin/plugin.h"

#define OVERRIDES_MAX 64

static const char usage_text[] =
    "usage: cdpd -c FILE [-n] [--set path=value]...\n"
    "       cdpd plugins [FILE.so...]\n"
    "\n"
    "  -c, --config FILE     the configuration (YAML; conf/cdpd.yaml documents every key)\n"
    "  -n, --check           check the configuration and exit\n"
    "  -s, --set path=value  override one key: --set listen.http=127.0.0.1:0\n"
    "  -V, --version         print the version\n"
    "  -h, --help            this text\n"
    "\n"
    "  plugins               kind, version and options of plugins, read in a sandboxed child\n";

static int usage_error(const char *what)
{
	(void)fprintf(stderr, "cdpd: %s\n%s", what, usage_text);
	return DAEMON_EXIT_USAGE;
}

static bool parse_override(const char *text, struct config_override *out)
{
	const char *equals = strchr(text, '=');
	if (!equals || equals == text) return false;
	out->path = str_of(text, (size_t)(equals - text));
	out->value = str_from(equals + 1);
	return true;
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'n'},
	    {"set", required_argument, NULL, 's'},    {"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
	};
	struct config_override overrides[OVERRIDES_MAX];
	struct daemon_source source = {.overrides = overrides};
	bool only_check = false;
	for (int opt; (opt = getopt_long(argc, argv, "c:ns:Vh", options, NULL)) != -1;) {
		switch (opt) {
		case 'c': source.config_file = optarg; break;
		case 'n': only_check = true; break;
		case 's':
			if (source.override_count == OVERRIDES_MAX) return usage_error("too many --set");
			if (!parse_override(optarg, &overrides[source.override_count++]))
				return usage_error("--set wants path=value");
			break;
		case 'V': puts("cdpd " CDPD_VERSION); return DAEMON_EXIT_OK;
		case 'h': (void)fputs(usage_text, stdout); return DAEMON_EXIT_OK;
		default: (void)fputs(usage_text, stderr); return DAEMON_EXIT_USAGE;
		}
	}
	if (optind < argc) return usage_error("too many arguments");
	if (!source.config_file) return usage_error("-c FILE is needed");
	if (!only_check) return daemon_run(&source);
	if (!daemon_check(&source)) return DAEMON_EXIT_CONFIG;
	puts("configuration OK");
	return DAEMON_EXIT_OK;
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], ISOLATE_ARGUMENT) == 0) isolate_child_main(argc - 2, argv + 2);
	if (argc >= 2 && strcmp(argv[1], "plugins") == 0)
		return plugin_inspect_main((const char *const *)argv + 2, (size_t)argc - 2, STR_NONE);
	return run(argc, argv);
}
