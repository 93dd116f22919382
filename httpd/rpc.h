/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Calls functions in other child processes of this httpd. If a bus connects several machines, it
 * also calls functions in the child processes on the other machines. A call is a packet (a
 * question) on the buses of the channels, and so is its answer. A request waits for its answers for
 * a limited time.
 */

#ifndef WS_HTTPD_RPC_H
#define WS_HTTPD_RPC_H

#include <httpd.h>

#include "base/strbuf.h"
#include "channels/channels.h"

/** The kinds of questions. The numbers are part of the packet format. */
typedef enum {
    /** List connections; data: user, uri, vhost, loop, slot, maximum number. */
    WS_RPC_LIST = 1,
    WS_RPC_INFO = 2,      /**< describe a connection */
    WS_RPC_SEND = 3,      /**< send to a connection; data: the message */
    WS_RPC_CLOSE = 4,     /**< close a connection; data: code, a space, the reason */
    WS_RPC_SUBSCRIBE = 5, /**< subscribe a connection to the question's channel */
    WS_RPC_UNSUBSCRIBE = 6,
    /** Send to all connections of a user; data: user, vhost, the message. */
    WS_RPC_SEND_USER = 7,
    /** Close all connections of a user; data: user, vhost, code, a space, the reason. */
    WS_RPC_CLOSE_USER = 8,
    /** Close all subscribers of a channel; data: code, a space, the reason. */
    WS_RPC_CLOSE_CHANNEL = 9,
    WS_RPC_CHANNELS = 10 /**< list channels; data: prefix, after, maximum number */
} ws_rpc_kind;

/** The outcomes. Values from 0 on are part of the packet format. */
typedef enum {
    WS_RPC_OK = 0,
    WS_RPC_GONE = 1,      /**< the connection has ended or is closing */
    WS_RPC_FULL = 2,      /**< the client reads too slowly; nothing was done */
    WS_RPC_FORBIDDEN = 3, /**< WebSocketSubscribe does not allow the subscription */
    /** The limit of WebSocketSubscriptions or WebSocketChannels is reached. */
    WS_RPC_LIMIT = 4,
    WS_RPC_UNSUPPORTED = 5, /**< the connection does not support messages of this type */
    WS_RPC_BUSY = 6,        /**< the process is overloaded; nothing was done */
    WS_RPC_WRONG = 7,       /**< the process does not know the kind of question */
    WS_RPC_NOTHING = 8,     /**< the connection is not subscribed to the channel */
    WS_RPC_LATE = -1,       /**< no answer has arrived in time, so the outcome is unknown */
    WS_RPC_ENDED = -2       /**< the process and its connections have ended */
} ws_rpc_status;

typedef struct ws_rpc_answer {
    ws_node node;
    ws_rpc_status status;
    char *data; /**< followed by a NUL; allocated from the request's pool */
    apr_size_t len;
} ws_rpc_answer;

/** Largest answer, bytes. */
#define WS_RPC_ANSWER_MAX (1024 * 1024)

/** Largest number of processes in one request. */
#define WS_RPC_NODES_MAX 2048

/** List all known processes. @return 1; 0: the list may be incomplete */
int ws_rpc_nodes(apr_pool_t *p, ws_node **nodes, unsigned *count);

/** Whether a process is running. @return 1; 0: it has ended, or never existed; -1: unknown */
int ws_rpc_alive(apr_pool_t *p, const ws_node *node);

/**
 * Send a question to processes, and wait for their answers for at most three seconds. A process of
 * this httpd drops a question that it reads after that time. [httpd's threads]
 * @param question  its flags are the ws_rpc_kind; this function sets the packet kind
 * @param answers   array of count answers whose node is set; this function sets the other fields
 */
void ws_rpc_ask(apr_pool_t *p, ws_packet *question, ws_rpc_answer *answers, unsigned count);

/** A received question. Allocated with malloc(). */
typedef struct ws_rpc {
    ws_node from;
    apr_uint32_t request;
    ws_rpc_kind kind;
    ws_type type;
    ws_id id;
    apr_uint32_t until;               /**< ws_clock() when the request stops waiting; 0: unknown */
    unsigned loop, slot;              /**< current position when processing all connections */
    const char *user, *uri, *vhost;   /**< properties of the connections to find; "": any value */
    const char *rest;                 /**< data after the words that have been read */
    unsigned most;                    /**< maximum number of connections */
    unsigned done, full, failed;      /**< counts so far */
    ws_strbuf text;                   /**< output so far */
    char channel[WS_CHANNEL_MAX + 1]; /**< channel of the question, or "" */
    apr_size_t len;
    char data[]; /**< followed by a NUL */
} ws_rpc;

/** Free a question if the request has stopped waiting for its answer. @return 1: freed, so the
 *  caller must not process the question  [any thread] */
int ws_rpc_drop_late(ws_rpc *call);

/** Send the answer to a question, and free the question.  [any thread] */
void ws_rpc_answer_with(ws_rpc *call, ws_rpc_status status, const char *data, apr_size_t len);

/** The function for ws_channels_options.called: process a received question or answer. */
void ws_rpc_received(const ws_packet *p);

/** register_hooks: set the function that processes received questions. The function must call
 *  ws_rpc_answer_with() once for each question, and must not block.  [a bus's thread] */
void ws_rpc_on(void (*carry_out)(ws_rpc *call));

/** register_hooks: process the questions of the control API (control_work.c). */
void ws_control_work_register(apr_pool_t *p);

#endif
