/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Reads and writes the socket of a connection, with or without TLS. Bytes that the socket does not
 *  accept stay in memory. */

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tools/wsbench/connection.h"

static SSL_CTX *tls;

const char *socket_prepare_tls(void)
{
    static char error[WS_TLS_ERROR];
    const ws_tls_files files = {.ca_file = opt.ca_file,
                                .insecure = opt.insecure,
                                .key_log = secure_getenv("SSLKEYLOGFILE")};
    if (!(tls = ws_tls_context(&files, error))) {
        return error;
    }
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    return NULL;
}

void socket_start_tls(peer *p)
{
    p->ssl = memory_must(ws_tls_connect(tls, p->fd, p->to->url.host, opt.insecure));
}

int socket_continue_tls(peer *p)
{
    int result, error;
    ERR_clear_error();
    errno = 0;
    result = SSL_connect(p->ssl);
    error = SSL_get_error(p->ssl, result);
    if (result == 1) {
        return 1;
    }
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

const char *socket_reason(const peer *p)
{
    unsigned long error = p->ssl ? ERR_peek_last_error() : 0;
    long verified = p->ssl ? SSL_get_verify_result(p->ssl) : X509_V_OK;
    if (p->state == PEER_TLS && verified != X509_V_OK) {
        return X509_verify_cert_error_string(verified);
    }
    return error && ERR_reason_error_string(error) ? ERR_reason_error_string(error)
           : errno                                 ? strerror(errno)
                                                   : "the server closed the connection";
}

ssize_t socket_read(peer *p, void *buf, size_t size)
{
    ssize_t n;
    int error;
    errno = 0;
    if (!p->ssl) {
        do {
            n = recv(p->fd, buf, size, 0);
        } while (n < 0 && errno == EINTR);
        return n < 0 && errno == EAGAIN ? 0 : n == 0 ? -1 : n;
    }
    ERR_clear_error();
    n = SSL_read(p->ssl, buf, (int)size);
    if (n > 0) {
        return n;
    }
    error = SSL_get_error(p->ssl, (int)n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t socket_write(peer *p, const void *buf, size_t size)
{
    ssize_t n;
    int error;
    errno = 0;
    if (!p->ssl) {
        do {
            n = send(p->fd, buf, size, MSG_NOSIGNAL);
        } while (n < 0 && errno == EINTR);
        return n < 0 && errno == EAGAIN ? 0 : n;
    }
    ERR_clear_error();
    n = SSL_write(p->ssl, buf, (int)size);
    if (n > 0) {
        return n;
    }
    error = SSL_get_error(p->ssl, (int)n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

int socket_flush(peer *p)
{
    while (p->pending_at < p->pending_len) {
        ssize_t n = socket_write(p, p->pending + p->pending_at, p->pending_len - p->pending_at);
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            return 0;
        }
        p->pending_at += (size_t)n;
    }
    free(p->pending);
    p->pending = NULL;
    p->pending_len = p->pending_at = 0;
    return 0;
}

int socket_send(peer *p, const unsigned char *data, size_t len)
{
    while (len > 0 && !p->pending) {
        ssize_t n = socket_write(p, data, len);
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        data += n;
        len -= (size_t)n;
    }
    if (len > 0) {
        /* this keeps the order of bytes, and repeats an incomplete write of OpenSSL */
        p->pending = memory_must(realloc(p->pending, p->pending_len + len));
        memcpy(p->pending + p->pending_len, data, len);
        p->pending_len += len;
    }
    return 0;
}
