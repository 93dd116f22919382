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

#include "../reading.h"
#include "json.h"
#include "names.h"

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

/* Of a connection. */
typedef struct client {
    reading reading; /* first */
    /* A subscription whose WS_EVENT_LIVE is its answer; one at a time. */
    char *subscribing; /* to which channel, or NULL */
    cJSON *number;     /* id of the request, or NULL */
} client;

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
        return channel_expand(NULL, value, name, sizeof(name)) && ws_channel_valid(name)
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

/* Takes over the object. */
static void send_json(ws_conn *c, cJSON *o, const cJSON *number)
{
    char *text = json_print(o, number);
    if (text) {
        ws_send(c, WS_TEXT, text, strlen(text));
    }
    cJSON_free(text);
}

/* ---- What happens on channels ---- */

static cJSON *object_of(const ws_event *e)
{
    static const char *const types[] = {"", "message", "subscribed", "gap", "join", "leave"};
    cJSON *o = json_answer(types[e->kind], e->channel);
    if (e->kind == WS_EVENT_MESSAGE) {
        json_data(o, e->type, e->data, e->len);
    }
    if (e->kind == WS_EVENT_JOIN || e->kind == WS_EVENT_LEAVE) {
        json_member(o, e->id, e->user, e->data, e->len);
    }
    if (e->kind == WS_EVENT_MESSAGE || e->kind == WS_EVENT_LIVE) {
        json_position(o, e->position);
    }
    return o;
}

static void subscribed(client *me)
{
    if (me->subscribing) {
        reading_answered(&me->reading, 1);
        free(me->subscribing);
        cJSON_Delete(me->number);
        me->subscribing = NULL;
        me->number = NULL;
    }
}

static int on_channel(ws_conn *c, const ws_event *e)
{
    client *me = ws_data(c);
    cJSON *number = NULL;
    char *text;
    int form, answers = e->kind == WS_EVENT_LIVE && me && me->subscribing
                        && !strcmp(me->subscribing, e->channel);

    if (!speaks_json(c)) {
        return WS_FORM_AS_IS;
    }
    if (answers) { /* made for this connection only */
        number = me->number;
    }
    else if (ws_event_has_form(e, JSON)) {
        return JSON;
    }
    text = json_print(object_of(e), number);
    form = text ? ws_event_form(e, JSON, WS_TEXT, text, strlen(text)) : WS_FORM_NONE;
    cJSON_free(text);
    if (answers) {
        subscribed(me);
        reading_settle(c, &me->reading);
    }
    return form;
}

/* ---- What clients say ---- */

/* What is to be answered later: known on any thread, sent in a callback of the connection. */
typedef struct request {
    ws_id id;
    int json, alone;
    cJSON *number;
    char *text; /* the answer, or NULL: there is none */
    char channel[WS_CHANNEL_MAX + 1];
} request;

/* Inside ws_publish(): what is told now needs no way back to the connection. */
static __thread request *being_published;

static request *request_new(ws_conn *c, const char *channel, const cJSON *number, int alone)
{
    request *q = calloc(1, sizeof(*q));
    client *me = ws_data(c);
    if (q) {
        q->id = ws_conn_id(c);
        q->json = speaks_json(c);
        q->alone = alone;
        q->number = number ? cJSON_Duplicate(number, 0) : NULL;
        apr_cpystrn(q->channel, channel, sizeof(q->channel));
        reading_expect(&me->reading, alone);
    }
    return q;
}

static void request_free(request *q)
{
    cJSON_Delete(q->number);
    cJSON_free(q->text);
    free(q);
}

/* It comes to nothing, or has been answered. */
static void request_end(ws_conn *c, request *q)
{
    client *me = c ? ws_data(c) : NULL;
    if (me && q) {
        reading_answered(&me->reading, q->alone);
    }
    if (q) {
        request_free(q);
    }
}

static void send_answer(ws_conn *c, void *arg)
{
    request *q = arg;
    if (c && q->text) {
        ws_send(c, WS_TEXT, q->text, strlen(q->text));
    }
    request_end(c, q);
    if (c && ws_data(c)) {
        reading_settle(c, ws_data(c));
    }
}

static void answer_later(request *q)
{
    if (ws_run(q->id, send_answer, q) != WS_QUEUED) {
        request_free(q);
    }
}

static void has_been_published(const ws_published *what, void *arg)
{
    request *q = arg;
    if (what->status < 0 && !q->json) {
        ws_close_id(q->id, WS_CLOSE_TRY_LATER, status_words(what->status));
    }
    else if (what->status < 0) {
        q->text = json_print(json_error(q->channel, status_words(what->status)), q->number);
    }
    else if (q->number) {
        cJSON *o = json_answer("published", q->channel);
        json_position(o, what->position);
        cJSON_AddNumberToObject(o, "receivers", what->receivers);
        q->text = json_print(o, q->number);
    }
    if (being_published == q && !q->text) {
        being_published = NULL; /* publish() ends it */
    }
    else {
        answer_later(q);
    }
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

static void refuse(ws_conn *c, const char *channel, ws_status status, const cJSON *number)
{
    if (speaks_json(c)) {
        send_json(c, json_error(channel, status_words(status)), number);
    }
    else if (status == WS_FORBIDDEN) {
        ws_close(c, WS_CLOSE_POLICY, "publishing is not allowed");
    }
    else {
        ws_close(c, WS_CLOSE_TRY_LATER, status_words(status));
    }
}

static void publish(ws_conn *c, const char *channel, ws_type type, const char *data, apr_size_t len,
                    const cJSON *number)
{
    const settings *s = ws_config(c);
    request *q = NULL;
    ws_status status = !ws_channel_valid(channel)                  ? WS_BAD_NAME
                       : !may_publish(c, channel)                  ? WS_FORBIDDEN
                       : !(q = request_new(c, channel, number, 0)) ? WS_FULL
                                                                   : WS_QUEUED;
    if (status == WS_QUEUED) {
        being_published = q;
        status = ws_publish(channel, type, data, len, s->echo ? 0 : ws_conn_id(c),
                            has_been_published, q);
    }
    if (status < 0) {
        refuse(c, channel, status, number);
    }
    if (q && (status < 0 || !being_published)) {
        request_end(c, q);
    }
    being_published = NULL;
}

static void has_members(const char *channel, const ws_member *members, apr_size_t count,
                        int complete, void *arg)
{
    request *q = arg;
    cJSON *o = json_answer("presence", channel), *list = cJSON_AddArrayToObject(o, "members");
    for (apr_size_t i = 0; i < count; i++) {
        cJSON *m = cJSON_CreateObject();
        json_member(m, members[i].id, ws_member_user(&members[i]), members[i].data, members[i].len);
        cJSON_AddItemToArray(list, m);
    }
    cJSON_AddBoolToObject(o, "complete", complete);
    cJSON_AddNumberToObject(o, "subscribers", ws_subscribers(channel));
    q->text = json_print(o, q->number);
    answer_later(q);
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
    q = request_new(c, channel, number, 1);
    if ((status = q ? ws_presence(channel, has_members, q) : WS_FULL) < 0) {
        request_end(c, q);
    }
    return status;
}

/* More than the channels of the line only where WebSocketSubscribe says so. */
static int may_subscribe(ws_conn *c, const char *channel)
{
    search here = {channel, 0};
    int says = ws_may(c, WS_MAY_SUBSCRIBE, channel);
    if (says < 0) {
        ws_subscriptions_of(c, is_it, &here);
    }
    return says < 0 ? here.found : says;
}

/* What is wrong is refused before anything changes. */
static ws_status do_subscribe(ws_conn *c, const char *channel, const cJSON *o, const cJSON *number)
{
    const cJSON *after = cJSON_GetObjectItemCaseSensitive(o, "after");
    const char *member = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "member"));
    ws_subscription how = {.flags = WS_CHANGE};
    client *me = ws_data(c);
    ws_status status;
    if (!ws_channel_valid(channel)) {
        return WS_BAD_NAME;
    }
    if (!may_subscribe(c, channel)) {
        return WS_FORBIDDEN;
    }
    if (after) {
        if (!cJSON_IsString(after) || !ws_parse_position(after->valuestring, &how.after)) {
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
    if (!(me->subscribing = strdup(channel))) {
        return WS_FULL;
    }
    me->number = number ? cJSON_Duplicate(number, 0) : NULL;
    reading_expect(&me->reading, 1);
    if ((status = ws_subscribe(c, channel, &how)) < 0) {
        subscribed(me);
    }
    return status;
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
        send_json(c, json_error(NULL, "an object with \"type\" and \"channel\" is expected"),
                  number);
    }
    else if (!strcmp(type, "subscribe")) {
        status = do_subscribe(c, channel, o, number);
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
        send_json(c,
                  json_error(channel, "the types are subscribe, unsubscribe, publish and presence"),
                  number);
    }
    if (status < 0) {
        send_json(c, json_error(channel, status_words(status)), number);
    }
    else if (type && channel && !strcmp(type, "unsubscribe")) {
        send_json(c, json_answer("unsubscribed", channel), number);
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
    if (!ws_data(c)) {
        return; /* it is being closed for want of memory */
    }
    if (!speaks_json(c)) {
        ws_subscriptions_of(c, publish_plain, &m);
    }
    else if (type == WS_TEXT) {
        on_json(c, data, len);
    }
    else {
        ws_close(c, WS_CLOSE_UNSUPPORTED, PROTOCOL " is text");
    }
    reading_settle(c, ws_data(c));
}

static int on_request(ws_request *rq, void *config)
{
    (void)config;
    ws_request_choose_protocol(rq, PROTOCOL); /* if the client offers it */
    return 0;
}

/* By what others know a connection: its user's name, or the argument "name". */
static void be_member(ws_conn *c, char *text, ws_subscription *how)
{
    const char *args = ws_args(c), *name = ws_user(c);
    char *decoded = args && !name ? malloc(strlen(args) + 1) : NULL;
    if (decoded && ws_query_next(&args, "name", decoded, strlen(args) + 1) > 0) {
        name = decoded;
    }
    how->flags |= WS_MEMBER | WS_WATCH;
    how->member = text;
    how->member_len = name ? ws_text_prefix(name, strlen(name), WS_MEMBER_MAX) : 0;
    if (name) {
        memcpy(text, name, how->member_len);
    }
    free(decoded);
}

static void on_open(ws_conn *c)
{
    const settings *s = ws_config(c);
    char name[WS_CHANNEL_MAX + 2], after[64], member[WS_MEMBER_MAX];
    ws_subscription how = {0};
    int found = channel_argument(c, "after", after, sizeof(after));
    ws_set_data(c, calloc(1, sizeof(client)));
    if (!ws_data(c)) {
        ws_close(c, WS_CLOSE_TRY_LATER, NULL);
        return;
    }
    if (found < 0 || (*after && !ws_parse_position(after, &how.after))) {
        ws_close(c, WS_CLOSE_POLICY, "after= is no position");
        return;
    }
    how.flags = *after ? WS_RESUME : 0;
    if (s->presence) {
        be_member(c, member, &how);
    }
    for (const names *n = s->channels; n; n = n->next) {
        ws_status status = channel_expand(c, n->pattern, name, sizeof(name))
                               ? ws_subscribe(c, name, &how)
                               : WS_BAD_NAME;
        if (status < 0) {
            ws_close(c,
                     status == WS_LIMIT || status == WS_FULL ? WS_CLOSE_TRY_LATER : WS_CLOSE_POLICY,
                     status_words(status));
            return;
        }
    }
}

static void on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    client *me = ws_data(c);
    (void)code, (void)reason, (void)len;
    if (me) {
        subscribed(me);
        free(me);
    }
    ws_set_data(c, NULL);
}

WS_HANDLER(channel) = {.configure = configure,
                       .on_request = on_request,
                       .on_open = on_open,
                       .on_message = on_message,
                       .on_drain = reading_drained,
                       .on_close = on_close,
                       .on_channel = on_channel};
