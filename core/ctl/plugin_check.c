#include "ctl/plugin_check.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/trial.h"

#define PASSES     5
#define PASSES_MAX 1000

static const char HELP[] =
    "Usage: cdpctl plugin check FILE.so [options]\n"
    "\n"
    "Loads the plugin in a child process as the daemon would, prints its contract, creates it, runs it over events "
    "and\n"
    "destroys it; tells what came of the events, how long they took and what memory they left. No daemon is needed.\n"
    "\n"
    "  --input FILE     events, one JSON object a line, in the native form; without it the plugin is only created\n"
    "  --options YAML   the instance's options, as they would stand in the configuration: '{drop: true}'\n"
    "  --requests FILE  sources: requests, one JSON object a line: method, path, query, headers, body, and what to "
    "expect\n"
    "                   ({\"status\": 200, \"events\": 1, \"rejects\": 0})\n"
    "  --answers FILE   what the web answers, one JSON object a line: url (* for anything), method, status, headers, "
    "body,\n"
    "                   or error (timeout, io, denied); without it nobody answers, and what was asked is told\n"
    "  --field PATH     features: where the value is, such as properties.total\n"
    "  --passes N       how often the events are run over (5); growth between passes is a leak\n"
    "  --print          what came of each event, by line\n"
    "\n"
    "Features are added forwards, backwards and as merged halves, and must read the same if the type calls itself "
    "exact.\n"
    "Asynchronous enrichers are asked one event after the other, and never reach the network; sources get each "
    "request\n"
    "again in every pass, as webhooks are delivered again.\n"
    "Exporters do what they do: to the other side, a check is real traffic.\n"
    "\n"
    "Exit codes: 0 nothing to complain about, 1 findings, 2 wrong usage.\n";

static int usage(const char *why, const char *what)
{
	(void)fprintf(stderr, "cdpctl: %s%s; see cdpctl plugin check --help\n", why, what);
	return 2;
}

static int read_passes(const char *text, unsigned *out)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);
	if (*end || value < 2 || value > PASSES_MAX) return usage("--passes takes 2 to 1000, not ", text);
	*out = (unsigned)value;
	return 0;
}

int plugin_check_main(int argc, char **argv)
{
	enum { INPUT = 256, OPTIONS, REQUESTS, ANSWERS, FIELD, PASS_COUNT, PRINT, SHOW_HELP };
	static const struct option LONG[] = {
	    {"input", required_argument, NULL, INPUT},
	    {"options", required_argument, NULL, OPTIONS},
	    {"requests", required_argument, NULL, REQUESTS},
	    {"answers", required_argument, NULL, ANSWERS},
	    {"field", required_argument, NULL, FIELD},
	    {"passes", required_argument, NULL, PASS_COUNT},
	    {"print", no_argument, NULL, PRINT},
	    {"help", no_argument, NULL, SHOW_HELP},
	    {NULL, 0, NULL, 0},
	};
	struct plugin_trial trial = {.passes = PASSES};
	for (int code; (code = getopt_long(argc, argv, "", LONG, NULL)) != -1;) {
		switch (code) {
		case INPUT: trial.events = optarg; break;
		case OPTIONS: trial.options = optarg; break;
		case REQUESTS: trial.requests = optarg; break;
		case ANSWERS: trial.answers = optarg; break;
		case FIELD: trial.field = optarg; break;
		case PRINT: trial.prints_answers = true; break;
		case PASS_COUNT:
			if (read_passes(optarg, &trial.passes)) return 2;
			break;
		case SHOW_HELP: return fputs(HELP, stdout) < 0;
		default: return usage("wrong usage", "");
		}
	}
	if (optind >= argc || strcmp(argv[optind], "check") != 0)
		return usage("check is all that can be done with a plugin here", "");
	if (argc - optind != 2) return usage("check takes one FILE.so", "");
	trial.file = argv[optind + 1];
	return plugin_trial_main(&trial);
}
