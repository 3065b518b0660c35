/* settings: what of the configuration net needs, copied, so that no connection depends on a config's lifetime.
 * Immutable, reference-counted, swapped whole on reload. */
#pragma once

#include "config/config.h"
#include "net/proxy.h"
#include "net/tls.h"

struct settings;

/* ERR_INVALID with the cause logged: a certificate that cannot be used, a proxy that is no network. */
MUST_USE int settings_new(const struct config *config, struct settings **out);
struct settings *settings_ref(struct settings *settings);
void settings_unref(struct settings *settings);

const struct conf_limits *settings_limits(const struct settings *settings);
const struct proxies *settings_proxies(const struct settings *settings);
struct tls_context *settings_tls(const struct settings *settings); /* NULL: no certificate is configured */
bool settings_allows_origin(const struct settings *settings, struct str origin); /* listed by some source */
