/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Creates Lua states, and limits their memory and instructions. Code that can raise an error runs
 *  only inside script_call(). */

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "script.h"

/* The number of instructions after which the hook runs. */
#define PERIOD 1000

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

/* Count instructions. After the limit has been reached, every further instruction fails, so that a
 * script cannot continue after a pcall(). */
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
    lua_pushboolean(L, 0); /* so getmetatable() returns false */
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

/* ---- Life ---- */

script_state *script_state_empty(script_config *config)
{
    script_state *s = calloc(1, sizeof(*s));

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
    return s;
}

void script_state_free(script_state *s)
{
    lua_close(s->L);
    free(s);
}
