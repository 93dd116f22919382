/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Defines a client of a transcript. The client and the engine have the two ends of a pair of
 *  sockets. The functions do not block. */

#ifndef WS_TOOLS_CLIENT_H
#define WS_TOOLS_CLIENT_H

#include "base/strbuf.h"
#include "include/mod_websocket.h"
#include "protocol/frame.h"
#include "protocol/hixie.h"
#include "tools/wshandler-test/transcript.h"

/** An event received by the client. */
typedef struct ws_happening ws_happening;
struct ws_happening {
    ws_happening *next;
    ws_say say; /**< kind of event: text to pong, or WS_SAY_BREAK */
    int code;
    apr_size_t len;
    char data[];
};

typedef struct ws_test_client {
    const char *name;
    int fd;     /**< the client's end of the socket pair; -1: not connected */
    ws_id conn; /**< id of the connection; 0: the connection is not open yet */
    int version;
    int mute;   /**< 1: the client does not reply to pings */
    int paused; /**< 1: the client is not reading */
    int lost;   /**< 1: an expectation has timed out, so do not wait again */

    int status; /**< status of the handshake's response */
    const char *protocol;
    apr_table_t *answer; /**< headers of the response */

    ws_parser parser;
    ws_hixie hixie;
    ws_strbuf in, out, message;
    ws_happening *first, **last;
    int close_code;          /**< code of the Close frame that the client has sent; 0: none */
    unsigned close_told : 1; /**< 1: the server's Close frame has arrived */
} ws_test_client;

/** Start a client on the connected non-blocking socket fd. The caller must have set status and
 *  answer. */
void ws_test_client_open(ws_test_client *p, int fd);
void ws_test_client_free(ws_test_client *p);

/** Send the data that a step describes. */
void ws_test_client_say(ws_test_client *p, const ws_step *s);

/** Write and read without blocking. @return whether there was progress */
int ws_test_client_move(ws_test_client *p);

/** Take the oldest event. @return the event, which the caller frees; NULL: no event has arrived */
ws_happening *ws_test_client_take(ws_test_client *p);

#endif
