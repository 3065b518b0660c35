/* Requests for an isolated source: one at a time, as they come to its thread. The thread waits here for the process, no longer than the source's deadline, and what
 * the process asks of the host meanwhile is answered. */
#include "plugin/decoding.h"
#include "plugin/isolate_internal.h"

int isolate_send_request(struct isolate *isolate)
{
	struct isolate_exchange *exchange = &isolate->exchange;
	struct wire wire;
	if (!exchange->decode || exchange->is_sent || isolate->state != ISOLATE_UP) return OK;
	wire_begin(&wire, &isolate->process.out, FRAME_REQUEST);
	wire_request(&wire, exchange->id, exchange->decode);
	int rc = isolate_send(isolate, &wire);
	if (rc == ERR_TOO_LARGE) { /* of this request, not of the process */
		exchange->error = CDPD_ERR_TOO_LARGE;
		exchange->is_done = true;
		return OK;
	}
	exchange->is_sent = rc == OK;
	return rc;
}

int isolate_take_decoded(struct isolate *isolate, struct str body)
{
	struct isolate_exchange *exchange = &isolate->exchange;
	if (!exchange->decode || !exchange->is_sent || exchange->is_done) return ERR_INVALID;
	int rc = wire_take_decoded(body, exchange->id, exchange->out, exchange->reply, &exchange->error);
	exchange->is_done = rc == OK;
	return rc;
}

void isolate_drop_request(struct isolate *isolate)
{
	if (!isolate->exchange.is_sent) return; /* it never saw it: the next process may */
	isolate->exchange.error = CDPD_ERR_IO;
	isolate->exchange.is_done = true;
}

int isolate_decode(void *self, const struct cdpd_request *request, struct cdpd_batch_out *out, struct cdpd_reply *reply)
{
	struct isolate *isolate = self;
	struct isolate_exchange *exchange = &isolate->exchange;
	int64_t until = clock_mono_us() + isolate->deadline_us;
	*exchange = (struct isolate_exchange){
	    .id = ++isolate->next_id, .decode = decoding_of(request), .out = out, .reply = reply};
	while (exchange->decode && !exchange->is_done) {
		int64_t due = isolate_turn(isolate), now = clock_mono_us();
		if (exchange->is_done) break;
		if (now >= until && exchange->is_sent) isolate_kill(isolate, "a call did not return in time");
		if (now >= until || isolate_is_long_down(isolate)) break;
		http_wait(isolate->instance->services.http, due < until ? due : until);
	}
	int error = exchange->is_done ? exchange->error : CDPD_ERR_BUSY;
	*exchange = (struct isolate_exchange){.id = 0};
	return error;
}
