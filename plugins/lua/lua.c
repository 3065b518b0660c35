/* lua: a sync enricher whose work is a script. See README.md; the machine and its limits are in script.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cdpd_plugin.h"
#include "script.h"

#define SCRIPT_MAX   ((size_t)256 * 1024) /* bytes of a script's text */
#define OUTPUT_MAX   4096                 /* bytes of JSON a run may set: the host's own bound of a value */
#define REASON_MAX   100
#define NAME_MAX_LEN 64
#define LOG_BURST    20 /* lines at once; then one a second */
#define SECOND_US    ((int64_t)1000 * 1000)

/* Members of an event that a script reads by name. The parts that are objects come as tables. */
static const char *const members[] = {"type",      "event",       "name",       "category", "messageId",
				      "userId",    "anonymousId", "previousId", "groupId",  "ip",
				      "userAgent", "sourceId",    "properties", "traits",   "context"};
#define MEMBERS (sizeof members / sizeof members[0])

struct lua {
	const struct cdpd_host *host;
	struct cdpd_instance *instance;
	struct script script;
	int output;                 /* path of what the script sets */
	int tables, enrich, object; /* registry references: parts already read, the function, the event's userdata */
	struct cdpd_event *event;   /* the one at hand; NULL outside a run */
	bool has_tables, is_loading;
	char reason[REASON_MAX + 1]; /* of a drop */
	double log_tokens;
	int64_t logged_us;
	int lines_held_back; /* metric */
};

static char drop_mark; /* what drop() returns */

static struct lua *self_of(lua_State *lua)
{
	return lua_touserdata(lua, lua_upvalueindex(1));
}

/* ── what a script sees ──────────────────────────────────────────────────── */

static void push_value(lua_State *lua, const struct cdpd_value *value)
{
	switch (value->kind) {
	case CDPD_VALUE_STRING: lua_pushlstring(lua, value->text.ptr, value->text.len); return;
	case CDPD_VALUE_BOOL: lua_pushboolean(lua, value->number != 0); return;
	case CDPD_VALUE_NUMBER:
	case CDPD_VALUE_JSON: json_push(lua, value->text.ptr, value->text.len); return;
	case CDPD_VALUE_NONE: lua_pushnil(lua); return;
	}
	lua_pushnil(lua);
}

static void push_field(lua_State *lua, struct lua *self, int path)
{
	struct cdpd_value value;
	int rc = self->host->event_get(self->instance, self->event, path, &value);
	if (rc != CDPD_OK) luaL_error(lua, "the field cannot be read (%d)", rc);
	if (value.kind != CDPD_VALUE_JSON) {
		push_value(lua, &value);
		return;
	}
	/* A table is made once for each event: scripts write event.properties.a and then event.properties.b. */
	if (!self->has_tables) {
		lua_newtable(lua);
		lua_rawseti(lua, LUA_REGISTRYINDEX, self->tables);
		self->has_tables = true;
	}
	lua_rawgeti(lua, LUA_REGISTRYINDEX, self->tables);
	if (lua_rawgeti(lua, -1, path) != LUA_TNIL) return;
	lua_pop(lua, 1);
	push_value(lua, &value);
	lua_pushvalue(lua, -1);
	lua_rawseti(lua, -3, path);
}

static void push_info(lua_State *lua, struct lua *self, const char *key)
{
	struct cdpd_event_info info = {.size = sizeof info};
	if (self->host->event_info(self->instance, self->event, &info) != CDPD_OK)
		lua_pushnil(lua);
	else if (strcmp(key, "time_us") == 0)
		lua_pushinteger(lua, info.time_us);
	else if (strcmp(key, "received_us") == 0)
		lua_pushinteger(lua, info.received_us);
	else if (info.utc_offset_min != 32767)
		lua_pushinteger(lua, info.utc_offset_min);
	else
		lua_pushnil(lua);
}

/* event.userId: the upvalue's table knows the member's path; event[path]: what path() gave. */
static int event_index(lua_State *lua)
{
	struct lua *self = self_of(lua);
	if (!self->event) return luaL_error(lua, "an event lives only while enrich runs");
	if (lua_isinteger(lua, 2)) {
		push_field(lua, self, (int)lua_tointeger(lua, 2));
		return 1;
	}
	const char *key = luaL_checkstring(lua, 2);
	lua_pushvalue(lua, 2);
	if (lua_rawget(lua, lua_upvalueindex(2)) == LUA_TNUMBER) {
		push_field(lua, self, (int)lua_tointeger(lua, -1));
		return 1;
	}
	if (strcmp(key, "time_us") && strcmp(key, "received_us") && strcmp(key, "utc_offset_min"))
		return luaL_error(lua, "an event has no '%s'; path(\"%s\") reads any other field", key, key);
	push_info(lua, self, key);
	return 1;
}

/* event.event = "Order Completed": the one thing of an event that a script may change. */
static int event_newindex(lua_State *lua)
{
	struct lua *self = self_of(lua);
	size_t len;
	const char *key = luaL_checkstring(lua, 2);
	if (strcmp(key, "event") != 0)
		return luaL_error(
		    lua, "only the name of an event is ever changed (event.event): return a table of what to add");
	const char *name = luaL_checklstring(lua, 3, &len);
	if (!self->event) return luaL_error(lua, "an event lives only while enrich runs");
	if (!CDPD_HAS(self->host, event_rename)) return luaL_error(lua, "this cdpd cannot give events another name");
	switch (self->host->event_rename(self->instance, self->event, (struct cdpd_str){name, len})) {
	case CDPD_OK: return 0;
	case CDPD_ERR_UNSUPPORTED:
		return luaL_error(lua, "an isolated script comes too late to give an event another name");
	case CDPD_ERR_TOO_LARGE:
		return luaL_error(lua, "a name has at most 200 bytes, and an event only so many fields");
	case CDPD_ERR_DENIED: return luaL_error(lua, "an event of cdpd's own keeps its name");
	default: return luaL_error(lua, "'%s' cannot be the name of this event: only tracks have one, as text", name);
	}
}

/* path("context.page.url") */
static int add_path(lua_State *lua)
{
	struct lua *self = self_of(lua);
	const char *text = luaL_checkstring(lua, 1);
	if (!self->is_loading) return luaL_error(lua, "path() belongs outside enrich: it is for all events");
	int path = self->host->path(self->instance, text);
	if (path < 0)
		return luaL_error(lua, "'%s' is no path of a field, or there are more than the host has room for",
				  text);
	lua_pushinteger(lua, path);
	return 1;
}

/* return drop("reason") */
static int drop(lua_State *lua)
{
	struct lua *self = self_of(lua);
	size_t len;
	const char *reason = luaL_optlstring(lua, 1, "dropped by a script", &len);
	if (len > REASON_MAX) len = REASON_MAX;
	memcpy(self->reason, reason, len);
	self->reason[len] = 0;
	lua_pushlightuserdata(lua, &drop_mark);
	return 1;
}

/* A script that talks about each event must not fill the disk. */
static bool may_log(struct lua *self)
{
	struct cdpd_event_info info = {.size = sizeof info};
	if (!self->event || self->host->event_info(self->instance, self->event, &info) != CDPD_OK) return true;
	if (info.received_us > self->logged_us) {
		self->log_tokens += (double)(info.received_us - self->logged_us) / (double)SECOND_US;
		if (self->log_tokens > LOG_BURST) self->log_tokens = LOG_BURST;
		self->logged_us = info.received_us;
	}
	if (self->log_tokens < 1) {
		self->host->count(self->instance, self->lines_held_back, 1);
		return false;
	}
	self->log_tokens -= 1;
	return true;
}

static int write_log(lua_State *lua)
{
	struct lua *self = self_of(lua);
	const char *text = luaL_tolstring(lua, 1, NULL);
	if (may_log(self)) self->host->log(self->instance, CDPD_LOG_INFO, "%s", text);
	return 0;
}

static void add_function(lua_State *lua, struct lua *self, const char *name, lua_CFunction fn)
{
	lua_pushlightuserdata(lua, self);
	lua_pushcclosure(lua, fn, 1);
	lua_setglobal(lua, name);
}

static int add_globals(lua_State *lua)
{
	struct lua *self = lua_touserdata(lua, 1);
	add_function(lua, self, "path", add_path);
	add_function(lua, self, "drop", drop);
	add_function(lua, self, "log", write_log);
	lua_newuserdatauv(lua, 0, 0);
	lua_newtable(lua);
	lua_pushlightuserdata(lua, self);
	lua_newtable(lua);
	for (size_t i = 0; i < MEMBERS; i++) {
		int path = self->host->path(self->instance, members[i]);
		if (path < 0) return luaL_error(lua, "no path for '%s'", members[i]);
		lua_pushinteger(lua, path);
		lua_setfield(lua, -2, members[i]);
	}
	lua_pushcclosure(lua, event_index, 2);
	lua_setfield(lua, -2, "__index");
	lua_pushlightuserdata(lua, self);
	lua_pushcclosure(lua, event_newindex, 1);
	lua_setfield(lua, -2, "__newindex");
	lua_pushboolean(lua, 0);
	lua_setfield(lua, -2, "__metatable");
	lua_setmetatable(lua, -2);
	self->object = luaL_ref(lua, LUA_REGISTRYINDEX);
	lua_newtable(lua);
	self->tables = luaL_ref(lua, LUA_REGISTRYINDEX);
	return 0;
}

/* ── one event ───────────────────────────────────────────────────────────── */

struct answer {
	char json[OUTPUT_MAX];
	size_t len;
};

/* Of what the script returned: nothing, a table, or drop's mark. Runs protected: a table may hold what is no JSON. */
static int read_answer(lua_State *lua)
{
	struct answer *answer = lua_touserdata(lua, 2);
	if (!lua_istable(lua, 1))
		return luaL_error(lua, "enrich returned a %s: nothing, a table or drop(…) is wanted",
				  luaL_typename(lua, 1));
	answer->len = json_write(lua, 1, answer->json, sizeof answer->json);
	return 0;
}

static int report(struct lua *self)
{
	if (may_log(self))
		self->host->log(self->instance, CDPD_LOG_WARN, "an event went on without the script's answer (%s)",
				script_error(&self->script));
	lua_settop(self->script.lua, 0);
	return CDPD_ERR_INVALID;
}

static int finish(struct lua *self)
{
	lua_State *lua = self->script.lua;
	if (lua_isnil(lua, -1)) return CDPD_OK;
	if (lua_touserdata(lua, -1) == &drop_mark)
		return self->host->event_drop(self->instance, self->event, self->reason);
	struct answer answer = {.len = 0};
	lua_pushcfunction(lua, read_answer);
	lua_insert(lua, -2);
	lua_pushlightuserdata(lua, &answer);
	if (!script_call(&self->script, 2, 0)) return report(self);
	if (answer.len == 2) return CDPD_OK; /* {} */
	return self->host->event_set_json(self->instance, self->event, self->output,
					  (struct cdpd_str){answer.json, answer.len});
}

static int enrich(void *ctx, struct cdpd_event *event)
{
	struct lua *self = ctx;
	lua_State *lua = self->script.lua;
	self->event = event;
	lua_rawgeti(lua, LUA_REGISTRYINDEX, self->enrich);
	lua_rawgeti(lua, LUA_REGISTRYINDEX, self->object);
	int rc = script_call(&self->script, 1, 1) ? finish(self) : report(self);
	lua_settop(lua, 0);
	self->event = NULL;
	if (self->has_tables) {
		lua_pushnil(lua);
		lua_rawseti(lua, LUA_REGISTRYINDEX, self->tables);
		self->has_tables = false;
	}
	return rc;
}

/* ── loading ─────────────────────────────────────────────────────────────── */

static int refuse(struct lua *self, const char *path, const char *why)
{
	self->host->log(self->instance, CDPD_LOG_ERROR, "script %s: %s", path, why);
	return CDPD_ERR_INVALID;
}

static int read_file(struct lua *self, const char *path, char **text, size_t *len)
{
	struct stat info;
	FILE *file = fopen(path, "re");
	if (!file) return refuse(self, path, strerror(errno));
	if (fstat(fileno(file), &info) || !S_ISREG(info.st_mode) || (size_t)info.st_size > SCRIPT_MAX) {
		fclose(file);
		return refuse(self, path, "no file, or larger than 256 KiB");
	}
	*text = malloc((size_t)info.st_size + 1);
	*len = *text ? fread(*text, 1, (size_t)info.st_size, file) : 0;
	fclose(file);
	return *text ? CDPD_OK : CDPD_ERR_NOMEM;
}

/* "rules/rename-orders.lua" is enrichment.lua.rename_orders: scripts never write over each other. */
static int set_output(struct lua *self, const char *path, struct cdpd_str as)
{
	char output[sizeof "enrichment.lua." + NAME_MAX_LEN] = "enrichment.lua.";
	const char *slash = strrchr(path, '/');
	const char *name = as.len ? as.ptr : slash ? slash + 1 : path;
	size_t len = as.len ? as.len : strcspn(name, "."), at = strlen(output);
	if (len == 0 || len > NAME_MAX_LEN) return refuse(self, path, "its name has no 1 to 64 bytes: say `as`");
	for (size_t i = 0; i < len; i++) {
		char c = name[i];
		bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		output[at + i] = is_word ? c : '_';
	}
	self->output = self->host->path(self->instance, output);
	return self->output < 0 ? refuse(self, path, "no room for its path") : CDPD_OK;
}

static int load(struct lua *self, const char *path, const char *text, size_t len)
{
	lua_State *lua = self->script.lua;
	const char *slash = strrchr(path, '/');
	char name[128];
	snprintf(name, sizeof name, "@%.100s", slash ? slash + 1 : path);
	if (!script_protect(&self->script, add_globals, self)) return refuse(self, path, script_error(&self->script));
	self->is_loading = true;
	bool is_loaded = script_load(&self->script, text, len, name);
	self->is_loading = false;
	if (!is_loaded) return refuse(self, path, script_error(&self->script));
	lua_settop(lua, 0);
	if (lua_getglobal(lua, "enrich") != LUA_TFUNCTION)
		return refuse(self, path, "there is no function enrich(event) in it");
	self->enrich = luaL_ref(lua, LUA_REGISTRYINDEX);
	return CDPD_OK;
}

static int open_script(struct lua *self, const struct cdpd_conf *conf)
{
	struct cdpd_str given = self->host->conf_text(conf, "script");
	size_t memory = (size_t)self->host->conf_int(conf, "memory");
	long instructions = (long)self->host->conf_int(conf, "instructions");
	char path[4096], *text = NULL;
	size_t len = 0;
	if (given.len >= sizeof path) return CDPD_ERR_TOO_LARGE;
	memcpy(path, given.ptr, given.len);
	path[given.len] = 0;
	self->lines_held_back =
	    self->host->counter(self->instance, "lua_lines_held_back_total",
				"Lines of the script that were not logged because there were too many.");
	int rc = set_output(self, path, self->host->conf_text(conf, "as"));
	if (rc == CDPD_OK) rc = read_file(self, path, &text, &len);
	if (rc == CDPD_OK && !script_open(&self->script, memory, instructions))
		rc = refuse(self, path, "the memory it is given does not hold the libraries");
	if (rc == CDPD_OK) rc = load(self, path, text, len);
	free(text);
	return rc;
}

static void destroy(void *ctx)
{
	struct lua *self = ctx;
	script_close(&self->script);
	free(self);
}

static int create(const struct cdpd_host *host, struct cdpd_instance *instance, const struct cdpd_conf *conf,
		  void **out)
{
	struct lua *self = calloc(1, sizeof *self);
	if (!self) return CDPD_ERR_NOMEM;
	self->host = host;
	self->instance = instance;
	self->log_tokens = LOG_BURST;
	int rc = open_script(self, conf);
	if (rc != CDPD_OK) {
		destroy(self);
		return rc;
	}
	*out = self;
	return CDPD_OK;
}

static const char *const needs[] = {"type", "event", "properties", "traits", "context"};
static const char *const provides[] = {"enrichment.lua", "enrichment.renamed_from"};
static const struct cdpd_option options[] = {
    {
	.name = "script",
	.type = CDPD_OPTION_STRING,
	.is_required = true,
	.min = 1,
	.max = 4000,
	.help = "the file; it defines function enrich(event)",
    },
    {
	.name = "as",
	.type = CDPD_OPTION_STRING,
	.max = 64,
	.help = "what it returns is set at enrichment.lua.<as>; the file's name when not given",
    },
    {
	.name = "instructions",
	.type = CDPD_OPTION_INT,
	.default_text = "100000",
	.min = 1000,
	.max = 100000000,
	.help = "of the Lua machine for one event; 64 bytes allocated count as one",
    },
    {
	.name = "memory",
	.type = CDPD_OPTION_SIZE,
	.default_text = "1MiB",
	.min = 131072,
	.max = 1073741824,
	.help = "bytes the script may hold, on each io thread",
    },
};

CDPD_EXPORT const struct cdpd_plugin cdpd_plugin = {
    .size = sizeof cdpd_plugin,
    .abi_major = CDPD_ABI_MAJOR,
    .abi_minor = 0,
    .name = "lua",
    .version = "1.0.0",
    .summary = "a Lua script: an event in, fields to add out; or it is renamed, or refused",
    .caps = CDPD_CAP_ENRICH,
    .needs = {sizeof needs / sizeof needs[0], needs},
    .provides = {sizeof provides / sizeof provides[0], provides},
    .options = {sizeof options[0], sizeof options / sizeof options[0], options},
    .create = create,
    .destroy = destroy,
    .enrich = enrich,
};
