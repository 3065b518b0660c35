/* plugin_check: `cdpctl plugin check`, the one command that asks no daemon. */
#pragma once

/* argv[0] is "plugin". The process's exit code: 0 nothing to complain about, 1 findings, 2 wrong usage. */
int plugin_check_main(int argc, char **argv);
