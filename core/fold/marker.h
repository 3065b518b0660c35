/* marker: which record the fold was at when the process died. One shared page of the file `fold.attempt`: it survives the
 * process (not the machine: then it is stale and harmless) and costs a plain store, no fsync.
 *
 * A record is blamed only while it is being folded: a crash during a commit blames nobody. The fold's thread owns it. */
#pragma once

#include "base/str.h"

#define MARKER_CRASHES_MAX 2 /* after so many at one position the record is quarantined */
#define MARKER_PLUGIN_SIZE 64

struct marker_page { /* the file's bytes, native order: never leaves the machine */
	uint64_t magic;
	uint64_t attempt;                /* position being folded plus one; 0: none */
	uint64_t suspect;                /* position plus one that the process died at; 0: none */
	uint64_t crashes;                /* there, in a row */
	char plugin[MARKER_PLUGIN_SIZE]; /* feature type at work right now, NUL-terminated; empty: our own code */
	char suspect_plugin[MARKER_PLUGIN_SIZE]; /* that was at work when the process died */
};
struct marker {
	struct marker_page *page;
};

/* Opens or makes `store_path`/fold.attempt and turns an attempt that was cut off into a suspect. ERR_IO. */
MUST_USE int marker_open(struct marker *marker, struct str store_path);
/* Clears the attempt: a stop that reaches this is clean. */
void marker_close(struct marker *marker);

static inline void marker_begin(struct marker *marker, uint64_t seq)
{
	__atomic_store_n(&marker->page->attempt, seq + 1, __ATOMIC_SEQ_CST);
}
static inline void marker_end(struct marker *marker)
{
	__atomic_store_n(&marker->page->attempt, 0, __ATOMIC_SEQ_CST);
}
/* The process died at *seq, *crashes times in a row. */
bool marker_suspect(const struct marker *marker, uint64_t *seq, unsigned *crashes);
struct str marker_plugin(const struct marker *marker); /* the suspect's; borrowed from the page */
/* The suspect was folded and committed, or can no longer come: forget it. */
void marker_acquit(struct marker *marker);
