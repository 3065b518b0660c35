/* isolate_child: the process of an isolated enricher, from the inside: a sandbox, the plugin, and the host's functions as frames over one socket. It reads no
 * configuration; what it needs to know the daemon tells it. */
#pragma once

#include "base/status.h"

#define ISOLATE_ARGUMENT "isolated-plugin" /* argv[1] of that process */
#define ISOLATE_FD       3                 /* its socket */

/* main of that process: `arguments` are those behind ISOLATE_ARGUMENT. Ends the process. */
_Noreturn void isolate_child_main(int count, char **arguments);
