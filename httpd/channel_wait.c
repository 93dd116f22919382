/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Blocks an httpd thread until other threads have reported on each channel of a request. After
 * ten seconds, or when the client disconnects or httpd stops, it withdraws the messages that have no
 * report yet.
 */

#include "httpd/channel_wait.h"

#include <apr_portable.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <http_core.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "httpd/child.h"

/* Maximum time that a request waits for its reports. */
#define PATIENCE apr_time_from_sec(10)

#define LATER "try again later"

struct ws_channel_wait {
    apr_uint32_t refs; /* atomic */
    int retries;
    apr_pool_t *pool;
    apr_thread_mutex_t *lock; /* protects the fields below */
    apr_thread_cond_t *told;
    ws_channel_part *open; /* parts that have no report yet */
    ws_strbuf text;
    unsigned done, failed, uncertain, refused;
};

ws_channel_wait *ws_channel_wait_new(int retries)
{
    ws_channel_wait *w = calloc(1, sizeof(*w));
    if (!w || apr_pool_create_unmanaged(&w->pool) != APR_SUCCESS) {
        free(w);
        return NULL;
    }
    w->refs = 1;
    w->retries = retries;
    apr_thread_mutex_create(&w->lock, APR_THREAD_MUTEX_DEFAULT, w->pool);
    apr_thread_cond_create(&w->told, w->pool);
    return w;
}

static void wait_unref(ws_channel_wait *w)
{
    if (__atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        ws_strbuf_free(&w->text);
        apr_pool_destroy(w->pool);
        free(w);
    }
}

ws_channel_part *ws_channel_part_new(ws_channel_wait *w, const char *channel, ws_message *m)
{
    ws_channel_part *p = calloc(1, sizeof(*p));
    if (p) {
        p->w = w;
        p->m = m ? ws_message_ref(m) : NULL;
        apr_cpystrn(p->channel, channel, sizeof(p->channel));
        __atomic_add_fetch(&w->refs, 1, __ATOMIC_RELAXED);
        apr_thread_mutex_lock(w->lock);
        p->next = w->open;
        w->open = p;
        apr_thread_mutex_unlock(w->lock);
    }
    return p;
}

/* Begin the JSON report on a channel, with the members that name the channel and the line. The
 * caller holds the lock. */
static ws_strbuf *wait_name(ws_channel_wait *w, const ws_channel_part *p)
{
    const char *channel = p->channel;
    ws_strbuf_puts(&w->text, w->text.len ? ",{\"channel\":" : "{\"channel\":");
    ws_strbuf_json(&w->text, channel, strlen(channel));
    if (p->line) {
        ws_strbuf_printf(&w->text, ",\"line\":%u", p->line);
    }
    return &w->text;
}

ws_strbuf *ws_channel_part_begin(ws_channel_part *p)
{
    apr_thread_mutex_lock(p->w->lock);
    p->w->done++;
    return wait_name(p->w, p);
}

void ws_channel_part_end(ws_channel_part *p)
{
    ws_channel_wait *w = p->w;
    ws_channel_part **link = &w->open;
    ws_strbuf_puts(&w->text, "}");
    while (*link != p) {
        link = &(*link)->next;
    }
    *link = p->next;
    apr_thread_cond_signal(w->told);
    apr_thread_mutex_unlock(w->lock);
    if (p->m) {
        ws_message_unref(p->m);
    }
    free(p);
    wait_unref(w);
}

/* Report a failure. The caller holds the lock. */
static void wait_fail(ws_channel_wait *w, const ws_channel_part *p, int uncertain)
{
    const char *doubt = p->doubt ? p->doubt : WS_UNCERTAIN_TEXT;
    ws_strbuf_printf(wait_name(w, p), ",\"error\":\"%s\"", uncertain ? doubt : LATER);
    w->failed += !uncertain;
    w->uncertain += uncertain != 0;
}

void ws_channel_part_fail(ws_channel_part *p, int uncertain)
{
    apr_thread_mutex_lock(p->w->lock);
    wait_fail(p->w, p, uncertain);
    ws_channel_part_end(p);
}

void ws_channel_part_refuse(ws_channel_part *p)
{
    apr_thread_mutex_lock(p->w->lock);
    ws_strbuf_puts(wait_name(p->w, p), ",\"error\":\"the application refuses it\"");
    p->w->refused++;
    ws_channel_part_end(p);
}

void ws_channel_wait_fail(ws_channel_wait *w)
{
    apr_thread_mutex_lock(w->lock);
    w->failed++;
    apr_thread_mutex_unlock(w->lock);
}

/* Whether the client has closed its side of the connection. If so, it expects no response. */
static int wait_client_is_gone(request_rec *r)
{
    struct pollfd p = {.events = POLLRDHUP};
    apr_socket_t *socket = r->connection->master ? NULL : ap_get_conn_socket(r->connection);
    apr_os_sock_t fd;
    if (!socket || apr_os_sock_get(&fd, socket) != APR_SUCCESS) {
        return r->connection->aborted;
    }
    p.fd = fd;
    return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/* Withdraw the messages without a report, as far as possible. The caller holds the lock. */
static void wait_give_up(ws_channel_wait *w)
{
    for (ws_channel_part *p = w->open; p; p = p->next) {
        wait_fail(w, p, p->m && !ws_message_withdraw(p->m));
        ws_strbuf_puts(&w->text, "}");
    }
}

static int wait_status(request_rec *r, const ws_channel_wait *w)
{
    if (w->uncertain) {
        return HTTP_GATEWAY_TIME_OUT;
    }
    if (!w->failed && !w->text.broken) {
        return w->refused ? HTTP_FORBIDDEN : HTTP_OK;
    }
    /* If some channels already have the message, send no Retry-After, because they would receive
     * the repeated message twice. */
    if (w->retries || !w->done) {
        apr_table_setn(r->err_headers_out, "Retry-After", "1");
    }
    return HTTP_SERVICE_UNAVAILABLE;
}

int ws_channel_wait_end(request_rec *r, ws_channel_wait *w, ws_strbuf *text)
{
    apr_time_t until = apr_time_now() + PATIENCE;
    int status;
    apr_thread_mutex_lock(w->lock);
    while (w->open && !wait_client_is_gone(r) && ws_child_wait(w->told, w->lock, until)) {
    }
    wait_give_up(w);
    status = wait_status(r, w);
    ws_strbuf_puts(text, "[");
    ws_strbuf_add(text, w->text.data, w->text.len);
    ws_strbuf_puts(text, "]");
    apr_thread_mutex_unlock(w->lock);
    wait_unref(w);
    return status;
}
