/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Publish and subscribe for applications in any language.
 *
 *     WebSocketHandler ws_channel.so channel=news channel=user:%{user}
 *
 * Keys: channel=NAME, repeatable, expands %{user}, %{path:N} (Nth segment of the path) and
 * %{arg:NAME} (argument of the query string); publish=on lets clients publish to their channels;
 * echo=off does not send them their own messages; presence=on makes them members, by user name or
 * the argument "name".
 *
 * A client without subprotocol receives published messages unchanged, and publishes each of its
 * messages to all its channels. With ?after=POSITION it first receives missed messages. Clients
 * with channel.v1.json can do more: docs/channels.md.
 */

#include "../reading.h"
#include "json.h"
#include "names.h"

#include <apr_strings.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define PROTOCOL "channel.v1.json"

/* Index of the JSON form for ws_event_form(). */
#define JSON 2

typedef struct names {
    struct names *next;
    const char *pattern;
} names;

typedef struct settings {
    names *channels, **last;
    int publish, echo, presence;
} settings;

/* State of a connection. */
typedef struct client {
    reading reading; /* must be first */
    /* The subscription in progress, answered by WS_EVENT_LIVE; one at a time. */
    char *subscribing; /* its channel, or NULL */
    cJSON *number;     /* id of the request, or NULL */
} client;

/* ---- Configuration ---- */

static const char *channel_set_flag(const char *value, int *flag)
{
    *flag = !strcmp(value, "on");
    return *flag || !strcmp(value, "off") ? NULL : "say on or off";
}

static const char *channel_configure(apr_pool_t *pconf, const char *key, const char *value,
                                     void **config)
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
    return !strcmp(key, "publish")    ? channel_set_flag(value, &s->publish)
           : !strcmp(key, "echo")     ? channel_set_flag(value, &s->echo)
           : !strcmp(key, "presence") ? channel_set_flag(value, &s->presence)
                                      : "the keys are channel, publish, echo and presence";
}

/* ---- JSON ---- */

static int channel_speaks_json(const ws_conn *c)
{
    const char *protocol = ws_protocol(c);
    return protocol && !strcmp(protocol, PROTOCOL);
}

/* Send and free an object. */
static void channel_send_json(ws_conn *c, cJSON *o, const cJSON *number)
{
    char *text = json_print(o, number);
    if (text) {
        ws_send(c, WS_TEXT, text, strlen(text));
    }
    cJSON_free(text);
}

/* ---- Events of channels ---- */

static cJSON *channel_object_of(const ws_event *e)
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

static void channel_subscribed(client *me)
{
    if (me->subscribing) {
        reading_answered(&me->reading, 1);
        free(me->subscribing);
        cJSON_Delete(me->number);
        me->subscribing = NULL;
        me->number = NULL;
    }
}

static int channel_on_channel(ws_conn *c, const ws_event *e)
{
    client *me = ws_data(c);
    cJSON *number = NULL;
    char *text;
    int form, answers = e->kind == WS_EVENT_LIVE && me && me->subscribing
                        && !strcmp(me->subscribing, e->channel);

    if (!channel_speaks_json(c)) {
        return WS_FORM_AS_IS;
    }
    if (answers) { /* specific to this connection */
        number = me->number;
    }
    else if (ws_event_has_form(e, JSON)) {
        return JSON;
    }
    text = json_print(channel_object_of(e), number);
    form = text ? ws_event_form(e, JSON, WS_TEXT, text, strlen(text)) : WS_FORM_NONE;
    cJSON_free(text);
    if (answers) {
        channel_subscribed(me);
        reading_settle(c, &me->reading);
    }
    return form;
}

/* ---- Requests of clients ---- */

/* A pending request. Its result arrives on any thread; the reply is sent in a callback of the
 * connection. */
typedef struct request {
    ws_id id;
    int json, alone;
    cJSON *number;
    char *text; /* the reply, or NULL: none */
    char channel[WS_CHANNEL_MAX + 1];
} request;

/* Set inside ws_publish(): a result that arrives now is already on the connection's thread. */
static __thread request *being_published;

static request *channel_request_new(ws_conn *c, const char *channel, const cJSON *number, int alone)
{
    request *q = calloc(1, sizeof(*q));
    client *me = ws_data(c);
    if (q) {
        q->id = ws_conn_id(c);
        q->json = channel_speaks_json(c);
        q->alone = alone;
        q->number = number ? cJSON_Duplicate(number, 0) : NULL;
        apr_cpystrn(q->channel, channel, sizeof(q->channel));
        reading_expect(&me->reading, alone);
    }
    return q;
}

static void channel_request_free(request *q)
{
    cJSON_Delete(q->number);
    cJSON_free(q->text);
    free(q);
}

/* The request has failed, or has been answered. */
static void channel_request_end(ws_conn *c, request *q)
{
    client *me = c ? ws_data(c) : NULL;
    if (me && q) {
        reading_answered(&me->reading, q->alone);
    }
    if (q) {
        channel_request_free(q);
    }
}

static void channel_send_answer(ws_conn *c, void *arg)
{
    request *q = arg;
    if (c && q->text) {
        ws_send(c, WS_TEXT, q->text, strlen(q->text));
    }
    channel_request_end(c, q);
    if (c && ws_data(c)) {
        reading_settle(c, ws_data(c));
    }
}

static void channel_answer_later(request *q)
{
    if (ws_run(q->id, channel_send_answer, q) != WS_QUEUED) {
        channel_request_free(q);
    }
}

static void channel_has_been_published(const ws_published *what, void *arg)
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
        if (what->duplicate) {
            cJSON_AddTrueToObject(o, "duplicate");
        }
        q->text = json_print(o, q->number);
    }
    if (being_published == q && !q->text) {
        being_published = NULL; /* channel_publish() frees it */
    }
    else {
        channel_answer_later(q);
    }
}

typedef struct search {
    const char *channel;
    int found;
} search;

static void channel_is_it(const char *channel, void *arg)
{
    search *s = arg;
    s->found |= !strcmp(channel, s->channel);
}

static int channel_may_publish(ws_conn *c, const char *channel)
{
    const settings *s = ws_config(c);
    search here = {channel, 0};
    int says = ws_may(c, WS_MAY_PUBLISH, channel);
    if (says < 0 && s->publish) {
        ws_subscriptions_of(c, channel_is_it, &here);
    }
    return says < 0 ? here.found : says;
}

static void channel_refuse(ws_conn *c, const char *channel, ws_status status, const cJSON *number)
{
    if (channel_speaks_json(c)) {
        channel_send_json(c, json_error(channel, status_words(status)), number);
    }
    else if (status == WS_FORBIDDEN) {
        ws_close(c, WS_CLOSE_POLICY, "publishing is not allowed");
    }
    else {
        ws_close(c, WS_CLOSE_TRY_LATER, status_words(status));
    }
}

/* @param key  by which it is published once, or NULL */
static void channel_publish(ws_conn *c, const char *channel, ws_type type, const char *data,
                            apr_size_t len, const char *key, const cJSON *number)
{
    const settings *s = ws_config(c);
    request *q = NULL;
    ws_status status = !ws_channel_valid(channel)                          ? WS_BAD_NAME
                       : !channel_may_publish(c, channel)                  ? WS_FORBIDDEN
                       : !(q = channel_request_new(c, channel, number, 0)) ? WS_FULL
                                                                           : WS_QUEUED;
    if (status == WS_QUEUED) {
        being_published = q;
        ws_id except = s->echo ? 0 : ws_conn_id(c);
        status = key ? ws_publish_once(channel, type, data, len, except, key,
                                       channel_has_been_published, q)
                     : ws_publish(channel, type, data, len, except, channel_has_been_published, q);
    }
    if (status < 0) {
        channel_refuse(c, channel, status, number);
    }
    if (q && (status < 0 || !being_published)) {
        channel_request_end(c, q);
    }
    being_published = NULL;
}

static void channel_has_members(const char *channel, const ws_member *members, apr_size_t count,
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
    channel_answer_later(q);
}

static ws_status channel_do_presence(ws_conn *c, const char *channel, const cJSON *number)
{
    search here = {channel, 0};
    request *q;
    ws_status status;
    ws_subscriptions_of(c, channel_is_it, &here);
    if (!here.found) {
        return WS_GONE; /* presence is shown only to members */
    }
    q = channel_request_new(c, channel, number, 1);
    if ((status = q ? ws_presence(channel, channel_has_members, q) : WS_FULL) < 0) {
        channel_request_end(c, q);
    }
    return status;
}

/* Channels of the directive are allowed; others need WebSocketSubscribe. */
static int channel_may_subscribe(ws_conn *c, const char *channel)
{
    search here = {channel, 0};
    int says = ws_may(c, WS_MAY_SUBSCRIBE, channel);
    if (says < 0) {
        ws_subscriptions_of(c, channel_is_it, &here);
    }
    return says < 0 ? here.found : says;
}

/* Checks everything before any change. */
static ws_status channel_do_subscribe(ws_conn *c, const char *channel, const cJSON *o,
                                      const cJSON *number)
{
    const cJSON *after = cJSON_GetObjectItemCaseSensitive(o, "after");
    const char *member = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "member"));
    ws_subscription how = {.flags = WS_CHANGE};
    client *me = ws_data(c);
    ws_status status;
    if (!ws_channel_valid(channel)) {
        return WS_BAD_NAME;
    }
    if (!channel_may_subscribe(c, channel)) {
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
        channel_subscribed(me);
    }
    return status;
}

static void channel_do_publish(ws_conn *c, const char *channel, const cJSON *o, const cJSON *number)
{
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(o, "data");
    char *text = data && !cJSON_IsString(data) ? cJSON_PrintUnformatted(data) : NULL;
    const char *what = text ? text : cJSON_GetStringValue(data);
    channel_publish(c, channel, WS_TEXT, what ? what : "", what ? strlen(what) : 0,
                    cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "idempotency_key")),
                    number);
    cJSON_free(text);
}

static void channel_on_json(ws_conn *c, const char *data, apr_size_t len)
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
        channel_send_json(
            c, json_error(NULL, "an object with \"type\" and \"channel\" is expected"), number);
    }
    else if (!strcmp(type, "subscribe")) {
        status = channel_do_subscribe(c, channel, o, number);
    }
    else if (!strcmp(type, "unsubscribe")) {
        status = ws_unsubscribe(c, channel);
    }
    else if (!strcmp(type, "publish")) {
        channel_do_publish(c, channel, o, number);
    }
    else if (!strcmp(type, "presence")) {
        status = channel_do_presence(c, channel, number);
    }
    else {
        channel_send_json(
            c, json_error(channel, "the types are subscribe, unsubscribe, publish and presence"),
            number);
    }
    if (status < 0) {
        channel_send_json(c, json_error(channel, status_words(status)), number);
    }
    else if (type && channel && !strcmp(type, "unsubscribe")) {
        channel_send_json(c, json_answer("unsubscribed", channel), number);
    }
    cJSON_Delete(o);
}

/* ---- Opening and closing ---- */

typedef struct plain_message {
    ws_conn *c;
    ws_type type;
    const char *data;
    apr_size_t len;
} plain_message;

static void channel_publish_plain(const char *channel, void *arg)
{
    const plain_message *m = arg;
    channel_publish(m->c, channel, m->type, m->data, m->len, NULL, NULL);
}

static void channel_on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    plain_message m = {c, type, data, len};
    if (!ws_data(c)) {
        return; /* out of memory: the connection is being closed */
    }
    if (!channel_speaks_json(c)) {
        ws_subscriptions_of(c, channel_publish_plain, &m);
    }
    else if (type == WS_TEXT) {
        channel_on_json(c, data, len);
    }
    else {
        ws_close(c, WS_CLOSE_UNSUPPORTED, PROTOCOL " is text");
    }
    reading_settle(c, ws_data(c));
}

static int channel_on_request(ws_request *rq, void *config)
{
    (void)config;
    ws_request_choose_protocol(rq, PROTOCOL); /* ignored if the client does not offer it */
    return 0;
}

/* The member's name: its user's name, or the argument "name". */
static void channel_be_member(ws_conn *c, char *text, ws_subscription *how)
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

static void channel_on_open(ws_conn *c)
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
        channel_be_member(c, member, &how);
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

static void channel_on_close(ws_conn *c, int code, const char *reason, apr_size_t len)
{
    client *me = ws_data(c);
    (void)code, (void)reason, (void)len;
    if (me) {
        channel_subscribed(me);
        free(me);
    }
    ws_set_data(c, NULL);
}

WS_HANDLER(channel) = {.configure = channel_configure,
                       .on_request = channel_on_request,
                       .on_open = channel_on_open,
                       .on_message = channel_on_message,
                       .on_drain = reading_drained,
                       .on_close = channel_on_close,
                       .on_channel = channel_on_channel};
