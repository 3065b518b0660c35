/* simdjson's DOM behind json.h. A value is an index into the document's tape, which simdjson documents
 * (doc/tape.md): one 64-bit word each, a type letter in the top byte. Walking the words directly
 * costs no allocation and no copy of simdjson's element and iterator classes. */
#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <new>

#define _Noreturn __attribute__((noreturn)) /* the headers are C11 */
extern "C" {
#include "base/json.h"
#include "base/json_mend.h"
}

using simdjson::dom::document;

static_assert(BUF_SLACK >= simdjson::SIMDJSON_PADDING, "simdjson reads that far past a text");

struct json_reader {
	simdjson::dom::parser parser;
};

namespace
{

constexpr size_t smallest_capacity = 4096;
/* Of document text: 8 (tape) + 5/3 (strings) in the document, 4 (structural indexes) in the parser. */
constexpr size_t memory_per_byte = 14;

/* Words of the tape. */
constexpr uint64_t payload_mask = (uint64_t(1) << 56) - 1;
constexpr uint32_t count_saturated = 0xffffff;

const document *document_of(json value)
{
	return static_cast<const document *>(value.doc);
}
uint64_t word_at(const document *doc, size_t index)
{
	return doc->tape[index];
}
char tag_of(uint64_t word)
{
	return char(word >> 56);
}
char tag_of(json value)
{
	return tag_of(word_at(document_of(value), value.index));
}
bool is_container(char tag)
{
	return tag == '{' || tag == '[';
}

/* The index after the whole value at `index`. */
size_t index_after(const document *doc, size_t index)
{
	uint64_t word = word_at(doc, index);
	switch (tag_of(word)) {
	case '{':
	case '[': return uint32_t(word);
	case 'l':
	case 'u':
	case 'd': return index + 2;
	default: return index + 1;
	}
}

str string_at(const document *doc, size_t index)
{
	const uint8_t *at = doc->string_buf.get() + (word_at(doc, index) & payload_mask);
	uint32_t len;
	memcpy(&len, at, sizeof len);
	return str{reinterpret_cast<const char *>(at + sizeof len), len};
}

template <typename T> T number_at(json value)
{
	T number;
	memcpy(&number, &document_of(value)->tape[value.index + 1], sizeof number);
	return number;
}

/* ── reading ───────────────────────────────────────────────────────────────── */

const char *phrase_of(simdjson::error_code code)
{
	using namespace simdjson;
	switch (code) {
	case EMPTY: return "empty document";
	case UTF8_ERROR: return "invalid UTF-8";
	case DEPTH_ERROR: return "nested too deeply";
	case NUMBER_ERROR: return "malformed number or number out of range";
	case STRING_ERROR: return "malformed string";
	case UNCLOSED_STRING: return "string without an end";
	case UNESCAPED_CHARS: return "control character in a string";
	case T_ATOM_ERROR:
	case F_ATOM_ERROR:
	case N_ATOM_ERROR: return "malformed true, false or null";
	case CAPACITY: return "too large";
	default: return "malformed structure";
	}
}

/* Grown in powers of two, so that slowly growing documents do not reallocate each time. */
int ensure_capacity(json_reader *reader, size_t len)
{
	size_t capacity = smallest_capacity;
	if (reader->parser.capacity() >= len && reader->parser.doc.capacity() >= len) return OK;
	while (capacity < len) capacity *= 2;
	/* One more: simdjson counts the document itself. */
	if (reader->parser.allocate(capacity, JSON_MAX_DEPTH + 1)) return ERR_NOMEM;
	if (reader->parser.doc.allocate(capacity)) return ERR_NOMEM;
	return OK;
}

simdjson::error_code parse(json_reader *reader, str text)
{
	if (ensure_capacity(reader, text.len) != OK) return simdjson::MEMALLOC;
	return reader->parser.parse(reinterpret_cast<const uint8_t *>(text.ptr), text.len, false).error();
}

/* A text refused for a number or a string may be one that RFC 8259 allows. */
simdjson::error_code parse_mended(json_reader *reader, str text, simdjson::error_code code)
{
	char *copy;
	size_t len;
	int rc = json_mend(text, &copy, &len);
	if (rc != OK) return rc == ERR_NOMEM ? simdjson::MEMALLOC : code;
	/* The document copies what it keeps of the text. */
	code = parse(reader, str{copy, len});
	free(copy);
	return code;
}

/* ── writing ───────────────────────────────────────────────────────────────── */

/* buf_putc without its call where there is room, as there nearly always is. */
int put(buf *out, char c)
{
	if (out->head + out->len + 1 + BUF_SLACK > out->size || out->len >= out->cap) return buf_putc(out, c);
	out->data[out->head + out->len++] = c;
	return OK;
}

constexpr double exact_integers = 9007199254740992.0; /* 2^53 */

template <typename T> int write_integer(buf *out, T value)
{
	char text[24];
	std::to_chars_result end = std::to_chars(text, text + sizeof text, value);
	return buf_append(out, text, size_t(end.ptr - text));
}

int write_shortest(buf *out, double value)
{
	char text[40];
	if (value == std::floor(value) && std::fabs(value) < exact_integers) return write_integer(out, int64_t(value));
	std::to_chars_result end = std::to_chars(text, text + sizeof text, value);
	return buf_append(out, text, size_t(end.ptr - text));
}

/* What was written with a fraction keeps one, so that it is read as the same type again. */
int write_double_as_double(buf *out, double value)
{
	if (value == 0 && std::signbit(value)) return buf_append(out, "-0.0", 4);
	size_t start = out->len;
	int rc = write_shortest(out, value);
	if (rc != OK) return rc;
	for (const char *p = buf_ptr(out) + start, *end = buf_ptr(out) + out->len; p < end; p++)
		if (*p == '.' || *p == 'e') return OK;
	return buf_append(out, ".0", 2);
}

/* A double that is an integer of 64 bits is spelled as that integer would be. */
int write_double_canonical(buf *out, double value)
{
	if (value == std::floor(value)) {
		if (value >= -0x1p63 && value < 0x1p63) return write_integer(out, int64_t(value));
		if (value > 0 && value < 0x1p64) return write_integer(out, uint64_t(value));
	}
	return write_shortest(out, value);
}

int write_value(buf *out, json value, bool is_canonical);

int write_array(buf *out, json array, bool is_canonical)
{
	json_iter it;
	json element;
	char before = '[';
	int rc = OK;
	if (json_count(array) == 0) return buf_append(out, "[]", 2);
	json_iter_start(array, &it);
	while (rc == OK && json_next_element(&it, &element)) {
		rc = put(out, before);
		if (rc == OK) rc = write_value(out, element, is_canonical);
		before = ',';
	}
	return rc == OK ? put(out, ']') : rc;
}

int write_member(buf *out, str key, json value, bool is_canonical)
{
	int rc = json_write_str(out, key);
	if (rc == OK) rc = put(out, ':');
	return rc == OK ? write_value(out, value, is_canonical) : rc;
}

int write_object(buf *out, json object)
{
	json_iter it;
	json value;
	str key;
	char before = '{';
	int rc = OK;
	if (json_count(object) == 0) return buf_append(out, "{}", 2);
	json_iter_start(object, &it);
	while (rc == OK && json_next_member(&it, &key, &value)) {
		rc = put(out, before);
		if (rc == OK) rc = write_member(out, key, value, false);
		before = ',';
	}
	return rc == OK ? put(out, '}') : rc;
}

struct member {
	str key;
	json value;

	bool operator<(const member &other) const
	{
		int order = str_cmp(key, other.key);
		return order ? order < 0 : value.index < other.value.index;
	}
};

int write_sorted(buf *out, member *members, size_t count)
{
	char before = '{';
	int rc = OK;
	std::sort(members, members + count);
	for (size_t i = 0; i < count && rc == OK; i++) {
		if (i + 1 < count && str_eq(members[i].key, members[i + 1].key)) continue; /* the later wins */
		rc = put(out, before);
		if (rc == OK) rc = write_member(out, members[i].key, members[i].value, true);
		before = ',';
	}
	return rc == OK ? put(out, '}') : rc;
}

int write_object_canonical(buf *out, json object)
{
	member few[16], *members = few;
	size_t count = json_count(object), i = 0;
	json_iter it;
	if (count == 0) return buf_append(out, "{}", 2);
	if (count > COUNT_OF(few)) members = new (std::nothrow) member[count];
	if (!members) return ERR_NOMEM;
	json_iter_start(object, &it);
	while (i < count && json_next_member(&it, &members[i].key, &members[i].value)) i++;
	int rc = write_sorted(out, members, i);
	if (members != few) delete[] members;
	return rc;
}

/* Goes as deep as the document, which JSON_MAX_DEPTH bounds. */
int write_value(buf *out, json value, bool is_canonical)
{
	switch (tag_of(value)) {
	case 'n': return buf_append(out, "null", 4);
	case 't': return buf_append(out, "true", 4);
	case 'f': return buf_append(out, "false", 5);
	case 'l': return write_integer(out, number_at<int64_t>(value));
	case 'u': return write_integer(out, number_at<uint64_t>(value));
	case 'd':
		return is_canonical ? write_double_canonical(out, number_at<double>(value))
				    : write_double_as_double(out, number_at<double>(value));
	case '"': return json_write_str(out, string_at(document_of(value), value.index));
	case '[': return write_array(out, value, is_canonical);
	default: return is_canonical ? write_object_canonical(out, value) : write_object(out, value);
	}
}

} // namespace

extern "C" {

int json_reader_new(struct json_reader **out)
{
	json_reader *reader = new (std::nothrow) json_reader;
	if (!reader) return ERR_NOMEM;
	*out = reader;
	return OK;
}

void json_reader_free(struct json_reader *reader)
{
	delete reader;
}

void json_reader_trim(struct json_reader *reader, size_t keep_bytes)
{
	if (reader->parser.capacity() * memory_per_byte > keep_bytes) reader->parser = simdjson::dom::parser();
}

int json_parse(struct json_reader *reader, struct str text, struct json *root, const char **why)
{
	simdjson::error_code code = parse(reader, text);
	if (code == simdjson::NUMBER_ERROR || code == simdjson::STRING_ERROR) code = parse_mended(reader, text, code);
	if (code == simdjson::MEMALLOC) return ERR_NOMEM;
	if (code) {
		*why = phrase_of(code);
		return ERR_INVALID;
	}
	*root = json{&reader->parser.doc, 1}; /* word 0 is the tape's own */
	return OK;
}

enum json_type json_type(struct json value)
{
	switch (tag_of(value)) {
	case 't':
	case 'f': return JSON_BOOL;
	case 'l': return JSON_INT;
	case 'u': return JSON_UINT;
	case 'd': return JSON_DOUBLE;
	case '"': return JSON_STRING;
	case '[': return JSON_ARRAY;
	case '{': return JSON_OBJECT;
	default: return JSON_NULL;
	}
}

bool json_get(struct json object, struct str key, struct json *out)
{
	json_iter it;
	str name;
	json value;
	if (tag_of(object) != '{') return false;
	json_iter_start(object, &it);
	while (json_next_member(&it, &name, &value)) {
		if (!str_eq(name, key)) continue;
		*out = value;
		return true;
	}
	return false;
}

bool json_get_path(struct json object, struct str path, struct json *out)
{
	for (;;) {
		const char *dot = static_cast<const char *>(memchr(path.ptr, '.', path.len));
		size_t step = dot ? size_t(dot - path.ptr) : path.len;
		if (!json_get(object, str{path.ptr, step}, &object)) return false;
		if (!dot) break;
		path = str{dot + 1, path.len - step - 1};
	}
	*out = object;
	return true;
}

bool json_str(struct json value, struct str *out)
{
	if (tag_of(value) != '"') return false;
	*out = string_at(document_of(value), value.index);
	return true;
}

bool json_bool(struct json value, bool *out)
{
	char tag = tag_of(value);
	if (tag != 't' && tag != 'f') return false;
	*out = tag == 't';
	return true;
}

bool json_int(struct json value, int64_t *out)
{
	if (tag_of(value) != 'l') return false;
	*out = number_at<int64_t>(value);
	return true;
}

bool json_double(struct json value, double *out)
{
	switch (tag_of(value)) {
	case 'l': *out = double(number_at<int64_t>(value)); return true;
	case 'u': *out = double(number_at<uint64_t>(value)); return true;
	case 'd': *out = number_at<double>(value); return true;
	default: return false;
	}
}

size_t json_count(struct json container)
{
	uint64_t word = word_at(document_of(container), container.index);
	if (!is_container(tag_of(word))) return 0;
	size_t count = uint32_t(word >> 32) & count_saturated;
	if (count < count_saturated) return count;
	json_iter it;
	str key;
	json value;
	json_iter_start(container, &it);
	for (count = 0; tag_of(word) == '{' ? json_next_member(&it, &key, &value) : json_next_element(&it, &value);)
		count++;
	return count;
}

void json_iter_start(struct json container, struct json_iter *it)
{
	it->at = container;
	it->end = container.index;
	if (!is_container(tag_of(container))) return;
	it->at.index++;
	it->end = index_after(document_of(container), container.index) - 1;
}

bool json_next_member(struct json_iter *it, struct str *key, struct json *value)
{
	const document *doc = document_of(it->at);
	if (it->at.index >= it->end) return false;
	*key = string_at(doc, it->at.index);
	*value = json{doc, it->at.index + 1};
	it->at.index = index_after(doc, value->index);
	return true;
}

bool json_next_element(struct json_iter *it, struct json *value)
{
	if (it->at.index >= it->end) return false;
	*value = it->at;
	it->at.index = index_after(document_of(it->at), it->at.index);
	return true;
}

int json_write(struct buf *out, struct json value)
{
	return write_value(out, value, false);
}

int json_write_canonical(struct buf *out, struct json value)
{
	return write_value(out, value, true);
}

int json_write_double(struct buf *out, double value)
{
	return std::isfinite(value) ? write_shortest(out, value) : buf_append(out, "null", 4);
}

} // extern "C"
