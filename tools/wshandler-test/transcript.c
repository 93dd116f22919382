/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

#include "tools/wshandler-test/transcript.h"

#include <apr_file_io.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

/* Milliseconds of the clock that is held. */
#define WAIT_MAX APR_INT32_MAX

/* Greatest data of one message, bytes: "x" * 1000000000 is a slip. */
#define DATA_MAX (64 << 20)

typedef struct reader {
    ws_transcript *t;
    apr_pool_t *pool;
    const char *line; /* where the rest of the current one begins */
    unsigned number;
    const char *error;
    ws_step *connect; /* whose indented lines may follow: a connect or a status */
} reader;

__attribute__((format(printf, 2, 3))) static int wrong(reader *r, const char *format, ...)
{
    va_list args;
    if (!r->error) {
        va_start(args, format);
        r->error = apr_psprintf(r->pool, "%s:%u: %s", r->t->file, r->number,
                                apr_pvsprintf(r->pool, format, args));
        va_end(args);
    }
    return 0;
}

/* ---- Words ---- */

static void skip_blanks(reader *r)
{
    r->line += strspn(r->line, " \t");
}

/* Up to the next blank; "" at the end. */
static const char *word(reader *r)
{
    const char *w;
    skip_blanks(r);
    w = r->line;
    r->line += strcspn(w, " \t");
    return apr_pstrmemdup(r->pool, w, (apr_size_t)(r->line - w));
}

/* Whether the line goes on with this word, which is then read. */
static int next_is(reader *r, const char *w)
{
    size_t len = strlen(w);
    skip_blanks(r);
    if (strncmp(r->line, w, len) || (r->line[len] && !apr_isspace(r->line[len]))) {
        return 0;
    }
    r->line += len;
    return 1;
}

static int at_end(reader *r)
{
    skip_blanks(r);
    return !*r->line || wrong(r, "\"%s\" does not belong here", r->line);
}

static const char *rest(reader *r)
{
    const char *s;
    skip_blanks(r);
    s = r->line;
    r->line += strlen(s);
    return apr_pstrdup(r->pool, s);
}

static int number(reader *r, long from, long to, int *value)
{
    apr_int64_t n = 0;
    const char *end;
    skip_blanks(r);
    end = ws_parse_digits(r->line, &n);
    if (!end || (*end && !apr_isspace(*end)) || n < from || n > to) {
        return wrong(r, "a number of %ld to %ld is missing", from, to);
    }
    r->line = end;
    *value = (int)n;
    return 1;
}

/* ---- Data ---- */

/* A text in quotes, with C's escapes. */
static int quoted(reader *r, ws_step *s)
{
    const char *in = r->line + 1;
    char *out = apr_palloc(r->pool, strlen(in) + 1);
    s->data = out;
    for (; *in != '"'; in++) {
        static const char letters[] = "nrt0\\\"", bytes[] = "\n\r\t\0\\\"";
        const char *letter;
        if (!*in) {
            return wrong(r, "the closing quote is missing");
        }
        if (*in != '\\') {
            *out++ = *in;
        }
        else if (in[1] == 'x' && ws_hex_digit(in[2]) >= 0 && ws_hex_digit(in[3]) >= 0) {
            *out++ = (char)(ws_hex_digit(in[2]) * 16 + ws_hex_digit(in[3]));
            in += 3;
        }
        else if (in[1] && (letter = strchr(letters, in[1]))) {
            *out++ = bytes[letter - letters];
            in++;
        }
        else {
            return wrong(r, "in quotes, a backslash stands before n, r, t, 0, \\, \" or xHH");
        }
    }
    s->len = (apr_size_t)(out - s->data);
    r->line = in + 1;
    return 1;
}

static int hexadecimal(reader *r, ws_step *s)
{
    const char *in = r->line;
    char *out = apr_palloc(r->pool, strlen(in) / 2 + 1);
    s->data = out;
    for (; ws_hex_digit(*in) >= 0; in += strspn(in, " \t")) {
        if (ws_hex_digit(in[1]) < 0) {
            return wrong(r, "bytes are pairs of hexadecimal digits: 00 7f ff");
        }
        *out++ = (char)(ws_hex_digit(in[0]) * 16 + ws_hex_digit(in[1]));
        in += 2;
    }
    s->len = (apr_size_t)(out - s->data);
    r->line = in;
    return 1;
}

/* "ab" * 1000 */
static int repeated(reader *r, ws_step *s)
{
    int times;
    char *all;
    if (!next_is(r, "*")) {
        return 1;
    }
    if (!number(r, 1, DATA_MAX, &times)) {
        return 0;
    }
    if (s->len * (apr_size_t)times > DATA_MAX) {
        return wrong(r, "that would be more than %d bytes", DATA_MAX);
    }
    all = apr_palloc(r->pool, s->len * (apr_size_t)times + 1);
    for (int i = 0; i < times; i++) {
        memcpy(all + s->len * (apr_size_t)i, s->data, s->len);
    }
    s->data = all;
    s->len *= (apr_size_t)times;
    return 1;
}

static int pattern(reader *r, ws_step *s)
{
    char text[128];
    int error;
    s->pattern = rest(r);
    if ((error = regcomp(&s->regex, s->pattern, REG_EXTENDED | REG_NOSUB))) {
        regerror(error, &s->regex, text, sizeof(text));
        s->pattern = NULL;
        return wrong(r, "the regular expression: %s", text);
    }
    apr_pool_cleanup_register(r->pool, &s->regex, (apr_status_t(*)(void *))(void *)regfree,
                              apr_pool_cleanup_null);
    return 1;
}

/* What stands behind text, ping, a code...: quotes, bytes, or for an expectation "~ REGEX". */
static int data(reader *r, ws_step *s)
{
    skip_blanks(r);
    if (*r->line == '~' && s->kind != WS_STEP_SEND) {
        r->line++;
        return pattern(r, s);
    }
    if (*r->line == '"') {
        return quoted(r, s) && repeated(r, s);
    }
    if (ws_hex_digit(*r->line) >= 0) {
        return hexadecimal(r, s) && repeated(r, s);
    }
    return 1;
}

/* A message, or a part of one where three dots stand before or behind it. */
static int message(reader *r, ws_step *s)
{
    s->where = WS_FIRST | WS_LAST;
    skip_blanks(r);
    if (s->kind == WS_STEP_SEND && !strncmp(r->line, "...", 3)) {
        s->where &= ~WS_FIRST;
        r->line += 3;
    }
    if (!data(r, s)) {
        return 0;
    }
    skip_blanks(r);
    if (s->kind == WS_STEP_SEND && !strncmp(r->line, "...", 3)) {
        s->where &= ~WS_LAST;
        r->line += 3;
    }
    if (!s->data && s->kind == WS_STEP_SEND) {
        return wrong(r, "what is sent is missing: \"text\" in quotes, or bytes: 00 7f ff");
    }
    return at_end(r);
}

static int control(reader *r, ws_step *s)
{
    if (!data(r, s) || !at_end(r)) {
        return 0;
    }
    if (s->len > 125) {
        return wrong(r, "a control frame has at most 125 bytes");
    }
    if (!s->data && s->kind == WS_STEP_SEND) {
        s->data = "";
    }
    return 1;
}

static int closing(reader *r, ws_step *s)
{
    skip_blanks(r);
    if (!*r->line) {
        s->code = s->kind == WS_STEP_SEND ? WS_CLOSE_NO_STATUS : 0;
        s->data = s->kind == WS_STEP_SEND ? "" : NULL;
        return 1;
    }
    return number(r, 1000, 4999, &s->code) && control(r, s);
}

/* ---- Steps ---- */

static ws_step *step(reader *r, ws_step_kind kind, const char *name)
{
    ws_step *s = apr_array_push(r->t->steps);
    memset(s, 0, sizeof(*s));
    s->kind = kind;
    s->line = r->number;
    s->name = name;
    r->connect = NULL;
    return s;
}

static int say(reader *r, ws_step *s)
{
    static const struct {
        const char *word;
        ws_say say;
        int (*read)(reader *r, ws_step *s);
        unsigned kinds; /* bits of ws_step_kind */
    } table[] = {
        {"text", WS_SAY_TEXT, message, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"binary", WS_SAY_BINARY, message, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"ping", WS_SAY_PING, control, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"pong", WS_SAY_PONG, control, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"close", WS_SAY_CLOSE, closing, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"break", WS_SAY_BREAK, NULL, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"pause", WS_SAY_PAUSE, NULL, 1 << WS_STEP_SEND},
        {"resume", WS_SAY_RESUME, NULL, 1 << WS_STEP_SEND},
        {"nothing", WS_SAY_NOTHING, NULL, 1 << WS_STEP_EXPECT},
        {"anything", WS_SAY_ANYTHING, NULL, 1 << WS_STEP_EXPECT},
    };
    skip_blanks(r);
    if (*r->line == '"' || !strncmp(r->line, "...", 3)) {
        s->say = WS_SAY_TEXT;
        return message(r, s);
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        if ((table[i].kinds & 1u << s->kind) && next_is(r, table[i].word)) {
            s->say = table[i].say;
            return table[i].read ? table[i].read(r, s) : at_end(r);
        }
    }
    if (s->kind == WS_STEP_EXPECT && apr_isdigit(*r->line)) {
        s->kind = WS_STEP_STATUS;
        s->headers = apr_table_make(r->pool, 4);
        r->connect = s;
        return number(r, 100, 599, &s->code) && at_end(r);
    }
    return wrong(r, "\"%s\": %s", r->line,
                 s->kind == WS_STEP_SEND
                     ? "a client sends text, binary, ping, pong or close; it may break, pause or "
                       "resume"
                     : "text, binary, ping, pong, close, break, anything or nothing can be "
                       "expected, and behind connect a status");
}

static int connect_to(reader *r)
{
    const char *name = word(r);
    ws_step *s = step(r, WS_STEP_CONNECT, name);
    skip_blanks(r);
    s->uri = *r->line ? word(r) : name;
    if (s->uri == name) {
        s->name = "";
    }
    if (*s->uri != '/') {
        return wrong(r, "connect [NAME] /PATH: the path begins with a slash");
    }
    s->who.version = 13;
    s->who.env = apr_table_make(r->pool, 4);
    s->headers = apr_table_make(r->pool, 4);
    r->connect = s;
    return at_end(r);
}

/* An indented line: a header has a colon, all else is about the client. */
static int about_client(reader *r)
{
    ws_step *s = r->connect;
    size_t len = strcspn(r->line, " \t:");
    if (r->line[len] == ':') {
        const char *name = apr_pstrmemdup(r->pool, r->line, len);
        r->line += len + 1;
        apr_table_addn(s->headers, name, rest(r));
        return 1;
    }
    if (s->kind != WS_STEP_CONNECT) {
        return wrong(r, "here stand headers of the answer, Name: value");
    }
    if (next_is(r, "user")) {
        s->who.user = word(r);
        s->who.auth_type = next_is(r, "by") ? word(r) : "Basic";
    }
    else if (next_is(r, "peer")) {
        s->who.peer = word(r);
    }
    else if (next_is(r, "vhost")) {
        s->who.vhost = word(r);
    }
    else if (next_is(r, "secure")) {
        s->who.secure = 1;
    }
    else if (next_is(r, "mute")) {
        s->who.mute = 1;
    }
    else if (next_is(r, "env")) {
        const char *name = word(r);
        apr_table_setn(s->who.env, name, rest(r));
    }
    else if (next_is(r, "version")) {
        int v;
        if (!number(r, 7, 76, &v) || !at_end(r)) {
            return 0;
        }
        if (v != 13 && v != 8 && v != 7 && v != 76 && v != 75) {
            return wrong(r, "versions are 13, 8, 7, 76 and 75");
        }
        s->who.version = v;
    }
    else {
        return wrong(r,
                     "\"%s\": behind connect stand headers, Name: value, and user, peer, vhost, "
                     "version, secure, mute, env NAME VALUE",
                     r->line);
    }
    return at_end(r);
}

/* Quotes keep blanks together, as in httpd's configuration. */
static const char *key(reader *r)
{
    ws_step s = {0};
    skip_blanks(r);
    if (*r->line != '"') {
        return word(r);
    }
    return quoted(r, &s) ? apr_pstrmemdup(r->pool, s.data, s.len) : "";
}

static int configure(reader *r)
{
    ws_step *s;
    if (!next_is(r, "fails")) {
        for (skip_blanks(r); *r->line && !r->error; skip_blanks(r)) {
            APR_ARRAY_PUSH(r->t->keys, const char *) = key(r);
        }
        return !r->error;
    }
    s = step(r, WS_STEP_CONFIGURE_FAILS, "");
    return data(r, s) && at_end(r);
}

static int wait_for(reader *r)
{
    ws_step *s = step(r, WS_STEP_WAIT, "");
    apr_int64_t ms = 0;
    const char *error = ws_parse_interval(r->pool, word(r), 0, WAIT_MAX, &ms);
    s->time = (apr_uint32_t)ms;
    return error ? wrong(r, "wait %s", error) : at_end(r);
}

/* NAME> and NAME<, or the sign alone */
static int dialogue(reader *r)
{
    size_t len = strcspn(r->line, "<> \t");
    char sign = r->line[len];
    const char *name = apr_pstrmemdup(r->pool, r->line, len);
    if (sign != '<' && sign != '>') {
        return wrong(r,
                     "\"%s\": a line is connect, NAME> ..., NAME< ..., wait, configure, start "
                     "fails, or a directive",
                     r->line);
    }
    r->line += len + 1;
    return say(r, step(r, sign == '>' ? WS_STEP_SEND : WS_STEP_EXPECT, name));
}

static int read_line(reader *r, const char *line)
{
    const char *directive;
    r->line = line + strspn(line, " \t");
    if (!*r->line || *r->line == '#') {
        return 1;
    }
    if (r->line > line) {
        return r->connect ? about_client(r)
                          : wrong(r, "only lines about a connect or a status are indented");
    }
    if (next_is(r, "connect")) {
        return connect_to(r);
    }
    if (next_is(r, "configure")) {
        return configure(r);
    }
    if (next_is(r, "start")) {
        step(r, WS_STEP_START_FAILS, "");
        return next_is(r, "fails") ? at_end(r) : wrong(r, "start fails");
    }
    if (next_is(r, "wait")) {
        return wait_for(r);
    }
    if (!strncmp(r->line, "WebSocket", 9)) {
        directive = word(r);
        apr_table_setn(r->t->settings, directive, rest(r));
        return 1;
    }
    return dialogue(r);
}

const char *ws_transcript_read(ws_transcript *t, const char *file, apr_pool_t *p)
{
    reader r = {.t = t, .pool = p};
    apr_file_t *f;
    apr_finfo_t info;
    apr_size_t lines = 1;
    apr_status_t rv = apr_file_open(&f, file, APR_READ, APR_OS_DEFAULT, p);
    char *text, *line, reason[128];

    if (rv != APR_SUCCESS || (rv = apr_file_info_get(&info, APR_FINFO_SIZE, f)) != APR_SUCCESS) {
        return apr_psprintf(p, "%s: %s", file, apr_strerror(rv, reason, sizeof(reason)));
    }
    text = apr_pcalloc(p, (apr_size_t)info.size + 1);
    if (info.size
        && (rv = apr_file_read_full(f, text, (apr_size_t)info.size, NULL)) != APR_SUCCESS) {
        return apr_psprintf(p, "%s: %s", file, apr_strerror(rv, reason, sizeof(reason)));
    }
    apr_file_close(f);
    for (const char *c = text; *c; c++) {
        lines += *c == '\n';
    }
    t->file = file;
    t->keys = apr_array_make(p, 4, sizeof(char *));
    t->settings = apr_table_make(p, 4);
    /* Room for all: a compiled regular expression must not move. */
    t->steps = apr_array_make(p, (int)lines, sizeof(ws_step));
    while (text && !r.error) {
        int before = t->steps->nelts;
        line = text;
        if ((text = strchr(text, '\n'))) {
            *text++ = '\0';
        }
        line[strcspn(line, "\r")] = '\0';
        r.number++;
        read_line(&r, line);
        if (t->steps->nelts > before) {
            ((ws_step *)t->steps->elts)[before].source = line;
        }
    }
    return r.error;
}
