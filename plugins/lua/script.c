#include "script.h"

#include <lualib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HOOK_EVERY      1000 /* instructions */
#define BYTES_PER_STEP  64
#define LOAD_FACTOR     1000 /* of a run's instructions, for the text's own statements */
#define PATTERN_STEPS   1e8  /* a pattern that could take more on a text of that length is refused */
#define OVER_BUDGET     "the script took more than its instructions"
#define SCRIPT_KEY(lua) (*(struct script **)lua_getextraspace(lua))

/* ── limits ──────────────────────────────────────────────────────────────── */

/* What C functions do to long texts is work too, and shows here: allocated bytes are charged like instructions. */
static void *allocate(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
	struct script *script = ctx;
	size_t before = ptr ? old_size : 0;
	if (new_size == 0) {
		script->used -= before;
		free(ptr);
		return NULL;
	}
	if (new_size > before) {
		if (new_size - before > script->memory - script->used) return NULL;
		if (script->is_metered) {
			long steps = (long)(new_size / BYTES_PER_STEP);
			if (steps > script->budget) {
				script->is_over_budget = true;
				return NULL;
			}
			script->budget -= steps;
		}
	}
	void *moved = realloc(ptr, new_size);
	if (moved) script->used = script->used - before + new_size;
	return moved;
}

static void on_count(lua_State *lua, lua_Debug *debug)
{
	struct script *script = SCRIPT_KEY(lua);
	(void)debug;
	script->budget -= HOOK_EVERY;
	if (script->budget >= 0) return;
	script->is_metered = false; /* the error's own text is to be had */
	luaL_error(lua, OVER_BUDGET);
}

static bool run(struct script *script, int args, int results, long budget)
{
	script->budget = budget;
	script->is_metered = true;
	script->is_over_budget = false;
	lua_sethook(script->lua, on_count, LUA_MASKCOUNT, HOOK_EVERY);
	int rc = lua_pcall(script->lua, args, results, 0);
	script->is_metered = false;
	return rc == LUA_OK;
}

/* ── what scripts may use ────────────────────────────────────────────────── */

/* How many steps the matcher may take for each byte of text is not bounded by its own: "(.-)(.-)(.-)x" takes the cube. */
static double pattern_cost(const char *pattern, size_t len, size_t subject)
{
	bool is_anchored = len > 0 && pattern[0] == '^';
	int repeats = is_anchored ? 0 : 1, optional = 0;
	for (size_t i = is_anchored ? 1 : 0; i < len; i++) {
		if (pattern[i] == '%') {
			i++;
			if (i < len && pattern[i] == 'b') repeats++;
		} else if (pattern[i] == '[') {
			i += i + 1 < len && pattern[i + 1] == '^';
			for (i += 2; i < len && pattern[i] != ']'; i++) i += pattern[i] == '%';
		} else if (strchr("*+-", pattern[i])) {
			repeats++;
		} else if (pattern[i] == '?') {
			optional++;
		}
	}
	return pow((double)(subject + 1), repeats) * pow(2, optional);
}

static int match_guarded(lua_State *lua)
{
	size_t subject, len;
	luaL_checklstring(lua, 1, &subject);
	const char *pattern = luaL_checklstring(lua, 2, &len);
	bool is_plain = lua_toboolean(lua, lua_upvalueindex(2)) && lua_toboolean(lua, 4);
	if (!is_plain && pattern_cost(pattern, len, subject) > PATTERN_STEPS)
		return luaL_error(lua, "the pattern could take too long on a text of %d bytes", (int)subject);
	lua_pushvalue(lua, lua_upvalueindex(1));
	lua_insert(lua, 1);
	lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
	return lua_gettop(lua);
}

/* Finalizers run outside every limit. */
static int setmetatable_guarded(lua_State *lua)
{
	if (lua_istable(lua, 2)) {
		lua_pushliteral(lua, "__gc");
		if (lua_rawget(lua, 2) != LUA_TNIL) return luaL_error(lua, "__gc is not allowed");
		lua_settop(lua, 2);
	}
	lua_pushvalue(lua, lua_upvalueindex(1));
	lua_insert(lua, 1);
	lua_call(lua, lua_gettop(lua) - 1, 1);
	return 1;
}

static void guard_patterns(lua_State *lua)
{
	static const char *const names[] = {"find", "match", "gmatch", "gsub"};
	lua_getglobal(lua, LUA_STRLIBNAME);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		lua_getfield(lua, -1, names[i]);
		lua_pushboolean(lua, strcmp(names[i], "find") == 0);
		lua_pushcclosure(lua, match_guarded, 2);
		lua_setfield(lua, -2, names[i]);
	}
	lua_pushnil(lua);
	lua_setfield(lua, -2, "dump");
	lua_pop(lua, 1);
}

/* load and its kin take bytecode, which can crash the machine; pcall would let a script outlive its budget; coroutines count anew. */
static int add_libraries(lua_State *lua)
{
	static const luaL_Reg libraries[] = {
	    {LUA_GNAME, luaopen_base},       {LUA_STRLIBNAME, luaopen_string}, {LUA_TABLIBNAME, luaopen_table},
	    {LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8},
	};
	static const char *const removed[] = {"load",   "loadfile", "dofile",         "require", "pcall",
					      "xpcall", "print",    "collectgarbage", "warn"};
	for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
		luaL_requiref(lua, libraries[i].name, libraries[i].func, 1);
		lua_pop(lua, 1);
	}
	for (size_t i = 0; i < sizeof removed / sizeof removed[0]; i++) {
		lua_pushnil(lua);
		lua_setglobal(lua, removed[i]);
	}
	guard_patterns(lua);
	lua_getglobal(lua, "setmetatable");
	lua_pushcclosure(lua, setmetatable_guarded, 1);
	lua_setglobal(lua, "setmetatable");
	json_add_globals(lua);
	return 0;
}

/* ── the state ───────────────────────────────────────────────────────────── */

bool script_open(struct script *script, size_t memory, long instructions)
{
	*script = (struct script){.memory = memory, .instructions = instructions};
	script->lua = lua_newstate(allocate, script);
	if (!script->lua) return false;
	SCRIPT_KEY(script->lua) = script;
	if (script_protect(script, add_libraries, NULL)) return true;
	script_close(script);
	return false;
}

void script_close(struct script *script)
{
	if (script->lua) lua_close(script->lua);
	script->lua = NULL;
}

bool script_load(struct script *script, const char *text, size_t len, const char *name)
{
	if (luaL_loadbufferx(script->lua, text, len, name, "t") != LUA_OK) return false;
	return run(script, 0, 0, script->instructions * LOAD_FACTOR);
}

bool script_call(struct script *script, int args, int results)
{
	return run(script, args, results, script->instructions);
}

bool script_protect(struct script *script, lua_CFunction fn, void *arg)
{
	lua_sethook(script->lua, NULL, 0, 0);
	lua_pushcfunction(script->lua, fn);
	lua_pushlightuserdata(script->lua, arg);
	return lua_pcall(script->lua, 1, 0, 0) == LUA_OK;
}

const char *script_error(struct script *script)
{
	if (script->is_over_budget) return OVER_BUDGET;
	return lua_type(script->lua, -1) == LUA_TSTRING ? lua_tostring(script->lua, -1) : "an error that is no text";
}
