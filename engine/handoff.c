/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Passes a connection from the thread that did the handshake to the connection's loop. If the
 * engine stops before the loop accepts the connection, the connection is dropped.
 */

#include "engine/handoff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/hixie.h"

void ws_new_conn_drop(const ws_new_conn *n)
{
    ws_chain_free(n->chain);
    free(n->outgoing);
    SSL_free(n->ssl);
    close(n->fd);
    if (n->pool) {
        apr_pool_destroy(n->pool);
    }
    ws_tickets_release(n->ticket);
}

const ws_framing *ws_new_conn_framing(const ws_new_conn *n)
{
    return n->framing ? n->framing : ws_hixie_framing(n->version);
}

static void handoff_drop(ws_handoff *h)
{
    ws_new_conn_drop(&h->from);
    free(h->early);
    free(h->framer);
    free(h);
}

/* Create the connection. Runs on the loop. */
static void handoff_accept(ws_loop *loop, ws_task *task)
{
    ws_handoff *h = (ws_handoff *)task;
    int outgoing = h->from.outgoing != NULL;
    if (__atomic_load_n(&loop->engine->stopping, __ATOMIC_ACQUIRE)
        || ws_conn_create(loop, h) < 0) { /* on failure, nothing else drops the connection */
        handoff_drop(h);
        ws_loop_left(loop, outgoing);
        return;
    }
    free(h);
}

static ws_framer *handoff_framer(const ws_framing *framing, const ws_new_conn *n)
{
    ws_framer *f = calloc(1, framing->size);
    if (f) {
        f->framing = framing;
        if (n->connecting) {
            memcpy(((ws_hixie *)f)->numbers, n->numbers, sizeof(n->numbers));
        }
    }
    return f;
}

/* Prepare a handoff. @return NULL: out of memory, and n has been dropped */
static ws_handoff *handoff_new(const ws_new_conn *n)
{
    apr_size_t strings = ws_strings_size(&n->strings);
    ws_handoff *h = ws_task_new(sizeof(*h) + strings, handoff_accept);
    const ws_framing *framing = ws_new_conn_framing(n);

    if (!h) {
        ws_new_conn_drop(n);
        return NULL;
    }
    h->from = *n;
    h->strings_size = strings;
    ws_strings_pack(h->strings, &n->strings);
    h->early = n->early_len ? ws_bytes_new(n->early, n->early_len) : NULL;
    h->framer = framing ? handoff_framer(framing, n) : NULL;
    if ((n->early_len && !h->early) || (framing && !h->framer)) {
        handoff_drop(h);
        return NULL;
    }
    return h;
}

apr_status_t ws_engine_add(ws_engine *e, const ws_new_conn *n)
{
    ws_loop *loop = n->loop ? n->loop : ws_engine_least_busy(e);
    ws_handoff *h = handoff_new(n);

    if (!h) {
        return APR_ENOMEM;
    }
    ws_loop_entered(loop, 0);
    if (__atomic_load_n(&e->stopping, __ATOMIC_ACQUIRE) || ws_loop_post(loop, &h->task) < 0) {
        ws_loop_left(loop, 0);
        handoff_drop(h);
        return ESHUTDOWN;
    }
    return APR_SUCCESS;
}

apr_status_t ws_handoff_here(ws_loop *loop, const ws_new_conn *n)
{
    ws_handoff *h = handoff_new(n);
    if (!h) {
        ws_loop_left(loop, n->outgoing != NULL);
        return APR_ENOMEM;
    }
    handoff_accept(loop, &h->task);
    return APR_SUCCESS;
}
