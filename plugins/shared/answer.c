#include "answer.h"

#include <stdio.h>
#include <string.h>

/* ── rules ───────────────────────────────────────────────────────────────── */

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : -1;
}

static int status_of(const char *text)
{
	int a = digit(text[0]), b = digit(text[1]), c = digit(text[2]);
	int status = a < 0 || b < 0 || c < 0 ? 0 : 100 * a + 10 * b + c;
	return status >= 200 && status <= ANSWER_STATUS_MAX ? status : 0;
}

static bool read_item(struct cdpd_str item, int *first, int *last)
{
	char text[8] = "";
	if (item.len >= sizeof text) return false;
	memcpy(text, item.ptr, item.len);
	if (item.len == 3 && strcmp(text + 1, "xx") == 0) memcpy(text, (char[]){text[0], '0', '0', 0}, 4);
	*first = *last = item.len == 3 || (item.len == 7 && text[3] == '-') ? status_of(text) : 0;
	if (item.len == 3 && item.ptr[1] == 'x') *last = *first + 99;
	if (item.len == 7) *last = status_of(text + 4);
	return *first > 0 && *last >= *first;
}

const char *answer_rules_add(struct answer_rules *rules, struct cdpd_str item, enum answer kind)
{
	int first, last;
	if (!read_item(item, &first, &last)) return "statuses are 404, 4xx or 500-504, from 200 to 599";
	for (int status = first; status <= last; status++) rules->kinds[status] = (unsigned char)(kind + 1);
	return NULL;
}

int answer_rules_read(struct answer_rules *rules, const struct cdpd_host *host, struct cdpd_instance *instance,
		      const struct cdpd_conf *conf)
{
	static const struct {
		const char *option;
		enum answer kind;
	} lists[] = {{"ack_status", ANSWER_TAKEN}, {"retry_status", ANSWER_LATER}, {"drop_status", ANSWER_REFUSED}};
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		size_t count = host->conf_count(conf, lists[i].option);
		for (size_t k = 0; k < count; k++) {
			const char *why =
			    answer_rules_add(rules, host->conf_item(conf, lists[i].option, k), lists[i].kind);
			if (!why) continue;
			host->log(instance, CDPD_LOG_ERROR, "%s: %s", lists[i].option, why);
			return CDPD_ERR_INVALID;
		}
	}
	return CDPD_OK;
}

/* ── what a status means ─────────────────────────────────────────────────── */

/* Of statuses that nobody said anything about. */
static enum answer default_kind(int status)
{
	if (status >= 200 && status < 300) return ANSWER_TAKEN;
	switch (status) {
	case 401: /* who we are, where we are, how we speak: not what we sent */
	case 402:
	case 403:
	case 404:
	case 405:
	case 407:
	case 410:
	case 415: return ANSWER_WRONG;
	case 408:
	case 425: return ANSWER_LATER;
	case 429:
	case 503: return ANSWER_DOWN;
	default: break;
	}
	if (status >= 400 && status < 500) return ANSWER_REFUSED;
	return status >= 500 ? ANSWER_LATER : ANSWER_WRONG;
}

enum answer answer_kind(const struct answer_rules *rules, const struct cdpd_http_response *response)
{
	int status = response->status;
	if (response->error == CDPD_ERR_DENIED || response->error == CDPD_ERR_TOO_LARGE ||
	    response->error == CDPD_ERR_INVALID)
		return ANSWER_WRONG;
	if (response->error == CDPD_ERR_TIMEOUT) return ANSWER_LATER;
	if (response->error != CDPD_OK) return ANSWER_DOWN;
	if (status < 200 || status > ANSWER_STATUS_MAX) return ANSWER_WRONG;
	int rule = rules->kinds[status];
	return rule ? (enum answer)(rule - 1) : default_kind(status);
}

int64_t answer_retry_after_ms(const struct cdpd_http_response *response)
{
	if (response->retry_after_ms > 0) return response->retry_after_ms;
	return response->error == CDPD_OK && response->status == 410 ? ANSWER_GONE_MS : 0;
}

/* ── telling it ──────────────────────────────────────────────────────────── */

static struct cdpd_str header(const struct cdpd_http_response *response, const char *name)
{
	for (size_t i = 0; i < response->header_count; i++) {
		struct cdpd_str found = response->headers[i].name;
		if (found.len == strlen(name) && memcmp(found.ptr, name, found.len) == 0)
			return response->headers[i].value;
	}
	return (struct cdpd_str){"", 0};
}

static int sequence_len(unsigned char c)
{
	if (c < 0x80) return 1;
	if (c >= 0xc2 && c < 0xe0) return 2;
	if (c >= 0xe0 && c < 0xf0) return 3;
	return c >= 0xf0 && c < 0xf5 ? 4 : 0;
}

/* How many bytes of well-formed UTF-8 stand at the front: 0 to 4. */
static size_t take_character(const char *text, size_t len)
{
	int count = sequence_len((unsigned char)text[0]);
	if (count == 0 || (size_t)count > len) return 0;
	for (int i = 1; i < count; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80) return 0;
	return (size_t)count;
}

/* Printable, on one line, white space run together, whole characters only. */
static void add_excerpt(char out[ANSWER_TEXT_SIZE], struct cdpd_str text)
{
	size_t at = strlen(out), start = at, most = at + ANSWER_EXCERPT;
	if (most > ANSWER_TEXT_SIZE - 1) most = ANSWER_TEXT_SIZE - 1;
	for (size_t i = 0; i < text.len;) {
		size_t len = take_character(text.ptr + i, text.len - i);
		unsigned char c = (unsigned char)text.ptr[i];
		bool is_space = len == 1 && (c <= 0x20 || c == 0x7f);
		const char *from = len == 0 ? "?" : is_space ? " " : text.ptr + i;
		i += len ? len : 1;
		if (is_space && (at == start || out[at - 1] == ' ')) continue;
		if (len == 0 || is_space) len = 1;
		if (at + len > most) break;
		memcpy(out + at, from, len);
		at += len;
	}
	out[at] = '\0';
}

static bool has_why(const struct cdpd_http_response *response)
{
	return response->size >= offsetof(struct cdpd_http_response, why) + sizeof response->why && response->why.len;
}

static const char *error_text(int error)
{
	switch (error) {
	case CDPD_ERR_DENIED: return "the address is private, see http.allow";
	case CDPD_ERR_TIMEOUT: return "no answer in time";
	case CDPD_ERR_TOO_LARGE: return "the answer is too large";
	case CDPD_ERR_BUSY: return "too many requests wait";
	case CDPD_ERR_NOMEM: return "out of memory";
	case CDPD_ERR_INVALID: return "the request cannot be made: is the URL right?";
	default: return "no connection, or it broke";
	}
}

static void tell_redirect(const struct cdpd_http_response *response, char out[ANSWER_TEXT_SIZE])
{
	snprintf(out, ANSWER_TEXT_SIZE, "HTTP %d: redirects are not followed, say the right URL: ", response->status);
	add_excerpt(out, header(response, "location"));
}

void answer_tell(const struct cdpd_http_response *response, char out[ANSWER_TEXT_SIZE])
{
	static const struct {
		int status;
		const char *text;
	} hints[] = {
	    {401, ", are the credentials right?"},
	    {403, ", may these credentials do it?"},
	    {404, ", is the URL right?"},
	    {407, ", a proxy answers"},
	    {410, " Gone: it wants no more, remove the destination"},
	};
	const char *hint = "";
	if (response->error != CDPD_OK) {
		snprintf(out, ANSWER_TEXT_SIZE, "%s", error_text(response->error));
		if (!has_why(response)) return;
		out[0] = '\0';
		add_excerpt(out, response->why);
		return;
	}
	if (response->status >= 300 && response->status < 400) {
		tell_redirect(response, out);
		return;
	}
	for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
		if (hints[i].status == response->status) hint = hints[i].text;
	snprintf(out, ANSWER_TEXT_SIZE, "HTTP %d%s%s", response->status, hint, response->body.len ? ": " : "");
	add_excerpt(out, response->body);
}
