/* expiry: consents and answers that run out, told by the feed when they do.
 *
 * A fragment that takes a value with an expiry leaves an entry in the table `expiries`: {when, fragment}. When it comes, the fragment says which of
 * its values run out at that very moment; those that its person was shown by are told. Whatever happened to the fragment or its person since
 * needs no care: an entry for which nothing is left to say is thrown away. People without expiries have no entries. */
#pragma once

#include "profile/room.h"

/* The fragment took a value that runs out at `at`; nothing is noted for what has run out by `t`, or never does (0). In a transaction. */
MUST_USE int expiry_note(struct people *people, int64_t at, const struct fragment_id *fragment, int64_t t);
/* Brings working.next_expiry up to date; *fragment: whose it is, when there is one. */
MUST_USE int expiry_next(struct people *people, struct fragment_id *fragment);
/* Tells what runs out at working.next_expiry; caused by the record at `seq`, whose time is `t`. */
MUST_USE int expiry_fire(struct people *people, const struct fragment_id *fragment, uint64_t seq, int64_t t);
/* A fragment that goes takes its entries with it. Its row is loaded. */
MUST_USE int expiry_forget(struct people *people, struct slot *slot);
