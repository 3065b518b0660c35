// rooms: plugin
/* What a process of its own costs an enricher: µs per event in batches of 64 and alone, beside the same plugin in the
 * daemon's own chain before the journal, and as an asynchronous enricher of the daemon's own process. Prints the best of
 * several rounds each, interleaved: other work on the machine only ever adds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../plugins/isolate_rig.h"
#include "plugin/internal.h"

#define ROUNDS 15
#define BATCH  64
#define COUNT  6400

static struct rig rig, near; /* in a process of its own; in this one, by the same tickets */
static const struct cdpd_plugin *campaign;
static struct enrich_chain *chain;
static struct arena scratch;

static struct cdpd_event an_event(void)
{
	return (struct cdpd_event){
	    .source_id = STR("web"),
	    .message_id = STR("0b0e7b2a-6f1a-4f0e-9d7e-1f1f1f1f1f1f"),
	    .type = EVENT_PAGE,
	    .event = STR(""),
	    .name = STR("Home"),
	    .category = STR(""),
	    .user_id = STR("user-123456"),
	    .anonymous_id = STR("5f0e7b2a-6f1a-4f0e-9d7e-1f1f1f1f1f1f"),
	    .previous_id = STR(""),
	    .group_id = STR(""),
	    .properties = STR("{\"path\":\"/shoes/42\",\"title\":\"Shoes\",\"price\":49.95,\"currency\":\"EUR\"}"),
	    .traits = STR(""),
	    .context = STR(
		"{\"library\":{\"name\":\"analytics.js\",\"version\":\"2.1\"},\"page\":{\"url\":\"https://shop.example/"
		"shoes/"
		"42?utm_source=news&utm_medium=mail&utm_campaign=spring\",\"referrer\":\"https://news.example/\"}}"),
	    .extra = STR(""),
	    .enrichment = STR(""),
	    .violations = STR(""),
	    .ip = STR("203.0.113.7"),
	    .user_agent = STR("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
	    .country = STR(""),
	    .event_time_us = 1,
	    .received_at_us = 2,
	};
}

static struct cdpd_event event;

/* ns per event. */
static double in_process(void)
{
	int64_t start = clock_mono_us();
	for (size_t i = 0; i < COUNT; i++) {
		struct enrich_outcome outcome;
		struct cdpd_event copy = event;
		enrich_chain_run(chain, &copy, NULL, &scratch, &outcome);
		CHECK(copy.enrichment.len);
		arena_reset(&scratch);
	}
	return (double)(clock_mono_us() - start) * 1000 / COUNT;
}

static void finish(void)
{
	for (size_t i = 0; i < rig.asked; i++) CHECK(ticket_answer(rig.tickets[i]).patch.len);
	rig_reset(&rig);
}

/* What the plugin would be as an asynchronous enricher of the daemon's own process. */
static int ask_near(void *self, struct cdpd_ticket *ticket)
{
	int rc = campaign->enrich(self, plugin_host()->ticket_event(ticket));
	return plugin_host()->ticket_done(ticket, rc, NULL);
}

static void make_near(const struct config *config)
{
	static struct cdpd_plugin table;
	static struct plugin plugin = {.table = &table};
	const struct plugin *loaded;
	struct plugin_conf *conf;
	struct str error;
	rig_init(&near);
	CHECK(plugin_load(&near.arena, config->plugin_path, STR("campaign"), &loaded, &error) == OK);
	campaign = plugin_info(loaded);
	table = *campaign;
	table.caps = CDPD_CAP_ENRICH_ASYNC;
	table.enrich_async = ask_near;
	CHECK(plugin_conf_check(&near.arena, &plugin, config->enrichers, STR("c"), &conf, &error) == OK);
	CHECK(instance_new_with(&plugin, STR("near"), conf, &(struct instance_services){.http = near.http},
				&near.instance) == OK);
}

static double in_process_by_tickets(void)
{
	int64_t start = clock_mono_us();
	for (size_t i = 0; i < COUNT; i += BATCH) {
		for (size_t k = 0; k < BATCH; k++) rig_ask(&near, &event);
		CHECK(near.settled == BATCH);
		rig_reset(&near);
	}
	return (double)(clock_mono_us() - start) * 1000 / COUNT;
}

/* `batch` questions are under way at a time. */
static double isolated(size_t batch, size_t count)
{
	int64_t start = clock_mono_us();
	for (size_t i = 0; i < count; i += batch) {
		for (size_t k = 0; k < batch; k++) rig_ask(&rig, &event);
		while (rig.settled < batch) rig_turn(&rig);
		finish();
	}
	return (double)(clock_mono_us() - start) * 1000 / (double)count;
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], ISOLATE_ARGUMENT) == 0) isolate_child_main(argc - 2, argv + 2);
	struct conf_instance conf = {.name = STR("utm"),
				     .plugin = STR("campaign"),
				     .async = {.deadline_ms = 10000},
				     .isolation = {.is_on = true, .memory = (uint64_t)256 << 20}};
	struct conf_instance own = {.name = STR("own"), .plugin = STR("campaign")};
	const char *folder = argc >= 2 ? argv[1] : "build/plugins";
	struct config config = {
	    .file = STR("c"), .plugin_path = str_from(folder), .enrichers = &own, .enricher_count = 1};
	struct str error = STR_NONE;
	event = an_event();
	double in = 1e9, by_tickets = 1e9, of_many = 1e9, of_four = 1e9, alone = 1e9;
	arena_init(&scratch, 65536, 0);
	rig_init(&rig);
	if (enrich_chain_new(&config, &chain) || rig_make(&rig, str_from(folder), &conf, &error)) {
		(void)fprintf(stderr, "bench_isolated: %.*s\n", STR_ARG(error));
		return 1;
	}
	make_near(&config);
	(void)isolated(BATCH, COUNT); /* it comes up */
	for (int round = 0; round < ROUNDS; round++) {
		in = least(in, in_process());
		by_tickets = least(by_tickets, in_process_by_tickets());
		of_many = least(of_many, isolated(BATCH, COUNT));
		of_four = least(of_four, isolated(4 * BATCH, COUNT));
		alone = least(alone, isolated(1, COUNT / 8));
	}
	printf("{\"sync_in_process_us\":%.3f,\"async_in_process_us\":%.3f,\"batches_of_64_us\":%.3f,\"four_batches_"
	       "us\":%.3f,"
	       "\"alone_us\":%.3f,\"ratio_to_sync\":%.2f,\"ratio_to_async\":%.2f}\n",
	       in / 1000, by_tickets / 1000, of_many / 1000, of_four / 1000, alone / 1000, of_many / in,
	       of_many / by_tickets);
	rig_end(&near);
	rig_end(&rig);
	enrich_chain_free(chain);
	arena_fini(&scratch);
	return 0;
}
