#include "condition.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct range {
	int from, to;
	const char *group;
};
static const struct range groups[] = {
    {0, 1, "clear"},  {2, 3, "clouds"}, {45, 48, "fog"},  {51, 67, "rain"},
    {71, 77, "snow"}, {80, 82, "rain"}, {85, 86, "snow"}, {95, 99, "storm"},
};

const char *condition_group(int code)
{
	for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
		if (code >= groups[i].from && code <= groups[i].to) return groups[i].group;
	return NULL;
}

struct pair {
	int from, to, code;
};
static const struct pair openweathermap[] = {
    {200, 299, 95}, {300, 300, 51}, {301, 301, 53}, {302, 302, 55}, {310, 399, 53}, {500, 500, 61},
    {501, 501, 63}, {502, 504, 65}, {511, 511, 66}, {520, 520, 80}, {521, 521, 81}, {522, 531, 82},
    {600, 600, 71}, {601, 601, 73}, {602, 602, 75}, {611, 616, 77}, {620, 620, 85}, {621, 622, 86},
    {701, 770, 45}, {771, 781, 95}, {800, 800, 0},  {801, 801, 1},  {802, 802, 2},  {803, 804, 3},
};

int condition_from_openweathermap(int id)
{
	for (size_t i = 0; i < sizeof openweathermap / sizeof openweathermap[0]; i++)
		if (id >= openweathermap[i].from && id <= openweathermap[i].to) return openweathermap[i].code;
	return CONDITION_NONE;
}

int condition_from_word(const char *word, size_t len)
{
	static const struct {
		const char *word;
		int code;
	} words[] = {
	    {"sun", 0},   {"sunny", 0},  {"clear", 0},  {"clouds", 3},        {"cloudy", 3}, {"overcast", 3},
	    {"fog", 45},  {"mist", 45},  {"haze", 45},  {"drizzle", 53},      {"rain", 63},  {"showers", 81},
	    {"snow", 73}, {"sleet", 77}, {"storm", 95}, {"thunderstorm", 95},
	};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strlen(words[i].word) == len && strncasecmp(words[i].word, word, len) == 0) return words[i].code;
	char number[8], *end;
	if (len == 0 || len >= sizeof number) return CONDITION_NONE;
	memcpy(number, word, len);
	number[len] = 0;
	long code = strtol(number, &end, 10);
	return *end == 0 && condition_group((int)code) ? (int)code : CONDITION_NONE;
}
