#include "config/training_set.h"

#include <stdlib.h>

#include "base/clock.h"
#include "config/check.h"
#include "config/condition.h"
#include "config/names.h"

#define SET(member) .offset = offsetof(struct training_set, member), .size = sizeof(((struct training_set *)0)->member)
#define SETS(member, n) \
	.offset = offsetof(struct training_set, member), .count_offset = offsetof(struct training_set, n)

static const char *const clocks[] = {"arrival", "event", NULL};
static const char *const moments[] = {"before", "after", NULL};
static const char *const values[] = {"any", "count", "sum", NULL};

static const char *check_time(struct str text)
{
	int64_t us;
	int16_t offset;
	return clock_parse(text, &us, &offset) == OK ? NULL : "must be a time such as 2026-11-21T00:00:00Z";
}

static bool read_share(struct str text, double *out)
{
	char copy[32], *end;
	if (!text.len || text.len >= sizeof copy) return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	*out = strtod(copy, &end);
	return *end == '\0' && *out > 0 && *out <= 1;
}

static const char *check_sample(struct str text)
{
	double share;
	return read_share(text, &share) ? NULL : "must be a share of all people above 0 and up to 1, such as 0.1";
}

static const struct key keys[] = {
    {"training_set.name", KEY_TEXT, SET(name), .check = name_check_word},
    {"training_set.points.event", KEY_TEXTS, SETS(points.events, points.event_count), .check = name_check_kept_event},
    {"training_set.points.where", KEY_ITEMS, SETS(points.where, points.where_count), .items = &condition_table},
    {"training_set.points.every", KEY_US, SET(every_us), .min = "1m", .max = "366d"},
    {"training_set.points.active", KEY_US, SET(active_us), .min = "1m", .max = "3660d"},
    {"training_set.points.from", KEY_TEXT, SET(from), .check = check_time},
    {"training_set.points.until", KEY_TEXT, SET(until), .check = check_time},
    {"training_set.points.read", KEY_CHOICE, SET(moment), .fallback = "before", .choices = moments},
    {"training_set.label.event", KEY_TEXTS, SETS(label.events, label.event_count), .check = name_check_kept_event},
    {"training_set.label.where", KEY_ITEMS, SETS(label.where, label.where_count), .items = &condition_table},
    {"training_set.label.value", KEY_CHOICE, SET(value), .fallback = "any", .choices = values},
    {"training_set.label.field", KEY_TEXT, SET(label.field), .check = name_check_field},
    {"training_set.label.horizon", KEY_US, SET(horizon_us), .min = "1s", .max = "3660d"},
    {"training_set.label.grace", KEY_US, SET(grace_us), .fallback = "0", .max = "366d"},
    {"training_set.time", KEY_CHOICE, SET(clock), .fallback = "arrival", .choices = clocks},
    {"training_set.features", KEY_TEXTS, SETS(features, feature_count)},
    {"training_set.purpose", KEY_TEXT, SET(purpose), .check = name_check_word},
    {"training_set.sample", KEY_TEXT, SET(sample_text), .fallback = "1", .check = check_sample},
};
static const struct table table = {.keys = keys, .count = COUNT_OF(keys)};

/* ── what no single key can tell ─────────────────────────────────────────── */

static void check_points(struct reading *r, const struct node *root, const struct training_set *set)
{
	int line = line_of(root, "training_set.points");
	if (!set->every_us && !set->points.event_count)
		complain(r->complaints, line, "training_set.points needs 'event' or 'every'");
	if (set->every_us && (set->points.event_count || set->points.where_count))
		complain(r->complaints, line,
			 "training_set.points: 'every' makes its own points, it takes no 'event' and no 'where'");
	if (set->active_us && !set->every_us)
		complain(r->complaints, line, "training_set.points: 'active' needs 'every'");
	if (set->moment == TRAINING_AFTER && set->every_us)
		complain(r->complaints, line, "training_set.points: 'read: after' needs 'event'");
	if (set->from_us >= set->until_us)
		complain(r->complaints, line, "training_set.points: 'from' must be before 'until'");
}

static void check_label(struct reading *r, const struct node *root, const struct training_set *set)
{
	int line = line_of(root, "training_set.label");
	if (!set->label.event_count) complain(r->complaints, line, "training_set.label needs 'event'");
	if (!set->horizon_us) complain(r->complaints, line, "training_set.label needs 'horizon'");
	if (set->value == TRAINING_SUM && !set->label.field.len)
		complain(r->complaints, line, "training_set.label: 'value: sum' needs 'field'");
	if (set->value != TRAINING_SUM && set->label.field.len)
		complain(r->complaints, line, "training_set.label: 'field' needs 'value: sum'");
}

static void check_purpose(struct reading *r, const struct node *root, const struct config *config,
			  const struct training_set *set)
{
	const char **names = calloc(config->purpose_count + 1, sizeof *names);
	char suggestion[SUGGESTION_SIZE];
	bool is_known = set->purpose.len == 0;
	if (!names) {
		r->complaints->status = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < config->purpose_count; i++) {
		names[i] = config->purposes[i].name.ptr;
		is_known |= str_eq(config->purposes[i].name, set->purpose);
	}
	if (!is_known)
		complain(r->complaints, line_of(root, "training_set.purpose"),
			 "training_set.purpose: there is no purpose '%.*s'%s", STR_ARG(set->purpose),
			 suggest(set->purpose, names, config->purpose_count, suggestion));
	free(names);
}

static void finish(struct training_set *set)
{
	int16_t offset;
	double share;
	set->points.name = STR("points");
	set->points.type = STR("count");
	set->points.field = set->points.key = set->points.file = STR_NONE;
	set->label.name = STR("label");
	set->label.type = set->value == TRAINING_SUM ? STR("sum") : STR("count");
	set->label.key = set->label.file = STR_NONE;
	set->from_us = INT64_MIN;
	set->until_us = INT64_MAX;
	if (set->from.len && clock_parse(set->from, &set->from_us, &offset)) set->from_us = INT64_MIN;
	if (set->until.len && clock_parse(set->until, &set->until_us, &offset)) set->until_us = INT64_MAX;
	set->sample = read_share(set->sample_text, &share) ? (uint32_t)(share * TRAINING_SAMPLE_ONE + 0.5) : 0;
	if (!set->sample) set->sample = 1;
}

/* A required key inside an absent map is told of the map. */
static bool has_maps(struct reading *r, const struct node *root)
{
	static const char *const maps[] = {"training_set", "training_set.points", "training_set.label"};
	for (size_t i = 0; i < COUNT_OF(maps); i++) {
		const struct node *node = node_at(root, str_from(maps[i]));
		if (node && node->kind == NODE_MAP) continue;
		complain(r->complaints, node ? node->line : root->line, "'%s' must be a map (lines of 'key: value')",
			 maps[i]);
		return false;
	}
	return true;
}

static void read_root(struct reading *r, const struct node *root, const struct config *config, struct training_set *out)
{
	if (root->kind != NODE_MAP) {
		complain(r->complaints, root->line, "must be a map with the key 'training_set'");
		return;
	}
	if (!has_maps(r, root)) return;
	read_table(r, &table, root, out);
	finish(out);
	out->root = root;
	if (!out->name.len) complain(r->complaints, line_of(root, "training_set"), "training_set needs 'name'");
	out->points.line = line_of(root, "training_set.points");
	out->label.line = line_of(root, "training_set.label");
	check_points(r, root, out);
	check_label(r, root, out);
	check_purpose(r, root, config, out);
	if (out->feature_count > TRAINING_FEATURES_MAX)
		complain(r->complaints, line_of(root, "training_set.features"), "training_set.features: at most %d",
			 TRAINING_FEATURES_MAX);
}

int training_set_read(struct reading *reading, struct str text, const char *file, const struct config *config,
		      struct training_set *out)
{
	struct node *root;
	struct str error;
	memset(out, 0, sizeof *out);
	int rc = tree_parse(reading->arena, text, file, &root, &error);
	if (rc == ERR_NOMEM) return rc;
	if (rc)
		complain_whole(reading->complaints, error);
	else
		read_root(reading, root, config, out);
	if (reading->complaints->status) return reading->complaints->status;
	return reading->complaints->count ? ERR_INVALID : OK;
}
