/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Carries out the actions of an application's answer, which are to send messages, subscribe,
 *  publish or close. */

#ifndef HTTP_ORDERS_H
#define HTTP_ORDERS_H

#include "answer.h"

/** Carry out an answer with style=form. @param c  NULL: the connection has ended, so that only
 *  publishing is possible */
void orders_obey_form(ws_conn *c, const answer *a);

/** The state of a connection with style=grip. */
typedef struct {
    int control;  /* 1: messages have a prefix, and "c:" marks control messages */
    char *prefix; /* prefix of messages, allocated with malloc(); NULL if control is 0 */
    int detached; /* 1: send no further events of this connection to the application */
} orders_grip;

/** Carry out an answer with style=grip. */
void orders_obey_grip(ws_conn *c, orders_grip *how, const answer *a);

#endif
