/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Reads and writes for a connector (an outgoing connection that is being made), with or without
 * TLS. Never blocks. t->in_max limits the buffer for a response.
 */

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client/connector.h"

/* Initial size of the buffer for a response, bytes. It grows up to t->in_max. */
#define ANSWER_MIN 2048

apr_ssize_t ws_connector_wanted(ws_connector *t, int result)
{
    int system_error = errno, error = SSL_get_error(t->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        ws_handle_watch(&t->handle, t->fd,
                        error == SSL_ERROR_WANT_READ ? WS_READABLE : WS_WRITABLE);
        return 0;
    }
    ws_tls_explain(t->ssl, error, system_error, t->error);
    return -2;
}

int ws_connector_send(ws_connector *t, const char *who)
{
    while (t->out_sent < t->out_len) {
        const char *data = t->out + t->out_sent;
        apr_size_t len = t->out_len - t->out_sent;
        apr_ssize_t n;
        if (t->ssl) {
            ERR_clear_error();
            n = SSL_write(t->ssl, data, (int)len);
            if (n <= 0 && ws_connector_wanted(t, (int)n) < 0) {
                ws_connector_fail(t, 0, "%s", t->error);
            }
        }
        else if ((n = send(t->fd, data, len, MSG_NOSIGNAL)) < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EAGAIN) {
                ws_handle_watch(&t->handle, t->fd, WS_WRITABLE);
            }
            else {
                ws_connector_fail(t, 0, "%s: %s", who, strerror(errno));
            }
        }
        if (n <= 0) {
            return 0;
        }
        t->out_sent += (apr_size_t)n;
    }
    ws_handle_watch(&t->handle, t->fd, WS_READABLE);
    return 1;
}

/* Read up to len bytes. @return number of bytes; 0: no data yet; -1: end of stream; -2: error, in
 * t->error */
static apr_ssize_t io_receive(ws_connector *t, char *data, apr_size_t len)
{
    apr_ssize_t n;
    if (t->ssl) {
        ERR_clear_error();
        n = SSL_read(t->ssl, data, (int)len);
        return n > 0 ? n
               : SSL_get_error(t->ssl, (int)n) == SSL_ERROR_ZERO_RETURN
                   ? -1
                   : ws_connector_wanted(t, (int)n);
    }
    do {
        n = recv(t->fd, data, len, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
        snprintf(t->error, sizeof(t->error), "%s", strerror(errno));
        return -2;
    }
    return n > 0 ? n : n == 0 ? -1 : 0;
}

/* Enlarge the buffer if it is full. @return whether the buffer has room */
static int io_make_room(ws_connector *t)
{
    apr_size_t size = t->in_size ? t->in_size * 2 : ANSWER_MIN;
    char *in;
    if (t->in_len < t->in_size) {
        return 1;
    }
    size = size < t->in_max ? size : t->in_max;
    if (size <= t->in_len || !(in = realloc(t->in, size))) {
        return 0;
    }
    t->in = in;
    t->in_size = size;
    return 1;
}

apr_ssize_t ws_connector_receive(ws_connector *t)
{
    apr_ssize_t got;
    if (!io_make_room(t)) {
        return -3;
    }
    got = io_receive(t, t->in + t->in_len, t->in_size - t->in_len);
    t->in_len += got > 0 ? (apr_size_t)got : 0;
    return got;
}

void ws_connector_lost(ws_connector *t, const char *who, apr_ssize_t result)
{
    if (result == -3) {
        ws_connector_fail(t, 0, "%s: the answer's head is longer than %" APR_SIZE_T_FMT " bytes",
                          who, t->in_max);
    }
    else if (result == -1) {
        ws_connector_fail(t, 0, "%s: the connection was closed before an answer", who);
    }
    else if (t->ssl) {
        ws_connector_fail(t, 0, "%s", t->error);
    }
    else {
        ws_connector_fail(t, 0, "%s: %s", who, t->error);
    }
}

apr_size_t ws_connector_read_head(ws_connector *t, const char *who)
{
    static const char begin[] = "HTTP/1.";
    t->in_max = t->o.max_answer;
    for (;;) {
        apr_size_t head = ws_client_response_head(t->in, t->in_len), n = t->in_len;
        apr_ssize_t got;
        if (memcmp(t->in ? t->in : begin, begin, n < 7 ? n : 7) != 0) {
            ws_connector_fail(t, 0, "%s: the response is not HTTP/1.1", who);
            return 0;
        }
        if (head) {
            return head;
        }
        if ((got = ws_connector_receive(t)) <= 0) {
            if (got < 0) {
                ws_connector_lost(t, who, got);
            }
            return 0;
        }
    }
}
