/* What a source's plugin made of a request: events in the native form, and parts it could not read. */
#include "ingest/internal.h"

const struct conf_source *hook_source(const struct config *config, struct str id)
{
	for (size_t i = 0; i < config->source_count; i++)
		if (str_eq(config->sources[i].id, id)) return &config->sources[i];
	return NULL;
}

int hook_take_source(struct intake *in)
{
	const struct conf_source *source = hook_source(in->config, in->request->hook->source);
	/* A reload may have taken it away meanwhile. */
	if (!source || source->kind != SOURCE_WEBHOOK)
		return intake_refuse(in, PROBLEM_NOT_FOUND, STR_NONE, STR("there is no such source"));
	in->caller = (struct caller){source, source->id};
	return OK;
}

static int refuse_part(struct intake *in, struct draft *draft, void *ctx)
{
	const struct ingest_hook_item *item = ctx;
	(void)in;
	return draft_fault(draft, PROBLEM_SCHEMA_VIOLATION, STR_NONE, item->reason);
}

static int reject_part(struct intake *in, const struct ingest_hook_item *item)
{
	struct ingest_hook_item copy = *item;
	struct draft draft = {.raw = item->text};
	return admit(in, &draft, refuse_part, &copy);
}

int hook_read(struct intake *in)
{
	const struct ingest_hook *hook = in->request->hook;
	int rc = intake_expect(in, hook->count, STR_NONE);
	for (size_t i = 0; i < hook->count && rc == OK; i++) {
		const struct ingest_hook_item *item = &hook->items[i];
		rc = item->is_reject ? reject_part(in, item) : admit_text(in, item->text, 0);
	}
	return rc;
}
