/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements the table `ws` of scripts. The functions in this table, and the methods of
 *  connections, read their arguments and return their results with functions of this file. */

#include <string.h>

#include <apr_strings.h>

#include "script.h"
#include "websocket_parse.h"

/* ---- Arguments and results ---- */

int script_push_status(lua_State *L, ws_status status)
{
    /* "uncertain": it is unknown whether the message was published. "misplaced" is here only for
     * completeness, because scripts cannot send messages in parts or read histories. */
    static const char *const names[] = {
        [-WS_FULL] = "full",           [-WS_GONE] = "gone",
        [-WS_TOO_BIG] = "too big",     [-WS_MISPLACED] = "misplaced",
        [-WS_DROPPED] = "dropped",     [-WS_UNSUPPORTED] = "unsupported",
        [-WS_BAD_NAME] = "bad name",   [-WS_FORBIDDEN] = "forbidden",
        [-WS_LIMIT] = "limit",         [-WS_BAD_TEXT] = "bad text",
        [-WS_UNCERTAIN] = "uncertain",
    };

    if (status >= 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, names[-status]);
    return 2;
}

void script_push_id(lua_State *L, ws_id id)
{
    char text[17];

    apr_snprintf(text, sizeof(text), "%016" APR_UINT64_T_HEX_FMT, id);
    lua_pushstring(L, text);
}

const char *script_check_name(lua_State *L, int index)
{
    size_t len;
    const char *text = luaL_checklstring(L, index, &len);

    luaL_argcheck(L, strlen(text) == len, index, "contains a NUL");
    return text;
}

static void server_check_text(lua_State *L, int index, const char *data, apr_size_t len,
                              ws_type type)
{
    luaL_argcheck(L, type != WS_TEXT || ws_text_prefix(data, len, len) == len, index,
                  "is not UTF-8; send it as \"binary\"");
}

static const char *const server_kinds[] = {"text", "binary", NULL};

const char *script_check_message(lua_State *L, int index, apr_size_t *len, ws_type *type)
{
    const char *data = luaL_checklstring(L, index, len);

    *type = luaL_checkoption(L, index + 1, "text", server_kinds) ? WS_BINARY : WS_TEXT;
    server_check_text(L, index, data, *len, *type);
    return data;
}

ws_log_level script_check_level(lua_State *L, int index)
{
    static const char *const levels[] = {"error", "warn", "info", "debug", "trace", NULL};

    return (ws_log_level)luaL_checkoption(L, index, "info", levels);
}

static ws_id server_check_id(lua_State *L, int index)
{
    const char *text = script_check_name(L, index);
    ws_id id = 0;

    luaL_argcheck(L, ws_parse_id(text, strlen(text), &id), index, "is not the id of a connection");
    return id;
}

/* Get the ws_location of the WebSocketHandler line. @return NULL: the Lua state was created at
 * start-up, only to check the script */
static ws_location *server_here(lua_State *L)
{
    return script_state_in(L)->config->here;
}

/* ---- Publishing ---- */

/* Get a string from the table at `index`, or NULL. The string stays on the stack. */
static const char *server_option(lua_State *L, int index, const char *name)
{
    if (lua_getfield(L, index, name) == LUA_TNIL) {
        lua_pop(L, 1);
        return NULL;
    }
    if (!lua_isstring(L, -1) || strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1)) {
        luaL_error(L, "option %s: expected a string without NUL", name);
    }
    return lua_tostring(L, -1);
}

static ws_type server_read_publication(lua_State *L, int index, ws_id sender, ws_publication *p)
{
    const char *kind, *except;
    lua_Integer ttl;

    luaL_checktype(L, index, LUA_TTABLE);
    kind = server_option(L, index, "kind");
    luaL_argcheck(L, !kind || !strcmp(kind, "text") || !strcmp(kind, "binary"), index,
                  "kind: expected text or binary");
    p->id = server_option(L, index, "id");
    p->key = server_option(L, index, "key");
    p->event = server_option(L, index, "event");
    if (lua_getfield(L, index, "except") == LUA_TBOOLEAN) {
        p->except = lua_toboolean(L, -1) ? sender : 0;
    }
    else if ((except = lua_tostring(L, -1)) != NULL) {
        luaL_argcheck(L, ws_parse_id(except, strlen(except), &p->except), index,
                      "except: expected true or an id");
    }
    if (lua_getfield(L, index, "ttl") != LUA_TNIL) {
        ttl = luaL_checkinteger(L, -1);
        luaL_argcheck(L, ttl >= 0 && ttl <= APR_UINT32_MAX, index, "ttl: out of range");
        p->ttl = (apr_uint32_t)ttl;
    }
    return kind && *kind == 'b' ? WS_BINARY : WS_TEXT;
}

/* Publish a message. The arguments at `first` and after it are channel, data and options. */
int script_publish(lua_State *L, int first, ws_id sender)
{
    const char *channel = script_check_name(L, first);
    size_t len;
    const char *data = luaL_checklstring(L, first + 1, &len);
    ws_publication how = {.size = sizeof(how)};
    ws_type type = WS_TEXT;

    if (!lua_isnoneornil(L, first + 2)) {
        type = server_read_publication(L, first + 2, sender, &how);
    }
    server_check_text(L, first + 1, data, len, type);
    return script_push_status(
        L, server_here(L) ? ws_publish_with(channel, type, data, len, &how, NULL, NULL) : WS_GONE);
}

/* ---- The functions ---- */

static int server_publish(lua_State *L)
{
    return script_publish(L, 1, 0);
}

static int server_broadcast(lua_State *L)
{
    size_t len;
    ws_type type;
    const char *data = script_check_message(L, 1, &len, &type);
    ws_id except = lua_isnoneornil(L, 3) ? 0 : server_check_id(L, 3);
    ws_location *here = server_here(L);

    return script_push_status(L, here ? ws_broadcast_everywhere(here, type, data, len, except)
                                      : WS_GONE);
}

static int server_send(lua_State *L)
{
    size_t len;
    ws_type type;
    ws_id id = server_check_id(L, 1);
    const char *data = script_check_message(L, 2, &len, &type);

    return script_push_status(L,
                              server_here(L) ? ws_send_anywhere(0, id, type, data, len) : WS_GONE);
}

static int server_close(lua_State *L)
{
    ws_id id = server_check_id(L, 1);
    int code = (int)luaL_optinteger(L, 2, WS_CLOSE_NORMAL);
    const char *reason = lua_isnoneornil(L, 3) ? NULL : script_check_name(L, 3);

    return script_push_status(L, server_here(L) ? ws_close_id(id, code, reason) : WS_GONE);
}

static int server_subscribers(lua_State *L)
{
    const char *channel = script_check_name(L, 1);

    lua_pushinteger(L, server_here(L) ? ws_subscribers(channel) : 0);
    return 1;
}

static int server_valid(lua_State *L)
{
    size_t len;
    const char *channel = luaL_checklstring(L, 1, &len);

    lua_pushboolean(L, strlen(channel) == len && ws_channel_valid(channel));
    return 1;
}

static int server_kept(lua_State *L)
{
    const char *channel = script_check_name(L, 1);

    lua_pushboolean(L, server_here(L) && ws_channel_kept(channel));
    return 1;
}

static int server_log(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);

    ws_log(script_check_level(L, 2), "lua: %s", text);
    return 0;
}

static void server_push_values(lua_State *L, const apr_table_t *values)
{
    const apr_array_header_t *all = apr_table_elts(values);

    lua_newtable(L);
    for (int i = 0; i < all->nelts; i++) {
        const apr_table_entry_t *e = &APR_ARRAY_IDX(all, i, apr_table_entry_t);

        lua_pushstring(L, e->val);
        lua_setfield(L, -2, e->key);
    }
}

void script_open_server(lua_State *L, const script_config *config)
{
    static const luaL_Reg functions[] = {{"publish", server_publish},
                                         {"broadcast", server_broadcast},
                                         {"send", server_send},
                                         {"close", server_close},
                                         {"subscribers", server_subscribers},
                                         {"valid", server_valid},
                                         {"kept", server_kept},
                                         {"log", server_log},
                                         {NULL, NULL}};

    luaL_newlib(L, functions);
    server_push_values(L, config->values);
    lua_setfield(L, -2, "config");
    lua_setglobal(L, "ws");
}
