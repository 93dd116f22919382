/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The table of channels and subscriptions: the lowest layer of this folder. A channel exists while
 * a subscription or work in progress has a reference to it. It has a list of subscriptions for each
 * loop. Only that loop's thread uses the list; other threads read its length.
 */

#ifndef WS_CHANNELS_SUBSCRIPTIONS_H
#define WS_CHANNELS_SUBSCRIPTIONS_H

#include "channels/channels.h"
#include "engine/services.h"

typedef struct ws_channel ws_channel;
typedef struct ws_sub ws_sub;
typedef struct ws_presence_state ws_presence_state;
typedef struct ws_listing_state ws_listing_state;

/** The subscription of a connection or a listener to a channel. */
struct ws_sub {
    ws_sub *next;          /**< the next one of the same connection */
    ws_conn *c;            /**< NULL for a listener's subscription */
    ws_listener *listener; /**< NULL for a connection's subscription */
    ws_loop *loop;
    ws_channel *ch;
    apr_uint32_t index;    /**< index in the list */
    apr_uint32_t serial;   /**< distinguishes successive subscriptions of one connection to ch */
    ws_position at;        /**< position of the last message received */
    unsigned char flags;   /**< WS_MEMBER, WS_WATCH, WS_AS_PUBLISHED */
    unsigned char form;    /**< result of on_channel; valid while an event is delivered */
    unsigned live : 1;     /**< has read the history, and receives what its list delivers */
    unsigned resumes : 1;  /**< first receives the stored messages after `at`; see `newest` */
    unsigned newest : 1;   /**< first receives the newest messages; at.offset is their number */
    unsigned lenient : 1;  /**< does not report a gap before the first message */
    unsigned snapshot : 1; /**< the events for the current members have not been delivered yet */
    unsigned waits : 1;    /**< reads more when the client has received all messages so far */
};

struct ws_subscriptions {
    ws_sub *first;
    unsigned count;
};

/** A channel's subscriptions in a loop. */
typedef struct ws_sub_list {
    apr_uint32_t count; /**< number of subscriptions; atomic, read by publishers */
    ws_sub **subs;      /**< may have holes while a function iterates over it */
    apr_uint32_t used, size;
    unsigned visiting; /**< number of nested iterations */
    int holes;
    /* The fields below are for channels with a history. */
    int started;    /**< `at` is valid */
    int reading;    /**< a read of missing messages is pending */
    int again;      /**< a message has arrived during the read: read again */
    int lost;       /**< the history could not be read: messages may be missing */
    ws_position at; /**< all live subscriptions have received the messages up to here */
} ws_sub_list;

struct ws_channel {
    ws_channel *next;  /**< next in the same bucket of the table */
    apr_uint32_t refs; /**< protected by the lock */
    apr_uint64_t hash;
    int kept;           /**< the channel has a history */
    apr_uint32_t total; /**< number of subscriptions in all loops; atomic */
    unsigned len;
    char *name;
    ws_sub_list lists[]; /**< one for each loop */
};

/** The messages queued for a loop. */
typedef struct ws_loop_queue {
    apr_size_t waiting;      /**< size of the queue, bytes; atomic */
    apr_uint32_t full_since; /**< ws_clock() when it became full; 0: not full; atomic */
    int looking;             /**< a task that reads missing messages is queued; atomic */
} ws_loop_queue;

/** A subscription that is waiting for the application's answer. */
typedef struct ws_sub_pending ws_sub_pending;

struct ws_channels {
    ws_channels_options options;
    apr_pool_t *pool;
    unsigned loops;
    apr_thread_mutex_t *lock; /**< protects the table and the channels' refs */
    ws_channel **table;
    unsigned size, count;
    ws_sub_pending *pending; /**< protected by the lock */
    ws_listener *listeners;  /**< protected by the lock */
    apr_uint32_t serial;     /**< atomic */
    int stopped;             /**< atomic */
    ws_presence_state *presence;
    ws_listing_state *listing;
    ws_loop_queue loop_queues[WS_LOOPS_MAX];
};

/** The hooks in subscribe.c that the engine calls for its connections. */
extern const ws_channels_hooks ws_channels_for_engine;

/** Set the result of ws_channels_current(). */
void ws_channels_set_current(ws_channels *h);

/** The process's channels; NULL after ws_channels_stop().  [any thread] */
ws_channels *ws_channels_running(void);

/** Find a channel by name, and take a reference. @return NULL: it does not exist  [any thread] */
ws_channel *ws_channel_find(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash);

/** Like ws_channel_find(), but create a missing channel. @return NULL: *status is WS_LIMIT or
 *  WS_FULL  [any thread] */
ws_channel *ws_channel_take(ws_channels *h, const char *name, unsigned len, ws_status *status);

ws_channel *ws_channel_ref(ws_channels *h, ws_channel *ch);
void ws_channel_unref(ws_channels *h, ws_channel *ch);

/** Get all channels that have subscriptions in a loop, each with a reference. The caller frees
 *  *all.
 *  @return the number of channels */
unsigned ws_channels_of_loop(ws_channels *h, unsigned loop, ws_channel ***all);

/** A connection's first subscription, or NULL.  [loop] */
static inline ws_sub *ws_sub_first(const ws_conn *c)
{
    const ws_subscriptions *s = ws_conn_subscriptions(c);
    return s ? s->first : NULL;
}

/** A connection's subscription to a channel, or NULL.  [loop] */
ws_sub *ws_sub_find(const ws_conn *c, const ws_channel *ch);

/** Tell all buses that a channel has one subscriber more or fewer in this process.
 *  @param change  1 or -1; -1 always succeeds
 *  @return as ws_bus.want. After a failure, no bus counts the subscriber  [any thread] */
ws_status ws_sub_want(ws_channels *h, const ws_channel *ch, int change);

/** A weak reference to a subscription, which may end meanwhile. */
typedef struct ws_sub_ref {
    ws_id id;              /**< the connection's id; 0 for a listener */
    ws_listener *listener; /**< one reference, or NULL */
    ws_channel *ch;        /**< one reference */
    apr_uint32_t serial;   /**< the subscription's serial; 0: any */
} ws_sub_ref;

ws_sub_ref ws_sub_ref_to(ws_channels *h, const ws_sub *sub);
/** Find the subscription. @return NULL: it has ended, or another one has replaced it  [loop] */
ws_sub *ws_sub_ref_find(ws_loop *loop, const ws_sub_ref *ref);
void ws_sub_ref_release(ws_channels *h, ws_sub_ref *ref);

/** Create a subscription and add it to its list. On success the subscription owns the caller's
 *  reference to the channel. @return NULL: out of memory  [loop] */
ws_sub *ws_sub_take(ws_channels *h, ws_conn *c, ws_channel *ch);

static inline apr_uint32_t ws_sub_serial(ws_channels *h)
{
    return __atomic_add_fetch(&h->serial, 1, __ATOMIC_RELAXED);
}

/** Like ws_sub_take(), for a listener's subscription. [loop] */
ws_sub *ws_sub_take_for(ws_channels *h, ws_listener *listener, ws_channel *ch);

/** Remove and free a subscription. Releases its reference to the channel.  [loop] */
void ws_sub_give(ws_channels *h, ws_sub *sub);

/** Close the holes in a list, unless a function is iterating over the list.  [loop] */
void ws_sub_list_compact(ws_sub_list *list);

static inline ws_sub_list *ws_sub_list_of(const ws_loop *loop, ws_channel *ch)
{
    return &ch->lists[ws_loop_index(loop)];
}

/** Receives a channel's events without belonging to a connection. */
struct ws_listener {
    apr_uint32_t refs; /**< references from h->listeners, `sub` and tasks; atomic */
    ws_channels *h;
    ws_loop *loop;
    ws_channel *ch;            /**< one reference; NULL after `sub` has taken over the reference */
    ws_sub *sub;               /**< [loop] */
    ws_listener *next, **link; /**< links in h->listeners */
    ws_listen_fn fn;
    void *arg;
    int ended; /**< fn has been called for the last time  [loop] */
    ws_subscription how;
};

/** End all listeners. Call it after the loops have ended. */
void ws_listeners_end(ws_channels *h);

ws_listener *ws_listener_ref(ws_listener *l);
void ws_listener_unref(ws_listener *l);

/** Number of a channel's subscriptions in a loop.  [any thread] */
static inline apr_uint32_t ws_sub_list_count(const ws_channel *ch, unsigned loop)
{
    return __atomic_load_n(&ch->lists[loop].count, __ATOMIC_SEQ_CST);
}

/** Add to a counter that many threads update. */
static inline void ws_channels_count(const ws_channels *h, ws_counter which, apr_int64_t n)
{
    ws_count_shared(ws_engine_options_of(h->options.engine)->counters, which, n);
}

#endif
