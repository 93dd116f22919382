/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Carries out the actions of an answer: sends messages, subscribes, publishes, closes. */

#ifndef HTTP_ORDERS_H
#define HTTP_ORDERS_H

#include "answer.h"

/** style=form. @param c  NULL: the connection has ended; only publishing is possible */
void orders_obey_form(ws_conn *c, const answer *a);

/** State of a connection with style=grip. */
typedef struct {
    int control;  /* messages have a prefix, which marks control messages */
    char *prefix; /* malloc'ed; NULL without control */
    int detached; /* send no further events from this connection to the application */
} orders_grip;

/** style=grip. */
void orders_obey_grip(ws_conn *c, orders_grip *how, const answer *a);

#endif
