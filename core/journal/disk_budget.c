#include "journal/disk_budget.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/store.h"

#define CHECK_EVERY_US (100 * US_PER_MS)

int disk_init(struct disk_budget *disk, const char *store_path, const struct conf_journal *conf)
{
	*disk = (struct disk_budget){.path = strdup(store_path)};
	pthread_mutex_init(&disk->lock, NULL);
	if (!disk->path || asprintf(&disk->ballast, "%s/ballast", store_path) < 0) {
		disk->ballast = NULL;
		return ERR_NOMEM;
	}
	disk_set_conf(disk, conf);
	disk_restore_ballast(disk);
	return OK;
}

void disk_fini(struct disk_budget *disk)
{
	free(disk->path);
	free(disk->ballast);
	pthread_mutex_destroy(&disk->lock);
}

/* What cannot be measured is taken as full: to refuse is the safe answer. */
static uint64_t free_bytes(const struct disk_budget *disk)
{
	uint64_t bytes;
	return store_free_bytes(disk->path, &bytes) == OK ? bytes : 0;
}

static void look(struct disk_budget *disk)
{
	bool is_low = free_bytes(disk) < atomic_load(&disk->free_min);
	if (atomic_exchange(&disk->is_refusing, is_low) == is_low) return;
	if (is_low)
		log_warn(LOG_JOURNAL, "writes are refused, the file system of %s is almost full", disk->path);
	else
		log_info(LOG_JOURNAL, "writes are taken again, the file system of %s has room", disk->path);
}

void disk_set_conf(struct disk_budget *disk, const struct conf_journal *conf)
{
	atomic_store(&disk->free_min, conf->disk_free_min);
	atomic_store(&disk->ballast_bytes, conf->ballast_bytes);
	atomic_store(&disk->checked_us, clock_mono_us());
	look(disk);
}

bool disk_is_refusing(struct disk_budget *disk)
{
	int64_t now = clock_mono_us(), checked = atomic_load(&disk->checked_us);
	/* Of all threads that come by, one looks. */
	if (now - checked >= CHECK_EVERY_US && atomic_compare_exchange_strong(&disk->checked_us, &checked, now))
		look(disk);
	return atomic_load(&disk->is_refusing);
}

void disk_note_full(struct disk_budget *disk)
{
	atomic_store(&disk->checked_us, clock_mono_us());
	if (!atomic_exchange(&disk->is_refusing, true))
		log_warn(LOG_JOURNAL, "writes are refused, the file system of %s is full", disk->path);
}

bool disk_release_ballast(struct disk_budget *disk)
{
	pthread_mutex_lock(&disk->lock);
	bool had = disk->has_ballast;
	disk->has_ballast = false;
	if (had && unlink(disk->ballast) != 0) had = false;
	pthread_mutex_unlock(&disk->lock);
	if (had) log_warn(LOG_JOURNAL, "the ballast file was given up, the file system of %s is full", disk->path);
	return had;
}

static int allocate(const char *path, uint64_t bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) return ERR_IO;
	int error = posix_fallocate(fd, 0, (off_t)bytes);
	int rc = error == 0 ? OK : error == ENOSPC ? ERR_FULL : ERR_IO;
	if (close(fd) != 0 && rc == OK) rc = ERR_IO;
	if (rc != OK) (void)unlink(path);
	return rc;
}

/* Under the lock. */
static void restore(struct disk_budget *disk, uint64_t wanted)
{
	struct stat st;
	bool exists = stat(disk->ballast, &st) == 0;
	if (exists && (uint64_t)st.st_size == wanted) {
		disk->has_ballast = wanted > 0;
		return;
	}
	disk->has_ballast = false;
	if (exists) (void)unlink(disk->ballast);
	/* Twice the size: making it must not itself bring the refusals back. */
	if (wanted == 0 || free_bytes(disk) < atomic_load(&disk->free_min) + 2 * wanted) return;
	int rc = allocate(disk->ballast, wanted);
	disk->has_ballast = rc == OK;
	if (rc != OK) log_warn(LOG_JOURNAL, "%s could not be made (%s)", disk->ballast, status_str(rc));
}

void disk_restore_ballast(struct disk_budget *disk)
{
	pthread_mutex_lock(&disk->lock);
	restore(disk, atomic_load(&disk->ballast_bytes));
	pthread_mutex_unlock(&disk->lock);
}
