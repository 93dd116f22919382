/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Loads a script with its libraries and the functions of this handler. */

#include <string.h>

#include <apr_strings.h>

#include "script.h"

static const char *const load_names[SCRIPT_FUNCTIONS] = {
    [SCRIPT_OPEN] = "open",       [SCRIPT_MESSAGE] = "message", [SCRIPT_CLOSE] = "close",
    [SCRIPT_CHANNEL] = "channel", [SCRIPT_DRAIN] = "drain",     [SCRIPT_PONG] = "pong",
    [SCRIPT_REQUEST] = "request"};

/* Replacements for functions that must be restricted. The hook that limits instructions does not
 * run inside a finalizer. It also does not run inside xpcall's handler if the hook itself raised
 * the error. A finalizer or such a handler could therefore loop forever. load() must not accept
 * bytecode, because Lua does not verify it. */
static const char load_prelude[] =
    "local load0, pcall, set, gc, error = load, pcall, setmetatable, collectgarbage, error\n"
    "local type, rawget, select, concat, log = type, rawget, select, table.concat, ws.log\n"
    "local pack, unpack, tostring, ipairs = table.pack, table.unpack, tostring, ipairs\n"
    "dofile, loadfile = nil, nil\n"
    "function load(chunk, name, mode, ...) return load0(chunk, name, 't', ...) end\n"
    "function collectgarbage(what) return what == 'count' and gc(what) or 0 end\n"
    "function setmetatable(t, meta)\n"
    "  if type(meta) == 'table' and rawget(meta, '__gc') ~= nil then\n"
    "    error('__gc is not available', 2)\n"
    "  end\n"
    "  return set(t, meta)\n"
    "end\n"
    "function xpcall(f, handler, ...)\n"
    "  local result = pack(pcall(f, ...))\n"
    "  if result[1] then return unpack(result, 1, result.n) end\n"
    "  return false, handler(result[2])\n"
    "end\n"
    "function print(...)\n"
    "  local texts = pack(...)\n"
    "  for i = 1, texts.n do texts[i] = tostring(texts[i]) end\n"
    "  log(concat(texts, ' '))\n"
    "end\n";

static void load_open_libraries(lua_State *L, unsigned libraries)
{
    static const struct {
        const char *name;
        lua_CFunction open;
        unsigned library; /* SCRIPT_IO...; 0: always loaded */
    } all[] = {{LUA_GNAME, luaopen_base, 0},
               {LUA_STRLIBNAME, luaopen_string, 0},
               {LUA_TABLIBNAME, luaopen_table, 0},
               {LUA_MATHLIBNAME, luaopen_math, 0},
               {LUA_UTF8LIBNAME, luaopen_utf8, 0},
               {LUA_COLIBNAME, luaopen_coroutine, 0},
               {LUA_IOLIBNAME, luaopen_io, SCRIPT_IO},
               {LUA_OSLIBNAME, luaopen_os, SCRIPT_OS},
               {LUA_LOADLIBNAME, luaopen_package, SCRIPT_PACKAGE}};

    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        if (!all[i].library || (libraries & all[i].library)) {
            luaL_requiref(L, all[i].name, all[i].open, 1);
            lua_pop(L, 1);
        }
    }
}

static void load_run(lua_State *L, const char *source, size_t len, const char *name)
{
    if (luaL_loadbufferx(L, source, len, name, "t") != LUA_OK) {
        lua_error(L);
    }
    lua_call(L, 0, 0);
}

static void load_find_functions(lua_State *L, script_state *s)
{
    for (int i = 0; i < SCRIPT_FUNCTIONS; i++) {
        int type = lua_getglobal(L, load_names[i]);

        if (type == LUA_TFUNCTION) {
            s->functions[i] = luaL_ref(L, LUA_REGISTRYINDEX);
            continue;
        }
        if (type != LUA_TNIL) {
            luaL_error(L, "%s: %s is a %s, not a function", s->config->file, load_names[i],
                       lua_typename(L, type));
        }
        lua_pop(L, 1);
    }
}

static int load_all(lua_State *L)
{
    script_state *s = lua_touserdata(L, 1);
    const script_config *config = s->config;

    load_open_libraries(L, config->libraries);
    script_open_conn(L);
    script_open_request(L);
    script_open_server(L, config);
    load_run(L, load_prelude, sizeof(load_prelude) - 1, "=prelude");
    load_run(L, config->source, config->source_len, lua_pushfstring(L, "@%s", config->file));
    load_find_functions(L, s);
    return 0;
}

script_state *script_state_new(script_config *config, char *error, apr_size_t size)
{
    script_state *s = script_state_empty(config);

    apr_cpystrn(error, s ? "" : "out of memory", size);
    if (s && script_call(s, load_all, s)) {
        apr_cpystrn(error, s->error, size);
        script_state_free(s);
        return NULL;
    }
    return s;
}
