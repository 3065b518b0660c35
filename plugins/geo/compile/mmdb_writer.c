#include "mmdb_writer.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX 10000000u
#define EMPTY     0u
#define DATA      0x80000000u /* a record with this bit is an offset in the data section */

struct bytes {
	unsigned char *ptr;
	size_t len, room;
	bool is_lost;
};

struct network {
	unsigned char address[16];
	unsigned prefix; /* of 128 bits */
	uint32_t data;
};

struct mmdb_writer {
	const struct mmdb_column *columns;
	size_t column_count;
	struct network *networks;
	size_t network_count, network_room;
	uint32_t (*nodes)[2];
	size_t node_count, node_room;
	struct bytes data;
	bool has_ipv6;
};

static void put(struct bytes *out, const void *from, size_t len)
{
	if (out->len + len > out->room) {
		size_t room = (out->len + len) * 2 + 1024;
		unsigned char *ptr = realloc(out->ptr, room);
		if (!ptr) {
			out->is_lost = true;
			return;
		}
		out->ptr = ptr;
		out->room = room;
	}
	memcpy(out->ptr + out->len, from, len);
	out->len += len;
}

static void put_byte(struct bytes *out, unsigned byte)
{
	unsigned char one = (unsigned char)byte;
	put(out, &one, 1);
}

/* ── data ────────────────────────────────────────────────────────────────── */

enum data_type { UTF8 = 2, DOUBLE = 3, UINT16 = 5, UINT32 = 6, MAP = 7, UINT64 = 9, ARRAY = 11 };

static void put_control(struct bytes *out, enum data_type type, size_t size)
{
	unsigned low = size < 29 ? (unsigned)size : size < 285 ? 29 : 30;
	put_byte(out, (type <= 7 ? (unsigned)type << 5 : 0) | low);
	if (type > 7) put_byte(out, (unsigned)type - 7);
	if (low == 30) put_byte(out, (unsigned)(size - 285) >> 8);
	if (low >= 29) put_byte(out, (unsigned)(size - (low == 29 ? 29 : 285)));
}

static void put_text(struct bytes *out, const char *text)
{
	put_control(out, UTF8, strlen(text));
	put(out, text, strlen(text));
}

static void put_whole(struct bytes *out, enum data_type type, uint64_t value)
{
	unsigned char big[8];
	size_t len = 0;
	for (int shift = 56; shift >= 0; shift -= 8) {
		if (len || (value >> shift) & 0xff) big[len++] = (unsigned char)(value >> shift);
	}
	put_control(out, type, len);
	put(out, big, len);
}

static void put_number(struct bytes *out, double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof bits);
	put_control(out, DOUBLE, 8);
	for (int shift = 56; shift >= 0; shift -= 8) put_byte(out, (unsigned)(bits >> shift) & 0xff);
}

static void put_value(struct bytes *out, enum mmdb_type type, const char *text)
{
	switch (type) {
	case MMDB_TEXT: put_text(out, text); break;
	case MMDB_NUMBER: put_number(out, strtod(text, NULL)); break;
	case MMDB_WHOLE: put_whole(out, UINT32, strtoul(text, NULL, 10) & 0xffffffffu); break;
	}
}

struct record { /* the columns of one row that have a value */
	const struct mmdb_column *columns[MMDB_COLUMNS_MAX];
	const char *values[MMDB_COLUMNS_MAX];
};

static size_t same_step(const struct record *record, size_t from, size_t to, size_t depth)
{
	size_t end = from + 1;
	while (end < to && record->columns[end]->step_count > depth &&
	       strcmp(record->columns[end]->steps[depth], record->columns[from]->steps[depth]) == 0)
		end++;
	return end;
}

/* Columns [from, to) share their first `depth` steps: a map, or an array when the next steps are digits. */
static void put_level(struct bytes *out, const struct record *record, size_t from, size_t to, size_t depth)
{
	size_t members = 0;
	for (size_t at = from; at < to; at = same_step(record, at, to, depth)) members++;
	bool is_array =
	    to > from && record->columns[from]->steps[depth][0] >= '0' && record->columns[from]->steps[depth][0] <= '9';
	put_control(out, is_array ? ARRAY : MAP, members);
	for (size_t at = from, end; at < to; at = end) {
		end = same_step(record, at, to, depth);
		if (!is_array) put_text(out, record->columns[at]->steps[depth]);
		if (record->columns[at]->step_count == depth + 1)
			put_value(out, record->columns[at]->type, record->values[at]);
		else
			put_level(out, record, at, end, depth + 1);
	}
}

static uint32_t put_record(struct mmdb_writer *writer, const char *const *values)
{
	struct record record;
	size_t count = 0;
	for (size_t i = 0; i < writer->column_count; i++) {
		if (!values[i] || !values[i][0]) continue;
		record.columns[count] = &writer->columns[i];
		record.values[count++] = values[i];
	}
	uint32_t at = (uint32_t)writer->data.len;
	put_level(&writer->data, &record, 0, count, 0);
	return at;
}

/* ── networks ────────────────────────────────────────────────────────────── */

struct mmdb_writer *mmdb_writer_new(const struct mmdb_column *columns, size_t count)
{
	struct mmdb_writer *writer = count <= MMDB_COLUMNS_MAX ? calloc(1, sizeof *writer) : NULL;
	if (!writer) return NULL;
	writer->columns = columns;
	writer->column_count = count;
	return writer;
}

void mmdb_writer_free(struct mmdb_writer *writer)
{
	if (!writer) return;
	free(writer->networks);
	free(writer->nodes);
	free(writer->data.ptr);
	free(writer);
}

static const char *read_network(const char *text, struct network *out, bool *is_ipv6)
{
	char address[64];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	if (len >= sizeof address) return "not an address";
	memcpy(address, text, len);
	address[len] = '\0';
	memset(out, 0, sizeof *out);
	*is_ipv6 = strchr(address, ':') != NULL;
	unsigned bits = *is_ipv6 ? 128 : 32;
	if (inet_pton(*is_ipv6 ? AF_INET6 : AF_INET, address, *is_ipv6 ? out->address : out->address + 12) != 1)
		return "not an address";
	char *end = NULL;
	unsigned long prefix = slash ? strtoul(slash + 1, &end, 10) : bits;
	if (slash && (end == slash + 1 || *end || prefix > bits)) return "not a network";
	out->prefix = (unsigned)prefix + 128 - bits;
	return NULL;
}

const char *mmdb_writer_add(struct mmdb_writer *writer, const char *network, const char *const *values)
{
	struct network net;
	bool is_ipv6;
	const char *wrong = read_network(network, &net, &is_ipv6);
	if (wrong) return wrong;
	if (writer->network_count == writer->network_room) {
		size_t room = writer->network_room * 2 + 64;
		struct network *networks = realloc(writer->networks, room * sizeof *networks);
		if (!networks) return "out of memory";
		writer->networks = networks;
		writer->network_room = room;
	}
	net.data = put_record(writer, values);
	writer->has_ipv6 |= is_ipv6;
	writer->networks[writer->network_count++] = net;
	return writer->data.is_lost ? "out of memory" : NULL;
}

/* ── the search tree ─────────────────────────────────────────────────────── */

static uint32_t add_node(struct mmdb_writer *writer, uint32_t below)
{
	if (writer->node_count == writer->node_room) {
		size_t room = writer->node_room * 2 + 1024;
		void *nodes = room <= NODES_MAX ? realloc(writer->nodes, room * sizeof writer->nodes[0]) : NULL;
		if (!nodes) return EMPTY;
		writer->nodes = nodes;
		writer->node_room = room;
	}
	writer->nodes[writer->node_count][0] = writer->nodes[writer->node_count][1] = below;
	return (uint32_t)writer->node_count++;
}

static bool insert(struct mmdb_writer *writer, const struct network *net, unsigned first_bit)
{
	uint32_t node = 0;
	for (unsigned bit = first_bit;; bit++) {
		unsigned side = (net->address[bit / 8] >> (7 - bit % 8)) & 1;
		uint32_t below = writer->nodes[node][side];
		if (bit + 1 >= net->prefix) {
			writer->nodes[node][side] = net->data | DATA;
			return true;
		}
		if (below == EMPTY || below & DATA) {
			uint32_t made = add_node(writer, below);
			if (made == EMPTY) return false;
			writer->nodes[node][side] = below = made;
		}
		node = below;
	}
}

static int wider_first(const void *a, const void *b)
{
	const struct network *left = a, *right = b;
	return (left->prefix > right->prefix) - (left->prefix < right->prefix);
}

static const char *build_tree(struct mmdb_writer *writer)
{
	unsigned first_bit = writer->has_ipv6 ? 0 : 96;
	writer->node_count = 0;
	add_node(writer, EMPTY);
	if (!writer->nodes) return "out of memory";
	if (writer->network_count)
		qsort(writer->networks, writer->network_count, sizeof *writer->networks, wider_first);
	for (size_t i = 0; i < writer->network_count; i++) {
		if (!insert(writer, &writer->networks[i], first_bit)) return "too many networks";
	}
	return NULL;
}

/* In the file a record is a node, node_count for "nothing", or node_count + 16 + the offset of data. */
static void put_tree(const struct mmdb_writer *writer, struct bytes *out)
{
	uint32_t count = (uint32_t)writer->node_count;
	for (size_t i = 0; i < writer->node_count; i++) {
		for (int side = 0; side < 2; side++) {
			uint32_t to = writer->nodes[i][side];
			to = to == EMPTY ? count : to & DATA ? (to & ~DATA) + count + 16 : to;
			for (int shift = 24; shift >= 0; shift -= 8) put_byte(out, (to >> shift) & 0xff);
		}
	}
}

static void put_metadata(const struct mmdb_writer *writer, const char *type, struct bytes *out)
{
	put(out, "\xab\xcd\xefMaxMind.com", 14);
	put_control(out, MAP, 9);
	put_text(out, "binary_format_major_version");
	put_whole(out, UINT16, 2);
	put_text(out, "binary_format_minor_version");
	put_whole(out, UINT16, 0);
	put_text(out, "build_epoch"); /* the same table makes the same file */
	put_whole(out, UINT64, 1);
	put_text(out, "database_type");
	put_text(out, type);
	put_text(out, "description");
	put_control(out, MAP, 1);
	put_text(out, "en");
	put_text(out, type);
	put_text(out, "ip_version");
	put_whole(out, UINT16, writer->has_ipv6 ? 6 : 4);
	put_text(out, "languages");
	put_control(out, ARRAY, 1);
	put_text(out, "en");
	put_text(out, "node_count");
	put_whole(out, UINT32, writer->node_count);
	put_text(out, "record_size");
	put_whole(out, UINT16, 32);
}

const char *mmdb_writer_write(struct mmdb_writer *writer, const char *type, FILE *out)
{
	static const unsigned char separator[16];
	struct bytes bytes = {0};
	const char *wrong = build_tree(writer);
	if (wrong) return wrong;
	put_tree(writer, &bytes);
	put(&bytes, separator, sizeof separator);
	if (writer->data.len) put(&bytes, writer->data.ptr, writer->data.len);
	put_metadata(writer, type, &bytes);
	if (bytes.is_lost)
		wrong = "out of memory";
	else if (fwrite(bytes.ptr, 1, bytes.len, out) != bytes.len)
		wrong = "cannot be written";
	free(bytes.ptr);
	return wrong;
}
