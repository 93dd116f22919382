/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Views of channels. A view lists the members that a channel has in all processes, as far as this
 *  process knows them. Call all functions with the presence lock held. */

#ifndef WS_CHANNELS_MEMBERS_H
#define WS_CHANNELS_MEMBERS_H

#include "channels/subscriptions.h"

/** Number of buckets in the table of views. */
#define WS_VIEWS 256

typedef struct ws_member_entry {
    struct ws_member_entry *next;
    ws_node node;
    ws_id id;
    /* Value of ws_member_view.request when the member was last reported. When a process has
     * answered a question, its members with another number are removed. */
    apr_uint32_t seen;
    apr_size_t len;
    char data[]; /* an encoded member for ws_member_split(), plus a NUL */
} ws_member_entry;

/** A caller that waits for the list of a channel's members. */
typedef struct ws_presence_question {
    struct ws_presence_question *next;
    ws_presence_fn fn;
    void *arg;
    int locked; /* call fn with the lock held */
} ws_presence_question;

typedef struct ws_member_view {
    struct ws_member_view *next;
    apr_uint64_t hash;
    ws_member_entry **table;
    unsigned size, count, own;
    unsigned watchers;
    ws_presence_question *questions, **last;
    int asking;            /* 1: answers from other processes are pending */
    int known;             /* the view is complete */
    apr_uint32_t request;  /* number of the last question to the other processes (WS_PACKET_WHO) */
    apr_uint32_t deadline; /* time until which answers are awaited, ws_clock() */
    apr_uint32_t expected, answered; /* numbers of processes */
    unsigned len;
    char name[];
} ws_member_view;

struct ws_presence_state {
    apr_thread_mutex_t *lock;
    ws_member_view *views[WS_VIEWS];
    apr_uint32_t requests;
    ws_ticker *ticker; /* runs while answers are pending or members in other processes are known */
    unsigned ticks;
};

/** Whether two nodes are the same process, and whether a node is this process. */
int ws_node_same(const ws_node *a, const ws_node *b);
int ws_node_is_self(const ws_channels *h, const ws_node *n);

/** Get a channel's view. @param make  create it if it does not exist
 *  @return NULL: it does not exist, or memory is exhausted */
ws_member_view *ws_view_of(ws_channels *h, const char *name, unsigned len, apr_uint64_t hash,
                           int make);

/** Find the link to a member's entry, or the link at which to insert it. The view must have a
 *  table. */
ws_member_entry **ws_view_find(ws_member_view *v, const ws_node *node, ws_id id);

/** Remove and free an entry. */
void ws_view_take_out(const ws_channels *h, ws_member_view *v, ws_member_entry **link);

/** Add a member, or change its data. @return the entry; NULL: nothing has changed, or memory is
 *  exhausted */
ws_member_entry *ws_view_put(const ws_channels *h, ws_member_view *v, const ws_node *node, ws_id id,
                             const char *data, apr_size_t len, apr_uint32_t seen);

/** Remove entries that a view no longer needs. If no subscription watches the members and no
 *  answers are pending, the view does not need the members of other processes. If the view then has
 *  no members, free it. */
void ws_view_tidy(ws_channels *h, ws_member_view *v);

#endif
