/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests formats of the connection log: valid and invalid formats, and the lines that they
 *  produce. */

#include <apr_general.h>
#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/conn.h"
#include "engine/log_format.h"
#include "t/unit/tap.h"

static apr_pool_t *pool;

/* 2026-01-31 23:59:58.123456 UTC */
#define START APR_INT64_C(1769903998123456)

static char *packed(const ws_strings *s)
{
    char *block = malloc(ws_strings_size(s));
    ws_strings_pack(block, s);
    return block;
}

static ws_conn *connection(void)
{
    static const char *const headers[] = {"User-Agent", "a \"browser\"", NULL};
    static ws_settings settings = {.vhost = "example.org"};
    static ws_handler handler;
    static ws_location location = {.handler = &handler, .name = "chat"};
    static ws_conn c;
    static ws_loop loop;
    static ws_rare rare;
    ws_strings s = {.uri = "/a b\x7f",
                    .args = "q=1",
                    .peer = "192.0.2.1",
                    .protocol = "v1",
                    .headers = headers};
    rare.high_sums[WS_SUM_BYTES_OUT] = 1 << 8; /* 2^40 bytes */
    rare.most_queued = 7;
    rare.end_reason = ws_bytes_new("\"no\"\n\xc3\xa4\xff", 8);
    c = (ws_conn){.loop = &loop,
                  .rare = &rare,
                  .id = 0x0001000000400002,
                  .settings = &settings,
                  .location = &location,
                  .strings = packed(&s),
                  .version = 13,
                  .transport = WS_TRANSPORT_RELAY,
                  .closed_by = WS_CLOSED_BY_SERVER,
                  .missed = 1,
                  .end_code = 1008,
                  .start = START,
                  .sums = {[WS_SUM_MESSAGES_IN] = 1,
                           [WS_SUM_MESSAGES_OUT] = 2,
                           [WS_SUM_BYTES_IN] = 3,
                           [WS_SUM_WIRE_IN] = 5,
                           [WS_SUM_WIRE_OUT] = 6}};
    return &c;
}

static void let_go(ws_conn *c)
{
    free(c->strings);
    free(c->rare->end_reason);
}

/* Write the record of a connection in a format. @return the line without its newline, or the error
 * in the format */
static const char *made(const char *text)
{
    const ws_log_format *f;
    const char *line = ws_log_format_parse(pool, text, &f);
    ws_strbuf t = {0};
    ws_conn *c;
    if (line) {
        return line;
    }
    c = connection();
    ws_log_format_write(f, c, "why not", &t);
    line = apr_pstrmemdup(pool, t.data, t.len);
    ok(t.len && line[t.len - 1] == '\n' && strlen(line) == t.len,
       "a record has one newline, at its end");
    let_go(c);
    ws_strbuf_free(&t);
    return apr_pstrmemdup(pool, line, strlen(line) - 1);
}

static void fields(void)
{
    is_str(made("%a %h %u %v"), "192.0.2.1 192.0.2.1 - example.org",
           "%%a, %%h, %%u and %%v: client, user and host");
    is_str(made("%U%q"), "/a b\\x7f?q=1", "%%U and %%q: path and query string");
    is_str(made("%{user-agent}i %{Cookie}i"), "a \\\"browser\\\" -",
           "%%{...}i: headers of the handshake");
    is_str(made("%t"), "[31/Jan/2026:23:59:58 +0000]", "%%t: the time in the common format");
    is_str(made("%{%Y}t %{sec}t %{msec}t %{usec}t"),
           "2026 1769903998 1769903998123 1769903998123456", "%%{...}t: the time in other formats");
    is_str(made("%I %O"), "5 6", "%%I and %%O: bytes on the wire");
    is_str(made("%{id}w %{handler}w %{subprotocol}w %{version}w %{way}w"),
           "0001000000400002 chat v1 13 relay",
           "%%{...}w: the connection's id, handler, subprotocol, version and transport");
    is_str(made("%{messages-in}w %{messages-out}w %{bytes-in}w %{bytes-out}w"),
           "1 2 3 1099511627776", "%%{...}w: messages and their bytes");
    is_str(made("%{code}w %{reason}w %{closer}w %{why}w"),
           "1008 \\\"no\\\"\\n\\xc3\\xa4\\xff server why not",
           "%%{...}w: how the connection ended");
    is_str(made("%{most-queued}w %{pings-missed}w %{wire-in}w %{wire-out}w"), "7 1 5 6",
           "the rest");
    is_str(made("100%% \\t\\\\\\\"%u\\n."), "100% \t\\\"-\n.", "text, with escapes");
}

static void durations(void)
{
    long long s, in_s, in_ms, in_us, us, now = apr_time_now() - START;
    int n = sscanf(made("%T %{s}T %{ms}T %{us}T %D"), "%lld %lld %lld %lld %lld", &s, &in_s, &in_ms,
                   &in_us, &us);
    is_int(n, 5, "five durations are written");
    ok(us >= now && us < now + 60000000, "the duration starts when the connection began");
    ok(in_us == us && in_ms == us / 1000 && in_s == us / 1000000 && s == in_s,
       "the durations in all units are equal");
}

static void json(void)
{
    const char *line = made("json"), *ms = strstr(line, ",\"milliseconds\":");
    const char *after = ms ? strchr(ms + 1, ',') : NULL;
    ok(!strncmp(line, "{\"start\":\"2026-01-31T23:59:58.123Z\"", 35),
       "json: the record begins with the start");
    ok(after && apr_atoi64(ms + 16) > 0, "json: the duration is written");
    is_str(after ? after : "",
           ",\"address\":\"192.0.2.1\",\"user\":null,\"vhost\":\"example.org\","
           "\"uri\":\"/a b\\u007f\",\"args\":\"q=1\",\"id\":\"0001000000400002\","
           "\"handler\":\"chat\",\"subprotocol\":\"v1\",\"version\":13,\"way\":\"relay\","
           "\"messages_in\":1,\"messages_out\":2,\"bytes_in\":3,\"bytes_out\":1099511627776,"
           "\"wire_in\":5,\"wire_out\":6,\"code\":1008,"
           "\"reason\":\"\\\"no\\\"\\u000a\\u00c3\\u00a4\\u00ff\",\"closer\":\"server\","
           "\"why\":\"why not\",\"most_queued\":7,\"pings_missed\":1}",
           "json: all other fields are right, and invalid UTF-8 is read as Latin-1");
}

static void refused(void)
{
    static const char *const wrong[][2] = {
        {"plain", "\"plain\" is neither \"json\" nor a format with fields such as %a"},
        {"%{x", "\"%{x\" has no closing brace"},
        {"%{x}a", "%{x}a: remove the braces"},
        {"%{h}T", "%{h}T: expected s, ms or us"},
        {"%{usec_frac}t", "%{usec_frac}t: expected sec, msec, usec or a format of strftime, such "
                          "as %{%F %T}t"},
        {"%i", "%i takes the name of a header: %{User-Agent}i"},
        {"%{}i", "%i takes the name of a header: %{User-Agent}i"},
        {"%{User Agent}i", "%{User Agent}i: no header can have this name: expected letters, digits "
                           "and hyphens, as in %{User-Agent}i"},
    };
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        is_str(made(wrong[i][0]), wrong[i][1], "%s", wrong[i][0]);
    }
    ok(!strncmp(made("%{code}w %"), "\"%\": unknown item; the items are %a %h", 38),
       "a percent sign at the end is refused");
    ok(!strncmp(made("%>s"), "\"%>s\": unknown item; the items are %a", 37),
       "an item of another log is refused");
    ok(!strncmp(made("%{codes}w"), "unknown field %{codes}w; the fields are id, handler,", 52),
       "an unknown field is refused, and the known fields are listed");
    ok(!strncmp(made("%w"), "unknown field %{}w", 18), "an empty field is refused");
}

static void codes(void)
{
    is_int(ws_counter_of_code(WS_COUNT_RECEIVED_1000, 1000), WS_COUNT_RECEIVED_1000, "1000");
    is_int(ws_counter_of_code(WS_COUNT_RECEIVED_1000, 1005), WS_COUNT_RECEIVED_1005, "1005");
    is_int(ws_counter_of_code(WS_COUNT_SENT_1000, 1014), WS_COUNT_SENT_1014, "1014");
    is_int(ws_counter_of_code(WS_COUNT_SENT_1000, 4321), WS_COUNT_SENT_other,
           "a sent code without its own counter is counted as other");
    is_int(ws_counter_of_code(WS_COUNT_RECEIVED_1000, 1004), WS_COUNT_RECEIVED_other,
           "a received code without its own counter is counted as other");
    for (unsigned i = 0; i < WS_COUNTER_COUNT; i++) {
        const ws_counter_info *c = &ws_counter_table[i];
        if (!*c->metric || (!*c->help && i && strcmp(c->metric, c[-1].metric))) {
            ok(0, "row %u has a metric and a help", i);
        }
    }
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    apr_initialize();
    apr_pool_create(&pool, NULL);
    fields();
    durations();
    json();
    refused();
    codes();
    apr_pool_destroy(pool);
    apr_terminate();
    return done_testing();
}
