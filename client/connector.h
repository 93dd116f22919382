/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Defines the connector, which is an outgoing connection that is being made, from the lookup of the
 * name to the server's 101. Unless marked otherwise, functions must be called on the loop's thread.
 */

#ifndef WS_CLIENT_CONNECTOR_H
#define WS_CLIENT_CONNECTOR_H

#include "client/lookup.h"
#include "engine/conn.h"
#include "protocol/client_handshake.h"
#include "protocol/url.h"

typedef enum {
    WS_AT_START,
    WS_AT_LOOKUP,    /**< waiting for the lookup thread */
    WS_AT_CONNECT,   /**< connecting to the addresses (addresses.c) */
    WS_AT_PROXY_TLS, /**< TLS handshake with an HTTPS proxy */
    WS_AT_PROXY,     /**< CONNECT or a SOCKS request has been sent, waiting for the response */
    WS_AT_TLS,
    WS_AT_ANSWER, /**< request sent, waiting for the response */
    WS_AT_BODY,   /**< reading the body of a refusal */
    /** Connected; waits until the connection has ended, to reconnect (reconnect.c) */
    WS_AT_OPEN,
    WS_AT_END
} ws_connect_stage;

/** One address that is being tried. */
typedef struct ws_try {
    ws_handle handle; /**< must be first */
    struct ws_connector *t;
    struct ws_try *next;
    ws_address to;
    int fd;
    apr_uint32_t until; /**< time limit of this address, loop time */
} ws_try;

/** The state of reading a response's body (body.c). */
typedef struct ws_body {
    int status;
    /** Rest of the body or chunk, bytes; WS_BODY_TO_END: the body ends with the connection. */
    apr_uint64_t left;
    apr_size_t len; /**< number of decoded bytes at the beginning of t->in */
    unsigned char chunked, in_chunk, cut, over, proxy;
} ws_body;

#define WS_BODY_TO_END (~(apr_uint64_t)0)

typedef struct ws_connector {
    ws_handle handle; /**< must be first */
    ws_task start;
    int started;  /**< 1: the start task has run */
    int released; /**< 1: the loop has released the connector before the start task has run */
    void (*begin)(struct ws_connector *t); /**< connects to the URL in the options */
    void (*again)(struct ws_connector *t); /**< connects to `url`, after a redirect */
    ws_alarm alarm;
    ws_attempt id;
    apr_pool_t *pool; /**< pool for strings that are valid until the connector ends */
    apr_pool_t *once; /**< pool for one attempt, cleared before the next attempt */
    ws_connect_options o;
    ws_settings settings; /**< settings for the future connection */
    ws_connect_stage stage;
    ws_url url, proxy; /**< proxy.host is NULL without a proxy */
    unsigned redirects, interim;
    /** 1: a redirect has led to another server, which must not get secrets. */
    int other_server;
    ws_lookup *lookup;         /**< NULL: none is in progress */
    apr_uint32_t lookup_until; /**< time limit of the lookup, loop time; WS_NEVER: none */
    ws_found found;
    unsigned next_address; /**< index of the first untried address */
    ws_try *tries;
    apr_uint32_t next_try; /**< when to try the next address, loop time */
    ws_address peer;       /**< address to which fd is connected */
    /** Context of the caller, with a reference; or NULL. See ws_connector_own_tls(). */
    SSL_CTX *tls;
    int fd;
    SSL *ssl;
    unsigned char socks_step;
    char key[WS_KEY_SIZE];
    char *out; /**< bytes to send */
    apr_size_t out_len, out_sent;
    char *in; /**< received bytes, allocated with malloc() */
    apr_size_t in_len, in_size;
    apr_size_t in_max; /**< maximum of in_len, bytes */
    ws_client_response answer;
    ws_body body;
    char error[WS_TLS_ERROR]; /**< error of the last address that has been tried */
    /* reconnect.c */
    struct ws_outgoing *outgoing; /**< the connection; set at WS_AT_OPEN */
    apr_uint32_t wait;            /**< the last delay before a retry, milliseconds */
    apr_uint32_t opened_at;       /**< when the connection opened, loop time, milliseconds */
    /** 1: the connector is counted as one of the loop's connections. */
    int counted;
} ws_connector;

/**
 * Initialize the fields whose initial value is not zero. The caller must have set all fields to
 * zero. It may already have added t to the loop's list of handles. Afterwards it posts t->start to
 * the loop.
 */
void ws_connector_init(ws_connector *t);

/** Parse the URL, if there is one, and check the options that belong to the request.
 *  @return NULL, or an error text that begins with the stage */
const char *ws_connector_check(ws_connector *t);

/** Get the context that the caller has supplied for the server, instead of found.tls. Another server
 *  must not get the client certificate that this context may present. @return NULL: use found.tls */
static inline SSL_CTX *ws_connector_own_tls(const ws_connector *t)
{
    return t->other_server ? NULL : t->tls;
}

/** Cancel the attempt with this id, without calling callbacks. @return whether the loop has this
 *  attempt */
int ws_connector_cancel(ws_loop *loop, ws_attempt id);

/** End the connectors that are waiting for their next attempt. */
void ws_connector_end_waiting(ws_loop *loop);

/* authority.c */

/** Build the value "Basic ..." from the credentials in a URL. @return NULL: the URL has no
 *  credentials */
const char *ws_connector_credentials(const ws_connector *t, const ws_url *url);

/** Convert a URL's host that has characters outside ASCII. @return NULL, or a static error text */
const char *ws_connector_international(ws_connector *t, ws_url *url);

/* connect_to.c */

/** Check the option connect_to. @return NULL, or an error text that begins with the stage */
const char *ws_connector_check_connect_to(ws_connector *t);

/** Replace host and port if an entry of connect_to matches them. */
void ws_connector_connect_to(ws_connector *t, const char **host, unsigned *port);

/* addresses.c: RFC 8305 */

/** Try t->found.addresses until one is connected. */
void ws_connector_try(ws_connector *t);

/** Add addresses that the lookup has found later. @param more  the addresses; NULL: the lookup has
 *  ended without further addresses */
void ws_connector_try_more(ws_connector *t, const ws_addresses *more);

/** Handle the alarm for an address, or for the next address. */
void ws_connector_try_tick(ws_connector *t);

/* transport.c */

/** Continue after t->fd has connected. */
void ws_connector_connected(ws_connector *t);

/** Continue at WS_AT_PROXY_TLS, WS_AT_PROXY or WS_AT_TLS, because the socket may be readable or
 *  writable. */
void ws_connector_transport_ready(ws_connector *t);

/* handshake.c */

/** Start the WebSocket handshake. The socket must be connected, with TLS if the URL needs it. */
void ws_connector_ask(ws_connector *t);

/** Continue the handshake, because the socket may be readable or writable. */
void ws_connector_answered(ws_connector *t);

/* proxy.c */

/**
 * Set t->proxy for t->url, from the options or the environment.
 * @return NULL, or an error text that begins with the stage
 */
const char *ws_connector_choose_proxy(ws_connector *t);

/**
 * Send CONNECT to the proxy, to which t->fd is connected, with t->ssl if the proxy uses TLS.
 * @return whether the proxy has already connected to the server
 */
int ws_connector_ask_proxy(ws_connector *t);

/** Continue with the proxy, because the socket may be readable or writable.
 *  @return the same as ws_connector_ask_proxy() */
int ws_connector_proxy_answered(ws_connector *t);

/* socks.c (RFC 1928, RFC 1929): like ws_connector_ask_proxy() and ws_connector_proxy_answered(),
 * for a SOCKS proxy. */
int ws_connector_ask_socks(ws_connector *t);
int ws_connector_socks_answered(ws_connector *t);

/* tunnel.c */

/**
 * Start TLS inside a proxy's TLS. The engine supports one SSL object per socket, so the bytes pass
 * through a pair of sockets. Takes ownership of fd and ssl if it succeeds.
 * @return the socket to use; or -1 with errno set, and the caller still owns fd and ssl
 */
int ws_tunnel_start(ws_loop *loop, int fd, SSL *ssl);

/* body.c */

/**
 * ws_connector_refused() starts to read the body of a refusal. ws_connector_body_came() continues,
 * because the socket may be readable. When the body is complete, they call
 * ws_connector_body_over().
 */
void ws_connector_refused(ws_connector *t);
void ws_connector_body_came(ws_connector *t);
/** Stop reading the body, call on_response, and fail the attempt. */
void ws_connector_body_over(ws_connector *t);
/** Call on_response with t->answer and t->body. */
void ws_connector_tell_response(ws_connector *t);

/* reconnect.c */

/** Report a failure, which calls on_failure or schedules another attempt. */
void ws_connector_fail(ws_connector *t, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Handle an established connection. @return whether t stays allocated, to reconnect later */
int ws_connector_stays(ws_connector *t, struct ws_outgoing *outgoing);

/* end.c */

/** Limit the current stage to ms milliseconds. WS_NEVER means no limit. */
void ws_connector_alarm(ws_connector *t, apr_uint32_t ms);

/** Call t->begin after ms milliseconds. */
void ws_connector_begin_in(ws_connector *t, apr_uint32_t ms);

/** Close the socket of an address that is being tried, and free y. */
void ws_try_end(ws_try *y);

/** Close all sockets that are still connecting. */
void ws_connector_end_tries(ws_connector *t);

void ws_connector_end_lookup(ws_connector *t);

/** Close the socket, and cancel the lookup and the alarm. */
void ws_connector_hang_up(ws_connector *t);

/** End the connector, without calling callbacks. A connection that it has made stays open. */
void ws_connector_end(ws_connector *t);

/* io.c */

/**
 * Wait for the event that OpenSSL needs to continue a call.
 * @return 0; or -2, with the error in t->error
 */
apr_ssize_t ws_connector_wanted(ws_connector *t, int result);

/**
 * Read available bytes, up to t->in_max.
 * @return number of bytes; 0: no data yet; -1: end of stream; -2: error, in t->error; -3: the
 *         buffer is full
 */
apr_ssize_t ws_connector_receive(ws_connector *t);

/**
 * Read until a response head is complete.
 * @param who  the peer's name for error texts
 * @return its length, bytes; 0: incomplete, or the attempt has failed
 */
apr_size_t ws_connector_read_head(ws_connector *t, const char *who);

/**
 * Fail the attempt, because the peer has closed the connection or an error occurred.
 * @param result  from ws_connector_receive(), below 0
 */
void ws_connector_lost(ws_connector *t, const char *who, apr_ssize_t result);

/** Send the rest of t->out. @return whether all of it has been sent; if not, call again when the
 * socket is writable */
int ws_connector_send(ws_connector *t, const char *who);

#endif
