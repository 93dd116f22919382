/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "tools/wsclient/json.h"

#include <apr_base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/wsclient/output.h"

/* One object, as it grows. */
typedef struct object {
    char *text;
    apr_size_t len, size;
} object;

static char *room(object *o, apr_size_t len)
{
    if (o->size - o->len < len) {
        o->size = (o->len + len) * 2;
        if (!(o->text = realloc(o->text, o->size))) {
            abort();
        }
    }
    return o->text + o->len;
}

static void put(object *o, const char *text)
{
    size_t len = strlen(text);
    memcpy(room(o, len), text, len);
    o->len += len;
}

static void put_string(object *o, const char *data, apr_size_t len)
{
    char *start = room(o, 6 * len + 2), *out = start; /* \u0000 at most */
    *out++ = '"';
    for (apr_size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c == '"' || c == '\\') {
            *out++ = '\\';
            *out++ = (char)c;
        }
        else if (c < ' ' || c == 127) {
            out += sprintf(out, "\\u%04x", c);
        }
        else {
            *out++ = (char)c;
        }
    }
    *out++ = '"';
    o->len += (apr_size_t)(out - start);
}

static object begin(const char *event)
{
    object o = {NULL, 0, 0};
    put(&o, "{\"event\":\"");
    put(&o, event);
    put(&o, "\"");
    return o;
}

static void member(object *o, const char *name, const char *data, apr_size_t len)
{
    put(o, ",\"");
    put(o, name);
    put(o, "\":");
    put_string(o, data, len);
}

static void number(object *o, const char *name, long value)
{
    char text[64];
    snprintf(text, sizeof(text), ",\"%s\":%ld", name, value);
    put(o, text);
}

static void end(object *o, ws_conn *c)
{
    put(o, "}\n");
    ws_output_write(c, o->text, o->len);
    free(o->text);
}

void ws_json_open(ws_conn *c)
{
    object o = begin("open");
    member(&o, "peer", ws_peer(c), strlen(ws_peer(c)));
    number(&o, "version", ws_version(c));
    if (ws_protocol(c)) {
        member(&o, "protocol", ws_protocol(c), strlen(ws_protocol(c)));
    }
    end(&o, c);
}

void ws_json_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    object o = begin("message");
    if (type == WS_TEXT) {
        member(&o, "text", data, len);
    }
    else { /* JSON has no bytes */
        put(&o, ",\"base64\":\"");
        /* Its length counts a NUL. */
        o.len += (apr_size_t)apr_base64_encode_binary(
                     room(&o, (apr_size_t)apr_base64_encode_len((int)len)),
                     (const unsigned char *)data, (int)len)
                 - 1;
        put(&o, "\"");
    }
    end(&o, c);
}

void ws_json_close(ws_conn *c, int code, const char *reason, apr_size_t len, int clean)
{
    object o = begin("close");
    number(&o, "code", code);
    member(&o, "reason", reason, len);
    put(&o, clean ? ",\"clean\":true" : ",\"clean\":false");
    end(&o, c);
}

void ws_json_failure(const char *reason, int status)
{
    object o = begin("failure");
    member(&o, "reason", reason, strlen(reason));
    if (status) {
        number(&o, "status", status);
    }
    end(&o, NULL);
}
