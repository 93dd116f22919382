/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Collects the open connections of all children, through ipc.h. */

#ifndef WS_HTTPD_CONNECTIONS_H
#define WS_HTTPD_CONNECTIONS_H

#include <httpd.h>

#include "engine/engine.h"
#include "httpd/shm.h"

extern const ws_shm_layout *const ws_connections_layout[];

/** Longest filter of a listing, bytes. */
#define WS_CONNECTIONS_FILTER 127

/** Maximum sum of offset and limit. */
#define WS_CONNECTIONS_MAX 10000

/** The texts of a connection. */
enum {
    WS_LISTED_ADDRESS,
    WS_LISTED_USER,
    WS_LISTED_VHOST,
    WS_LISTED_URI,
    WS_LISTED_SUBPROTOCOL,
    WS_LISTED_HANDLER,
    WS_LISTED_TEXTS
};

/** The description of a connection, in the format that children exchange. */
WS_SHM_STRUCT(ws_connection_info, {
    apr_uint64_t id;
    apr_int64_t start; /**< apr_time_t, in the years 1970 to 9999 */
    apr_uint64_t messages_in, messages_out, bytes_in, bytes_out, wire_in, wire_out;
    apr_uint32_t queued;
    apr_uint32_t pid;
    apr_uint16_t size; /**< size of the whole structure, bytes, a multiple of 8 */
    unsigned char version, transport, carrier;
    char texts[]; /**< each NUL-terminated; empty: unknown */
});

typedef struct ws_connections_query {
    char filter[WS_CONNECTIONS_FILTER
                + 1]; /**< substring of one of the texts or the id, ignoring case; "": all */
    const char *sort; /**< sort key, from ws_connections_sorts */
    int descending;
    unsigned offset, limit; /**< range in the sorted list of matches */
} ws_connections_query;

typedef struct ws_connections {
    ws_connection_info **first; /**< array of count entries, on the pool */
    unsigned count;
    apr_uint64_t matching;
    /** Pids of children that did not answer; pids that do not fit are omitted. */
    unsigned missing[64];
    unsigned missing_count;
} ws_connections;

/** Sort keys of a listing; NULL ends the array. */
extern const char *const ws_connections_sorts[];

/** register_hooks: set the functions that answer other children. */
void ws_connections_register(apr_pool_t *p);

/**
 * Collect the connections of all children. Takes at most 5 seconds. Waits up to one second for a
 * child that does not answer.  [httpd's threads]
 */
void ws_connections_make(apr_pool_t *p, const ws_connections_query *query, ws_connections *list);

/**
 * Close a connection in any child with 1008.  [httpd's threads]
 * @return 1; 0 if the connection does not exist; -1 if its child does not answer
 */
int ws_connections_close(ws_id id);

/**
 * Check the connection at the beginning of an answer from another child, which is untrusted.
 * @param bytes  aligned to 8 bytes
 * @return NULL if the connection is malformed
 */
const ws_connection_info *ws_connection_check(const char *bytes, apr_size_t len);

/** Get one of a connection's texts. @param which  WS_LISTED_ADDRESS and so on */
const char *ws_connection_text(const ws_connection_info *l, unsigned which);

#endif
