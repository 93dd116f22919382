/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The format of the WebSocket-over-HTTP protocol: a body of type application/websocket-events is a
 *  list of events, each "NAME\r\n", or "NAME HEXADECIMAL-LENGTH\r\nCONTENT\r\n". */

#ifndef HTTP_GRIP_H
#define HTTP_GRIP_H

#include "answer.h"
#include "form.h"

#define GRIP_TYPE "application/websocket-events"

typedef enum {
    GRIP_OPEN,
    GRIP_TEXT,
    GRIP_BINARY,
    GRIP_PING,
    GRIP_PONG,
    GRIP_CLOSE,
    GRIP_DISCONNECT
} grip_kind;

typedef struct {
    grip_kind kind;
    const char *data; /* NULL without content; not NUL-terminated */
    size_t len;
} grip_event;

/** Add an event to a body. @param data  NULL: without content */
void grip_add(form *f, grip_kind kind, const char *data, size_t len);

/** Add the event for the end of a connection: CLOSE with code and reason, or DISCONNECT if there
 *  was no Close frame. */
void grip_add_close(form *f, int code, const char *reason, size_t len);

/**
 * Read the next event.
 * @param at  moved past the event
 * @return 1; 0 at the end; -1: malformed, or cut off
 */
int grip_next(const char **at, const char *end, grip_event *e);

/** Get the code of a CLOSE event; 1000 if it is missing or 0. @return -1: invalid in a frame */
int grip_close_code(const grip_event *e);

/**
 * Check an answer with status 200 to 299 and read its headers.
 * @param opening  it answers the OPEN event
 */
void grip_read(answer *a, CURL *easy, int opening);

#endif
