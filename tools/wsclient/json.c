/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "tools/wsclient/json.h"

#include <apr_base64.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "tools/wsclient/output.h"

static ws_strbuf begin(const char *event)
{
    ws_strbuf o = {0};
    ws_strbuf_puts(&o, "{\"event\":\"");
    ws_strbuf_puts(&o, event);
    ws_strbuf_puts(&o, "\"");
    return o;
}

static void member(ws_strbuf *o, const char *name, const char *data, apr_size_t len)
{
    ws_strbuf_puts(o, ",\"");
    ws_strbuf_puts(o, name);
    ws_strbuf_puts(o, "\":");
    ws_strbuf_json(o, data, len);
}

static void add_base64(ws_strbuf *o, const char *data, apr_size_t len)
{
    char *text = malloc((apr_size_t)apr_base64_encode_len((int)len));
    if (!text) {
        abort();
    }
    apr_base64_encode_binary(text, (const unsigned char *)data, (int)len);
    ws_strbuf_puts(o, text);
    free(text);
}

static void number(ws_strbuf *o, const char *name, long value)
{
    ws_strbuf_printf(o, ",\"%s\":%ld", name, value);
}

static void end(ws_strbuf *o, ws_conn *c)
{
    ws_strbuf_puts(o, "}\n");
    if (o->broken) {
        abort(); /* no memory */
    }
    ws_output_write(c, o->data, o->len);
    ws_strbuf_free(o);
}

void ws_json_open(ws_conn *c)
{
    ws_strbuf o = begin("open");
    member(&o, "peer", ws_peer(c), strlen(ws_peer(c)));
    number(&o, "version", ws_version(c));
    if (ws_protocol(c)) {
        member(&o, "protocol", ws_protocol(c), strlen(ws_protocol(c)));
    }
    end(&o, c);
}

void ws_json_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_strbuf o = begin("message");
    if (type == WS_TEXT) {
        member(&o, "text", data, len);
    }
    else { /* JSON has no bytes */
        ws_strbuf_puts(&o, ",\"base64\":\"");
        add_base64(&o, data, len);
        ws_strbuf_puts(&o, "\"");
    }
    end(&o, c);
}

void ws_json_close(ws_conn *c, int code, const char *reason, apr_size_t len, int clean)
{
    ws_strbuf o = begin("close");
    number(&o, "code", code);
    member(&o, "reason", reason, len);
    ws_strbuf_puts(&o, clean ? ",\"clean\":true" : ",\"clean\":false");
    end(&o, c);
}

/* What a failure has of the answer that refused: an object's members, as they stand there. */
static ws_strbuf refusal;

void ws_json_refused(const ws_response *r)
{
    refusal.len = 0;
    member(&refusal, "answer", r->reason, strlen(r->reason));
    ws_strbuf_puts(&refusal, ",\"headers\":[");
    for (const char *const *h = r->headers; *h; h += 2) {
        ws_strbuf_puts(&refusal, h == r->headers ? "[" : ",[");
        ws_strbuf_json(&refusal, h[0], strlen(h[0]));
        ws_strbuf_puts(&refusal, ",");
        ws_strbuf_json(&refusal, h[1], strlen(h[1]));
        ws_strbuf_puts(&refusal, "]");
    }
    ws_strbuf_puts(&refusal, "]");
    member(&refusal, "body", r->body, r->body_len);
}

void ws_json_failure(const char *reason, int status)
{
    ws_strbuf o = begin("failure");
    member(&o, "reason", reason, strlen(reason));
    if (status) {
        number(&o, "status", status);
        ws_strbuf_add(&o, refusal.data, refusal.len);
    }
    end(&o, NULL);
    ws_strbuf_free(&refusal);
}
