#include "config/complaint.h"

#include <stdarg.h>
#include <stdio.h>

#define SHOWN_MAX 100
#define WHAT_SIZE 1024

void complaints_init(struct complaints *complaints, const char *file)
{
	*complaints = (struct complaints){.file = file};
	buf_init(&complaints->text, SHOWN_MAX * (size_t)2 * WHAT_SIZE);
}

void complaints_fini(struct complaints *complaints)
{
	buf_fini(&complaints->text);
}

static void note(struct complaints *complaints, int rc)
{
	if (rc != OK && complaints->status == OK) complaints->status = ERR_NOMEM;
}

/* Where the next complaint begins; false when there are enough. */
static bool begin(struct complaints *complaints)
{
	complaints->count++;
	if (complaints->count > SHOWN_MAX + 1) return false;
	if (complaints->text.len) note(complaints, buf_putc(&complaints->text, '\n'));
	if (complaints->count <= SHOWN_MAX) return true;
	note(complaints, buf_printf(&complaints->text, "%.500s: and more", complaints->file));
	return false;
}

void complain(struct complaints *complaints, int line, const char *fmt, ...)
{
	char what[WHAT_SIZE];
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	if (len >= 0 && complaints->on_fault) {
		complaints->count++;
		complaints->on_fault(complaints->ctx, line, what);
		return;
	}
	if (len < 0 || !begin(complaints)) return;
	if (line > 0)
		note(complaints, buf_printf(&complaints->text, "%.500s:%d: %s", complaints->file, line, what));
	else
		note(complaints, buf_printf(&complaints->text, "--set: %s", what));
}

void complain_whole(struct complaints *complaints, struct str text)
{
	if (text.len > WHAT_SIZE) text.len = WHAT_SIZE;
	if (begin(complaints)) note(complaints, buf_append_str(&complaints->text, text));
}

const char *suggest(struct str word, const char *const *candidates, size_t count, char out[SUGGESTION_SIZE])
{
	const char *nearest = str_nearest(word, candidates, count);
	out[0] = '\0';
	if (nearest) (void)snprintf(out, SUGGESTION_SIZE, ", did you mean '%.100s'?", nearest);
	return out;
}
