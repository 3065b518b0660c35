// rooms: base
/* What strangers answer: excerpts of bodies for operators, token answers, lists of statuses and signing keys, of whatever bytes. Texts that are told are one line of whole characters and fit;
 * a token that is used fits into a header. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugins/shared/answer.c"
#include "../../plugins/shared/oauth2.c"
#include "../../plugins/shared/writer.c"
#include "../../plugins/webhook/signature.c"
#include "base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static cdpd_http_fn answer_token;
static void *answer_ctx;
static unsigned told;

static int take_request(struct cdpd_instance *instance, const struct cdpd_http_request *request, cdpd_http_fn done,
			void *ctx)
{
	(void)instance, (void)request;
	answer_token = done;
	answer_ctx = ctx;
	return CDPD_OK;
}

static void say_nothing(struct cdpd_instance *instance, enum cdpd_log_level level, const char *fmt, ...)
{
	(void)instance, (void)level, (void)fmt;
}

static void on_token(struct oauth2_wait *wait, const char *token, const char *why, int64_t retry_after_ms)
{
	(void)wait, (void)retry_after_ms;
	told++;
	CHECK(!token == (why != NULL));
	for (const char *at = token ? token : ""; *at; at++)
		CHECK((unsigned char)*at > 0x20 && (unsigned char)*at < 0x7f);
	for (const char *at = why ? why : ""; *at; at++) CHECK((unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7f);
}

static void ask(const struct cdpd_http_response *response)
{
	static const struct cdpd_host host = {.size = sizeof host, .http = take_request, .log = say_nothing};
	const struct oauth2_settings settings = {.url = "https://x/", .client_id = "c", .client_secret = "s"};
	struct oauth2_wait wait = {.done = on_token};
	struct oauth2 *o = oauth2_new(&host, NULL, &settings);
	CHECK(o);
	told = 0;
	oauth2_ask(o, &wait);
	answer_token(answer_ctx, response);
	CHECK(told == 1);
	oauth2_free(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct answer_rules rules = {.kinds = {0}};
	struct signature_keys *keys;
	char text[ANSWER_TEXT_SIZE];
	if (len < 2) return 0;
	char *bytes = malloc(len - 1);
	CHECK(bytes);
	memcpy(bytes, data + 1, len - 1);
	struct cdpd_str body = {bytes, len - 1};
	struct cdpd_http_header header = {{"location", 8}, body};
	struct cdpd_http_response response = {.size = sizeof response,
					      .error = data[0] & 64 ? CDPD_ERR_IO : CDPD_OK,
					      .status = 200 + (data[0] & 7) * 50 + (data[0] >> 3 & 7),
					      .retry_after_ms = -1,
					      .body = body,
					      .headers = &header,
					      .header_count = 1,
					      .why = body};
	answer_tell(&response, text);
	CHECK(strlen(text) < ANSWER_TEXT_SIZE);
	for (const char *at = text; *at;) {
		size_t count = take_character(at, strlen(at));
		CHECK(count > 0 && (unsigned char)*at >= 0x20 && *at != 0x7f);
		at += count;
	}
	(void)answer_kind(&rules, &response);
	ask(&response);
	if (!answer_rules_add(&rules, body, ANSWER_REFUSED)) CHECK(body.len == 3 || body.len == 7);
	if (!signature_keys_new(body, &keys)) signature_keys_free(keys);
	free(bytes);
	return 0;
}
