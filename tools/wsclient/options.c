/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Parses the command line. Invalid options and combinations end the program with an explanation.
 */

#include "tools/wsclient/options.h"

#include <apr_strings.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "client/address_list.h"
#include "protocol/handshake.h"

/* Maximum time that an option accepts, milliseconds. */
#define TIME_MAX 1000000000

/* Maximum number of messages that an option accepts. */
#define COUNT_MAX APR_INT64_C(1000000000000000)

/* Maximum number of redirects for --location. */
#define REDIRECTS 10

/* Maximum size of a message that is assembled before output, bytes. Messages are streamed unless an
 * option requires assembling them. */
#define MESSAGE_MAX (256u << 20)

/* Limit of the send queue, bytes. session.c stops reading input long before this limit. */
#define SEND_QUEUE (4 << 20)

/* Time limit of the closing handshake, milliseconds. It is long because the server may still send
 * data, which a slow standard output delays. If no progress is made, session.c ends the handshake
 * earlier. */
#define CLOSE_TIMEOUT (3600 * 1000)

/* Default of --close-timeout, which is the maximum time without data after the client's Close
 * frame, milliseconds. */
#define CLOSE_WAIT 10000

/* Maximum size of a refusal's body that is shown, bytes. */
#define BODY_MAX (64 * 1024)

/* First and maximum delay of --reconnect, milliseconds. */
#define RECONNECT_FIRST 1000
#define RECONNECT_MAX 60000

ws_cli ws_options;

static const char usage[] =
    "Usage: wsclient [OPTION]... URL\n"
    "A WebSocket client. On a terminal, each line that you type is a message. In a pipe, lines of\n"
    "standard input are sent, and messages from the server go to standard output.\n"
    "\n"
    "Messages:\n"
    "  -x, --execute=MESSAGE  send MESSAGE, and do not read standard input unless it is a "
    "terminal;\n"
    "                         may be repeated\n"
    "  -b, --binary           send and write bytes unchanged, without lines or message boundaries\n"
    "      --hex              lines are binary messages in hexadecimal\n"
    "  -j, --json             write a JSON object for each event\n"
    "  -c, --count=N          end after N messages from the server\n"
    "      --stay             at the end of input, wait until the server closes the connection\n"
    "  -t, --timeout=SECONDS  end after this time, with exit code 4\n"
    "      --ping=SECONDS     ping a silent server after this time (20); 0 for never\n"
    "      --close-timeout=SECONDS  time for the server to answer the Close frame (10)\n"
    "Handshake:\n"
    "  -H, --header=LINE      add a header, \"Name: value\"; may be repeated\n"
    "  -o, --origin=ORIGIN    set Origin, as browsers do\n"
    "  -s, --protocol=LIST    subprotocols to offer, in order of preference\n"
    "      --protocol-version=13|8  version of the WebSocket protocol (13)\n"
    "  -z, --deflate          offer compression (permessage-deflate)\n"
    "  -L, --location         follow redirects, 10 at most\n"
    "Connection:\n"
    "      --proxy=URL        http://, https:// or socks5://[user:password@]host:port; \"\" for "
    "none\n"
    "      --resolve=HOST:PORT:ADDRESS[,ADDRESS]...  addresses to use for a host; may be repeated\n"
    "      --connect-to=HOST:PORT:HOST2:PORT2  connect to HOST2 instead; may be repeated\n"
    "      --unix-socket=PATH connect to this socket, whatever host the URL names\n"
    "      --reconnect[=SECONDS]  connect again when the connection ends or fails, with growing\n"
    "                         delays of up to SECONDS (60)\n"
    "TLS:\n"
    "      --cacert=FILE      trust these certificates (PEM) instead of the system's\n"
    "      --cert=FILE        client certificate (PEM)\n"
    "      --key=FILE         key of the client certificate, if it is in another file (PEM)\n"
    "      --server-name=NAME name to request (SNI) and to verify, instead of the URL's host\n"
    "  -k, --insecure         do not verify the certificate\n"
    "Debugging:\n"
    "  -v, --verbose          show requests, answers with their headers, and bodies of refusals\n"
    "  -f, --frames           show each frame, sent and received\n"
    "      --record=FILE      write a transcript for wshandler-test\n"
    "  -q, --quiet            show only messages from the server and failures to connect\n"
    "      --version          show the version of this program\n"
    "  -h, --help             show this text\n"
    "\n"
    "On a terminal, \"/ping [TEXT]\" measures a round trip, \"/close [CODE [REASON]]\" closes, and "
    "a\n"
    "second slash in front sends such a line: \"//ping\". Ctrl-D closes, too.\n"
    "\n"
    "Exit code: 0 done; 1 the server closed with an error, or before N messages, or the "
    "connection\n"
    "broke; 2 wrong usage; 3 no connection; 4 timeout; 5 input or output failed; 130 Ctrl-C.\n"
    "\n"
    "  wsclient ws://localhost/chat?name=ann\n"
    "  wsclient -x hello --count=1 wss://example.org/echo\n"
    "  wsclient --binary ws://localhost/tcp < big.iso > copy.iso\n";

enum {
    OPT_STAY = 256,
    OPT_HEX,
    OPT_PING,
    OPT_CLOSE_TIMEOUT,
    OPT_PROTOCOL_VERSION,
    OPT_PROXY,
    OPT_RESOLVE,
    OPT_CONNECT_TO,
    OPT_UNIX_SOCKET,
    OPT_RECONNECT,
    OPT_CACERT,
    OPT_CERT,
    OPT_KEY,
    OPT_SERVER_NAME,
    OPT_RECORD,
    OPT_VERSION
};

static const struct option long_options[] = {{"execute", 1, NULL, 'x'},
                                             {"binary", 0, NULL, 'b'},
                                             {"hex", 0, NULL, OPT_HEX},
                                             {"json", 0, NULL, 'j'},
                                             {"count", 1, NULL, 'c'},
                                             {"stay", 0, NULL, OPT_STAY},
                                             {"timeout", 1, NULL, 't'},
                                             {"ping", 1, NULL, OPT_PING},
                                             {"close-timeout", 1, NULL, OPT_CLOSE_TIMEOUT},
                                             {"header", 1, NULL, 'H'},
                                             {"origin", 1, NULL, 'o'},
                                             {"protocol", 1, NULL, 's'},
                                             {"protocol-version", 1, NULL, OPT_PROTOCOL_VERSION},
                                             {"deflate", 0, NULL, 'z'},
                                             {"location", 0, NULL, 'L'},
                                             {"proxy", 1, NULL, OPT_PROXY},
                                             {"resolve", 1, NULL, OPT_RESOLVE},
                                             {"connect-to", 1, NULL, OPT_CONNECT_TO},
                                             {"unix-socket", 1, NULL, OPT_UNIX_SOCKET},
                                             {"reconnect", 2, NULL, OPT_RECONNECT},
                                             {"cacert", 1, NULL, OPT_CACERT},
                                             {"cert", 1, NULL, OPT_CERT},
                                             {"key", 1, NULL, OPT_KEY},
                                             {"server-name", 1, NULL, OPT_SERVER_NAME},
                                             {"insecure", 0, NULL, 'k'},
                                             {"verbose", 0, NULL, 'v'},
                                             {"frames", 0, NULL, 'f'},
                                             {"record", 1, NULL, OPT_RECORD},
                                             {"quiet", 0, NULL, 'q'},
                                             {"version", 2, NULL, OPT_VERSION},
                                             {"help", 0, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

__attribute__((noreturn, format(printf, 1, 2))) static void options_wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("wsclient: ", stderr);
    vfprintf(stderr, format, args);
    fputs("; see wsclient --help\n", stderr);
    va_end(args);
    exit(WS_EXIT_USAGE);
}

static void options_check(const char *error, const char *text, const char *name)
{
    if (error) {
        options_wrong("--%s: invalid value \"%s\": expected %s", name, text,
                      ws_parse_expected(error));
    }
}

static apr_int64_t options_seconds(apr_pool_t *pool, const char *text, const char *name,
                                   apr_int64_t least)
{
    apr_int64_t ms = 0;
    options_check(ws_parse_seconds(pool, text, least, TIME_MAX, &ms), text, name);
    return ms;
}

static void options_add_header(apr_array_header_t *headers, const char *line)
{
    size_t name = strcspn(line, ":");
    const char *value = line + name;
    if (!*value || !ws_is_token(line, name) || value[strcspn(value, "\r\n")]) {
        options_wrong("--header: \"%s\" is not \"Name: value\"", line);
    }
    value++;
    value += strspn(value, " \t");
    APR_ARRAY_PUSH(headers, const char *) = apr_pstrmemdup(headers->pool, line, name);
    APR_ARRAY_PUSH(headers, const char *) = value;
}

/* Lists for options that may be repeated. */
static struct {
    apr_array_header_t *headers, *connect_to, *messages;
} lists;

/* Split a text at colons outside brackets. The last of `most` fields is the rest of the text.
 *  @return number of fields */
static int options_split(apr_pool_t *pool, const char *text, int most, const char **fields)
{
    int count = 0, inside = 0;
    const char *field = text;
    for (; *text && count < most - 1; text++) {
        inside = *text == '[' ? 1 : *text == ']' ? 0 : inside;
        if (*text == ':' && !inside) {
            fields[count++] = apr_pstrmemdup(pool, field, (apr_size_t)(text - field));
            field = text + 1;
        }
    }
    fields[count++] = field;
    return count;
}

/* Check a port, which may be empty. */
static void options_check_port(apr_pool_t *pool, const char *port, const char *name)
{
    apr_int64_t n;
    if (*port) {
        options_check(ws_parse_count(pool, port, 1, 65535, &n), port, name);
    }
}

/* Check an address for --resolve. @return the address, in brackets if it has colons */
static const char *options_address(apr_pool_t *pool, const char *text)
{
    ws_addresses *address = ws_addresses_parse(text, 0);
    if (!address) {
        options_wrong("--resolve: \"%s\" is not an IPv4 or IPv6 address; --connect-to takes names",
                      text);
    }
    free(address);
    return *text != '[' && strchr(text, ':') ? apr_pstrcat(pool, "[", text, "]", NULL) : text;
}

/* Convert --resolve HOST:PORT:ADDRESS[,ADDRESS]... to an entry of connect_to. */
static void options_add_resolve(const char *text)
{
    apr_pool_t *pool = lists.connect_to->pool;
    const char *fields[3];
    apr_array_header_t *addresses =
        options_split(pool, text, 3, fields) == 3 ? ws_parse_list(pool, fields[2]) : NULL;
    if (!addresses) {
        options_wrong("--resolve: \"%s\" is not HOST:PORT:ADDRESS[,ADDRESS]...", text);
    }
    options_check_port(pool, fields[1], "resolve");
    for (int i = 0; i < addresses->nelts; i++) {
        const char **one = &APR_ARRAY_IDX(addresses, i, const char *);
        *one = options_address(pool, *one);
    }
    APR_ARRAY_PUSH(lists.connect_to, const char *) = apr_pstrcat(
        pool, fields[0], ":", fields[1], ":", apr_array_pstrcat(pool, addresses, ','), ":", NULL);
}

static void options_add_connect_to(const char *text)
{
    apr_pool_t *pool = lists.connect_to->pool;
    const char *fields[5];
    if (options_split(pool, text, 5, fields) != 4) {
        options_wrong("--connect-to: \"%s\" is not HOST:PORT:HOST2:PORT2", text);
    }
    options_check_port(pool, fields[1], "connect-to");
    options_check_port(pool, fields[3], "connect-to");
    APR_ARRAY_PUSH(lists.connect_to, const char *) = text;
}

static void options_show_version(const char *value)
{
    if (value && (!strcmp(value, "8") || !strcmp(value, "13"))) {
        options_wrong("--version shows the version of this program; use --protocol-version=%s",
                      value);
    }
    puts("wsclient " WS_VERSION);
    exit(WS_EXIT_DONE);
}

static void options_read_connection_option(int c)
{
    ws_connect_options *to = &ws_options.to;
    switch (c) {
    case OPT_PROXY:
        to->proxy = optarg;
        break;
    case OPT_RESOLVE:
        options_add_resolve(optarg);
        break;
    case OPT_CONNECT_TO:
        options_add_connect_to(optarg);
        break;
    case OPT_UNIX_SOCKET:
        to->unix_socket = optarg;
        break;
    case OPT_RECONNECT:
        to->reconnect_max =
            optarg ? (apr_uint32_t)options_seconds(lists.headers->pool, optarg, "reconnect", 10)
                   : RECONNECT_MAX;
        to->reconnect = to->reconnect_max < RECONNECT_FIRST ? to->reconnect_max : RECONNECT_FIRST;
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
    case 'L':
        to->redirects = REDIRECTS;
        break;
    default:
        fputs("Try wsclient --help.\n", stderr);
        exit(WS_EXIT_USAGE);
    }
}

static void options_read_message_option(int c)
{
    ws_connect_options *to = &ws_options.to;
    apr_int64_t value = 0;
    switch (c) {
    case 'x':
        APR_ARRAY_PUSH(lists.messages, const char *) = optarg;
        break;
    case 'b':
        ws_options.form = WS_FORM_BINARY;
        break;
    case OPT_HEX:
        ws_options.form = WS_FORM_HEX;
        break;
    case 'j':
        ws_options.json = 1;
        break;
    case 'c':
        options_check(ws_parse_count(lists.headers->pool, optarg, 1, COUNT_MAX, &value), optarg,
                      "count");
        ws_options.count = (apr_uint64_t)value;
        break;
    case OPT_STAY:
        ws_options.stay = 1;
        break;
    case 't':
        ws_options.timeout =
            (apr_uint32_t)options_seconds(lists.headers->pool, optarg, "timeout", 1);
        break;
    case OPT_PING:
        value = options_seconds(lists.headers->pool, optarg, "ping", 0);
        to->ping_interval = value ? (apr_uint32_t)value : WS_NEVER;
        break;
    case OPT_CLOSE_TIMEOUT:
        ws_options.close_timeout =
            (apr_uint32_t)options_seconds(lists.headers->pool, optarg, "close-timeout", 1);
        break;
    default:
        options_read_connection_option(c);
    }
}

static void options_read_option(int c, const char *next)
{
    ws_connect_options *to = &ws_options.to;
    switch (c) {
    case 'H':
        options_add_header(lists.headers, optarg);
        break;
    case 'o':
        to->origin = optarg;
        break;
    case 's':
        if (!ws_protocols_valid(optarg)) {
            options_wrong(
                "--protocol: \"%s\" is not a comma-separated list of names without duplicates",
                optarg);
        }
        to->protocols = optarg;
        break;
    case OPT_PROTOCOL_VERSION:
        to->version = !strcmp(optarg, "13") ? 13 : !strcmp(optarg, "8") ? 8 : 0;
        if (!to->version) {
            options_wrong("--protocol-version: \"%s\" is neither 13 nor 8", optarg);
        }
        break;
    case 'z':
        to->deflate = WS_DEFLATE_OFFER;
        break;
    case 'v':
        ws_options.verbose = 1;
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
    case OPT_VERSION:
        options_show_version(optarg ? optarg : next);
        break;
    case 'h':
        fputs(usage, stdout);
        exit(WS_EXIT_DONE);
    default:
        options_read_message_option(c);
    }
}

static void options_check_combinations(void)
{
    const ws_connect_options *to = &ws_options.to;
    if (ws_options.json && ws_options.form == WS_FORM_BINARY) {
        options_wrong("--json cannot be combined with --binary");
    }
    if (to->key && !to->certificate) {
        options_wrong("--key needs the certificate, in --cert");
    }
    if (to->proxy && *to->proxy && lists.connect_to->nelts) {
        options_wrong("--proxy cannot be combined with --resolve or --connect-to");
    }
}

/* Set fixed options. */
static void options_settle(void)
{
    ws_connect_options *to = &ws_options.to;
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    ws_options.messages = (const char *const *)lists.messages->elts;
    ws_options.message_count = (unsigned)lists.messages->nelts;
    APR_ARRAY_PUSH(lists.headers, const char *) = NULL;
    APR_ARRAY_PUSH(lists.connect_to, const char *) = NULL;
    to->headers = (const char *const *)lists.headers->elts;
    to->connect_to = (const char *const *)lists.connect_to->elts;
    to->size = sizeof(*to);
    to->max_message = to->max_frame = MESSAGE_MAX;
    to->send_queue = SEND_QUEUE;
    to->close_timeout = CLOSE_TIMEOUT;
    to->max_body = BODY_MAX;
    to->proxy_environment = 1;
    to->key_log = secure_getenv("SSLKEYLOGFILE");
    ws_options.close_timeout = ws_options.close_timeout ? ws_options.close_timeout : CLOSE_WAIT;
    ws_options.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)
                          && ws_options.form != WS_FORM_BINARY && !ws_options.json;
    ws_options.colour =
        isatty(STDERR_FILENO) && !(no_colour && *no_colour) && term && strcmp(term, "dumb");
}

/* Complain about more than one word. If a later word is a complete URL, the first is superfluous. */
__attribute__((noreturn)) static void options_wrong_words(char *const *words)
{
    const char *extra = !strstr(words[0], "://") && strstr(words[1], "://") ? words[0] : words[1];
    options_wrong("only one URL is allowed, remove \"%s\"%s", extra,
                  ws_options.to.reconnect ? ", or write --reconnect=SECONDS if it is the value"
                                          : "");
}

void ws_options_read(int argc, char *argv[], apr_pool_t *pool)
{
    const char *wrong;
    int c;
    lists.headers = apr_array_make(pool, 4, sizeof(char *));
    lists.connect_to = apr_array_make(pool, 4, sizeof(char *));
    lists.messages = apr_array_make(pool, 4, sizeof(char *));
    while ((c = getopt_long(argc, argv, "bx:jc:t:H:o:s:zLkvfqh", long_options, NULL)) != -1) {
        options_read_option(c, optind < argc ? argv[optind] : NULL);
    }
    if (optind == argc) {
        options_wrong("the URL is missing");
    }
    if (optind < argc - 1) {
        options_wrong_words(argv + optind);
    }
    ws_options.to.url =
        strstr(argv[optind], "://") ? argv[optind] : apr_pstrcat(pool, "ws://", argv[optind], NULL);
    options_check_combinations();
    options_settle();
    if ((wrong = ws_connect_check(pool, &ws_options.to))) {
        options_wrong("%s", wrong);
    }
}
