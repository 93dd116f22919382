/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements the object r, which represents the handshake and is the argument of the script's
 *  function request(r). r is valid only until request() returns. */

#include <string.h>

#include <httpd.h>
#include <apr_strings.h>

#include "script.h"

#define REQUEST_TYPE "ws.request"

typedef struct request_call {
    ws_request *rq;
    int status;
    int has_body;
} request_call;

typedef struct request_object {
    apr_uint64_t number; /* number of the request, counted in its Lua state */
} request_object;

static request_call *request_at_1(lua_State *L)
{
    const request_object *o = luaL_checkudata(L, 1, REQUEST_TYPE);
    script_state *s = script_state_in(L);

    if (!s->request || o->number != s->requests) {
        luaL_error(L, "request() has already returned");
    }
    return s->request;
}

/* ---- Methods ---- */

static int request_header(lua_State *L)
{
    request_call *call = request_at_1(L);

    lua_pushstring(L, ws_request_header(call->rq, script_check_name(L, 2)));
    return 1;
}

static int request_arg(lua_State *L)
{
    request_call *call = request_at_1(L);

    lua_pushstring(L, ws_request_arg(call->rq, script_check_name(L, 2)));
    return 1;
}

/* Get a cookie. The header has name=value pairs, separated by ";" and a space (RFC 6265, section
 * 4.2.1). */
static int request_cookie(lua_State *L)
{
    request_call *call = request_at_1(L);
    const char *name = script_check_name(L, 2);
    const char *at = ws_request_header(call->rq, "Cookie");
    size_t len = strlen(name), end;

    while (at && *at) {
        at += strspn(at, " \t;");
        end = strcspn(at, ";");
        if (end > len && !strncmp(at, name, len) && at[len] == '=') {
            lua_pushlstring(L, at + len + 1, end - len - 1);
            return 1;
        }
        at += end;
    }
    lua_pushnil(L);
    return 1;
}

static int request_set_header(lua_State *L)
{
    request_call *call = request_at_1(L);
    const char *name = script_check_name(L, 2), *value = script_check_name(L, 3);

    luaL_argcheck(L, ws_request_add_header(call->rq, name, value) == APR_SUCCESS, 2,
                  "is not a header that a script can set, or its value has control characters");
    return 0;
}

/* set_cookie(name, value [, attributes]) */
static int request_set_cookie(lua_State *L)
{
    request_call *call = request_at_1(L);
    const char *name = script_check_name(L, 2), *value = script_check_name(L, 3);
    const char *attributes =
        lua_isnoneornil(L, 4) ? "Path=/; HttpOnly; SameSite=Lax" : script_check_name(L, 4);
    const char *text = lua_pushfstring(L, "%s=%s; %s", name, value, attributes);

    luaL_argcheck(L, *name && !strpbrk(name, "=;, \t\""), 2, "is not a valid name of a cookie");
    luaL_argcheck(L, !strpbrk(value, ";, \t\"\\"), 3,
                  "has characters that are not allowed in a cookie");
    luaL_argcheck(L, ws_request_add_header(call->rq, "Set-Cookie", text) == APR_SUCCESS, 3,
                  "has control characters");
    return 0;
}

/* Select a subprotocol. Lua gets true, or false if the client has not offered it. */
static int request_protocol(lua_State *L)
{
    request_call *call = request_at_1(L);
    const char *name = script_check_name(L, 2);

    lua_pushboolean(L, ws_request_choose_protocol(call->rq, name) == APR_SUCCESS);
    return 1;
}

/* body(text [, type]) */
static int request_body(lua_State *L)
{
    request_call *call = request_at_1(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    const char *type =
        lua_isnoneornil(L, 3) ? "text/plain; charset=utf-8" : script_check_name(L, 3);

    luaL_argcheck(L, ws_request_set_body(call->rq, type, text, len) == APR_SUCCESS, 3,
                  "has control characters");
    call->has_body = 1;
    return 0;
}

/* ---- Fields ---- */

static int request_index(lua_State *L)
{
    request_call *call = request_at_1(L);
    const request_rec *r = ws_request_rec(call->rq);
    const char *name = luaL_checkstring(L, 2);
    const struct {
        const char *name, *value;
    } fields[] = {{"uri", r->uri},
                  {"args", r->args},
                  {"user", r->user},
                  {"peer", r->useragent_ip},
                  {"host", r->hostname},
                  {"location", ws_request_location(call->rq)},
                  {"protocols", ws_request_protocols(call->rq)}};

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
        return 1;
    }
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        if (!strcmp(name, fields[i].name)) {
            lua_pushstring(L, fields[i].value);
            return 1;
        }
    }
    return luaL_error(L, "a request has no field %s", name);
}

/* Handle r.data = TEXT, which becomes c.data. Nothing else is passed from the request's Lua state
 * to that of its connection. */
static int request_newindex(lua_State *L)
{
    request_call *call = request_at_1(L);
    const char *name = luaL_checkstring(L, 2), *text;
    apr_pool_t *pool;
    script_kept *kept;
    size_t len;

    if (strcmp(name, "data")) {
        return luaL_error(L, "%s of a request cannot be set; its field for the script is data",
                          name);
    }
    luaL_argcheck(L, lua_type(L, 3) == LUA_TSTRING, 3, "data: expected a string");
    text = lua_tolstring(L, 3, &len);
    pool = ws_request_pool(call->rq);
    if (!pool) {
        return luaL_error(L, "out of memory");
    }
    kept = apr_palloc(pool, sizeof(*kept) + len);
    kept->len = len;
    memcpy(kept->text, text, len);
    ws_request_set_data(call->rq, kept);
    return 0;
}

/* ---- The call ---- */

/* Process the result of request(). Nothing or true accepts the handshake, false refuses it with
 * 403, and a number is the status. */
static int request_take_status(lua_State *L, const request_call *call)
{
    lua_Integer status;

    if (lua_type(L, -1) != LUA_TNUMBER) {
        luaL_argcheck(L, lua_isnil(L, -1) || lua_isboolean(L, -1), 1,
                      "request() returned neither a boolean nor a status");
        return lua_isboolean(L, -1) && !lua_toboolean(L, -1) ? HTTP_FORBIDDEN : 0;
    }
    status = luaL_checkinteger(L, -1);
    if (status < (call->has_body ? 200 : 300) || status > 599) {
        luaL_error(L, "request() returned %I, not a status from 300 to 599", status);
    }
    return (int)status;
}

static int request_run(lua_State *L)
{
    request_call *call = lua_touserdata(L, 1);
    script_state *s = script_state_in(L);
    request_object *o;

    lua_rawgeti(L, LUA_REGISTRYINDEX, s->functions[SCRIPT_REQUEST]);
    o = lua_newuserdatauv(L, sizeof(*o), 0);
    o->number = s->requests;
    luaL_setmetatable(L, REQUEST_TYPE);
    lua_call(L, 1, 1);
    call->status = request_take_status(L, call);
    return 0;
}

int script_request(script_state *s, ws_request *rq)
{
    request_call call = {.rq = rq};
    int failed;

    s->requests++;
    s->request = &call;
    failed = script_call(s, request_run, &call);
    s->request = NULL;
    if (failed) {
        script_log_error(s, NULL);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return call.status;
}

void script_open_request(lua_State *L)
{
    static const luaL_Reg methods[] = {{"header", request_header},
                                       {"arg", request_arg},
                                       {"cookie", request_cookie},
                                       {"set_header", request_set_header},
                                       {"set_cookie", request_set_cookie},
                                       {"protocol", request_protocol},
                                       {"body", request_body},
                                       {NULL, NULL}};

    script_new_type(L, REQUEST_TYPE, methods, request_index, request_newindex);
}
