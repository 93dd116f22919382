/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Publishes one message over HTTP, to one channel or to several. */

#include "httpd/channel_publish.h"

#include <apr_strings.h>
#include <http_protocol.h>
#include <string.h>

#include "base/parse.h"
#include "httpd/json_answer.h"
#include "httpd/query.h"
#include "httpd/request_body.h"

static int publish_refuse(request_rec *r, int status, const char *why)
{
    return ws_json_refuse(r, "channels", status, why);
}

static void publish_add_position(ws_strbuf *t, ws_position p)
{
    char text[WS_POSITION_SIZE];
    if (p.epoch) {
        ws_strbuf_printf(t, ",\"position\":\"%s\"", ws_print_position(p, text));
    }
}

int ws_channel_answer(request_rec *r, ws_channel_wait *w, const char *name)
{
    ws_strbuf t = {NULL, 0, 0, 0};
    int status;
    ws_strbuf_printf(&t, "{\"%s\":", name);
    status = ws_channel_wait_end(r, w, &t);
    ws_strbuf_puts(&t, "}");
    return ws_json_send(r, status, &t);
}

static void publish_told(const ws_published *what, void *arg)
{
    ws_channel_part *p = arg;
    ws_strbuf *t;
    if (what->status == WS_FORBIDDEN) {
        ws_channel_part_refuse(p);
        return;
    }
    if (what->status < 0) {
        ws_channel_part_fail(p, what->status == WS_UNCERTAIN);
        return;
    }
    t = ws_channel_part_begin(p);
    publish_add_position(t, what->position);
    ws_strbuf_printf(t, ",\"receivers\":%u", what->receivers);
    if (what->missed) {
        ws_strbuf_printf(t, ",\"missed\":%u", what->missed);
    }
    if (what->duplicate) {
        ws_strbuf_puts(t, ",\"duplicate\":true");
    }
    ws_channel_part_end(p);
}

/* Get the id from the header Idempotency-Key, with or without quotes, or from id=. @return NULL:
 * none */
static const char *publish_id_of(request_rec *r)
{
    const char *id = apr_table_get(r->headers_in, "Idempotency-Key");
    apr_size_t len = id ? strlen(id) : 0;
    return !id ? ws_argument(r, "id")
           : len >= 2 && id[0] == '"' && id[len - 1] == '"'
               ? apr_pstrmemdup(r->pool, id + 1, len - 2)
               : id;
}

void ws_channel_publish_one(ws_channel_wait *w, const char *name, ws_message *m, unsigned line)
{
    ws_channel_part *p = m ? ws_channel_part_new(w, name, m) : NULL;
    if (p) {
        p->line = line;
    }
    if (!p) {
        ws_channel_wait_fail(w);
    }
    else if (ws_publish_message(m, publish_told, p) < 0) {
        ws_channel_part_fail(p, 0);
    }
    if (m) {
        ws_message_unref(m);
    }
}

/* Parse key=, event= and ttl=. @return NULL, or the error */
static const char *publish_fields(request_rec *r, ws_publication *how)
{
    const char *ttl = ws_argument(r, "ttl"), *wrong;
    apr_int64_t ms = 0;
    how->size = sizeof(*how);
    how->id = publish_id_of(r);
    how->key = ws_argument(r, "key");
    how->event = ws_argument(r, "event");
    if (ttl
        && (wrong = ws_parse_interval(r->pool, ttl, 1000, WS_TTL_MAX * APR_INT64_C(1000), &ms))) {
        return apr_pstrcat(r->pool, "ttl= ", wrong, NULL);
    }
    how->ttl = (apr_uint32_t)(ms / 1000);
    return ms % 1000 ? "ttl= takes whole seconds" : NULL;
}

/* Create one message per channel. m is set to the messages. @return NULL; or the error, after
 * freeing all messages */
static const char *publish_make(const apr_array_header_t *names, ws_type type, const char *data,
                                apr_size_t len, const ws_publication *how, ws_message **m)
{
    for (int i = 0; i < names->nelts; i++) {
        ws_status s =
            ws_message_create(APR_ARRAY_IDX(names, i, const char *), type, data, len, how, &m[i]);
        if (s < 0) {
            while (i--) {
                ws_message_unref(m[i]);
            }
            return ws_channel_problem(s);
        }
    }
    return NULL;
}

const char *ws_channel_problem(ws_status status)
{
    switch (status) {
    case WS_BAD_NAME:
        return "invalid id or channel name: an id (Idempotency-Key or id=) must have 1 to 255 "
               "bytes after percent-decoding, and a channel name must have 1 to 200 of the "
               "characters A-Z a-z 0-9 - _ . ~ : / @ + = !";
    case WS_BAD_TEXT:
        return "invalid text, key or event: text must be UTF-8, a key or event must have 1 to 255 "
               "bytes without control characters, and the event must not be \"gap\", \"live\" or "
               "\"binary\"";
    case WS_TOO_BIG:
        return "the message is larger than 16 MiB, the limit of a channel message";
    default:
        return "out of memory";
    }
}

int ws_channel_publish(request_rec *r, const apr_array_header_t *names)
{
    ws_message **m = apr_pcalloc(r->pool, (apr_size_t)names->nelts * sizeof(ws_message *));
    ws_publication how = {.size = 0};
    const char *data, *why;
    apr_size_t len;
    ws_type type = ws_body_type(r);
    ws_channel_wait *w;
    int status;

    if (!type) {
        return publish_refuse(r, HTTP_UNSUPPORTED_MEDIA_TYPE, "text must be UTF-8");
    }
    if ((status = ws_body_read(r, &data, &len, &why)) != OK) {
        return why ? publish_refuse(r, status, why) : status;
    }
    if ((why = publish_fields(r, &how)) || (why = publish_make(names, type, data, len, &how, m))) {
        return publish_refuse(r, HTTP_BAD_REQUEST, why);
    }
    if (!(w = ws_channel_wait_new(how.id != NULL))) {
        for (int i = 0; i < names->nelts; i++) {
            ws_message_unref(m[i]);
        }
        return HTTP_SERVICE_UNAVAILABLE;
    }
    for (int i = 0; i < names->nelts; i++) {
        m[i]->by = r->user ? strdup(r->user) : NULL;
        ws_channel_publish_one(w, APR_ARRAY_IDX(names, i, const char *), m[i], 0);
    }
    return ws_channel_answer(r, w, "published");
}
