/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * This program checks that a channel delivers all messages to many subscribers:
 *
 *     crowd PORT[,PORT...] PATH SUBSCRIBERS PUBLISHERS
 *
 * Subscribers and publishers are distributed over the ports, which belong to servers that share the
 * channel. Each publisher is also subscribed, and publishes its next message when it has received
 * its previous one. The program prints "ready" when all members (subscribers and publishers) are
 * subscribed, and "at N" each time that publishers have received another 50 of the messages they
 * sent. A publisher whose connection breaks reconnects. A subscriber whose connection breaks is
 * counted as lost.
 *
 * A line on standard input stops the publishers. The program then checks the remaining subscribers.
 * Each subscriber must have received all messages that their publishers have received, each exactly
 * once. It must have received the messages of each publisher in order, except for the one that a
 * publisher had just sent when its connection broke. Messages of other runs on the same channel are
 * ignored. The program prints the result:
 *
 *     left=990 lost=10 messages=800 missing=0 twice=0 disordered=0
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES 20000 /* maximum number of messages of a publisher */
#define PUBLISHERS 32
#define PORTS 8
/* @return the time without progress after which the program reports messages as missing, seconds */
static int quiet(void)
{
    const char *seconds = getenv("WS_TEST_DEADLINE");
    return seconds && atoi(seconds) > 60 ? atoi(seconds) / 3 : 20;
}

typedef struct member {
    int fd, open, publisher; /* publisher: number of the publisher, or -1 for a subscriber */
    unsigned short port;     /* in network order */
    int received; /* whether the member has received a call, and is therefore subscribed */
    int here;     /* number of the publisher's last message on this connection, or 0 */
    size_t len;
    unsigned char in[4096];
    int last[PUBLISHERS]; /* number of the last message received from each publisher */
    unsigned char *got;   /* received messages: one bit for each publisher and number */
} member;

static const char *path;
static int epoll_fd, publishers, publishing = 1, failed;
static int sent[PUBLISHERS]; /* number of the last message that each publisher has sent */
static unsigned char *back;  /* messages that their own publisher has received: bits as in got */
static unsigned char *cut;   /* messages whose connection broke before that */
static long run;             /* the process id, which is part of each message */
static long heard, came_back, lost, twice, disordered, opened;

static size_t bit(int publisher, int number)
{
    return (size_t)publisher * MESSAGES + (size_t)number;
}

static int test(const unsigned char *bits, size_t i)
{
    return bits[i / 8] >> i % 8 & 1;
}

static void set(unsigned char *bits, size_t i)
{
    bits[i / 8] |= (unsigned char)(1 << i % 8);
}

static int say(member *m, const void *data, size_t len)
{
    return send(m->fd, data, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void dial(member *m)
{
    char request[512];
    const struct sockaddr_in server = {
        .sin_family = AF_INET, .sin_port = m->port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = m};
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     path);
    m->len = 0;
    m->open = m->here = 0;
    m->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (connect(m->fd, (const struct sockaddr *)&server, sizeof(server)) < 0) {
        if (errno != EINTR && errno != ECONNREFUSED && errno != ECONNRESET) {
            perror("connect");
            exit(1);
        }
        usleep(10000);
    }
    say(m, request, (size_t)n);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, m->fd, &e);
}

/* Publish a call ("?"), which tells each member that receives it that it is subscribed. main()
 * repeats the call until all members have received one, because the server answers the handshake
 * before it subscribes the connection. */
static void call(member *m)
{
    static const unsigned char frame[] = {0x81, 0x81, 0, 0, 0, 0, '?'};
    say(m, frame, sizeof(frame));
}

static void publish(member *m)
{
    unsigned char frame[64] = {0x81, 0, 0, 0, 0, 0}; /* the masking key is zero */
    int n;
    if (!publishing || sent[m->publisher] == MESSAGES - 1) {
        return;
    }
    n = snprintf((char *)frame + 6, sizeof(frame) - 6, "%ld %d %d", run, m->publisher,
                 ++sent[m->publisher]);
    frame[1] = (unsigned char)(0x80 | n);
    m->here = sent[m->publisher];
    say(m, frame, 6 + (size_t)n);
}

static void take_message(member *m, const char *text)
{
    long from;
    int publisher, number, fields;
    if (*text == '?') {
        heard += !m->received;
        m->received = 1;
        return;
    }
    fields = sscanf(text, "%ld %d %d", &from, &publisher, &number);
    if (fields == 3 && from != run) {
        return; /* an earlier run's last messages may arrive late, for example after Redis returns */
    }
    if (fields != 3 || publisher < 0 || publisher >= publishers || number < 1
        || number >= MESSAGES) {
        fprintf(stderr, "a message is not from this program: %s\n", text);
        failed = 1;
        return;
    }
    if (test(m->got, bit(publisher, number))) {
        twice++;
    }
    else if (number < m->last[publisher] && !test(cut, bit(publisher, number))) {
        disordered++;
        fprintf(stderr, "publisher %d: message %d came after %d\n", publisher, number,
                m->last[publisher]);
    }
    set(m->got, bit(publisher, number));
    if (number > m->last[publisher]) {
        m->last[publisher] = number;
    }
    /* Ignore a message that was published on an earlier connection: it may have reached only some
     * processes, because its connection broke. */
    if (publisher == m->publisher && number == m->here) {
        set(back, bit(publisher, number));
        if (++came_back % 50 == 0) {
            printf("at %ld\n", came_back);
            fflush(stdout);
        }
        publish(m);
    }
}

/* Handle the handshake's answer or one frame. @return the number of bytes consumed, or 0 if more
 * bytes must arrive first */
static size_t take_one(member *m, size_t from)
{
    unsigned char *at = m->in + from;
    size_t left = m->len - from;
    if (!m->open) {
        unsigned char *end = memmem(at, left, "\r\n\r\n", 4);
        if (!end) {
            return 0;
        }
        if (memcmp(at, "HTTP/1.1 101", 12) != 0) {
            fprintf(stderr, "refused: %.60s\n", at);
            exit(1);
        }
        m->open = 1;
        opened++;
        if (m->publisher >= 0 && sent[m->publisher]) {
            publish(m); /* the publisher has reconnected */
        }
        return (size_t)(end + 4 - at);
    }
    if (left < 2 || left < 2u + at[1]) {
        return 0;
    }
    if (at[0] == 0x81) {
        char text[128];
        memcpy(text, at + 2, at[1]);
        text[at[1]] = 0;
        take_message(m, text);
    }
    return 2u + at[1];
}

static void ended(member *m)
{
    close(m->fd);
    m->fd = -1;
    if (m->publisher >= 0) {
        /* It may still be on its way, and come after the next one, which takes another way. */
        set(cut, bit(m->publisher, m->here));
        dial(m);
    }
    else {
        lost++;
    }
}

static void take(member *m)
{
    ssize_t n = recv(m->fd, m->in + m->len, sizeof(m->in) - m->len, 0);
    size_t used = 0, one;
    if (n <= 0) {
        ended(m);
        return;
    }
    m->len += (size_t)n;
    while (used < m->len && (one = take_one(m, used))) {
        used += one;
    }
    memmove(m->in, m->in + used, m->len - used);
    m->len -= used;
}

/* Wait for input, and handle it. @return whether standard input has a line or has ended */
static int turn(int timeout)
{
    struct epoll_event e[64];
    int n = epoll_wait(epoll_fd, e, 64, timeout), line = 0;
    for (int i = 0; i < n; i++) {
        if (e[i].data.ptr) {
            take(e[i].data.ptr);
        }
        else {
            char text[64];
            line |= read(0, text, sizeof(text)) >= 0;
            epoll_ctl(epoll_fd, EPOLL_CTL_DEL, 0, NULL);
        }
    }
    return line;
}

static long missing(const member *all, int count)
{
    long n = 0;
    for (int i = 0; i < count; i++) {
        for (int p = 0; all[i].fd >= 0 && all[i].publisher < 0 && p < publishers; p++) {
            for (int k = 1; k <= sent[p]; k++) {
                n += test(back, bit(p, k)) && !test(all[i].got, bit(p, k));
            }
        }
    }
    return n;
}

/* Parse a list of ports. @return the number of ports */
static int parse_ports(const char *text, unsigned short *ports)
{
    int n = 0;
    while (text && n < PORTS) {
        ports[n++] = htons((unsigned short)atoi(text));
        text = strchr(text, ',');
        text += text != NULL;
    }
    return n;
}

int main(int argc, char **argv)
{
    unsigned short ports[PORTS];
    struct rlimit files;
    struct epoll_event in = {.events = EPOLLIN};
    size_t bits;
    member *all;
    int subscribers, count, port_count;
    long last, left;
    time_t since;

    if (argc != 5) {
        fprintf(stderr, "usage: crowd PORT[,PORT...] PATH SUBSCRIBERS PUBLISHERS\n");
        return 2;
    }
    port_count = parse_ports(argv[1], ports);
    run = getpid();
    path = argv[2];
    subscribers = atoi(argv[3]);
    publishers = atoi(argv[4]);
    if (publishers < 1 || publishers > PUBLISHERS || getrlimit(RLIMIT_NOFILE, &files) < 0) {
        fprintf(stderr, "1 to %d publishers\n", PUBLISHERS);
        return 2;
    }
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bits = ((size_t)publishers * MESSAGES + 7) / 8;
    back = calloc(1, bits);
    cut = calloc(1, bits);
    count = subscribers + publishers;
    all = calloc((size_t)count, sizeof(*all));
    for (int i = 0; i < count; i++) {
        all[i].publisher = i < subscribers ? -1 : i - subscribers;
        all[i].port = ports[i % port_count];
        all[i].got = calloc(1, bits);
        dial(&all[i]);
        while (opened + 50 < i) {
            turn(-1);
        }
    }
    while (opened < count) {
        turn(-1);
    }
    while (heard < count) {
        call(&all[subscribers]);
        for (int i = 0; i < 100 && heard < count; i++) {
            turn(1);
        }
    }
    printf("ready\n");
    fflush(stdout);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &in);
    for (int i = subscribers; i < count; i++) {
        publish(&all[i]);
    }
    while (!turn(-1)) {
    }
    publishing = 0;
    for (since = time(NULL), last = -1;
         (left = missing(all, count)) && time(NULL) - since < quiet();) {
        if (last != left) {
            last = left;
            since = time(NULL);
        }
        for (int i = 0; i < 1000; i++) {
            turn(1);
        }
    }
    printf("left=%ld lost=%ld messages=%ld missing=%ld twice=%ld disordered=%ld\n",
           subscribers - lost, lost, came_back, left, twice, disordered);
    for (int i = 0; i < count; i++) {
        free(all[i].got);
    }
    free(all);
    free(back);
    free(cut);
    return failed;
}
