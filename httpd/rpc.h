/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Calls of other processes: child processes of this httpd, and with a bus those of other machines. A
 * question goes to a process by the buses of channels; the answer says what was done. A request waits for
 * its answers, for a limited time.
 */

#ifndef WS_HTTPD_RPC_H
#define WS_HTTPD_RPC_H

#include <httpd.h>

#include "base/strbuf.h"
#include "channels/channels.h"

/** The kinds of questions. The numbers are part of the packet format. */
typedef enum {
    WS_RPC_LIST = 1,      /**< connections; data: user, uri, vhost, place, how many */
    WS_RPC_INFO = 2,      /**< of a connection */
    WS_RPC_SEND = 3,      /**< data: the message */
    WS_RPC_CLOSE = 4,     /**< data: code, a space, the reason */
    WS_RPC_SUBSCRIBE = 5, /**< to channel */
    WS_RPC_UNSUBSCRIBE = 6,
    WS_RPC_SEND_USER = 7,     /**< data: user, vhost, the message */
    WS_RPC_CLOSE_USER = 8,    /**< data: user, vhost, code, a space, the reason */
    WS_RPC_CLOSE_CHANNEL = 9, /**< data: code, a space, the reason */
    WS_RPC_CHANNELS = 10      /**< data: prefix, after, how many */
} ws_rpc_kind;

/** The outcomes. Those from 0 on are part of the packet format. */
typedef enum {
    WS_RPC_OK = 0,
    WS_RPC_GONE = 1,        /**< the connection has ended or is closing */
    WS_RPC_FULL = 2,        /**< the client reads too slowly; nothing was done */
    WS_RPC_FORBIDDEN = 3,   /**< WebSocketSubscribe */
    WS_RPC_LIMIT = 4,       /**< WebSocketSubscriptions, or WebSocketChannels */
    WS_RPC_UNSUPPORTED = 5, /**< the connection cannot be sent that */
    WS_RPC_BUSY = 6,        /**< the process has too much to do; nothing was done */
    WS_RPC_WRONG = 7,       /**< it does not understand the question */
    WS_RPC_NOTHING = 8,     /**< not subscribed */
    WS_RPC_LATE = -1,       /**< no answer in time: the outcome is unknown */
    WS_RPC_ENDED = -2       /**< the process has ended, and its connections with it */
} ws_rpc_status;

typedef struct ws_rpc_answer {
    ws_node node;
    ws_rpc_status status;
    char *data; /**< NUL-terminated beyond its length, from the pool of the request */
    apr_size_t len;
} ws_rpc_answer;

/** Greatest answer, bytes. */
#define WS_RPC_ANSWER_MAX (1024 * 1024)

/** Limit of processes that one request asks. */
#define WS_RPC_NODES_MAX 2048

/** All processes that can be asked. @return 1; 0: some may not be known now */
int ws_rpc_nodes(apr_pool_t *p, ws_node **nodes, unsigned *count);

/** Whether this process knows a process. @return 1; 0: it has ended, or was never there; -1: it cannot say */
int ws_rpc_alive(apr_pool_t *p, const ws_node *node);

/**
 * Ask processes and wait, at most three seconds. A process of this httpd that comes to the question later
 * does nothing.  [threads of httpd]
 * @param question  its kind is set here; flags: ws_rpc_kind
 * @param answers   count of them, with their nodes; the rest is filled in
 */
void ws_rpc_ask(apr_pool_t *p, ws_packet *question, ws_rpc_answer *answers, unsigned count);

/** A question that has come. malloc'ed. */
typedef struct ws_rpc {
    ws_node from;
    apr_uint32_t request;
    ws_rpc_kind kind;
    ws_type type;
    ws_id id;
    apr_uint32_t until;   /**< ws_clock() when the request does not wait any longer; 0: unknown */
    unsigned loop, place; /**< where a walk through all connections stands */
    const char *user, *uri, *vhost;   /**< of the connections that are looked for; "": any */
    const char *rest;                 /**< the data after them */
    unsigned most;                    /**< connections that are wanted */
    unsigned done, full, failed;      /**< what the walk has counted */
    ws_strbuf text;                   /**< and written */
    char channel[WS_CHANNEL_MAX + 1]; /**< or "" */
    apr_size_t len;
    char data[]; /**< NUL-terminated beyond len */
} ws_rpc;

/** Whether the request has given up. Then it is freed, and nothing must be done.  [any thread] */
int ws_rpc_drop_late(ws_rpc *call);

/** Answer a question and free it.  [any thread] */
void ws_rpc_answer_with(ws_rpc *call, ws_rpc_status status, const char *data, apr_size_t len);

/** For ws_channels_options.called. */
void ws_rpc_received(const ws_packet *p);

/** A received question is carried out: must not block, and calls ws_rpc_answer_with() once.
 *  In control_work.c.  [a bus's thread] */
void ws_rpc_carry_out(ws_rpc *call);

#endif
