#include "journal/clock_source.h"

static int64_t real_wall(void *ctx)
{
	(void)ctx;
	return clock_wall_us();
}

static int64_t real_boot(void *ctx)
{
	(void)ctx;
	return clock_boottime_us();
}

struct clock_source clock_source_real(void)
{
	return (struct clock_source){real_wall, real_boot, NULL};
}

void clock_watch_init(struct clock_watch *watch, struct clock_source source)
{
	watch->source = source;
	clock_watch_rebase(watch);
}

int64_t clock_watch_read(const struct clock_watch *watch, int64_t *ahead_us)
{
	int64_t wall = watch->source.wall_us(watch->source.ctx);
	*ahead_us = wall - watch->source.boot_us(watch->source.ctx) - watch->offset_us;
	return wall;
}

void clock_watch_rebase(struct clock_watch *watch)
{
	const struct clock_source *source = &watch->source;
	watch->offset_us = source->wall_us(source->ctx) - source->boot_us(source->ctx);
}
