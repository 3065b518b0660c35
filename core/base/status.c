#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const phrases[] = {
    [-OK] = "success",
    [-ERR_NOMEM] = "out of memory or at its cap",
    [-ERR_INVALID] = "malformed",
    [-ERR_TOO_LARGE] = "too large",
    [-ERR_NOT_FOUND] = "not found",
    [-ERR_EXISTS] = "exists already",
    [-ERR_BUSY] = "queue full",
    [-ERR_FULL] = "disk or disk budget full",
    [-ERR_IO] = "input/output error",
    [-ERR_CORRUPT] = "stored data is corrupt",
    [-ERR_FORMAT] = "stored by a newer cdpd",
    [-ERR_LOCKED] = "owned by another process",
    [-ERR_GONE] = "behind retention",
    [-ERR_FOREIGN] = "position of another epoch or feed",
    [-ERR_TIMEOUT] = "timed out",
    [-ERR_CLOSED] = "shutting down",
    [-ERR_AGAIN] = "nothing to do now",
    [-ERR_PANIC] = "durability lost",
    [-ERR_REFUSED] = "refused by a rule",
};

const char *status_str(int status)
{
	if (status > 0 || status <= -(int)COUNT_OF(phrases)) return "unknown status";
	return phrases[-status];
}

_Noreturn void check_failed(const char *condition, const char *file, int line)
{
	(void)fprintf(stderr, "cdpd: bug: CHECK(%s) failed at %s:%d\n", condition, file, line);
	abort();
}
