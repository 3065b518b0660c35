/* decide: may two components become one person? The rules alone; the same answer for the fold, for deciding again and for a dry run. */
#pragma once

#include "profile/component.h"
#include "profile/link_row.h"

/* Two different components. An attempt depends on these alone: both components, the rules, trust, and the position; and on
 * cannot-links between the two, which are asked for last (cut.h). */
enum link_reason link_decide(const struct plan *rules, const struct component *a, const struct component *b,
			     uint8_t rule, uint64_t seq);
/* What the limits of namespace `i` say to the two becoming one. */
enum link_reason link_decide_namespace(const struct plan *rules, size_t i, const struct component *a,
				       const struct component *b);
