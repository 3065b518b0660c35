#include "base/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec now;
	CHECK(clock_gettime(id, &now) == 0);
	return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t clock_mono_us(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_boottime_us(void)
{
	return read_clock(CLOCK_BOOTTIME);
}

/* Proleptic Gregorian calendar in eras of 400 years (146,097 days) that begin on March 1st, so that the leap
 * day is the last of its year. Day 0 is 1970-01-01. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t day_of_era = days - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month_from_march = (5 * day_of_year + 2) / 153;
	*day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
	*month = month_from_march + (month_from_march < 10 ? 3 : -9);
	*year = year_of_era + era * 400 + (*month <= 2);
}

static char *put_digits(char *p, int64_t value, int width)
{
	for (int i = width - 1; i >= 0; i--, value /= 10) p[i] = (char)('0' + value % 10);
	return p + width;
}

static char *put_year(char *p, int64_t year)
{
	if (year < 0) {
		*p++ = '-';
		year = -year;
	}
	return put_digits(p, year, year > 99999 ? 6 : year > 9999 ? 5 : 4);
}

size_t clock_format(int64_t us, char out[CLOCK_TEXT_SIZE])
{
	int64_t days = us / US_PER_DAY, rest = us % US_PER_DAY, year, month, day;
	char *p = out;
	if (rest < 0) {
		rest += US_PER_DAY;
		days--;
	}
	date_from_days(days, &year, &month, &day);
	p = put_year(p, year);
	*p++ = '-';
	p = put_digits(p, month, 2);
	*p++ = '-';
	p = put_digits(p, day, 2);
	*p++ = 'T';
	int64_t seconds = rest / US_PER_SECOND, fraction = rest % US_PER_SECOND;
	p = put_digits(p, seconds / 3600, 2);
	*p++ = ':';
	p = put_digits(p, seconds / 60 % 60, 2);
	*p++ = ':';
	p = put_digits(p, seconds % 60, 2);
	if (fraction) {
		*p++ = '.';
		p = fraction % 1000 ? put_digits(p, fraction, 6) : put_digits(p, fraction / 1000, 3);
	}
	*p++ = 'Z';
	*p = '\0';
	return (size_t)(p - out);
}

/* ── reading ───────────────────────────────────────────────────────────────── */

/* Takes exactly `width` digits off the front. */
static bool take_digits(struct str *text, size_t width, int64_t *out)
{
	int64_t value = 0;
	if (text->len < width) return false;
	for (size_t i = 0; i < width; i++) {
		char c = text->ptr[i];
		if (c < '0' || c > '9') return false;
		value = value * 10 + (c - '0');
	}
	text->ptr += width;
	text->len -= width;
	*out = value;
	return true;
}

static bool take_char(struct str *text, const char *allowed)
{
	if (text->len == 0 || text->ptr[0] == '\0' || !strchr(allowed, text->ptr[0])) return false;
	text->ptr++;
	text->len--;
	return true;
}

static int64_t days_of_month(int64_t year, int64_t month)
{
	static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return days[month - 1] + (month == 2 && is_leap);
}

static bool take_date(struct str *text, int64_t *us)
{
	int64_t year, month, day;
	if (!take_digits(text, 4, &year) || !take_char(text, "-") || !take_digits(text, 2, &month) ||
	    !take_char(text, "-") || !take_digits(text, 2, &day))
		return false;
	if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month)) return false;
	*us = days_from_date(year, month, day) * US_PER_DAY;
	return true;
}

/* 1-9 digits; what is finer than a microsecond is cut off. */
static bool take_fraction(struct str *text, int64_t *us)
{
	int64_t value = 0;
	size_t digits = 0;
	while (digits < text->len && text->ptr[digits] >= '0' && text->ptr[digits] <= '9') {
		if (digits < 6) value = value * 10 + (text->ptr[digits] - '0');
		digits++;
	}
	if (digits == 0 || digits > 9) return false;
	for (size_t i = digits; i < 6; i++) value *= 10;
	text->ptr += digits;
	text->len -= digits;
	*us = value;
	return true;
}

static bool take_time(struct str *text, int64_t *us)
{
	int64_t hour, minute, second = 0, fraction = 0;
	if (!take_digits(text, 2, &hour) || !take_char(text, ":") || !take_digits(text, 2, &minute)) return false;
	if (take_char(text, ":")) {
		if (!take_digits(text, 2, &second)) return false;
		if (take_char(text, ".,") && !take_fraction(text, &fraction)) return false;
	}
	if (hour > 23 || minute > 59 || second > 60) return false; /* 60: a leap second, counted as the next one */
	*us = ((hour * 60 + minute) * 60 + second) * US_PER_SECOND + fraction;
	return true;
}

/* To the end of the text. RFC 3339 section 4.3: "-00:00" is UTC that tells nothing of the place, like 'Z'. */
static bool take_offset(struct str *text, int16_t *minutes)
{
	int64_t hour, minute = 0;
	*minutes = INT16_MIN;
	if (text->len == 0) return true;
	if (take_char(text, "Zz")) return text->len == 0;
	bool is_west = text->ptr[0] == '-';
	if (!take_char(text, "+-") || !take_digits(text, 2, &hour)) return false;
	bool has_colon = take_char(text, ":");
	if ((has_colon || text->len) && !take_digits(text, 2, &minute)) return false;
	if (text->len || hour > 23 || minute > 59) return false;
	int16_t total = (int16_t)(hour * 60 + minute);
	if (!is_west || total) *minutes = is_west ? (int16_t)-total : total;
	return true;
}

static bool is_in_range(int64_t us)
{
	const int64_t first = INT64_C(-62135596800) * US_PER_SECOND; /* 0001-01-01T00:00:00Z */
	const int64_t end = INT64_C(253402300800) * US_PER_SECOND;   /* 10000-01-01T00:00:00Z */
	return us >= first && us < end;
}

static int parse_epoch(struct str text, int64_t *out_us)
{
	uint64_t ms;
	if (str_to_u64(text, &ms) != OK || ms > INT64_MAX / 1000) return ERR_INVALID;
	if (!is_in_range((int64_t)ms * US_PER_MS)) return ERR_INVALID;
	*out_us = (int64_t)ms * US_PER_MS;
	return OK;
}

int clock_parse(struct str text, int64_t *out_us, int16_t *offset_min)
{
	int64_t date, time;
	int16_t offset;
	if (parse_epoch(text, out_us) == OK) {
		*offset_min = INT16_MIN;
		return OK;
	}
	if (!take_date(&text, &date) || !take_char(&text, "Tt ") || !take_time(&text, &time) ||
	    !take_offset(&text, &offset))
		return ERR_INVALID;
	int64_t us = date + time;
	if (offset != INT16_MIN) us -= (int64_t)offset * 60 * US_PER_SECOND;
	if (!is_in_range(us)) return ERR_INVALID;
	*out_us = us;
	*offset_min = offset;
	return OK;
}
