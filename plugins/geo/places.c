#include "places.h"

#include <errno.h>
#include <fcntl.h>
#include <maxminddb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODES_CHECKED   50000 /* of a file, when it is opened */
#define RECORDS_CHECKED 2000

struct places {
	MMDB_s db;
};

#define LANGUAGE "*" /* stands for the language asked for */

/* MaxMind's nested records first, then the flat ones of ip-location-db, IPinfo and others. */
struct spelling {
	enum place_field field;
	const char *path[5];
};
static const struct spelling spellings[] = {
    {PLACE_CONTINENT, {"continent", "code"}},
    {PLACE_CONTINENT, {"continent_code"}},
    {PLACE_COUNTRY, {"country", "iso_code"}},
    {PLACE_COUNTRY, {"country_code"}},
    {PLACE_COUNTRY_NAME, {"country", "names", LANGUAGE}},
    {PLACE_COUNTRY_NAME, {"country_name"}},
    {PLACE_COUNTRY_NAME, {"country"}},
    {PLACE_REGION_CODE, {"subdivisions", "0", "iso_code"}},
    {PLACE_REGION_CODE, {"region_code"}},
    {PLACE_REGION, {"subdivisions", "0", "names", LANGUAGE}},
    {PLACE_REGION, {"state1"}},
    {PLACE_REGION, {"region"}},
    {PLACE_CITY, {"city", "names", LANGUAGE}},
    {PLACE_CITY, {"city"}},
    {PLACE_POSTAL_CODE, {"postal", "code"}},
    {PLACE_POSTAL_CODE, {"postcode"}},
    {PLACE_POSTAL_CODE, {"postal_code"}},
    {PLACE_LATITUDE, {"location", "latitude"}},
    {PLACE_LATITUDE, {"latitude"}},
    {PLACE_LONGITUDE, {"location", "longitude"}},
    {PLACE_LONGITUDE, {"longitude"}},
    {PLACE_RADIUS, {"location", "accuracy_radius"}},
    {PLACE_TIME_ZONE, {"location", "time_zone"}},
    {PLACE_TIME_ZONE, {"timezone"}},
    {PLACE_TIME_ZONE, {"time_zone"}},
    {PLACE_ASN, {"autonomous_system_number"}},
    {PLACE_ASN, {"asn"}},
    {PLACE_AS_NAME, {"autonomous_system_organization"}},
    {PLACE_AS_NAME, {"as_name"}},
};
#define SPELLINGS (sizeof spellings / sizeof spellings[0])

#define BIT(field)  (1u << (field))
#define OF_NETWORK  (BIT(PLACE_ASN) | BIT(PLACE_AS_NAME))
#define COORDINATES (BIT(PLACE_LATITUDE) | BIT(PLACE_LONGITUDE) | BIT(PLACE_RADIUS))
#define NUMBERS     (COORDINATES | BIT(PLACE_ASN))

/* ── opening ─────────────────────────────────────────────────────────────── */

static bool copy_bytes(int from, int to)
{
	static const size_t piece = (size_t)1 << 20;
	char *bytes = malloc(piece);
	ssize_t got = -1;
	while (bytes && (got = read(from, bytes, piece)) > 0) {
		for (ssize_t done = 0, n; done < got; done += n) {
			if ((n = write(to, bytes + done, (size_t)(got - done))) <= 0) got = -1;
			if (got < 0) break;
		}
		if (got < 0) break;
	}
	free(bytes);
	return got == 0;
}

/* The file's bytes in memory of our own; the library wants a name. */
static int copy_of(const char *path, char why[WATCHED_WHY_MAX])
{
	int from = open(path, O_RDONLY | O_CLOEXEC), copy = -1;
	if (from >= 0) copy = memfd_create("cdpd-geo", MFD_CLOEXEC);
	bool is_copied = copy >= 0 && copy_bytes(from, copy);
	if (!is_copied || lseek(copy, 0, SEEK_CUR) == 0) {
		snprintf(why, WATCHED_WHY_MAX, "%s", is_copied ? "the file is empty" : strerror(errno));
		if (copy >= 0) close(copy);
		copy = -1;
	}
	if (from >= 0) close(from);
	return copy;
}

static bool is_record_sound(MMDB_s *db, uint8_t type, MMDB_entry_s *entry, unsigned *budget)
{
	MMDB_entry_data_list_s *list = NULL;
	if (type == MMDB_RECORD_TYPE_INVALID) return false;
	if (type != MMDB_RECORD_TYPE_DATA || *budget == 0) return true;
	(*budget)--;
	entry->mmdb = db;
	int rc = MMDB_get_entry_data_list(entry, &list);
	MMDB_free_entry_data_list(list);
	return rc == MMDB_SUCCESS;
}

/* The library checks the metadata only. A sample of nodes and records finds files that are damaged in the middle. */
static bool is_sound(MMDB_s *db)
{
	uint32_t count = db->metadata.node_count, step = count / NODES_CHECKED + 1;
	unsigned budget = RECORDS_CHECKED;
	for (uint32_t i = 0; i < count; i += step) {
		MMDB_search_node_s node;
		if (MMDB_read_node(db, i, &node) != MMDB_SUCCESS) return false;
		if (!is_record_sound(db, node.left_record_type, &node.left_record_entry, &budget)) return false;
		if (!is_record_sound(db, node.right_record_type, &node.right_record_entry, &budget)) return false;
	}
	return true;
}

static void *open_file(const char *name, char why[WATCHED_WHY_MAX])
{
	struct places *places = calloc(1, sizeof *places);
	int rc = places ? MMDB_open(name, MMDB_MODE_MMAP, &places->db) : MMDB_OUT_OF_MEMORY_ERROR;
	if (rc != MMDB_SUCCESS) {
		snprintf(why, WATCHED_WHY_MAX, "%s", rc == MMDB_IO_ERROR ? strerror(errno) : MMDB_strerror(rc));
		free(places);
		return NULL;
	}
	if (is_sound(&places->db)) return places;
	snprintf(why, WATCHED_WHY_MAX, "The MaxMind DB file is damaged: its search tree leads nowhere");
	MMDB_close(&places->db);
	free(places);
	return NULL;
}

static void *load_copy(const char *path, char why[WATCHED_WHY_MAX])
{
	char name[64];
	int copy = copy_of(path, why);
	if (copy < 0) return NULL;
	snprintf(name, sizeof name, "/proc/self/fd/%d", copy);
	void *places = open_file(name, why);
	close(copy); /* the mapping stays */
	return places;
}

static void *load_map(const char *path, char why[WATCHED_WHY_MAX])
{
	return open_file(path, why);
}

static void unload(void *object)
{
	struct places *places = object;
	MMDB_close(&places->db);
	free(places);
}

const struct watched_kind places_copied = {load_copy, unload}, places_mapped = {load_map, unload};

/* ── asking ──────────────────────────────────────────────────────────────── */

static bool is_number(const MMDB_entry_data_s *data, double *out)
{
	switch (data->type) {
	case MMDB_DATA_TYPE_DOUBLE: *out = data->double_value; return true;
	case MMDB_DATA_TYPE_UINT16: *out = data->uint16; return true;
	case MMDB_DATA_TYPE_UINT32: *out = data->uint32; return true;
	case MMDB_DATA_TYPE_INT32: *out = data->int32; return true;
	case MMDB_DATA_TYPE_FLOAT: {
		char text[32]; /* 37.422 and not 37.4220008850 */
		snprintf(text, sizeof text, "%.7g", (double)data->float_value);
		*out = strtod(text, NULL);
		return true;
	}
	case MMDB_DATA_TYPE_UTF8_STRING: { /* "AS15169", "52.52" */
		char text[32], *end;
		if (data->data_size == 0 || data->data_size >= sizeof text) return false;
		memcpy(text, data->utf8_string, data->data_size);
		text[data->data_size] = '\0';
		const char *start = text[0] == 'A' && text[1] == 'S' ? text + 2 : text;
		*out = strtod(start, &end);
		return end != start && *end == '\0';
	}
	default: return false;
	}
}

static void take(struct place *out, enum place_field field, const MMDB_entry_data_s *data)
{
	struct place_value *value = &out->values[field];
	*value = (struct place_value){0};
	if (BIT(field) & NUMBERS) {
		if (!is_number(data, &value->number)) return;
		if (field == PLACE_ASN && value->number <= 0) return;
	} else {
		if (data->type != MMDB_DATA_TYPE_UTF8_STRING || data->data_size == 0) return;
		value->text = data->utf8_string;
		value->len = data->data_size;
	}
	out->has |= BIT(field);
}

/* The field as one spelling has it; <0: the file is damaged. */
static int read_spelling(MMDB_entry_s *entry, const struct spelling *spelling, const char *language, struct place *out)
{
	MMDB_entry_data_s data;
	const char *path[6] = {NULL};
	for (size_t i = 0; i < 5 && spelling->path[i]; i++)
		path[i] = strcmp(spelling->path[i], LANGUAGE) == 0 ? language : spelling->path[i];
	int rc = MMDB_aget_value(entry, &data, path);
	if (rc == MMDB_SUCCESS && data.has_data) take(out, spelling->field, &data);
	return rc == MMDB_INVALID_DATA_ERROR || rc == MMDB_IO_ERROR ? -1 : 0;
}

static int read_record(MMDB_entry_s *entry, const char *language, struct place *out)
{
	out->has = 0;
	for (size_t i = 0; i < SPELLINGS; i++) {
		if (out->has & BIT(spellings[i].field)) continue;
		int rc = read_spelling(entry, &spellings[i], language, out);
		if (rc == 0 && !(out->has & BIT(spellings[i].field)) && strcmp(language, "en") != 0)
			rc = read_spelling(entry, &spellings[i], "en", out);
		if (rc != 0) return rc;
	}
	if ((out->has & COORDINATES & ~BIT(PLACE_RADIUS)) != (COORDINATES & ~BIT(PLACE_RADIUS)))
		out->has &= ~COORDINATES;
	return 0;
}

static bool is_elsewhere(const struct place *known, const struct place *more)
{
	const struct place_value *a = &known->values[PLACE_COUNTRY], *b = &more->values[PLACE_COUNTRY];
	if (!(known->has & more->has & BIT(PLACE_COUNTRY))) return false;
	return a->len != b->len || memcmp(a->text, b->text, a->len) != 0;
}

static void add(struct place *place, const struct place *more)
{
	unsigned usable = more->has & ~place->has;
	if (place->has & COORDINATES) usable &= ~COORDINATES;
	if (is_elsewhere(place, more)) usable &= OF_NETWORK;
	for (unsigned field = 0; field < PLACE_FIELDS; field++) {
		if (usable & BIT(field)) place->values[field] = more->values[field];
	}
	place->has |= usable;
}

int places_find(const struct places *places, const struct sockaddr *address, const char *language, struct place *place)
{
	struct place found;
	int error;
	if (address->sa_family == AF_INET6 && places->db.metadata.ip_version == 4) return 0;
	MMDB_lookup_result_s result = MMDB_lookup_sockaddr(&places->db, address, &error);
	if (error != MMDB_SUCCESS) return -1;
	if (!result.found_entry) return 0;
	if (read_record(&result.entry, language, &found) != 0) return -1;
	add(place, &found);
	return 0;
}
