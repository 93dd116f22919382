/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Manages Lua states: their libraries, their owners, and their limits on memory and instructions.
 *  Code that can raise an error runs only inside script_call(). */

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "script.h"

/* The hook runs after this number of instructions. */
#define PERIOD 1000

static const char *const state_names[SCRIPT_FUNCTIONS] = {
    [SCRIPT_OPEN] = "open",       [SCRIPT_MESSAGE] = "message", [SCRIPT_CLOSE] = "close",
    [SCRIPT_CHANNEL] = "channel", [SCRIPT_DRAIN] = "drain",     [SCRIPT_PONG] = "pong",
    [SCRIPT_REQUEST] = "request"};

/* These functions are restricted. The hook does not run inside a finalizer, nor inside xpcall's
 * handler if the hook itself raised the error, so both could loop forever. load() must not accept
 * bytecode, which Lua does not verify. */
static const char state_prelude[] =
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

script_state *script_state_in(lua_State *L)
{
    return *(script_state **)lua_getextraspace(L);
}

/* ---- Limits ---- */

static void *state_allocate(void *arg, void *old, size_t old_size, size_t size)
{
    script_state *s = arg;
    size_t before = old ? old_size : 0; /* Lua passes a type in old_size if `old` is NULL */
    void *new;

    if (size > before && s->used + (size - before) > (apr_size_t)s->config->memory) {
        return NULL;
    }
    new = size ? realloc(old, size) : NULL;
    if (!size) {
        free(old);
    }
    if (new || !size) {
        s->used += size - before;
    }
    return new;
}

/* Once the limit is reached, every further instruction fails, so that a pcall() in the script
 * cannot continue. */
static void state_hook(lua_State *L, lua_Debug *ar)
{
    script_state *s = script_state_in(L);

    (void)ar;
    if (!s->exhausted && (s->budget -= PERIOD) > 0) {
        return;
    }
    s->exhausted = 1;
    lua_sethook(L, state_hook, LUA_MASKCOUNT, 1);
    lua_sethook(s->L, state_hook, LUA_MASKCOUNT, 1);
    luaL_where(L, 0);
    lua_pushfstring(L, "more than %I instructions in one call (instructions=)",
                    (lua_Integer)s->config->instructions);
    lua_concat(L, 2);
    lua_error(L);
}

static int state_traceback(lua_State *L)
{
    const char *text = lua_tostring(L, 1);

    if (!text) {
        text = lua_pushfstring(L, "(the error is a %s)", luaL_typename(L, 1));
    }
    luaL_traceback(L, L, text, 1);
    return 1;
}

static void state_retire(script_state *s)
{
    lua_gc(s->L, LUA_GCCOLLECT);
    if (s->used > (apr_size_t)s->config->memory / 2) {
        s->retired = 1;
    }
}

int script_call(script_state *s, lua_CFunction body, void *arg)
{
    lua_State *L = s->L;
    const char *text;
    int status;

    s->budget = s->config->instructions;
    if (s->exhausted) {
        s->exhausted = 0;
        lua_sethook(L, state_hook, LUA_MASKCOUNT, PERIOD);
    }
    lua_settop(L, 0);
    lua_pushcfunction(L, state_traceback);
    lua_pushcfunction(L, body);
    lua_pushlightuserdata(L, arg);
    status = lua_pcall(L, 1, 0, 1);
    if (status != LUA_OK) {
        text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "unknown error";
        apr_snprintf(s->error, sizeof(s->error), "%s%s", text,
                     status == LUA_ERRMEM ? ": the script's state has reached its limit (memory=)"
                                          : "");
    }
    lua_settop(L, 0);
    if (status == LUA_ERRMEM) {
        state_retire(s);
    }
    return status == LUA_OK ? 0 : -1;
}

void script_log_error(script_state *s, ws_conn *c)
{
    char *last;

    for (char *line = apr_strtok(s->error, "\n", &last); line;
         line = apr_strtok(NULL, "\n", &last)) {
        if (c) {
            ws_conn_log(c, WS_LOG_ERROR, "lua: %s", line);
        }
        else {
            ws_log(WS_LOG_ERROR, "lua: %s: %s", s->config->file, line);
        }
    }
}

/* ---- Creation ---- */

static void state_open_libraries(lua_State *L, unsigned libraries)
{
    static const struct {
        const char *name;
        lua_CFunction open;
        unsigned library; /* 0: always */
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

static void state_run(lua_State *L, const char *source, size_t len, const char *name)
{
    if (luaL_loadbufferx(L, source, len, name, "t") != LUA_OK) {
        lua_error(L);
    }
    lua_call(L, 0, 0);
}

static void state_find_functions(lua_State *L, script_state *s)
{
    for (int i = 0; i < SCRIPT_FUNCTIONS; i++) {
        int type = lua_getglobal(L, state_names[i]);

        if (type == LUA_TFUNCTION) {
            s->functions[i] = luaL_ref(L, LUA_REGISTRYINDEX);
            continue;
        }
        if (type != LUA_TNIL) {
            luaL_error(L, "%s: %s is a %s, not a function", s->config->file, state_names[i],
                       lua_typename(L, type));
        }
        lua_pop(L, 1);
    }
}

void script_new_type(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction index,
                     lua_CFunction newindex)
{
    luaL_newmetatable(L, type);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    if (index) {
        lua_pushcclosure(L, index, 1);
    }
    lua_setfield(L, -2, "__index");
    if (newindex) {
        lua_pushcfunction(L, newindex);
        lua_setfield(L, -2, "__newindex");
    }
    lua_pushboolean(L, 0); /* getmetatable() returns false */
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

static int state_load(lua_State *L)
{
    script_state *s = lua_touserdata(L, 1);
    const script_config *config = s->config;

    state_open_libraries(L, config->libraries);
    script_open_conn(L);
    script_open_request(L);
    script_open_server(L, config);
    state_run(L, state_prelude, sizeof(state_prelude) - 1, "=prelude");
    state_run(L, config->source, config->source_len, lua_pushfstring(L, "@%s", config->file));
    state_find_functions(L, s);
    return 0;
}

script_state *script_state_new(script_config *config, char *error, apr_size_t size)
{
    script_state *s = calloc(1, sizeof(*s));

    apr_cpystrn(error, "out of memory", size);
    if (!s) {
        return NULL;
    }
    s->config = config;
    for (int i = 0; i < SCRIPT_FUNCTIONS; i++) {
        s->functions[i] = LUA_NOREF;
    }
    s->L = lua_newstate(state_allocate, s);
    if (!s->L) {
        free(s);
        return NULL;
    }
    *(script_state **)lua_getextraspace(s->L) = s;
    lua_sethook(s->L, state_hook, LUA_MASKCOUNT, PERIOD);
    if (script_call(s, state_load, s)) {
        apr_cpystrn(error, s->error, size);
        script_state_free(s);
        return NULL;
    }
    return s;
}

void script_state_free(script_state *s)
{
    lua_close(s->L);
    free(s);
}

/* ---- Owners ---- */

static script_state *state_new_logged(script_config *config)
{
    char error[sizeof(((script_state *)0)->error)];
    script_state *s = script_state_new(config, error, sizeof(error));

    if (!s) {
        ws_log(WS_LOG_ERROR, "lua: %s: %s", config->file, error);
    }
    return s;
}

/* Called with the lock held. */
static script_state *state_find(script_config *config)
{
    script_state *s = config->loops;

    while (s && (s->retired || !s->owned || !pthread_equal(s->owner, pthread_self()))) {
        s = s->next;
    }
    return s;
}

script_state *script_state_of_loop(script_config *config)
{
    script_state *s;

    pthread_mutex_lock(&config->lock);
    s = state_find(config);
    pthread_mutex_unlock(&config->lock);
    if (!s && (s = state_new_logged(config)) != NULL) {
        s->owner = pthread_self();
        s->owned = 1;
        pthread_mutex_lock(&config->lock);
        s->next = config->loops;
        config->loops = s;
        pthread_mutex_unlock(&config->lock);
    }
    if (s) {
        s->connections++;
    }
    return s;
}

void script_state_release(script_state *s)
{
    script_config *config = s->config;
    script_state **p = &config->loops;

    if (--s->connections || !s->retired) {
        return;
    }
    pthread_mutex_lock(&config->lock);
    while (*p != s) {
        p = &(*p)->next;
    }
    *p = s->next;
    pthread_mutex_unlock(&config->lock);
    script_state_free(s);
}

script_state *script_state_take(script_config *config)
{
    script_state *s;

    pthread_mutex_lock(&config->lock);
    if ((s = config->idle) != NULL) {
        config->idle = s->next;
    }
    pthread_mutex_unlock(&config->lock);
    return s ? s : state_new_logged(config);
}

void script_state_give(script_state *s)
{
    script_config *config = s->config;

    if (s->retired) {
        script_state_free(s);
        return;
    }
    pthread_mutex_lock(&config->lock);
    s->next = config->idle;
    config->idle = s;
    pthread_mutex_unlock(&config->lock);
}
