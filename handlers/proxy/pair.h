/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The two connections of a client: its own, and the one to the server. */

#ifndef WS_HANDLERS_PROXY_PAIR_H
#define WS_HANDLERS_PROXY_PAIR_H

#include "mod_websocket.h"

/** malloc'ed, because either connection may end first. Fields are the loop's unless said otherwise. */
typedef struct {
    int refs;                 /* atomic: the client's, the server's */
    void *attempt;            /* until the server's connection is open or has failed */
    ws_id id;                 /* of the server's connection; for the request's thread */
    ws_conn *client, *server; /* NULL: not open yet, or ended */
    int met;                  /* both have been open */
} pair;

/** The server's connection is open, or could not be made. Ends the attempt. */
void proxy_attempt_over(pair *p, const char *reason, const char *protocol);

/** The handler of the server's connection. */
extern const ws_handler proxy_server_side;

#endif
