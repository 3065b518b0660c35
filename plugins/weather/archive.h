/* archive: observations of one place in a CSV file, daily or hourly, for replay, tests and people without a network.
 *
 * The first line names the columns: `date` (2015-12-31 or 2015/12/31: a row for a local day) or `time` (2015-12-31T13:00, UTC: a row for
 * an hour), and any of temperature, temp_max, temp_min, feels_like (degrees C), precipitation (mm), wind (m/s), humidity (%), is_day (0, 1),
 * weather (a word or a WMO code, condition.h). Other columns are passed over; an empty field is not known. */
#pragma once

#include "observation.h"

#define ARCHIVE_PATH_MAX  1024
#define ARCHIVE_BYTES_MAX ((size_t)64 << 20)
#define ARCHIVE_WHY_MAX   256

struct archive;

/* "FILE LATITUDE LONGITUDE [RADIUSkm]"; 50 km when not given. NULL: `why` says what is wrong, with the line. */
struct archive *archive_open(const char *text, size_t len, char why[ARCHIVE_WHY_MAX]);
void archive_free(struct archive *archive);
/* Reads the file again when it is another one by now. false: what is there now is wrong, `why` says how, and the old rows stay. */
bool archive_refresh(struct archive *archive, char why[ARCHIVE_WHY_MAX]);
const char *archive_path(const struct archive *archive);
/* false: the spot is too far away, or there is no row for it. `utc_offset_min`: of the event's place, 32767: unknown (the longitude's
 * then). A daily row holds for each hour of its day. */
bool archive_find(const struct archive *archive, const struct spot *spot, int utc_offset_min, int recent_hours,
		  struct observation *out);
