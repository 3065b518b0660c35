/* log: one line per fact, to stderr, as logfmt (default) or JSON.
 *
 * "subject, consequence, cause": log_warn(LOG_STORE, "commit failed, %zu events kept queued (%s)",
 * n, status_str(rc)). Thread-safe; a line is one write(2). No payload, no secret.
 * Libraries return errors; the one who decides logs, once. */
#pragma once

#include "base/str.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };
enum log_room {
	LOG_MAIN,
	LOG_CONFIG,
	LOG_STORE,
	LOG_JOURNAL,
	LOG_PROFILE,
	LOG_PLUGIN,
	LOG_NET,
	LOG_INGEST,
	LOG_FOLD,
	LOG_DELIVER,
	LOG_API,
	LOG_PRIVACY,
	LOG_ROOM_COUNT
};

void log_setup(enum log_format format, enum log_level level);
void log_set_room_level(enum log_room room, enum log_level level);
bool log_room_from_name(struct str name, enum log_room *out);
bool log_level_from_name(struct str name, enum log_level *out);
bool log_enabled(enum log_room room, enum log_level level);

/* From now on lines go to `sink` instead, from any thread; before there are threads. */
void log_to(void (*sink)(enum log_level level, const char *text));
/* Control bytes in the text are escaped. `who` names an instance (a plugin, a source) or is NULL. */
void log_line(enum log_room room, enum log_level level, const char *who, const char *fmt, ...) PRINTF_LIKE(4, 5);
#define log_error(room, ...) log_line((room), LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
#define log_warn(room, ...)  log_line((room), LOG_LEVEL_WARN, NULL, __VA_ARGS__)
#define log_info(room, ...)  log_line((room), LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_debug(room, ...) \
	do { \
		if (log_enabled((room), LOG_LEVEL_DEBUG)) log_line((room), LOG_LEVEL_DEBUG, NULL, __VA_ARGS__); \
	} while (0)
