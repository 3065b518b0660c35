// Nothing but the header: what a plugin in C++ starts from.
#include "cdpd_plugin.h"

namespace
{
int enrich(void *, struct cdpd_event *)
{
	return CDPD_OK;
}

struct cdpd_plugin describe()
{
	struct cdpd_plugin plugin = {};
	plugin.size = sizeof plugin;
	plugin.abi_major = CDPD_ABI_MAJOR;
	plugin.name = "alone";
	plugin.version = "1";
	plugin.summary = "the header by itself";
	plugin.caps = CDPD_CAP_ENRICH;
	plugin.enrich = enrich;
	return plugin;
}
} // namespace

extern "C" CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = describe();
