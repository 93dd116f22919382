/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Publish and subscribe for applications in any language.
 *
 *     WebSocketHandler ws_channel.so channel=news channel=user:%{user}
 *
 * Keys: channel=NAME, several times, in which %{user} stands for the user, %{path:N} for the Nth segment of
 * the path, %{arg:NAME} for an argument of the query string; publish=on lets clients publish to the channels
 * that they are subscribed to; echo=off does not send them what they have published; presence=on makes them
 * members, by their user's name or the argument "name".
 *
 * A client without subprotocol gets messages as they are published, and what it sends is published to all
 * of its channels. With ?after=POSITION it gets first what it has missed. Clients that speak channel.v1.json
 * do more: docs/channels.md.
 */

#include "websocket_parse.h"

#include <apr_base64.h>
#include <apr_strings.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define PROTOCOL "channel.v1.json"

/* Of ws_event_form(). */
#define JSON 2

typedef struct names {
    struct names *next;
    const char *pattern;
} names;

typedef struct settings {
    names *channels, **last;
    int publish, echo, presence;
} settings;

/* ---- Names that come with the request ---- */

static int argument(ws_conn *c, const char *name, char *out, apr_size_t size)
{
    const char *args = ws_args(c);
    return ws_query_next(&args, name, out, size);
}

static int segment(ws_conn *c, int n, char *out, apr_size_t size)
{
    const char *at = ws_uri(c);
    apr_size_t len;
    while (n-- > 0 && (at = strchr(at, '/'))) {
        at++;
    }
    len = at ? strcspn(at, "/") : 0;
    if (len >= size) {
        return 0;
    }
    memcpy(out, at ? at : "", len);
    out[len] = 0;
    return 1;
}

#define PATH "path:"
#define ARGUMENT "arg:"
#define SEGMENTS_MAX 100

/* A placeholder's value; without a connection, one that stands for any. @return 0 if there is no such
 * placeholder, or its value is no part of a name */
static int fill_in(ws_conn *c, const char *name, char *out, apr_size_t size)
{
    apr_int64_t n;
    apr_cpystrn(out, "x", size);
    if (!strcmp(name, "user")) {
        if (c) {
            apr_cpystrn(out, ws_user(c) ? ws_user(c) : "", size);
        }
        return 1;
    }
    if (!strncmp(name, PATH, sizeof(PATH) - 1)) {
        return !ws_parse_count(NULL, name + sizeof(PATH) - 1, 1, SEGMENTS_MAX, &n)
               && (!c || segment(c, (int)n, out, size));
    }
    if (!strncmp(name, ARGUMENT, sizeof(ARGUMENT) - 1) && name[sizeof(ARGUMENT) - 1]) {
        return !c || argument(c, name + sizeof(ARGUMENT) - 1, out, size) >= 0;
    }
    return 0;
}

/* Fill in %{...}. @return whether that can be, and there is room */
static int expand(ws_conn *c, const char *pattern, char *out, apr_size_t size)
{
    while (*pattern) {
        const char *end = !strncmp(pattern, "%{", 2) ? strchr(pattern, '}') : NULL;
        char name[WS_CHANNEL_MAX + 1];
        apr_size_t len = 1;
        if (size < 2) {
            return 0;
        }
        if (!end) {
            *out = *pattern++;
        }
        else {
            apr_size_t n = (apr_size_t)(end - pattern) - 2;
            if (n >= sizeof(name)) {
                return 0;
            }
            apr_cpystrn(name, pattern + 2, n + 1);
            if (!fill_in(c, name, out, size)) {
                return 0;
            }
            len = strlen(out);
            pattern = end + 1;
        }
        out += len;
        size -= len;
    }
    *out = 0;
    return 1;
}

/* ---- Configuration ---- */

static const char *set_flag(const char *value, int *flag)
{
    *flag = !strcmp(value, "on");
    return *flag || !strcmp(value, "off") ? NULL : "say on or off";
}

static const char *configure(apr_pool_t *pconf, const char *key, const char *value, void **config)
{
    settings *s = *config;
    char name[WS_CHANNEL_MAX + 1];
    if (!s) {
        s = *config = apr_pcalloc(pconf, sizeof(*s));
        s->last = &s->channels;
        s->echo = 1;
    }
    if (!key) {
        return NULL;
    }
    if (!strcmp(key, "channel")) {
        names *n = apr_pcalloc(pconf, sizeof(*n));
        n->pattern = apr_pstrdup(pconf, value);
        *s->last = n;
        s->last = &n->next;
        return expand(NULL, value, name, sizeof(name)) && ws_channel_valid(name)
                   ? NULL
                   : "takes a channel's name, 1 to 200 of A-Z a-z 0-9 - _ . ~ : / @ + = ! and of "
                     "%{user}, %{path:N} (N from 1 to 100) and %{arg:NAME}";
    }
    return !strcmp(key, "publish")    ? set_flag(value, &s->publish)
           : !strcmp(key, "echo")     ? set_flag(value, &s->echo)
           : !strcmp(key, "presence") ? set_flag(value, &s->presence)
                                      : "the keys are channel, publish, echo and presence";
}

/* ---- JSON ---- */

static int speaks_json(const ws_conn *c)
{
    const char *protocol = ws_protocol(c);
    return protocol && !strcmp(protocol, PROTOCOL);
}

static void add_position(cJSON *o, ws_position p)
{
    char text[WS_POSITION_SIZE];
    if (p.epoch) {
        cJSON_AddStringToObject(o, "position", ws_print_position(p, text));
    }
}

/* Text as it is; in base64 what JSON or cJSON cannot carry: bytes, and text with a NUL. */
static void add_data(cJSON *o, ws_type type, const char *data, apr_size_t len)
{
    char *text = malloc((len + 2) / 3 * 4 + len + 1);
    if (!text) {
        return;
    }
    if (type == WS_TEXT && !memchr(data, 0, len)) {
        memcpy(text, data, len);
        text[len] = 0;
    }
    else {
        apr_base64_encode_binary(text, (const unsigned char *)data, (int)len);
        cJSON_AddStringToObject(o, "encoding", "base64");
    }
    cJSON_AddStringToObject(o, "data", text);
    free(text);
}

static cJSON *answer(const char *type, const char *channel)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "type", type);
    if (channel) {
        cJSON_AddStringToObject(o, "channel", channel);
    }
    return o;
}

static void add_id(cJSON *o, ws_id id)
{
    char text[24];
    apr_snprintf(text, sizeof(text), "%016" APR_UINT64_T_HEX_FMT, id);
    cJSON_AddStringToObject(o, "member", text);
}

/* By id, since an answer can come from any thread. Takes over the object. */
static void send_json(ws_id id, cJSON *o, const cJSON *number)
{
    char *text;
    if (number) {
        cJSON_AddItemToObject(o, "id", cJSON_Duplicate(number, 0));
    }
    if ((text = cJSON_PrintUnformatted(o))) {
        ws_send_to(id, WS_TEXT, text, strlen(text));
    }
    cJSON_free(text);
    cJSON_Delete(o);
}

static void send_error(ws_id id, const char *channel, const char *error, const cJSON *number)
{
    cJSON *o = answer("error", channel);
    cJSON_AddStringToObject(o, "error", error);
    send_json(id, o, number);
}

static const char *words_of(ws_status s)
{
    switch (s) {
    case WS_BAD_NAME:
        return "no such channel";
    case WS_FORBIDDEN:
        return "not allowed";
    case WS_LIMIT:
        return "too many channels";
    case WS_TOO_BIG:
        return "too big";
    case WS_FULL:
        return "try again later";
    case WS_GONE:
        return "not subscribed";
    default:
        return "not possible";
    }
}

/* ---- What happens on channels ---- */

static int on_channel(ws_conn *c, const ws_event *e)
{
    static const char *const types[] = {"", "message", "subscribed", "gap", "join", "leave"};
    cJSON *o;
    char *text;
    int form;

    if (!speaks_json(c)) {
        return WS_FORM_AS_IS;
    }
    if (ws_event_has_form(e, JSON)) {
        return JSON;
    }
    o = answer(types[e->kind], e->channel);
    if (e->kind == WS_EVENT_MESSAGE) {
        add_data(o, e->type, e->data, e->len);
    }
    if (e->kind == WS_EVENT_JOIN || e->kind == WS_EVENT_LEAVE) {
        add_id(o, e->id);
        add_data(o, WS_TEXT, e->data, e->len);
    }
    if (e->kind == WS_EVENT_MESSAGE || e->kind == WS_EVENT_LIVE) {
        add_position(o, e->position);
    }
    text = cJSON_PrintUnformatted(o);
    form = text ? ws_event_form(e, JSON, WS_TEXT, text, strlen(text)) : WS_FORM_NONE;
    cJSON_free(text);
    cJSON_Delete(o);
    return form;
}

/* ---- What clients say ---- */

/* What is to be answered later, from any thread. */
typedef struct request {
    ws_id id;
    int json;
    cJSON *number;
    char channel[WS_CHANNEL_MAX + 1];
} request;

static request *request_new(ws_conn *c, const char *channel, const cJSON *number)
{
    request *q = calloc(1, sizeof(*q));
    if (q) {
        q->id = ws_conn_id(c);
        q->json = speaks_json(c);
        q->number = number ? cJSON_Duplicate(number, 0) : NULL;
        apr_cpystrn(q->channel, channel, sizeof(q->channel));
    }
    return q;
}

static void request_free(request *q)
{
    if (q) {
        cJSON_Delete(q->number);
        free(q);
    }
}

static void has_been_published(const ws_published *what, void *arg)
{
    request *q = arg;
    if (what->status < 0 && !q->json) {
        ws_close_id(q->id, WS_CLOSE_TRY_LATER, words_of(what->status));
    }
    else if (what->status < 0) {
        send_error(q->id, q->channel, words_of(what->status), q->number);
    }
    else if (q->number) {
        cJSON *o = answer("published", q->channel);
        add_position(o, what->position);
        cJSON_AddNumberToObject(o, "receivers", what->receivers);
        send_json(q->id, o, q->number);
    }
    request_free(q);
}

typedef struct search {
    const char *channel;
    int found;
} search;

static void is_it(const char *channel, void *arg)
{
    search *s = arg;
    s->found |= !strcmp(channel, s->channel);
}

static int may_publish(ws_conn *c, const char *channel)
{
    const settings *s = ws_config(c);
    search here = {channel, 0};
    int says = ws_may(c, WS_MAY_PUBLISH, channel);
    if (says < 0 && s->publish) {
        ws_subscriptions_of(c, is_it, &here);
    }
    return says < 0 ? here.found : says;
}

static void publish(ws_conn *c, const char *channel, ws_type type, const char *data, apr_size_t len,
                    const cJSON *number)
{
    const settings *s = ws_config(c);
    request *q = request_new(c, channel, number);
    ws_status status = !ws_channel_valid(channel) ? WS_BAD_NAME
                       : !may_publish(c, channel) ? WS_FORBIDDEN
                       : !q                       ? WS_FULL
                            : ws_publish(channel, type, data, len, s->echo ? 0 : ws_conn_id(c),
                                         has_been_published, q);
    if (status < 0) {
        if (speaks_json(c)) {
            send_error(ws_conn_id(c), channel, words_of(status), number);
        }
        else if (status == WS_FORBIDDEN) {
            ws_close(c, WS_CLOSE_POLICY, "publishing is not allowed");
        }
        else {
            ws_close(c, WS_CLOSE_TRY_LATER, words_of(status));
        }
        request_free(q);
    }
}

static void has_members(const char *channel, const ws_member *members, apr_size_t count,
                        int complete, void *arg)
{
    request *q = arg;
    cJSON *o = answer("presence", channel), *list = cJSON_AddArrayToObject(o, "members");
    for (apr_size_t i = 0; i < count; i++) {
        cJSON *m = cJSON_CreateObject();
        add_id(m, members[i].id);
        add_data(m, WS_TEXT, members[i].data, members[i].len);
        cJSON_AddItemToArray(list, m);
    }
    cJSON_AddBoolToObject(o, "complete", complete);
    cJSON_AddNumberToObject(o, "subscribers", ws_subscribers(channel));
    send_json(q->id, o, q->number);
    request_free(q);
}

static ws_status do_presence(ws_conn *c, const char *channel, const cJSON *number)
{
    search here = {channel, 0};
    request *q;
    ws_status status;
    ws_subscriptions_of(c, is_it, &here);
    if (!here.found) {
        return WS_GONE; /* who is there is the affair of those who are there */
    }
    q = request_new(c, channel, number);
    if ((status = q ? ws_presence(channel, has_members, q) : WS_FULL) < 0) {
        request_free(q);
    }
    return status;
}

static ws_status do_subscribe(ws_conn *c, const char *channel, const cJSON *o)
{
    const char *after = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "after"));
    const char *member = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "member"));
    ws_subscription how = {0};
    if (!ws_channel_valid(channel)) {
        return WS_BAD_NAME;
    }
    if (ws_may(c, WS_MAY_SUBSCRIBE, channel) <= 0) {
        search here = {channel, 0};
        ws_subscriptions_of(c, is_it, &here);
        if (!here.found) {
            return WS_FORBIDDEN;
        }
        ws_unsubscribe(c, channel); /* a configured one, in another way */
    }
    if (after) {
        if (!ws_parse_position(after, &how.after)) {
            return WS_MISPLACED;
        }
        how.flags |= WS_RESUME;
    }
    if (member) {
        how.flags |= WS_MEMBER;
        how.member = member;
        how.member_len = strlen(member);
    }
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "watch"))) {
        how.flags |= WS_WATCH;
    }
    return ws_subscribe(c, channel, &how);
}

static void do_publish(ws_conn *c, const char *channel, const cJSON *o, const cJSON *number)
{
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(o, "data");
    char *text = data && !cJSON_IsString(data) ? cJSON_PrintUnformatted(data) : NULL;
    const char *what = text ? text : cJSON_GetStringValue(data);
    publish(c, channel, WS_TEXT, what ? what : "", what ? strlen(what) : 0, number);
    cJSON_free(text);
}

static void on_json(ws_conn *c, const char *data, apr_size_t len)
{
    cJSON *o = cJSON_ParseWithLength(data, len);
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(o, "id");
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "type"));
    const char *channel = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "channel"));
    ws_status status = WS_QUEUED;

    if (number && !cJSON_IsNumber(number) && !cJSON_IsString(number)) {
        number = NULL;
    }
    if (!type || !channel) {
        send_error(ws_conn_id(c), NULL, "an object with \"type\" and \"channel\" is expected",
                   number);
    }
    else if (!strcmp(type, "subscribe")) {
        status = do_subscribe(c, channel, o);
    }
    else if (!strcmp(type, "unsubscribe")) {
        status = ws_unsubscribe(c, channel);
    }
    else if (!strcmp(type, "publish")) {
        do_publish(c, channel, o, number);
    }
    else if (!strcmp(type, "presence")) {
        status = do_presence(c, channel, number);
    }
    else {
        send_error(ws_conn_id(c), channel,
                   "the types are subscribe, unsubscribe, publish and presence", number);
    }
    if (status < 0) {
        send_error(ws_conn_id(c), channel, words_of(status), number);
    }
    else if (type && channel && !strcmp(type, "unsubscribe")) {
        send_json(ws_conn_id(c), answer("unsubscribed", channel), number);
    }
    cJSON_Delete(o);
}

/* ---- A connection ---- */

typedef struct plain_message {
    ws_conn *c;
    ws_type type;
    const char *data;
    apr_size_t len;
} plain_message;

static void publish_plain(const char *channel, void *arg)
{
    const plain_message *m = arg;
    publish(m->c, channel, m->type, m->data, m->len, NULL);
}

static void on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    plain_message m = {c, type, data, len};
    if (!speaks_json(c)) {
        ws_subscriptions_of(c, publish_plain, &m);
    }
    else if (type == WS_TEXT) {
        on_json(c, data, len);
    }
    else {
        ws_close(c, WS_CLOSE_UNSUPPORTED, PROTOCOL " is text");
    }
}

static int on_request(ws_request *rq, void *config)
{
    (void)config;
    ws_request_choose_protocol(rq, PROTOCOL); /* if the client offers it */
    return 0;
}

static void on_open(ws_conn *c)
{
    const settings *s = ws_config(c);
    char name[WS_CHANNEL_MAX + 2], after[64], member[WS_MEMBER_MAX];
    ws_subscription how = {0};
    int found = argument(c, "after", after, sizeof(after));
    if (found < 0 || (*after && !ws_parse_position(after, &how.after))) {
        ws_close(c, WS_CLOSE_POLICY, "after= is no position");
        return;
    }
    how.flags = *after ? WS_RESUME : 0;
    if (s->presence) {
        if (ws_user(c)) {
            apr_cpystrn(member, ws_user(c), sizeof(member));
        }
        else if (argument(c, "name", member, sizeof(member)) < 0) {
            *member = 0;
        }
        how.flags |= WS_MEMBER | WS_WATCH;
        how.member = member;
        how.member_len = strlen(member);
    }
    for (const names *n = s->channels; n; n = n->next) {
        ws_status status =
            expand(c, n->pattern, name, sizeof(name)) ? ws_subscribe(c, name, &how) : WS_BAD_NAME;
        if (status < 0) {
            ws_close(c,
                     status == WS_LIMIT || status == WS_FULL ? WS_CLOSE_TRY_LATER : WS_CLOSE_POLICY,
                     words_of(status));
            return;
        }
    }
}

WS_HANDLER(channel) = {.configure = configure,
                       .on_request = on_request,
                       .on_open = on_open,
                       .on_message = on_message,
                       .on_channel = on_channel};
