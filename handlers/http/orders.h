/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Does what an answer says: messages, subscriptions, publishing, closing. */

#ifndef HTTP_ORDERS_H
#define HTTP_ORDERS_H

#include "answer.h"

/** style=form. @param c  NULL: the connection has gone, only others can be told */
void orders_obey_form(ws_conn *c, const answer *a);

/** How a connection with style=grip takes the events of answers. */
typedef struct {
    int control;  /* messages have a prefix, and can be control messages */
    char *prefix; /* malloc'ed; NULL without control */
    int detached; /* the application wants to know no more of this connection */
} orders_grip;

/** style=grip. */
void orders_obey_grip(ws_conn *c, orders_grip *how, const answer *a);

#endif
