/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Tests ws_connect() on an engine: names and their addresses, connection attempts that are
 * cancelled at any time, and two connections of one loop that relay messages to each other. The
 * test replaces getaddrinfo(), SSL_CTX_new() and SSL_CTX_free().
 */

#include <errno.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>

#include "client/connect.h"
#include "client/lookup.h"
#include "include/websocket_client.h"
#include "protocol/client_handshake.h"
#include "protocol/handshake.h"
#include "t/unit/rig.h"
#include "t/unit/tls.h"

/* ---- A name service: it answers names that start with "slow" only while the gate is open ---- */

static sem_t asked;       /* posted for each lookup of a slow name for both families */
static sem_t answered_v6; /* posted after each lookup for IPv6 only */
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static int gate_open;

static void wait_at_gate(void)
{
    struct timespec until = patience();
    int rv = 0;
    pthread_mutex_lock(&gate_lock);
    while (!gate_open && rv == 0) {
        rv = pthread_cond_timedwait(&gate_moved, &gate_lock, &until);
    }
    pthread_mutex_unlock(&gate_lock);
    if (rv != 0) {
        bail_out("the test does not open the gate of the name service");
    }
}

static void set_gate(int open)
{
    pthread_mutex_lock(&gate_lock);
    gate_open = open;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
}

/* Names, their addresses, and which lookups wait for the gate. */
static const struct service {
    const char *name, *v4[2], *v6;
    enum { NONE = 0, FOR_BOTH = 1, FOR_V4 = 2, FOR_V6 = 4, ALL = 7 } slow;
} services[] = {
    {"hole", {"127.0.0.3", "127.0.0.1"}, NULL, NONE}, /* the first address does not answer */
    {"two", {"127.0.0.2", "127.0.0.1"}, NULL, NONE},  /* the first address refuses connections */
    {"slow-aaaa", {"127.0.0.1"}, NULL, FOR_BOTH | FOR_V6},
    {"slow-a", {"127.0.0.1"}, "::1", FOR_BOTH | FOR_V4}, /* ::1 refuses connections */
    {"slow-aaaa-in-vain", {"127.0.0.2"}, NULL, FOR_BOTH | FOR_V6},
    {"slow-nothing", {NULL}, NULL, FOR_BOTH},
    {"slow", {"127.0.0.1"}, NULL, ALL}, /* the entry for all other names with this prefix, too */
};

static const struct service *service_of(const char *name)
{
    for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++) {
        if (!strcmp(name, services[i].name)) {
            return &services[i];
        }
    }
    return strncmp(name, "slow", 4) ? NULL : &services[sizeof(services) / sizeof(*services) - 1];
}

static void add_address(struct addrinfo ***end, int family, const char *address, const char *port)
{
    struct addrinfo *a = calloc(1, sizeof(*a) + sizeof(struct sockaddr_in6));
    struct sockaddr_in *in = (struct sockaddr_in *)(a + 1);
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(a + 1);
    in->sin_family = (sa_family_t)family;
    in->sin_port = htons((uint16_t)atoi(port)); /* sin6_port has the same offset */
    inet_pton(family, address, family == AF_INET ? (void *)&in->sin_addr : &in6->sin6_addr);
    a->ai_family = family;
    a->ai_socktype = SOCK_STREAM;
    a->ai_addr = (struct sockaddr *)in;
    a->ai_addrlen = family == AF_INET ? sizeof(*in) : sizeof(*in6);
    **end = a;
    *end = &a->ai_next;
}

int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                struct addrinfo **found)
{
    const struct service *s = service_of(name);
    int family = hints->ai_family;
    struct addrinfo **first = found;
    struct in_addr in;
    *found = NULL;
    if (inet_pton(AF_INET, name, &in) == 1) {
        add_address(&found, AF_INET, name, port);
        return 0;
    }
    if (!s || (hints->ai_flags & AI_NUMERICHOST)) {
        return EAI_NONAME;
    }
    if (s->slow && family == AF_UNSPEC) {
        sem_post(&asked);
    }
    if (s->slow & (family == AF_INET ? FOR_V4 : family == AF_INET6 ? FOR_V6 : FOR_BOTH)) {
        wait_at_gate();
    }
    if (s->v6 && family != AF_INET) {
        add_address(&found, AF_INET6, s->v6, port);
    }
    for (int i = 0; i < 2 && s->v4[i] && family != AF_INET6; i++) {
        add_address(&found, AF_INET, s->v4[i], port);
    }
    if (family == AF_INET6) {
        sem_post(&answered_v6);
    }
    return *first ? 0 : EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *a)
{
    while (a) {
        struct addrinfo *next = a->ai_next;
        free(a);
        a = next;
    }
}

/* ---- OpenSSL, which creates and frees contexts slowly if a test wants it ---- */

static int slow_contexts; /* 1: SSL_CTX_new() waits for may_create */
static sem_t creating, may_create, freeing;
static int contexts_freed; /* atomic */

SSL_CTX *SSL_CTX_new(const SSL_METHOD *method)
{
    SSL_CTX *(*real)(const SSL_METHOD *method);
    *(void **)&real = dlsym(RTLD_NEXT, "SSL_CTX_new");
    if (slow_contexts) {
        sem_post(&creating);
        sem_must(&may_create, "the test does not let SSL_CTX_new() continue");
    }
    return real(method);
}

void SSL_CTX_free(SSL_CTX *context)
{
    void (*real)(SSL_CTX * context);
    *(void **)&real = dlsym(RTLD_NEXT, "SSL_CTX_free");
    if (slow_contexts && context) {
        sem_post(&freeing);
        usleep(50 * 1000);
    }
    real(context);
    __atomic_add_fetch(&contexts_freed, context != NULL, __ATOMIC_RELAXED);
}

/* ---- A server ---- */

static int listener;
static unsigned port;

static void listen_somewhere(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    struct timeval patience = {.tv_sec = PATIENCE / 1000};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (bind(listener, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(listener, 16) < 0
        || getsockname(listener, (struct sockaddr *)&in, &len) < 0) {
        bail_out("no listener");
    }
    port = ntohs(in.sin_port);
}

static const char *url(const char *host)
{
    static __thread char text[64];
    snprintf(text, sizeof(text), "ws://%s:%u/path?query", host, port);
    return text;
}

static int accept_next(void)
{
    int fd;
    /* io_uring interrupts system calls of the thread that has created the ring. */
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0 && errno == EINTR) {
    }
    if (fd < 0) {
        bail_out("no connection: %s", strerror(errno));
    }
    return fd;
}

/* Accept a connection and read its request. Skips connections of cancelled attempts. */
static int request_come(char key[WS_KEY_SIZE])
{
    char head[2048] = "";
    size_t len = 0;
    int fd = accept_next();
    while (!strstr(head, "\r\n\r\n")) {
        ssize_t n = recv(fd, head + len, sizeof(head) - 1 - len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            close(fd);
            fd = accept_next();
            len = 0;
            continue;
        }
        len += (size_t)n;
        head[len] = '\0';
    }
    memcpy(key, strstr(head, "Sec-WebSocket-Key: ") + 19, WS_KEY_SIZE - 1);
    key[WS_KEY_SIZE - 1] = '\0';
    return fd;
}

static void grant(int fd, const char *key)
{
    char text[256], accept[WS_ACCEPT_SIZE];
    ws_accept_key(key, accept);
    snprintf(text, sizeof(text),
             "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n",
             accept);
    send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* ---- The handler and its record ---- */

static const ws_handler handler = {.on_message = rec_message, RECORDER};

static void failed(void *data, const char *reason, int status)
{
    note(data, "failed %d %s", status, reason);
}

static ws_connect_options to(const char *name, const char *where)
{
    return (ws_connect_options){.size = sizeof(ws_connect_options),
                                .url = where,
                                .handler = &handler,
                                .data = (void *)name,
                                .on_failure = failed,
                                .lookup_timeout = PATIENCE,
                                .connect_timeout = PATIENCE,
                                .handshake_timeout = PATIENCE,
                                .ping_interval = WS_NEVER};
}

static ws_attempt attempt(const char *name, const char *host)
{
    ws_connect_options o = to(name, url(host));
    return ws_connect(NULL, &o);
}

/* Connect. @return the server's end of the connection */
static int connected(const char *name, const char *host)
{
    char key[WS_KEY_SIZE];
    int fd;
    ok(attempt(name, host) != 0, "%s is tried", name);
    fd = request_come(key);
    grant(fd, key);
    told_is(name, "open", "the connection opens");
    return fd;
}

/* Send an unmasked text frame. */
static void say(int fd, const char *text)
{
    char frame[130] = {(char)0x81, (char)strlen(text)};
    memcpy(frame + 2, text, strlen(text));
    send(fd, frame, 2 + strlen(text), MSG_NOSIGNAL);
}

/* Close the server's end, and wait for the client's on_close. */
static void leave_server(rig *r, int fd, const char *name)
{
    close(fd);
    told_is(name, "close 1006 \"\"", "the end of the connection is reported");
    nobody_is_left(r);
}

/* ---- Tests ---- */

static void each_address_is_tried(rig *r)
{
    int fd = connected("two", "two");
    is_int(ws_engine_count(r->engine), 0, "a connection attempt is not counted as a client");
    ok(!ws_engine_wait(r->engine, 10), "ws_engine_wait() waits for a connection attempt");
    leave_server(r, fd, "two");
    attempt("nobody", "nobody");
    told_is("nobody", "failed 0 lookup: Name or service not known",
            "a name that does not exist is reported");
    nobody_is_left(r);
}

static void a_slow_name_service(rig *r)
{
    ws_connect_options o;
    char key[WS_KEY_SIZE];
    int other, fd;

    set_gate(0);
    attempt("slow", "slow");
    sem_must(&asked, "no thread looks up the name");
    turns(r, 0);
    other = connected("meanwhile", "127.0.0.1");
    ok(1, "the loop runs callbacks during a lookup");
    o = to("late", url("slow"));
    o.lookup_timeout = 50;
    ws_connect(NULL, &o); /* one lookup serves both connections */
    told_is("late", "failed 0 lookup: no answer in 50 ms",
            "a lookup that takes too long is reported after its time limit");
    set_gate(1);
    fd = request_come(key);
    grant(fd, key);
    told_is("slow", "open", "a connection opens when its slow lookup has ended");
    close(other);
    told_is("meanwhile", "close 1006 \"\"", "the connection opened meanwhile has ended");
    leave_server(r, fd, "slow");
}

#define SLOW_NAMES 100

/* Many attempts wait for lookups without an answer. Another lookup must not wait for these. */
static void slow_names_are_alone(rig *r)
{
    static char names[SLOW_NAMES][16];
    ws_attempt attempts[SLOW_NAMES][2];
    int fd;
    set_gate(0);
    for (int i = 0; i < SLOW_NAMES; i++) {
        snprintf(names[i], sizeof(names[i]), "slow%d", i);
        attempts[i][0] = attempt(names[i], names[i]);
        attempts[i][1] = attempt(names[i], names[i]);
    }
    for (int i = 0; i < SLOW_NAMES; i++) {
        sem_must(&asked, "no thread looks up the name");
    }
    fd = connected("another name", "two");
    ok(sem_trywait(&asked) < 0, "a name that is being looked up is not looked up again");
    for (int i = 0; i < SLOW_NAMES; i++) {
        ws_connect_cancel(attempts[i][0]);
        ws_connect_cancel(attempts[i][1]);
    }
    set_gate(1);
    leave_server(r, fd, "another name");
}

/* The answer for one address family is late: RFC 8305, section 3. */
static void one_family_is_slow(rig *r)
{
    char key[WS_KEY_SIZE];
    ws_connect_options o;
    int fd;

    set_gate(0);
    while (sem_trywait(&asked) == 0) { /* lookups of other tests do not count */
    }
    fd = connected("v4", "slow-aaaa");
    ok(1, "a missing answer for AAAA does not delay the connection");
    sem_must(&asked, "no thread looks up the name");
    attempt("again", "slow-aaaa");
    close(request_come(key));
    told_is("again", "failed 0 handshake: the connection was closed before an answer",
            "a second attempt uses the addresses of the first lookup");
    ok(sem_trywait(&asked) < 0, "a second attempt does not look up the name again");
    set_gate(1);
    leave_server(r, fd, "v4");

    set_gate(0);
    while (sem_trywait(&answered_v6) == 0) {
    }
    attempt("v6", "slow-a");
    sem_must(&asked, "no thread looks up the name");
    sem_must(&answered_v6, "no thread looks up AAAA");
    turns(r, 0);
    turns(r, 1);
    set_gate(1);
    fd = request_come(key);
    grant(fd, key);
    told_is("v6", "open", "IPv6 addresses that arrive later are tried, too");
    leave_server(r, fd, "v6");

    set_gate(0);
    o = to("vain", url("slow-aaaa-in-vain"));
    o.lookup_timeout = 300;
    ws_connect(NULL, &o);
    told_is("vain", "failed 0 connect: Connection refused",
            "the client waits for a missing answer for AAAA until the time limit of the lookup");
    sem_must(&asked, "no thread looks up the name");
    attempt("nothing", "slow-nothing");
    told_is("nothing", "failed 0 lookup: Name or service not known",
            "a name without addresses of either family is reported");
    sem_must(&asked, "no thread looks up the name");
    set_gate(1);
    nobody_is_left(r);
}

/* The next address is tried before the first one times out: RFC 8305, section 5. */
static void a_silent_address(rig *r)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(0x7f000003)};
    int hole = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), filling[4], fd;
    char key[WS_KEY_SIZE];
    ws_connect_options o = to("hole", url("hole"));
    if (bind(hole, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(hole, 0) < 0) {
        bail_out("no second listener");
    }
    for (int i = 0; i < 4; i++) {
        filling[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(filling[i], (struct sockaddr *)&in, sizeof(in));
    }
    o.connect_timeout = WS_NEVER;
    ws_connect(NULL, &o);
    fd = request_come(key);
    grant(fd, key);
    told_is("hole", "open", "the second address is tried while the first does not answer");
    leave_server(r, fd, "hole");
    for (int i = 0; i < 4; i++) {
        close(filling[i]);
    }
    close(hole);
}

/* on_reconnect decides whether to connect again: not after the close code 4000. */
static int again(void *data, apr_uint32_t delay, const char *reason, int status)
{
    note(data, "again %s %d%s", reason, status, delay > 40 ? " late" : "");
    return strcmp(reason, "closed: 4000") != 0;
}

/* Close with the code that the server sends, or fill the send queue. */
static void close_with(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    static const char text[64 * 1024];
    (void)type, (void)len;
    if (*data != 'f') {
        ws_close(c, (*data - '0') * 1000 + (data[1] - '0'), NULL);
        return;
    }
    while (ws_send(c, WS_BINARY, text, sizeof(text)) >= 0) {
    }
}

static void send_close(int fd, int code)
{
    const unsigned char frame[] = {0x88, 2, (unsigned char)(code >> 8), (unsigned char)code};
    send(fd, frame, sizeof(frame), MSG_NOSIGNAL);
}

/* A connection that the program has closed is not opened again, whatever the code. */
static void the_program_closes(rig *r, const ws_connect_options *o)
{
    static const struct {
        const char *order, *close;
        int code;
    } closes[] = {{"10", "close 1000 \"\"", 1000}, {"17", "close 1007 \"\"", WS_CLOSE_BAD_DATA}};
    char key[WS_KEY_SIZE];
    for (size_t i = 0; i < sizeof(closes) / sizeof(*closes); i++) {
        int fd;
        ws_connect(NULL, o);
        fd = request_come(key);
        grant(fd, key);
        told_is("who", "open", "the connection opens");
        say(fd, closes[i].order);
        send_close(fd, closes[i].code);
        told_is("who", closes[i].close, "the program closes the connection");
        close(fd);
        nobody_is_left(r);
        is_int(untold(), 0, "it is not opened again");
    }
}

static void who_closes(rig *r)
{
    static const ws_handler closer = {
        .on_open = rec_open, .on_message = close_with, .on_close = rec_close};
    ws_connect_options o = to("who", url("127.0.0.1"));
    char key[WS_KEY_SIZE];
    ws_attempt a;
    int fd;
    o.handler = &closer;
    o.reconnect = 10;
    o.on_reconnect = again;
    the_program_closes(r, &o);
    o.send_queue = 1000;
    a = ws_connect(NULL, &o);
    fd = request_come(key);
    grant(fd, key);
    told_is("who", "open", "the connection opens");
    send_close(fd, 1);
    told_is("who", "close 1002 \"Close frame has no valid status code\"",
            "the client fails the connection");
    told_is("who", "again closed: 1002 0", "a connection that failed is opened again");
    close(fd);
    fd = request_come(key);
    grant(fd, key);
    told_is("who", "open", "the connection opens");
    say(fd, "fill");
    told_is("who", "close 1008 \"too slow\"", "a full send queue closes the connection");
    told_is("who", "again closed: 1008 0", "a connection whose server is too slow is opened again");
    close(fd);
    fd = request_come(key);
    grant(fd, key);
    told_is("who", "open", "the connection opens");
    ws_connect_cancel(a);
    turns(r, 0);
    turns(r, 1);
    leave_server(r, fd, "who");
}

static void it_connects_again(rig *r)
{
    char key[WS_KEY_SIZE];
    ws_connect_options o = to("again", url("127.0.0.1"));
    const char refusal[] = "HTTP/1.1 503 Later\r\n\r\n", no[] = "HTTP/1.1 403 No\r\n\r\n";
    ws_attempt a;
    int fd;
    o.reconnect = 10;
    o.reconnect_max = 40;
    o.on_reconnect = again;
    a = ws_connect(NULL, &o);
    for (int i = 0; i < 3; i++) {
        fd = request_come(key);
        grant(fd, key);
        told_is("again", "open", "the connection opens, time %d", i);
        close(fd);
        told_is("again", "close 1006 \"\"", "the end of the connection is reported");
        told_is("again", "again closed: 1006 0",
                "on_reconnect is called after the end of the connection");
    }
    fd = request_come(key);
    send(fd, refusal, strlen(refusal), MSG_NOSIGNAL);
    told_is("again", "again handshake: server answered 503 503",
            "on_reconnect is called after a refusal");
    close(fd);
    fd = request_come(key);
    grant(fd, key);
    told_is("again", "open", "the connection opens after a refusal");
    send(fd, "\x88\x02\x0f\xa0", 4, MSG_NOSIGNAL);
    told_is("again", "close 4000 \"\"", "the server closes the connection");
    told_is("again", "again closed: 4000 0", "on_reconnect is called, and decides to stop");
    close(fd);
    nobody_is_left(r);
    is_int(untold(), 0, "after a stop by on_reconnect, on_failure is not called");
    a = ws_connect(NULL, &o);
    fd = request_come(key);
    send(fd, no, strlen(no), MSG_NOSIGNAL);
    told_is("again", "failed 403 handshake: server answered 403",
            "a permanent refusal ends the attempts");
    close(fd);
    nobody_is_left(r);
    a = ws_connect(NULL, &o);
    fd = request_come(key);
    grant(fd, key);
    told_is("again", "open", "the connection opens again");
    ws_connect_cancel(a);
    turns(r, 0);
    turns(r, 1);
    leave_server(r, fd, "again");
    is_int(untold(), 0, "a cancelled connection is not opened again");
}

static void given_up(rig *r)
{
    char key[WS_KEY_SIZE], byte;
    ws_attempt a;
    int fd;

    set_gate(0);
    a = attempt("slow", "slow");
    sem_must(&asked, "no thread looks up the name");
    ws_connect_cancel(a);
    nobody_is_left(r);
    set_gate(1);
    a = attempt("answered", "127.0.0.1");
    fd = request_come(key);
    ws_connect_cancel(a);
    is_int((int)recv(fd, &byte, 1, 0), 0, "the socket of a cancelled attempt is closed");
    close(fd);
    nobody_is_left(r);
    ws_connect_cancel(a);
    ws_connect_cancel(0);
    ws_connect_cancel(12345);
    turns(r, 0);
    is_int(untold(), 0,
           "a cancelled attempt reports nothing, before or after its lookup has ended");
}

static void give_up_at_once(ws_loop *loop, void *arg)
{
    ws_connect_options o = to("never", "no URL at all");
    (void)loop, (void)arg;
    ws_connect_cancel(ws_connect(NULL, &o));
    o.delay = NEVER;
    *(ws_attempt *)arg = ws_connect(NULL, &o);
}

static void given_up_at_once(rig *r)
{
    ws_attempt delayed;
    on_loop_of(r, 0, give_up_at_once, &delayed);
    turns(r, 0);
    ws_connect_cancel(delayed);
    nobody_is_left(r);
    is_int(untold(), 0, "an attempt that is cancelled before it begins reports nothing");
}

static void a_delay(rig *r)
{
    ws_connect_options o = to("delayed", "no URL at all");
    o.delay = 20;
    ws_connect(NULL, &o);
    told_is("delayed", "failed 0 url: the URL does not start with ws:// or wss://",
            "an attempt with a delay begins after the delay");
    nobody_is_left(r);
}

static void nothing_is_tried(rig *r)
{
    ws_connect_options o = to("x", url("127.0.0.1"));
    (void)r;
    o.handler = NULL;
    is_int((int)ws_connect(NULL, &o), 0, "ws_connect() without a handler fails");
    o = to("x", NULL);
    is_int((int)ws_connect(NULL, &o), 0, "ws_connect() without a URL fails");
    o = to("x", url("127.0.0.1"));
    o.size = 0;
    is_int((int)ws_connect(NULL, &o), 0, "ws_connect() without the size of the options fails");
}

/* Options that cannot work are refused before an attempt, and the attempt fails in the same way. */
static void options_that_cannot_work(rig *r)
{
    static const char *const port_only[] = {":99999:a:1", NULL},
                             *const one_bad[] = {"::127.0.0.1,127.0.0.300:", NULL},
                             *const good[] = {"a:1:127.0.0.2,127.0.0.1:2", ":::", NULL};
    const struct {
        ws_connect_options o;
        const char *error;
    } cases[] = {
        {{.key = "/key.pem"}, "request: the key has no certificate: set both, or none of them"},
        {{.source = "localhost"},
         "request: the source \"localhost\" is not an IPv4 or IPv6 address"},
        {{.source = ""}, "request: the source \"\" is not an IPv4 or IPv6 address"},
        {{.unix_socket = ""}, "request: the unix socket's path is empty"},
        {{.connect_to = port_only}, "request: \":99999:a:1\" is not HOST:PORT:HOST:PORT"},
        {{.connect_to = one_bad}, "request: \"127.0.0.1,127.0.0.300\" is not a list of addresses"},
        {{.connect_to = good, .proxy = "http://127.0.0.1:1"},
         "request: other addresses (connect_to) cannot be combined with a proxy: remove them, or "
         "use no proxy"},
        {{.connect_to = good, .proxy = ""}, NULL},
        {{.source = "::1"}, NULL}};
    ws_connect_options o = {0};
    apr_pool_t *p;
    char text[256];
    apr_pool_create(&p, NULL);
    is_str(ws_connect_check(p, &o), "request: the options do not have their size",
           "options without their size are refused");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        o = cases[i].o;
        o.size = sizeof(o);
        is_str(ws_connect_check(p, &o), cases[i].error, "ws_connect_check(), case %d", (int)i);
        if (cases[i].error) {
            ws_connect_options base = to("wrong", url("127.0.0.1"));
            o.url = base.url;
            o.handler = base.handler;
            o.data = base.data;
            o.on_failure = base.on_failure;
            ws_connect(NULL, &o);
            snprintf(text, sizeof(text), "failed 0 %s", cases[i].error);
            told_is("wrong", text, "the attempt fails, case %d", (int)i);
        }
    }
    apr_pool_destroy(p);
    nobody_is_left(r);
}

static void a_client_without_size(void)
{
    const ws_client_options options = {.loops = 2};
    ws_client *client;
    is_int((int)ws_client_create(&client, &options), APR_EINVAL,
           "ws_client_create() refuses options without their size");
    ok(client == NULL, "it creates no client");
}

/* ---- Two connections of one loop, of which one handler acts on the other connection ---- */

static ws_conn *server_side;

static void other_open(ws_conn *c)
{
    server_side = c;
    rec_open(c);
}

static void obey(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    /* on_drain is not recorded: whether a message is queued depends on the backend. */
    static const ws_handler other = {
        .on_open = other_open, .on_message = rec_message, .on_close = rec_close};
    if (!strncmp(data, "connect", len)) {
        ws_connect_options o = to("other", url("127.0.0.1"));
        o.handler = &other;
        ws_connect(c, &o);
    }
    else if (!strncmp(data, "pause", len)) {
        ws_pause(server_side);
    }
    else if (!strncmp(data, "resume", len)) {
        ws_resume(server_side);
    }
    else if (!strncmp(data, "close", len)) {
        ws_close(server_side, 4000, "over");
    }
    else {
        ws_send(server_side, type, data, len);
    }
    note("client", "%.*s", (int)len, data);
}

static const ws_handler both = {.on_open = rec_open, .on_message = obey, .on_close = rec_close};

static void order(wire *w, const char *what)
{
    wire_text(w, what);
    told_is("client", what, "the client gets a command");
}

static void one_speaks_for_the_other(rig *r)
{
    wire w = enter(r, "client");
    char key[WS_KEY_SIZE], frame[32], masks[8][4];
    int fd, same = 0;

    order(&w, "connect");
    fd = request_come(key);
    grant(fd, key);
    told_is("other", "open", "a client of the same loop is connected");
    is_int((int)server_side->settings->max_message, (int)r->settings.max_message,
           "the client has the limits of its options");
    ok(ws_conn_location(server_side) == NULL, "the client has no location");
    is_str(ws_uri(server_side), "/path", "the client has the path of the URL");
    is_str(ws_args(server_side), "query", "the client has the query of the URL");
    is_int(server_side->loop == &r->engine->loops[0], 1, "both connections are in the same loop");

    order(&w, "hello");
    is_int((int)recv(fd, frame, 11, MSG_WAITALL), 11,
           "a callback sends a message on the client's connection");
    is_int((unsigned char)frame[1], 0x85, "the message is masked");
    for (int i = 0; i < 5; i++) {
        frame[6 + i] ^= frame[2 + i % 4];
    }
    is_mem(frame + 6, 5, "hello", 5, "the message has the right payload");

    for (int i = 0; i < 8; i++) {
        order(&w, "again");
        recv(fd, frame, 11, MSG_WAITALL);
        memcpy(masks[i], frame + 2, 4);
        for (int j = 0; j < i; j++) {
            same += !memcmp(masks[i], masks[j], 4);
        }
    }
    is_int(same, 0, "each message has another mask");

    order(&w, "pause");
    say(fd, "one");
    say(fd, "two");
    turns(r, 0);
    turns(r, 0);
    is_int(untold(), 0, "a paused client reads nothing");
    order(&w, "resume");
    told_is("other", "text \"one\"", "a resumed client gets the first message");
    told_is("other", "text \"two\"", "a resumed client gets the second message");

    order(&w, "close");
    is_int((int)recv(fd, frame, 12, MSG_WAITALL), 12, "the client sends a Close frame");
    is_int((unsigned char)frame[0], 0x88, "the Close frame has the right opcode");
    close(fd);
    told_is("other", "close 4000 \"over\"", "on_close");
    leave(&w, "client");
    nobody_is_left(r);
}

/* ---- A lookup is cancelled while its TLS context is being created ---- */

static void found_in_vain(void *arg, ws_found *f)
{
    (void)arg, (void)f;
    bail_out("a cancelled lookup has a result");
}

static void start_lookup(ws_loop *loop, void *lookup)
{
    const ws_tls_files files = {.insecure = 1};
    *(ws_lookup **)lookup = ws_lookup_start(loop, NULL, 0, &files, found_in_vain, NULL);
}

static void cancel_lookup(ws_loop *loop, void *lookup)
{
    (void)loop;
    ws_lookup_cancel(*(ws_lookup **)lookup);
}

static void a_context_that_nobody_needs(rig *r)
{
    ws_lookup *lookup;
    slow_contexts = 1;
    on_loop_of(r, 0, start_lookup, &lookup);
    sem_must(&creating, "no thread creates a TLS context");
    on_loop_of(r, 0, cancel_lookup, &lookup);
    sem_post(&may_create);
    sem_must(&freeing, "the TLS context is not freed");
    ws_lookup_settle();
    is_int(__atomic_load_n(&contexts_freed, __ATOMIC_RELAXED), 1,
           "ws_lookup_settle() waits until the context of a cancelled lookup has been freed");
    slow_contexts = 0;
    ws_tls_forget();
}

/* ---- A context of the caller, which may present a client certificate ---- */

static int certificates_asked; /* atomic */

static int count_certificate(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
    (void)ssl, (void)certificate, (void)key;
    __atomic_add_fetch(&certificates_asked, 1, __ATOMIC_RELAXED);
    return 0;
}

static int accept_any(int ok, X509_STORE_CTX *store)
{
    (void)ok, (void)store;
    return 1;
}

/* Answer the next connection over TLS, with a request for a client certificate. */
static void answer_with_tls(const char *answer)
{
    SSL *ssl = SSL_new(server_ctx);
    char head[2048];
    int fd = accept_next();
    SSL_set_verify(ssl, SSL_VERIFY_PEER, accept_any);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) != 1 || SSL_read(ssl, head, sizeof(head)) <= 0
        || SSL_write(ssl, answer, (int)strlen(answer)) <= 0) {
        bail_out("no TLS handshake: %s", ERR_reason_error_string(ERR_peek_last_error()));
    }
    SSL_free(ssl);
    close(fd);
}

static void another_server_gets_no_certificate(rig *r)
{
    ws_connect_options o;
    char from[64], answer[128];
    make_contexts();
    SSL_CTX_set_client_cert_cb(client_ctx, count_certificate);
    snprintf(from, sizeof(from), "wss://127.0.0.1:%u/", port);
    snprintf(answer, sizeof(answer), "HTTP/1.1 302 There\r\nLocation: wss://two:%u/\r\n\r\n", port);
    o = to("redirected", from);
    o.redirects = 1;
    o.insecure = 1; /* for the second server */
    ok(ws_connect_from(r->engine, &r->engine->loops[0], NULL, &o, client_ctx) != 0,
       "an attempt with a context of the caller");
    answer_with_tls(answer);
    is_int(__atomic_load_n(&certificates_asked, __ATOMIC_RELAXED), 1,
           "the server may get the certificate of the caller's context");
    answer_with_tls("HTTP/1.1 403 No\r\n\r\n");
    is_int(__atomic_load_n(&certificates_asked, __ATOMIC_RELAXED), 1,
           "another server, to which a redirect leads, does not");
    told_is("redirected", "failed 403 handshake: server answered 403", "the second answer counts");
    nobody_is_left(r);
    free_contexts();
    ws_tls_forget();
}

/* ---- The engine stops while attempts are in different stages ---- */

static void the_end(void)
{
    rig r = {0};
    char key[WS_KEY_SIZE];
    ws_connect_options o;
    int fd;

    set_gate(0);
    rig_start(&r, &handler, 2);
    attempt("in the lookup", "slow");
    sem_must(&asked, "no thread looks up the name");
    attempt("in the handshake", "127.0.0.1");
    fd = request_come(key);
    o = to("delayed", url("127.0.0.1"));
    o.delay = NEVER;
    ws_connect(NULL, &o);
    turns(&r, 0);
    turns(&r, 1);
    ws_engine_stop(r.engine);
    told_is("in the lookup", "failed 0 stopped",
            "an attempt in its lookup fails when the engine stops");
    told_is("in the handshake", "failed 0 stopped",
            "an attempt in its handshake fails when the engine stops");
    told_is("delayed", "failed 0 stopped",
            "an attempt that waits for its delay fails when the engine stops");
    is_int((int)ws_connect(NULL, &o), 0, "no attempt begins after the engine has stopped");
    close(fd);
    set_gate(1);
    rig_stop(&r);
}

int main(void)
{
    static test *const tests[] = {each_address_is_tried,
                                  a_slow_name_service,
                                  slow_names_are_alone,
                                  one_family_is_slow,
                                  a_silent_address,
                                  it_connects_again,
                                  who_closes,
                                  given_up,
                                  given_up_at_once,
                                  a_delay,
                                  nothing_is_tried,
                                  options_that_cannot_work,
                                  a_context_that_nobody_needs,
                                  another_server_gets_no_certificate,
                                  NULL};
    static test *const pairs[] = {one_speaks_for_the_other, NULL};
    sem_init(&asked, 0, 0);
    sem_init(&answered_v6, 0, 0);
    sem_init(&creating, 0, 0);
    sem_init(&may_create, 0, 0);
    sem_init(&freeing, 0, 0);
    listen_somewhere();
    rig_run((rig){0}, &handler, 2, tests);
    rig_run((rig){0}, &both, 1, pairs);
    the_end();
    a_client_without_size();
    close(listener);
    return done_testing();
}
