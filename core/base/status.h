/* status: the one error space of the core.
 *
 * Every function that can fail returns an `int` holding one of these codes (0 is
 * success) and is marked MUST_USE. Codes of other libraries (LMDB, OpenSSL, errno) are
 * translated in the one file that wraps the library and never travel further.
 *
 * The room base is what every other room stands on: text, memory, time, threads' loops, JSON, metrics and
 * logs. It knows no event, no person and no configuration, and includes no other room. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE               __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define COUNT_OF(array)        (sizeof(array) / sizeof((array)[0]))

enum status {
	OK = 0,
	ERR_NOMEM = -1,     /* allocation refused, or a capped arena or buffer is at its cap */
	ERR_INVALID = -2,   /* the argument, document or value is malformed */
	ERR_TOO_LARGE = -3, /* a documented size limit was passed */
	ERR_NOT_FOUND = -4,
	ERR_EXISTS = -5,
	ERR_BUSY = -6,     /* a bounded queue is full: try again later */
	ERR_FULL = -7,     /* the disk or the disk budget is full */
	ERR_IO = -8,       /* the operating system reported a failure */
	ERR_CORRUPT = -9,  /* a checksum or an invariant of stored bytes does not hold */
	ERR_FORMAT = -10,  /* stored by a newer cdpd: its format number is from the future */
	ERR_LOCKED = -11,  /* another process owns the data directory */
	ERR_GONE = -12,    /* the position is behind retention */
	ERR_FOREIGN = -13, /* the position belongs to another epoch or another feed */
	ERR_TIMEOUT = -14,
	ERR_CLOSED = -15,  /* the object is shutting down */
	ERR_AGAIN = -16,   /* nothing to do now; more will come */
	ERR_PANIC = -17,   /* durability can no longer be promised: stop and exit */
	ERR_REFUSED = -18, /* a rule of cdpd forbids it */
};

/* A short lower-case English phrase, static, never NULL. */
const char *status_str(int status);

/* CHECK is always compiled in. It guards against our own bugs, never against input. */
#define CHECK(condition) \
	do { \
		if (!(condition)) check_failed(#condition, __FILE__, __LINE__); \
	} while (0)
_Noreturn void check_failed(const char *condition, const char *file, int line);
