/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The open connections of all children, asked for through ipc.h. */

#ifndef WS_HTTPD_CONNECTIONS_H
#define WS_HTTPD_CONNECTIONS_H

#include <httpd.h>

#include "engine/engine.h"
#include "httpd/shm.h"

extern const ws_shm_layout *const ws_connections_layout[];

/** Longest text that a listing is filtered by, bytes. */
#define WS_CONNECTIONS_FILTER 127

/** Most that a listing can be asked for: offset and limit together. */
#define WS_CONNECTIONS_MAX 10000

/** Texts of a connection. */
enum {
    WS_LISTED_ADDRESS,
    WS_LISTED_USER,
    WS_LISTED_VHOST,
    WS_LISTED_URI,
    WS_LISTED_SUBPROTOCOL,
    WS_LISTED_HANDLER,
    WS_LISTED_TEXTS
};

/** A connection. Goes from child to child as it is. */
WS_SHM_STRUCT(ws_connection_info, {
    apr_uint64_t id;
    apr_int64_t start; /**< apr_time_t, of the years 1970 to 9999 */
    apr_uint64_t messages_in, messages_out, bytes_in, bytes_out, wire_in, wire_out;
    apr_uint32_t queued;
    apr_uint32_t pid;
    apr_uint16_t size; /**< of all of it, bytes, a multiple of 8 */
    unsigned char version, transport, carrier;
    char texts[]; /**< one after the other, each with its NUL; an empty one is unknown */
});

typedef struct ws_connections_query {
    char filter[WS_CONNECTIONS_FILTER
                + 1]; /**< what a connection has to have in a text, in any case */
    const char *sort; /**< one of ws_connections_sorts */
    int descending;
    unsigned offset, limit; /**< of what matches, sorted */
} ws_connections_query;

typedef struct ws_connections {
    ws_connection_info **first; /**< count of them, on the pool */
    unsigned count;
    apr_uint64_t matching;
    unsigned missing[64]; /**< pids of children that did not answer, as many as fit */
    unsigned missing_count;
} ws_connections;

/** Names that a listing can be sorted by; NULL behind the last. */
extern const char *const ws_connections_sorts[];

/** register_hooks: what this child answers. */
void ws_connections_register(apr_pool_t *p);

/** Ask all children. Takes at most 5 seconds, a second for each that does not answer.
 *  [threads of httpd] */
void ws_connections_make(apr_pool_t *p, const ws_connections_query *query, ws_connections *list);

/** Close a connection with 1008, in whichever child it is.  [threads of httpd]
 *  @return 1; 0 if it is not there; -1 if its child does not answer */
int ws_connections_close(ws_id id);

/** A connection at the front of what a child has sent, aligned to 8; it may have sent anything.
 *  @return NULL if it is none */
const ws_connection_info *ws_connection_check(const char *bytes, apr_size_t len);

/** A text of a connection. */
const char *ws_connection_text(const ws_connection_info *l, unsigned which);

#endif
