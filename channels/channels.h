/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The channels of a process: the subscriptions of its connections, and the path of a message from
 * the publisher to the history, the buses and the loops.
 *
 *   name -> ws_channel (subscriptions.c, one lock, held briefly) -> for each loop a list of
 *   subscriptions, which only that loop's thread accesses
 *
 * Publishing: [the history assigns a position ->] buses -> a task for each loop with subscribers.
 */

#ifndef WS_CHANNELS_CHANNELS_H
#define WS_CHANNELS_CHANNELS_H

#include "channels/application.h"
#include "channels/bus.h"
#include "channels/history.h"
#include "channels/once.h"
#include "engine/engine.h"

typedef struct ws_channels_options {
    ws_engine *engine;
    ws_node self;        /**< this process */
    ws_bus *local;       /**< bus to the other processes of this httpd, or NULL */
    ws_bus *remote;      /**< bus to other machines, or NULL */
    ws_history *history; /**< or NULL */
    ws_once *once;       /**< store for message ids. NULL: messages with an id are refused, unless
                              the history has `once` */
    unsigned channels;   /**< maximum number of channels in this process; 0: no limit */
    int wildcards;       /**< 1: also publish to wildcards, because clients may subscribe to them */
    apr_size_t queue;    /**< maximum size of a loop's queue, bytes; 0: 8 MiB */
    /** Implements ws_may(); NULL: no directives. Called on any thread that runs the connection's
     *  callbacks. */
    int (*may)(ws_conn *c, ws_action action, const char *channel);
    /** Receives WS_PACKET_ASK and WS_PACKET_ANSWER from other processes; NULL: drop them. Called on
     *  a bus's thread; must not block. */
    void (*called)(const ws_packet *p);
    /** Implements ws_use_token(); NULL: tokens are not accepted. Called on the same threads as
     *  may. */
    const char *(*use_token)(ws_conn *c, const char *channel, const char *token);
    const ws_application *application; /**< or NULL */
    /** Called when a channel gets its first subscription in this process, and when it loses its
     *  last one; or NULL. Called on the loop of that subscription; must not block. */
    void (*changed)(const char *channel);
} ws_channels_options;

/** Create the channels that handlers use through mod_websocket.h. Call it before the first
 *  connection.
 *  @return NULL: out of memory */
WS_API ws_channels *ws_channels_create(const ws_channels_options *options, apr_pool_t *pool);

/** The process's channels, or NULL.  [any thread] */
WS_API ws_channels *ws_channels_current(void);

/** Refuse all publications from now on (WS_GONE). Call it before the engine and the history stop.
 *  The buses may have stopped already. */
void ws_channels_stop(ws_channels *h);

/** End the listeners, and answer pending questions. Call it after ws_engine_stop() and after the
 *  history has stopped. No handler function is called after this. */
void ws_channels_finish(ws_channels *h);

/** Free the channels. Call it after ws_channels_finish(). */
void ws_channels_destroy(ws_channels *h);

/** The options of ws_channels_create().  [any thread] */
WS_API const ws_channels_options *ws_channels_options_of(const ws_channels *h);

/** Like ws_publish(), for a message that the caller may withdraw. The caller keeps its reference.
 *  Sets m->server.  [any thread] */
WS_API ws_status ws_publish_message(ws_message *m, ws_published_fn fn, void *arg);

/** Check all arguments and create a message. @param m  set to one reference
 *  @return the same as ws_publish_with() */
WS_API ws_status ws_message_create(const char *channel, ws_type type, const char *data,
                                   apr_size_t len, const ws_publication *how, ws_message **m);

/** Like ws_subscribe(), but does not ask the application, because the application requested the
 *  subscription itself or has already been asked. */
ws_status ws_subscribe_unasked(ws_conn *c, const char *channel, const ws_subscription *how);

/** Set a message's id, which has 1 to WS_ONCE_MAX bytes. @return 0: the id is invalid */
WS_API int ws_message_identify(ws_message *m, const char *id);

/** Delete the messages in a channel's history. @param order  an empty message to the channel, which
 *  the caller may withdraw; the caller keeps its reference
 *  @return WS_QUEUED: done is called exactly once; WS_GONE: the channel has no history.  [any
 *  thread] */
WS_API ws_status ws_channels_clear(ws_message *order, ws_clear_done done, void *arg);

/** A channel of this process. */
typedef struct ws_channel_count {
    apr_uint32_t subscribers, members; /**< connections of this process */
    char name[WS_CHANNEL_MAX + 1];
} ws_channel_count;

/**
 * List the channels that have subscribers in this process, sorted by name.
 * @param prefix  only names that start with it
 * @param after   only names that sort after it, in byte order
 * @param most    maximum number of channels
 * @param all     set to the sorted array; malloc'ed, with room for 2 * most
 * @param more    set to 1 if there are channels after the last one
 * @return the number of channels; -1: out of memory  [any thread]
 */
WS_API int ws_channels_list(const char *prefix, const char *after, unsigned most,
                            ws_channel_count **all, int *more);

/* The counters are in engine/counters.h: channels, subscriptions, messages published and delivered,
 * refused publications, missed messages, gaps. */

#endif
