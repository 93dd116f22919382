/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "tools/wsclient/options.h"

#include <apr_strings.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "protocol/handshake.h"

/* Longest time of an option, milliseconds. */
#define TIME_MAX 1000000000

/* Messages. */
#define COUNT_MAX APR_INT64_C(1000000000000000)

/* Redirects that --location follows. */
#define REDIRECTS 10

/* Messages that are put together before they are shown, bytes. Others stream through. */
#define MESSAGE_MAX (256u << 20)

/* Bytes that may wait to be sent; session.c stops far below. */
#define SEND_QUEUE (4 << 20)

/* A closing handshake takes as long as it takes until what the server still had to say has gone to a
 * slow standard output; milliseconds. */
#define CLOSE_TIMEOUT (24 * 3600 * 1000)

ws_cli ws_options;

static const char usage[] =
    "Usage: wsclient [OPTION]... URL\n"
    "Talks to a WebSocket server. On a terminal, a line is a message. In a pipe, standard input "
    "goes to\n"
    "the server and what it says to standard output.\n"
    "\n"
    "Messages:\n"
    "  -b, --binary           bytes as they come, in and out: no lines, no message borders\n"
    "  -x, --hex              lines are binary messages in hexadecimal\n"
    "  -j, --json             a line of JSON for each thing that happens\n"
    "  -c, --count=N          end when N messages have come\n"
    "      --stay             at the end of input, go on until the server closes\n"
    "  -t, --timeout=SECONDS  end after that, with exit code 4\n"
    "      --ping=SECONDS     ping when nothing was said so long (20); 0 for never\n"
    "Handshake:\n"
    "  -H, --header=LINE      a further header, \"Name: value\"; as often as you like\n"
    "  -o, --origin=ORIGIN    as a browser says where its page came from\n"
    "  -s, --protocol=LIST    subprotocols, in order of preference\n"
    "      --version=13|8     of the protocol (13)\n"
    "  -z, --deflate          offer compression (permessage-deflate)\n"
    "  -L, --location         follow redirects, 10 at most\n"
    "      --proxy=URL        an HTTP proxy, http://[user:password@]host:port\n"
    "TLS:\n"
    "      --cacert=FILE      trust these certificates (PEM), not the system's\n"
    "      --cert=FILE        our own certificate, if the server asks for one\n"
    "      --key=FILE         its key, if that is not in the same file\n"
    "      --server-name=NAME the name that the certificate has to have\n"
    "  -k, --insecure         whatever certificate comes is believed\n"
    "To look on:\n"
    "  -f, --frames           show each frame, in and out, on standard error\n"
    "      --record=FILE      write a transcript for wshandler-test\n"
    "  -q, --quiet            say nothing but what the server says\n"
    "  -h, --help             this text\n"
    "\n"
    "Exit code: 0 done; 1 the server closed with an error, or before N messages had come, or the\n"
    "connection broke; 2 wrong usage; 3 no connection; 4 timeout; 5 input or output failed; 130 "
    "Ctrl-C.\n"
    "\n"
    "  wsclient ws://localhost/chat?name=ann\n"
    "  echo hello | wsclient --count=1 wss://example.org/echo\n"
    "  wsclient --binary ws://localhost/tcp < big.iso > copy.iso\n";

enum {
    OPT_STAY = 256,
    OPT_PING,
    OPT_VERSION,
    OPT_PROXY,
    OPT_CACERT,
    OPT_CERT,
    OPT_KEY,
    OPT_SERVER_NAME,
    OPT_RECORD
};

static const struct option long_options[] = {{"binary", 0, NULL, 'b'},
                                             {"hex", 0, NULL, 'x'},
                                             {"json", 0, NULL, 'j'},
                                             {"count", 1, NULL, 'c'},
                                             {"stay", 0, NULL, OPT_STAY},
                                             {"timeout", 1, NULL, 't'},
                                             {"ping", 1, NULL, OPT_PING},
                                             {"header", 1, NULL, 'H'},
                                             {"origin", 1, NULL, 'o'},
                                             {"protocol", 1, NULL, 's'},
                                             {"version", 1, NULL, OPT_VERSION},
                                             {"deflate", 0, NULL, 'z'},
                                             {"location", 0, NULL, 'L'},
                                             {"proxy", 1, NULL, OPT_PROXY},
                                             {"cacert", 1, NULL, OPT_CACERT},
                                             {"cert", 1, NULL, OPT_CERT},
                                             {"key", 1, NULL, OPT_KEY},
                                             {"server-name", 1, NULL, OPT_SERVER_NAME},
                                             {"insecure", 0, NULL, 'k'},
                                             {"frames", 0, NULL, 'f'},
                                             {"record", 1, NULL, OPT_RECORD},
                                             {"quiet", 0, NULL, 'q'},
                                             {"help", 0, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

__attribute__((noreturn, format(printf, 1, 2))) static void wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("wsclient: ", stderr);
    vfprintf(stderr, format, args);
    fputs("; wsclient --help tells more\n", stderr);
    va_end(args);
    exit(WS_EXIT_USAGE);
}

static void check(const char *error, const char *text, const char *name)
{
    if (error) {
        wrong("--%s: \"%s\" is wrong, it %s", name, text, error);
    }
}

static apr_int64_t seconds(apr_pool_t *pool, const char *text, const char *name, apr_int64_t least)
{
    apr_int64_t ms = 0;
    check(ws_parse_seconds(pool, text, least, TIME_MAX, &ms), text, name);
    return ms;
}

static void add_header(apr_array_header_t *headers, const char *line)
{
    size_t name = strcspn(line, ":");
    const char *value = line + name;
    if (!*value || !ws_is_token(line, name) || value[strcspn(value, "\r\n")]) {
        wrong("--header: \"%s\" is not \"Name: value\"", line);
    }
    value++;
    value += strspn(value, " \t");
    APR_ARRAY_PUSH(headers, const char *) = apr_pstrmemdup(headers->pool, line, name);
    APR_ARRAY_PUSH(headers, const char *) = value;
}

static void read_option(int c, apr_array_header_t *headers)
{
    ws_connect_options *to = &ws_options.to;
    apr_int64_t value = 0;
    switch (c) {
    case 'b':
        ws_options.form = WS_FORM_BINARY;
        break;
    case 'x':
        ws_options.form = WS_FORM_HEX;
        break;
    case 'j':
        ws_options.json = 1;
        break;
    case 'c':
        check(ws_parse_count(headers->pool, optarg, 1, COUNT_MAX, &value), optarg, "count");
        ws_options.count = (apr_uint64_t)value;
        break;
    case OPT_STAY:
        ws_options.stay = 1;
        break;
    case 't':
        ws_options.timeout = (apr_uint32_t)seconds(headers->pool, optarg, "timeout", 1);
        break;
    case OPT_PING:
        value = seconds(headers->pool, optarg, "ping", 0);
        to->ping_interval = value ? (apr_uint32_t)value : WS_NEVER;
        break;
    case 'H':
        add_header(headers, optarg);
        break;
    case 'o':
        to->origin = optarg;
        break;
    case 's':
        if (!ws_protocols_valid(optarg)) {
            wrong("--protocol: \"%s\" is not a list of different names, with commas", optarg);
        }
        to->protocols = optarg;
        break;
    case OPT_VERSION:
        to->version = !strcmp(optarg, "13") ? 13 : !strcmp(optarg, "8") ? 8 : 0;
        if (!to->version) {
            wrong("--version: \"%s\" is not 13 or 8", optarg);
        }
        break;
    case 'z':
        to->deflate = WS_DEFLATE_OFFER;
        break;
    case 'L':
        to->redirects = REDIRECTS;
        break;
    case OPT_PROXY:
        to->proxy = optarg;
        break;
    case OPT_CACERT:
        to->ca_file = optarg;
        break;
    case OPT_CERT:
        to->certificate = optarg;
        break;
    case OPT_KEY:
        to->key = optarg;
        break;
    case OPT_SERVER_NAME:
        to->server_name = optarg;
        break;
    case 'k':
        to->insecure = 1;
        break;
    case 'f':
        ws_options.frames = 1;
        to->trace = 2;
        break;
    case OPT_RECORD:
        ws_options.record = optarg;
        break;
    case 'q':
        ws_options.quiet = 1;
        break;
    case 'h':
        fputs(usage, stdout);
        exit(WS_EXIT_DONE);
    default:
        fputs("Try wsclient --help.\n", stderr);
        exit(WS_EXIT_USAGE);
    }
}

void ws_options_read(int argc, char *argv[], apr_pool_t *pool)
{
    apr_array_header_t *headers = apr_array_make(pool, 4, sizeof(char *));
    ws_connect_options *to = &ws_options.to;
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    int c;
    while ((c = getopt_long(argc, argv, "bxjc:t:H:o:s:zLkfqh", long_options, NULL)) != -1) {
        read_option(c, headers);
    }
    if (optind != argc - 1) {
        wrong(optind == argc ? "the URL is missing" : "there is one URL, not \"%s\"",
              argv[argc - 1]);
    }
    if (ws_options.json && ws_options.form == WS_FORM_BINARY) {
        wrong("--json and --binary exclude each other");
    }
    APR_ARRAY_PUSH(headers, const char *) = NULL;
    to->headers = (const char *const *)headers->elts;
    to->size = sizeof(*to);
    to->url =
        strstr(argv[optind], "://") ? argv[optind] : apr_pstrcat(pool, "ws://", argv[optind], NULL);
    to->max_message = to->max_frame = MESSAGE_MAX;
    to->send_queue = SEND_QUEUE;
    to->close_timeout = CLOSE_TIMEOUT;
    ws_options.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)
                          && ws_options.form != WS_FORM_BINARY && !ws_options.json;
    ws_options.colour =
        isatty(STDERR_FILENO) && !(no_colour && *no_colour) && term && strcmp(term, "dumb");
}
