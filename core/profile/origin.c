#include "profile/origin.h"

#include "base/clock.h"
#include "profile/wire.h"

_Static_assert((size_t)2 * (ORIGIN_NAME_MAX + 1) + 2 * WIRE_VARINT_MAX <= ORIGIN_MAX, "the longest origin fits");

#define EXPIRES_IN_MAX (INT64_C(36500) * 86400) /* seconds */

size_t origin_encode(const struct trait_origin *origin, uint8_t out[ORIGIN_MAX])
{
	CHECK(origin->form.len <= ORIGIN_NAME_MAX && origin->question.len <= ORIGIN_NAME_MAX);
	uint8_t *at = wire_put_str(out, origin->form);
	at = wire_put_varint(at, origin->version);
	at = wire_put_str(at, origin->question);
	at = wire_put_varint(at, (uint64_t)origin->expires_at);
	return (size_t)(at - out);
}

int origin_decode(struct str bytes, struct trait_origin *out)
{
	struct wire_in in = wire_in(bytes);
	out->model = out->model_version = STR_NONE;
	out->form = wire_str(&in);
	out->version = (uint32_t)wire_varint(&in);
	out->question = wire_str(&in);
	out->expires_at = (int64_t)wire_varint(&in);
	return in.is_bad || in.at != in.end ? ERR_CORRUPT : OK;
}

size_t origin_encode_model(struct str model, struct str version, uint8_t out[ORIGIN_MAX])
{
	const struct trait_origin stored = {.form = model, .question = version};
	return origin_encode(&stored, out);
}

int origin_decode_model(struct str bytes, struct trait_origin *out)
{
	struct trait_origin stored;
	int rc = origin_decode(bytes, &stored);
	*out =
	    (struct trait_origin){.form = STR_NONE, .question = STR_NONE, .model = STR_NONE, .model_version = STR_NONE};
	if (rc) return rc;
	out->model = stored.form;
	out->model_version = stored.question;
	return OK;
}

int64_t origin_expiry(struct str origin)
{
	struct trait_origin read;
	return origin.len == 0 || origin_decode(origin, &read) != OK ? 0 : read.expires_at;
}

bool origin_is_expired(struct str origin, int64_t now)
{
	int64_t at = origin_expiry(origin);
	return at > 0 && now >= at;
}

static bool text_of(struct json object, struct str key, struct str *out)
{
	struct json value;
	return json_get(object, key, &value) && json_str(value, out) && out->len > 0 && out->len <= ORIGIN_NAME_MAX;
}

static int64_t number_of(struct json object, struct str key, int64_t max)
{
	struct json value;
	int64_t number;
	bool is_number = json_get(object, key, &value) && json_int(value, &number);
	return is_number && number > 0 && number <= max ? number : 0;
}

int answered_form_read(struct event_view *view, struct answered_form *out)
{
	struct json properties;
	*out = (struct answered_form){.name = STR_NONE, .answered_at = view->event->event_time_us};
	int rc = event_view_root(view, PART_PROPERTIES, &properties);
	if (rc) return rc == ERR_NOMEM ? rc : OK;
	if (!text_of(properties, STR("form"), &out->name)) out->name = STR_NONE;
	out->version = (uint32_t)number_of(properties, STR("version"), INT32_MAX);
	out->has_details = out->name.len && json_get(properties, STR("provenance"), &out->details);
	return OK;
}

size_t answered_form_origin(const struct answered_form *form, struct str trait, uint8_t out[ORIGIN_MAX])
{
	struct trait_origin origin = {.form = form->name, .version = form->version, .question = STR_NONE};
	struct json detail;
	if (form->name.len == 0) return 0;
	if (form->has_details && json_get(form->details, trait, &detail)) {
		if (!text_of(detail, STR("question"), &origin.question)) origin.question = STR_NONE;
		int64_t seconds = number_of(detail, STR("expiresIn"), EXPIRES_IN_MAX);
		if (seconds) origin.expires_at = form->answered_at + seconds * US_PER_SECOND;
	}
	if (origin.expires_at < 0) origin.expires_at = 0;
	return origin_encode(&origin, out);
}

int scoring_model_origin(struct event_view *view, uint8_t out[ORIGIN_MAX], size_t *len)
{
	const struct event_field field = {PART_PROPERTIES, STR("model")};
	struct json model;
	struct str name, version;
	*len = 0;
	int rc = event_view_get(view, &field, &model);
	if (rc) return rc == ERR_NOMEM ? rc : OK;
	if (json_type(model) != JSON_OBJECT || !text_of(model, STR("name"), &name)) return OK;
	if (!text_of(model, STR("version"), &version)) version = STR_NONE;
	*len = origin_encode_model(name, version, out);
	return OK;
}
