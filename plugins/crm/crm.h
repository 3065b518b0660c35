/* crm: what the parts of the plugin share. A *run* is one batch of the host's; its *items* are the batch's records, in order. Items are worked on in
 * *windows*: neighbours that may share requests. A *provider* turns a window into one HTTP request after the other and reads the answers; everything
 * else (records, the map of ids, speed, retries) is the same for all of them. Everything is on the instance's own thread. */
#pragma once

#include <jansson.h>

#include "../shared/oauth2.h"
#include "cdpd_plugin.h"
#include "rate.h"
#include "sent.h"

#define PROFILE_MAX   32 /* hex digits */
#define ID_MAX        31 /* of a CRM's object */
#define EMAIL_MAX     320
#define PHONE_MAX     40
#define LEAD_KEY_MAX  128
#define REASON_MAX    200
#define CALL_PATH_MAX 2048
#define WINDOW_MAX    100
#define TRIES_MAX     2 /* how often an item may begin anew because its contact was gone */

enum kind {
	KIND_PUT,   /* a contact, a lead, or both, as the mapping made them */
	KIND_MERGE, /* `profile` was joined into `other` */
	KIND_ERASE, /* everything known by `profiles` */
	KIND_MARK,  /* `contact` for everybody known by `profiles`: consent was withdrawn */
	KIND_FORGET /* `profile` is no more and nobody is in its place */
};

enum step {
	STEP_WAITING,
	STEP_FIND,
	STEP_READ,
	STEP_WRITE,
	STEP_LEAD_FIND,
	STEP_LEAD_WRITE,
	STEP_MERGE,
	STEP_ERASE,
	STEP_DONE
};

struct item {
	size_t index; /* in the batch */
	enum kind kind;
	enum step step;
	char profile[PROFILE_MAX + 1], other[PROFILE_MAX + 1];
	char id[ID_MAX + 1], other_id[ID_MAX + 1],
	    lead_id[ID_MAX + 1]; /* of the CRM; empty: not known. other_id: whose profile is gone */
	char email[EMAIL_MAX + 1], phone[PHONE_MAX + 1]; /* what the contact is found by; empty: not given */
	char lead_key[LEAD_KEY_MAX + 1];
	json_t *contact, *lead; /* objects, NULL: none */
	json_t *old;            /* the contact as the CRM has it, when it was read */
	json_t *profiles;       /* KIND_ERASE, KIND_MARK: those that are left */
	bool is_lead_doubtful;
	size_t group_max; /* of how many items a request may be that it is part of */
	unsigned tries, find_at, page;
	struct item *leader; /* it goes with that one, and shares its fate */
	enum cdpd_verdict verdict;
	int64_t after_ms;
	char reason[REASON_MAX + 1];
};

struct crm;

struct run {
	struct run *next;
	struct crm *self;
	struct cdpd_receipt *receipt;
	struct item *items;
	size_t count, from, to; /* window: items[from..to) */
	int64_t until_ms;       /* (monotonic) no request is begun from then on */
};

struct call {
	const char *method;       /* static */
	char path[CALL_PATH_MAX]; /* behind the base URL */
	json_t *body;             /* NULL: none */
	enum step step;
	struct item *items[WINDOW_MAX];
	bool is_told[WINDOW_MAX]; /* the answer has said something of it */
	size_t count;
};

struct answer {
	int status;
	int64_t retry_after_ms; /* -1: not said */
	const json_t *body;     /* NULL: no JSON */
};

/* What an answer means for the destination as a whole. */
enum judgement {
	JUDGE_TAKE,    /* take() reads it */
	JUDGE_LATER,   /* nothing goes through for `after_ms` */
	JUDGE_SIGN_IN, /* the access token is no good (any more) */
};

struct delay {
	int64_t after_ms;
	char reason[REASON_MAX + 1];
};

struct provider {
	const char *name, *title, *url; /* url: NULL: it has none of its own */
	double requests_per_second;     /* that the CRM allows, */
	double burst;                   /* and how many at once */
	size_t window;                  /* items at a time, at most WINDOW_MAX */
	size_t ready_max;               /* so many that are ready are written before others are looked for */
	bool has_leads;
	const char *(*check)(const struct crm *self); /* NULL, or what is wrong with the options */
	/* Where a contact's way begins: its id is known or not. */
	enum step (*first)(const struct crm *self, const struct item *item);
	/* NULL, or why it can never be written (static). Of KIND_PUT. May be NULL. */
	const char *(*refuse)(const struct crm *self, const struct item *item);
	/* The next request for the window, for items[0] and whoever may share it. false: it cannot be made (out of memory). */
	bool (*make)(struct crm *self, struct run *run, struct item *first, struct call *call);
	enum judgement (*judge)(struct crm *self, const struct answer *answer, struct delay *delay);
	/* Every item of the call is settled or goes a step on. */
	void (*take)(struct crm *self, struct run *run, struct call *call, const struct answer *answer);
	/* The contact that says `name` is `value`. */
	json_t *(*field)(const char *name, const char *value);
};
extern const struct provider hubspot, bitrix24, amocrm;

enum count { REQUESTS, CREATED, UPDATED, MERGED, ERASED, LIMITED, CONFLICTS, UNMAPPED, UNCHANGED, COUNTS };

struct crm {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	const struct provider *provider;
	char *url;             /* without a slash at its end; Bitrix24: with the secret in it */
	char *bearer;          /* of the Authorization header; NULL: none */
	struct oauth2 *oauth2; /* NULL: the bearer is for good */
	struct oauth2_wait wait;
	char *client_id, *client_secret, *refresh_token, *redirect_uri, *token_url;
	char *unique_property, *origin, *merge_tag, *withdrawn_field, *withdrawn_value;
	bool keeps_erased, replaces_values;
	int64_t timeout_ms;
	struct rate rate;
	struct sent sent;
	int64_t held_until_ms; /* until then the CRM is not asked: it said so */
	char held_reason[REASON_MAX + 1];
	int64_t operating_reset_s; /* Bitrix24: when it may be asked again for what took too long */
	int counter[COUNTS];
	int64_t told_full_ms;

	struct run *runs, **runs_end; /* the first is worked on */
	struct call call;
	bool has_call;           /* it is to be sent, waits for its turn, or is under way */
	bool is_asking;          /* an HTTP request is under way, or a token is waited for */
	bool has_timer;          /* a timer is set */
	bool did_sign_in;        /* for this call */
	bool is_in_ask, is_told; /* about the token: it is asked for right now; it came */
};

/* ── items (item.c) ──────────────────────────────────────────────────────── */

/* Reads a record into a zeroed item. What cannot be used settles it at once, with the reason. */
void item_read(struct crm *self, struct item *item, const struct cdpd_record *record);
void item_fini(struct item *item);
/* The last word on it, also for those that go with it. */
void item_settle(struct item *item, enum cdpd_verdict verdict, int64_t after_ms, const char *fmt, ...)
    CDPD_PRINTF(4, 5);
void item_ack(struct item *item);
/* `later` is of the same person and comes behind: its values win. */
bool item_fold(struct item *item, struct item *later);
bool item_is_same_person(const struct item *a, const struct item *b);
bool item_has_same_key(const struct item *a, const struct item *b);

/* ── what happens to a contact (run.c) ───────────────────────────────────── */

/* The CRM has it under `id`. Also remembers that, durably. */
void crm_found(struct crm *self, struct item *item, const char *id);
void crm_written(struct crm *self, struct item *item, const char *id, bool is_new);
/* The contact that `id` named is not there (any more). */
void crm_gone(struct crm *self, struct item *item);
/* A lead is about to be made: should its id be lost with the answer, it is looked for first. */
void crm_lead_begins(struct crm *self, const struct item *item);
/* Nobody has what it was looked for by. */
void crm_not_found(struct crm *self, struct item *item);
void crm_lead_written(struct crm *self, struct item *item, const char *id);
void crm_lead_gone(struct crm *self, struct item *item);
/* Both contacts are one, whose id is `id`. */
void crm_merged(struct crm *self, struct item *item, const char *id);
/* They stay two for ever. */
void crm_not_merged(struct crm *self, struct item *item, const char *why);
void crm_erased(struct crm *self, struct item *item);
/* The request as a whole was refused, and nobody knows whose fault it is: smaller ones will tell; a lone one is dropped with `why`. */
void crm_split(struct call *call, const char *why);
/* Adds the items of the window that are at first's step and may be in a request with it: at most `most`, no id twice. */
void crm_collect(struct run *run, struct item *first, size_t most, bool mixes_known, struct call *call);

/* ── texts (text.c) ──────────────────────────────────────────────────────── */

void text_lower(char *text);
/* The digits; a number of ten digits or more without what comes before the last ten. */
void text_phone_core(const char *phone, char out[PHONE_MAX + 1]);
bool text_is_same_phone(const char *a, const char *b);
bool text_is_same_email(const char *a, const char *b);
/* Percent-encodes; false: it does not fit. */
bool text_encode(char *to, size_t size, const char *from);
/* Replaces the secrets of `self`. */
void text_hide(const struct crm *self, char *text);
/* For people: no control characters, no secrets of `self`, cut at a character's end. */
void text_clean(const struct crm *self, char *text, size_t size, const char *from);
/* A JSON string, or a number as text; "" for everything else. */
const char *text_of(const json_t *value, char buffer[32]);
const char *text_member(const json_t *object, const char *name); /* "" when it is no string */

/* ── the map of ids (idmap.c): profile → contact, profile and key → lead ──── */

void idmap_get(struct crm *self, const char *profile, char id[ID_MAX + 1]); /* "": none */
void idmap_put(struct crm *self, const char *profile, const char *id);      /* "": forget */
/* The contact that a profile had before it got the one that has its e-mail: a merge makes them one. "": none. */
void idmap_get_former(struct crm *self, const char *profile, char id[ID_MAX + 1]);
void idmap_put_former(struct crm *self, const char *profile, const char *id);
/* "?" : one was to be made, the answer never came. */
void idmap_get_lead(struct crm *self, const char *profile, const char *lead_key, char id[ID_MAX + 1]);
void idmap_put_lead(struct crm *self, const char *profile, const char *lead_key, const char *id);

/* ── a run (run.c) ───────────────────────────────────────────────────────── */

void run_step(struct crm *self);
int64_t now_ms(void); /* monotonic */
