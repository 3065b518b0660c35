#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/encode.h"
#include "profile/change_row.h"
#include "profile/consent_fold.h"

const char *const world_definitions =
    "{\"dedup\":{\"max_ids\":1000,\"window_us\":604800000000},"
    "\"features\":["
    "{\"event\":\"\",\"field\":\"\",\"name\":\"events\",\"state_version\":1,\"type\":\"count\"},"
    "{\"event\":\"page\",\"field\":\"name\",\"name\":\"first_page\",\"state_version\":1,\"type\":\"first\"},"
    "{\"event\":\"page\",\"field\":\"context.page.path\",\"name\":\"last_page\",\"state_version\":1,\"type\":\"last\"},"
    "{\"event\":\"Order Completed\",\"field\":\"\",\"name\":\"orders\",\"state_version\":1,\"type\":\"count\"},"
    "{\"event\":\"Order "
    "Completed\",\"field\":\"properties.total\",\"name\":\"revenue\",\"state_version\":1,\"type\":\"sum\"}],"
    "\"identity\":{\"blocked\":[\"0\",\"guest\",\"null\"],\"max_fragments\":6,\"namespaces\":["
    "{\"from\":\"userId\",\"is_known\":true,\"max_per_profile\":1,\"name\":\"user_id\"},"
    "{\"from\":\"traits.email\",\"is_known\":true,\"max_per_profile\":2,\"name\":\"email\"},"
    "{\"from\":\"context.device.id\",\"is_known\":false,\"max_per_profile\":10,\"name\":\"device\"},"
    "{\"from\":\"anonymousId\",\"is_known\":false,\"max_per_profile\":4,\"name\":\"anonymous_id\"}]}}";

static void open_people(struct world *world)
{
	assert_int_equal(people_open(world->path, &world->people), OK);
	assert_int_equal(people_reader_new(world->people, &world->reader), OK);
}

void world_open_empty(struct world *world)
{
	const char *tmp = getenv("TMPDIR");
	*world = (struct world){0};
	snprintf(world->path, sizeof world->path, "%s/cdpd-people-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(world->path));
	arena_init(&world->arena, 65536, 0);
	open_people(world);
}

void world_open(struct world *world)
{
	world_open_empty(world);
	world_define(world, world_definitions);
}

void world_define(struct world *world, const char *text)
{
	world_begin(world);
	assert_int_equal(people_define(world->people, str_from(text), ++world->seq), OK);
	world_commit(world);
}

static void close_people(struct world *world)
{
	people_reader_free(world->reader);
	people_close(world->people);
}

void world_reopen(struct world *world)
{
	close_people(world);
	open_people(world);
}

void world_close(struct world *world)
{
	char path[96];
	close_people(world);
	snprintf(path, sizeof path, "%s/profiles", world->path);
	assert_int_equal(store_remove_env(path), OK);
	snprintf(path, sizeof path, "%s/state", world->path);
	assert_int_equal(store_remove_env(path), OK); /* any folder of plain files */
	assert_int_equal(rmdir(world->path), 0);
	arena_fini(&world->arena);
}

/* ── writing ─────────────────────────────────────────────────────────────── */

struct cdpd_event world_event(enum event_type type, const char *user, const char *anonymous)
{
	return (struct cdpd_event){
	    .source_id = STR("web"),
	    .source_kind = SOURCE_BROWSER,
	    .message_id = STR_NONE,
	    .type = type,
	    .event = STR_NONE,
	    .name = STR_NONE,
	    .category = STR_NONE,
	    .user_id = str_from(user),
	    .anonymous_id = str_from(anonymous),
	    .previous_id = STR_NONE,
	    .group_id = STR_NONE,
	    .utc_offset_min = UTC_OFFSET_UNKNOWN,
	    .properties = STR_NONE,
	    .traits = STR_NONE,
	    .context = STR_NONE,
	    .extra = STR_NONE,
	    .enrichment = STR_NONE,
	    .ip = STR_NONE,
	    .user_agent = STR_NONE,
	    .country = STR_NONE,
	};
}

void world_apply(struct world *world, const struct cdpd_event *event, struct apply_result *out)
{
	struct cdpd_event copy = *event;
	char id[32];
	uint64_t seq = ++world->seq;
	if (copy.message_id.len == 0)
		copy.message_id = (struct str){id, (size_t)snprintf(id, sizeof id, "m%06llu", (unsigned long long)seq)};
	if (copy.event_time_us == 0) copy.event_time_us = WORLD_T0 + world->ahead + (int64_t)seq;
	assert_int_equal(people_apply(world->people, &copy, seq, WORLD_T0 + world->ahead + (int64_t)seq, out), OK);
	struct outcome outcome = {.verdict = out->verdict, .reason = out->reason, .previous_seq = out->previous_seq};
	memcpy(outcome.fragment, out->fragment.bytes, sizeof outcome.fragment);
	assert_int_equal(people_put_outcome(world->people, seq, &outcome), OK);
}

void world_begin(struct world *world)
{
	assert_int_equal(people_begin(world->people), OK);
}

void world_commit(struct world *world)
{
	assert_int_equal(people_commit(world->people, world->seq + 1, WORLD_T0 + world->ahead + (int64_t)world->seq),
			 OK);
}

struct apply_result world_one(struct world *world, const struct cdpd_event *event)
{
	struct apply_result result;
	world_begin(world);
	world_apply(world, event, &result);
	world_commit(world);
	return result;
}

/* ── reading ─────────────────────────────────────────────────────────────── */

void view_begin(struct world *world)
{
	assert_int_equal(people_read_begin(world->reader, &world->applied), OK);
}

void view_end(struct world *world)
{
	people_read_end(world->reader);
}

int view_get(struct world *world, const char *ref, struct profile *out)
{
	int rc = people_get(world->reader, str_from(ref), PROFILE_ALL, WORLD_T0, &world->arena, out);
	if (rc != ERR_NOT_FOUND) assert_int_equal(rc, OK);
	return rc;
}

struct text {
	char *data;
	size_t len;
	FILE *file;
};

static void text_open(struct text *text)
{
	text->file = open_memstream(&text->data, &text->len);
	assert_non_null(text->file);
}

static const char *text_close(struct world *world, struct text *text)
{
	struct str copy;
	fclose(text->file);
	while (text->len && (text->data[text->len - 1] == ' ')) text->len--;
	assert_int_equal(arena_str(&world->arena, (struct str){text->data, text->len}, &copy), OK);
	free(text->data);
	return copy.ptr;
}

const char *view_traits(struct world *world, const char *ref)
{
	struct profile profile;
	struct text text;
	text_open(&text);
	view_begin(world);
	if (view_get(world, ref, &profile) == OK)
		for (size_t i = 0; i < profile.trait_count; i++)
			fprintf(text.file, "%.*s=%.*s ", STR_ARG(profile.traits[i].name),
				STR_ARG(profile.traits[i].value));
	else
		fprintf(text.file, "not found");
	view_end(world);
	return text_close(world, &text);
}

const char *view_features(struct world *world, const char *ref)
{
	struct profile profile;
	struct text text;
	text_open(&text);
	view_begin(world);
	if (view_get(world, ref, &profile) == OK)
		for (size_t i = 0; i < profile.feature_count; i++)
			fprintf(text.file, "%.*s=%.*s ", STR_ARG(profile.features[i].name),
				STR_ARG(profile.features[i].value));
	else
		fprintf(text.file, "not found");
	view_end(world);
	return text_close(world, &text);
}

const char *view_identifiers(struct world *world, const char *ref)
{
	struct profile profile;
	struct text text;
	text_open(&text);
	view_begin(world);
	if (view_get(world, ref, &profile) == OK)
		for (size_t i = 0; i < profile.identifier_count; i++)
			fprintf(text.file, "%.*s:%.*s ", STR_ARG(profile.identifiers[i].namespace_),
				STR_ARG(profile.identifiers[i].value));
	else
		fprintf(text.file, "not found");
	view_end(world);
	return text_close(world, &text);
}

const char *view_links(struct world *world, const char *ref)
{
	struct profile profile;
	struct link_row *rows;
	size_t count;
	struct text text;
	text_open(&text);
	view_begin(world);
	assert_int_equal(view_get(world, ref, &profile), OK);
	assert_int_equal(people_links(world->reader, &profile, &world->arena, &rows, &count), OK);
	for (size_t i = 0; i < count; i++)
		fprintf(text.file, "%llu %.*s %.*s %.*s %s%.*s\n", (unsigned long long)rows[i].seq, STR_ARG(rows[i].a),
			STR_ARG(rows[i].b), STR_ARG(rows[i].rule), rows[i].is_linked ? "linked" : "",
			STR_ARG(rows[i].reason));
	view_end(world);
	return text_close(world, &text);
}

const char *view_chain(struct world *world, const char *ref, uint64_t below, size_t limit)
{
	struct profile profile;
	struct chain_item *items;
	size_t count;
	struct text text;
	text_open(&text);
	view_begin(world);
	assert_int_equal(view_get(world, ref, &profile), OK);
	assert_int_equal(people_chain(world->reader, &profile, below, limit, &world->arena, &items, &count), OK);
	for (size_t i = 0; i < count; i++) fprintf(text.file, "%llu ", (unsigned long long)items[i].seq);
	view_end(world);
	return text_close(world, &text);
}

/* ── everything ──────────────────────────────────────────────────────────── */

struct all { /* every row of the env, decoded */
	struct row **fragments, **merged;
	size_t fragment_count, merged_count;
};

static bool is_head(struct str key)
{
	return key.len == 17;
}

static struct all read_all(struct world *world)
{
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	struct all all = {0};
	uint64_t rows;
	struct store_txn *txn = world->reader->txn;
	assert_int_equal(store_count(txn, world->people->tables.rows, &rows), OK);
	all.fragments = arena_array(&world->arena, struct row *, rows + 1);
	all.merged = arena_array(&world->arena, struct row *, rows + 1);
	assert_int_equal(store_cursor_open(txn, world->people->tables.rows, &cursor), OK);
	int rc = store_cursor_move(cursor, STORE_FIRST, &key, &value);
	for (; rc == OK; rc = store_cursor_move(cursor, STORE_NEXT, &key, &value)) {
		assert_true(key.len + value.len + 8 <= 2038); /* no overflow pages */
		if (!is_head(key)) continue;
		assert_true(value.len == 480 || value.len == 990);
		struct fragment_id id;
		struct row *row;
		memcpy(id.bytes, key.ptr, 16);
		assert_int_equal(reader_row(world->reader, &id, key.ptr[16] == PIECE_MERGED, true, &world->arena, &row),
				 OK);
		if (row->is_merged)
			all.merged[all.merged_count++] = row;
		else
			all.fragments[all.fragment_count++] = row;
	}
	assert_int_equal(rc, ERR_NOT_FOUND);
	store_cursor_close(cursor);
	return all;
}

static const struct row *find_row(struct row *const *rows, size_t count, const struct fragment_id *id)
{
	for (size_t i = 0; i < count; i++)
		if (fragment_id_eq(&rows[i]->id, id)) return rows[i];
	return NULL;
}

/* Random ids in texts become <identifier>. */
static void print_named(FILE *file, const struct all *all, struct str text)
{
	for (size_t i = 0; i < text.len;) {
		struct fragment_id id;
		if (text.len - i >= 32 && fragment_id_parse((struct str){text.ptr + i, 32}, &id) == OK) {
			const struct row *row = find_row(all->fragments, all->fragment_count, &id);
			if (row) {
				fprintf(file, "<%.*s>", STR_ARG(row->identifier));
				i += 32;
				continue;
			}
		}
		fputc(text.ptr[i++], file);
	}
}

const char *view_changes(struct world *world, uint64_t after)
{
	struct change *changes;
	size_t count;
	struct text text;
	text_open(&text);
	view_begin(world);
	struct all all = read_all(world);
	assert_int_equal(people_changes(world->reader, after, 100000, &world->arena, &changes, &count), OK);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(changes[i].seq, after + i + 1);
		fprintf(text.file, "%s ", change_kind_name(changes[i].kind));
		print_named(text.file, &all, changes[i].body);
		fputc('\n', text.file);
	}
	view_end(world);
	return text_close(world, &text);
}

static int order_rows(const void *a, const void *b)
{
	return str_cmp((*(struct row *const *)a)->identifier, (*(struct row *const *)b)->identifier);
}

static void dump_content(FILE *file, const struct row *row)
{
	fprintf(file, " first %lld last %lld events %llu refused %llu\n", (long long)row->first_seen,
		(long long)row->last_seen, (unsigned long long)row->event_count,
		(unsigned long long)row->refused_traits);
	for (size_t i = 0; i < row->trait_count; i++) {
		const struct row_trait *trait = &row->traits[i];
		char origin[2 * 256];
		hex_encode(trait->origin.ptr, trait->origin.len, origin);
		fprintf(file, "  trait %.*s/%d=%.*s at %lld by %.*s in %.*s from %s\n", STR_ARG(trait->name),
			trait->provenance, STR_ARG(trait->value), (long long)trait->stamp->time,
			STR_ARG(trait->stamp->source), STR_ARG(trait->stamp->message_id), origin);
	}
	for (size_t i = 0; i < row->consents.count; i++) {
		const struct consent *consent = &row->consents.items[i];
		fprintf(file, "  consent %.*s/%.*s %s %s at %lld until %lld by %llu log %llu %.*s %.*s\n",
			STR_ARG(consent->purpose), STR_ARG(consent->channel), consent_state_name(consent->state),
			lawful_basis_name(consent->basis), (long long)consent->time, (long long)consent->expires,
			(unsigned long long)consent->position, (unsigned long long)consent->log,
			STR_ARG(consent->source), STR_ARG(consent->message_id));
	}
	for (size_t i = 0; i < row->feature_count; i++) {
		fprintf(file, "  feature %016llx ", (unsigned long long)row->features[i].key);
		for (uint32_t k = 0; k < row->features[i].len; k++) fprintf(file, "%02x", row->features[i].state[k]);
		fputc('\n', file);
	}
}

static void dump_fragment(FILE *file, struct world *world, const struct all *all, const struct row *row)
{
	const struct row *profile = find_row(all->fragments, all->fragment_count, &row->profile);
	fprintf(file, "%.*s%s created %llu head %llu profile %.*s attempts %llu+%llu", STR_ARG(row->identifier),
		row->has_cuts ? " cut" : "", (unsigned long long)row->created_seq, (unsigned long long)row->chain_head,
		STR_ARG(profile->identifier), (unsigned long long)row->attempt_count,
		(unsigned long long)row->attempt_overflow);
	dump_content(file, row);
	for (size_t i = 0; i < row->decided_count; i++) {
		const struct row *other = find_row(all->fragments, all->fragment_count, &row->decided[i].other);
		fprintf(file, "  decided %.*s %d\n", STR_ARG(other ? other->identifier : STR("(blocked)")),
			row->decided[i].rule);
	}
	const struct row *merged = find_row(all->merged, all->merged_count, &row->id);
	if (!merged) return;
	fprintf(file, "  merged");
	for (size_t i = 0; i < merged->member_count; i++)
		fprintf(file, " %.*s", STR_ARG(merged->members[i].identifier));
	dump_content(file, merged);
	(void)world;
}

static void dump_links(FILE *file, struct world *world)
{
	struct people_reader *reader = world->reader;
	struct store_cursor *cursor;
	struct str key = STR_NONE, value;
	char *lines[4096];
	size_t count = 0;
	assert_int_equal(store_cursor_open(reader->txn, world->people->tables.links, &cursor), OK);
	for (int rc = store_cursor_move(cursor, STORE_FIRST, &key, &value); rc == OK;
	     rc = store_cursor_move(cursor, STORE_NEXT, &key, &value)) {
		struct link link;
		struct row *row;
		struct str line;
		assert_int_equal(link_decode(key, value, &link), OK);
		assert_int_equal(reader_row(reader, &link.fragment, false, false, &world->arena, &row), OK);
		assert_int_equal(
		    arena_printf(&world->arena, &line, "link %.*s %.*s %d v%llu %d%d%d.%d %s at %llu %lld %.*s %.*s\n",
				 STR_ARG(row->identifier), STR_ARG(link.other_identifier), link.rule,
				 (unsigned long long)link.version, link.is_initiator, link.is_one_sided, link.was_one,
				 link.ordinal, link_reason_name(link.reason), (unsigned long long)link.seq,
				 (long long)link.t, STR_ARG(link.actor), STR_ARG(link.note)),
		    OK);
		assert_true(count < COUNT_OF(lines));
		lines[count++] = (char *)(uintptr_t)line.ptr;
	}
	store_cursor_close(cursor);
	for (size_t i = 1; i < count; i++)
		for (size_t k = i; k > 0 && strcmp(lines[k - 1], lines[k]) > 0; k--) {
			char *swap = lines[k];
			lines[k] = lines[k - 1];
			lines[k - 1] = swap;
		}
	for (size_t i = 0; i < count; i++) fputs(lines[i], file);
}

static int dump_outcome(void *ctx, uint64_t seq, const struct outcome *outcome)
{
	fprintf(ctx, "outcome %llu %s %s previous %llu\n", (unsigned long long)seq,
		outcome_verdict_name(outcome->verdict), outcome_reason_name(outcome->reason),
		(unsigned long long)outcome->previous_seq);
	return 0;
}

const char *world_dump(struct world *world)
{
	struct text text;
	text_open(&text);
	view_begin(world);
	struct all all = read_all(world);
	qsort(all.fragments, all.fragment_count, sizeof(struct row *), order_rows);
	for (size_t i = 0; i < all.fragment_count; i++) dump_fragment(text.file, world, &all, all.fragments[i]);
	dump_links(text.file, world);
	assert_int_equal(people_outcomes(world->reader, 0, SIZE_MAX, dump_outcome, text.file), OK);
	fprintf(text.file, "applied %llu\n", (unsigned long long)world->applied);
	for (int i = 1; i < OUTCOME_VERDICT_COUNT; i++)
		fprintf(text.file, "%s %llu\n", outcome_verdict_name((enum outcome_verdict)i),
			(unsigned long long)world->reader->checkpoint.verdicts[i]);
	view_end(world);
	fclose(text.file);
	return text.data;
}

/* ── invariants ──────────────────────────────────────────────────────────── */

static struct str encode_row(struct world *world, const struct row *row)
{
	uint8_t *bytes = arena_alloc(&world->arena, row_hot_max(row) + row_cold_max(row));
	size_t cold;
	size_t hot = row_encode_hot(row, bytes);
	assert_int_equal(row_encode_cold(row, &world->arena, bytes + hot, &cold), OK);
	return (struct str){(const char *)bytes, hot + cold};
}

static void check_merged(struct world *world, const struct all *all, const struct row *merged)
{
	struct row *rows[64], *made;
	struct joins *joins;
	const struct plan *plan = world->reader->plan;
	assert_true(merged->member_count > 1 && merged->member_count <= plan->definitions.max_fragments);
	for (size_t i = 0; i < merged->member_count; i++) {
		const struct row *member = find_row(all->fragments, all->fragment_count, &merged->members[i].id);
		assert_non_null(member);
		assert_true(fragment_id_eq(&member->profile, &merged->id));
		assert_true(str_eq(member->identifier, merged->members[i].identifier));
		assert_int_equal(member->created_seq, merged->members[i].created_seq);
		rows[i] = (struct row *)(uintptr_t)member;
		if (i == 0) continue;
		size_t a = plan_namespace_find(plan, identifier_namespace(rows[i - 1]->identifier));
		size_t b = plan_namespace_find(plan, identifier_namespace(member->identifier));
		assert_true(a < b || (a == b && rows[i - 1]->created_seq <= member->created_seq));
	}
	for (size_t n = 0; n < plan->namespace_count; n++) {
		size_t count = 0;
		for (size_t i = 0; i < merged->member_count; i++)
			count += str_eq(identifier_namespace(rows[i]->identifier), plan->namespaces[n].rule.name);
		assert_true(count <= plan->namespaces[n].rule.max_per_profile);
	}
	assert_true(fragment_id_eq(&rows[0]->id, &merged->id));
	assert_int_equal(consent_joins(world->reader->txn, world->people->tables.links, rows, merged->member_count,
				       &world->arena, &joins),
			 OK);
	assert_int_equal(merged_row_make(plan, rows, merged->member_count, joins, &world->arena, &made), OK);
	made->segments = merged->segments; /* what time and definitions made of them is test_segments' to check */
	made->segment_count = merged->segment_count;
	made->due = merged->due;
	assert_true(str_eq(encode_row(world, made), encode_row(world, merged)));
}

static void check_chain(struct world *world, const struct row *row)
{
	struct outcome outcome;
	uint64_t length = 0;
	for (uint64_t seq = row->chain_head; seq; seq = outcome.previous_seq, length++) {
		assert_int_equal(people_get_outcome(world->reader, seq, &outcome), OK);
		assert_int_equal(outcome.verdict, OUTCOME_APPLIED);
		assert_memory_equal(outcome.fragment, row->id.bytes, 16);
		assert_true(outcome.previous_seq < seq);
	}
	assert_int_equal(length, row->event_count);
}

static uint64_t count_links(struct world *world, const struct row *row)
{
	struct store_cursor *cursor;
	struct str key = {(const char *)row->id.bytes, 16}, value;
	uint64_t count = 0;
	struct link link;
	assert_int_equal(store_cursor_open(world->reader->txn, world->people->tables.links, &cursor), OK);
	for (int rc = store_cursor_move(cursor, STORE_AT_OR_AFTER, &key, &value); rc == OK;
	     rc = store_cursor_move(cursor, STORE_NEXT, &key, &value)) {
		assert_int_equal(link_decode(key, value, &link), OK);
		if (!fragment_id_eq(&link.fragment, &row->id)) break;
		count += !link_is_act(link.rule);
	}
	store_cursor_close(cursor);
	return count;
}

void world_check(struct world *world)
{
	uint64_t applied = 0, joined = 0;
	view_begin(world);
	struct all all = read_all(world);
	for (size_t i = 0; i < all.fragment_count; i++) {
		const struct row *row = all.fragments[i];
		struct fragment_id id;
		fragment_id_make(&world->people->key, row->identifier, &id);
		assert_true(fragment_id_eq(&id, &row->id));
		const struct row *merged = find_row(all.merged, all.merged_count, &row->profile);
		bool is_head = fragment_id_eq(&row->profile, &row->id);
		assert_true(merged || is_head);
		assert_int_equal(row->has_merged, is_head && merged);
		if (merged) joined++;
		assert_int_equal(count_links(world, row), row->attempt_count);
		check_chain(world, row);
		applied += row->event_count;
	}
	for (size_t i = 0; i < all.merged_count; i++) {
		joined -= all.merged[i]->member_count;
		check_merged(world, &all, all.merged[i]);
	}
	assert_int_equal(joined, 0);
	assert_int_equal(applied, world->reader->checkpoint.verdicts[OUTCOME_APPLIED]);
	view_end(world);
}
