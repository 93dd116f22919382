/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * TLS over a non-blocking socket. The SSL objects of a loop share one BIO for both directions: it
 * reads received records from the loop's cipher_in and gathers records to send in cipher_out. One
 * system call therefore carries many records, and an idle connection holds no buffer of the
 * engine.
 */

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/conn.h"
#include "engine/socket.h"

/* Maximum number of bytes that a read returns in addition to the plaintext of its own input. They
 * come from earlier input that OpenSSL holds: at most one incomplete record and one unread
 * record. */
#define HELD_BACK (2 * (SSL3_RT_MAX_PLAIN_LENGTH + 1024))

/* Maximum size of records waiting for the socket, bytes: one encrypted chunk, and records that
 * OpenSSL itself adds (replies to KeyUpdates, alerts). If a peer causes more of these without
 * reading, the connection ends. */
#define CIPHER_OUT_MAX (2 * WS_TLS_CHUNK)

/* OpenSSL's record buffers for a connection take 34 KB. By default, OpenSSL allocates and frees
 * them for each record. A busy connection keeps them from its fourth read or write on, until it has
 * been silent for WARM_MS to 2 * WARM_MS milliseconds. At most WARM_MAX connections of a loop keep
 * their buffers. */
#define WARM_MAX 1024
#define WARM_MS 1000
#define WARM_USES 4

/* Shared by all loops; ws_engine_create() creates it before any thread starts. */
static BIO_METHOD *method;

static int tls_bio_read(BIO *bio, char *buf, int size)
{
    ws_loop *loop = BIO_get_data(bio);
    apr_size_t n = loop->cipher_in_len - loop->cipher_in_pos;
    BIO_clear_retry_flags(bio);
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (n > (apr_size_t)size) {
        n = (apr_size_t)size;
    }
    memcpy(buf, loop->cipher_in + loop->cipher_in_pos, n);
    loop->cipher_in_pos += n;
    return (int)n;
}

static int tls_bio_write(BIO *bio, const char *buf, int len)
{
    ws_loop *loop = BIO_get_data(bio);
    apr_size_t size = loop->cipher_out_size;
    BIO_clear_retry_flags(bio);
    if (len <= 0) {
        return 0;
    }
    while (size - loop->cipher_out_len < (apr_size_t)len) {
        size *= 2;
    }
    if (size > loop->cipher_out_size) {
        unsigned char *grown = realloc(loop->cipher_out, size);
        if (!grown) {
            return -1;
        }
        loop->cipher_out = grown;
        loop->cipher_out_size = size;
    }
    memcpy(loop->cipher_out + loop->cipher_out_len, buf, (apr_size_t)len);
    loop->cipher_out_len += (apr_size_t)len;
    return len;
}

static long tls_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

/* ---- Record buffers ---- */

/* Free the record buffers of the connections that were silent since the last call. */
static void tls_cool(ws_alarm *a)
{
    ws_loop *loop = (ws_loop *)((char *)a - offsetof(ws_loop, warm.alarm));
    apr_uint32_t kept = 0;
    for (apr_uint32_t i = 0; i < loop->warm.count; i++) {
        ws_conn *c = ws_conn_find(loop, loop->warm.ids[i]);
        if (!c) {
            continue;
        }
        if (c->tls_used || !SSL_free_buffers(c->ssl)) { /* a record is incomplete */
            c->tls_used = 0;
            loop->warm.ids[kept++] = c->id;
            continue;
        }
        c->tls_warm = 0;
        SSL_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);
    }
    loop->warm.count = kept;
    if (kept) {
        ws_timer_wheel_set(&loop->event.wheel, a, loop->event.now + loop->warm.ms);
    }
}

/* Let the connection keep its buffers if it is busy. Call before records are read or written. */
static void tls_warm(ws_conn *c)
{
    ws_loop *loop = c->loop;
    if (!c->tls_warm && loop->event.now - c->last_input >= loop->warm.ms) {
        c->tls_used = 0;
    }
    if (c->tls_used < WARM_USES) {
        c->tls_used++;
    }
    if (c->tls_warm || c->tls_used < WARM_USES || loop->warm.count >= loop->warm.max) {
        return;
    }
    c->tls_warm = 1;
    loop->warm.ids[loop->warm.count++] = c->id;
    SSL_clear_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_set_mode(c->ssl, SSL_MODE_AUTO_RETRY); /* with OpenSSL 3.2, this applies the cleared mode */
    if (!loop->warm.alarm.link) {
        ws_timer_wheel_set(&loop->event.wheel, &loop->warm.alarm, loop->event.now + loop->warm.ms);
    }
}

/* Clear old errors of this thread, which OpenSSL would report as errors of the next call. Check
 * first, because clearing is expensive. */
static void tls_forget_errors(void)
{
    if (ERR_peek_error()) {
        ERR_clear_error();
    }
}

/* ---- Init ---- */

apr_status_t ws_tls_init(ws_loop *loop)
{
    BIO *bio;
    if (!method) {
        if (!(method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "websocket"))) {
            return APR_ENOMEM;
        }
        BIO_meth_set_read(method, tls_bio_read);
        BIO_meth_set_write(method, tls_bio_write);
        BIO_meth_set_ctrl(method, tls_bio_ctrl);
    }
    loop->cipher_out_size = WS_TLS_CHUNK + 4096;
    loop->cipher_in = malloc(WS_INPUT_SIZE);
    loop->cipher_out = malloc(loop->cipher_out_size);
    loop->plain = malloc(WS_TLS_CHUNK);
    loop->warm.ids = malloc(WARM_MAX * sizeof(*loop->warm.ids));
    loop->warm.max = WARM_MAX;
    loop->warm.ms = WARM_MS;
    loop->warm.alarm.fn = tls_cool;
    loop->bio = bio = BIO_new(method);
    if (!loop->cipher_in || !loop->cipher_out || !loop->plain || !loop->warm.ids || !bio) {
        return APR_ENOMEM;
    }
    BIO_set_data(bio, loop);
    BIO_set_init(bio, 1);
    return APR_SUCCESS;
}

void ws_tls_destroy(ws_loop *loop)
{
    BIO_free(loop->bio);
    free(loop->cipher_in);
    free(loop->cipher_out);
    free(loop->plain);
    free(loop->warm.ids);
}

/* Detect that a peer requests a renegotiation, which TLS versions before 1.3 allow at any time. A
 * handshake costs the server much more than the client. Even if OpenSSL refuses the renegotiation,
 * each request queues an alert. */
static void tls_saw_handshake(const SSL *ssl, int where, int value)
{
    int refuses = (where & SSL_CB_ALERT) && (where & SSL_CB_WRITE)
                  && (value & 0xFF) == SSL_AD_NO_RENEGOTIATION;
    if (refuses || (where == SSL_CB_HANDSHAKE_START && SSL_version(ssl) < TLS1_3_VERSION)) {
        ws_loop_current()->renegotiates = 1;
    }
}

void ws_tls_watch_handshakes(SSL *ssl)
{
    SSL_set_info_callback(ssl, tls_saw_handshake);
}

void ws_tls_adopt(ws_conn *c)
{
    /* If both BIOs are the same, SSL_set_bio() takes over only one reference. */
    BIO_up_ref(c->loop->bio);
    SSL_set_bio(c->ssl, c->loop->bio, c->loop->bio);
    ws_tls_watch_handshakes(c->ssl);
    /* mod_ssl switches AUTO_RETRY off. It is needed here: after a KeyUpdate, SSL_read() must
     * continue with the records in cipher_in instead of returning WANT_READ. */
    SSL_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                             | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
}

/* Append records that OpenSSL itself has added to the records waiting for the socket.
 * @return NULL: no memory, or too many bytes are waiting */
static ws_bytes *tls_add_to_kept(ws_conn *c, const unsigned char *data, apr_size_t len)
{
    ws_bytes *kept = c->rare->cipher_out, *grown;
    apr_size_t waits = kept->len - kept->pos;
    if (waits + len > CIPHER_OUT_MAX) {
        ws_engine_log(c->loop->engine, WS_LOG_INFO, c,
                      "ending: the peer causes TLS replies and does not read them");
        return NULL;
    }
    memmove(kept->data, kept->data + kept->pos, waits);
    kept->pos = 0;
    kept->len = waits;
    if (!(grown = realloc(kept, sizeof(*kept) + waits + len))) {
        return NULL;
    }
    memcpy(grown->data + waits, data, len);
    grown->len = grown->size = waits + len;
    return ws_rare_of(c)->cipher_out = grown;
}

/* Send the loop's cipher_out. c->rare->cipher_out keeps the bytes that the socket does not accept.
 * Nothing more is encrypted until those have been sent, so a connection has at most one such rest.
 * @return 0; 1: bytes are waiting; -2: the connection is broken */
static int tls_give(ws_conn *c)
{
    ws_loop *loop = c->loop;
    unsigned char *data = loop->cipher_out;
    apr_size_t len = loop->cipher_out_len;
    ws_bytes *kept = c->rare->cipher_out;
    ws_rare *rare;
    apr_ssize_t n;

    loop->cipher_out_len = 0;
    if (kept) {
        if (len && !(kept = tls_add_to_kept(c, data, len))) {
            return -2;
        }
        data = kept->data + kept->pos;
        len = kept->len - kept->pos;
    }
    if (len == 0) {
        return 0;
    }
    do {
        n = send(c->source.fd, data, len, ws_socket_flags(c));
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
        return -2;
    }
    n = n < 0 ? 0 : n;
    if ((apr_size_t)n == len) {
        if (kept) {
            free(kept);
            ws_rare_of(c)->cipher_out = NULL;
        }
        return 0;
    }
    if (kept) {
        kept->pos += (apr_size_t)n;
        return 1;
    }
    len -= (apr_size_t)n;
    if (!(rare = ws_conn_rare(c)) || !(kept = malloc(sizeof(*kept) + len))) {
        return -2;
    }
    memcpy(kept->data, data + n, len);
    kept->len = kept->size = len;
    kept->pos = 0;
    rare->cipher_out = kept;
    return 1;
}

int ws_tls_pending(ws_conn *c)
{
    return tls_give(c);
}

/* Receive up to size bytes of TLS records for the next SSL_read(). @return as recv(2), or
 * -2: the connection is broken */
static apr_ssize_t tls_receive(ws_conn *c, apr_size_t size)
{
    ws_loop *loop = c->loop;
    apr_ssize_t n;
    do {
        n = recv(c->source.fd, loop->cipher_in, size, 0);
    } while (n < 0 && errno == EINTR);
    loop->cipher_in_pos = 0;
    loop->cipher_in_len = n > 0 ? (apr_size_t)n : 0;
    return n < 0 && errno != EAGAIN ? -2 : n;
}

apr_ssize_t ws_tls_read(ws_conn *c, void *buf, apr_size_t size, int *more)
{
    ws_loop *loop = c->loop;
    apr_size_t got = 0;
    apr_ssize_t n;
    int full, error = SSL_ERROR_NONE;

    if ((n = tls_receive(c, size - HELD_BACK)) == -2) {
        return -2;
    }
    full = n > 0 && (apr_size_t)n >= size - HELD_BACK;
    tls_warm(c);
    tls_forget_errors();
    loop->renegotiates = 0;
    while (got < size && !loop->renegotiates && loop->cipher_out_len <= CIPHER_OUT_MAX) {
        int r = SSL_read(c->ssl, (char *)buf + got, (int)(size - got));
        if (r <= 0) {
            error = SSL_get_error(c->ssl, r);
            break;
        }
        got += (apr_size_t)r;
        if (loop->cipher_in_pos == loop->cipher_in_len && !SSL_has_pending(c->ssl)) {
            break; /* another SSL_read() would only allocate a buffer */
        }
    }
    if (loop->renegotiates || loop->cipher_out_len > CIPHER_OUT_MAX) {
        ws_engine_log(loop->engine, WS_LOG_INFO, c,
                      loop->renegotiates ? "ending: the peer requests a TLS renegotiation"
                                         : "ending: the peer causes too many TLS replies");
        tls_give(c);
        return -2;
    }
    if (tls_give(c) < 0) {
        return -2;
    }
    /* If an end or an error followed the last complete record, the next read reports it. */
    *more = full || (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ);
    if (got > 0) {
        return (apr_ssize_t)got;
    }
    switch (error) {
    case SSL_ERROR_WANT_READ:
        return n == 0 ? 0 : -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return -2;
    }
}

apr_ssize_t ws_tls_write(ws_conn *c, const struct iovec *iov, int n)
{
    ws_loop *loop = c->loop;
    apr_size_t total = 0;
    int i = 0, state = c->rare->cipher_out ? tls_give(c) : 0;
    apr_size_t done = 0; /* bytes of iov[i] that have been sent */

    tls_warm(c);
    while (state == 0 && i < n) {
        apr_size_t len = 0, sealed = 0;
        const unsigned char *plain = loop->plain;
        if (i == n - 1) { /* the last piece needs no copy */
            plain = (unsigned char *)iov[i].iov_base + done;
            len = iov[i].iov_len - done;
            if (len > WS_TLS_CHUNK) {
                len = WS_TLS_CHUNK;
            }
            done += len;
            i += done == iov[i].iov_len;
        }
        else {
            while (i < n && len < WS_TLS_CHUNK) {
                apr_size_t part = iov[i].iov_len - done;
                if (part > WS_TLS_CHUNK - len) {
                    part = WS_TLS_CHUNK - len;
                }
                memcpy(loop->plain + len, (unsigned char *)iov[i].iov_base + done, part);
                len += part;
                done += part;
                if (done == iov[i].iov_len) {
                    done = 0;
                    i++;
                }
            }
        }
        tls_forget_errors();
        while (sealed < len) { /* partial writes are enabled: one record per call */
            int r = SSL_write(c->ssl, plain + sealed, (int)(len - sealed));
            if (r <= 0) {
                loop->cipher_out_len = 0; /* no other peer may get these bytes */
                return -2;
            }
            sealed += (apr_size_t)r;
        }
        total += len;
        state = tls_give(c);
    }
    return state < 0 ? -2 : (apr_ssize_t)total;
}

void ws_tls_shutdown(ws_conn *c)
{
    ERR_clear_error();
    SSL_shutdown(c->ssl);
    tls_give(c);
}
