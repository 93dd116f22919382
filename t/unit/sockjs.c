/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests SockJS sessions with clients that httpd's own tests cannot be: clients that read slowly,
 *  send without end or renegotiate. The clock stands still, and the tests advance it. */

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "event/clock.h"
#include "sockjs/session.h"
#include "t/unit/tls.h"

enum { DELAY = 5000, LONG = 1000000, STEP = 16384 };

static const ws_handler recorder = {.on_open = rec_open, .on_close = rec_close};
static const ws_sockjs_key key = {1, 2};

/* ---- Sessions ---- */

static void open_session(rig *r)
{
    static const ws_sockjs_options options = {
        .response = 1 << 30, .heartbeat = NEVER, .delay = DELAY};
    ws_new_conn n;
    int fd[2];
    unix_pair(fd);
    n = rig_newcomer(r, fd[1], "a");
    if (ws_sockjs_open(r->engine, &key, &options, fd[0], &r->settings, NULL) < 0
        || ws_engine_add(r->engine, &n) != APR_SUCCESS) {
        bail_out("no session");
    }
    told_is("a", "open", "a session");
}

/* Create a pair of TCP sockets. The server's kernel accepts much, the client's kernel little. */
static void slow_pair(int fd[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), little = STEP, much = 10 * STEP;
    fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd[0], SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
    if (bind(l, (struct sockaddr *)&a, len) < 0 || listen(l, 1) < 0
        || getsockname(l, (struct sockaddr *)&a, &len) < 0
        || connect(fd[0], (struct sockaddr *)&a, len) < 0 || (fd[1] = accept(l, NULL, NULL)) < 0) {
        bail_out("no TCP over loopback: %s", strerror(errno));
    }
    close(l);
    setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &much, sizeof(much));
    nonblocking(fd[0]);
    nonblocking(fd[1]);
}

static void attach(rig *r, ws_sockjs_kind kind, int fd, SSL *ssl)
{
    ws_sockjs_request request = {.kind = kind, .head = "head\n", .head_len = 5};
    ws_sockjs_attach(r->engine, &key, &request, fd, ssl);
}

/* Let a client wait for frames over TCP. tls: with TLS of `version` */
static wire request(rig *r, ws_sockjs_kind kind, int tls)
{
    int fd[2];
    wire w;
    SSL *ssl = NULL;
    slow_pair(fd);
    w = (wire){.fd = fd[0]};
    if (tls) {
        ssl = shake_hands(fd, &w);
    }
    attach(r, kind, fd[1], ssl);
    return w;
}

static int next_is(wire *w, const char *text)
{
    size_t len = strlen(text);
    int same = wire_need(w, len) && !memcmp(w->in + w->pos, text, len);
    w->pos += same ? len : 0;
    return same;
}

static void answered_is(rig *r, const char *body, const char *name)
{
    wire w = request(r, WS_SOCKJS_XHR, 0);
    ok(next_is(&w, "head\n") && next_is(&w, body), "%s", name);
    ok(!wire_need(&w, 1) && !strcmp(w.end, "eof"), "the response ends");
    wire_free(&w);
}

static void advance(rig *r, apr_uint32_t ms)
{
    ws_clock_advance(ms);
    turns(r, 0);
}

static void send_text(ws_conn *c, void *arg)
{
    const char *text = arg;
    ws_send(c, WS_TEXT, text, strlen(text));
}

/* Queue a message of LONG bytes for the client. */
static void send_long(rig *r)
{
    static char text[LONG + 1];
    memset(text, 'x', LONG);
    as_callback(id_of(r, "a"), send_text, text);
}

static void session_ends(rig *r)
{
    for (int i = 0; i < 5; i++) { /* the loop may detect only now that the client has closed */
        advance(r, DELAY + 1000);
    }
    told_is("a", "close 1006 \"\"", "without a further request, the session ends");
}

/* ---- Slow clients ---- */

static void a_slow_client_gets_all(rig *r)
{
    for (int tls = 0; tls < 2; tls++) {
        size_t got = 0;
        wire w;
        open_session(r);
        answered_is(r, "o\n", "the session opens");
        send_long(r);
        w = request(r, WS_SOCKJS_XHR, tls);
        while (wire_need(&w, STEP)) {
            w.pos += STEP;
            got += STEP;
            advance(r, 1000);
        }
        got += w.len - w.pos;
        is_int((long long)got, LONG + (int)sizeof("head\na[\"\"]\n") - 1,
               "a client that reads slowly gets the whole response");
        is_str(w.end, tls ? "close_notify" : "eof", "the response ends");
        wire_free(&w);
        advance(r, DELAY - 1000);
        as_callback(id_of(r, "a"), send_text, "next");
        answered_is(r, "a[\"next\"]\n", "afterwards, it has the whole delay for its next request");
        session_ends(r);
    }
}

static void a_client_that_does_not_read_is_dropped(rig *r)
{
    wire w;
    open_session(r);
    answered_is(r, "o\n", "the session opens");
    as_callback(id_of(r, "a"), send_text, "never read");
    w = request(r, WS_SOCKJS_XHR, 0);
    ok(next_is(&w, "head\n"), "a response begins");
    session_ends(r);
    wire_free(&w);
}

/* ---- Responses of a session in another process ---- */

static int unread(int fd)
{
    int n = -1;
    ioctl(fd, SIOCOUTQ, &n);
    return n;
}

static void a_carrier_reports_the_end(rig *r)
{
    static char much[STEP];
    int pair[2], fd[2];
    char byte;
    wire w, session;
    unix_pair(pair);
    slow_pair(fd);
    w = (wire){.fd = fd[0]};
    session = (wire){.fd = pair[0], .discard_input = 1};
    ws_sockjs_carry(r->engine, pair[1], fd[1], NULL);
    for (int i = 0; i < 10; i++) {
        wire_send(&session, much, sizeof(much));
    }
    shutdown(pair[0], SHUT_WR);
    ok(wire_need(&w, STEP), "the client gets the beginning");
    for (int i = 0; i < 10 && unread(pair[0]) > 0; i++) { /* the rest may wait for the client */
        turns(r, 0);
    }
    turns(r, 0);
    ok(recv(pair[0], &byte, 1, 0) < 0 && errno == EAGAIN,
       "while the client still receives, its session does not see the end");
    wire_need(&w, LONG);
    is_int((long long)w.len, 10 * STEP, "the client gets all");
    wire_free(&w);
    ok(!wire_need(&session, 1), "when the client has all, its session sees the end");
    wire_free(&session);
}

/* ---- Hostile clients ---- */

static void input_is_bounded(rig *r)
{
    for (int tls = 0; tls < 2; tls++) {
        wire w;
        open_session(r);
        w = request(r, WS_SOCKJS_XHR_STREAMING, tls);
        ok(next_is(&w, "head\n"), "a stream");
        for (int i = 0; i < 1000000 && !w.end; i++) {
            wire_send(&w, "x", 1); /* a TLS record each */
            if (i % 1000 == 0) {
                wire_try_read(&w);
            }
        }
        ok(w.end != NULL, "a client that sends without end is disconnected%s", tls ? ", TLS" : "");
        wire_free(&w);
        told_is("a", "close 1006 \"\"", "on_close");
    }
}

static void renegotiation_is_refused(rig *r)
{
    wire w;
    open_session(r);
    w = request(r, WS_SOCKJS_XHR_STREAMING, 1);
    ok(next_is(&w, "head\n"), "a stream");
    SSL_renegotiate(w.ssl);
    SSL_do_handshake(w.ssl);
    told_is("a", "close 1006 \"\"", "a client that renegotiates is disconnected");
    wire_free(&w);
}

static void the_end_is_notified(rig *r)
{
    wire w;
    open_session(r);
    w = request(r, WS_SOCKJS_XHR_STREAMING, 1);
    ok(next_is(&w, "head\n"), "a stream");
    SSL_shutdown(w.ssl);
    while (wire_need(&w, w.len - w.pos + 1)) {
    }
    is_str(w.end, "close_notify", "the client's close_notify is answered with close_notify");
    told_is("a", "close 1006 \"\"", "on_close");
    wire_free(&w);
}

int main(void)
{
    static test *const of_1_2[] = {renegotiation_is_refused, NULL};
    static test *const all[] = {a_slow_client_gets_all,    a_client_that_does_not_read_is_dropped,
                                a_carrier_reports_the_end, input_is_bounded,
                                the_end_is_notified,       NULL};
    signal(SIGPIPE, SIG_IGN); /* for the sockets that OpenSSL writes to */
    ws_clock_hold();
    make_contexts();
    for (int i = 0; i < 2; i++) {
        version = i ? TLS1_3_VERSION : TLS1_2_VERSION;
        if (!i) {
            rig_run((rig){0}, &recorder, 1, of_1_2);
        }
        rig_run((rig){0}, &recorder, 1, all);
    }
    free_contexts();
    return done_testing();
}
