/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Lets clients publish and subscribe, so that the application needs no handler.
 *
 *     WebSocketHandler ws_channel.so channel=news channel=user:%{user}
 *
 * The key channel=NAME can be repeated. Its value can contain %{user}, %{path:N} (Nth segment of
 * the path) and %{arg:NAME} (argument in the query string). With publish=on, clients may publish to
 * their channels. With echo=off, clients do not receive their own messages. With presence=on, each
 * client is a member of its channels, so that other members can list it. Its name is the user name
 * or the argument "name". With heartbeat=INTERVAL, the handler sends the text of the key beat= at
 * this interval.
 *
 * A client without a subprotocol receives published messages unchanged, and publishes each of its
 * messages to all its channels. With ?after=POSITION it first receives the messages that it missed.
 * Clients with the subprotocol channel.v1.json can do more, as docs/channels.md describes.
 */

#include "history.h"
#include "json.h"
#include "names.h"
#include "request.h"
#include "settings.h"
#include "websocket_parse.h"

#include <apr_strings.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

/* Maximum for `last=`, messages. */
#define LAST_MAX 1000000

/* Number of the form that channel.v1.json clients get: an event as JSON text (ws_event_form()). */
#define JSON 2

/* ---- JSON ---- */

/* Send and free an object. */
static void channel_send_json(ws_conn *c, cJSON *o, const cJSON *number)
{
    char *text = json_print(o, number);
    if (text) {
        ws_send(c, WS_TEXT, text, strlen(text));
    }
    cJSON_free(text);
}

/* ---- Channel events ---- */

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

/* Handle the application's refusal of a subscription. */
static void channel_refused(ws_conn *c, client *me, const ws_event *e)
{
    int answers = me && me->subscribing && !strcmp(me->subscribing, e->channel);
    char *text;
    if (!channel_speaks_json(c) || !answers) { /* the WebSocketHandler line names this channel */
        ws_close(c, e->status == WS_FORBIDDEN ? WS_CLOSE_POLICY : WS_CLOSE_TRY_LATER,
                 status_words(e->status));
        return;
    }
    text = json_print(json_error(e->channel, status_words(e->status)), me->number);
    if (text) {
        ws_send(c, WS_TEXT, text, strlen(text));
    }
    cJSON_free(text);
    channel_subscribed(me);
    reading_settle(c, &me->reading);
}

static int channel_on_channel(ws_conn *c, const ws_event *e)
{
    client *me = ws_data(c);
    cJSON *number = NULL;
    char *text;
    int form, answers = e->kind == WS_EVENT_LIVE && me && me->subscribing
                        && !strcmp(me->subscribing, e->channel);

    if (e->kind == WS_EVENT_REFUSED) {
        channel_refused(c, me, e);
        return WS_FORM_NONE;
    }
    if (!channel_speaks_json(c)) {
        return WS_FORM_AS_IS;
    }
    if (answers) { /* this object answers a request of this connection only */
        number = me->number;
    }
    else if (ws_event_has_form(e, JSON)) {
        return JSON;
    }
    text = json_print(json_event(e), number);
    form = text ? ws_event_form(e, JSON, WS_TEXT, text, strlen(text)) : WS_FORM_NONE;
    cJSON_free(text);
    if (answers) {
        channel_subscribed(me);
        reading_settle(c, &me->reading);
    }
    return form;
}

/* ---- Clients' requests ---- */

/* The request for which ws_publish() is running. If its result arrives during this call, the result
 * is already on the connection's thread. */
static __thread request *being_published;

static void channel_has_been_published(const ws_published *what, void *arg)
{
    request *q = arg;
    if (what->status < 0 && !q->json) {
        ws_close_id(q->id, what->status == WS_FORBIDDEN ? WS_CLOSE_POLICY : WS_CLOSE_TRY_LATER,
                    status_words(what->status));
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
        being_published = NULL; /* so that channel_publish() frees the request */
    }
    else {
        channel_answer_later(q);
    }
}

static int channel_is_wildcard(const char *channel)
{
    apr_size_t len = strlen(channel);
    return len > 2 && !strcmp(channel + len - 2, "/*");
}

/* Parse a position, "all" or "last". @return whether it is valid */
static int channel_parse_start(const char *text, ws_subscription *how)
{
    if (!strcmp(text, "last")) {
        how->flags |= WS_RESUME_LAST;
        how->last = 1;
        return 1;
    }
    how->flags |= WS_RESUME;
    return ws_parse_position(text, &how->after);
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

/* Publish a message on behalf of a client. @param how  the message's id, key, event and time to
 * live */
static void channel_publish(ws_conn *c, const char *channel, ws_type type, const char *data,
                            apr_size_t len, ws_publication *how, const cJSON *number)
{
    const settings *s = ws_config(c);
    request *q = NULL;
    ws_status status = !ws_channel_valid(channel)                          ? WS_BAD_NAME
                       : !channel_may_publish(c, channel)                  ? WS_FORBIDDEN
                       : !(q = channel_request_new(c, channel, number, 0)) ? WS_FULL
                                                                           : WS_QUEUED;
    if (status == WS_QUEUED) {
        being_published = q;
        how->size = sizeof(*how);
        how->except = s->echo ? 0 : ws_conn_id(c);
        status = ws_publish_with(channel, type, data, len, how, channel_has_been_published, q);
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
        return WS_GONE; /* only members may list the members */
    }
    q = channel_request_new(c, channel, number, 1);
    if ((status = q ? ws_presence(channel, channel_has_members, q) : WS_FULL) < 0) {
        channel_request_end(c, q);
    }
    return status;
}

/* Whether a client may subscribe to a channel. If no rule decides, the client may name only
 * channels to which it is already subscribed, such as those on the WebSocketHandler line. */
static int channel_may_subscribe(ws_conn *c, const char *channel)
{
    search here = {channel, 0};
    int says = ws_may(c, WS_MAY_SUBSCRIBE, channel);
    if (says < 0) {
        ws_subscriptions_of(c, channel_is_it, &here);
    }
    return says < 0 ? here.found : says;
}

/* Parse where a subscription starts: "after" with a position, "all" or "last"; or "last" with a
 * number. @return whether the value is valid */
static int channel_start_of(const cJSON *o, ws_subscription *how)
{
    const cJSON *after = cJSON_GetObjectItemCaseSensitive(o, "after");
    const cJSON *last = cJSON_GetObjectItemCaseSensitive(o, "last");
    if (last) {
        how->flags |= WS_RESUME_LAST;
        return !after && json_count(last, &how->last);
    }
    return !after || (cJSON_IsString(after) && channel_parse_start(after->valuestring, how));
}

/* Subscribe, or change a subscription. All checks come before any change. */
static ws_status channel_do_subscribe(ws_conn *c, const char *channel, const cJSON *o,
                                      const cJSON *number)
{
    const char *member = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "member"));
    const char *token = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "token")), *why;
    ws_subscription how = {.flags = WS_CHANGE};
    client *me = ws_data(c);
    ws_status status;
    if (!ws_channel_valid(channel) && !channel_is_wildcard(channel)) {
        return WS_BAD_NAME;
    }
    if (token && (why = ws_use_token(c, channel, token))) {
        channel_send_json(c, json_error(channel, why), number);
        return WS_QUEUED;
    }
    if (!channel_may_subscribe(c, channel)) {
        return WS_FORBIDDEN;
    }
    if (!channel_start_of(o, &how)) {
        return WS_MISPLACED;
    }
    if (member) {
        how.flags |= WS_MEMBER;
        how.member = member;
        how.member_len = strlen(member);
    }
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "watch"))) {
        how.flags |= WS_WATCH;
    }
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "snapshot"))) {
        how.flags |= WS_WATCH | WS_SNAPSHOT;
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

static const char *channel_text(const cJSON *o, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
}

/* Use a newer token, for one channel or for the whole connection. */
static void channel_do_refresh(ws_conn *c, const char *channel, const cJSON *o, const cJSON *number)
{
    const char *token = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "token"));
    const char *why = !token ? "refresh needs a member token"
                      : channel && !ws_channel_valid(channel) && !channel_is_wildcard(channel)
                          ? status_words(WS_BAD_NAME)
                          : ws_use_token(c, channel, token);
    channel_send_json(c, why ? json_error(channel, why) : json_answer("refreshed", channel),
                      number);
}

static void channel_on_token(ws_conn *c, const char *channel, int expired)
{
    if (channel_speaks_json(c)) {
        channel_send_json(c, json_answer(expired ? "expired" : "expiring", channel), NULL);
    }
}

static void channel_do_publish(ws_conn *c, const char *channel, const cJSON *o, const cJSON *number)
{
    const cJSON *ttl = cJSON_GetObjectItemCaseSensitive(o, "ttl");
    ws_publication how = {.id = channel_text(o, "idempotency_key"),
                          .key = channel_text(o, "key"),
                          .event = channel_text(o, "event")};
    ws_type type;
    apr_size_t len;
    char *data = NULL;
    if (ttl && !json_count(ttl, &how.ttl)) {
        channel_send_json(c, json_error(channel, "ttl must be a number of seconds"), number);
    }
    else if (!json_bytes(o, &type, &data, &len)) {
        channel_send_json(c, json_error(channel, "no base64"), number);
    }
    else {
        channel_publish(c, channel, type, data, len, &how, number);
    }
    free(data);
}

/* Process a request about a channel. @return a status; if it is negative, the caller reports it as
 * an error */
static ws_status channel_do(ws_conn *c, const char *type, const char *channel, const cJSON *o,
                            const cJSON *number)
{
    ws_status status;
    if (!strcmp(type, "subscribe")) {
        return channel_do_subscribe(c, channel, o, number);
    }
    if (!strcmp(type, "unsubscribe")) {
        if ((status = ws_unsubscribe(c, channel)) >= 0) {
            channel_send_json(c, json_answer("unsubscribed", channel), number);
        }
        return status;
    }
    if (!strcmp(type, "publish")) {
        channel_do_publish(c, channel, o, number);
        return WS_QUEUED;
    }
    if (!strcmp(type, "presence")) {
        return channel_do_presence(c, channel, number);
    }
    if (!strcmp(type, "history")) {
        return channel_may_subscribe(c, channel) ? channel_history(c, channel, o, number)
                                                 : WS_FORBIDDEN;
    }
    channel_send_json(
        c,
        json_error(channel,
                   "the types are subscribe, unsubscribe, publish, presence, history, refresh and "
                   "ping"),
        number);
    return WS_QUEUED;
}

static void channel_on_json(ws_conn *c, const char *data, apr_size_t len)
{
    cJSON *o = cJSON_ParseWithLength(data, len);
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(o, "id");
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "type"));
    const char *channel = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "channel"));
    const char *wrong = json_wrong_member(o);
    ws_status status;

    if (number && !cJSON_IsNumber(number) && !cJSON_IsString(number)) {
        number = NULL;
    }
    if (ws_json_has_nul(data, len)) { /* cJSON would truncate the text */
        channel_send_json(c, json_error(NULL, "a text has U+0000: send it as base64"), number);
    }
    else if (wrong) {
        channel_send_json(c, json_error(channel, wrong), number);
    }
    else if (type && !strcmp(type, "ping")) {
        channel_send_json(c, json_answer("pong", NULL), number);
    }
    else if (type && !strcmp(type, "refresh")) {
        channel_do_refresh(c, channel, o, number);
    }
    else if (!type || !channel) {
        channel_send_json(
            c, json_error(NULL, "an object with \"type\" and \"channel\" is expected"), number);
    }
    else if ((status = channel_do(c, type, channel, o, number)) < 0) {
        channel_send_json(c, json_error(channel, status_words(status)), number);
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
    ws_publication how = {.id = NULL};
    channel_publish(m->c, channel, m->type, m->data, m->len, &how, NULL);
}

static void channel_on_message(ws_conn *c, ws_type type, const char *data, apr_size_t len)
{
    plain_message m = {c, type, data, len};
    if (!ws_data(c)) {
        return; /* out of memory, and the connection is being closed */
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
    /* This has no effect if the client does not offer the subprotocol. */
    ws_request_choose_protocol(rq, PROTOCOL);
    return 0;
}

/* Make a client a member. Its name is the user name, or the argument "name". */
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

/* Parse after= and last=. @return NULL, or the error */
static const char *channel_start_arguments(ws_conn *c, ws_subscription *how)
{
    char after[64], last[16];
    apr_int64_t n;
    int valid = channel_argument(c, "after", after, sizeof(after)) >= 0;
    int found = channel_argument(c, "last", last, sizeof(last));
    if (!valid || (*after && !channel_parse_start(after, how))) {
        return "after= takes a position, all or last";
    }
    if (!found) {
        return NULL;
    }
    if (*after) {
        return "after= and last= exclude each other: remove one";
    }
    if (found < 0 || ws_parse_count(NULL, last, 1, LAST_MAX, &n)) {
        return "last= takes a whole number from 1 to 1000000";
    }
    how->flags |= WS_RESUME_LAST;
    how->last = (apr_uint32_t)n;
    return NULL;
}

static void channel_beat(ws_conn *c, void *arg)
{
    const settings *s = ws_config(c);
    (void)arg;
    if (channel_speaks_json(c)) {
        channel_send_json(c, json_answer("heartbeat", NULL), NULL);
    }
    else {
        ws_send(c, WS_TEXT, s->beat, s->beat ? strlen(s->beat) : 0);
    }
}

static void channel_on_open(ws_conn *c)
{
    const settings *s = ws_config(c);
    char name[WS_CHANNEL_MAX + 2], member[WS_MEMBER_MAX];
    ws_subscription how = {0};
    const char *wrong;
    ws_set_data(c, calloc(1, sizeof(client)));
    if (!ws_data(c)) {
        ws_close(c, WS_CLOSE_TRY_LATER, NULL);
        return;
    }
    if ((wrong = channel_start_arguments(c, &how))) {
        ws_close(c, WS_CLOSE_POLICY, wrong);
        return;
    }
    how.flags |= channel_speaks_json(c) ? 0 : WS_AS_PUBLISHED;
    if (s->heartbeat) {
        ws_timer_start(c, (apr_uint32_t)s->heartbeat, (apr_uint32_t)s->heartbeat, channel_beat,
                       NULL);
    }
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

WS_HANDLER(channel) = {.flags = WS_REFUSED_EVENTS,
                       .configure = channel_configure,
                       .repeatable_keys = "channel",
                       .on_request = channel_on_request,
                       .on_open = channel_on_open,
                       .on_message = channel_on_message,
                       .on_drain = reading_drained,
                       .on_close = channel_on_close,
                       .on_channel = channel_on_channel,
                       .on_token = channel_on_token};
