/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Declares types and functions that the files of ws_lua.so share. Only one thread at a time uses a
 * Lua state (below: state). Each event loop has a state for its connections, and each request takes
 * a state from a pool.
 */

#ifndef SCRIPT_H
#define SCRIPT_H

#include <pthread.h>

#include <lua5.4/lua.h>
#include <lua5.4/lauxlib.h>
#include <lua5.4/lualib.h>

#include <apr_tables.h>

#include "mod_websocket.h"

/* The functions that a script may define. */
typedef enum {
    SCRIPT_OPEN,
    SCRIPT_MESSAGE,
    SCRIPT_CLOSE,
    SCRIPT_CHANNEL,
    SCRIPT_DRAIN,
    SCRIPT_PONG,
    SCRIPT_REQUEST,
    SCRIPT_FUNCTIONS
} script_function;

#define SCRIPT_IO 0x1u
#define SCRIPT_OS 0x2u
#define SCRIPT_PACKAGE 0x4u

typedef struct script_state script_state;

/* The configuration of a WebSocketHandler line. */
typedef struct script_config {
    const char *file;
    const char *source;
    apr_size_t source_len;         /* bytes */
    apr_int64_t memory;            /* limit on memory for each state, bytes */
    apr_int64_t instructions;      /* limit for each call */
    unsigned libraries;            /* set of SCRIPT_IO and so on */
    apr_table_t *values;           /* keys and values of ws.config */
    int defined[SCRIPT_FUNCTIONS]; /* whether the script defines the function */
    ws_location *here;
    pthread_mutex_t lock; /* protects the lists */
    script_state *loops;  /* states of the event loops, including retired ones */
    script_state *idle;   /* unused states for requests */
} script_config;

struct script_state {
    lua_State *L; /* main Lua thread of the state */
    script_config *config;
    apr_size_t used;    /* memory in use, bytes */
    apr_int64_t budget; /* number of instructions left in the current call */
    int exhausted;
    int retired; /* 1: the state has run out of memory, so it gets no new connections */
    int owned;   /* 1: `owner` is set */
    pthread_t owner;
    unsigned connections;
    int functions[SCRIPT_FUNCTIONS]; /* references; LUA_NOREF: not defined */
    char error[4096];                /* message and traceback of the last call's error */
    struct request_call *request;    /* set while request() is running */
    apr_uint64_t requests;
    script_state *next;
};

/* The object of a connection in a script, which is a full userdata of the state. */
typedef struct script_conn {
    ws_conn *c; /* NULL after the connection has ended */
    ws_id id;
    script_state *state;
    int ref;
    struct script_timer *timers;
} script_conn;

/* The value of r.data, which on_request passes to on_open. */
typedef struct script_kept {
    apr_size_t len; /* bytes */
    char text[];
} script_kept;

const char *script_configure(apr_pool_t *pconf, const char *key, const char *value, void **data);

/* ---- state.c ---- */

/* Create a state without libraries and without the script. @return NULL: out of memory */
script_state *script_state_empty(script_config *config);
void script_state_free(script_state *s);

/* Run body as a protected call within the limits. Its argument is arg, as a light userdata. @return
 * 0, or -1: the error is in s->error */
int script_call(script_state *s, lua_CFunction body, void *arg);

/* Log s->error line by line. c may be NULL. */
void script_log_error(script_state *s, ws_conn *c);

script_state *script_state_in(lua_State *L);

/* Register the type of an object. The upvalue of `index` is the table of methods. If index is NULL,
 * the methods are the only fields. If newindex is NULL, fields can be set only if the object is a
 * table. */
void script_new_type(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction index,
                     lua_CFunction newindex);

/* ---- load.c ---- */

/* Create a state and load the script. @return NULL: out of memory, or the script has failed;
 * `error` has the text */
script_state *script_state_new(script_config *config, char *error, apr_size_t size);

/* ---- pool.c ---- */

/* Get the calling loop's state, and count one more connection that uses it. @return NULL: the state
 * cannot be created; the reason has been logged */
script_state *script_state_of_loop(script_config *config);
void script_state_release(script_state *s);

script_state *script_state_take(script_config *config);
void script_state_give(script_state *s);

/* ---- conn.c, request.c, server.c: functions that extend a state. They may raise errors ---- */

void script_open_conn(lua_State *L);
void script_open_request(lua_State *L);
void script_open_server(lua_State *L, const script_config *config);

/* Push the userdata of a new connection and set its fields. */
script_conn *script_push_new_conn(lua_State *L, ws_conn *c);
void script_push_conn(lua_State *L, const script_conn *lc);
/* Release the timers and the userdata of a connection. */
void script_release_conn(lua_State *L, script_conn *lc);
void script_push_event(lua_State *L, const ws_event *event);

/* Call the script's request(r). @return 0 or an HTTP status */
int script_request(script_state *s, ws_request *rq);

/* ---- server.c: arguments and results ---- */

/* Push true, or nil and the name of the status. @return the number of results */
int script_push_status(lua_State *L, ws_status status);
void script_push_id(lua_State *L, ws_id id);
/* Get a string argument, which must not contain a NUL. */
const char *script_check_name(lua_State *L, int index);
/* Get the arguments `data` and `kind`. Raises an error if the text is not UTF-8. */
const char *script_check_message(lua_State *L, int index, apr_size_t *len, ws_type *type);
int script_publish(lua_State *L, int first, ws_id sender);
ws_log_level script_check_level(lua_State *L, int index);

#endif
