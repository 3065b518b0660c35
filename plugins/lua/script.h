/* script: a Lua state that can neither do I/O nor run or grow without a bound, and the values that pass between it and
 * events as JSON. It knows nothing of the host. */
#pragma once

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct script {
	lua_State *lua;
	size_t used, memory;       /* bytes */
	long budget, instructions; /* what is left of one run, and what a run gets */
	bool is_metered;           /* false while the host itself works on the state */
	bool is_over_budget;       /* memory was refused because the budget of this run was spent */
};

/* Makes the state with the libraries that scripts may use. `memory`: bytes it may hold at any time; `instructions`: of the Lua machine a run
 * may take; each 64 bytes allocated count as one more. false: no memory. */
bool script_open(struct script *script, size_t memory, long instructions);
void script_close(struct script *script);

/* Compiles and runs a text (never bytecode) once, with a thousand times the instructions of a run. false: what was wrong is on top of the stack. */
bool script_load(struct script *script, const char *text, size_t len, const char *name);

/* A protected call of the function under its `args` arguments, on a fresh budget. false: what was wrong is on top of the stack. */
bool script_call(struct script *script, int args, int results);
/* The same for the plugin's own C functions, which are not metered by instructions. */
bool script_protect(struct script *script, lua_CFunction fn, void *arg);
/* The error on top of the stack as a text; lives until the stack is touched. */
const char *script_error(struct script *script);

/* json.c. Both raise Lua errors: call them inside a protected call.
 * Pushes the value of a JSON text that is known to be well-formed; deeper than 32 levels is an error. null is left out of objects and
 * is `null` in arrays; numbers without fraction that fit are integers. */
void json_push(lua_State *lua, const char *text, size_t len);
/* The value at `index` as JSON; its length. Tables are arrays when they hold something at 1 or were made by array(), else objects;
 * functions, keys that are no texts, numbers that are not finite, more than 16 levels and more than `size` bytes are errors. */
size_t json_write(lua_State *lua, int index, char *bytes, size_t size);
/* Adds `null` and array() to the globals. */
void json_add_globals(lua_State *lua);
