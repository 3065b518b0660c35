/* The head: one line after the other, each judged when its CRLF is there. A control byte is judged where it stands, so
 * a line that can never become valid is refused before its end arrives. */
#include "net/http.h"
#include "net/http1_parse.h"
#include "net/http1_scan.h"

enum head_step { STEP_START, STEP_REQUEST_LINE, STEP_FIELD, STEP_DONE, STEP_REFUSED };
enum line_result { LINE_MORE, LINE_READY, LINE_REFUSED };

void http1_head_start(struct http1_head_parser *parser)
{
	parser->line_start = parser->scanned = parser->length = 0;
	parser->step = STEP_START;
	/* The fields past field_count are never read: clearing 1 KB for each request would be felt. */
	memset(&parser->head, 0, offsetof(struct head, fields));
}

static enum http1_result refuse(struct http1_head_parser *parser, enum problem problem, const char *why)
{
	parser->step = STEP_REFUSED;
	parser->refusal = (struct http1_refusal){problem, why};
	return HTTP1_REFUSED;
}

static bool bad(struct http1_head_parser *parser, const char *why)
{
	(void)refuse(parser, PROBLEM_INVALID_REQUEST, why);
	return false;
}

/* ── request line ────────────────────────────────────────────────────────── */

/* "http://host/path" names the same as "/path" here: one daemon serves one host. Leaves `target` at the path; a missing
 * path is stood for by a slash of "//". */
static bool skip_authority(struct str *target)
{
	size_t scheme = str_starts(*target, STR("http://")) ? 7 : str_starts(*target, STR("https://")) ? 8 : 0;
	if (scheme == 0) return false;
	size_t end = scheme;
	while (end < target->len && target->ptr[end] != '/' && target->ptr[end] != '?') end++;
	if (end == scheme || !http1_is_host((struct str){target->ptr + scheme, end - scheme})) return false;
	if (end == target->len) {
		*target = (struct str){target->ptr + scheme - 1, 1};
		return true;
	}
	*target = (struct str){target->ptr + end, target->len - end};
	return target->ptr[0] == '/';
}

static struct text_ref ref_to(const char *base, struct str text)
{
	return (struct text_ref){(uint32_t)(text.ptr - base), (uint32_t)text.len};
}

static bool read_target(struct http1_head_parser *parser, const char *base, struct str target)
{
	struct head *head = &parser->head;
	if (str_eq(target, STR("*")) && head->method == HTTP_OPTIONS) {
		head->path = ref_to(base, target);
		return true;
	}
	if (target.len == 0 || (target.ptr[0] != '/' && !skip_authority(&target)))
		return bad(parser, "the request target is not a path");
	const char *mark = memchr(target.ptr, '?', target.len);
	struct str path = target, query = {target.ptr, 0};
	if (mark) {
		path.len = (size_t)(mark - target.ptr);
		query = (struct str){mark + 1, target.len - path.len - 1};
	}
	if (!http1_is_path(path)) return bad(parser, "the path holds a forbidden byte or a broken escape");
	if (!http1_is_query(query)) return bad(parser, "the query holds a forbidden byte");
	head->path = ref_to(base, path);
	head->query = ref_to(base, query);
	return true;
}

static bool read_version(struct http1_head_parser *parser, struct str version)
{
	if (str_eq(version, STR("HTTP/1.1")))
		parser->head.minor = 1;
	else if (str_eq(version, STR("HTTP/1.0")))
		parser->head.minor = 0;
	else
		return bad(parser, "only HTTP/1.0 and 1.1 are spoken here");
	return true;
}

static bool read_request_line(struct http1_head_parser *parser, const char *base, struct str line)
{
	const char *first = memchr(line.ptr, ' ', line.len);
	const char *last = memrchr(line.ptr, ' ', line.len);
	if (!first || first == last) return bad(parser, "the request line needs method, target and version");
	struct str method = {line.ptr, (size_t)(first - line.ptr)};
	struct str target = {first + 1, (size_t)(last - first - 1)};
	struct str version = {last + 1, (size_t)(line.ptr + line.len - last - 1)};
	if (!http1_is_token(method)) return bad(parser, "the method is not a token");
	/* Half the preface of HTTP/2, or a whole one on a connection that is not HTTP/2's. */
	if (str_eq(method, STR("PRI"))) return bad(parser, "not the preface of HTTP/2");
	parser->head.method = head_method(method);
	return read_version(parser, version) && read_target(parser, base, target);
}

/* ── fields ──────────────────────────────────────────────────────────────── */

static bool read_content_length(struct http1_head_parser *parser, struct str value)
{
	struct head *head = &parser->head;
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] < '0' || value.ptr[i] > '9') return bad(parser, "Content-Length is not a number");
	if (value.len == 0) return bad(parser, "Content-Length is empty");
	if (str_to_u64(value, &head->content_length) != OK)
		return refuse(parser, PROBLEM_TOO_LARGE, "Content-Length is out of range"), false;
	head->has_length = true;
	return true;
}

static bool read_connection(struct head *head, struct str value)
{
	while (value.len > 0) {
		const char *comma = memchr(value.ptr, ',', value.len);
		size_t len = comma ? (size_t)(comma - value.ptr) : value.len;
		struct str option = str_trim((struct str){value.ptr, len});
		if (str_eq_nocase(option, STR("close"))) head->wants_close = true;
		if (str_eq_nocase(option, STR("keep-alive"))) head->wants_keep_alive = true;
		len += comma ? 1 : 0;
		value = (struct str){value.ptr + len, value.len - len};
	}
	return true;
}

static bool read_known(struct http1_head_parser *parser, enum head_known known, struct str value)
{
	struct head *head = &parser->head;
	bool is_repeated = head->known[known] != 0;
	switch (known) {
	case HEAD_HOST:
		if (is_repeated) return bad(parser, "more than one Host");
		return http1_is_host(value) || bad(parser, "Host is malformed");
	case HEAD_CONTENT_LENGTH:
		if (is_repeated) return bad(parser, "more than one Content-Length");
		return read_content_length(parser, value);
	case HEAD_TRANSFER_ENCODING:
		if (is_repeated || !str_eq_nocase(value, STR("chunked")))
			return bad(parser, "the only Transfer-Encoding is chunked");
		return head->is_chunked = true;
	case HEAD_EXPECT:
		head->wants_continue = str_eq_nocase(value, STR("100-continue"));
		head->has_other_expect |= !head->wants_continue;
		return true;
	case HEAD_CONNECTION: return read_connection(head, value);
	case HEAD_CONTENT_ENCODING:
	case HEAD_ORIGIN: return !is_repeated || bad(parser, "a field that stands once is repeated");
	case HEAD_KNOWN_COUNT: break;
	}
	return true;
}

static struct str trim_blanks(const char *from, const char *to)
{
	while (from < to && (*from == ' ' || *from == '\t')) from++;
	while (from < to && (to[-1] == ' ' || to[-1] == '\t')) to--;
	return (struct str){from, (size_t)(to - from)};
}

static bool read_field(struct http1_head_parser *parser, const char *base, struct str line)
{
	struct head *head = &parser->head;
	size_t colon = 0;
	while (colon < line.len && http1_is_token_char(line.ptr[colon])) colon++;
	if (colon == 0 || colon == line.len || line.ptr[colon] != ':') return bad(parser, "a field name is malformed");
	if (head->field_count == HEAD_FIELDS_MAX)
		return refuse(parser, PROBLEM_HEADERS_TOO_LARGE, "too many header fields"), false;
	struct str name = {line.ptr, colon};
	struct str value = trim_blanks(line.ptr + colon + 1, line.ptr + line.len);
	int known = head_known_field(name);
	if (known >= 0 && !read_known(parser, (enum head_known)known, value)) return false;
	head->fields[head->field_count++] = (struct head_field){ref_to(base, name), ref_to(base, value)};
	if (known >= 0 && !head->known[known]) head->known[known] = (uint8_t)head->field_count;
	return true;
}

static bool check_whole(struct http1_head_parser *parser)
{
	const struct head *head = &parser->head;
	if (head->minor == 1 && !head->known[HEAD_HOST]) return bad(parser, "Host is missing");
	if (head->is_chunked && head->has_length) return bad(parser, "Content-Length and Transfer-Encoding together");
	if (head->is_chunked && head->minor == 0) return bad(parser, "Transfer-Encoding in HTTP/1.0");
	return true;
}

/* ── lines ───────────────────────────────────────────────────────────────── */

/* Where the line must have ended, CRLF included: its own limit on the request line, the block's on both. */
static size_t line_limit(const struct http1_head_parser *parser)
{
	size_t limit = parser->line_start + HEAD_LINE_MAX + 2;
	return parser->step == STEP_FIELD || limit > HEAD_BYTES_MAX ? HEAD_BYTES_MAX : limit;
}

static enum line_result next_line(struct http1_head_parser *parser, const char *data, size_t len, struct str *line)
{
	size_t limit = line_limit(parser), window = len < limit ? len : limit;
	size_t at = http1_find_control(data, parser->scanned, window);
	parser->scanned = (uint32_t)at;
	if (at + 1 < window && data[at] == '\r' && data[at + 1] == '\n') {
		*line = (struct str){data + parser->line_start, at - parser->line_start};
		parser->line_start = parser->scanned = (uint32_t)at + 2;
		return LINE_READY;
	}
	if (at < window && (data[at] != '\r' || at + 1 < window)) {
		(void)bad(parser, data[at] == '\n'   ? "a line ends without CR"
				  : data[at] == '\r' ? "a CR without LF"
						     : "a control byte");
		return LINE_REFUSED;
	}
	if (len < limit) return LINE_MORE;
	bool is_first = parser->step != STEP_FIELD;
	(void)refuse(parser, is_first ? PROBLEM_URI_TOO_LONG : PROBLEM_HEADERS_TOO_LARGE, "the head is too long");
	return LINE_REFUSED;
}

static bool take_line(struct http1_head_parser *parser, const char *data, struct str line)
{
	switch (parser->step) {
	case STEP_START:
		parser->step = STEP_REQUEST_LINE;
		/* One empty line before a request is ignored (RFC 9112 section 2.2). */
		if (line.len == 0) return true;
		/* fall through */
	case STEP_REQUEST_LINE:
		if (!read_request_line(parser, data, line)) return false;
		parser->step = STEP_FIELD;
		return true;
	default:
		if (line.len > 0) return read_field(parser, data, line);
		if (!check_whole(parser)) return false;
		parser->length = parser->line_start;
		parser->step = STEP_DONE;
		return true;
	}
}

enum http1_result http1_head_parse(struct http1_head_parser *parser, const char *data, size_t len)
{
	struct str line;
	while (parser->step != STEP_DONE) {
		if (parser->step == STEP_REFUSED) return HTTP1_REFUSED;
		enum line_result result = next_line(parser, data, len, &line);
		if (result == LINE_MORE) return HTTP1_MORE;
		if (result == LINE_REFUSED || !take_line(parser, data, line)) return HTTP1_REFUSED;
	}
	return HTTP1_DONE;
}
