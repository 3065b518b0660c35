/* one_server: the server that most tests of a program share, and its set-ups for cmocka: with its defaults, or started too. */
#pragma once

#include "net/harness.h"

#define UNUSED_HERE __attribute__((unused)) static

static struct server server;

UNUSED_HERE int server_setup(void **state)
{
	(void)state;
	server_defaults(&server);
	return 0;
}

UNUSED_HERE int server_setup_started(void **state)
{
	(void)server_setup(state);
	server_start(&server);
	return 0;
}

UNUSED_HERE int server_teardown(void **state)
{
	(void)state;
	server_stop(&server);
	return 0;
}
