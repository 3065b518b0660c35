/* daemon: builds the rooms in order, runs until told to stop, takes them down in reverse. */
#pragma once

#include "config/config.h"

/* Exit codes of the cdpd process; docs/operations.md lists them. */
enum daemon_exit {
	DAEMON_EXIT_OK = 0,
	DAEMON_EXIT_CONFIG = 1, /* the configuration was refused; nothing on disk was touched */
	DAEMON_EXIT_USAGE = 2,
	DAEMON_EXIT_START = 3,   /* the data directory, a port or a plugin was refused */
	DAEMON_EXIT_DURABLE = 4, /* the disk failed an fsync or holds corrupt bytes: acks stopped at once */
};

/* Where the configuration came from, for reload. */
struct daemon_source {
	const char *config_file;
	const struct config_override *overrides;
	size_t override_count;
};

/* Complains on stderr, one line per fault; true when the daemon could run with it. Starts nothing, touches no data. */
bool daemon_check(const struct daemon_source *source);
/* Runs until SIGTERM or SIGINT (drain, then stop; a second one stops at once); SIGHUP reloads. Returns the exit code. */
int daemon_run(const struct daemon_source *source);
