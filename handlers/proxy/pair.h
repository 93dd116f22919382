/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines the pair of connections that form a bridge: the client's connection and the connection
 *  to the server. */

#ifndef WS_HANDLERS_PROXY_PAIR_H
#define WS_HANDLERS_PROXY_PAIR_H

#include "mod_websocket.h"

/** A pair. It is allocated with malloc(), because either connection may end first. Unless noted
 *  otherwise, only the loop uses the fields. */
typedef struct {
    int refs; /* atomic; each of the two connections has one reference */
    /* The attempt to connect to the server, valid until the connection is open or has failed. */
    void *attempt;
    /* Id of the server's connection, which selects its loop; used by the request's thread. */
    ws_id id;
    ws_conn *client, *server; /* NULL: not open yet, or ended */
    int met;                  /* 1: both have been open at the same time */
} pair;

/** End the attempt, because the server's connection is open or has failed. */
void proxy_attempt_over(pair *p, const char *reason, const char *protocol);

#endif
