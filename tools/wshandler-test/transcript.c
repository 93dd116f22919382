/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Parses transcripts. Errors name the file and the line. */

#include "tools/wshandler-test/transcript.h"

#include <apr_file_io.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

/* Maximum wait, milliseconds. This is the range of the test clock. */
#define WAIT_MAX APR_INT32_MAX

/* Maximum size of a message, bytes. A larger message is probably a mistake, such as "x" *
 * 1000000000. */
#define DATA_MAX (64 << 20)

typedef struct reader {
    ws_transcript *t;
    apr_pool_t *pool;
    const char *line; /* the unread rest of the current line */
    unsigned number;
    const char *error;
    ws_step *connect; /* the connect or status step to which indented lines belong */
} reader;

__attribute__((format(printf, 2, 3))) static int transcript_wrong(reader *r, const char *format,
                                                                  ...)
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

static void transcript_skip_blanks(reader *r)
{
    r->line += strspn(r->line, " \t");
}

/* Read the next word. At the end of the line, it is "". */
static const char *transcript_word(reader *r)
{
    const char *w;
    transcript_skip_blanks(r);
    w = r->line;
    r->line += strcspn(w, " \t");
    return apr_pstrmemdup(r->pool, w, (apr_size_t)(r->line - w));
}

/* Read the next word if it is w. @return whether it is w */
static int transcript_next_is(reader *r, const char *w)
{
    size_t len = strlen(w);
    transcript_skip_blanks(r);
    if (strncmp(r->line, w, len) || (r->line[len] && !apr_isspace(r->line[len]))) {
        return 0;
    }
    r->line += len;
    return 1;
}

static int transcript_at_end(reader *r)
{
    transcript_skip_blanks(r);
    return !*r->line || transcript_wrong(r, "\"%s\" does not belong here", r->line);
}

static const char *transcript_rest(reader *r)
{
    const char *s;
    transcript_skip_blanks(r);
    s = r->line;
    r->line += strlen(s);
    return apr_pstrdup(r->pool, s);
}

static int transcript_number(reader *r, long from, long to, int *value)
{
    apr_int64_t n = 0;
    const char *end;
    transcript_skip_blanks(r);
    end = ws_parse_digits(r->line, &n);
    if (!end || (*end && !apr_isspace(*end)) || n < from || n > to) {
        return transcript_wrong(r, "expected a number from %ld to %ld", from, to);
    }
    r->line = end;
    *value = (int)n;
    return 1;
}

/* ---- Data ---- */

/* Parse a text in quotes, with C's escapes. */
static int transcript_quoted(reader *r, ws_step *s)
{
    const char *in = r->line + 1;
    char *out = apr_palloc(r->pool, strlen(in) + 1);
    s->data = out;
    for (; *in != '"'; in++) {
        static const char letters[] = "nrt0\\\"", bytes[] = "\n\r\t\0\\\"";
        const char *letter;
        if (!*in) {
            return transcript_wrong(r, "the closing quote is missing");
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
            return transcript_wrong(
                r, "in quotes, a backslash must be followed by n, r, t, 0, \\, \" or xHH");
        }
    }
    s->len = (apr_size_t)(out - s->data);
    r->line = in + 1;
    return 1;
}

static int transcript_hexadecimal(reader *r, ws_step *s)
{
    const char *in = r->line;
    char *out = apr_palloc(r->pool, strlen(in) / 2 + 1);
    s->data = out;
    for (; ws_hex_digit(*in) >= 0; in += strspn(in, " \t")) {
        if (ws_hex_digit(in[1]) < 0) {
            return transcript_wrong(r, "expected pairs of hexadecimal digits, such as 00 7f ff");
        }
        *out++ = (char)(ws_hex_digit(in[0]) * 16 + ws_hex_digit(in[1]));
        in += 2;
    }
    s->len = (apr_size_t)(out - s->data);
    r->line = in;
    return 1;
}

/* Parse a repetition, such as "ab" * 1000. */
static int transcript_repeated(reader *r, ws_step *s)
{
    int times;
    char *all;
    if (!transcript_next_is(r, "*")) {
        return 1;
    }
    if (!transcript_number(r, 1, DATA_MAX, &times)) {
        return 0;
    }
    if (s->len * (apr_size_t)times > DATA_MAX) {
        return transcript_wrong(r, "the data would have more than %d bytes", DATA_MAX);
    }
    all = apr_palloc(r->pool, s->len * (apr_size_t)times + 1);
    for (int i = 0; i < times; i++) {
        memcpy(all + s->len * (apr_size_t)i, s->data, s->len);
    }
    s->data = all;
    s->len *= (apr_size_t)times;
    return 1;
}

static int transcript_pattern(reader *r, ws_step *s)
{
    char text[128];
    int error;
    s->pattern = transcript_rest(r);
    if ((error = regcomp(&s->regex, s->pattern, REG_EXTENDED | REG_NOSUB))) {
        regerror(error, &s->regex, text, sizeof(text));
        s->pattern = NULL;
        return transcript_wrong(r, "invalid regular expression: %s", text);
    }
    apr_pool_cleanup_register(r->pool, &s->regex, (apr_status_t(*)(void *))(void *)regfree,
                              apr_pool_cleanup_null);
    return 1;
}

/* Parse the data after a word such as text or ping, or after a code: a quoted text, bytes, or in an
 * expectation, "~ REGEX". */
static int transcript_data(reader *r, ws_step *s)
{
    transcript_skip_blanks(r);
    if (*r->line == '~' && s->kind != WS_STEP_SEND) {
        r->line++;
        return transcript_pattern(r, s);
    }
    if (*r->line == '"') {
        return transcript_quoted(r, s) && transcript_repeated(r, s);
    }
    if (ws_hex_digit(*r->line) >= 0) {
        return transcript_hexadecimal(r, s) && transcript_repeated(r, s);
    }
    return 1;
}

/* Parse a message, or a part of a message, which has "..." before or after it. */
static int transcript_message(reader *r, ws_step *s)
{
    s->where = WS_FIRST | WS_LAST;
    transcript_skip_blanks(r);
    if (s->kind == WS_STEP_SEND && !strncmp(r->line, "...", 3)) {
        s->where &= ~WS_FIRST;
        r->line += 3;
    }
    if (!transcript_data(r, s)) {
        return 0;
    }
    transcript_skip_blanks(r);
    if (s->kind == WS_STEP_SEND && !strncmp(r->line, "...", 3)) {
        s->where &= ~WS_LAST;
        r->line += 3;
    }
    if (!s->data && s->kind == WS_STEP_SEND) {
        return transcript_wrong(
            r, "expected data to send: \"text\" in quotes, or bytes such as 00 7f ff");
    }
    return transcript_at_end(r);
}

static int transcript_control(reader *r, ws_step *s)
{
    if (!transcript_data(r, s) || !transcript_at_end(r)) {
        return 0;
    }
    if (s->len > 125) {
        return transcript_wrong(r, "a control frame can have at most 125 bytes");
    }
    if (!s->data && s->kind == WS_STEP_SEND) {
        s->data = "";
    }
    return 1;
}

static int transcript_closing(reader *r, ws_step *s)
{
    transcript_skip_blanks(r);
    if (!*r->line) {
        s->code = s->kind == WS_STEP_SEND ? WS_CLOSE_NO_STATUS : 0;
        s->data = s->kind == WS_STEP_SEND ? "" : NULL;
        return 1;
    }
    return transcript_number(r, 1000, 4999, &s->code) && transcript_control(r, s);
}

static int transcript_state(reader *r, ws_step *s)
{
    s->code = transcript_next_is(r, "closing")  ? WS_CLOSING
              : transcript_next_is(r, "closed") ? WS_CLOSED
                                                : 0;
    return s->code ? transcript_at_end(r)
                   : transcript_wrong(r, "expected closing or closed after state");
}

/* ---- Steps ---- */

static ws_step *transcript_step(reader *r, ws_step_kind kind, const char *name)
{
    ws_step *s = apr_array_push(r->t->steps);
    memset(s, 0, sizeof(*s));
    s->kind = kind;
    s->line = r->number;
    s->name = name;
    r->connect = NULL;
    return s;
}

static int transcript_say(reader *r, ws_step *s)
{
    static const struct {
        const char *word;
        ws_say say;
        int (*read)(reader *r, ws_step *s);
        unsigned kinds; /* set of ws_step_kind, as bits */
    } table[] = {
        {"text", WS_SAY_TEXT, transcript_message, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"binary", WS_SAY_BINARY, transcript_message, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"ping", WS_SAY_PING, transcript_control, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"pong", WS_SAY_PONG, transcript_control, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"close", WS_SAY_CLOSE, transcript_closing, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"break", WS_SAY_BREAK, NULL, 1 << WS_STEP_SEND | 1 << WS_STEP_EXPECT},
        {"pause", WS_SAY_PAUSE, NULL, 1 << WS_STEP_SEND},
        {"resume", WS_SAY_RESUME, NULL, 1 << WS_STEP_SEND},
        {"nothing", WS_SAY_NOTHING, NULL, 1 << WS_STEP_EXPECT | 1 << WS_STEP_CALL},
        {"state", WS_SAY_STATE, transcript_state, 1 << WS_STEP_CALL},
        {"closing", WS_SAY_CLOSING, transcript_closing, 1 << WS_STEP_CALL},
        {"anything", WS_SAY_ANYTHING, NULL, 1 << WS_STEP_EXPECT},
    };
    transcript_skip_blanks(r);
    if (s->kind != WS_STEP_CALL && (*r->line == '"' || !strncmp(r->line, "...", 3))) {
        s->say = WS_SAY_TEXT;
        return transcript_message(r, s);
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        if ((table[i].kinds & 1u << s->kind) && transcript_next_is(r, table[i].word)) {
            s->say = table[i].say;
            return table[i].read ? table[i].read(r, s) : transcript_at_end(r);
        }
    }
    if (s->kind == WS_STEP_EXPECT && apr_isdigit(*r->line)) {
        s->kind = WS_STEP_STATUS;
        s->headers = apr_table_make(r->pool, 4);
        r->connect = s;
        return transcript_number(r, 100, 599, &s->code) && transcript_at_end(r);
    }
    return transcript_wrong(
        r, "\"%s\": %s", r->line,
        s->kind == WS_STEP_SEND ? "expected text, binary, ping, pong, close, break, pause or resume"
        : s->kind == WS_STEP_CALL
            ? "expected state closing, state closed, closing CODE \"REASON\" or nothing"
            : "expected text, binary, ping, pong, close, break, anything or nothing; or a "
              "status after connect");
}

static int transcript_connect_to(reader *r)
{
    const char *name = transcript_word(r);
    ws_step *s = transcript_step(r, WS_STEP_CONNECT, name);
    transcript_skip_blanks(r);
    s->uri = *r->line ? transcript_word(r) : name;
    if (s->uri == name) {
        s->name = "";
    }
    if (*s->uri != '/') {
        return transcript_wrong(
            r, "expected connect [NAME] /PATH, with a path that begins with a slash");
    }
    s->who.version = 13;
    s->who.env = apr_table_make(r->pool, 4);
    s->headers = apr_table_make(r->pool, 4);
    r->connect = s;
    return transcript_at_end(r);
}

static int transcript_version(reader *r, int *version)
{
    int v;
    if (!transcript_number(r, 7, 76, &v) || !transcript_at_end(r)) {
        return 0;
    }
    if (v != 13 && v != 8 && v != 7 && v != 76 && v != 75) {
        return transcript_wrong(r, "expected version 13, 8, 7, 76 or 75");
    }
    *version = v;
    return 1;
}

/* Parse an indented line. It is a header if it has a colon. Otherwise it is a property of the
 * client. */
static int transcript_about_client(reader *r)
{
    ws_step *s = r->connect;
    size_t len = strcspn(r->line, " \t:");
    if (r->line[len] == ':') {
        const char *name = apr_pstrmemdup(r->pool, r->line, len);
        r->line += len + 1;
        apr_table_addn(s->headers, name, transcript_rest(r));
        return 1;
    }
    if (s->kind != WS_STEP_CONNECT) {
        return transcript_wrong(r, "expected a header of the response (Name: value)");
    }
    if (transcript_next_is(r, "user")) {
        s->who.user = transcript_word(r);
        s->who.auth_type = transcript_next_is(r, "by") ? transcript_word(r) : "Basic";
    }
    else if (transcript_next_is(r, "peer")) {
        s->who.peer = transcript_word(r);
    }
    else if (transcript_next_is(r, "vhost")) {
        s->who.vhost = transcript_word(r);
    }
    else if (transcript_next_is(r, "secure")) {
        s->who.secure = 1;
    }
    else if (transcript_next_is(r, "mute")) {
        s->who.mute = 1;
    }
    else if (transcript_next_is(r, "env")) {
        const char *name = transcript_word(r);
        apr_table_setn(s->who.env, name, transcript_rest(r));
    }
    else if (transcript_next_is(r, "version")) {
        return transcript_version(r, &s->who.version);
    }
    else {
        return transcript_wrong(
            r,
            "\"%s\": expected a header (Name: value), user, peer, vhost, version, secure, mute "
            "or env NAME VALUE",
            r->line);
    }
    return transcript_at_end(r);
}

/* Parse key=value. Quotes may contain blanks, as in httpd's configuration. */
static const char *transcript_key(reader *r)
{
    ws_step s = {0};
    transcript_skip_blanks(r);
    if (*r->line != '"') {
        return transcript_word(r);
    }
    return transcript_quoted(r, &s) ? apr_pstrmemdup(r->pool, s.data, s.len) : "";
}

static int transcript_configure(reader *r)
{
    ws_step *s;
    if (!transcript_next_is(r, "fails")) {
        for (transcript_skip_blanks(r); *r->line && !r->error; transcript_skip_blanks(r)) {
            APR_ARRAY_PUSH(r->t->keys, const char *) = transcript_key(r);
        }
        return !r->error;
    }
    s = transcript_step(r, WS_STEP_CONFIGURE_FAILS, "");
    return transcript_data(r, s) && transcript_at_end(r);
}

static int transcript_wait_for(reader *r)
{
    ws_step *s = transcript_step(r, WS_STEP_WAIT, "");
    apr_int64_t ms = 0;
    const char *error = ws_parse_interval(r->pool, transcript_word(r), 0, WAIT_MAX, &ms);
    s->time = (apr_uint32_t)ms;
    return error ? transcript_wrong(r, "wait %s", error) : transcript_at_end(r);
}

/* Parse NAME>, NAME< or NAME!. The name may be missing. */
static int transcript_dialogue(reader *r)
{
    size_t len = strcspn(r->line, "<>! \t");
    char sign = r->line[len];
    const char *name = apr_pstrmemdup(r->pool, r->line, len);
    if (sign != '<' && sign != '>' && sign != '!') {
        return transcript_wrong(
            r,
            "\"%s\": expected connect, NAME> ..., NAME< ..., NAME! ..., wait, configure, "
            "start fails, or a directive",
            r->line);
    }
    r->line += len + 1;
    return transcript_say(r, transcript_step(r,
                                             sign == '>'   ? WS_STEP_SEND
                                             : sign == '<' ? WS_STEP_EXPECT
                                                           : WS_STEP_CALL,
                                             name));
}

static int transcript_read_line(reader *r, const char *line)
{
    const char *directive;
    r->line = line + strspn(line, " \t");
    if (!*r->line || *r->line == '#') {
        return 1;
    }
    if (r->line > line) {
        return r->connect
                   ? transcript_about_client(r)
                   : transcript_wrong(r, "only lines after connect or a status may be indented");
    }
    if (transcript_next_is(r, "connect")) {
        return transcript_connect_to(r);
    }
    if (transcript_next_is(r, "configure")) {
        return transcript_configure(r);
    }
    if (transcript_next_is(r, "start")) {
        transcript_step(r, WS_STEP_START_FAILS, "");
        return transcript_next_is(r, "fails") ? transcript_at_end(r)
                                              : transcript_wrong(r, "expected \"start fails\"");
    }
    if (transcript_next_is(r, "wait")) {
        return transcript_wait_for(r);
    }
    if (!strncmp(r->line, "WebSocket", 9)) {
        directive = transcript_word(r);
        apr_table_setn(r->t->settings, directive, transcript_rest(r));
        return 1;
    }
    return transcript_dialogue(r);
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
    /* Allocate all steps together, because a compiled regular expression must not move. */
    t->steps = apr_array_make(p, (int)lines, sizeof(ws_step));
    while (text && !r.error) {
        int before = t->steps->nelts;
        line = text;
        if ((text = strchr(text, '\n'))) {
            *text++ = '\0';
        }
        line[strcspn(line, "\r")] = '\0';
        r.number++;
        transcript_read_line(&r, line);
        if (t->steps->nelts > before) {
            ((ws_step *)t->steps->elts)[before].source = line;
        }
    }
    return r.error;
}
