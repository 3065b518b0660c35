/* ref: how every face says no to a reference, "namespace:value" or "id:<profile id>". */
#pragma once

#include "base/problem.h"

/* What a status of people_get, people_resolve and their like means; PROBLEM_INTERNAL: it is not about the reference. *message: static. */
enum problem ref_problem(int status, struct str *message);
