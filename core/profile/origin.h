/* origin: the form that a declared value was asked by, kept beside it in the row: {form str, version varint, question str,
 * expires at varint}. Of an inferred value it is the model, in the same form: {model str, 0, model's version str, 0}; the provenance of the
 * value says which. Values that came another way have none, and their bytes are as they always were. */
#pragma once

#include "profile/event_view.h"
#include "profile/row.h"

#define ORIGIN_NAME_MAX 64  /* bytes of a form's or question's name */
#define ORIGIN_MAX      160 /* encoded */

/* Returns the length. Names are at most ORIGIN_NAME_MAX bytes. */
size_t origin_encode(const struct trait_origin *origin, uint8_t out[ORIGIN_MAX]);
/* Borrows `bytes`. ERR_CORRUPT. */
MUST_USE int origin_decode(struct str bytes, struct trait_origin *out);
/* The same of an inferred value. */
size_t origin_encode_model(struct str model, struct str version, uint8_t out[ORIGIN_MAX]);
MUST_USE int origin_decode_model(struct str bytes, struct trait_origin *out);
int64_t origin_expiry(struct str origin); /* 0: never */
/* Has the value run out at `now`? One without an origin never does. */
bool origin_is_expired(struct str origin, int64_t now);

/* What a declared event says of the form behind its traits; all of it optional. */
struct answered_form {
	struct str name;
	uint32_t version;
	int64_t answered_at;
	bool has_details;
	struct json details; /* trait → {"question", "expiresIn"} */
};
/* From the event's properties. ERR_NOMEM only: what cannot be read leaves the traits without an origin. */
MUST_USE int answered_form_read(struct event_view *view, struct answered_form *out);
/* The origin of one of its traits; returns the length, 0: none. */
size_t answered_form_origin(const struct answered_form *form, struct str trait, uint8_t out[ORIGIN_MAX]);

/* The origin of the traits of an inferred event, from its properties.model {"name", "version"}; *len 0: it names none. ERR_NOMEM only. */
MUST_USE int scoring_model_origin(struct event_view *view, uint8_t out[ORIGIN_MAX], size_t *len);
