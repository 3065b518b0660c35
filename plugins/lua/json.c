/* Between JSON and Lua values. The host hands in checked, minified JSON, so the reader only has to keep its bounds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

#define READ_DEPTH  32
#define WRITE_DEPTH 16
#define ARRAY_NAME  "cdpd.array"

static char null_address;

static void push_null(lua_State *lua)
{
	lua_pushlightuserdata(lua, &null_address);
}

/* ── reading ─────────────────────────────────────────────────────────────── */

struct reader {
	lua_State *lua;
	const char *at, *end;
};

static void read_value(struct reader *in, int depth);

static int fail(struct reader *in)
{
	return luaL_error(in->lua, "not JSON");
}

static bool skip(struct reader *in, char c)
{
	if (in->at == in->end || *in->at != c) return false;
	in->at++;
	return true;
}

static unsigned hex4(struct reader *in)
{
	unsigned code = 0;
	if (in->end - in->at < 4) fail(in);
	for (int i = 0; i < 4; i++) {
		char c = *in->at++;
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
				 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
							: 16;
		if (digit == 16) fail(in);
		code = code * 16 + digit;
	}
	return code;
}

static void add_escape(struct reader *in, luaL_Buffer *buf)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (in->at == in->end) fail(in);
	char c = *in->at++;
	const char *simple = c ? strchr(from, c) : NULL;
	if (simple) {
		luaL_addchar(buf, to[simple - from]);
		return;
	}
	if (c != 'u') fail(in);
	unsigned long code = hex4(in);
	if (code >= 0xd800 && code < 0xdc00 && in->end - in->at >= 6 && in->at[0] == '\\' && in->at[1] == 'u') {
		in->at += 2;
		code = 0x10000 + ((code - 0xd800) << 10) + ((hex4(in) - 0xdc00) & 0x3ff);
	}
	char text[4] = {(char)code};
	int len = 1;
	if (code >= 0x10000) {
		len = 4;
		text[0] = (char)(0xf0 | (code >> 18));
		text[1] = (char)(0x80 | ((code >> 12) & 0x3f));
		text[2] = (char)(0x80 | ((code >> 6) & 0x3f));
		text[3] = (char)(0x80 | (code & 0x3f));
	} else if (code >= 0x800) {
		len = 3;
		text[0] = (char)(0xe0 | (code >> 12));
		text[1] = (char)(0x80 | ((code >> 6) & 0x3f));
		text[2] = (char)(0x80 | (code & 0x3f));
	} else if (code >= 0x80) {
		len = 2;
		text[0] = (char)(0xc0 | (code >> 6));
		text[1] = (char)(0x80 | (code & 0x3f));
	}
	luaL_addlstring(buf, text, (size_t)len);
}

static void read_string(struct reader *in)
{
	const char *from = in->at;
	while (in->at < in->end && *in->at != '"' && *in->at != '\\') in->at++;
	if (in->at < in->end && *in->at == '"') { /* nothing to unescape: the usual case */
		lua_pushlstring(in->lua, from, (size_t)(in->at - from));
		in->at++;
		return;
	}
	luaL_Buffer buf;
	luaL_buffinit(in->lua, &buf);
	luaL_addlstring(&buf, from, (size_t)(in->at - from));
	while (!skip(in, '"')) {
		if (in->at == in->end) fail(in);
		if (skip(in, '\\'))
			add_escape(in, &buf);
		else
			luaL_addchar(&buf, *in->at++);
	}
	luaL_pushresult(&buf);
}

static void read_number(struct reader *in)
{
	char text[64];
	size_t len = 0;
	while (in->at < in->end && len < sizeof text - 1 && *in->at && strchr("+-0123456789.eE", *in->at))
		text[len++] = *in->at++;
	text[len] = 0;
	if (len == 0 || lua_stringtonumber(in->lua, text) == 0) fail(in);
}

static void read_object(struct reader *in, int depth)
{
	lua_newtable(in->lua);
	if (skip(in, '}')) return;
	do {
		if (!skip(in, '"')) fail(in);
		read_string(in);
		if (!skip(in, ':')) fail(in);
		read_value(in, depth);
		if (lua_touserdata(in->lua, -1) == &null_address)
			lua_pop(in->lua, 2);
		else
			lua_rawset(in->lua, -3);
	} while (skip(in, ','));
	if (!skip(in, '}')) fail(in);
}

static void read_array(struct reader *in, int depth)
{
	lua_newtable(in->lua);
	luaL_setmetatable(in->lua, ARRAY_NAME);
	if (skip(in, ']')) return;
	lua_Integer count = 0;
	do {
		read_value(in, depth);
		lua_rawseti(in->lua, -2, ++count);
	} while (skip(in, ','));
	if (!skip(in, ']')) fail(in);
}

static bool skip_word(struct reader *in, const char *word)
{
	size_t len = strlen(word);
	if ((size_t)(in->end - in->at) < len || memcmp(in->at, word, len) != 0) return false;
	in->at += len;
	return true;
}

static void read_value(struct reader *in, int depth)
{
	if (depth == READ_DEPTH) luaL_error(in->lua, "more than %d levels", READ_DEPTH);
	luaL_checkstack(in->lua, 4, "nesting");
	if (skip(in, '{'))
		read_object(in, depth + 1);
	else if (skip(in, '['))
		read_array(in, depth + 1);
	else if (skip(in, '"'))
		read_string(in);
	else if (skip_word(in, "true"))
		lua_pushboolean(in->lua, 1);
	else if (skip_word(in, "false"))
		lua_pushboolean(in->lua, 0);
	else if (skip_word(in, "null"))
		push_null(in->lua);
	else
		read_number(in);
}

void json_push(lua_State *lua, const char *text, size_t len)
{
	struct reader in = {lua, text, text + len};
	read_value(&in, 0);
}

/* ── writing ─────────────────────────────────────────────────────────────── */

struct writer {
	lua_State *lua;
	char *bytes;
	size_t len, size;
};

static void write_value(struct writer *out, int index, int depth);

static void put(struct writer *out, const char *text, size_t len)
{
	if (len > out->size - out->len) luaL_error(out->lua, "more than %d bytes of JSON", (int)out->size);
	memcpy(out->bytes + out->len, text, len);
	out->len += len;
}

static void write_string(struct writer *out, int index)
{
	size_t len;
	const char *text = lua_tolstring(out->lua, index, &len);
	put(out, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		char escape[8];
		if (c == '"' || c == '\\') put(out, "\\", 1);
		if (c < 0x20)
			put(out, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
		else
			put(out, text + i, 1);
	}
	put(out, "\"", 1);
}

static void write_number(struct writer *out, int index)
{
	char text[40];
	double number = lua_tonumber(out->lua, index);
	if (!isfinite(number)) luaL_error(out->lua, "a number that is not finite cannot be stored");
	int len = lua_isinteger(out->lua, index)
		      ? snprintf(text, sizeof text, "%lld", (long long)lua_tointeger(out->lua, index))
		      : snprintf(text, sizeof text, "%.17g", number);
	put(out, text, (size_t)len);
}

static bool is_array(lua_State *lua, int index)
{
	if (lua_rawlen(lua, index) > 0) return true;
	if (!lua_getmetatable(lua, index)) return false;
	luaL_getmetatable(lua, ARRAY_NAME);
	bool is_same = lua_rawequal(lua, -1, -2);
	lua_pop(lua, 2);
	return is_same;
}

static void write_array(struct writer *out, int index, int depth)
{
	lua_Integer count = (lua_Integer)lua_rawlen(out->lua, index);
	put(out, "[", 1);
	for (lua_Integer i = 1; i <= count; i++) {
		if (i > 1) put(out, ",", 1);
		lua_rawgeti(out->lua, index, i);
		write_value(out, lua_gettop(out->lua), depth);
		lua_pop(out->lua, 1);
	}
	put(out, "]", 1);
}

static void write_object(struct writer *out, int index, int depth)
{
	size_t begin = out->len + 1;
	put(out, "{", 1);
	lua_pushnil(out->lua);
	while (lua_next(out->lua, index)) {
		int value = lua_gettop(out->lua);
		if (lua_type(out->lua, value - 1) != LUA_TSTRING)
			luaL_error(out->lua, "a table with a key that is no text cannot be stored");
		if (out->len > begin) put(out, ",", 1);
		write_string(out, value - 1);
		put(out, ":", 1);
		write_value(out, value, depth);
		lua_pop(out->lua, 1);
	}
	put(out, "}", 1);
}

static void write_value(struct writer *out, int index, int depth)
{
	lua_State *lua = out->lua;
	luaL_checkstack(lua, 6, "nesting");
	switch (lua_type(lua, index)) {
	case LUA_TSTRING: write_string(out, index); return;
	case LUA_TNUMBER: write_number(out, index); return;
	case LUA_TBOOLEAN:
		put(out, lua_toboolean(lua, index) ? "true" : "false", lua_toboolean(lua, index) ? 4 : 5);
		return;
	case LUA_TTABLE:
		if (depth == WRITE_DEPTH) luaL_error(lua, "more than %d levels", WRITE_DEPTH);
		if (is_array(lua, index))
			write_array(out, index, depth + 1);
		else
			write_object(out, index, depth + 1);
		return;
	default:
		if (lua_touserdata(lua, index) != &null_address)
			luaL_error(lua, "a %s cannot be stored", luaL_typename(lua, index));
		put(out, "null", 4);
	}
}

size_t json_write(lua_State *lua, int index, char *bytes, size_t size)
{
	struct writer out = {lua, bytes, 0, size};
	write_value(&out, lua_absindex(lua, index), 0);
	return out.len;
}

/* ── globals ─────────────────────────────────────────────────────────────── */

static int mark_array(lua_State *lua)
{
	luaL_checktype(lua, 1, LUA_TTABLE);
	lua_settop(lua, 1);
	luaL_setmetatable(lua, ARRAY_NAME);
	return 1;
}

void json_add_globals(lua_State *lua)
{
	luaL_newmetatable(lua, ARRAY_NAME);
	lua_pop(lua, 1);
	push_null(lua);
	lua_setglobal(lua, "null");
	lua_pushcfunction(lua, mark_array);
	lua_setglobal(lua, "array");
}
