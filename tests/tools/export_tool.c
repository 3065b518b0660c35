/* export_tool: an exporter without a daemon: its records come from standard input, its verdicts go to standard output. For tests against real
 * servers that want to say themselves what is handed over, and to kill it when they like.
 *
 *	export_tool PLUGIN NAME=VALUE …
 *
 * A record is a line of fields split by tabs: kind, flags, delivery id, position, message id, profile id, other id, time in µs, JSON. An empty line hands over what
 * was said since the last one; the answer is a line for each record, verdict and reason split by a tab, and a line "end". The line "counters" asks for the
 * plugin's counters. It says "ready" when create has returned. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_host.h"

#define FIELDS 9

static struct cdpd_instance fake;
static struct cdpd_record records[FAKE_RECORDS_MAX];
static char *lines[FAKE_RECORDS_MAX];
static size_t count;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "export_tool: %s: %s\n", what, why);
	exit(1);
}

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static void add_record(const char *line)
{
	char *fields[FIELDS], *at = strdup(line);
	if (!at || count == FAKE_RECORDS_MAX) die("record", "too many");
	lines[count] = at;
	for (size_t i = 0; i < FIELDS; i++) {
		fields[i] = i + 1 < FIELDS ? strsep(&at, "\t") : at;
		if (!fields[i]) die("record", "it has nine fields");
	}
	records[count++] = (struct cdpd_record){
	    .size = sizeof records[0],
	    .kind = (uint32_t)strtoul(fields[0], NULL, 10),
	    .flags = (uint32_t)strtoul(fields[1], NULL, 10),
	    .delivery_id = str(fields[2]),
	    .position = str(fields[3]),
	    .message_id = str(fields[4]),
	    .profile_id = str(fields[5]),
	    .other_id = str(fields[6]),
	    .time_us = strtoll(fields[7], NULL, 10),
	    .json = str(fields[8]),
	    .attempt = 1,
	};
}

static void export_all(void)
{
	static const char *const names[] = {"RETRY", "ACK", "DROP", "PENDING"};
	enum cdpd_verdict all = fake_export(&fake, records, count);
	for (size_t i = 0; i < count; i++) {
		const struct fake_verdict *named = &fake.receipt.named[i], *rest = &fake.receipt.all;
		enum cdpd_verdict verdict = named->is_set ? named->verdict : rest->is_set ? rest->verdict : all;
		printf("%s\t%s\n", names[verdict], named->is_set ? named->reason : rest->reason);
		free(lines[i]);
	}
	count = 0;
}

static void print_counters(void)
{
	for (int i = 0; i < fake.counter_count; i++)
		printf("%s\t%llu\n", fake.counters[i], (unsigned long long)fake.counted[i]);
}

static void create(int argc, char **argv)
{
	static struct fake_option options[64];
	size_t given = 0;
	for (int i = 2; i < argc && given < 64; i++) {
		char *equals = strchr(argv[i], '=');
		if (!equals) die(argv[i], "options are NAME=VALUE");
		*equals = '\0';
		options[given++] = (struct fake_option){argv[i], equals + 1};
	}
	fake_open(&fake, argv[1]);
	if (fake_create(&fake, options, given) != CDPD_OK) die(argv[1], fake.log);
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	if (argc < 2) die("usage", "export_tool PLUGIN NAME=VALUE …");
	create(argc, argv);
	printf("ready\n");
	fflush(stdout);
	while ((len = getline(&line, &size, stdin)) > 0) {
		if (line[len - 1] == '\n') line[len - 1] = '\0';
		if (line[0] && strcmp(line, "counters") != 0) {
			add_record(line);
			continue;
		}
		if (line[0])
			print_counters();
		else
			export_all();
		printf("end\n");
		fflush(stdout);
	}
	free(line);
	fake_destroy(&fake);
	return 0;
}
