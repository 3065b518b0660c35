#include "referrer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS_MAX 4096
#define TERMS_MAX 4
#define HOST_MAX  253

extern const char campaign_referrers[]; /* referrers.txt */
extern const size_t campaign_referrers_len;

struct source {
	const char *medium, *name;
	const char *terms[TERMS_MAX];
};

struct host {
	const char *name; /* "google.com", or "google." for google.* */
	size_t len, source;
	unsigned order; /* of two equal names the first in the file counts */
};

struct referrers {
	char *text; /* of all lines; names point into it */
	struct source *sources;
	struct host *hosts; /* by name */
	size_t source_count, host_count;
};

/* ── the table ───────────────────────────────────────────────────────────── */

static char *trim(char *text)
{
	while (*text == ' ' || *text == '\t') text++;
	size_t len = strlen(text);
	while (len && (text[len - 1] == ' ' || text[len - 1] == '\t' || text[len - 1] == '\r')) text[--len] = '\0';
	return text;
}

static const char *medium_of(const char *text)
{
	static const char *const media[] = {"search", "social", "email", "internal", "unknown"};
	for (size_t i = 0; i < sizeof media / sizeof media[0]; i++) {
		if (strcmp(media[i], text) == 0) return media[i];
	}
	return NULL;
}

static bool add_host(struct referrers *r, char *name)
{
	size_t len = strlen(name);
	if (r->host_count == HOSTS_MAX || len > HOST_MAX) return false;
	if (len > 2 && strcmp(name + len - 2, ".*") == 0) name[--len] = '\0';
	for (size_t i = 0; i < len; i++) name[i] = text_lower(name[i]);
	r->hosts[r->host_count] = (struct host){name, len, r->source_count, (unsigned)r->host_count};
	r->host_count++;
	return true;
}

static const char *read_line(struct referrers *r, char *line)
{
	char *fields[4], *rest = line, *save;
	for (size_t i = 0; i < 4; i++) {
		char *field = strsep(&rest, "|");
		if (!field) return "a line is: medium | name | hosts | parameters";
		fields[i] = trim(field);
	}
	struct source *source = &r->sources[r->source_count];
	source->medium = medium_of(fields[0]);
	source->name = fields[1];
	if (!source->medium) return "a medium is search, social, email, internal or unknown";
	for (char *host = strtok_r(fields[2], " \t", &save); host; host = strtok_r(NULL, " \t", &save)) {
		if (!add_host(r, host)) return "too many hosts, or one is too long";
	}
	size_t count = 0;
	for (char *term = strtok_r(fields[3], " \t", &save); term && count < TERMS_MAX;
	     term = strtok_r(NULL, " \t", &save))
		source->terms[count++] = term;
	r->source_count++;
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	const struct host *left = a, *right = b;
	int rc = strcmp(left->name, right->name);
	return rc ? rc : (left->order > right->order) - (left->order < right->order);
}

static void sort_hosts(struct referrers *r)
{
	size_t kept = 0;
	qsort(r->hosts, r->host_count, sizeof *r->hosts, by_name);
	for (size_t i = 0; i < r->host_count; i++) {
		if (kept == 0 || strcmp(r->hosts[kept - 1].name, r->hosts[i].name) != 0) r->hosts[kept++] = r->hosts[i];
	}
	r->host_count = kept;
}

static const char *read_table(struct referrers *r, int *number)
{
	char *rest = r->text;
	for (char *line; (line = strsep(&rest, "\n"));) {
		++*number;
		line = trim(line);
		if (*line == '\0' || *line == '#') continue;
		const char *wrong = read_line(r, line);
		if (wrong) return wrong;
	}
	return NULL;
}

struct referrers *referrers_new(const char *own, size_t own_len, char why[REFERRER_WHY_MAX])
{
	struct referrers *r = calloc(1, sizeof *r);
	size_t lines = 2, len = own_len + 1 + campaign_referrers_len;
	int number = 0;
	snprintf(why, REFERRER_WHY_MAX, "out of memory");
	if (!r) return NULL;
	r->text = malloc(len + 1);
	r->hosts = calloc(HOSTS_MAX, sizeof *r->hosts);
	if (r->text) {
		if (own_len) memcpy(r->text, own, own_len);
		r->text[own_len] = '\n';
		memcpy(r->text + own_len + 1, campaign_referrers, campaign_referrers_len);
		r->text[len] = '\0';
		for (size_t i = 0; i < len; i++) lines += r->text[i] == '\n';
		r->sources = calloc(lines, sizeof *r->sources);
	}
	if (r->text && r->hosts && r->sources) {
		const char *wrong = read_table(r, &number);
		if (!wrong) {
			sort_hosts(r);
			return r;
		}
		snprintf(why, REFERRER_WHY_MAX, "line %d: %s", number, wrong);
	}
	referrers_free(r);
	return NULL;
}

void referrers_free(struct referrers *r)
{
	if (!r) return;
	free(r->text);
	free(r->sources);
	free(r->hosts);
	free(r);
}

/* ── asking ──────────────────────────────────────────────────────────────── */

static const struct source *find_name(const struct referrers *r, const char *name, size_t len)
{
	size_t low = 0, high = r->host_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct host *host = &r->hosts[middle];
		int order = memcmp(host->name, name, host->len < len ? host->len : len);
		if (order == 0 && host->len == len) return &r->sources[host->source];
		if (order < 0 || (order == 0 && host->len < len))
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Is "com", "de", "co.uk" what stands behind a name of its own? "evil.com" is not. */
static bool is_ending(const char *text, size_t len)
{
	static const char *const seconds[] = {"co", "com", "net", "org", "ne", "or"};
	const char *dot = memchr(text, '.', len);
	if (!dot) return len > 1;
	size_t first = (size_t)(dot - text);
	if (len - first - 1 != 2) return false;
	for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
		if (first == strlen(seconds[i]) && memcmp(text, seconds[i], first) == 0) return true;
	}
	return false;
}

static const struct source *find_source(const struct referrers *r, const struct text *host)
{
	const char *name = host->bytes, *end = name + host->len;
	for (bool is_first = true; name < end; is_first = false) {
		size_t len = (size_t)(end - name);
		const struct source *source = find_name(r, name, len);
		const char *dot = memchr(name, '.', len);
		if (!source && dot && is_ending(dot + 1, (size_t)(end - dot) - 1)) {
			bool is_alone = is_first || (size_t)(name - host->bytes) == 2; /* behind "m." */
			if (is_alone) source = find_name(r, name, (size_t)(dot - name) + 1);
		}
		if (source || !dot) return source;
		name = dot + 1;
	}
	return NULL;
}

void referrer_host(struct cdpd_str url, struct text *out)
{
	const char *start = memmem(url.ptr, url.len < 64 ? url.len : 64, "://", 3), *end = url.ptr + url.len;
	out->len = 0;
	out->is_cut = false;
	if (!start) return;
	start += 3;
	for (const char *p = start; p < end && *p != '/' && *p != '?' && *p != '#'; p++) {
		if (*p == '@') out->len = 0; /* what stood before is a user's name */
		if (*p == '@') continue;
		if (*p == ':' || out->len == HOST_MAX) { /* a port, or more of the user's name */
			const char *at = memchr(p, '@', (size_t)(end - p));
			const char *slash = memchr(p, '/', (size_t)(end - p));
			if (!at || (slash && slash < at)) break;
			p = at;
			out->len = 0;
			continue;
		}
		out->bytes[out->len++] = text_lower(*p);
	}
	if (out->len > 4 && memcmp(out->bytes, "www.", 4) == 0) {
		out->len -= 4;
		memmove(out->bytes, out->bytes + 4, out->len);
	}
}

bool referrer_is_under(const struct text *host, const char *domain, size_t domain_len)
{
	if (host->len < domain_len || domain_len == 0) return false;
	if (memcmp(host->bytes + host->len - domain_len, domain, domain_len) != 0) return false;
	return host->len == domain_len || host->bytes[host->len - domain_len - 1] == '.';
}

static struct cdpd_str find_term(const struct source *source, struct cdpd_str url)
{
	const char *at = memchr(url.ptr, '?', url.len), *end = url.ptr + url.len;
	while (at && at < end) {
		const char *start = at + 1, *next = memchr(start, '&', (size_t)(end - start));
		struct cdpd_str pair = {start, (size_t)((next ? next : end) - start)};
		const char *eq = memchr(pair.ptr, '=', pair.len);
		for (size_t i = 0; eq && i < TERMS_MAX && source->terms[i]; i++) {
			if (text_is_key((struct cdpd_str){pair.ptr, (size_t)(eq - pair.ptr)}, source->terms[i]))
				return (struct cdpd_str){eq + 1, pair.len - (size_t)(eq + 1 - pair.ptr)};
		}
		at = next;
	}
	return (struct cdpd_str){"", 0};
}

void referrer_find(const struct referrers *r, struct cdpd_str referrer, struct cdpd_str page, struct referrer *out)
{
	struct text own;
	out->medium = out->source = NULL;
	out->term = (struct cdpd_str){"", 0};
	referrer_host(referrer, &out->host);
	if (!text_check(&out->host, HOST_MAX)) return;
	referrer_host(page, &own);
	out->medium = "unknown";
	if (own.len == out->host.len && memcmp(own.bytes, out->host.bytes, own.len) == 0) {
		out->medium = "internal";
		return;
	}
	const struct source *source = find_source(r, &out->host);
	if (!source) return;
	out->medium = source->medium;
	out->source = source->name;
	out->term = find_term(source, referrer);
}
