/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Parses the command line. Invalid options and combinations end the program with an explanation.
 */

#include <apr_general.h>
#include <apr_strings.h>
#include <arpa/inet.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/parse.h"
#include "protocol/client_handshake.h"
#include "tools/wsbench/wsbench.h"

options opt = {
    .connections = 64, .workers = 1, .opening = 64, .size = 20, .seconds = 5, .warm_up = 0.5};

enum {
    OPT_IDLE = 256,
    OPT_CONNECT,
    OPT_HELLO,
    OPT_SKIP,
    OPT_CACERT,
    OPT_PID,
    OPT_OPENING,
    OPT_RAW,
    OPT_VERSION
};

static const struct option long_options[] = {{"connections", 1, NULL, 'c'},
                                             {"in-flight", 1, NULL, 'm'},
                                             {"size", 1, NULL, 's'},
                                             {"rate", 1, NULL, 'r'},
                                             {"time", 1, NULL, 't'},
                                             {"warm-up", 1, NULL, 'w'},
                                             {"workers", 1, NULL, 'j'},
                                             {"content", 1, NULL, 'C'},
                                             {"deflate", 2, NULL, 'z'},
                                             {"fan-out", 2, NULL, 'f'},
                                             {"idle", 0, NULL, OPT_IDLE},
                                             {"connect", 0, NULL, OPT_CONNECT},
                                             {"hello", 1, NULL, OPT_HELLO},
                                             {"skip", 1, NULL, OPT_SKIP},
                                             {"raw", 0, NULL, OPT_RAW},
                                             {"header", 1, NULL, 'H'},
                                             {"insecure", 0, NULL, 'k'},
                                             {"cacert", 1, NULL, OPT_CACERT},
                                             {"sources", 1, NULL, 'S'},
                                             {"opening", 1, NULL, OPT_OPENING},
                                             {"pid-file", 1, NULL, 'P'},
                                             {"pid", 1, NULL, OPT_PID},
                                             {"json", 0, NULL, 'J'},
                                             {"quiet", 0, NULL, 'q'},
                                             {"version", 0, NULL, OPT_VERSION},
                                             {"help", 0, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

static const char usage[] =
    "Usage: wsbench [OPTION]... URL...\n"
    "WebSocket load generator: reports throughput, latency and server CPU. Connections use the\n"
    "URLs in turn.\n"
    "\n"
    "Modes: by default, each message is sent when the previous one has been echoed.\n"
    "  -r, --rate=N           send N messages per second, independently of the responses\n"
    "  -f, --fan-out[=URL]    all connections subscribe, and one more connection publishes to URL\n"
    "      --idle             send one message on each connection, then nothing\n"
    "      --connect          open and close connections repeatedly\n"
    "Load:\n"
    "  -c, --connections=N    number of connections (64)\n"
    "  -m, --in-flight=N      messages in flight for each connection (1)\n"
    "  -s, --size=BYTES       length of a message (20); k and m multiply by 1024 and 1024 x 1024\n"
    "  -t, --time=SECONDS     duration of the measurement (5)\n"
    "  -w, --warm-up=SECONDS  duration of the warm-up before the measurement (0.5)\n"
    "  -j, --workers=N        number of load-generating processes (1)\n"
    "Messages:\n"
    "  -C, --content=KIND     binary, text, utf8 or json (binary)\n"
    "  -z, --deflate[=takeover]  compress messages; takeover: keep the window between messages\n"
    "      --hello=TEXT       text that each subscriber sends first\n"
    "      --skip=N           ignore the first N messages that each subscriber receives\n"
    "Connections:\n"
    "      --raw              send no handshake; the server must echo all bytes unchanged\n"
    "  -H, --header=LINE      add a header to the handshake, \"Name: value\"\n"
    "  -k, --insecure         do not verify the certificate\n"
    "      --cacert=FILE      trust these certificates (PEM) instead of the system's\n"
    "  -S, --sources=A[-B]    source addresses for connections (IPv4)\n"
    "      --opening=N        maximum number of connections that a worker opens at once (64)\n"
    "CPU time and memory of a server on this machine:\n"
    "  -P, --pid-file=FILE    file with the process id of the server's first process\n"
    "      --pid=N            process id of the server's first process\n"
    "Output:\n"
    "      --json             print one JSON object\n"
    "  -q, --quiet            show no progress on the terminal\n"
    "      --version          show the version of this program\n"
    "  -h, --help             show this text\n"
    "\n"
    "Exit code: 0 done; 1 a connection failed or a message was wrong; 2 wrong usage; 130 Ctrl-C\n"
    "(the results so far are printed).\n";

static void options_wrong(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void options_wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("wsbench: ", stderr);
    vfprintf(stderr, format, args);
    fputs("; see wsbench --help\n", stderr);
    va_end(args);
    exit(2);
}

/* Maximum time that an option accepts, milliseconds. */
#define TIME_MAX 1000000000

/* Maximum process id that an option accepts. */
#define PID_MAX 1000000000

static apr_pool_t *pool; /* for error texts */

static void options_check(const char *error, const char *text, const char *name)
{
    if (error) {
        options_wrong("--%s: invalid value \"%s\": expected %s", name, text,
                      ws_parse_expected(error));
    }
}

static unsigned options_count(const char *text, const char *name, apr_int64_t least,
                              apr_int64_t most)
{
    apr_int64_t n = 0;
    options_check(ws_parse_count(pool, text, least, most, &n), text, name);
    return (unsigned)n;
}

static double options_seconds(const char *text, const char *name, apr_int64_t least)
{
    apr_int64_t ms = 0;
    options_check(ws_parse_seconds(pool, text, least, TIME_MAX, &ms), text, name);
    return (double)ms / 1000;
}

static size_t options_bytes(const char *text)
{
    apr_int64_t n = 0;
    options_check(ws_parse_size(pool, text, 0, 1 << 30, &n), text, "size");
    return (size_t)n;
}

static int options_one_of(const char *text, const char *name, const char *const *words)
{
    const char *all = "";
    for (int i = 0; words[i]; i++) {
        if (!strcmp(text, words[i])) {
            return i;
        }
        all = apr_pstrcat(pool, all, !i ? "" : words[i + 1] ? ", " : " or ", words[i], NULL);
    }
    options_wrong("--%s: invalid value \"%s\": expected %s", name, text, all);
}

static void options_read_sources(const char *text)
{
    const char *first = apr_pstrmemdup(pool, text, strcspn(text, "-"));
    const char *last = text[strlen(first)] ? text + strlen(first) + 1 : first;
    struct in_addr a, b;
    if (inet_pton(AF_INET, first, &a) != 1 || inet_pton(AF_INET, last, &b) != 1 || !a.s_addr
        || ntohl(b.s_addr) < ntohl(a.s_addr)) {
        options_wrong("--sources: \"%s\" is neither an IPv4 address nor two addresses with a dash "
                      "between them, from 0.0.0.1 on",
                      text);
    }
    opt.source = ntohl(a.s_addr);
    opt.sources = ntohl(b.s_addr) - opt.source + 1;
}

static void options_add_header(const char *line)
{
    static const char **all;
    static size_t count;
    size_t len = strcspn(line, ":");
    const char *name = apr_pstrmemdup(pool, line, len), *value = line + len, *wrong;
    if (!*value) {
        options_wrong("--header: \"%s\" is not \"Name: value\"", line);
    }
    value++;
    value += strspn(value, " \t");
    if (strcasecmp(name, "Sec-WebSocket-Protocol") && (wrong = ws_header_wrong(name, value))) {
        options_wrong("--header: \"%s\": %s", line, wrong);
    }
    all = memory_must(realloc(all, (count + 3) * sizeof(*all)));
    all[count++] = name;
    all[count++] = value;
    all[count] = NULL;
    opt.headers = all;
}

static void options_read_pid_file(const char *name)
{
    char line[64] = "";
    apr_int64_t pid = 0;
    FILE *f = fopen(name, "r");
    char *word = f && fgets(line, sizeof(line), f) ? line + strspn(line, " \t") : line;
    word[strcspn(word, " \t\r\n")] = '\0';
    if (ws_parse_count(pool, word, 1, PID_MAX, &pid)) {
        options_wrong("--pid-file: %s does not contain a process id", name);
    }
    opt.pid = (long)pid;
    fclose(f);
}

/* Remove the addresses that --sources cannot connect to. */
static void options_keep_ipv4(ws_addresses *all, const char *url)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < all->count; i++) {
        if (all->list[i].address.ss_family == AF_INET) {
            all->list[kept++] = all->list[i];
        }
    }
    if (!(all->count = kept)) {
        options_wrong("--sources takes IPv4 addresses, but %s has none", url);
    }
}

static void options_read_target(target *t, const char *url)
{
    const char *problem = target_read(t, url);
    if (problem) {
        options_wrong("%s: %s", url, problem);
    }
    if (opt.sources) {
        options_keep_ipv4(t->addresses, url);
    }
}

/* Parse an option about how the connections are opened. @return whether o is such an option */
static int options_read_opening(int o)
{
    switch (o) {
    case OPT_SKIP:
        opt.skip = options_count(optarg, "skip", 0, 1000000000);
        break;
    case OPT_HELLO:
        opt.hello = optarg;
        if (strlen(optarg) > 65536) {
            options_wrong("--hello: the text is longer than 64 KiB");
        }
        break;
    case OPT_RAW:
        opt.raw = 1;
        break;
    case OPT_OPENING:
        opt.opening = options_count(optarg, "opening", 1, 4096);
        break;
    case 'H':
        options_add_header(optarg);
        break;
    case 'k':
        opt.insecure = 1;
        break;
    case OPT_CACERT:
        opt.ca_file = optarg;
        break;
    case 'S':
        options_read_sources(optarg);
        break;
    default:
        return 0;
    }
    return 1;
}

/* Parse an option about what the connections send, and how much of it. @return whether it is such
 * an option */
static int options_read_load(int o)
{
    static const char *const contents[] = {"binary", "text", "utf8", "json", NULL};
    static const char *const windows[] = {"takeover", NULL};
    switch (o) {
    case 'c':
        opt.connections = options_count(optarg, "connections", 1, 4000000);
        break;
    case 'm':
        opt.in_flight = options_count(optarg, "in-flight", 1, FAN_RING / 2);
        break;
    case 's':
        opt.size = options_bytes(optarg);
        break;
    case 'r':
        options_check(ws_parse_decimal(pool, optarg, 0.001, 1e9, &opt.rate), optarg, "rate");
        break;
    case 't':
        opt.seconds = options_seconds(optarg, "time", 100);
        break;
    case 'w':
        opt.warm_up = options_seconds(optarg, "warm-up", 0);
        break;
    case 'j':
        opt.workers = options_count(optarg, "workers", 1, 256);
        break;
    case 'C':
        opt.content = (bench_content)options_one_of(optarg, "content", contents);
        break;
    case 'z':
        opt.deflate = optarg && options_one_of(optarg, "deflate", windows) == 0 ? DEFLATE_TAKEOVER
                                                                                : DEFLATE_ON;
        break;
    default:
        return 0;
    }
    return 1;
}

static void options_read_option(int o, const char **publish)
{
    if (options_read_load(o) || options_read_opening(o)) {
        return;
    }
    switch (o) {
    case 'f':
        opt.mode = MODE_FAN;
        *publish = optarg;
        break;
    case OPT_IDLE:
        opt.mode = MODE_IDLE;
        break;
    case OPT_CONNECT:
        opt.mode = MODE_CONNECT;
        break;
    case 'P':
        options_read_pid_file(optarg);
        break;
    case OPT_PID:
        opt.pid = (long)options_count(optarg, "pid", 1, PID_MAX);
        break;
    case 'J':
        opt.json = 1;
        break;
    case 'q':
        opt.quiet = 1;
        break;
    case OPT_VERSION:
        puts("wsbench " WS_VERSION);
        exit(0);
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default:
        fputs("Try wsbench --help.\n", stderr);
        exit(2);
    }
}

/* Connections for each source address. By default, Linux has 28,232 ports. If most of them are in
 * use, the kernel's search for a free port takes longer than the handshake. */
#define PORTS 10000u

static void options_choose_sources(void)
{
    const struct sockaddr_in *to = (struct sockaddr_in *)&opt.targets[0].addresses->list[0].address;
    unsigned needed = opt.connections / PORTS + 1;
    if (opt.mode == MODE_CONNECT && needed < 8) {
        needed = 8; /* after a connection, its port cannot be reused for a minute */
    }
    if (!opt.sources && needed > 1 && to->sin_family == AF_INET
        && ntohl(to->sin_addr.s_addr) >> 24 == 127) {
        opt.source = INADDR_LOOPBACK + 1;
        opt.sources = needed;
    }
}

static void options_check_combinations(void)
{
    if (opt.rate > 0 && opt.mode != MODE_ECHO && opt.mode != MODE_FAN) {
        options_wrong("--rate cannot be combined with --idle or --connect");
    }
    if (opt.in_flight && (opt.rate > 0 || opt.mode == MODE_IDLE || opt.mode == MODE_CONNECT)) {
        options_wrong("--in-flight cannot be combined with --rate, --idle or --connect");
    }
    if (opt.raw && (opt.deflate || opt.mode == MODE_CONNECT)) {
        options_wrong("--raw cannot be combined with --deflate or --connect");
    }
}

void options_read(int argc, char **argv)
{
    const char *publish = NULL;
    int o;
    apr_initialize();
    apr_pool_create(&pool, NULL);
    while ((o = getopt_long(argc, argv, "c:m:s:r:t:w:j:C:z::f::H:kS:P:qh", long_options, NULL))
           != -1) {
        options_read_option(o, &publish);
    }
    if (optind == argc) {
        options_wrong("the URL is missing");
    }
    options_check_combinations();
    opt.in_flight = opt.in_flight ? opt.in_flight : 1;
    if (opt.workers > opt.connections) {
        opt.workers = opt.connections;
    }
    opt.target_count = (unsigned)(argc - optind);
    if (!(opt.targets = calloc(opt.target_count, sizeof(*opt.targets)))) {
        exit(1);
    }
    for (unsigned i = 0; i < opt.target_count; i++) {
        options_read_target(&opt.targets[i], argv[optind + (int)i]);
    }
    if (opt.mode == MODE_FAN) {
        options_read_target(&opt.publisher, publish ? publish : argv[optind]);
    }
    options_choose_sources();
    if (!isatty(STDERR_FILENO)) {
        opt.quiet = 1;
    }
}
