/* trial: `cdpctl plugin check`: a plugin loaded, created and run over events as the daemon would, with no daemon. Everything of the plugin
 * happens in a child process, so that a crash or a hang is a finding with the place where it happened. */
#pragma once

#include "base/str.h"

struct plugin_trial {
	const char *file;    /* the .so */
	const char *options; /* a YAML map, "{drop: true}"; NULL: the defaults */
	const char *events;  /* NDJSON, each line an event in the native form; NULL: only load, create and destroy */
	const char *field;   /* features: where the value is; NULL: none */
	const char
	    *requests; /* sources: NDJSON, each line a request (trial_source.c); NULL: only load, create and destroy */
	const char
	    *answers; /* NDJSON, what the web answers (trial_http.c); NULL: nobody answers, what was asked is told */
	unsigned
	    passes; /* how often the events are run over; the last one is timed. At least 2, so that growth shows */
	bool prints_answers; /* what came of each event, one line each */
};
/* Prints contract, answers, timing and memory to stdout, findings to stderr. The process's exit code: 0 when there was nothing to
 * complain about, 1 else. */
int plugin_trial_main(const struct plugin_trial *trial);
