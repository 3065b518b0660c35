/* Random sequences of events, merges and unmerges against a model that decides everything anew from the list of records after each
 * of them. CDPD_SEED adds a run from that seed; a failure names the sequence that shows it. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BASE_SEED     UINT64_C(20240229)
#define SEQUENCES     10000
#define WORLD_EVERY   100 /* sequences that share an env, each in names of its own */
#define RECORDS_MAX   24
#define ATTEMPTS_MAX  (RECORDS_MAX * 4)
#define USERS         3
#define EMAILS        3
#define ANONYMOUS     4
#define IDENTIFIERS   (USERS + EMAILS + ANONYMOUS)
#define FRAGMENTS_MAX 6 /* as in world_definitions */
#define NONE          (-1)

static uint64_t random_state;

static uint64_t next_random(void)
{
	uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static int pick(int n)
{
	return (int)(next_random() % (uint64_t)n);
}

/* ── records ─────────────────────────────────────────────────────────────── */

enum kind { EVENT, MERGE, UNMERGE };

struct entry {
	enum kind kind;
	int user, email, anonymous; /* of an event: NONE or a number of its namespace */
	int previous;               /* of an alias: NONE or a name that users and visitors share */
	bool is_trusted;
	int a, b; /* of an act: identifiers */
	int color, amount, time;
	int id; /* of the message */
};

static int maybe(int n, int out_of)
{
	return pick(out_of) == 0 ? NONE : pick(n);
}

static struct entry make_event(int id)
{
	struct entry entry = {.kind = EVENT, .previous = NONE, .id = id};
	do {
		entry.user = maybe(USERS, 2);
		entry.email = pick(3) ? NONE : pick(EMAILS);
		entry.anonymous = maybe(ANONYMOUS, 3);
	} while (entry.user == NONE && entry.email == NONE && entry.anonymous == NONE);
	if (pick(6) == 0) entry.previous = pick(USERS);
	entry.is_trusted = pick(2);
	entry.color = pick(3) ? NONE : pick(5);
	entry.amount = pick(100);
	entry.time = pick(4); /* ties are likely */
	return entry;
}

static size_t make_records(struct entry *entries)
{
	size_t count = 4 + (size_t)pick(RECORDS_MAX - 4);
	int a = 0, b = IDENTIFIERS - 1;
	for (size_t i = 0; i < count; i++) {
		int dice = pick(10);
		if (pick(3) == 0) { /* else the pair of the last act: merged, unmerged, merged again */
			a = pick(IDENTIFIERS);
			b = (a + 1 + pick(IDENTIFIERS - 1)) % IDENTIFIERS;
		}
		if (dice >= 5) {
			entries[i] = make_event((int)i);
			continue;
		}
		entries[i] = (struct entry){.kind = dice > 1 ? UNMERGE : MERGE, .a = a, .b = b};
	}
	return count;
}

/* ── the model ───────────────────────────────────────────────────────────── */

struct tried {
	int a, b;
	uint8_t rule;
	uint64_t seq;
	enum link_reason reason;
};

struct told {
	int color, time, id; /* color NONE: nothing told */
};

struct model {
	bool exists[IDENTIFIERS];
	uint64_t created[IDENTIFIERS];
	uint64_t events[IDENTIFIERS];
	uint64_t revenue[IDENTIFIERS]; /* of orders: events that tell nothing of the person */
	struct told told[IDENTIFIERS];
	struct tried tried[ATTEMPTS_MAX];
	size_t tried_count;
	struct {
		int a, b;
		uint64_t seq;
	} cuts[RECORDS_MAX];
	size_t cut_count;
	int group[IDENTIFIERS];
};

static int namespace_of(int identifier)
{
	return identifier < USERS ? 0 : identifier < USERS + EMAILS ? 1 : 2;
}

static bool is_pair(const struct tried *tried, int a, int b)
{
	return (tried->a == a && tried->b == b) || (tried->a == b && tried->b == a);
}

static bool is_cut(const struct model *model, size_t at, int group_a, int group_b)
{
	for (size_t c = 0; c < model->cut_count; c++) {
		int a = model->cuts[c].a, b = model->cuts[c].b;
		bool is_between = (model->group[a] == group_a && model->group[b] == group_b) ||
				  (model->group[a] == group_b && model->group[b] == group_a);
		bool is_over = false; /* lifted by a merge of the pair, this one or one before */
		for (size_t i = 0; i <= at; i++) {
			const struct tried *merge = &model->tried[i];
			is_over |= merge->rule == (LINK_MERGE | LINK_TRUSTED) && is_pair(merge, a, b) &&
				   merge->seq > model->cuts[c].seq && (i == at || merge->reason == LINK_OK);
		}
		if (is_between && !is_over) return true;
	}
	return false;
}

static enum link_reason decide(const struct model *model, size_t at)
{
	static const int max[] = {1, 2, 4};
	const struct tried *tried = &model->tried[at];
	int x = model->group[tried->a], y = model->group[tried->b];
	int count[2][3] = {{0}}, total = 0;
	bool is_known[2] = {false, false}, is_trusted = tried->rule & LINK_TRUSTED;
	if (x == y) return LINK_OK;
	if (tried->rule == LINK_ALIAS) return LINK_NOT_ALLOWED;
	for (int i = 0; i < IDENTIFIERS; i++) {
		if (!model->exists[i] || model->created[i] > tried->seq) continue;
		if (model->group[i] != x && model->group[i] != y) continue;
		int side = model->group[i] == y;
		count[side][namespace_of(i)]++;
		total++;
		is_known[side] |= namespace_of(i) < 2 && model->created[i] < tried->seq;
	}
	for (int n = 0; n < 3; n++)
		if (count[0][n] && count[1][n] && count[0][n] + count[1][n] > max[n])
			return max[n] == 1 ? LINK_UNIQUE_CONFLICT : LINK_NAMESPACE_LIMIT;
	if (total > FRAGMENTS_MAX) return LINK_TOO_MANY_FRAGMENTS;
	if (!is_trusted && is_known[0] && is_known[1]) return LINK_NOT_ALLOWED;
	return is_cut(model, at, x, y) ? LINK_CANNOT_LINK : LINK_OK;
}

static void decide_all(struct model *model)
{
	for (int i = 0; i < IDENTIFIERS; i++) model->group[i] = i;
	for (size_t at = 0; at < model->tried_count; at++) {
		struct tried *tried = &model->tried[at];
		tried->reason = decide(model, at);
		int from = model->group[tried->b], into = model->group[tried->a];
		for (int i = 0; i < IDENTIFIERS && !tried->reason; i++)
			if (model->group[i] == from) model->group[i] = into;
	}
}

static void create(struct model *model, int identifier, uint64_t seq)
{
	if (model->exists[identifier]) return;
	model->exists[identifier] = true;
	model->created[identifier] = seq;
	model->told[identifier].color = NONE;
}

static void try(struct model *model, int a, int b, uint8_t rule, uint64_t seq)
{
	if (a == b) return;
	create(model, b, seq);
	for (size_t i = 0; i < model->tried_count; i++)
		if (!link_is_act(rule) && model->tried[i].rule == rule && is_pair(&model->tried[i], a, b)) return;
	assert_true(model->tried_count < ATTEMPTS_MAX);
	model->tried[model->tried_count++] = (struct tried){a, b, rule, seq, LINK_OK};
}

static int user_id(int n)
{
	return n;
}
static int email_id(int n)
{
	return USERS + n;
}
static int anonymous_id(int n)
{
	return USERS + EMAILS + n;
}

static bool is_order(const struct entry *entry)
{
	return entry->previous == NONE && entry->color == NONE && entry->email == NONE;
}

static void model_event(struct model *model, const struct entry *entry, uint64_t seq)
{
	int items[3], count = 0;
	uint8_t trust = entry->is_trusted ? LINK_TRUSTED : 0;
	if (entry->user != NONE) items[count++] = user_id(entry->user);
	if (entry->email != NONE) items[count++] = email_id(entry->email);
	if (entry->anonymous != NONE) items[count++] = anonymous_id(entry->anonymous);
	int strongest = items[0];
	create(model, strongest, seq);
	for (int i = 1; i < count; i++) try(model, strongest, items[i], LINK_SAME_EVENT | trust, seq);
	if (entry->previous != NONE) {
		int visitor = anonymous_id(entry->previous);
		bool is_visitor = model->exists[visitor];
		try(model, strongest, is_visitor ? visitor : user_id(entry->previous), LINK_ALIAS | trust, seq);
	}
	struct told *told = &model->told[strongest];
	model->events[strongest]++;
	if (is_order(entry)) model->revenue[strongest] += (uint64_t)entry->amount;
	bool has_traits = entry->previous == NONE && entry->color != NONE;
	if (has_traits &&
	    (told->color == NONE || entry->time > told->time || (entry->time == told->time && entry->id > told->id)))
		*told = (struct told){entry->color, entry->time, entry->id};
}

static void model_apply(struct model *model, const struct entry *entry, uint64_t seq)
{
	bool both = entry->kind != EVENT && model->exists[entry->a] && model->exists[entry->b];
	if (entry->kind == EVENT) model_event(model, entry, seq);
	if (entry->kind == MERGE && both) try(model, entry->a, entry->b, LINK_MERGE | LINK_TRUSTED, seq);
	if (entry->kind == UNMERGE && both && model->group[entry->a] == model->group[entry->b]) {
		/* The newest of a pair counts. */
		size_t c = 0;
		while (c < model->cut_count && !((model->cuts[c].a == entry->a && model->cuts[c].b == entry->b) ||
						 (model->cuts[c].a == entry->b && model->cuts[c].b == entry->a)))
			c++;
		if (c == model->cut_count) model->cut_count++;
		model->cuts[c].a = entry->a;
		model->cuts[c].b = entry->b;
		model->cuts[c].seq = seq;
	}
	decide_all(model);
}

/* ── the thing itself ────────────────────────────────────────────────────── */

static char prefix[16];

static void name_identifier(int identifier, char out[64])
{
	if (identifier < USERS)
		snprintf(out, 64, "user_id:%sx%d", prefix, identifier);
	else if (identifier < USERS + EMAILS)
		snprintf(out, 64, "email:%se%d@b.c", prefix, identifier - USERS);
	else
		snprintf(out, 64, "anonymous_id:%sx%d", prefix, identifier - USERS - EMAILS);
}

static void apply_event(struct world *world, const struct entry *entry)
{
	char user[32] = "", anonymous[32] = "", previous[32], traits[128], properties[32], id[16];
	struct apply_result result;
	if (entry->user != NONE) snprintf(user, sizeof user, "%sx%d", prefix, entry->user);
	if (entry->anonymous != NONE) snprintf(anonymous, sizeof anonymous, "%sx%d", prefix, entry->anonymous);
	struct cdpd_event event = world_event(EVENT_IDENTIFY, user, anonymous);
	int len = snprintf(traits, sizeof traits, "{");
	if (entry->email != NONE)
		len += snprintf(traits + len, sizeof traits - (size_t)len, "\"email\":\"%se%d@b.c\"", prefix,
				entry->email);
	if (entry->color != NONE)
		len += snprintf(traits + len, sizeof traits - (size_t)len, "%s\"color\":%d", len > 1 ? "," : "",
				entry->color);
	snprintf(traits + len, sizeof traits - (size_t)len, "}");
	event.traits = str_from(traits);
	if (entry->previous != NONE) {
		snprintf(previous, sizeof previous, "%sx%d", prefix, entry->previous);
		event.type = EVENT_ALIAS;
		event.previous_id = str_from(previous);
	}
	if (is_order(entry)) event.type = EVENT_TRACK;
	snprintf(properties, sizeof properties, "{\"total\":%d}", entry->amount);
	event.event = STR("Order Completed");
	event.properties = str_from(properties);
	snprintf(id, sizeof id, "m%02d", entry->id);
	event.message_id = str_from(id);
	event.event_time_us = WORLD_T0 + entry->time;
	event.rights = entry->is_trusted ? RIGHT_ALIAS | RIGHT_LINK_KNOWN : 0;
	world_apply(world, &event, &result);
	assert_int_equal(result.verdict, OUTCOME_APPLIED);
}

static void apply_act(struct world *world, const struct entry *entry)
{
	char a[64], b[64];
	name_identifier(entry->a, a);
	name_identifier(entry->b, b);
	struct people_act act = {str_from(a), str_from(b), STR("ops"), STR("because")};
	uint64_t seq = ++world->seq;
	assert_int_equal(people_act(world->people, entry->kind == MERGE ? PEOPLE_MERGE : PEOPLE_UNMERGE, &act, seq,
				    WORLD_T0 + (int64_t)seq),
			 OK);
}

static void apply(struct world *world, const struct entry *entry)
{
	if (entry->kind == EVENT)
		apply_event(world, entry);
	else
		apply_act(world, entry);
}

/* ── comparing ───────────────────────────────────────────────────────────── */

static void check_members(const struct model *model, int identifier, const struct profile *profile)
{
	char name[64];
	size_t count = 0;
	int total = 0;
	for (int i = 0; i < IDENTIFIERS; i++) {
		if (!model->exists[i] || model->group[i] != model->group[identifier]) continue;
		bool is_there = false;
		name_identifier(i, name);
		for (size_t k = 0; k < profile->identifier_count && !is_there; k++) {
			struct str value = profile->identifiers[k].value;
			struct str ns = profile->identifiers[k].namespace_;
			is_there = strlen(name) == ns.len + 1 + value.len && !memcmp(name, ns.ptr, ns.len) &&
				   !memcmp(name + ns.len + 1, value.ptr, value.len);
		}
		assert_true(is_there);
		count++;
		total++;
	}
	assert_int_equal(profile->identifier_count, count);
	assert_true(total <= FRAGMENTS_MAX);
}

static void check_values(const struct model *model, int identifier, const struct profile *profile)
{
	struct told told = {.color = NONE};
	uint64_t events = 0, revenue = 0;
	char text[32];
	for (int i = 0; i < IDENTIFIERS; i++) {
		const struct told *other = &model->told[i];
		if (!model->exists[i] || model->group[i] != model->group[identifier]) continue;
		events += model->events[i];
		revenue += model->revenue[i];
		if (other->color == NONE) continue;
		if (told.color == NONE || other->time > told.time || (other->time == told.time && other->id > told.id))
			told = *other;
	}
	assert_int_equal(profile->event_count, events);
	int color = NONE;
	for (size_t i = 0; i < profile->trait_count; i++)
		if (str_eq(profile->traits[i].name, STR("color"))) color = profile->traits[i].value.ptr[0] - '0';
	assert_int_equal(color, told.color);
	for (size_t i = 0; i < profile->feature_count; i++) {
		const struct profile_feature *feature = &profile->features[i];
		bool is_events = str_eq(feature->name, STR("events"));
		if (!is_events && !str_eq(feature->name, STR("revenue"))) continue;
		snprintf(text, sizeof text, "%llu", (unsigned long long)(is_events ? events : revenue));
		assert_true(str_eq(feature->value, str_from(text)));
	}
}

static void check_links(struct world *world, const struct model *model, int identifier, const struct profile *profile,
			uint64_t base)
{
	struct link_row *rows;
	size_t count, expected = 0, found = 0;
	assert_int_equal(people_links(world->reader, profile, &world->arena, &rows, &count), OK);
	for (size_t t = 0; t < model->tried_count; t++) {
		const struct tried *tried = &model->tried[t];
		char a[64], b[64];
		if (model->group[tried->a] != model->group[identifier] &&
		    model->group[tried->b] != model->group[identifier])
			continue;
		expected++;
		name_identifier(tried->a, a);
		name_identifier(tried->b, b);
		for (size_t i = 0; i < count; i++) {
			if (rows[i].seq != base + tried->seq || !str_eq(rows[i].a, str_from(a)) ||
			    !str_eq(rows[i].b, str_from(b)) ||
			    !str_eq(rows[i].rule, str_from(link_rule_name(tried->rule))))
				continue;
			assert_true(str_eq(rows[i].reason, str_from(link_reason_name(tried->reason))));
			found++;
			break;
		}
	}
	assert_int_equal(found, expected);
}

static void compare(struct world *world, const struct model *model, uint64_t base)
{
	uint64_t events = 0;
	view_begin(world);
	for (int i = 0; i < IDENTIFIERS; i++) {
		char name[64];
		struct profile profile;
		name_identifier(i, name);
		int rc = view_get(world, name, &profile);
		assert_int_equal(rc, model->exists[i] ? OK : ERR_NOT_FOUND);
		if (rc) continue;
		check_members(model, i, &profile);
		check_values(model, i, &profile);
		check_links(world, model, i, &profile, base);
		/* Every fragment is counted in the one profile it is in. */
		if (fragment_id_eq(&profile.id, &profile.requested_id)) events += profile.event_count;
	}
	view_end(world);
	uint64_t sent = 0;
	for (int i = 0; i < IDENTIFIERS; i++) sent += model->events[i];
	assert_int_equal(events, sent);
}

/* ── tests ───────────────────────────────────────────────────────────────── */

static uint64_t current_seed;

static struct { /* what the sequences were about: rare things must not be missing */
	uint64_t links, conflicts, cuts, cannot_links, lifted;
} reached;

static void print_failure(const char *what)
{
	print_error("%s: CDPD_SEED=%llu shows it first\n", what, (unsigned long long)current_seed);
}

static void start(struct world *world, uint64_t seed, uint64_t n)
{
	current_seed = random_state = seed + n;
	if (n % WORLD_EVERY == 0) {
		if (n) {
			world_check(world);
			world_close(world);
		}
		world_open(world);
	}
	arena_reset(&world->arena);
	snprintf(prefix, sizeof prefix, "s%llu-", (unsigned long long)n);
}

static void run_sequence(struct world *world)
{
	struct entry entries[RECORDS_MAX];
	struct model model = {0};
	size_t count = make_records(entries);
	uint64_t base = world->seq;
	bool is_watched = pick(16) == 0;
	decide_all(&model);
	world_begin(world);
	for (size_t i = 0; i < count; i++) {
		apply(world, &entries[i]);
		model_apply(&model, &entries[i], world->seq - base);
		if (!is_watched && pick(10)) continue;
		world_commit(world);
		if (is_watched) compare(world, &model, base);
		world_begin(world);
	}
	world_commit(world);
	compare(world, &model, base);
	for (size_t t = 0; t < model.tried_count; t++) {
		const struct tried *tried = &model.tried[t];
		reached.links += tried->reason == LINK_OK;
		reached.cannot_links += tried->reason == LINK_CANNOT_LINK;
		reached.conflicts += tried->reason != LINK_OK && tried->reason != LINK_CANNOT_LINK;
		for (size_t c = 0; c < model.cut_count; c++)
			reached.lifted += link_is_act(tried->rule) && tried->reason == LINK_OK &&
					  is_pair(tried, model.cuts[c].a, model.cuts[c].b) &&
					  tried->seq > model.cuts[c].seq;
	}
	reached.cuts += model.cut_count;
}

static const char *step;

static void run_against_model(uint64_t seed, uint64_t sequences)
{
	struct world world;
	step = "against the model";
	for (uint64_t n = 0; n < sequences; n++) {
		start(&world, seed, n);
		run_sequence(&world);
	}
	world_check(&world);
	world_close(&world);
}

static uint64_t environment_seed(void)
{
	const char *text = getenv("CDPD_SEED");
	return text ? strtoull(text, NULL, 0) : 0;
}

static int forget_step(void **state)
{
	(void)state;
	if (step) print_failure(step);
	return 0;
}

static void test_model(void **state)
{
	(void)state;
	run_against_model(BASE_SEED, SEQUENCES);
	print_message("%llu links, %llu conflicts, %llu cuts, %llu cannot-links, %llu lifted\n",
		      (unsigned long long)reached.links, (unsigned long long)reached.conflicts,
		      (unsigned long long)reached.cuts, (unsigned long long)reached.cannot_links,
		      (unsigned long long)reached.lifted);
	assert_true(reached.links > 20000 && reached.conflicts > 10000 && reached.cuts > 2000 &&
		    reached.cannot_links > 1000 && reached.lifted > 100);
	if (environment_seed()) run_against_model(environment_seed(), 1000);
	step = NULL;
}

/* One user, two addresses, three visitors, trusted: nothing can conflict. */
static size_t make_peaceful(struct entry *entries)
{
	size_t count = 4 + (size_t)pick(12);
	for (size_t i = 0; i < count; i++) {
		entries[i] = make_event((int)i);
		struct entry *entry = &entries[i];
		if (entry->user != NONE) entry->user = 0;
		if (entry->email != NONE) entry->email %= 2;
		if (entry->anonymous != NONE) entry->anonymous %= 3;
		entry->previous = NONE;
		entry->is_trusted = true;
	}
	return count;
}

static const char *everybody(struct world *world)
{
	char *text;
	size_t len;
	struct str copy;
	FILE *file = open_memstream(&text, &len);
	for (int i = 0; i < IDENTIFIERS; i++) {
		char name[64];
		name_identifier(i, name);
		struct profile profile;
		view_begin(world);
		int rc = view_get(world, name, &profile);
		fprintf(file, "%d:", i);
		for (int k = 0; !rc && k < IDENTIFIERS; k++) { /* whom it is one with: ids aside, order aside */
			struct profile other;
			name_identifier(k, name);
			if (view_get(world, name, &other) == OK && fragment_id_eq(&other.id, &profile.id))
				fprintf(file, " %d", k);
		}
		for (size_t k = 0; !rc && k < profile.trait_count; k++) {
			struct str value = profile.traits[k].value;
			if (!str_eq(profile.traits[k].name, STR("color"))) continue;
			fprintf(file, " color %.*s at %lld", STR_ARG(value), (long long)profile.traits[k].updated_at);
		}
		for (size_t k = 0; !rc && k < profile.feature_count; k++)
			fprintf(file, " %.*s %.*s", STR_ARG(profile.features[k].name),
				STR_ARG(profile.features[k].value));
		if (!rc)
			fprintf(file, " seen %lld %lld events %llu", (long long)profile.first_seen,
				(long long)profile.last_seen, (unsigned long long)profile.event_count);
		view_end(world);
		fputc('\n', file);
	}
	fclose(file);
	assert_int_equal(arena_str(&world->arena, (struct str){text, len}, &copy), OK);
	free(text);
	return copy.ptr;
}

static void run_in_other_orders(uint64_t seed, uint64_t sequences)
{
	struct world world;
	step = "in another order";
	for (uint64_t n = 0; n < sequences; n++) {
		struct entry entries[RECORDS_MAX];
		start(&world, seed, n);
		size_t count = make_peaceful(entries);
		const char *first = NULL;
		for (int round = 0; round < 3; round++) {
			snprintf(prefix, sizeof prefix, "s%llur%d-", (unsigned long long)n, round);
			world_begin(&world);
			for (size_t i = 0; i < count; i++) apply(&world, &entries[i]);
			world_commit(&world);
			const char *now = everybody(&world);
			if (first) assert_string_equal(now, first);
			first = first ? first : now;
			for (size_t i = count - 1; i > 0; i--) {
				size_t other = (size_t)pick((int)i + 1);
				struct entry swap = entries[i];
				entries[i] = entries[other];
				entries[other] = swap;
			}
		}
	}
	world_close(&world);
}

static void test_order(void **state)
{
	(void)state;
	run_in_other_orders(BASE_SEED, 1000);
	if (environment_seed()) run_in_other_orders(environment_seed(), 100);
	step = NULL;
}

/* Identity changes never coalesce: they are the same however records lie in transactions. */
static char *identity_changes(struct world *world)
{
	char *text;
	size_t len;
	FILE *file = open_memstream(&text, &len);
	const char *all = view_changes(world, 0);
	while (*all) {
		size_t line = strcspn(all, "\n") + 1;
		if (strncmp(all, "trait ", 6) != 0 && strncmp(all, "feature ", 8) != 0) fwrite(all, 1, line, file);
		all += line;
	}
	fclose(file);
	return text;
}

/* Live commits each record; the replay takes up from checkpoints at random, with the environment opened anew. */
static void run_from_checkpoints(uint64_t seed, uint64_t sequences)
{
	step = "replayed from checkpoints";
	snprintf(prefix, sizeof prefix, "r-");
	for (uint64_t n = 0; n < sequences; n++) {
		struct entry entries[RECORDS_MAX];
		struct world live, again;
		current_seed = random_state = seed + n;
		size_t count = make_records(entries);
		world_open(&live);
		world_open(&again);
		world_begin(&again);
		for (size_t i = 0; i < count; i++) {
			world_begin(&live);
			apply(&live, &entries[i]);
			world_commit(&live);
			apply(&again, &entries[i]);
			if (pick(4)) continue;
			world_commit(&again);
			if (pick(2)) world_reopen(&again);
			world_begin(&again);
			/* What a crash throws away is folded again. */
			if (i + 1 < count && pick(2)) {
				apply(&again, &entries[i + 1]);
				people_abort(again.people);
				again.seq--;
				world_begin(&again);
			}
		}
		world_commit(&again);
		world_check(&live);
		char *a = (char *)(uintptr_t)world_dump(&live), *b = (char *)(uintptr_t)world_dump(&again);
		assert_string_equal(a, b);
		free(a);
		free(b);
		a = identity_changes(&live);
		b = identity_changes(&again);
		assert_string_equal(a, b);
		free(a);
		free(b);
		world_close(&live);
		world_close(&again);
	}
}

static void test_replay(void **state)
{
	(void)state;
	run_from_checkpoints(BASE_SEED, 200);
	if (environment_seed()) run_from_checkpoints(environment_seed(), 20);
	step = NULL;
}

int main(void)
{
	/* Nothing here is about disks: in memory it takes a fraction of the time. */
	if (access("/dev/shm", W_OK) == 0 && !getenv("TMPDIR")) (void)setenv("TMPDIR", "/dev/shm", 1);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_model, forget_step),
	    cmocka_unit_test_teardown(test_order, forget_step),
	    cmocka_unit_test_teardown(test_replay, forget_step),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
