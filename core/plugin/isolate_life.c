#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "plugin/isolate_inside.h"
#include "plugin/isolate_internal.h"

struct life {
	struct life *next;
	char instance[INSTANCE_NAME_MAX + 1];
	struct isolate_life told;
};
static struct life *lives;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct life *find(struct str instance)
{
	struct life *life = lives;
	while (life && !str_eq(str_from(life->instance), instance)) life = life->next;
	return life;
}

struct life *life_of(const char *instance)
{
	(void)pthread_mutex_lock(&lock);
	struct life *life = find(str_from(instance));
	if (!life && (life = calloc(1, sizeof *life)) != NULL) {
		(void)snprintf(life->instance, sizeof life->instance, "%s", instance);
		life->next = lives;
		lives = life;
	}
	(void)pthread_mutex_unlock(&lock);
	return life;
}

void life_began(struct life *life)
{
	(void)pthread_mutex_lock(&lock);
	life->told.is_up = true;
	life->told.starts++;
	(void)pthread_mutex_unlock(&lock);
}

/* NULL: it was ended on purpose. */
void life_ended(struct life *life, const char *why)
{
	(void)pthread_mutex_lock(&lock);
	life->told.is_up = false;
	if (why) {
		life->told.deaths++;
		life->told.last_death_us = clock_wall_us();
		(void)snprintf(life->told.last_death, sizeof life->told.last_death, "%s", why);
	}
	(void)pthread_mutex_unlock(&lock);
}

bool isolate_life_of(struct str instance, struct isolate_life *out)
{
	(void)pthread_mutex_lock(&lock);
	const struct life *life = find(instance);
	if (life) *out = life->told;
	(void)pthread_mutex_unlock(&lock);
	return life != NULL;
}

static const char *own_exit(int code)
{
	switch (code) {
	case INSIDE_EXIT_GONE: return "it lost its socket";
	case INSIDE_EXIT_SPEECH: return "it did not understand the daemon";
	case INSIDE_EXIT_MEMORY: return "out of memory";
	case INSIDE_EXIT_SANDBOX: return "the kernel offers no sandbox";
	default: return NULL;
	}
}

void life_describe_end(struct isolate_end end, const char *why, char *out, size_t size)
{
	int code = WIFEXITED(end.status) ? WEXITSTATUS(end.status) : -1;
	if (why[0])
		(void)snprintf(out, size, "%s", why);
	else if (end.was_killed)
		(void)snprintf(out, size, "it closed its socket");
	else if (WIFSIGNALED(end.status))
		(void)snprintf(out, size, "signal %d (%s)", WTERMSIG(end.status), strsignal(WTERMSIG(end.status)));
	else if (own_exit(code))
		(void)snprintf(out, size, "%s", own_exit(code));
	else
		(void)snprintf(out, size, "exit %d", code);
}
