/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Reads and writes the format of the WebSocket-over-HTTP protocol. A body of type
 * application/websocket-events is a list of events. Each event is
 * "NAME\r\n" or "NAME HEXADECIMAL-LENGTH\r\nCONTENT\r\n".
 */

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
    const char *data; /* content, not NUL-terminated; NULL: no content */
    size_t len;
} grip_event;

/** Add an event to a body. @param data  the content; NULL: no content */
void grip_add(form *f, grip_kind kind, const char *data, size_t len);

/** Add the event for the end of a connection. It is CLOSE with code and reason, or DISCONNECT if no
 *  Close frame has been received. */
void grip_add_close(form *f, int code, const char *reason, size_t len);

/**
 * Read the next event.
 * @param at  start of the event; moved past its end
 * @return 1; 0 at the end; -1: the event is malformed or truncated
 */
int grip_next(const char **at, const char *end, grip_event *e);

/** Get the code of a CLOSE event. If the code is missing or 0, this is 1000. @return -1: the code
 *  is invalid in a Close frame */
int grip_close_code(const grip_event *e);

/**
 * Check an answer with status 200 to 299 and read its headers.
 * @param opening  1: the answer is for the OPEN event
 */
void grip_read(answer *a, CURL *easy, int opening);

#endif
