/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The two connections that form a bridge: the client's, and the one to the server. */

#ifndef WS_HANDLERS_PROXY_PAIR_H
#define WS_HANDLERS_PROXY_PAIR_H

#include "mod_websocket.h"

/** malloc'ed, because either connection may end first. Unless noted otherwise, only the loop uses
 *  the fields. */
typedef struct {
    int refs;                 /* atomic; one for each of the two connections */
    void *attempt;            /* valid until the server's connection is open or has failed */
    ws_id id;                 /* selects the server connection's loop; for the request's thread */
    ws_conn *client, *server; /* NULL: not open yet, or ended */
    int met;                  /* both have been open at the same time */
} pair;

/** End the attempt: the server's connection is open, or has failed. */
void proxy_attempt_over(pair *p, const char *reason, const char *protocol);

#endif
