#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_SIZE 4096
#define TEXT_SIZE 2048 /* longer texts are cut */

static const char *const room_names[LOG_ROOM_COUNT] = {
    "main", "config", "store", "journal", "profile", "plugin", "net", "ingest", "fold", "deliver", "api", "privacy",
};
static const char *const level_names[] = {"error", "warn", "info", "debug"};

static _Atomic(int) current_format = LOG_FORMAT_LOGFMT;
/* Offset by LOG_LEVEL_INFO, so that static zero means the default. */
static _Atomic(int) room_levels[LOG_ROOM_COUNT];
static void (*line_sink)(enum log_level level, const char *text);

void log_to(void (*sink)(enum log_level level, const char *text))
{
	line_sink = sink;
}

void log_setup(enum log_format format, enum log_level level)
{
	atomic_store(&current_format, (int)format);
	for (int room = 0; room < LOG_ROOM_COUNT; room++) log_set_room_level((enum log_room)room, level);
}

void log_set_room_level(enum log_room room, enum log_level level)
{
	CHECK((int)room >= 0 && room < LOG_ROOM_COUNT);
	atomic_store(&room_levels[room], (int)level - LOG_LEVEL_INFO);
}

bool log_room_from_name(struct str name, enum log_room *out)
{
	for (int room = 0; room < LOG_ROOM_COUNT; room++) {
		if (!str_eq(name, str_from(room_names[room]))) continue;
		*out = (enum log_room)room;
		return true;
	}
	return false;
}

bool log_level_from_name(struct str name, enum log_level *out)
{
	for (size_t level = 0; level < COUNT_OF(level_names); level++) {
		if (!str_eq(name, str_from(level_names[level]))) continue;
		*out = (enum log_level)level;
		return true;
	}
	return false;
}

bool log_enabled(enum log_room room, enum log_level level)
{
	int allowed = atomic_load_explicit(&room_levels[room], memory_order_relaxed) + LOG_LEVEL_INFO;
	return (int)level <= allowed;
}

/* A line being made; what does not fit is left out, the newline always fits. */
struct line {
	size_t len;
	char text[LINE_SIZE];
};

static void put(struct line *line, const char *text, size_t len)
{
	size_t room = sizeof line->text - 8 - line->len;
	if (len > room) len = room;
	memcpy(line->text + line->len, text, len);
	line->len += len;
}

static void put_text(struct line *line, const char *text)
{
	put(line, text, strlen(text));
}

/* Quoted; \xHH would be no JSON, so control bytes are \u00HH in both formats. */
static void put_quoted(struct line *line, const char *text)
{
	put(line, "\"", 1);
	for (const char *p = text; *p; p++) {
		char escape[8];
		unsigned char c = (unsigned char)*p;
		if (sizeof line->text - line->len < 32) break;
		if (c == '"' || c == '\\') {
			put(line, (char[]){'\\', *p}, 2);
		} else if (c == '\n') {
			put(line, "\\n", 2);
		} else if (c < 0x20 || c == 0x7f) {
			(void)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
			put_text(line, escape);
		} else {
			put(line, p, 1);
		}
	}
	put(line, "\"", 1);
}

static void put_field(struct line *line, bool is_json, const char *name, const char *value, bool is_plain)
{
	if (line->len) put_text(line, is_json ? "," : " ");
	if (is_json) put_text(line, line->len ? "\"" : "{\"");
	put_text(line, name);
	put_text(line, is_json ? "\":" : "=");
	if (is_plain && !is_json)
		put_text(line, value);
	else
		put_quoted(line, value);
}

static void write_line(const struct line *line)
{
	/* One write(2), so that lines of several threads do not mix; a log that cannot be written is not worth dying for. */
	while (write(STDERR_FILENO, line->text, line->len) < 0 && errno == EINTR) continue;
}

void log_line(enum log_room room, enum log_level level, const char *who, const char *fmt, ...)
{
	char text[TEXT_SIZE], now[CLOCK_TEXT_SIZE];
	struct line line = {.len = 0};
	va_list args;
	int saved_errno = errno;
	if (!log_enabled(room, level)) return;
	va_start(args, fmt);
	int len = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (len < 0) text[0] = '\0';
	if (line_sink) {
		line_sink(level, text);
		errno = saved_errno;
		return;
	}
	bool is_json = atomic_load_explicit(&current_format, memory_order_relaxed) == LOG_FORMAT_JSON;
	(void)clock_format(clock_wall_us(), now);
	put_field(&line, is_json, "ts", now, true);
	put_field(&line, is_json, "level", level_names[level], true);
	put_field(&line, is_json, "room", room_names[room], true);
	if (who) put_field(&line, is_json, "who", who, false);
	put_field(&line, is_json, "msg", text, false);
	put_text(&line, is_json ? "}\n" : "\n");
	write_line(&line);
	errno = saved_errno;
}
