/* notice: what each destination answered to what it must hear: that a person was erased, or withdrew a consent. In delivery/, for the receipt:
 * the notice's id, the destination, its answer; nothing of the person. Any thread. */
#pragma once

#include "deliver/cursor.h"

#define NOTICE_ID_SIZE 16
#define NOTICE_ANSWERS_MAX \
	100000 /* of all destinations; beyond, those with the smallest ids (the oldest erasures) make room */
#define NOTICE_REASON_MAX 200

enum notice_verdict { /* numbers are stored */
		      NOTICE_TAKEN,
		      NOTICE_REFUSED, /* it is a dead letter now */
		      NOTICE_VERDICT_COUNT
};
const char *notice_verdict_name(enum notice_verdict verdict);

struct notice_answer {
	struct str destination;
	enum notice_verdict verdict;
	uint32_t attempts; /* of the run that settled it */
	int64_t at_us;     /* wall clock */
	struct str reason; /* REFUSED: its words, cut to NOTICE_REASON_MAX */
	bool is_redriven;  /* when it is written: it was a dead letter before */
};

struct notice_row { /* to be written */
	uint8_t id[NOTICE_ID_SIZE];
	struct notice_answer answer; /* without its reason: that is here */
	char reason[NOTICE_REASON_MAX + 1];
};

/* Of an erasure it is the receipt; of a withdrawal it is made of what caused it and the purpose. */
void notice_id_of_withdrawal(uint64_t journal_seq, struct str purpose, uint8_t id[NOTICE_ID_SIZE]);

/* In a transaction of cursors_begin. A destination may be told of one erasure in several records, for each id by which it may know the person:
 * one that was refused counts, until it is handed over again; else the newest. */
MUST_USE int notices_write(struct cursors *cursors, struct store_txn *txn, const uint8_t id[NOTICE_ID_SIZE],
			   const struct notice_answer *answer);
/* By destination, copied into the arena; also of those that are configured no more. */
MUST_USE int notices_get(struct cursors *cursors, const uint8_t id[NOTICE_ID_SIZE], struct arena *arena,
			 struct notice_answer **out, size_t *count);
