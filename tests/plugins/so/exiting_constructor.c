/* Ends the process while it is loaded. */
#include <unistd.h>

#include "cdpd_plugin.h"

__attribute__((constructor)) static void leave(void)
{
	_exit(0);
}

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {.size = sizeof cdpd_plugin, .abi_major = CDPD_ABI_MAJOR};
