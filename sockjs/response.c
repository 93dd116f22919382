/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Writes responses. Writing never blocks: bytes that the socket does not accept are buffered, and
 * the session meanwhile stops reading from its handler's connection. When a response is finished,
 * this file shuts the socket down for writing. It closes the socket after the client has closed the
 * other side, because an earlier close could reset the connection and destroy the last bytes. The
 * client gets more time as long as it receives data.
 */

#include "sockjs/response.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/socket.h"

/* Minimum size of frames that are sent in parts, bytes. */
#define RESPONSE_PART (16 * 1024)

/* Time without progress after which a finished response is closed, milliseconds. */
#define RESPONSE_LINGER 5000

/* Time after which a finished response is closed in any case, milliseconds. It is enough to receive
 * what the kernel's send buffer may hold (4 MB) at 10 KB/s. */
#define RESPONSE_ENDING_MAX 600000

/* Maximum number of bytes that a client may send after its request, TLS records included. HTTP
 * clients send nothing, but TLS may add some records. */
#define RESPONSE_INPUT_MAX (64 * 1024)

/* Maximum number of reads in one turn of the loop. */
#define RESPONSE_READS 16

/* Padding, bytes. Some browsers process a response only after they have received this much. See
 * SockJS protocol 0.3.3. */
#define RESPONSE_PRELUDE 2048
#define RESPONSE_PAGE 1024

static void response_empty(ws_strbuf *t)
{
    int broken = t->broken;
    ws_strbuf_free(t);
    *t = (ws_strbuf){NULL, 0, 0, broken};
}

static void response_free(ws_handle *g)
{
    ws_sockjs_response *r = (ws_sockjs_response *)g;
    ws_strbuf_free(&r->frame);
    ws_strbuf_free(&r->out);
    free(r);
}

/* Send close_notify: RFC 8446, section 6.1. It cannot be sent inside of a record, and must not be
 * sent if the response is aborted, because a response without chunks would then seem complete. */
static void response_notify(ws_sockjs_response *r)
{
    if (r->ssl && !r->write_shut && r->pos == r->out.len && !r->out.broken) {
        ERR_clear_error();
        SSL_shutdown(r->ssl);
    }
}

void ws_sockjs_response_drop(ws_sockjs_response *r)
{
    if (r->ended) {
        r->ended(r);
    }
    if (r->conn) {
        response_free(&r->handle);
        return;
    }
    ws_timer_wheel_clear(&r->handle.loop->event.wheel, &r->alarm);
    ws_handle_close(&r->handle);
    response_notify(r);
    SSL_free(r->ssl);
    close(r->fd);
}

static void response_stop(ws_handle *g)
{
    ws_sockjs_response *r = (ws_sockjs_response *)g;
    if (r->ending) {
        ws_sockjs_response_drop(r);
    }
    else {
        r->gone(r);
    }
}

static void response_alarm_in(ws_sockjs_response *r, apr_uint32_t ms)
{
    int waiting = 0;
    ws_socket_taken(r->fd, &r->taken, &waiting);
    ws_timer_wheel_set(&r->handle.loop->event.wheel, &r->alarm, r->handle.loop->event.now + ms);
}

/* Whether the client has received data since the alarm was set. Behind a socket pair, another
 * thread or process checks this, and ends the pair. */
static int response_progresses(const ws_sockjs_response *r)
{
    apr_uint32_t taken;
    int waiting = 0;
    return ws_socket_taken(r->fd, &taken, &waiting) < 0 ? !r->to_engine : taken != r->taken;
}

static void response_expired(ws_alarm *a)
{
    ws_sockjs_response *r = (ws_sockjs_response *)((char *)a - offsetof(ws_sockjs_response, alarm));
    apr_uint32_t passed = r->handle.loop->event.now - r->since;
    if (passed < RESPONSE_ENDING_MAX && response_progresses(r)) {
        response_alarm_in(r, RESPONSE_LINGER);
    }
    else {
        ws_sockjs_response_drop(r);
    }
}

/* ---- The socket ---- */

/* Write to the client. @return bytes written; 0: the socket is full; -1: the connection broke */
static apr_ssize_t response_write(ws_sockjs_response *r, const char *data, apr_size_t len)
{
    apr_ssize_t n;
    if (r->ssl) {
        int done;
        ERR_clear_error();
        done = SSL_write(r->ssl, data, len > 1 << 20 ? 1 << 20 : (int)len);
        if (done > 0) {
            return done;
        }
        done = SSL_get_error(r->ssl, done);
        return done == SSL_ERROR_WANT_WRITE || done == SSL_ERROR_WANT_READ ? 0 : -1;
    }
    do {
        n = send(r->fd, data, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EAGAIN ? 0 : -1;
}

/* Read from the client once. @return bytes read; 0: nothing to read; -1: the connection has ended,
 * or must end because the client renegotiates */
static int response_read(ws_sockjs_response *r, char *buf, int size)
{
    ws_loop *loop = r->handle.loop;
    int n;
    if (!r->ssl) {
        n = (int)recv(r->fd, buf, (apr_size_t)size, 0);
        return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    loop->renegotiates = 0;
    ERR_clear_error();
    if ((n = SSL_read(r->ssl, buf, size)) <= 0) {
        n = SSL_get_error(r->ssl, n);
        n = n == SSL_ERROR_WANT_READ || n == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    return loop->renegotiates ? -1 : n;
}

/* Discard input after the request. The loop comes back if more input is waiting. @return whether
 * the client is still connected and has not sent too much */
static int response_discard(ws_sockjs_response *r)
{
    char buf[4096];
    int n = 1;
    for (int i = 0; n > 0 && i < RESPONSE_READS; i++) {
        n = response_read(r, buf, sizeof(buf));
        r->discarded += n > 0 ? (apr_uint64_t)n : 0;
    }
    if (r->ssl) {
        r->discarded = BIO_number_read(SSL_get_rbio(r->ssl));
    }
    return n >= 0 && (r->discarded <= RESPONSE_INPUT_MAX || r->to_engine);
}

static int response_watch(ws_sockjs_response *r)
{
    unsigned events = WS_READABLE | (r->out.len > r->pos ? WS_WRITABLE : 0u);
    return ws_handle_watch(&r->handle, r->fd, events) == APR_SUCCESS ? 0 : -1;
}

int ws_sockjs_response_flush(ws_sockjs_response *r)
{
    if (r->conn || r->out.broken) {
        return r->out.broken ? -1 : 0;
    }
    while (r->pos < r->out.len) {
        apr_ssize_t n = response_write(r, r->out.data + r->pos, r->out.len - r->pos);
        if (n < 0) {
            return -1;
        }
        if (!n) {
            return response_watch(r);
        }
        r->pos += (apr_size_t)n;
    }
    response_empty(&r->out);
    r->pos = 0;
    return response_watch(r);
}

int ws_sockjs_response_blocked(const ws_sockjs_response *r)
{
    return r->conn ? ws_queued(r->conn) > RESPONSE_PART : r->out.len > r->pos;
}

static void response_linger(ws_sockjs_response *r)
{
    if (r->out.len == r->pos && !r->write_shut) {
        r->write_shut = 1;
        if (r->ssl) {
            SSL_shutdown(r->ssl);
        }
        shutdown(r->fd, SHUT_WR);
    }
    response_alarm_in(r, RESPONSE_LINGER);
}

static void response_ready_to_end(ws_sockjs_response *r, unsigned events)
{
    if (((events & WS_READABLE) && !response_discard(r))
        || (!r->write_shut && ws_sockjs_response_flush(r) < 0)) {
        ws_sockjs_response_drop(r);
    }
    else if (!r->write_shut) {
        response_linger(r);
    }
}

static void response_ready(ws_source *g, const ws_ready *ready)
{
    ws_sockjs_response *r = (ws_sockjs_response *)g;
    unsigned events = ready->events & WS_BROKEN ? WS_READABLE : ready->events;
    if (r->ending) {
        response_ready_to_end(r, events);
    }
    else if ((events & WS_READABLE) && !response_discard(r)) {
        r->gone(r);
    }
    else if (r->out.len > r->pos) {
        if (ws_sockjs_response_flush(r) < 0) {
            r->gone(r);
        }
        else if (!ws_sockjs_response_blocked(r)) {
            r->drained(r);
        }
    }
}

ws_sockjs_response *ws_sockjs_response_new(ws_loop *loop, int fd, SSL *ssl, ws_sockjs_kind kind)
{
    ws_sockjs_response *r = calloc(1, sizeof(*r));
    if (!r || (ssl && !SSL_set_fd(ssl, fd))) {
        free(r);
        SSL_free(ssl);
        close(fd);
        return NULL;
    }
    if (ssl) {
        SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                              | SSL_MODE_RELEASE_BUFFERS);
        ws_tls_watch_handshakes(ssl);
    }
    r->fd = fd;
    r->ssl = ssl;
    r->kind = (unsigned char)kind;
    r->handle.source.ready = response_ready;
    r->handle.stop = response_stop;
    r->handle.release = response_free;
    r->alarm.fn = response_expired;
    ws_handle_open(loop, &r->handle);
    return r;
}

ws_sockjs_response *ws_sockjs_response_to(ws_conn *c)
{
    ws_sockjs_response *r = calloc(1, sizeof(*r));
    if (r) {
        r->fd = -1;
        r->conn = c;
        r->kind = WS_SOCKJS_WEBSOCKET;
    }
    return r;
}

/* ---- The content ---- */

void ws_sockjs_response_head(ws_sockjs_response *r, const char *data, apr_size_t len)
{
    ws_strbuf_add(&r->out, data, len);
}

static void response_body(ws_sockjs_response *r, const char *data, apr_size_t len)
{
    if (!len) {
        return;
    }
    if (r->chunked) {
        ws_strbuf_printf(&r->out, "%lx\r\n", (unsigned long)len);
    }
    ws_strbuf_add(&r->out, data, len);
    ws_strbuf_puts(&r->out, r->chunked ? "\r\n" : "");
    r->sent += len;
}

static void response_page(ws_sockjs_response *r, ws_strbuf *t)
{
    ws_strbuf_printf(t,
                     "<!doctype html>\n<html><head>\n"
                     "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
                     "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n"
                     "</head><body><h2>Don't panic!</h2>\n  <script>\n"
                     "    document.domain = document.domain;\n    var c = parent.%s;\n"
                     "    c.start();\n    function p(d) {c.message(d);};\n"
                     "    window.onload = function() {c.stop();};\n  </script>\n",
                     r->callback);
    while (t->len < RESPONSE_PAGE + 2 && !t->broken) {
        ws_strbuf_add(t, " ", 1);
    }
    ws_strbuf_puts(t, "\r\n\r\n");
}

void ws_sockjs_response_prelude(ws_sockjs_response *r)
{
    ws_strbuf t = {NULL, 0, 0, 0};
    if (r->kind == WS_SOCKJS_XHR_STREAMING) {
        char h[RESPONSE_PRELUDE];
        memset(h, 'h', sizeof(h));
        ws_strbuf_add(&t, h, sizeof(h));
        ws_strbuf_puts(&t, "\n");
    }
    else if (r->kind == WS_SOCKJS_EVENTSOURCE) {
        ws_strbuf_puts(&t, "\r\n");
    }
    else if (r->kind == WS_SOCKJS_HTMLFILE) {
        response_page(r, &t);
    }
    response_body(r, t.data, t.len);
    r->out.broken |= t.broken;
    r->sent = 0; /* only frames count for the limit */
    ws_strbuf_free(&t);
}

int ws_sockjs_response_nested(const ws_sockjs_response *r)
{
    return r->kind == WS_SOCKJS_HTMLFILE || r->kind == WS_SOCKJS_JSONP;
}

void ws_sockjs_response_begin(ws_sockjs_response *r)
{
    if (r->kind == WS_SOCKJS_EVENTSOURCE) {
        ws_strbuf_puts(&r->frame, "data: ");
    }
    else if (r->kind == WS_SOCKJS_HTMLFILE) {
        ws_strbuf_puts(&r->frame, "<script>\np(\"");
    }
    else if (r->kind == WS_SOCKJS_JSONP) {
        ws_strbuf_printf(&r->frame, "%s(\"", r->callback);
    }
}

static void response_send_frame(ws_sockjs_response *r, unsigned last)
{
    if (r->frame.broken) {
        r->out.broken = 1;
    }
    if (!r->conn) {
        response_body(r, r->frame.data, r->frame.len);
    }
    else if (!r->parts && last) {
        ws_send(r->conn, WS_TEXT, r->frame.data, r->frame.len);
    }
    else {
        ws_send_part(r->conn, WS_TEXT, r->frame.data, r->frame.len,
                     (r->parts ? 0 : WS_FIRST) | last);
    }
    r->parts = !last;
    r->frame.len = 0;
}

void ws_sockjs_response_spill(ws_sockjs_response *r)
{
    if (r->frame.len >= RESPONSE_PART) {
        response_send_frame(r, 0);
    }
}

void ws_sockjs_response_end_frame(ws_sockjs_response *r)
{
    static const char *const ends[] = {[WS_SOCKJS_XHR] = "\n",
                                       [WS_SOCKJS_JSONP] = "\");\r\n",
                                       [WS_SOCKJS_XHR_STREAMING] = "\n",
                                       [WS_SOCKJS_EVENTSOURCE] = "\r\n\r\n",
                                       [WS_SOCKJS_HTMLFILE] = "\");\n</script>\r\n",
                                       [WS_SOCKJS_WEBSOCKET] = ""};
    ws_strbuf_puts(&r->frame, ends[r->kind]);
    response_send_frame(r, WS_LAST);
    response_empty(&r->frame);
}

void ws_sockjs_response_put(ws_sockjs_response *r, const char *frame)
{
    ws_sockjs_response_begin(r);
    ws_sockjs_puts(&r->frame, ws_sockjs_response_nested(r), frame);
    ws_sockjs_response_end_frame(r);
}

void ws_sockjs_response_finish(ws_sockjs_response *r)
{
    if (r->conn) {
        ws_sockjs_response_drop(r);
        return;
    }
    r->ending = 1;
    r->since = r->handle.loop->event.now;
    if (r->chunked) {
        ws_strbuf_puts(&r->out, "0\r\n\r\n");
    }
    if (ws_sockjs_response_flush(r) < 0) {
        ws_sockjs_response_drop(r);
    }
    else {
        response_linger(r);
    }
}
