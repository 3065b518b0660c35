/* disk_budget: is there room to take writes? Writes are refused well before the file system is full, and a
 * preallocated file, the ballast, can be given back to it for those who must write even then. Thread-safe. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "config/config.h"

struct disk_budget {
	char *path;           /* the store's directory */
	char *ballast;        /* the file */
	pthread_mutex_t lock; /* of the ballast */
	bool has_ballast;
	_Atomic uint64_t free_min, ballast_bytes;
	_Atomic int64_t checked_us; /* CLOCK_MONOTONIC */
	atomic_bool is_refusing;
};

/* Looks at the file system and makes the ballast if there is room. */
MUST_USE int disk_init(struct disk_budget *disk, const char *store_path, const struct conf_journal *conf);
void disk_fini(struct disk_budget *disk); /* the ballast stays on disk */
void disk_set_conf(struct disk_budget *disk, const struct conf_journal *conf);
/* Must writes be refused? Looks at the file system at most every 100 ms. */
bool disk_is_refusing(struct disk_budget *disk);
/* A write met a full disk: refuse until a look, 100 ms from now at the earliest, finds room. */
void disk_note_full(struct disk_budget *disk);
/* True when there was something to give back. */
bool disk_release_ballast(struct disk_budget *disk);
/* Makes the ballast again once there is ample room, and fits it to the config. */
void disk_restore_ballast(struct disk_budget *disk);
