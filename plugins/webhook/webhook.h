/* webhook: an exporter that posts records to any HTTP endpoint. See README.md.
 *
 * webhook.c: options and the host's calls. delivery.c: one batch, in requests that may be under way beside each other; batches may be so, too. request.c: one request.
 * body.c, signature.c: what stands in it. plugins/shared: credentials, and what answers mean. */
#pragma once

#include "../shared/answer.h"
#include "../shared/outgoing.h"
#include "../shared/writer.h"
#include "body.h"
#include "signature.h"

#define RECORDS_MAX     5000 /* of a request */
#define CONCURRENCY_MAX 64
#define ID_SIZE         64
#define SPAN_MS         INT64_C(28000) /* for a batch: the host waits 30 s */
#define HEADERS_MAX     6

struct webhook;

struct request { /* one POST; its memory is used again */
	struct delivery *delivery;
	bool is_used;
	size_t lane;
	size_t *items; /* places in delivery.order, ascending: max_records of them */
	size_t count;
	uint32_t attempt; /* the highest of its records */
	int64_t started_ms;
	struct outgoing_call call;
	struct cdpd_http_header headers[HEADERS_MAX];
	struct writer body, packed, signature, ids;
	char id[ID_SIZE], timestamp[24];
};

enum state { WAITING, SENT, TAKEN, REFUSED, LATER };

/* Records whose order is kept: those of a person stand in one lane, which has one request under way at most. */
struct lane {
	size_t next, end;   /* places in delivery.order */
	size_t suspect_end; /* the records up to here hold one that is refused. 0: none known */
};

struct delivery { /* one batch; its memory is used again */
	struct webhook *owner;
	struct delivery *next;
	struct cdpd_receipt *receipt;
	struct request *requests; /* `concurrency` of them */
	size_t count, size;       /* size: of the arrays */
	struct cdpd_record *records;
	enum state *states; /* by record */
	size_t *order;      /* records by lane */
	size_t *lane_of;    /* by record */
	size_t *first_of;   /* lanes' hash table: a record of it + 1 */
	struct lane *lanes;
	size_t lane_count;
	size_t *ready; /* a ring of lanes without a request under way */
	size_t ready_at, ready_count;
	size_t under_way;
	unsigned fails_in_row; /* single records that failed, nothing taken in between */
	int64_t until_ms;
	bool is_pumping, is_stopped;
	int64_t retry_after_ms; /* these two: of is_stopped */
	char why[ANSWER_TEXT_SIZE];
};

struct webhook {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	struct outgoing *outgoing;
	struct answer_rules rules;
	struct signature_keys *keys; /* NULL: unsigned */
	struct body_gzip *gzip;      /* NULL: never */
	char *url;
	const char *method;
	enum body_format format;
	bool has_ids, has_type; /* has_type: the configuration says Content-Type itself */
	size_t max_records, max_bytes, concurrency, gzip_from;
	uint32_t timeout_ms;
	size_t span; /* records of the next request: fewer than max_records while the endpoint fails on more */
	struct delivery *deliveries; /* under way: as many as the host hands over beside each other */
	struct delivery *spares;     /* that were */
	int requests_metric, bytes_metric, splits_metric, seconds_metric;
};

/* request.c. Fills a request, whose items are places in its delivery's order, and sends it; delivery_answered follows, maybe before this
 * returns. False: there was no memory, nothing was sent. */
bool request_send(struct request *request);
void request_free(struct request *request);

/* delivery.c. False: there is no memory. The receipt is answered later, or before this returns. */
bool delivery_begin(struct webhook *self, const struct cdpd_batch *batch, struct cdpd_receipt *receipt);
/* Is one under way for which the host waits no more? */
bool delivery_is_overdue(const struct webhook *self);
void delivery_answered(struct request *request, const struct cdpd_http_response *response);
void delivery_free_all(struct webhook *self);
