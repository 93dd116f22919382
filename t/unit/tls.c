/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests TLS connections of the engine with a client that uses OpenSSL directly. Each test runs
 *  with TLS 1.2 and with TLS 1.3. */

#include "t/unit/tls.h"

static const ws_handler echo = {ECHO_RECORDER};

static void only_echo(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    ws_send(c, type, data, len);
}

static const ws_handler quiet = {
    .on_open = rec_open, .on_message = only_echo, .on_close = rec_close};

/* ---- Messages ---- */

static void is_secure(ws_conn *c, void *arg)
{
    (void)arg;
    is_int(ws_secure(c), 1, "the connection is secure");
}

static void echoes(rig *r)
{
    wire w = tls_enter(r, "a");
    wire_text(&w, "hello");
    told_is("a", "text \"hello\"", "the handler gets the message");
    wire_next_is(&w, "text \"hello\"", "the client gets the answer");
    as_callback(id_of(r, "a"), is_secure, NULL);
    wire_frame(&w, FIN | PING, "ping", 4);
    wire_next_is(&w, "pong \"ping\"", "a Ping is answered");
    ws_send_to(id_of(r, "a"), WS_TEXT, "by id", 5);
    wire_next_is(&w, "text \"by id\"", "a message by id arrives");
    forget("a"); /* on_drain */
    ws_broadcast(&r->location, WS_TEXT, "to all", 6, 0);
    wire_next_is(&w, "text \"to all\"", "a broadcast arrives");
    turns(r, 0);
    forget("a");
    leave(&w, "a");
}

static int three_echoed(wire *w)
{
    return !strcmp(told("a"), "text \"one\"") && !strcmp(told("a"), "text \"two, three\"")
           && !strcmp(wire_next(w), "text \"one\"") && !strcmp(wire_next(w), "text \"two, three\"");
}

static void records_in_any_cut(rig *r)
{
    unsigned char plain[100], cipher[300];
    size_t n = frame_put(plain, FIN | TEXT, "one", 3), len = 1;
    int right = 0;
    wire w = tls_enter(r, "a");
    n += frame_put(plain + n, TEXT, "two, ", 5);
    n += frame_put(plain + n, FIN | CONT, "three", 5);
    for (size_t cut = 0; cut < len; cut++) {
        len = sealed(&w, cipher, sizeof(cipher), -1, plain, n);
        send_raw(&w, cipher, cut);
        turns(r, 0);
        send_raw(&w, cipher + cut, len - cut);
        right += three_echoed(&w);
    }
    is_int(right, (long long)len, "a record, cut at each byte");

    len = sealed(&w, cipher, sizeof(cipher), -1, plain, n);
    for (size_t i = 0; i < len; i++) {
        send_raw(&w, cipher + i, 1);
        turns(r, 0);
    }
    ok(three_echoed(&w), "the same record, one byte at a time");
    leave(&w, "a");
}

static void long_messages(rig *r)
{
    static const size_t sizes[] = {
        16383, 16384, 16385, 65536, WS_TLS_CHUNK + 1, WS_INPUT_SIZE, WS_INPUT_SIZE + 1, 5 << 20};
    char *data = malloc(5 << 20), text[TEXT_SIZE];
    for (size_t i = 0; i < 5 << 20; i++) {
        data[i] = (char)(i * 7 + (i >> 10));
    }
    for (int tcp = 0; tcp < 2; tcp++) {
        int fd[2];
        wire w;
        (tcp ? tcp_pair : unix_pair)(fd);
        w = tls_enter_pair(r, "a", fd);
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            wire_frame(&w, FIN | BINARY, data, sizes[i]);
            wire_next_is(&w, describe(text, BINARY, data, sizes[i]), "%zu bytes are echoed",
                         sizes[i]);
        }
        leave(&w, "a");
    }
    free(data);
}

/* Send many messages together, each in its own TLS record or all in long records. */
static void many_at_once(rig *r)
{
    enum { MANY = 20000 };
    unsigned char *stream = malloc((size_t)MANY * 32);
    char text[40];
    for (int each = 0; each < 2; each++) {
        size_t n = 0;
        int right = 0;
        wire w = tls_enter(r, "a");
        for (int i = 0; i < MANY; i++) {
            size_t len = frame_put(stream + n, FIN | TEXT, text, (size_t)sprintf(text, "%d", i));
            if (each) {
                wire_send(&w, stream, len);
            }
            else {
                n += len;
            }
        }
        wire_send(&w, stream, n);
        for (int i = 0; i < MANY; i++) {
            sprintf(text, "text \"%d\"", i);
            right += !strcmp(wire_next(&w), text);
        }
        is_int(right, MANY, "pipelined messages, %s", each ? "a record for each" : "long records");
        leave(&w, "a");
    }
    free(stream);
}

/* ---- Data that the SSL object has already read ---- */

static void records_that_openssl_has_read(rig *r)
{
    for (int early = 0; early < 2; early++) {
        int fd[2];
        char byte;
        ws_new_conn n;
        wire w;
        unix_pair(fd);
        n = rig_newcomer(r, fd[1], "a");
        n.ssl = shake_hands(fd, &w);
        SSL_set_read_ahead(n.ssl, 1);
        if (early) { /* httpd has read half of a frame */
            n.early = "\x81\x85\x00\x00\x00\x00\x65\x61";
            n.early_len = 8;
            wire_send(&w, "rly", 3);
        }
        wire_text(&w, "one");
        wire_text(&w, "two");
        is_int(SSL_peek(n.ssl, &byte, 1), 1,
               "OpenSSL has read data sent together with the handshake");
        SSL_set_bio(n.ssl, NULL, NULL);
        ws_engine_add(r->engine, &n);
        told_is("a", "open", "a connection");
        if (early) {
            told_is("a", "text \"early\"", "data that httpd had read is delivered first");
            wire_next_is(&w, "text \"early\"", "the first answer is sent");
        }
        told_is("a", "text \"one\"", "data in the SSL object is delivered without more input");
        told_is("a", "text \"two\"", "the message after it is delivered, too");
        wire_next_is(&w, "text \"one\"", "the second answer is sent");
        wire_next_is(&w, "text \"two\"", "the third answer is sent");
        leave(&w, "a");
    }
}

/* ---- KeyUpdate ---- */

static void key_updates(rig *r)
{
    unsigned char plain[100], cipher[2000];
    char text[40];
    size_t n = 0;
    int right = 0;
    wire w = tls_enter(r, "a");
    /* Each piece contains a KeyUpdate and a message. The server reads all pieces in one read. */
    for (int i = 0; i < 20; i++) {
        sprintf(text, "%d", i);
        n += sealed(&w, cipher + n, sizeof(cipher) - n, i % 2, plain,
                    frame_put(plain, FIN | TEXT, text, strlen(text)));
    }
    send_raw(&w, cipher, n);
    for (int i = 0; i < 20; i++) {
        sprintf(text, "text \"%d\"", i);
        right += !strcmp(told("a"), text) && !strcmp(wire_next(&w), text);
    }
    is_int(right, 20, "messages after KeyUpdates are delivered, and answers use the new keys");
    wire_text(&w, "still");
    told_is("a", "text \"still\"", "after KeyUpdates, a message is delivered");
    wire_next_is(&w, "text \"still\"", "after KeyUpdates, the message is echoed");
    leave(&w, "a");
}

static void send_much(ws_conn *c, void *arg)
{
    for (int i = 0; i < 4; i++) {
        ws_send(c, WS_BINARY, arg, 200000);
    }
}

static void a_key_update_while_much_waits(rig *r)
{
    static char much[200000];
    unsigned char plain[20], cipher[200];
    char text[TEXT_SIZE];
    int right = 0;
    wire w = tls_enter_narrow(r, "a");
    as_callback(id_of(r, "a"), send_much, much);
    for (int i = 0; i < 4; i++) {
        send_raw(&w, cipher,
                 sealed(&w, cipher, sizeof(cipher), version == TLS1_3_VERSION ? 1 : -1, plain,
                        frame_put(plain, FIN | PING, "ping", 4)));
        turns(r, 0);
    }
    for (int i = 0, pongs = 0; i < 4; i += pongs == 0) {
        const char *next = wire_next(&w);
        pongs = !strcmp(next, "pong \"ping\"");
        right += !strcmp(next, describe(text, BINARY, much, sizeof(much)));
    }
    is_int(right, 4, "a client that updates its keys before it reads gets the queued messages");
    wire_text(&w, "still");
    do { /* the Pings may have been queued after all messages */
        strcpy(text, wire_next(&w));
    } while (!strcmp(text, "pong \"ping\""));
    is_str(text, "text \"still\"", "after KeyUpdates, the connection still works");
    forget("a");
    leave(&w, "a");
}

/* ---- Slow clients ---- */

static void fill(ws_conn *c, void *arg)
{
    int *taken = arg;
    static char message[10000];
    while (ws_send(c, WS_BINARY, message, sizeof(message)) >= 0) {
        ++*taken;
    }
}

static void a_client_that_is_too_slow(rig *r)
{
    static const char message[10000];
    char expected[TEXT_SIZE];
    int taken = 0, right = 0;
    const char *text;
    wire w = tls_enter_narrow(r, "a");
    as_callback(id_of(r, "a"), fill, &taken);
    describe(expected, BINARY, message, sizeof(message));
    while (!strcmp(text = wire_next(&w), expected)) {
        right++;
    }
    is_int(right, taken, "all %d accepted messages arrive", taken);
    is_str(text, "close 1008 \"too slow\"", "after that, the client gets a Close frame with 1008");
    wire_close(&w, 1008, "");
    wire_next_is(&w, "close_notify", "after the Close frame, TLS ends");
    told_is("a", "close 1008 \"too slow\"", "on_close");
    wire_free(&w);
}

static void pausing(rig *r)
{
    wire w = tls_enter(r, "a");
    ws_id id = id_of(r, "a");
    as_callback(id, do_pause, NULL);
    wire_text(&w, "one");
    wire_text(&w, "two");
    turns(r, 0);
    is_int(untold(), 0, "a paused connection is not read");
    as_callback(id, do_resume, NULL);
    told_is("a", "text \"one\"", "ws_resume() delivers the first message");
    told_is("a", "text \"two\"", "ws_resume() delivers the second message");
    wire_next_is(&w, "text \"one\"", "answers");
    wire_next_is(&w, "text \"two\"", "come");
    leave(&w, "a");
}

/* ---- Several connections of one loop ---- */

typedef struct talker {
    wire w;
    pthread_t thread;
    unsigned seed;
    int right;
} talker;

enum { TALKERS = 6, TALKS = 60 };

static void *talk(void *arg)
{
    talker *t = arg;
    static char data[400000];
    char text[TEXT_SIZE];
    for (int i = 0; i < TALKS; i++) {
        unsigned dice = (t->seed = t->seed * 1664525u + 1013904223u) >> 8;
        size_t len = i % 4 ? dice % 3000 : dice % 300000;
        const char *payload = data + dice % 1000;
        if (t->w.ssl && i % 7 == 0 && SSL_version(t->w.ssl) == TLS1_3_VERSION) {
            SSL_key_update(t->w.ssl, i % 2);
        }
        wire_frame(&t->w, FIN | BINARY, payload, len);
        wire_frame(&t->w, FIN | PING, payload, dice % 126);
        for (int k = 0; k < 2; k++) {
            char expected[2][TEXT_SIZE];
            strcpy(text, wire_next(&t->w));
            describe(expected[0], BINARY, payload, len);
            describe(expected[1], PONG, payload, dice % 126);
            t->right += !strcmp(text, expected[0]) || !strcmp(text, expected[1]);
        }
    }
    return NULL;
}

static void nobody_gets_anothers_bytes(rig *r)
{
    talker t[TALKERS];
    for (int i = 0; i < TALKERS; i++) {
        t[i] = (talker){.seed = (unsigned)i};
        t[i].w = i % 3 == 2 ? rig_join(r, "a")
                 : i % 3    ? tls_enter_narrow(r, "a")
                            : tls_enter(r, "a");
        if (i % 3 == 2) {
            told_is("a", "open", "a connection without TLS opens");
        }
    }
    for (int i = 0; i < TALKERS; i++) {
        pthread_create(&t[i].thread, NULL, talk, &t[i]);
    }
    for (int i = 0; i < TALKERS; i++) {
        pthread_join(t[i].thread, NULL);
        is_int(t[i].right, 2 * TALKS, "all answers of client %d are its own", i);
    }
    for (int i = 0; i < TALKERS; i++) {
        wire_free(&t[i].w);
        told_is("a", "close 1006 \"\"", "on_close");
    }
}

/* ---- Endings ---- */

static void ends(rig *r)
{
    unsigned char plain[100], cipher[1000];
    BIO *memory;
    size_t n;
    wire w = tls_enter(r, "a");
    SSL_shutdown(w.ssl);
    told_is("a", "close 1006 \"\"", "after close_notify without a Close frame, on_close gets 1006");
    wire_free(&w);

    w = tls_enter(r, "a");
    memory = BIO_new(BIO_s_mem());
    SSL_set0_wbio(w.ssl, memory);
    wire_text(&w, "last");
    SSL_shutdown(w.ssl);
    n = (size_t)BIO_read(memory, cipher, sizeof(cipher));
    SSL_set0_wbio(w.ssl, BIO_new_socket(w.fd, BIO_NOCLOSE));
    send_raw(&w, cipher, n); /* both arrive in one read; the client does not close the socket */
    told_is("a", "text \"last\"", "a message before close_notify is delivered");
    told_is("a", "close 1006 \"\"", "after a message and close_notify, on_close gets 1006");
    wire_free(&w);

    w = tls_enter(r, "a");
    n = sealed(&w, cipher, sizeof(cipher), -1, plain, frame_put(plain, FIN | TEXT, "last", 4));
    send_raw(&w, cipher, n);
    wire_free(&w);
    told_is("a", "text \"last\"", "a message before a truncation is delivered");
    told_is("a", "close 1006 \"\"", "after a message and a truncation, on_close gets 1006");

    w = tls_enter(r, "a");
    n = sealed(&w, cipher, sizeof(cipher), -1, plain, frame_put(plain, FIN | TEXT, "last", 4));
    send_raw(&w, cipher, n - 3);
    turns(r, 0);
    wire_free(&w);
    told_is("a", "close 1006 \"\"", "a truncated record is not delivered");

    w = tls_enter(r, "a");
    n = sealed(&w, cipher, sizeof(cipher), -1, plain, frame_put(plain, FIN | TEXT, "last", 4));
    memcpy(cipher + n, "this is no TLS record", 21);
    send_raw(&w, cipher, n + 21);
    told_is("a", "text \"last\"", "a message before garbage is delivered");
    told_is("a", "close 1006 \"\"", "after a message and garbage, on_close gets 1006");
    wire_free(&w);

    w = tls_enter(r, "a");
    n = sealed(&w, cipher, sizeof(cipher), -1, plain, frame_put(plain, FIN | TEXT, "last", 4));
    cipher[n - 1] ^= 1;
    send_raw(&w, cipher, n);
    told_is("a", "close 1006 \"\"", "a record that was changed is not delivered");
    wire_free(&w);

    w = tls_enter(r, "a");
    n = sealed(&w, cipher, sizeof(cipher), -1, plain, frame_put(plain, FIN | CLOSE, "\x03\xe8", 2));
    send_raw(&w, cipher, n);
    wire_free(&w);
    told_is(
        "a", "close 1000 \"\"",
        "when a client does not wait for the answer to its Close frame, on_close gets its code");
}

static void renegotiation_is_refused(rig *r)
{
    wire w = tls_enter(r, "a");
    ws_id id = id_of(r, "a");
    SSL_renegotiate(w.ssl);
    SSL_do_handshake(w.ssl);
    turns(r, 0);
    while (SSL_do_handshake(w.ssl) < 0 && SSL_get_error(w.ssl, -1) == SSL_ERROR_WANT_READ) {
        wire_wait(&w, POLLIN);
    }
    ok(SSL_get_error(w.ssl, -1) == SSL_ERROR_SSL, "a client that renegotiates is refused");
    told_is("a", "close 1006 \"\"", "the connection of a client that renegotiates ends");
    is_int(ws_send_to(id, WS_TEXT, "x", 1), WS_QUEUED,
           "after that, the client's id has no connection");
    wire_free(&w);
}

/* ---- Records that OpenSSL writes on its own initiative ---- */

typedef struct held_back {
    size_t most, buffer;
    int gone;
} held_back;

static void look_at_cipher_out(ws_loop *loop, void *arg)
{
    held_back *h = arg;
    ws_conn *c = LIST_FIRST(&loop->heads[0]);
    size_t waits = c && c->rare->cipher_out ? c->rare->cipher_out->len : 0;
    h->most = waits > h->most ? waits : h->most;
    h->buffer = loop->cipher_out_size;
    h->gone = c == NULL;
}

static void send_some(ws_conn *c, void *arg)
{
    ws_send(c, WS_BINARY, arg, 200000);
}

static void a_flood_of_key_updates_is_bounded(rig *r)
{
    static unsigned char cipher[100000];
    static char much[200000];
    unsigned char plain[20];
    held_back h = {0};
    wire w = tls_enter_narrow(r, "a"), raw;
    as_callback(id_of(r, "a"), send_some, much); /* too little to make the server stop reading */
    raw = (wire){.fd = w.fd, .discard_input = 1};
    for (int i = 0; i < 100 && !h.gone; i++) {
        size_t n = 0;
        for (int k = 0; k < 60; k++) {
            n += sealed(&w, cipher + n, sizeof(cipher) - n, 1, plain,
                        frame_put(plain, FIN | PONG, "", 0));
        }
        wire_send(&raw, cipher, n);
        on_loop_of(r, 0, look_at_cipher_out, &h);
    }
    diag("at most %zu bytes waited", h.most);
    ok(h.most <= 3 * WS_TLS_CHUNK, "answers to KeyUpdates that are not read are bounded");
    wire_free(&w);
    forget("a");
    nobody_is_left(r);
    forget("a");
}

/* ---- close_notify ---- */

static void break_it(ws_loop *loop, void *arg)
{
    (void)arg;
    ws_conn_end(LIST_FIRST(&loop->heads[0]), "the test says so");
}

/* The server must send close_notify, however the WebSocket ends: RFC 8446, section 6.1. */
static void the_end_is_notified(rig *r)
{
    wire w = tls_enter(r, "a");
    wire_text(&w, "\xff");
    wire_next_is(&w, "close 1007 \"text is not UTF-8\"", "the server fails the connection");
    wire_next_is(&w, "close_notify", "after the server's Close frame, TLS ends with close_notify");
    told_is("a", "close 1007 \"text is not UTF-8\"", "on_close");
    wire_free(&w);

    w = tls_enter(r, "a");
    on_loop_of(r, 0, break_it, NULL);
    wire_next_is(&w, "close_notify", "without a closing handshake, TLS ends with close_notify");
    told_is("a", "close 1006 \"\"", "on_close");
    wire_free(&w);

    w = tls_enter(r, "a");
    SSL_shutdown(w.ssl);
    wire_next_is(&w, "close_notify", "after the client's close_notify, TLS ends with close_notify");
    told_is("a", "close 1006 \"\"", "on_close");
    wire_free(&w);
}

static void the_engine_stops(rig *r)
{
    static char much[200000];
    wire a = tls_enter(r, "a"), b = tls_enter_narrow(r, "b");
    as_callback(id_of(r, "b"), send_much, much);
    ok(ws_engine_stop(r->engine), "the engine stops");
    told_is("a", "close 1006 \"\"", "an idle connection gets 1006 when the engine stops");
    told_is("b", "close 1006 \"\"",
            "a connection with queued data gets 1006 when the engine stops");
    wire_free(&a);
    wire_free(&b);
}

int main(void)
{
    static test *const of_1_2[] = {renegotiation_is_refused, NULL};
    static test *const of_1_3[] = {key_updates, NULL};
    static test *const floods[] = {a_flood_of_key_updates_is_bounded, NULL};
    static test *const recorded[] = {echoes,
                                     records_in_any_cut,
                                     records_that_openssl_has_read,
                                     pausing,
                                     ends,
                                     the_end_is_notified,
                                     NULL};
    static test *const counted[] = {long_messages,
                                    many_at_once,
                                    a_client_that_is_too_slow,
                                    a_key_update_while_much_waits,
                                    nobody_gets_anothers_bytes,
                                    the_engine_stops,
                                    NULL};
    signal(SIGPIPE, SIG_IGN); /* for the sockets that OpenSSL writes to at the client's end */
    make_contexts();
    for (int i = 0; i < 2; i++) {
        version = i ? TLS1_3_VERSION : TLS1_2_VERSION;
        diag("TLS 1.%d", i + 2);
        rig_run((rig){0}, &echo, 1, i ? of_1_3 : of_1_2);
        rig_run((rig){0}, &echo, 1, recorded);
        if (i) {
            rig_run((rig){0}, &quiet, 1, floods);
        }
        rig_run((rig){0}, &quiet, 1, counted);
    }
    free_contexts();
    return done_testing();
}
