/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Implements the connection objects of scripts. A script may keep an object after its connection
 *  has ended. Then the object's methods return nil and "gone". */

#include <string.h>

#include <apr_strings.h>

#include "script.h"

#define CONN_TYPE "ws.connection"
#define TIMER_TYPE "ws.timer"

typedef struct script_timer {
    script_conn *lc;
    ws_timer *timer; /* NULL: the timer has ended */
    int ref;
    int once;
    struct script_timer *next, **back;
} script_timer;

static script_conn *conn_at_1(lua_State *L)
{
    return luaL_checkudata(L, 1, CONN_TYPE);
}

/* ---- Sending and closing ---- */

static int conn_send(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;
    size_t len;
    ws_type type;
    const char *data = script_check_message(L, 2, &len, &type);

    return script_push_status(L, c ? ws_send(c, type, data, len) : WS_GONE);
}

static int conn_ping(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;
    size_t len;
    const char *data = luaL_optlstring(L, 2, "", &len);

    return script_push_status(L, c ? ws_ping(c, data, len) : WS_GONE);
}

static int conn_close(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;
    lua_Integer code = luaL_optinteger(L, 2, WS_CLOSE_NORMAL);
    size_t len;
    const char *reason = luaL_optlstring(L, 3, "", &len);

    luaL_argcheck(L, code >= 1000 && code <= 4999, 2, "expected a code from 1000 to 4999");
    luaL_argcheck(L, strlen(reason) == len && ws_text_prefix(reason, len, len) == len, 3,
                  "is not UTF-8, or contains a NUL");
    return script_push_status(L, c ? ws_close(c, (int)code, reason) : WS_GONE);
}

static int conn_abort(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;

    return script_push_status(L, c ? ws_abort(c) : WS_GONE);
}

static int conn_queued(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;

    lua_pushinteger(L, c ? (lua_Integer)ws_queued(c) : 0);
    return 1;
}

static int conn_pause(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;

    if (c) {
        ws_pause(c);
    }
    return 0;
}

static int conn_resume(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;

    if (c) {
        ws_resume(c);
    }
    return 0;
}

/* ---- Channels ---- */

/* Get a boolean field of the table at stack index 3. */
static unsigned conn_flag(lua_State *L, const char *name, unsigned flag)
{
    unsigned set;

    lua_getfield(L, 3, name);
    set = lua_toboolean(L, -1) ? flag : 0;
    lua_pop(L, 1);
    return set;
}

static void conn_read_after(lua_State *L, ws_subscription *how)
{
    if (lua_getfield(L, 3, "after") == LUA_TTABLE) {
        how->flags |= WS_RESUME;
        lua_getfield(L, -1, "epoch");
        lua_getfield(L, -2, "offset");
        how->after.epoch = (apr_uint64_t)luaL_checkinteger(L, -2);
        how->after.offset = (apr_uint64_t)luaL_checkinteger(L, -1);
    }
    else if (!lua_isnil(L, -1)) {
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING && !strcmp(lua_tostring(L, -1), "all"), 3,
                      "after: expected \"all\", or a table with epoch and offset");
        how->flags |= WS_RESUME;
    }
}

/* Read the options of subscribe(). The strings stay on the Lua stack, so that they stay valid. */
static void conn_read_subscription(lua_State *L, ws_subscription *how)
{
    lua_Integer last;

    luaL_checktype(L, 3, LUA_TTABLE);
    how->flags |= conn_flag(L, "watch", WS_WATCH) | conn_flag(L, "snapshot", WS_SNAPSHOT)
                  | conn_flag(L, "change", WS_CHANGE);
    conn_read_after(L, how);
    if (lua_getfield(L, 3, "last") != LUA_TNIL) {
        last = luaL_checkinteger(L, -1);
        luaL_argcheck(L, last > 0 && last <= APR_INT32_MAX && !(how->flags & WS_RESUME), 3,
                      "last: expected a number, at least 1, without after");
        how->flags |= WS_RESUME_LAST;
        how->last = (apr_uint32_t)last;
    }
    if (lua_getfield(L, 3, "member") != LUA_TNIL) {
        how->flags |= WS_MEMBER;
        how->member = luaL_checklstring(L, -1, &how->member_len);
    }
}

static int conn_subscribe(lua_State *L)
{
    script_conn *lc = conn_at_1(L);
    const char *channel = script_check_name(L, 2);
    ws_subscription how = {.flags = 0};

    if (!lua_isnoneornil(L, 3)) {
        conn_read_subscription(L, &how);
    }
    if (!lc->state->config->defined[SCRIPT_CHANNEL]) {
        how.flags |= WS_AS_PUBLISHED;
    }
    return script_push_status(L, lc->c ? ws_subscribe(lc->c, channel, &how) : WS_GONE);
}

static int conn_unsubscribe(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;
    const char *channel = script_check_name(L, 2);

    return script_push_status(L, c ? ws_unsubscribe(c, channel) : WS_GONE);
}

/* Publish on behalf of the connection's client, so WebSocketPublish applies. */
static int conn_publish(lua_State *L)
{
    script_conn *lc = conn_at_1(L);
    const char *channel = script_check_name(L, 2);

    if (lc->c && !ws_may(lc->c, WS_MAY_PUBLISH, channel)) {
        return script_push_status(L, WS_FORBIDDEN);
    }
    return script_publish(L, 2, lc->id);
}

static int conn_may(lua_State *L)
{
    static const char *const actions[] = {"subscribe", "publish", NULL};
    ws_conn *c = conn_at_1(L)->c;
    ws_action action = luaL_checkoption(L, 2, NULL, actions) ? WS_MAY_PUBLISH : WS_MAY_SUBSCRIBE;
    const char *channel = script_check_name(L, 3);
    int may = c ? ws_may(c, action, channel) : 0;

    if (may < 0) {
        lua_pushnil(L);
    }
    else {
        lua_pushboolean(L, may);
    }
    return 1;
}

typedef struct conn_names {
    char *to; /* buffer for the names; NULL: only count them */
    apr_size_t size, count;
} conn_names;

static void conn_take_name(const char *channel, void *arg)
{
    conn_names *names = arg;
    apr_size_t size = strlen(channel) + 1;

    if (names->to) {
        memcpy(names->to + names->size, channel, size);
    }
    names->size += size;
    names->count++;
}

/* Return a table of the channels. Copy the names before pushing them, since a Lua error must not
 * unwind the module's iteration. */
static int conn_subscriptions(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;
    conn_names names = {NULL, 0, 0};
    const char *at;

    if (c) {
        ws_subscriptions_of(c, conn_take_name, &names);
    }
    at = names.to = lua_newuserdatauv(L, names.size + 1, 0);
    names.size = names.count = 0;
    if (c) {
        ws_subscriptions_of(c, conn_take_name, &names);
    }
    lua_newtable(L);
    for (apr_size_t i = 1; i <= names.count; i++, at += strlen(at) + 1) {
        lua_pushstring(L, at);
        lua_rawseti(L, -2, (lua_Integer)i);
    }
    return 1;
}

static void conn_set_string(lua_State *L, const char *name, const char *value)
{
    if (value) {
        lua_pushstring(L, value);
        lua_setfield(L, -2, name);
    }
}

void script_push_event(lua_State *L, const ws_event *e)
{
    static const char *const kinds[] = {
        [WS_EVENT_MESSAGE] = "message", [WS_EVENT_LIVE] = "live",   [WS_EVENT_GAP] = "gap",
        [WS_EVENT_JOIN] = "join",       [WS_EVENT_LEAVE] = "leave", [WS_EVENT_MEMBERS] = "members"};

    lua_createtable(L, 0, 10);
    conn_set_string(L, "kind", kinds[e->kind]);
    conn_set_string(L, "channel", e->channel);
    conn_set_string(L, "wildcard", e->wildcard);
    conn_set_string(L, "user", e->user);
    conn_set_string(L, "event", e->event);
    conn_set_string(L, "key", e->key);
    if (e->data) {
        lua_pushlstring(L, e->data, e->len);
        lua_setfield(L, -2, "data");
    }
    if (e->kind == WS_EVENT_MESSAGE) {
        conn_set_string(L, "type", e->type == WS_TEXT ? "text" : "binary");
    }
    if (e->id) {
        script_push_id(L, e->id);
        lua_setfield(L, -2, "id");
    }
    if (e->position.epoch) {
        lua_pushinteger(L, (lua_Integer)e->position.epoch);
        lua_setfield(L, -2, "epoch");
        lua_pushinteger(L, (lua_Integer)e->position.offset);
        lua_setfield(L, -2, "offset");
    }
}

/* ---- Timers ---- */

static void timer_unlink(lua_State *L, script_timer *t)
{
    *t->back = t->next;
    if (t->next) {
        t->next->back = t->back;
    }
    t->timer = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, t->ref);
}

static int timer_body(lua_State *L)
{
    script_timer *t = lua_touserdata(L, 1);
    script_conn *lc = t->lc;

    lua_rawgeti(L, LUA_REGISTRYINDEX, t->ref);
    lua_getiuservalue(L, -1, 1);
    script_push_conn(L, lc);
    lua_pushvalue(L, -3);
    if (t->once) {
        timer_unlink(L, t);
    }
    lua_call(L, 2, 0);
    return 0;
}

static void timer_fire(ws_conn *c, void *arg)
{
    script_timer *t = arg;
    script_state *s = t->lc->state;

    if (script_call(s, timer_body, t)) {
        script_log_error(s, c);
        ws_close(c, WS_CLOSE_INTERNAL, NULL);
    }
}

static apr_uint32_t timer_check_ms(lua_State *L, int index, lua_Integer least)
{
    lua_Integer ms = luaL_checkinteger(L, index);

    luaL_argcheck(L, (ms == 0 && index == 4) || (ms >= least && ms <= (lua_Integer)1 << 31), index,
                  "expected milliseconds");
    return (apr_uint32_t)ms;
}

/* c:timer(delay, fn [, interval]) */
static int conn_timer(lua_State *L)
{
    script_conn *lc = conn_at_1(L);
    apr_uint32_t delay = timer_check_ms(L, 2, 0);
    apr_uint32_t interval = lua_isnoneornil(L, 4) ? 0 : timer_check_ms(L, 4, 10);
    script_timer *t;

    luaL_checktype(L, 3, LUA_TFUNCTION);
    t = lua_newuserdatauv(L, sizeof(*t), 1);
    memset(t, 0, sizeof(*t));
    luaL_setmetatable(L, TIMER_TYPE);
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, -2, 1);
    t->lc = lc;
    t->once = !interval;
    lua_pushvalue(L, -1);
    t->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    t->timer = lc->c ? ws_timer_start(lc->c, delay, interval, timer_fire, t) : NULL;
    if (!t->timer) {
        luaL_unref(L, LUA_REGISTRYINDEX, t->ref);
        return script_push_status(L, WS_GONE);
    }
    if ((t->next = lc->timers) != NULL) {
        t->next->back = &t->next;
    }
    t->back = &lc->timers;
    lc->timers = t;
    return 1;
}

static int timer_stop(lua_State *L)
{
    script_timer *t = luaL_checkudata(L, 1, TIMER_TYPE);

    if (t->timer) {
        ws_timer_stop(t->lc->c, t->timer);
        timer_unlink(L, t);
    }
    return 0;
}

/* ---- Properties ---- */

static int conn_id(lua_State *L)
{
    script_push_id(L, conn_at_1(L)->id);
    return 1;
}

static int conn_arg(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;
    const char *name = script_check_name(L, 2);
    apr_size_t size = c && ws_args(c) ? strlen(ws_args(c)) + 1 : 1;
    char *value = lua_newuserdatauv(L, size, 0);

    if (c && ws_arg(c, name, value, size) == 1) {
        lua_pushstring(L, value);
    }
    else {
        lua_pushnil(L);
    }
    return 1;
}

static int conn_log(lua_State *L)
{
    ws_conn *c = conn_at_1(L)->c;
    const char *text = luaL_checkstring(L, 2);
    ws_log_level level = script_check_level(L, 3);

    if (c) {
        ws_conn_log(c, level, "lua: %s", text);
    }
    return 0;
}

static int conn_push_state(lua_State *L, ws_conn *c)
{
    static const char *const states[] = {"open", "closing", "closed"};

    lua_pushstring(L, states[c ? ws_conn_state(c) - WS_OPEN : WS_CLOSED - WS_OPEN]);
    return 1;
}

/* Push the string of the field `name`. @return 1; 0: the field does not exist, and nothing was
 * pushed */
static int conn_push_text(lua_State *L, const ws_conn *c, const char *name)
{
    static const struct {
        const char *name;
        const char *(*get)(const ws_conn *c);
    } texts[] = {{"user", ws_user},
                 {"uri", ws_uri},
                 {"args", ws_args},
                 {"peer", ws_peer},
                 {"vhost", ws_vhost},
                 {"protocol", ws_protocol},
                 {"transport", ws_transport_name}};

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (!strcmp(name, texts[i].name)) {
            lua_pushstring(L, c ? texts[i].get(c) : NULL);
            return 1;
        }
    }
    return 0;
}

static int conn_index(lua_State *L)
{
    script_conn *lc = conn_at_1(L);
    const char *name;

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
        return 1;
    }
    name = luaL_checkstring(L, 2);
    if (!strcmp(name, "data")) {
        lua_getiuservalue(L, 1, 1);
    }
    else if (!strcmp(name, "state")) {
        return conn_push_state(L, lc->c);
    }
    else if (!strcmp(name, "secure")) {
        lua_pushboolean(L, lc->c && ws_secure(lc->c));
    }
    else if (!strcmp(name, "version")) {
        lua_pushinteger(L, lc->c ? ws_version(lc->c) : 0);
    }
    else if (!conn_push_text(L, lc->c, name)) {
        return luaL_error(L, "a connection has no field %s", name);
    }
    return 1;
}

static int conn_newindex(lua_State *L)
{
    const char *name = luaL_checkstring(L, 2);

    conn_at_1(L);
    if (strcmp(name, "data")) {
        return luaL_error(L, "%s of a connection cannot be set; its field for the script is data",
                          name);
    }
    lua_settop(L, 3);
    lua_setiuservalue(L, 1, 1);
    return 0;
}

/* ---- Life ---- */

script_conn *script_push_new_conn(lua_State *L, ws_conn *c)
{
    script_conn *lc = lua_newuserdatauv(L, sizeof(*lc), 1);

    memset(lc, 0, sizeof(*lc));
    lc->c = c;
    lc->id = ws_conn_id(c);
    lc->state = script_state_in(L);
    luaL_setmetatable(L, CONN_TYPE);
    return lc;
}

void script_push_conn(lua_State *L, const script_conn *lc)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, lc->ref);
}

void script_release_conn(lua_State *L, script_conn *lc)
{
    while (lc->timers) {
        timer_unlink(L, lc->timers);
    }
    lc->c = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, lc->ref);
}

void script_open_conn(lua_State *L)
{
    static const luaL_Reg methods[] = {{"send", conn_send},
                                       {"ping", conn_ping},
                                       {"close", conn_close},
                                       {"abort", conn_abort},
                                       {"queued", conn_queued},
                                       {"pause", conn_pause},
                                       {"resume", conn_resume},
                                       {"subscribe", conn_subscribe},
                                       {"unsubscribe", conn_unsubscribe},
                                       {"subscriptions", conn_subscriptions},
                                       {"publish", conn_publish},
                                       {"may", conn_may},
                                       {"timer", conn_timer},
                                       {"id", conn_id},
                                       {"arg", conn_arg},
                                       {"log", conn_log},
                                       {NULL, NULL}};
    static const luaL_Reg timer_methods[] = {{"stop", timer_stop}, {NULL, NULL}};

    script_new_type(L, CONN_TYPE, methods, conn_index, conn_newindex);
    script_new_type(L, TIMER_TYPE, timer_methods, NULL, NULL);
}
