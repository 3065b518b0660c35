/* OpenWeatherMap, One Call 3.0 "timemachine": https://openweathermap.org/api/one-call-3#history. It answers for one moment,
 * {"lat","lon","data":[{"dt","temp","feels_like","humidity","wind_speed","sunrise","sunset","rain":{"1h"},"snow":{"1h"},"weather":[{"id"}]}]}, so
 * rain of the hours before is not known: "rained" is this hour's. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "condition.h"
#include "provider.h"

#define BASE "https://api.openweathermap.org"
#define FAR  0.1 /* degrees: it repeats the coordinates it was asked for */

static bool url(const struct provider_settings *settings, const struct spot *spot, int64_t now_s, char out[URL_MAX])
{
	(void)now_s;
	int len =
	    snprintf(out, URL_MAX, "%s/data/3.0/onecall/timemachine?lat=%.4f&lon=%.4f&dt=%lld&units=metric&appid=%s",
		     settings->base ? settings->base : BASE, spot->latitude, spot->longitude,
		     (long long)spot->hour * HOUR_S, settings->key);
	return len > 0 && len < URL_MAX;
}

static double number(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);
	return json_is_number(value) ? json_number_value(value) : NAN;
}

static double fallen(const json_t *data, const char *what)
{
	double mm = number(json_object_get(data, what), "1h");
	return isnan(mm) ? 0 : mm;
}

static int is_day(const json_t *data)
{
	double at = number(data, "dt"), rise = number(data, "sunrise"), set = number(data, "sunset");
	if (isnan(at) || isnan(rise) || isnan(set)) return -1;
	return at >= rise && at < set;
}

static int read_data(const struct spot *spot, const json_t *root, struct observation *out)
{
	const json_t *data = json_array_get(json_object_get(root, "data"), 0);
	if (!json_is_object(data)) return -1;
	if (!(fabs(number(root, "lat") - spot->latitude) <= FAR) ||
	    !(fabs(number(root, "lon") - spot->longitude) <= FAR))
		return -1;
	if (fabs(number(data, "dt") - (double)(spot->hour * HOUR_S)) > HOUR_S) return 0;
	observation_init(out, openweathermap.name);
	out->temperature_c = number(data, "temp");
	out->feels_like_c = number(data, "feels_like");
	out->humidity_percent = number(data, "humidity");
	out->wind_ms = number(data, "wind_speed");
	out->precipitation_mm = fallen(data, "rain") + fallen(data, "snow");
	out->rained = out->precipitation_mm > 0;
	out->is_day = is_day(data);
	double id = number(json_array_get(json_object_get(data, "weather"), 0), "id");
	if (!isnan(id)) out->code = condition_from_openweathermap((int)id);
	return isnan(out->temperature_c) ? 0 : 1;
}

static int read_body(const struct provider_settings *settings, const struct spot *spot, const char *body, size_t len,
		     struct observation *out)
{
	(void)settings;
	json_t *root = json_loadb(body, len, 0, NULL);
	if (!root) return -1;
	int answer = read_data(spot, root, out);
	json_decref(root);
	return answer;
}

const struct provider openweathermap = {.name = "openweathermap", .needs_key = true, .url = url, .read = read_body};
