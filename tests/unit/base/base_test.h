/* What the tests of the base room share. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/str.h"

#define assert_ok(call)              assert_int_equal((call), OK)
#define assert_str(actual, expected) assert_text((actual), (expected), __FILE__, __LINE__)

static inline void assert_text(struct str actual, const char *expected, const char *file, int line)
{
	if (str_eq(actual, str_from(expected))) return;
	print_error("got  \"%.*s\"\nwant \"%s\"\n", STR_ARG(actual), expected);
	_fail(file, line);
}
