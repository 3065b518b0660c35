#include "api/ref.h"

enum problem ref_problem(int status, struct str *message)
{
	switch (status) {
	case OK: *message = STR_NONE; return PROBLEM_NONE;
	case ERR_NOT_FOUND: *message = STR("nobody is known by that reference"); return PROBLEM_NOT_FOUND;
	case ERR_INVALID:
		*message = STR("a reference is 'namespace:value' or 'id:<profile id>'");
		return PROBLEM_INVALID_PARAMETER;
	default: *message = STR_NONE; return PROBLEM_INTERNAL;
	}
}
