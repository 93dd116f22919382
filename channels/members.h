/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** What a process knows of the members of channels: a view for each channel. Under the lock of presence. */

#ifndef WS_CHANNELS_MEMBERS_H
#define WS_CHANNELS_MEMBERS_H

#include "channels/subscriptions.h"

/** Buckets of the table of views. */
#define WS_VIEWS 256

typedef struct ws_member_entry {
    struct ws_member_entry *next;
    ws_node node;
    ws_id id;
    apr_uint32_t seen; /* the question whose answer it was in */
    apr_size_t len;
    char data[]; /* as ws_member_split() takes it, and one NUL more */
} ws_member_entry;

typedef struct ws_presence_question {
    struct ws_presence_question *next;
    ws_presence_fn fn;
    void *arg;
    int locked; /* fn is called under the lock */
} ws_presence_question;

typedef struct ws_member_view {
    struct ws_member_view *next;
    apr_uint64_t hash;
    ws_member_entry **table;
    unsigned size, count, own;
    unsigned watchers;
    ws_presence_question *questions, **last;
    int asking;            /* answers are on their way */
    int known;             /* the view is right */
    apr_uint32_t request;  /* the last ws_presence_question */
    apr_uint32_t deadline; /* ws_clock() */
    apr_uint32_t expected, answered;
    unsigned len;
    char name[];
} ws_member_view;

struct ws_presence_state {
    apr_thread_mutex_t *lock;
    ws_member_view *views[WS_VIEWS];
    apr_uint32_t requests;
    ws_ticker *ticker; /* while answers are due, or members of others are known */
    unsigned ticks;
};

/** Whether two processes are the same, and whether one is this process. */
int ws_node_same(const ws_node *a, const ws_node *b);
int ws_node_is_self(const ws_channels *h, const ws_node *n);

/** The view of a channel. @return NULL: there is none, or no memory to make it */
ws_member_view *ws_view_of(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash,
                           int make);

/** Where the entry of a member is, or belongs. The view has a table. */
ws_member_entry **ws_view_find(ws_member_view *v, const ws_node *node, ws_id id);

/** Remove and free an entry. */
void ws_view_take_out(const ws_channels *h, ws_member_view *v, ws_member_entry **link);

/** Add a member, or change its data. @return the entry; NULL: nothing has changed, or there is no memory */
ws_member_entry *ws_view_put(const ws_channels *h, ws_member_view *v, const ws_node *node, ws_id id,
                             const char *data, apr_size_t len, apr_uint32_t seen);

/** Drop the members of other processes that are not needed any more, and the view if it is empty. */
void ws_view_tidy(ws_channels *h, ws_member_view *v);

#endif
