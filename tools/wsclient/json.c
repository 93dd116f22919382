/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Writes events as JSON, one object per line. Data that JSON cannot represent is encoded in
 *  base64. */

#include "tools/wsclient/json.h"

#include <apr_base64.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "tools/wsclient/output.h"

static ws_strbuf json_begin(const char *event)
{
    ws_strbuf o = {0};
    ws_strbuf_puts(&o, "{\"event\":\"");
    ws_strbuf_puts(&o, event);
    ws_strbuf_puts(&o, "\"");
    return o;
}

static void json_member(ws_strbuf *o, const char *name, const char *data, apr_size_t len)
{
    ws_strbuf_puts(o, ",\"");
    ws_strbuf_puts(o, name);
    ws_strbuf_puts(o, "\":");
    ws_strbuf_json(o, data, len);
}

static void json_add_base64(ws_strbuf *o, const char *data, apr_size_t len)
{
    char *text = malloc((apr_size_t)apr_base64_encode_len((int)len));
    if (!text) {
        abort();
    }
    apr_base64_encode_binary(text, (const unsigned char *)data, (int)len);
    ws_strbuf_puts(o, text);
    free(text);
}

static void json_number(ws_strbuf *o, const char *name, long value)
{
    ws_strbuf_printf(o, ",\"%s\":%ld", name, value);
}

static void json_end(ws_strbuf *o, ws_conn *c)
{
    ws_strbuf_puts(o, "}\n");
    if (o->broken) {
        abort(); /* out of memory */
    }
    ws_output_write(c, o->data, o->len);
    ws_strbuf_free(o);
}

void ws_json_open(ws_conn *c)
{
    ws_strbuf o = json_begin("open");
    json_member(&o, "peer", ws_peer(c), strlen(ws_peer(c)));
    json_number(&o, "version", ws_version(c));
    if (ws_protocol(c)) {
        json_member(&o, "protocol", ws_protocol(c), strlen(ws_protocol(c)));
    }
    json_end(&o, c);
}

void ws_json_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_strbuf o = json_begin("message");
    if (type == WS_TEXT) {
        json_member(&o, "text", data, len);
    }
    else { /* encode bytes in base64, because JSON has no byte strings */
        ws_strbuf_puts(&o, ",\"base64\":\"");
        json_add_base64(&o, data, len);
        ws_strbuf_puts(&o, "\"");
    }
    json_end(&o, c);
}

void ws_json_close(ws_conn *c, int code, const char *reason, apr_size_t len, int clean)
{
    ws_strbuf o = json_begin("close");
    json_number(&o, "code", code);
    json_member(&o, "reason", reason, len);
    ws_strbuf_puts(&o, clean ? ",\"clean\":true" : ",\"clean\":false");
    json_end(&o, c);
}

/* Members that describe a response that refuses the handshake, for the next failure object. */
static ws_strbuf refusal;

void ws_json_refused(const ws_response *r)
{
    refusal.len = 0;
    json_member(&refusal, "answer", r->reason, strlen(r->reason));
    ws_strbuf_puts(&refusal, ",\"headers\":[");
    for (const char *const *h = r->headers; *h; h += 2) {
        ws_strbuf_puts(&refusal, h == r->headers ? "[" : ",[");
        ws_strbuf_json(&refusal, h[0], strlen(h[0]));
        ws_strbuf_puts(&refusal, ",");
        ws_strbuf_json(&refusal, h[1], strlen(h[1]));
        ws_strbuf_puts(&refusal, "]");
    }
    ws_strbuf_puts(&refusal, "]");
    json_member(&refusal, "body", r->body, r->body_len);
}

void ws_json_failure(const char *reason, int status)
{
    ws_strbuf o = json_begin("failure");
    json_member(&o, "reason", reason, strlen(reason));
    if (status) {
        json_number(&o, "status", status);
        ws_strbuf_add(&o, refusal.data, refusal.len);
    }
    json_end(&o, NULL);
    ws_strbuf_free(&refusal);
}
