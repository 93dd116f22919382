/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The table of channels and subscriptions: the lowest layer of this folder. A channel exists while something
 * has a reference to it: a subscription, or work in progress. It has a list of subscriptions for each loop;
 * only that loop's thread uses the list. Other threads read its length.
 */

#ifndef WS_CHANNELS_SUBSCRIPTIONS_H
#define WS_CHANNELS_SUBSCRIPTIONS_H

#include "channels/channels.h"
#include "engine/conn.h"

typedef struct ws_channel ws_channel;
typedef struct ws_sub ws_sub;
typedef struct ws_presence_state ws_presence_state;
typedef struct ws_listing_state ws_listing_state;

/** A connection's subscription to a channel. */
struct ws_sub {
    ws_sub *next;          /**< of the same connection */
    ws_conn *c;            /**< or NULL: */
    ws_listener *listener; /**< it belongs to a listener */
    ws_loop *loop;
    ws_channel *ch;
    apr_uint32_t place; /**< in the list */
    apr_uint32_t
        serial;     /**< distinguishes it from an earlier one of the same connection and channel */
    ws_position at; /**< it has received everything up to here */
    unsigned char flags;   /**< WS_MEMBER, WS_WATCH */
    unsigned char form;    /**< while an event is delivered */
    unsigned live : 1;     /**< it receives the messages of the list */
    unsigned resumes : 1;  /**< first it is to receive the kept messages after `at` */
    unsigned newest : 1;   /**< `at.offset` is how many of the newest messages it is to get */
    unsigned lenient : 1;  /**< what is missing before the first message is no gap */
    unsigned snapshot : 1; /**< the members that are there have not been told yet */
    unsigned waits : 1;    /**< the next page waits until the client has read more */
};

struct ws_subscriptions {
    ws_sub *first;
    unsigned count;
};

/** A channel's subscriptions in a loop. */
typedef struct ws_sub_list {
    apr_uint32_t count; /**< of subscriptions; atomic, read by publishers */
    ws_sub **subs;      /**< with holes while a function iterates over them */
    apr_uint32_t used, size;
    unsigned visiting; /**< depth */
    int holes;
    /* Of a channel with a history: */
    int started; /**< `at` is known */
    int reading; /**< missing messages are being read; those that arrive meanwhile are read, too */
    int again;   /**< such a message has arrived */
    int lost;    /**< the history could not be read: messages may be missing */
    ws_position at; /**< all live subscriptions have received everything up to here */
} ws_sub_list;

struct ws_channel {
    ws_channel *next;  /**< in the table */
    apr_uint32_t refs; /**< under the lock */
    apr_uint64_t hash;
    int kept;           /**< it has a history */
    apr_uint32_t total; /**< of subscriptions in all loops; atomic */
    unsigned len;
    char *name;
    ws_sub_list lists[]; /**< one for each loop */
};

/** The messages on their way to a loop. */
typedef struct ws_loop_queue {
    apr_size_t waiting;      /**< bytes of messages on their way to it; atomic */
    apr_uint32_t full_since; /**< ws_clock() since it is full, 0: it is not; atomic */
    int looking;             /**< a task that looks for missing messages is on its way; atomic */
} ws_loop_queue;

/** A subscription that the application is asked about. */
typedef struct ws_sub_pending ws_sub_pending;

struct ws_channels {
    ws_channels_options options;
    apr_pool_t *pool;
    unsigned loops;
    apr_thread_mutex_t *lock; /**< of the table and of refs in it */
    ws_channel **table;
    unsigned size, count;
    ws_sub_pending *pending; /**< under the lock */
    ws_listener *listeners;  /**< under the lock */
    apr_uint32_t serial;     /**< atomic */
    int stopped;             /**< atomic */
    ws_presence_state *presence;
    ws_listing_state *listing;
    ws_loop_queue loop_queues[WS_LOOPS_MAX];
};

/** subscribe.c's part of the engine's connections. */
extern const ws_channels_hooks ws_channels_for_engine;

/** Sets what ws_channels_current() returns. */
void ws_channels_set_current(ws_channels *h);

/** The process's channels, NULL once they have stopped.  [any thread] */
ws_channels *ws_channels_running(void);

/** The channel of a name with one more reference, or NULL: it has no subscriptions.  [any thread] */
ws_channel *ws_channel_find(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash);

/** The same; makes it if there is none. @return NULL: *status is WS_LIMIT or WS_FULL  [any thread] */
ws_channel *ws_channel_take(ws_channels *h, const char *name, unsigned len, ws_status *status);

ws_channel *ws_channel_ref(ws_channels *h, ws_channel *ch);
void ws_channel_unref(ws_channels *h, ws_channel *ch);

/** All channels that have subscriptions in a loop, each with a reference. @return the number; free *all */
unsigned ws_channels_of_loop(ws_channels *h, unsigned loop, ws_channel ***all);

/** The subscription of a connection to a channel, or NULL.  [loop] */
ws_sub *ws_sub_find(const ws_conn *c, const ws_channel *ch);

/** One more subscriber of a channel, or one less, for the buses. @return as ws_bus.want  [any thread] */
ws_status ws_sub_want(ws_channels *h, const ws_channel *ch, int change);

/** Find a subscription again that may have ended. */
typedef struct ws_sub_ref {
    ws_id id;              /**< of the connection, or 0: */
    ws_listener *listener; /**< one reference, or NULL */
    ws_channel *ch;        /**< one reference */
    apr_uint32_t serial;   /**< 0: any */
} ws_sub_ref;

ws_sub_ref ws_sub_ref_to(ws_channels *h, const ws_sub *sub);
/** @return NULL: it has ended, or another one has taken its place  [loop] */
ws_sub *ws_sub_ref_find(ws_loop *loop, const ws_sub_ref *ref);
void ws_sub_ref_release(ws_channels *h, ws_sub_ref *ref);

/** A new one, in its list; the reference to the channel becomes the subscription's. @return NULL:
 *  no memory  [loop] */
ws_sub *ws_sub_take(ws_channels *h, ws_conn *c, ws_channel *ch);

static inline apr_uint32_t ws_sub_serial(ws_channels *h)
{
    return __atomic_add_fetch(&h->serial, 1, __ATOMIC_RELAXED);
}

/** The same for a listener. [loop] */
ws_sub *ws_sub_take_for(ws_channels *h, ws_listener *listener, ws_channel *ch);

/** Free it. The reference to the channel is released.  [loop] */
void ws_sub_give(ws_channels *h, ws_sub *sub);

/** Close the holes of a list that no function iterates over.  [loop] */
void ws_sub_list_compact(ws_sub_list *list);

static inline ws_sub_list *ws_sub_list_of(const ws_loop *loop, ws_channel *ch)
{
    return &ch->lists[loop->index];
}

/** Receives the events of a channel without a connection. */
struct ws_listener {
    apr_uint32_t refs; /**< atomic: of the handler, of its subscription, of work in progress */
    ws_channels *h;
    ws_loop *loop;
    ws_channel *ch;            /**< one reference until it is subscribed, or ends */
    ws_sub *sub;               /**< of the loop */
    ws_listener *next, **link; /**< in h->listeners */
    ws_listen_fn fn;
    void *arg;
    int ended; /**< fn has been called for the last time; of the loop */
    ws_subscription how;
};

/** The loops have ended: end all listeners. */
void ws_listeners_end(ws_channels *h);

ws_listener *ws_listener_ref(ws_listener *l);
void ws_listener_unref(ws_listener *l);

/** How many subscriptions a loop has. [any thread] */
static inline apr_uint32_t ws_sub_list_count(const ws_channel *ch, unsigned loop)
{
    return __atomic_load_n(&ch->lists[loop].count, __ATOMIC_SEQ_CST);
}

/** A counter that many threads add to. */
static inline void ws_channels_count(const ws_channels *h, ws_counter which, apr_int64_t n)
{
    ws_count_shared(h->options.engine->options.counters, which, n);
}

#endif
