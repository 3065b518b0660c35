/* A profile's features as narrow rows: one for each feature. */
#include <stdio.h>
#include <time.h>

#include "files.h"

enum { OF_PROFILE, OF_FEATURE, OF_VALUE, OF_NUMBER, OF_AT, OF_DELIVERY, OF_POSITION, OF_COUNT };

const char features_columns[] =
    "profileId, feature, value:json, number:double, at:timestamp, deliveryId, position"; /* in the order above */

static struct cdpd_str format_time(int64_t us, char out[40])
{
	int64_t seconds = us / 1000000 - (us % 1000000 < 0);
	struct tm tm;
	time_t time = (time_t)seconds;
	size_t len = strftime(out, 24, "%Y-%m-%dT%H:%M:%S", gmtime_r(&time, &tm));
	len += (size_t)snprintf(out + len, 40 - len, ".%06dZ", (int)(us - seconds * 1000000));
	return (struct cdpd_str){out, len};
}

/* An object's member; ptr NULL: it is not there. */
static struct cdpd_str member(struct cdpd_str object, const char *name)
{
	struct cdpd_str key, value;
	for (size_t at = 0; json_next(object, &at, &key, &value);)
		if (key.len == strlen(name) && memcmp(key.ptr, name, key.len) == 0) return value;
	return (struct cdpd_str){NULL, 0};
}

static bool is_number(struct cdpd_str text)
{
	return text.ptr[0] == '-' || (text.ptr[0] >= '0' && text.ptr[0] <= '9');
}

bool features_take(struct output *output, const struct cdpd_record *record)
{
	char time[40];
	struct cdpd_str features = member(record->json, "features"), key, text;
	struct value values[OF_COUNT] = {
	    [OF_PROFILE] = {record->profile_id, false},
	    [OF_AT] = {format_time(record->time_us, time), false},
	    [OF_DELIVERY] = {record->delivery_id, false},
	    [OF_POSITION] = {record->position, false},
	};
	for (size_t at = 0; features.ptr && json_next(features, &at, &key, &text);) {
		values[OF_FEATURE] = (struct value){{key.ptr - 1, key.len + 2}, true}; /* with its quotes */
		values[OF_VALUE] = (struct value){text, true};
		values[OF_NUMBER] = (struct value){is_number(text) ? text : (struct cdpd_str){NULL, 0}, true};
		if (!output->files->format->row(output, record, values, &output->rows)) return false;
		output->next.rows++;
	}
	return true;
}
