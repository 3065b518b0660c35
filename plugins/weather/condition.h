/* condition: weather codes. One code is used throughout: WMO 4677 as Open-Meteo writes it (https://open-meteo.com/en/docs, "WMO
 * Weather interpretation codes"), and six groups made of it that a segment can be built on. */
#pragma once

#include <stddef.h>

#define CONDITION_NONE (-1)

/* "clear", "clouds", "fog", "rain", "snow", "storm"; NULL: no such code. Drizzle and showers are rain, sleet is snow. */
const char *condition_group(int code);
/* From OpenWeatherMap's condition ids (https://openweathermap.org/weather-conditions); CONDITION_NONE: unknown. */
int condition_from_openweathermap(int id);
/* From a word of an archive: sun, clear, clouds, cloudy, overcast, fog, mist, drizzle, rain, showers, snow, sleet, storm, thunderstorm; or a
 * number, which is a WMO code. Without case. */
int condition_from_word(const char *word, size_t len);
