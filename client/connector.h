/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A connection that is being made, from its name to the server's 101. For its loop's thread. */

#ifndef WS_CLIENT_ATTEMPT_H
#define WS_CLIENT_ATTEMPT_H

#include "client/lookup.h"
#include "engine/conn.h"
#include "protocol/client_handshake.h"
#include "protocol/url.h"

typedef enum {
    WS_AT_START,
    WS_AT_LOOKUP,  /**< a thread looks up the name */
    WS_AT_CONNECT, /**< to one address after another */
    WS_AT_PROXY,   /**< it has been asked to connect */
    WS_AT_TLS,
    WS_AT_ANSWER, /**< the request is sent, its answer awaited */
    WS_AT_END
} ws_connect_stage;

typedef struct ws_connector {
    ws_source guest; /**< first */
    ws_task start;
    int started; /**< the task has been done */
    int orphan;  /**< the loop has let go of it before that */
    ws_alarm alarm;
    ws_attempt id;
    apr_pool_t *pool; /**< of all strings */
    ws_connect_options o;
    ws_settings settings; /**< of the connection to be */
    ws_connect_stage stage;
    ws_url url, proxy; /**< proxy.host: NULL if there is none */
    unsigned redirects;
    int strange; /**< redirected to another server, which is not told secrets */
    ws_lookup *lookup;
    ws_found found;
    const struct addrinfo *address; /**< the one that is tried */
    int fd;
    SSL *ssl;
    char key[WS_KEY_SIZE];
    char *out; /**< what is to be sent */
    apr_size_t out_len, out_sent;
    char *in; /**< what came, malloc'ed */
    apr_size_t in_len, in_size;
    char error[WS_TLS_ERROR]; /**< of the last address that was tried */
} ws_connector;

/** Set up what is not zero. t->start is then to be posted to the loop, of which it may be a guest
 *  already. */
void ws_connector_init(ws_connector *t);

/** End the attempt of an id, telling nobody. @return whether the loop has it */
int ws_connector_cancel(ws_loop *loop, ws_attempt id);

/** The attempt has failed: tell who wants to know. */
void ws_connector_fail(ws_connector *t, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** End it, telling nobody. */
void ws_connector_end(ws_connector *t);

/** On to the handshake of WebSocket: handshake.c. The socket is connected, and secured if it is to be. */
void ws_connector_ask(ws_connector *t);

/** More of the answer may have come. */
void ws_connector_answered(ws_connector *t);

/** To another server: what has been is forgotten. */
void ws_connector_again(ws_connector *t);

/** Basic credentials of a URL, from the attempt's pool: "Basic ..."; NULL if it has none. */
const char *ws_connector_credentials(const ws_connector *t, const ws_url *url);

/* io.c */

/** What a call of OpenSSL has not done: wait until it can be called again. @return 0, or -2 for an error,
 *  in t->error */
apr_ssize_t ws_connector_wanted(ws_connector *t, int result);

/**
 * Read until a head is whole.
 * @param who  in words, for what can go wrong
 * @return its length; 0 if it is not there yet, or the attempt has failed
 */
apr_size_t ws_connector_read_head(ws_connector *t, const char *who);

/** Send what is left of t->out. @return whether all of it has gone; if not, there is nothing to do now */
int ws_connector_send(ws_connector *t, const char *who);

#endif
