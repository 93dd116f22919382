/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Formats channel events for event streams (EventSource) and polls (long polling). The connection of
 *  a poll is closed after one response. */

#include "httpd/sse_stream.h"

#include <apr_base64.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "channels/channels.h"
#include "engine/hash.h"
#include "engine/json.h"

/* Interval between two comment lines, milliseconds. Proxies close a response on which nothing is
 * sent for long. */
#define HEARTBEAT 15000

/* How long a poll waits for its stored messages after the time of wait= is over, milliseconds. */
#define READING_MAX 10000

/* A poll is answered immediately when its messages exceed this size, bytes. */
#define ANSWER_MAX (1024 * 1024)

/* The form (encoding) of an event for streams with only one channel. All such streams send the same
 * bytes. */
#define AS_EVENT 2

/* ---- Positions ---- */

static void sse_add_position(ws_strbuf *t, const char *before, ws_position p, const char *behind)
{
    char text[WS_POSITION_SIZE];
    if (p.epoch) {
        ws_strbuf_printf(t, "%s%s%s", before, ws_print_position(p, text), behind);
    }
}

/* Add the positions of all channels, or nothing if no channel has a position. */
static void sse_add_positions(ws_strbuf *t, const char *before, const ws_sse_stream *s,
                              const char *behind)
{
    unsigned known = 0;
    for (unsigned i = 0; i < s->count; i++) {
        known += s->channels[i].at.epoch != 0;
    }
    for (unsigned i = 0; known && i < s->count; i++) {
        const ws_sse_channel *ch = &s->channels[i];
        ws_strbuf_puts(t, i ? "," : before);
        if (ch->at.epoch) {
            sse_add_position(t, "", ch->at, "");
        }
        else {
            ws_strbuf_puts(t, ch->resume ? "all" : "-");
        }
    }
    ws_strbuf_puts(t, known ? behind : "");
}

static int sse_resume_channel(ws_sse_channel *ch, const char *text, apr_size_t len)
{
    char position[WS_POSITION_SIZE];
    ch->resume = len != 1 || *text != '-';
    if (!ch->resume) {
        return 1;
    }
    if (len == 4 && !memcmp(text, "last", 4)) {
        ch->last = 1;
        return 1;
    }
    if (len >= sizeof(position)) {
        return 0;
    }
    apr_cpystrn(position, text, len + 1);
    return ws_parse_position(position, &ch->at);
}

int ws_sse_stream_resume(ws_sse_stream *s, const char *after)
{
    int all = !strcmp(after, "all") || !strcmp(after, "last");
    for (unsigned i = 0; i < s->count; i++) {
        apr_size_t len = strcspn(after, ",");
        int last = i + 1 == s->count;
        if (!sse_resume_channel(&s->channels[i], after, len)
            || (!all && (after[len] == ',') == last)) {
            return 0;
        }
        after += all || last ? 0 : len + 1;
    }
    return 1;
}

/* ---- EventSource: HTML Living Standard, section 9.2 ---- */

/* Add a line "data: ..." for each line of the data. The lines of the data may end with LF, CR or
 * CRLF. */
static void sse_add_lines(ws_strbuf *t, const char *data, apr_size_t len)
{
    const char *end = data + len;
    for (;;) {
        const char *eol = data;
        while (eol < end && *eol != '\n' && *eol != '\r') {
            eol++;
        }
        ws_strbuf_puts(t, "data: ");
        ws_strbuf_add(t, data, (apr_size_t)(eol - data));
        ws_strbuf_puts(t, "\n");
        if (eol == end) {
            return;
        }
        data = eol + (*eol == '\r' && eol + 1 < end && eol[1] == '\n' ? 2 : 1);
    }
}

static char *sse_base64(const char *data, apr_size_t len)
{
    char *text = malloc((apr_size_t)apr_base64_encode_len((int)len) + 1);
    if (text) {
        apr_base64_encode_binary(text, (const unsigned char *)data, (int)len);
    }
    return text;
}

static void sse_add_event(ws_strbuf *t, const ws_event *e)
{
    if (e->kind != WS_EVENT_GAP) { /* the next event will contain the position */
        sse_add_position(t, "id: ", e->position, "\n");
    }
    if (e->kind == WS_EVENT_MESSAGE && e->type == WS_TEXT) {
        if (e->event) {
            ws_strbuf_puts(t, "event: ");
            ws_strbuf_puts(t, e->event);
            ws_strbuf_puts(t, "\n");
        }
        sse_add_lines(t, e->data, e->len);
    }
    else if (e->kind == WS_EVENT_MESSAGE) {
        char *text = sse_base64(e->data, e->len);
        ws_strbuf_puts(t, "event: binary\n");
        sse_add_lines(t, text ? text : "", text ? strlen(text) : 0);
        t->broken |= !text;
        free(text);
    }
    else {
        ws_strbuf_puts(t, e->kind == WS_EVENT_GAP ? "event: gap\ndata:\n" : "event: live\ndata:\n");
    }
    ws_strbuf_puts(t, "\n");
}

static int sse_shared_event(const ws_event *e)
{
    ws_strbuf t = {NULL, 0, 0, 0};
    int form = WS_FORM_NONE;
    if (ws_event_has_form(e, AS_EVENT)) {
        return AS_EVENT;
    }
    sse_add_event(&t, e);
    if (!t.broken) {
        form = ws_event_form(e, AS_EVENT, WS_TEXT, t.data, t.len);
    }
    ws_strbuf_free(&t);
    return form;
}

static void sse_add_member(ws_strbuf *t, const char *name, const char *value)
{
    if (value) {
        ws_strbuf_printf(t, ",\"%s\":", name);
        ws_strbuf_json(t, value, strlen(value));
    }
}

/* Add the members of a message's object, without braces. */
static void sse_add_message(ws_strbuf *t, const ws_event *e)
{
    char *text = e->type == WS_BINARY ? sse_base64(e->data, e->len) : NULL;
    ws_strbuf_puts(t, "\"data\":");
    if (e->type == WS_BINARY) {
        ws_strbuf_printf(t, "\"%s\",\"encoding\":\"base64\"", text ? text : "");
        t->broken |= !text;
    }
    else {
        ws_strbuf_json(t, e->data, e->len);
    }
    sse_add_member(t, "event", e->event);
    sse_add_member(t, "key", e->key);
    sse_add_member(t, "wildcard", e->wildcard);
    sse_add_position(t, ",\"position\":\"", e->position, "\"");
    free(text);
}

static void sse_add_channel(ws_strbuf *t, const char *name)
{
    ws_strbuf_puts(t, "\"channel\":");
    ws_strbuf_json(t, name, strlen(name));
}

static apr_uint64_t sse_key(const ws_event *e)
{
    return e->key ? ws_hash(ws_hash(0, e->channel, strlen(e->channel)), e->key, strlen(e->key)) : 0;
}

/* Send an event to a stream with several channels. It consists of an object that names the event's
 * channel, and of the positions of all channels. */
static void sse_send_event(ws_conn *c, const ws_sse_stream *s, const ws_event *e)
{
    ws_strbuf t = {NULL, 0, 0, 0};
    if (e->kind != WS_EVENT_GAP) {
        sse_add_positions(&t, "id: ", s, "\n");
    }
    ws_strbuf_puts(&t, e->kind == WS_EVENT_GAP    ? "event: gap\n"
                       : e->kind == WS_EVENT_LIVE ? "event: live\n"
                                                  : "");
    ws_strbuf_puts(&t, "data: {");
    sse_add_channel(&t, e->channel);
    if (e->kind == WS_EVENT_MESSAGE) {
        ws_strbuf_puts(&t, ",");
        sse_add_message(&t, e);
    }
    if (e->kind == WS_EVENT_LIVE) {
        sse_add_position(&t, ",\"position\":\"", e->position, "\"");
    }
    ws_strbuf_puts(&t, "}\n\n");
    if (t.broken) {
        ws_close(c, WS_CLOSE_TRY_LATER, NULL);
    }
    else {
        ws_send_keyed(c, WS_TEXT, t.data, t.len, sse_key(e));
    }
    ws_strbuf_free(&t);
}

static void sse_beat(ws_conn *c, void *arg)
{
    (void)arg;
    ws_send(c, WS_TEXT, ":\n\n", 3);
}

/* ---- Long polling ---- */

static void sse_add_answer(ws_strbuf *t, const ws_sse_stream *s)
{
    int gap = 0;
    if (!s->json) {
        ws_strbuf_puts(t, "{");
        sse_add_channel(t, s->channels[0].name);
    }
    else {
        ws_strbuf_puts(t, "{\"gaps\":[");
        for (unsigned i = 0; i < s->count; i++) {
            if (s->channels[i].gap) {
                ws_strbuf_puts(t, gap ? "," : "");
                ws_strbuf_json(t, s->channels[i].name, strlen(s->channels[i].name));
                gap = 1;
            }
        }
        ws_strbuf_puts(t, "]");
    }
    ws_strbuf_puts(t, ",\"messages\":[");
    ws_strbuf_add(t, s->messages.data, s->messages.len);
    ws_strbuf_printf(t, "],\"gap\":%s", gap || s->channels[0].gap ? "true" : "false");
    sse_add_positions(t, ",\"position\":\"", s, "\"");
    ws_strbuf_puts(t, "}\n");
}

/* Answer the poll, and end its subscriptions. The connection stays open until the client has read
 * the response, but no longer counts as a receiver. */
static void sse_answer(ws_conn *c, ws_sse_stream *s)
{
    ws_strbuf body = {NULL, 0, 0, 0}, t = {NULL, 0, 0, 0};
    if (s->answered) {
        return;
    }
    s->answered = 1;
    for (unsigned i = 0; i < s->count; i++) {
        ws_unsubscribe(c, s->channels[i].name);
    }
    sse_add_answer(&body, s);
    if (s->head) {
        ws_strbuf_printf(&t, "%sContent-Length: %" APR_SIZE_T_FMT "\r\n\r\n", s->head, body.len);
    }
    ws_strbuf_add(&t, body.data, body.len);
    if (!t.broken && !body.broken && !s->messages.broken) {
        ws_send(c, WS_TEXT, t.data, t.len);
    }
    ws_close(c, WS_CLOSE_NORMAL, NULL);
    ws_strbuf_free(&body);
    ws_strbuf_free(&t);
}

static int sse_is_live(const ws_sse_stream *s)
{
    int live = 1;
    for (unsigned i = 0; i < s->count; i++) {
        live &= s->channels[i].live;
    }
    return live;
}

static void sse_waited(ws_conn *c, void *arg)
{
    ws_sse_stream *s = arg;
    if (s->due || sse_is_live(s)) {
        sse_answer(c, s);
        return;
    }
    /* The stored messages belong in the answer, but are still being read. */
    s->due = 1;
    ws_timer_start(c, READING_MAX, 0, sse_waited, s);
}

static void sse_collect(ws_sse_stream *s, const ws_event *e)
{
    ws_strbuf *t = &s->messages;
    ws_strbuf_puts(t, t->len ? ",{" : "{");
    if (s->json) {
        sse_add_channel(t, e->channel);
        ws_strbuf_puts(t, ",");
    }
    sse_add_message(t, e);
    ws_strbuf_puts(t, "}");
}

static void sse_polled_event(ws_conn *c, ws_sse_stream *s, const ws_event *e)
{
    int gap = 0;
    if (e->kind == WS_EVENT_MESSAGE) {
        sse_collect(s, e);
    }
    for (unsigned i = 0; i < s->count; i++) {
        gap |= s->channels[i].gap;
    }
    if ((sse_is_live(s) && (s->messages.len || gap || s->due)) || s->messages.len > ANSWER_MAX) {
        sse_answer(c, s);
    }
}

/* ---- The handler ---- */

static void sse_on_open(ws_conn *c)
{
    ws_sse_stream *s = ws_data(c);
    for (unsigned i = 0; i < s->count; i++) {
        const ws_sse_channel *ch = &s->channels[i];
        ws_subscription how = {.flags = ch->last     ? WS_RESUME_LAST
                                        : ch->resume ? WS_RESUME
                                                     : 0,
                               .after = ch->at,
                               .last = ch->last};
        if (ws_subscribe_unasked(c, ch->name, &how) < 0) {
            ws_close(c, WS_CLOSE_TRY_LATER, NULL);
            return;
        }
    }
    if (s->polls) {
        ws_timer_start(c, s->wait, 0, sse_waited, s);
    }
    else {
        ws_timer_start(c, HEARTBEAT, HEARTBEAT, sse_beat, NULL);
    }
}

static int sse_on_channel(ws_conn *c, const ws_event *e)
{
    ws_sse_stream *s = ws_data(c);
    ws_sse_channel *ch = s->channels;
    if (e->kind == WS_EVENT_JOIN || e->kind == WS_EVENT_LEAVE || s->answered) {
        return WS_FORM_NONE;
    }
    if (!s->json && !s->polls) {
        return sse_shared_event(e);
    }
    while (strcmp(ch->name, e->wildcard ? e->wildcard : e->channel)) {
        if (++ch == s->channels + s->count) {
            return WS_FORM_NONE;
        }
    }
    ch->gap |= e->kind == WS_EVENT_GAP;
    ch->live |= e->kind == WS_EVENT_LIVE;
    if (e->position.epoch && !e->wildcard) {
        ch->at = e->position;
    }
    if (s->polls) {
        sse_polled_event(c, s, e);
    }
    else {
        sse_send_event(c, s, e);
    }
    return WS_FORM_NONE;
}

/* The engine closes the connection after this callback. */
static void sse_on_token(ws_conn *c, const char *channel, int expired)
{
    static const char event[] = "event: expired\ndata:\n\n";
    ws_sse_stream *s = ws_data(c);
    (void)channel;
    if (expired && s->polls) {
        sse_answer(c, s);
    }
    else if (expired) {
        ws_send(c, WS_TEXT, event, sizeof(event) - 1);
    }
}

const ws_handler ws_sse_stream_handler = {
    .on_open = sse_on_open, .on_channel = sse_on_channel, .on_token = sse_on_token};

/* ---- The data of a stream ---- */

void ws_sse_stream_free(ws_sse_stream *s)
{
    ws_strbuf_free(&s->messages);
    free(s->head);
    free(s);
}

static void sse_release(ws_ticket *ticket)
{
    ws_sse_stream_free((ws_sse_stream *)ticket);
}

ws_sse_stream *ws_sse_stream_new(const apr_array_header_t *names)
{
    ws_sse_stream *s = calloc(1, sizeof(*s) + (apr_size_t)names->nelts * sizeof(*s->channels));
    if (s) {
        s->ticket.release = sse_release;
        s->count = (unsigned)names->nelts;
        s->json = s->count > 1;
        for (int i = 0; i < names->nelts; i++) {
            apr_cpystrn(s->channels[i].name, APR_ARRAY_IDX(names, i, const char *),
                        sizeof(s->channels[i].name));
            s->json |= !ws_channel_valid(s->channels[i].name); /* a wildcard */
        }
    }
    return s;
}
