/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Formats the log line of an ended connection. Client data is escaped as mod_log_config does, so
 * that a client cannot forge lines.
 */

#include "engine/log_format.h"

#include <apr_strings.h>
#include <apr_tables.h>
#include <apr_time.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "engine/json.h"
#include "protocol/handshake.h"

/** An ended connection, and the values of its log line. */
typedef struct source {
    const ws_conn *c;
    const char *why;
    ws_conn_info report;
    apr_time_t end;
} source;

typedef struct value {
    const char *text; /**< NULL: the value is a number, or missing */
    apr_size_t len;
    int is_number;
    apr_uint64_t number;
} value;

static value format_text_of(const char *s)
{
    value v = {.text = s, .len = s ? strlen(s) : 0};
    return v;
}

static value format_number_of(apr_uint64_t n)
{
    value v = {.is_number = 1, .number = n};
    return v;
}

/* ---- The module's own fields: %{NAME}w; in JSON, the names have _ instead of - ---- */

#define FIELDS(X)                                                                                  \
    X("id", format_text_of(format_id_of(s, buf)))                                                  \
    X("handler", format_text_of(s->report.location->name))                                         \
    X("subprotocol", format_text_of(ws_protocol(s->c)))                                            \
    X("version", format_number_of((apr_uint64_t)ws_version(s->c)))                                 \
    X("way", format_text_of(format_way_of(s)))                                                     \
    X("messages-in", format_number_of(s->report.tally.messages_in))                                \
    X("messages-out", format_number_of(s->report.tally.messages_out))                              \
    X("bytes-in", format_number_of(s->report.tally.bytes_in))                                      \
    X("bytes-out", format_number_of(s->report.tally.bytes_out))                                    \
    X("wire-in", format_number_of(s->report.tally.wire_in))                                        \
    X("wire-out", format_number_of(s->report.tally.wire_out))                                      \
    X("code", format_number_of((apr_uint64_t)s->report.code))                                      \
    X("reason", ((value){.text = s->report.reason, .len = s->report.reason_len}))                  \
    X("closer", format_text_of(closers[s->report.closed_by]))                                      \
    X("why", format_text_of(s->why))                                                               \
    X("most-queued", format_number_of(s->report.tally.most_queued))                                \
    X("pings-missed", format_number_of((apr_uint64_t)s->report.pings_missed))

static const char *const field_names[] = {
#define NAME(name, get) name,
    FIELDS(NAME)};
#define FIELD_COUNT (sizeof(field_names) / sizeof(*field_names))

static const char *const closers[] = {"nobody", "client", "server"};

static const char *format_way_of(const source *s)
{
    static const char *const ways[] = {"direct", "tls", "relay", "sockjs", "outgoing"};
    return s->report.carrier ? ws_carrier_name(s->report.carrier) : ways[s->report.transport];
}

static const char *format_id_of(const source *s, char buf[20])
{
    snprintf(buf, 20, "%016" APR_UINT64_T_HEX_FMT, ws_conn_id(s->c));
    return buf;
}

static value format_field(const source *s, unsigned index, char buf[20])
{
    unsigned i = 0;
#define GET(name, get)                                                                             \
    if (i++ == index) {                                                                            \
        return get;                                                                                \
    }
    FIELDS(GET)
    return format_text_of(NULL);
}

/* ---- JSON ---- */

static void format_put_json(ws_strbuf *t, const char *name, value v)
{
    char key[32];
    snprintf(key, sizeof(key), "%s", name);
    for (char *p = key; *p; p++) {
        *p = *p == '-' ? '_' : *p;
    }
    ws_strbuf_printf(t, ",\"%s\":", key);
    if (v.is_number) {
        ws_strbuf_printf(t, "%" APR_UINT64_T_FMT, v.number);
    }
    else {
        ws_strbuf_json(t, v.text, v.len);
    }
}

static void format_write_json(ws_strbuf *t, const source *s)
{
    char buf[20];
    ws_strbuf_puts(t, "{\"start\":\"");
    ws_strbuf_time(t, s->report.tally.start);
    ws_strbuf_puts(t, "\"");
    format_put_json(
        t, "milliseconds",
        format_number_of((apr_uint64_t)apr_time_as_msec(s->end - s->report.tally.start)));
    format_put_json(t, "address", format_text_of(ws_peer(s->c)));
    format_put_json(t, "user", format_text_of(ws_user(s->c)));
    format_put_json(t, "vhost", format_text_of(ws_vhost(s->c)));
    format_put_json(t, "uri", format_text_of(ws_uri(s->c)));
    format_put_json(t, "args", format_text_of(ws_args(s->c)));
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        format_put_json(t, field_names[i], format_field(s, i, buf));
    }
    ws_strbuf_puts(t, "}");
}

/* ---- Formats ---- */

/** A piece of a format. letter 0: literal text. */
typedef struct item {
    char letter;
    unsigned field;  /**< the field in %{...}w */
    const char *arg; /**< the text in braces, or NULL; or the literal text */
} item;

struct ws_log_format {
    int json;
    apr_array_header_t *items;
};

static void format_write_time(ws_strbuf *t, const char *format, apr_time_t when)
{
    char buf[256];
    apr_size_t len = 0;
    apr_time_exp_t e;
    if (format && !strcmp(format, "sec")) {
        ws_strbuf_printf(t, "%" APR_TIME_T_FMT, apr_time_sec(when));
        return;
    }
    if (format && !strcmp(format, "msec")) {
        ws_strbuf_printf(t, "%" APR_TIME_T_FMT, apr_time_as_msec(when));
        return;
    }
    if (format && !strcmp(format, "usec")) {
        ws_strbuf_printf(t, "%" APR_TIME_T_FMT, when);
        return;
    }
    apr_time_exp_lt(&e, when);
    apr_strftime(buf, &len, sizeof(buf), format ? format : "[%d/%b/%Y:%H:%M:%S %z]", &e);
    ws_strbuf_add(t, buf, len);
}

static void format_write_duration(ws_strbuf *t, const char *unit, apr_time_t us)
{
    apr_time_t per = !unit || !strcmp(unit, "s") ? 1000000 : !strcmp(unit, "ms") ? 1000 : 1;
    ws_strbuf_printf(t, "%" APR_TIME_T_FMT, us / per);
}

static void format_write_value(ws_strbuf *t, value v)
{
    if (v.is_number) {
        ws_strbuf_printf(t, "%" APR_UINT64_T_FMT, v.number);
    }
    else {
        ws_strbuf_escaped(t, v.text, v.len);
    }
}

/* Append the query with its question mark, or nothing if there is no query. */
static void format_write_query(ws_strbuf *t, const ws_conn *c)
{
    const char *query = ws_args(c);
    if (query) {
        ws_strbuf_puts(t, "?");
        if (*query) {
            format_write_value(t, format_text_of(query));
        }
    }
}

static void format_write_item(ws_strbuf *t, const item *i, const source *s)
{
    const ws_tally *tally = &s->report.tally;
    char buf[20];
    switch (i->letter) {
    case 'a':
        format_write_value(t, format_text_of(ws_peer(s->c)));
        break;
    case 'u':
        format_write_value(t, format_text_of(ws_user(s->c)));
        break;
    case 'v':
        format_write_value(t, format_text_of(ws_vhost(s->c)));
        break;
    case 'U':
        format_write_value(t, format_text_of(ws_uri(s->c)));
        break;
    case 'q':
        format_write_query(t, s->c);
        break;
    case 'i':
        format_write_value(t, format_text_of(ws_header(s->c, i->arg)));
        break;
    case 't':
        format_write_time(t, i->arg, tally->start);
        break;
    case 'T':
        format_write_duration(t, i->arg, s->end - tally->start);
        break;
    case 'D':
        format_write_duration(t, "us", s->end - tally->start);
        break;
    case 'I':
        format_write_value(t, format_number_of(tally->wire_in));
        break;
    case 'O':
        format_write_value(t, format_number_of(tally->wire_out));
        break;
    case 'P':
        format_write_value(t, format_number_of((apr_uint64_t)getpid()));
        break;
    case 'w':
        format_write_value(t, format_field(s, i->field, buf));
        break;
    default:
        ws_strbuf_puts(t, i->arg);
    }
}

void ws_log_format_write(const ws_log_format *f, const ws_conn *c, const char *why, ws_strbuf *t)
{
    source s = {.c = c, .why = why, .end = apr_time_now()};
    ws_conn_inspect(c, &s.report);
    if (f->json) {
        format_write_json(t, &s);
    }
    for (int i = 0; !f->json && i < f->items->nelts; i++) {
        format_write_item(t, &APR_ARRAY_IDX(f->items, i, item), &s);
    }
    ws_strbuf_puts(t, "\n");
}

/* ---- Parsing a format ---- */

static const char *format_find_field(apr_pool_t *p, const char *name, unsigned *index)
{
    const char *all = "";
    for (*index = 0; *index < FIELD_COUNT; (*index)++) {
        if (!strcmp(field_names[*index], name)) {
            return NULL;
        }
        all = apr_pstrcat(p, all, *index ? ", " : "", field_names[*index], NULL);
    }
    return apr_psprintf(p, "unknown field %%{%s}w; the fields are %s", name, all);
}

/* Whether a text is valid in %{...}t. mod_log_config's prefixes begin: and end: are not. */
static int format_is_time(const char *text)
{
    return !strcmp(text, "sec") || !strcmp(text, "msec") || !strcmp(text, "usec")
           || (strchr(text, '%') && strncmp(text, "begin:", 6) && strncmp(text, "end:", 4));
}

static const char *format_check(apr_pool_t *p, item *i)
{
    if (i->letter == 'w') {
        return format_find_field(p, i->arg ? i->arg : "", &i->field);
    }
    if (i->letter == 'i') {
        return !i->arg || !*i->arg ? "%i takes the name of a header: %{User-Agent}i"
               : ws_is_token(i->arg, strlen(i->arg))
                   ? NULL
                   : apr_psprintf(p,
                                  "%%{%s}i: no header can have this name: expected letters, digits "
                                  "and hyphens, as in %%{User-Agent}i",
                                  i->arg);
    }
    if (i->letter == 'T' && i->arg && strcmp(i->arg, "s") && strcmp(i->arg, "ms")
        && strcmp(i->arg, "us")) {
        return apr_psprintf(p, "%%{%s}T: expected s, ms or us", i->arg);
    }
    if (i->letter == 't' && i->arg && !format_is_time(i->arg)) {
        return apr_psprintf(p,
                            "%%{%s}t: expected sec, msec, usec or a format of strftime, such as "
                            "%%{%%F %%T}t",
                            i->arg);
    }
    if (i->arg && i->letter != 'T' && i->letter != 't') {
        return apr_psprintf(p, "%%{%s}%c: remove the braces", i->arg, i->letter);
    }
    return NULL;
}

/* Parse the item after a percent sign. @return NULL, or an error text */
static const char *format_parse_item(apr_pool_t *p, const char **text, item *i)
{
    const char *s = *text;
    i->arg = NULL;
    if (*s == '{') {
        const char *end = strchr(s, '}');
        if (!end) {
            return apr_psprintf(p, "\"%%%s\" has no closing brace", s);
        }
        i->arg = apr_pstrmemdup(p, s + 1, (apr_size_t)(end - s - 1));
        s = end + 1;
    }
    i->letter = *s == 'h' ? 'a' : *s; /* host names are never looked up, so %h is %a */
    if (*s == '%' && !i->arg) {
        i->letter = 0;
        i->arg = "%";
    }
    else if (!*s || !strchr("auvUqitTDIOPw", i->letter)) {
        return apr_psprintf(p,
                            "\"%%%s\": unknown item; the items are %%a %%h %%u %%v %%U %%q "
                            "%%{HEADER}i %%t %%T %%D %%I %%O %%P %%{NAME}w and %%%%",
                            *text);
    }
    *text = s + 1;
    return i->letter ? format_check(p, i) : NULL;
}

/* Parse literal text up to the next percent sign, with mod_log_config's \n, \t, \" and \\. */
static const char *format_parse_text(apr_pool_t *p, const char **text)
{
    apr_size_t len = strcspn(*text, "%");
    char *out = apr_pstrmemdup(p, *text, len), *to = out;
    *text += len;
    for (const char *from = out; *from; from++) {
        if (*from == '\\' && from[1]) {
            from++;
            *to++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        }
        else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return out;
}

const char *ws_log_format_parse(apr_pool_t *p, const char *text, const ws_log_format **format)
{
    ws_log_format *f = apr_pcalloc(p, sizeof(*f));
    const char *error = NULL;
    *format = f;
    if (!strcasecmp(text, "json")) {
        f->json = 1;
        return NULL;
    }
    if (!strchr(text, '%')) {
        return apr_psprintf(p, "\"%s\" is neither \"json\" nor a format with fields such as %%a",
                            text);
    }
    f->items = apr_array_make(p, 16, sizeof(item));
    while (*text && !error) {
        item i = {0};
        if (*text == '%') {
            text++;
            error = format_parse_item(p, &text, &i);
        }
        else {
            i.arg = format_parse_text(p, &text);
        }
        APR_ARRAY_PUSH(f->items, item) = i;
    }
    return error;
}
