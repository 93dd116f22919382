/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Runs Lua scripts as handlers.
 *
 *     WebSocketHandler ws_lua.so script=FILE
 *
 * docs/lua.md describes the keys, and the functions that scripts define and call.
 */

#include "script.h"

/* The arguments of a script's callback that follow the connection. */
typedef struct lua_arguments {
    script_conn *lc;
    ws_conn *c; /* connection, only for SCRIPT_OPEN */
    script_function function;
    const char *data;
    apr_size_t len;
    int number; /* type of a message, or code of a Close frame */
    const ws_event *event;
    int form; /* the result of SCRIPT_CHANNEL */
} lua_arguments;

/* ---- Inside a protected call ---- */

/* Process the result of channel(). A string replaces the message, and false means that nothing is
 * sent. */
static void lua_take_decision(lua_State *L, lua_arguments *a)
{
    apr_size_t len;
    const char *text;
    int type = lua_type(L, -1);

    a->form = a->event->kind == WS_EVENT_MESSAGE ? WS_FORM_AS_IS : WS_FORM_NONE;
    if (type == LUA_TSTRING) {
        text = lua_tolstring(L, -1, &len);
        if (ws_text_prefix(text, len, len) != len) {
            luaL_error(L, "channel() has returned a text that is not UTF-8");
        }
        ws_send(a->lc->c, WS_TEXT, text, len);
    }
    if (type == LUA_TSTRING || (type == LUA_TBOOLEAN && !lua_toboolean(L, -1))) {
        a->form = WS_FORM_NONE;
    }
}

/* Push the arguments that follow the connection. @return their number */
static int lua_push_arguments(lua_State *L, const lua_arguments *a)
{
    switch (a->function) {
    case SCRIPT_MESSAGE:
        lua_pushlstring(L, a->data, a->len);
        lua_pushstring(L, a->number == WS_TEXT ? "text" : "binary");
        return 2;
    case SCRIPT_CLOSE:
        lua_pushinteger(L, a->number);
        lua_pushlstring(L, a->data ? a->data : "", a->len);
        return 2;
    case SCRIPT_PONG:
        lua_pushlstring(L, a->data ? a->data : "", a->len);
        return 1;
    case SCRIPT_CHANNEL:
        script_push_event(L, a->event);
        return 1;
    default:
        return 0;
    }
}

static int lua_body(lua_State *L)
{
    lua_arguments *a = lua_touserdata(L, 1);
    script_state *s = a->lc->state;

    lua_rawgeti(L, LUA_REGISTRYINDEX, s->functions[a->function]);
    script_push_conn(L, a->lc);
    lua_call(L, 1 + lua_push_arguments(L, a), a->function == SCRIPT_CHANNEL);
    if (a->function == SCRIPT_CHANNEL) {
        lua_take_decision(L, a);
    }
    return 0;
}

static int lua_new_body(lua_State *L)
{
    lua_arguments *a = lua_touserdata(L, 1);
    script_state *s = script_state_in(L);
    script_kept *kept = ws_data(a->c);

    a->lc = script_push_new_conn(L, a->c);
    if (kept) {
        lua_pushlstring(L, kept->text, kept->len);
        lua_setiuservalue(L, -2, 1);
    }
    a->lc->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    /* From now on, on_close releases the connection object, even if the script fails. */
    s->connections++;
    ws_set_data(a->c, a->lc);
    return 0;
}

static int lua_release_body(lua_State *L)
{
    script_release_conn(L, lua_touserdata(L, 1));
    return 0;
}

/* ---- Callbacks ---- */

static void lua_run(ws_conn *c, lua_arguments *a)
{
    script_state *s = a->lc->state;

    if (s->functions[a->function] == LUA_NOREF || !script_call(s, lua_body, a)) {
        return;
    }
    script_log_error(s, c);
    a->form = WS_FORM_NONE;
    ws_close(c, WS_CLOSE_INTERNAL, NULL);
}

static void lua_on_open(ws_conn *c)
{
    script_state *s = script_state_of_loop(ws_config(c));
    lua_arguments a = {.c = c, .function = SCRIPT_OPEN};

    if (!s || script_call(s, lua_new_body, &a)) {
        ws_set_data(c, NULL);
        ws_close(c, WS_CLOSE_INTERNAL, NULL);
        if (s) {
            script_log_error(s, c);
        }
    }
    else {
        lua_run(c, &a);
    }
    if (s) {
        script_state_release(s);
    }
}

static void lua_on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    lua_arguments a = {.lc = ws_data(c),
                       .function = SCRIPT_MESSAGE,
                       .data = data,
                       .len = len,
                       .number = (int)type};

    if (a.lc) {
        lua_run(c, &a);
    }
}

static void lua_on_pong(ws_conn *c, const char *data, apr_size_t len)
{
    lua_arguments a = {.lc = ws_data(c), .function = SCRIPT_PONG, .data = data, .len = len};

    if (a.lc) {
        lua_run(c, &a);
    }
}

static void lua_on_drain(ws_conn *c)
{
    lua_arguments a = {.lc = ws_data(c), .function = SCRIPT_DRAIN};

    if (a.lc) {
        lua_run(c, &a);
    }
}

static int lua_on_channel(ws_conn *c, const ws_event *event)
{
    const script_config *config = ws_config(c);
    lua_arguments a = {.lc = ws_data(c), .function = SCRIPT_CHANNEL, .event = event};

    if (!config->defined[SCRIPT_CHANNEL]) {
        return event->kind == WS_EVENT_MESSAGE ? WS_FORM_AS_IS : WS_FORM_NONE;
    }
    if (a.lc) {
        lua_run(c, &a);
    }
    return a.form;
}

static void lua_on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    lua_arguments a = {
        .lc = ws_data(c), .function = SCRIPT_CLOSE, .data = reason, .len = len, .number = code};
    script_state *s;

    if (!a.lc) {
        return;
    }
    s = a.lc->state;
    lua_run(c, &a);
    if (script_call(s, lua_release_body, a.lc)) {
        script_log_error(s, c);
    }
    script_state_release(s);
}

static int lua_on_request(ws_request *rq, void *data)
{
    script_config *config = data;
    script_state *s;
    int status;

    if (!config->defined[SCRIPT_REQUEST]) {
        return 0;
    }
    s = script_state_take(config);
    if (!s) {
        return 503;
    }
    status = script_request(s, rq);
    script_state_give(s);
    return status;
}

static apr_status_t lua_start(apr_pool_t *pchild, void *data, ws_location *here)
{
    script_config *config = data;

    (void)pchild;
    config->here = here;
    config->loops = config->idle = NULL;
    return APR_SUCCESS;
}

static void lua_free_states(script_state **list)
{
    while (*list) {
        script_state *s = *list;

        *list = s->next;
        script_state_free(s);
    }
}

static void lua_stop(void *data)
{
    script_config *config = data;

    lua_free_states(&config->loops);
    lua_free_states(&config->idle);
}

WS_HANDLER(lua) = {.configure = script_configure,
                   .repeatable_keys = "",
                   .start = lua_start,
                   .stop = lua_stop,
                   .on_request = lua_on_request,
                   .on_open = lua_on_open,
                   .on_message = lua_on_message,
                   .on_pong = lua_on_pong,
                   .on_drain = lua_on_drain,
                   .on_close = lua_on_close,
                   .on_channel = lua_on_channel};
