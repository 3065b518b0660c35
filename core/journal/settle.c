#include "journal/state.h"

/* More loops than there are io threads; those beyond are woken for each of their appends. */
#define GROUP_MAX 32

struct group {
	struct loop *loop;
	struct loop_task *first, *last;
};

static struct group *group_of(struct group *groups, size_t *count, struct loop *loop)
{
	for (size_t i = 0; i < *count; i++) {
		if (groups[i].loop == loop) return &groups[i];
	}
	if (*count == GROUP_MAX) return NULL;
	groups[*count] = (struct group){.loop = loop};
	return &groups[(*count)++];
}

static void link_last(struct group *group, struct loop_task *task)
{
	task->next = NULL;
	if (group->last)
		group->last->next = task;
	else
		group->first = task;
	group->last = task;
}

void settle_chain(struct journal_append *chain)
{
	struct group groups[GROUP_MAX];
	size_t count = 0;
	while (chain) {
		/* From its post on an append is its owner's again. */
		struct journal_append *append = chain;
		chain = append->next;
		if (!append->loop) {
			append->settled.run(&append->settled);
			continue;
		}
		struct group *group = group_of(groups, &count, append->loop);
		if (group)
			link_last(group, &append->settled);
		else
			loop_post(append->loop, &append->settled);
	}
	for (size_t i = 0; i < count; i++) loop_post_chain(groups[i].loop, groups[i].first, groups[i].last);
}
