/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A connection that is being made, from its name to the server's 101. For its loop's thread. */

#ifndef WS_CLIENT_CONNECTOR_H
#define WS_CLIENT_CONNECTOR_H

#include "client/lookup.h"
#include "engine/conn.h"
#include "protocol/client_handshake.h"
#include "protocol/url.h"

typedef enum {
    WS_AT_START,
    WS_AT_LOOKUP,    /**< a thread looks up the name */
    WS_AT_CONNECT,   /**< to the addresses: addresses.c */
    WS_AT_PROXY_TLS, /**< of an HTTPS proxy */
    WS_AT_PROXY,     /**< it has been asked to connect */
    WS_AT_TLS,
    WS_AT_ANSWER, /**< the request is sent, its answer awaited */
    WS_AT_BODY,   /**< of an answer that refuses */
    WS_AT_OPEN,   /**< there is a connection; it is made again when it ends: reconnect.c */
    WS_AT_END
} ws_connect_stage;

/** Interim answers that are passed over at most: a server may not send them for ever. */
#define WS_INTERIM_MAX 32

/** An address that is tried. */
typedef struct ws_try ws_try;

/** What is left of an answer's body: body.c */
typedef struct ws_body {
    int status;
    apr_uint64_t
        left;       /**< of the body or chunk, bytes; WS_BODY_TO_END: until the connection ends */
    apr_size_t len; /**< bytes that stand decoded at the beginning of t->in */
    unsigned char chunked, in_chunk, cut, over, proxy;
} ws_body;

#define WS_BODY_TO_END (~(apr_uint64_t)0)

typedef struct ws_connector {
    ws_source guest; /**< first */
    ws_task start;
    int started; /**< the task has been done */
    int orphan;  /**< the loop has let go of it before that */
    ws_alarm alarm;
    ws_attempt id;
    apr_pool_t *pool; /**< of all strings that stay */
    apr_pool_t *once; /**< of one attempt: cleared before the next */
    ws_connect_options o;
    ws_settings settings; /**< of the connection to be */
    ws_connect_stage stage;
    ws_url url, proxy; /**< proxy.host: NULL if there is none */
    unsigned redirects, interim;
    int strange; /**< redirected to another server, which gets no secrets */
    ws_lookup *lookup;
    ws_found found;
    unsigned next_address; /**< the first one that has not been tried */
    ws_try *tries;
    apr_uint32_t next_try; /**< when it is its turn */
    ws_address peer;       /**< the one that it is connected to */
    int fd;
    SSL *ssl;
    unsigned char socks_step;
    char key[WS_KEY_SIZE];
    char *out; /**< what is to be sent */
    apr_size_t out_len, out_sent;
    char *in; /**< what came, malloc'ed */
    apr_size_t in_len, in_size;
    apr_size_t in_max; /**< how long it may get */
    ws_client_response answer;
    ws_body body;
    char error[WS_TLS_ERROR]; /**< of the last address that was tried */
    /* reconnect.c */
    struct ws_outgoing *outgoing; /**< WS_AT_OPEN: of the connection */
    apr_uint32_t wait;            /**< the last delay before it was made again, milliseconds */
    apr_uint32_t opened_at;       /**< loop time, milliseconds */
    int counted;                  /**< among the loop's connections */
} ws_connector;

/** Set up what is not zero. t->start is then to be posted to the loop, of which it may be a guest
 *  already. */
void ws_connector_init(ws_connector *t);

/** End the attempt of an id, without callbacks. @return whether the loop has it */
int ws_connector_cancel(ws_loop *loop, ws_attempt id);

/** The attempt has failed: call on_failure, or try again later. */
void ws_connector_fail(ws_connector *t, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** End it, without callbacks. */
void ws_connector_end(ws_connector *t);

/** Let go of socket, lookup and alarm. */
void ws_connector_hang_up(ws_connector *t);

/** ms from now on t->stage is over; WS_NEVER: no limit. */
void ws_connector_alarm(ws_connector *t, apr_uint32_t ms);

/** On to the handshake of WebSocket: handshake.c. The socket is connected, and secured if it is to be. */
void ws_connector_ask(ws_connector *t);

/** More of the answer may have come. */
void ws_connector_answered(ws_connector *t);

/** To t->url, which may be another server than before. */
void ws_connector_again(ws_connector *t);

/** From the URL of the options on. */
void ws_connector_begin(ws_connector *t);

/** Basic credentials of a URL: "Basic ..."; NULL if it has none. */
const char *ws_connector_credentials(const ws_connector *t, const ws_url *url);

/** Convert the host of a URL with letters beyond ASCII. @return NULL, or what is wrong, static */
const char *ws_connector_international(ws_connector *t, ws_url *url);

/* addresses.c: RFC 8305 */

/** Try t->found.addresses until one is connected. */
void ws_connector_try(ws_connector *t);

/** The time of an address, or before the next one, is over. */
void ws_connector_try_tick(ws_connector *t);

/** Give all of them up. */
void ws_connector_try_end(ws_connector *t);

/** t->fd is connected. */
void ws_connector_connected(ws_connector *t);

/* proxy.c */

/** Set t->proxy for t->url, by the options or the environment. @return 0, or -1: the attempt has failed */
int ws_connector_choose_proxy(ws_connector *t);

/** Ask the proxy for the server: t->fd, and t->ssl if the proxy has TLS, are connected to it. */
void ws_connector_ask_proxy(ws_connector *t);
void ws_connector_proxy_answered(ws_connector *t);

/** The proxy has connected us to the server. */
void ws_connector_tunneled(ws_connector *t);

/** TLS with the server, if its URL wants it; then ws_connector_ask(). */
void ws_connector_secure(ws_connector *t);

/* socks.c: RFC 1928, RFC 1929 */
void ws_connector_ask_socks(ws_connector *t);
void ws_connector_socks_answered(ws_connector *t);

/* tunnel.c */

/**
 * TLS inside the TLS of a proxy: the engine has one SSL for a socket, so bytes go through a pair of sockets.
 * Takes over fd and ssl.
 * @return the other end; -1 with errno set: fd and ssl are the caller's
 */
int ws_tunnel_start(ws_loop *loop, int fd, SSL *ssl);

/* body.c */

/** Tell on_response of t->answer; a refusal's body is read first. @return whether that has to be waited for */
void ws_connector_refused(ws_connector *t);
void ws_connector_body_came(ws_connector *t);
/** No more of it is waited for. */
void ws_connector_body_over(ws_connector *t);
/** Call on_response, with what is in t->body. */
void ws_connector_tell_response(ws_connector *t);

/* reconnect.c */

/** Whether the options ask for it, and the failure is one that time may mend. reason: as for on_failure.
 *  @return whether it will be tried again; then the delay runs */
int ws_connector_retry(ws_connector *t, int status, const char *reason);

/** There is a connection. @return whether t stays, for the next one */
int ws_connector_stays(ws_connector *t, struct ws_outgoing *outgoing);

/** End those that only wait to connect again. */
void ws_connector_end_waiting(ws_loop *loop);

/** Let t->outgoing go on without us. */
void ws_connector_forget_connection(ws_connector *t);

/* io.c */

/** What a call of OpenSSL has not done: wait until it can be called again. @return 0, or -2 for an error,
 *  in t->error */
apr_ssize_t ws_connector_wanted(ws_connector *t, int result);

/** Read what there is, as far as t->in_max lets. @return bytes; 0: nothing now; -1: the end; -2: an error, in
 *  t->error; -3: there is no room */
apr_ssize_t ws_connector_receive(ws_connector *t);

/**
 * Read until a head is whole.
 * @param who  in words, for what can go wrong
 * @return its length; 0 if it is not there yet, or the attempt has failed
 */
apr_size_t ws_connector_read_head(ws_connector *t, const char *who);

/** The server or proxy has let us down: result as of ws_connector_receive, below 0. */
void ws_connector_lost(ws_connector *t, const char *who, apr_ssize_t result);

/** Send what is left of t->out. @return whether all of it has gone; if not, there is nothing to do now */
int ws_connector_send(ws_connector *t, const char *who);

#endif
