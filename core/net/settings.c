#include "net/settings.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"

struct settings {
	atomic_uint references;
	struct arena arena;
	struct conf_limits limits;
	struct proxies proxies;
	struct str *origins;
	size_t origin_count;
	struct tls_context *tls;
};

static int copy_proxies(struct settings *settings, const struct config *config)
{
	struct ip_net *nets = arena_array(&settings->arena, struct ip_net, config->trusted_proxy_count + 1);
	if (!nets) return ERR_NOMEM;
	settings->proxies.nets = nets;
	for (size_t i = 0; i < config->trusted_proxy_count; i++) {
		struct str text = config->trusted_proxies[i];
		if (str_eq(text, STR("unix:"))) {
			settings->proxies.trusts_unix = true;
			continue;
		}
		if (ip_net_parse(text, &nets[settings->proxies.count++]) != OK) {
			log_error(LOG_NET, "trusted_proxies: %.*s is neither an address nor a network", STR_ARG(text));
			return ERR_INVALID;
		}
	}
	return OK;
}

static int copy_origins(struct settings *settings, const struct config *config)
{
	size_t count = 0;
	for (size_t i = 0; i < config->source_count; i++) count += config->sources[i].origin_count;
	settings->origins = arena_array(&settings->arena, struct str, count + 1);
	if (!settings->origins) return ERR_NOMEM;
	for (size_t i = 0; i < config->source_count; i++) {
		for (size_t j = 0; j < config->sources[i].origin_count; j++) {
			struct str *to = &settings->origins[settings->origin_count++];
			int rc = arena_str(&settings->arena, config->sources[i].origins[j], to);
			if (rc != OK) return rc;
		}
	}
	return OK;
}

int settings_new(const struct config *config, struct settings **out)
{
	struct settings *settings = calloc(1, sizeof *settings);
	if (!settings) return ERR_NOMEM;
	atomic_init(&settings->references, 1);
	arena_init(&settings->arena, 1024, 0);
	settings->limits = config->limits;
	int rc = copy_proxies(settings, config);
	if (rc == OK) rc = copy_origins(settings, config);
	if (rc == OK && config->tls_certificate.len)
		rc = tls_context_new(config->tls_certificate, config->tls_key, config->tls_min_version, &settings->tls);
	if (rc != OK) {
		settings_unref(settings);
		return rc;
	}
	*out = settings;
	return OK;
}

struct settings *settings_ref(struct settings *settings)
{
	atomic_fetch_add(&settings->references, 1);
	return settings;
}

void settings_unref(struct settings *settings)
{
	if (!settings || atomic_fetch_sub(&settings->references, 1) != 1) return;
	tls_context_unref(settings->tls);
	arena_fini(&settings->arena);
	free(settings);
}

const struct conf_limits *settings_limits(const struct settings *settings)
{
	return &settings->limits;
}

const struct proxies *settings_proxies(const struct settings *settings)
{
	return &settings->proxies;
}

struct tls_context *settings_tls(const struct settings *settings)
{
	return settings->tls;
}

bool settings_allows_origin(const struct settings *settings, struct str origin)
{
	for (size_t i = 0; i < settings->origin_count; i++)
		if (str_eq_nocase(settings->origins[i], origin)) return true;
	return false;
}
