/* marker: which records the fold had in hand when the process died. One shared page of the file `fold.attempt`: it survives
 * the process (not the machine: then it is stale and harmless) and costs plain stores, no fsync.
 *
 * A record is in hand while it is applied, and again, with all of its transaction, while that is committed. What a
 * death says depends on how it came:
 *
 *   a fatal signal of the fold's own thread   the record in hand is suspect; after two in a row it is guilty
 *   a fatal signal elsewhere, or SIGBUS       says nothing (a disk error behind a memory map is a SIGBUS)
 *   neither seen: kill -9, out of memory      five in a row make an event guilty: two random kills may well strike the same one
 *
 * A death with many records in hand makes the fold careful: it takes those again in transactions of a 64th, and so on
 * until one record is in hand alone. The fold's thread owns it. */
#pragma once

#include "base/str.h"

#define MARKER_CRASHES_MAX 2
#define MARKER_DEATHS_MAX  5
#define MARKER_PLUGIN_SIZE 64

struct marker_page { /* the file's bytes, native order: never leaves the machine */
	uint64_t magic;
	uint64_t from, to;                    /* positions in hand; equal: none */
	uint64_t struck;                      /* who got a fatal signal, enum struck in marker.c */
	uint64_t suspect_from, suspect_to;    /* what was in hand when the process died; equal: nothing */
	uint64_t crashes, deaths;             /* there, in a row: with a signal of the fold's, and without any seen */
	uint64_t careful_until, careful_step; /* transactions of so many records up to there; 0: no care needed */
	char plugin[MARKER_PLUGIN_SIZE];      /* feature type at work right now, NUL-terminated; empty: our own code */
	char suspect_plugin[MARKER_PLUGIN_SIZE]; /* that was at work when the process died */
};
struct marker {
	struct marker_page *page;
};

/* Opens or makes `store_path`/fold.attempt and draws the conclusions of an attempt that was cut off. ERR_IO, ERR_FULL. */
MUST_USE int marker_open(struct marker *marker, struct str store_path);
/* Clears the attempt: a stop that reaches this is clean. */
void marker_close(struct marker *marker);
/* Called by the fold's thread: fatal signals are told apart from here on, and passed on to whoever had them before.
 * One marker a process; marker_close ends it. */
void marker_watch_signals(struct marker *marker);

static inline void marker_begin(struct marker *marker, uint64_t from, uint64_t to)
{
	__atomic_store_n(&marker->page->from, from, __ATOMIC_SEQ_CST);
	__atomic_store_n(&marker->page->to, to, __ATOMIC_SEQ_CST);
}
static inline void marker_end(struct marker *marker)
{
	__atomic_store_n(&marker->page->to, marker->page->from, __ATOMIC_SEQ_CST);
}
/* A single record that the process died at. */
bool marker_suspect(const struct marker *marker, uint64_t *seq);
/* The suspect. Five kills in a row cost an event, but never what somebody asked for, such as an erasure. */
bool marker_is_guilty(const struct marker *marker, bool is_event);
struct str marker_plugin(const struct marker *marker); /* the suspect's; borrowed from the page */
/* Records that a transaction with `next` in it may hold. */
static inline uint64_t marker_step(const struct marker *marker, uint64_t next)
{
	return next < marker->page->careful_until ? marker->page->careful_step : UINT64_MAX;
}
/* Everything below `next` is folded and committed: suspicions there are forgotten. */
void marker_passed(struct marker *marker, uint64_t next);
/* Forgets everything: the positions can no longer come. */
void marker_acquit(struct marker *marker);
