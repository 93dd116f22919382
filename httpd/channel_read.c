/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Reads histories and lists channels over HTTP. Other threads collect the data, and the request
 * waits with a timeout.
 */

#include "httpd/channel_read.h"

#include <apr_base64.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <http_protocol.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "engine/json.h"
#include "httpd/access.h"
#include "httpd/channel_acl.h"
#include "httpd/channel_publish.h"
#include "httpd/channel_request.h"
#include "httpd/child.h"
#include "httpd/json_answer.h"
#include "httpd/query.h"

/* Maximum time to wait for an answer. Collecting a list takes at most two seconds. */
#define PATIENCE apr_time_from_sec(10)

/* Default for limit=, which is the number of messages or channels per page. */
#define LIMIT 100

/* ---- Waiting for another thread's answer ---- */

typedef struct answer {
    apr_uint32_t refs; /* atomic; the request and the other thread have one reference each */
    apr_pool_t *pool;
    apr_thread_mutex_t *lock;
    apr_thread_cond_t *told;
    int done, failed;
    ws_strbuf text;
    ws_listed_channel *channels; /* the names are in the same block of memory */
    apr_size_t count;
    int more, complete;
} answer;

static answer *read_answer_new(void)
{
    answer *a = calloc(1, sizeof(*a));
    if (!a || apr_pool_create_unmanaged(&a->pool) != APR_SUCCESS) {
        free(a);
        return NULL;
    }
    a->refs = 2;
    apr_thread_mutex_create(&a->lock, APR_THREAD_MUTEX_DEFAULT, a->pool);
    apr_thread_cond_create(&a->told, a->pool);
    return a;
}

static void read_answer_unref(answer *a)
{
    if (__atomic_sub_fetch(&a->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        ws_strbuf_free(&a->text);
        free(a->channels);
        apr_pool_destroy(a->pool);
        free(a);
    }
}

static void read_answer_done(answer *a)
{
    apr_thread_mutex_lock(a->lock);
    a->done = 1;
    apr_thread_cond_signal(a->told);
    apr_thread_mutex_unlock(a->lock);
    read_answer_unref(a);
}

/* Wait for the answer. @return whether it has arrived and is complete */
static int read_answer_wait(answer *a)
{
    apr_time_t until = apr_time_now() + PATIENCE;
    int done;
    apr_thread_mutex_lock(a->lock);
    while (!a->done && ws_child_wait(a->told, a->lock, until)) {
    }
    done = a->done && !a->failed && !a->text.broken;
    apr_thread_mutex_unlock(a->lock);
    return done;
}

static int read_refuse(request_rec *r, int status, const char *why)
{
    return ws_json_refuse(r, "channels", status, why);
}

/* ---- Histories ---- */

static void read_add_message(ws_strbuf *t, const ws_event *e)
{
    char position[WS_POSITION_SIZE];
    if (e->type == WS_BINARY || memchr(e->data, 0, e->len)) {
        char *text = malloc((apr_size_t)apr_base64_encode_len((int)e->len) + 1);
        t->broken |= !text;
        if (text) {
            apr_base64_encode_binary(text, (const unsigned char *)e->data, (int)e->len);
            ws_strbuf_printf(t, "{\"encoding\":\"base64\",\"data\":\"");
            ws_strbuf_puts(t, text);
            ws_strbuf_puts(t, "\"");
        }
        free(text);
    }
    else {
        ws_strbuf_puts(t, "{\"data\":");
        ws_strbuf_json(t, e->data, e->len);
    }
    if (e->event) {
        ws_strbuf_puts(t, ",\"event\":");
        ws_strbuf_json(t, e->event, strlen(e->event));
    }
    if (e->key) {
        ws_strbuf_puts(t, ",\"key\":");
        ws_strbuf_json(t, e->key, strlen(e->key));
    }
    ws_strbuf_printf(t, ",\"position\":\"%s\"}", ws_print_position(e->position, position));
}

static void read_has_part(const char *channel, const ws_history_part *part, void *arg)
{
    answer *a = arg;
    ws_strbuf *t = &a->text;
    char position[WS_POSITION_SIZE];
    a->failed = part->status != APR_SUCCESS;
    ws_strbuf_puts(t, "{\"channel\":");
    ws_strbuf_json(t, channel, strlen(channel));
    ws_strbuf_puts(t, ",\"messages\":[");
    for (apr_size_t i = 0; i < part->count; i++) {
        ws_strbuf_puts(t, i ? "," : "");
        read_add_message(t, &part->events[i]);
    }
    ws_strbuf_printf(t, "],\"more\":%s,\"gap\":%s", part->more ? "true" : "false",
                     part->gap ? "true" : "false");
    if (part->head.epoch) {
        ws_strbuf_printf(t, ",\"position\":\"%s\"", ws_print_position(part->head, position));
    }
    ws_strbuf_puts(t, "}");
    read_answer_done(a);
}

/* Parse limit=. @return whether it is valid */
static int read_limit(request_rec *r, apr_int64_t most, apr_int64_t *limit)
{
    const char *text = ws_argument(r, "limit");
    *limit = LIMIT;
    return !text || !ws_parse_count(NULL, text, 1, most, limit);
}

/* Send the answer, or 503, and release the answer. */
static int read_send(request_rec *r, answer *a)
{
    ws_strbuf t = {NULL, 0, 0, 0};
    if (!read_answer_wait(a)) {
        read_answer_unref(a);
        apr_table_setn(r->err_headers_out, "Retry-After", "1");
        return read_refuse(r, HTTP_SERVICE_UNAVAILABLE, "try again later");
    }
    t = a->text;
    a->text = (ws_strbuf){NULL, 0, 0, 0};
    read_answer_unref(a);
    return ws_json_send(r, HTTP_OK, &t);
}

int ws_channel_read(request_rec *r, const apr_array_header_t *names, int subscriber)
{
    ws_action action = subscriber ? WS_MAY_SUBSCRIBE : WS_MAY_PUBLISH;
    const char *wrong = ws_channel_forbidden(r, action, names), *before = ws_argument(r, "before");
    const char *channel = APR_ARRAY_IDX(names, 0, const char *);
    ws_position at = {0, 0};
    apr_int64_t limit;
    answer *a;
    ws_status s;
    if (wrong) {
        return read_refuse(r, HTTP_FORBIDDEN, wrong);
    }
    if (names->nelts != 1 || (before && *before && !ws_parse_position(before, &at))
        || !read_limit(r, WS_HISTORY_LIMIT, &limit)) {
        return read_refuse(r, HTTP_BAD_REQUEST,
                           "expected one channel, a position in before=, and a number from 1 to "
                           "1000 in limit=");
    }
    if (!(a = read_answer_new())) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    if ((s = ws_read_history(channel, at, (apr_uint32_t)limit, read_has_part, a)) < 0) {
        read_answer_unref(a);
        read_answer_unref(a);
        return s == WS_MISPLACED ? read_refuse(r, HTTP_NOT_FOUND, "the channel has no history")
                                 : HTTP_SERVICE_UNAVAILABLE;
    }
    return read_send(r, a);
}

/* ---- List of channels ---- */

static void read_has_list(const ws_listed_channel *channels, apr_size_t count, int more,
                          int complete, void *arg)
{
    answer *a = arg;
    apr_size_t size = count * sizeof(*channels);
    char *at;
    for (apr_size_t i = 0; i < count; i++) {
        size += strlen(channels[i].channel) + 1;
    }
    if ((a->channels = malloc(size + 1))) {
        at = (char *)(a->channels + count);
        for (apr_size_t i = 0; i < count; i++) {
            a->channels[i].subscribers = channels[i].subscribers;
            a->channels[i].channel = strcpy(at, channels[i].channel);
            at += strlen(at) + 1;
        }
    }
    a->failed = !a->channels;
    a->count = count;
    a->more = more;
    a->complete = complete;
    read_answer_done(a);
}

static void read_print_list(request_rec *r, const answer *a,
                            int (*allowed)(request_rec *r, const char *channel), ws_strbuf *t)
{
    const char *last = NULL;
    int n = 0;
    ws_strbuf_puts(t, "{\"channels\":[");
    for (apr_size_t i = 0; i < a->count; i++) {
        last = a->channels[i].channel;
        if (!allowed || allowed(r, last)) {
            ws_strbuf_puts(t, n++ ? ",{\"channel\":" : "{\"channel\":");
            ws_strbuf_json(t, last, strlen(last));
            ws_strbuf_printf(t, ",\"subscribers\":%u}", a->channels[i].subscribers);
        }
    }
    ws_strbuf_printf(t, "],\"more\":%s,\"complete\":%s", a->more ? "true" : "false",
                     a->complete ? "true" : "false");
    /* The next page starts after `last`, even if `last` is not shown. */
    if (a->more && last) {
        ws_strbuf_puts(t, ",\"after\":");
        ws_strbuf_json(t, last, strlen(last));
    }
    ws_strbuf_puts(t, "}");
}

int ws_channel_list_json(request_rec *r, const char *prefix, const char *after, apr_uint32_t limit,
                         int (*allowed)(request_rec *r, const char *channel), ws_strbuf *t)
{
    answer *a = read_answer_new();
    if (!a || ws_list_channels(prefix, after, limit, read_has_list, a) < 0) {
        if (a) {
            read_answer_unref(a);
            read_answer_unref(a);
        }
        return -1;
    }
    if (read_answer_wait(a)) {
        read_print_list(r, a, allowed, t);
    }
    else {
        ws_strbuf_puts(t, "{\"channels\":[],\"more\":false,\"complete\":false}");
    }
    read_answer_unref(a);
    return 0;
}

/* A client that may publish to a channel may also see it in the list. */
static int read_may_list(request_rec *r, const char *channel)
{
    return ws_access_request_may(r, WS_MAY_PUBLISH, channel);
}

int ws_channel_list(request_rec *r)
{
    const char *prefix = ws_argument(r, "prefix"), *after = ws_argument(r, "after"), *wrong;
    apr_array_header_t *none = apr_array_make(r->pool, 1, sizeof(const char *));
    ws_strbuf t = {NULL, 0, 0, 0};
    apr_int64_t limit;
    if ((wrong = ws_channel_forbidden(r, WS_MAY_PUBLISH, none))) {
        return read_refuse(r, HTTP_FORBIDDEN, wrong);
    }
    if (!read_limit(r, WS_LIST_LIMIT, &limit)
        || ws_channel_list_json(r, prefix, after ? after : "", (apr_uint32_t)limit, read_may_list,
                                &t)
               < 0) {
        return read_refuse(r, HTTP_BAD_REQUEST,
                           "expected only characters of channel names in prefix= and after=, and a "
                           "number from 1 to 1000 in limit=");
    }
    return ws_json_send(r, HTTP_OK, &t);
}
