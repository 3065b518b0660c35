#include "training/job.h"

#define TEXT_MAX ((size_t)8 << 20)

/* A copy that the parser may read beyond. */
static int parse(struct job *job, struct str text, struct json *root)
{
	const char *why;
	char *copy = arena_alloc(&job->scratch, text.len + BUF_SLACK);
	if (!copy) return ERR_NOMEM;
	memcpy(copy, text.ptr, text.len);
	return json_parse(job->json, (struct str){copy, text.len}, root, &why);
}

static int copy_member(struct json_out *out, struct json root, struct str key)
{
	struct json value;
	if (!json_get(root, key, &value)) return OK;
	jo_key(out, key);
	jo_raw(out, STR_NONE);
	return out->status ? out->status : json_write(out->buf, value);
}

static int write_definitions(struct job *job, struct json root, struct buf *text)
{
	struct json_out out;
	json_out_init(&out, text);
	jo_object(&out);
	int rc = copy_member(&out, root, STR("dedup"));
	/* By the times of events nobody waits: all answers are there. */
	if (!rc && job->set.clock == TRAINING_ARRIVAL) rc = copy_member(&out, root, STR("enrichers"));
	jo_key(&out, STR("features"));
	jo_raw(&out, buf_str(&job->features));
	if (!rc) rc = copy_member(&out, root, STR("identity"));
	jo_end_object(&out);
	return rc ? rc : out.status;
}

int define_make(struct job *job, struct str text, struct str *out)
{
	struct json root;
	struct buf made;
	buf_init(&made, TEXT_MAX);
	int rc = parse(job, text, &root);
	if (!rc) rc = write_definitions(job, root, &made);
	if (!rc) rc = arena_str(&job->scratch, buf_str(&made), out);
	buf_fini(&made);
	return rc;
}

static bool is_wanted(const struct job *job, struct json feature)
{
	struct json value;
	struct str name;
	if (!json_get(feature, STR("name"), &value) || !json_str(value, &name)) return false;
	for (size_t i = 0; i < job->columns.feature_count; i++)
		if (str_eq(job->columns.features[i]->name, name)) return true;
	return false;
}

static int keep_features(struct job *job, struct json root)
{
	struct json list, feature;
	struct json_iter it;
	int rc = buf_putc(&job->features, '[');
	if (!json_get(root, STR("features"), &list)) return ERR_CORRUPT;
	for (json_iter_start(list, &it); !rc && json_next_element(&it, &feature);) {
		if (!is_wanted(job, feature)) continue;
		if (job->features.len > 1) rc = buf_putc(&job->features, ',');
		if (!rc) rc = json_write(&job->features, feature);
	}
	return rc ? rc : buf_putc(&job->features, ']');
}

int define_start(struct job *job)
{
	struct json root;
	struct str first;
	struct buf text;
	buf_init(&text, TEXT_MAX);
	int rc = definitions_write(job->config, &text);
	if (!rc) rc = parse(job, buf_str(&text), &root);
	if (!rc) rc = keep_features(job, root);
	if (!rc) rc = define_make(job, buf_str(&text), &first);
	if (!rc) rc = arena_str(&job->arena, first, &job->define_first);
	buf_fini(&text);
	return rc;
}
