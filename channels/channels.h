/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The channels of a process: which connections of which loops are subscribed to what, and how messages
 * get from a publisher to a history, to buses and to loops.
 *
 *   name -> ws_channel (subscriptions.c, one lock, briefly) -> for each loop a list of subscriptions, which
 *   only that loop's thread touches
 *
 * Publishing: [history gives a position ->] buses -> a task for each loop that has subscribers.
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
    ws_bus *local;       /**< to the other processes of this httpd, or NULL */
    ws_bus *remote;      /**< to other machines, or NULL */
    ws_history *history; /**< or NULL */
    ws_once *once;       /**< or NULL: ids are not remembered, and what has one is not published */
    unsigned channels;   /**< greatest number in this process, 0: any */
    int wildcards;       /**< clients can be allowed wildcards: messages go to those, too */
    apr_size_t queue;    /**< bytes of messages that may wait for a loop; 0: 8 MiB */
    /** As ws_may(); NULL: no directives. On any thread on which the connection's callbacks run. */
    int (*may)(ws_conn *c, ws_action action, const char *channel);
    /** WS_PACKET_ASK and WS_PACKET_ANSWER of other processes; NULL: they are dropped. On a bus's thread;
     *  must not block. */
    void (*called)(const ws_packet *p);
    /** As ws_use_token(); NULL: there are no tokens. On the same threads. */
    const char *(*use_token)(ws_conn *c, const char *channel, const char *token);
    const ws_application *application; /**< or NULL */
    /** The first connection of this process has subscribed to a channel, or the last one has left it; or NULL. On
     *  its loop; must not block. */
    void (*changed)(const char *channel);
} ws_channels_options;

/** What the handlers' calls of mod_websocket.h use from now on. Before the first connection.
 *  @return NULL when there is no memory */
WS_API ws_channels *ws_channels_create(const ws_channels_options *options, apr_pool_t *pool);

/** The process's channels, or NULL.  [any thread] */
WS_API ws_channels *ws_channels_current(void);

/** Publishing is refused from now on (WS_GONE). The buses have ended or do so now; engine and history
 *  still run. */
void ws_channels_stop(ws_channels *h);

/** After ws_engine_stop() and the history's end: end listeners, and answer what waits. Functions of handlers are
 *  called for the last time. */
void ws_channels_finish(ws_channels *h);

/** After ws_channels_finish(). */
void ws_channels_destroy(ws_channels *h);

/** The options, as they were given.  [any thread] */
WS_API const ws_channels_options *ws_channels_options_of(const ws_channels *h);

/** As ws_publish(), of a message that can be withdrawn: the caller keeps its reference. Its server is set.
 *  [any thread] */
WS_API ws_status ws_publish_message(ws_message *m, ws_published_fn fn, void *arg);

/** Make a message, after checking all of it. @param m  set to one reference  @return as ws_publish_with() */
WS_API ws_status ws_message_create(const char *channel, ws_type type, const char *data,
                                   apr_size_t len, const ws_publication *how, ws_message **m);

/** ws_subscribe() without asking the application, which wants it itself, or has been asked. */
ws_status ws_subscribe_unasked(ws_conn *c, const char *channel, const ws_subscription *how);

/** Give a message an id, of 1 to WS_ONCE_MAX bytes. @return 0 if it is none */
WS_API int ws_message_identify(ws_message *m, const char *id);

/** Forget what a channel's history has kept. @return WS_QUEUED: done is called exactly once; WS_GONE: it
 *  has no history.  [any thread] */
WS_API ws_status ws_channels_clear(const char *channel, ws_clear_done done, void *arg);

/** A channel of this process. */
typedef struct ws_channel_count {
    apr_uint32_t subscribers, members; /**< connections of this process */
    char name[WS_CHANNEL_MAX + 1];
} ws_channel_count;

/**
 * The first channels by name that this process has subscribers of.
 * @param prefix  their names start with it
 * @param after   their names come after it, by their bytes
 * @param most    as many as are wanted
 * @param all     set, sorted; malloc'ed, with room for 2 * most
 * @param more    set: there are others after the last
 * @return how many; -1 when there is no memory  [any thread]
 */
WS_API int ws_channels_list(const char *prefix, const char *after, unsigned most,
                            ws_channel_count **all, int *more);

/* Counters, see engine/counters.h: channels, subscriptions, messages published and delivered, refused,
 * missed, gaps. */

#endif
