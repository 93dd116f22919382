/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Routes SockJS requests to the child that has the session, since a client's requests can reach any
 * child. The socket of a request that waits for frames is passed to that child. A TLS connection
 * cannot be passed, so its bytes are relayed. Messages are sent through ipc.h. Long messages are
 * sent in a memory file.
 */

#include "httpd/sockjs_route.h"

#include <errno.h>
#include <fcntl.h>
#include <http_log.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "httpd/child.h"
#include "httpd/ipc.h"

APLOG_USE_MODULE(websocket);

/* Maximum size of the frames of one request, bytes. A body of WS_PUBLISH_MAX fits even if it
 * consists of short messages, each of which gets a frame header. */
#define ROUTE_INPUT_MAX (128 * 1024 * 1024)

WS_SHM_STRUCT(sockjs_attach, {
    apr_uint64_t high, low;
    apr_uint32_t kind, chunked;
    char callback[WS_SOCKJS_CALLBACK_MAX + 8];
});

WS_SHM_STRUCT(sockjs_input, {
    apr_uint64_t high, low;
    /* Length of the frames in the file that the passed descriptor refers to; 0: the frames follow
     * this struct. */
    apr_uint64_t length;
});

WS_SHM_STRUCT(sockjs_answer, { apr_uint32_t status; });

const ws_shm_layout *const ws_sockjs_route_layout[] = {&sockjs_attach_layout, &sockjs_input_layout,
                                                       &sockjs_answer_layout, NULL};

/* ---- Responses ---- */

ws_sockjs_delivery *ws_sockjs_delivery_new(const ws_sockjs_key *key, unsigned slot,
                                           const ws_sockjs_request *request)
{
    ws_sockjs_delivery *d =
        request->head_len > WS_SOCKJS_HEAD_MAX ? NULL : malloc(sizeof(*d) + request->head_len);
    if (d) {
        d->key = *key;
        d->slot = slot;
        d->request = *request;
        if (request->head_len) {
            memcpy(d->head, request->head, request->head_len);
        }
        d->request.head = d->head;
    }
    return d;
}

/* Pass a response's socket to the child that has the session. @return 0; -1 with errno */
static int route_attach(const ws_sockjs_delivery *d, int fd)
{
    sockjs_attach m = {.high = d->key.high,
                       .low = d->key.low,
                       .kind = (apr_uint32_t)d->request.kind,
                       .chunked = (apr_uint32_t)d->request.chunked};
    struct iovec iov[2] = {{&m, sizeof(m)}, {(void *)d->head, d->request.head_len}};
    ws_shm_owner owner;
    memcpy(m.callback, d->request.callback, sizeof(d->request.callback));
    if (!ws_shm_owner_of(d->slot, &owner)) {
        errno = ESRCH;
        return -1;
    }
    return ws_ipc_send(d->slot, owner.process, WS_IPC_SOCKJS_ATTACH, iov, 2, fd, WS_IPC_PATIENCE);
}

static void route_away(const ws_sockjs_delivery *d, ws_engine *engine, int fd, SSL *ssl)
{
    int pair[2] = {fd, -1}, sent;
    if (ssl && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        SSL_free(ssl);
        close(fd);
        return;
    }
    sent = route_attach(d, pair[0]);
    if (sent < 0) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, NULL,
                     "websocket: SockJS: cannot pass a client's connection to the child with its "
                     "session");
    }
    close(pair[0]);
    if (ssl) {
        ws_sockjs_carry(engine, pair[1], fd, ssl);
    }
}

void ws_sockjs_deliver(void *delivery, int fd, SSL *ssl)
{
    ws_sockjs_delivery *d = delivery;
    ws_engine *engine = ws_child_engine();
    if (fd >= 0 && !engine) {
        SSL_free(ssl);
        close(fd);
    }
    else if (fd >= 0 && d->slot == (unsigned)ws_shm_slot()) {
        ws_sockjs_attach(engine, &d->key, &d->request, fd, ssl);
    }
    else if (fd >= 0) {
        route_away(d, engine, fd, ssl);
    }
    free(d);
}

static void route_on_attach(const ws_ipc_message *m)
{
    const sockjs_attach *a = m->data;
    ws_engine *engine = ws_child_engine();
    ws_sockjs_request request = {.kind = WS_SOCKJS_XHR};
    ws_sockjs_key key;
    int fd;
    if (!engine || m->fd < 0 || m->len < sizeof(*a) || m->len - sizeof(*a) > WS_SOCKJS_HEAD_MAX
        || a->kind >= WS_SOCKJS_RAW || a->kind == WS_SOCKJS_WEBSOCKET
        || memchr(a->callback, 0, sizeof(request.callback)) == NULL
        || (*a->callback && !ws_sockjs_callback_valid(a->callback))
        || (fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 3)) < 0) {
        return;
    }
    key = (ws_sockjs_key){a->high, a->low};
    request.kind = (ws_sockjs_kind)a->kind;
    request.chunked = a->chunked != 0;
    memcpy(request.callback, a->callback, sizeof(request.callback));
    request.head = (const char *)(a + 1);
    request.head_len = m->len - sizeof(*a);
    ws_sockjs_attach(engine, &key, &request, fd, NULL);
}

/* ---- Messages ---- */

/* Write frames to a memory file. @return its descriptor, or -1 */
static int route_file(const ws_strbuf *frames)
{
    int fd = memfd_create("sockjs", MFD_CLOEXEC);
    apr_size_t done = 0;
    while (fd >= 0 && done < frames->len) {
        apr_ssize_t n = write(fd, frames->data + done, frames->len - done);
        if (n <= 0) {
            close(fd);
            return -1;
        }
        done += (apr_size_t)n;
    }
    return fd;
}

int ws_sockjs_route_input(const ws_sockjs_key *key, unsigned slot, ws_strbuf *frames)
{
    sockjs_input m = {.high = key->high, .low = key->low};
    sockjs_answer answer = {.status = WS_SOCKJS_FULL};
    struct iovec iov[2] = {{&m, sizeof(m)}, {frames->data, frames->len}};
    apr_ssize_t got = -1;
    int n = frames->len ? 2 : 1, fd = -1;
    if (frames->len > WS_IPC_SIZE - sizeof(m)) {
        fd = route_file(frames);
        m.length = frames->len;
        n = 1;
    }
    if (!m.length || fd >= 0) {
        got = ws_ipc_ask_iov(slot, WS_IPC_SOCKJS_INPUT, iov, n, fd, &answer, sizeof(answer),
                             WS_IPC_PATIENCE);
    }
    if (got != sizeof(answer)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, NULL,
                     "websocket: SockJS: cannot pass messages to the child with their session");
        answer.status = WS_SOCKJS_FULL;
    }
    if (fd >= 0) {
        close(fd);
    }
    ws_strbuf_free(frames);
    return (int)answer.status;
}

static void route_done(void *to, int status)
{
    sockjs_answer answer = {.status = (apr_uint32_t)status};
    ws_ipc_answer(to, &answer, sizeof(answer));
    free(to);
}

/* Read frames from a passed memory file. @return 0; -1: the file is invalid, or out of memory */
static int route_read(int fd, apr_uint64_t length, ws_strbuf *frames)
{
    char buf[16 * 1024];
    struct stat st;
    apr_ssize_t n;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (apr_uint64_t)st.st_size != length
        || length > ROUTE_INPUT_MAX) {
        return -1;
    }
    for (off_t at = 0; (n = pread(fd, buf, sizeof(buf), at)) > 0; at += n) {
        ws_strbuf_add(frames, buf, (apr_size_t)n);
        if (frames->len > length) {
            return -1;
        }
    }
    return n < 0 || frames->broken ? -1 : 0;
}

static void route_on_input(const ws_ipc_message *m)
{
    const sockjs_input *in = m->data;
    ws_engine *engine = ws_child_engine();
    ws_strbuf frames = {NULL, 0, 0, 0};
    ws_sockjs_key key;
    ws_ipc_message *to;
    if (!engine || m->len < sizeof(*in) || !(to = malloc(sizeof(*to)))) {
        return;
    }
    *to = *m;
    key = (ws_sockjs_key){in->high, in->low};
    ws_strbuf_add(&frames, (const char *)(in + 1), m->len - sizeof(*in));
    if (frames.broken || (in->length && route_read(m->fd, in->length, &frames) < 0)) {
        ws_strbuf_free(&frames);
        route_done(to, WS_SOCKJS_FULL);
        return;
    }
    ws_sockjs_input(engine, &key, &frames, route_done, to);
}

void ws_sockjs_route_register(apr_pool_t *p)
{
    (void)p;
    ws_ipc_on(WS_IPC_SOCKJS_ATTACH, route_on_attach);
    ws_ipc_on(WS_IPC_SOCKJS_INPUT, route_on_input);
}
