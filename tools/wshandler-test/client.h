/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A client of a transcript: the other end of a connection's socket. Nothing here waits. */

#ifndef WS_TOOLS_ACTOR_H
#define WS_TOOLS_ACTOR_H

#include "base/strbuf.h"
#include "protocol/frame.h"
#include "protocol/hixie.h"
#include "tools/wshandler-test/transcript.h"

/** Something that came. */
typedef struct ws_happening ws_happening;
struct ws_happening {
    ws_happening *next;
    ws_say say; /**< text to pong, or WS_SAY_BREAK */
    int code;
    apr_size_t len;
    char data[];
};

typedef struct ws_test_client {
    const char *name;
    int fd; /**< -1: there is no connection, or no more */
    int version;
    int mute;   /**< does not answer pings */
    int paused; /**< does not read */
    int lost;   /**< an expectation was not met for long: no more is waited for */

    int status; /**< of the answer to its handshake */
    const char *protocol;
    apr_table_t *answer; /**< headers of it */

    ws_parser parser;
    ws_hixie hixie;
    ws_strbuf in, out, message;
    ws_happening *first, **last;
    int close_code;          /**< sent, 0: none */
    unsigned close_told : 1; /**< the server's has come */
} ws_test_client;

/** status and the like are set already. fd: non-blocking */
void ws_test_client_open(ws_test_client *p, int fd);
void ws_test_client_free(ws_test_client *p);

/** As a step says. */
void ws_test_client_say(ws_test_client *p, const ws_step *s);

/** Write and read what can be. @return whether anything was */
int ws_test_client_move(ws_test_client *p);

/** What came first, and is the caller's to free; or NULL. */
ws_happening *ws_test_client_take(ws_test_client *p);

#endif
