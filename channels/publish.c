/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Publishes messages: first to the history, then to the buses and the loops. If the history or the
 * local bus refuses a message, or a loop's queue is full, no subscriber receives it.
 */

#include "channels/channels.h"

#include <apr_sha1.h>
#include <stdlib.h>
#include <string.h>

#include "channels/dispatch.h"

/* ---- Buses and loops ---- */

static ws_packet publish_packet_of(const ws_channels *h, const ws_message *m)
{
    return (ws_packet){.kind = WS_PACKET_MESSAGE,
                       .type = m->type,
                       .from = h->options.self,
                       .id = m->except,
                       .position = m->position,
                       .channel = m->channel,
                       .channel_len = m->channel_len,
                       .hash = m->hash,
                       .data = m->data,
                       .len = m->len};
}

static apr_uint32_t publish_subscribers_elsewhere(const ws_channels *h, const char *name,
                                                  unsigned len, apr_uint64_t hash)
{
    ws_bus *local = h->options.local, *remote = h->options.remote;
    return (local ? local->subscribers(local, name, len, hash) : 0)
           + (remote ? remote->subscribers(remote, name, len, hash) : 0);
}

/* Publish a message to all processes. Either all processes of this httpd receive it, or none.
 * flags: WS_PACKET_STORED */
static void publish_route(ws_channels *h, ws_message *m, unsigned flags, ws_published *what)
{
    ws_channel *ch = ws_channel_find(h, m->channel, m->channel_len, m->hash);
    ws_packet p = publish_packet_of(h, m);
    unsigned char fields[WS_FIELDS_MAX];
    ws_bus *local = h->options.local, *remote = h->options.remote;
    apr_uint32_t reached = 0;

    p.flags = flags;
    p.fields = fields;
    p.fields_len = (unsigned)ws_fields_encode(&m->fields, fields);
    what->status = WS_QUEUED;
    what->position = m->position;
    if (!(flags & WS_PACKET_STORED) && ws_dispatch_must_wait(h, ch, m)) {
        what->status = WS_FULL;
    }
    if (what->status == WS_QUEUED && local) {
        what->status = local->publish(local, &p, &reached, &what->missed);
    }
    if (what->status == WS_QUEUED) {
        what->receivers = publish_subscribers_elsewhere(h, m->channel, m->channel_len, m->hash);
        if (remote && remote->publish(remote, &p, &reached, &what->missed) < 0) {
            what->missed++; /* the local processes already have the message */
        }
        what->receivers += ws_dispatch_message(h, ch, m);
    }
    ws_channels_count(h, what->status < 0 ? WS_COUNT_PUBLISH_REFUSED : WS_COUNT_PUBLISHED, 1);
    if (what->missed) {
        ws_channels_count(h, WS_COUNT_BUS_MISSED, what->missed);
    }
    if (ch) {
        ws_channel_unref(h, ch);
    }
}

/* ---- Wildcards ---- */

/* Copy the message, unless no process can have a subscription to the wildcard. */
static ws_message *publish_copy_for(ws_channels *h, const char *wildcard, const ws_message *m)
{
    ws_message_fields fields = m->fields;
    ws_bus *local = h->options.local;
    unsigned len = (unsigned)strlen(wildcard);
    apr_uint64_t hash = ws_channel_hash(wildcard, len);
    ws_channel *ch = ws_channel_find(h, wildcard, len, hash);
    ws_message *copy;
    if (ch) {
        ws_channel_unref(h, ch);
    }
    else if (!h->options.remote && !(local && local->subscribers(local, wildcard, len, hash))) {
        return NULL;
    }
    fields.source = m->channel;
    if ((copy = ws_message_new_with(wildcard, m->type, m->data, m->len, &fields))) {
        copy->position = m->position;
        copy->server = m->server;
        copy->except = m->except;
    }
    return copy;
}

/* Send copies of a published message to the matching wildcards. For "a/b/c", these are "a/" and
 * "a/b/", each followed by a star. A subscriber that misses a copy receives a gap event. */
static void publish_to_wildcards(ws_channels *h, const ws_message *m, ws_published *what)
{
    char wildcard[WS_CHANNEL_MAX + 2];
    for (const char *at = strchr(m->channel, '/'); at; at = strchr(at + 1, '/')) {
        apr_size_t len = (apr_size_t)(at - m->channel) + 1;
        ws_published copied = {.status = WS_FULL};
        ws_message *copy;
        memcpy(wildcard, m->channel, len);
        memcpy(wildcard + len, "*", 2);
        if (ws_wildcard_valid(wildcard, len + 1) && (copy = publish_copy_for(h, wildcard, m))) {
            publish_route(h, copy, WS_PACKET_STORED, &copied);
            what->receivers += copied.receivers;
            ws_message_unref(copy);
        }
    }
}

static void publish_everywhere(ws_channels *h, ws_message *m, unsigned flags, ws_published *what)
{
    publish_route(h, m, flags, what);
    if (what->status >= 0 && h->options.wildcards) {
        publish_to_wildcards(h, m, what);
    }
}

/* ---- With a history ---- */

typedef struct keeping {
    ws_channels *h;
    ws_message *m;
    ws_published_fn fn;
    void *arg;
    apr_time_t claimed; /* when the id was claimed, which must be settled; 0: it is not claimed */
    int asked;          /* the application has been asked, or need not be asked */
} keeping;

static void publish_tell(keeping *k, const ws_published *what)
{
    ws_once *once = k->h->options.once;
    if (k->claimed) {
        once->settle(once, k->m, what);
    }
    if (k->fn) {
        k->fn(what, k->arg);
    }
    ws_message_unref(k->m);
    free(k);
}

static void publish_log_loss(const keeping *k, apr_status_t status)
{
    ws_engine_log(
        k->h->options.engine, WS_LOG_WARNING, NULL,
        status == APR_INCOMPLETE
            ? "channel %s: it is unknown whether a message was stored (status %d), so this process "
              "does not publish it"
            : "channel %s: cannot store a message (status %d), so it is not published",
        k->m->channel, (int)status);
}

static void publish_has_been_kept(void *arg, apr_status_t status, ws_position position)
{
    keeping *k = arg;
    ws_published what = {.status = WS_FULL};
    if (status == APR_SUCCESS) {
        k->m->position = position;
        publish_everywhere(k->h, k->m, WS_PACKET_STORED, &what);
    }
    else if (status == APR_EEXIST) {
        what = (ws_published){.status = WS_QUEUED, .position = position, .duplicate = 1};
    }
    else {
        what.status = status == APR_INCOMPLETE ? WS_UNCERTAIN : WS_FULL;
        ws_channels_count(k->h, WS_COUNT_PUBLISH_REFUSED, 1);
        if (ws_message_take(k->m)) { /* otherwise, the publisher has withdrawn the message */
            publish_log_loss(k, status);
        }
    }
    publish_tell(k, &what);
}

static int publish_is_kept(const ws_channels *h, const ws_message *m)
{
    ws_history *history = h->options.history;
    return history && history->keeps(history, m->channel);
}

/* ---- The application's decision ---- */

static ws_status publish_start(keeping *k);

/* Replace the message by the application's version. @return 0: the version is invalid, the message
 * has been withdrawn, or memory is exhausted */
static int publish_rewrite(keeping *k, const ws_app_answer *answer)
{
    const ws_message *old = k->m;
    ws_message *m = ws_message_valid(answer->type, answer->data, answer->len) ? ws_message_new_with(
                        old->channel, answer->type, answer->data, answer->len, &old->fields)
                                                                              : NULL;
    if (!m || !ws_message_take(k->m)) {
        if (m) {
            ws_message_unref(m);
        }
        return 0;
    }
    m->server = old->server;
    m->except = old->except;
    m->once = old->once;
    m->number = old->number;
    memcpy(m->id, old->id, sizeof(m->id));
    ws_message_unref(k->m);
    k->m = m;
    return 1;
}

static void publish_has_been_asked(void *arg, const ws_app_answer *answer)
{
    keeping *k = arg;
    ws_published what = {.status = answer->status};
    if (what.status >= 0 && answer->data && !publish_rewrite(k, answer)) {
        what.status = WS_FULL;
    }
    if (what.status < 0) {
        ws_channels_count(k->h, WS_COUNT_PUBLISH_REFUSED, 1);
    }
    else if ((what.status = publish_start(k)) >= 0) {
        return;
    }
    publish_tell(k, &what);
}

static ws_status publish_ask(keeping *k)
{
    const ws_message *m = k->m;
    ws_app_question question = {.event = WS_APP_PUBLISH,
                                .channel = m->channel,
                                .id = m->publisher,
                                .user = m->by,
                                .type = m->type,
                                .data = m->data,
                                .len = m->len};
    ws_status s = k->h->options.application->ask(&question, publish_has_been_asked, k);
    if (s < 0) {
        ws_channels_count(k->h, WS_COUNT_PUBLISH_REFUSED, 1);
    }
    return s;
}

static int publish_must_ask(keeping *k)
{
    const ws_application *app = k->h->options.application;
    int must = app && !k->asked && !k->m->trusted && app->wants(WS_APP_PUBLISH, k->m->channel);
    k->asked = 1;
    return must;
}

/* Whether another process may have claimed the id since, because the application took long. */
static int publish_claim_expired(const keeping *k)
{
    unsigned holds = k->claimed ? k->h->options.once->holds : 0;
    return holds && apr_time_now() - k->claimed >= apr_time_from_sec(holds);
}

/* Pass the message to the application, to the history, or directly to the buses. @return a negative
 * status: the caller still owns k */
static ws_status publish_start(keeping *k)
{
    ws_history *history = k->h->options.history;
    ws_published what = {.status = WS_FULL};
    ws_status s;
    if (publish_must_ask(k)) {
        return publish_ask(k);
    }
    if (publish_claim_expired(k)) {
        ws_channels_count(k->h, WS_COUNT_PUBLISH_REFUSED, 1);
        return WS_FULL;
    }
    if (publish_is_kept(k->h, k->m)) {
        if ((s = history->append(history, k->m, publish_has_been_kept, k)) < 0) {
            ws_channels_count(k->h, WS_COUNT_PUBLISH_REFUSED, 1);
        }
        return s;
    }
    if (!ws_message_take(k->m)) {
        return WS_FULL;
    }
    publish_everywhere(k->h, k->m, 0, &what);
    if (what.status >= 0) {
        publish_tell(k, &what);
    }
    return what.status;
}

static void publish_has_been_claimed(void *arg, ws_once_answer answer, const ws_published *then)
{
    keeping *k = arg;
    ws_published what = {.status = WS_FULL};
    if (answer == WS_ONCE_AGAIN) {
        what = *then;
        what.status = WS_QUEUED;
        what.duplicate = 1;
    }
    else if (answer == WS_ONCE_NEW) {
        k->claimed = apr_time_now();
        if ((what.status = publish_start(k)) >= 0) {
            return;
        }
    }
    publish_tell(k, &what);
}

ws_status ws_publish_message(ws_message *m, ws_published_fn fn, void *arg)
{
    ws_channels *h = ws_channels_running();
    ws_once *once = h ? h->options.once : NULL;
    keeping *k = h ? malloc(sizeof(*k)) : NULL;
    ws_status s = WS_QUEUED;
    if (!k) {
        return h ? WS_FULL : WS_GONE;
    }
    *k = (keeping){h, ws_message_ref(m), fn, arg, 0, 0};
    m->server = h->options.self.server;
    if (!m->once || (publish_is_kept(h, m) && h->options.history->once)) {
        s = publish_start(k);
    }
    else if (once) {
        once->claim(once, m, publish_has_been_claimed, k);
    }
    else {
        s = WS_FULL;
    }
    if (s < 0) {
        ws_message_unref(m);
        free(k);
    }
    return s;
}

int ws_message_identify(ws_message *m, const char *id)
{
    static apr_uint64_t numbers;
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    apr_sha1_ctx_t sha1;
    apr_size_t len = id ? strlen(id) : 0;
    if (!len || len > WS_ONCE_MAX) {
        return 0;
    }
    apr_sha1_init(&sha1);
    apr_sha1_update(&sha1, m->channel, m->channel_len + 1); /* includes the NUL */
    apr_sha1_update(&sha1, id, (unsigned)len);
    apr_sha1_final(digest, &sha1);
    memcpy(m->id, digest, sizeof(m->id));
    m->number = __atomic_add_fetch(&numbers, 1, __ATOMIC_RELAXED);
    m->once = 1;
    return 1;
}

/* Check type, size and text. */
static ws_status publish_check(ws_type type, const char *data, apr_size_t len)
{
    return len > WS_PUBLISH_MAX                 ? WS_TOO_BIG
           : !ws_message_valid(type, data, len) ? WS_BAD_TEXT
                                                : WS_QUEUED;
}

/* Record in a message the connection whose callback is running, and that connection's user. */
static void publish_note_publisher(ws_message *m)
{
    const ws_conn *c = ws_conn_in_callback();
    if (c) {
        m->publisher = ws_conn_id(c);
        m->by = ws_user(c) ? strdup(ws_user(c)) : NULL;
    }
}

/* Whether the event stream itself sends events of this name. */
static int publish_is_reserved(const char *event)
{
    return !strcmp(event, "gap") || !strcmp(event, "live") || !strcmp(event, "binary");
}

/* Check and set the fields of a publication. @return WS_QUEUED, or an error */
static ws_status publish_fields_of(const ws_publication *how, ws_message_fields *fields)
{
    if ((how->key && !ws_field_valid(how->key))
        || (how->event && (!ws_field_valid(how->event) || publish_is_reserved(how->event)))) {
        return WS_BAD_TEXT;
    }
    *fields =
        (ws_message_fields){.expires = how->ttl ? apr_time_now() + apr_time_from_sec(how->ttl) : 0,
                            .event = how->event,
                            .key = how->key};
    return WS_QUEUED;
}

ws_status ws_message_create(const char *channel, ws_type type, const char *data, apr_size_t len,
                            const ws_publication *how, ws_message **m)
{
    ws_message_fields fields;
    ws_status s = ws_channel_valid(channel) ? publish_check(type, data, len) : WS_BAD_NAME;
    if (s < 0 || (s = publish_fields_of(how, &fields)) < 0) {
        return s;
    }
    if (!(*m = ws_message_new_with(channel, type, data, len, &fields))) {
        return WS_FULL;
    }
    (*m)->except = how->except;
    publish_note_publisher(*m);
    if (how->id && !ws_message_identify(*m, how->id)) {
        ws_message_unref(*m);
        return WS_BAD_NAME;
    }
    return WS_QUEUED;
}

ws_status ws_publish_with(const char *channel, ws_type type, const char *data, apr_size_t len,
                          const ws_publication *how, ws_published_fn fn, void *arg)
{
    ws_message *m;
    ws_status s;
    if (!ws_channels_running()) {
        return ws_channel_valid(channel) ? WS_GONE : WS_BAD_NAME;
    }
    if ((s = ws_message_create(channel, type, data, len, how, &m)) >= 0) {
        s = ws_publish_message(m, fn, arg);
        ws_message_unref(m);
    }
    return s;
}

ws_status ws_publish(const char *channel, ws_type type, const char *data, apr_size_t len,
                     ws_id except, ws_published_fn fn, void *arg)
{
    const ws_publication how = {.size = sizeof(how), .except = except};
    return ws_publish_with(channel, type, data, len, &how, fn, arg);
}

ws_status ws_publish_once(const char *channel, ws_type type, const char *data, apr_size_t len,
                          ws_id except, const char *id, ws_published_fn fn, void *arg)
{
    const ws_publication how = {.size = sizeof(how), .except = except, .id = id ? id : ""};
    return ws_publish_with(channel, type, data, len, &how, fn, arg);
}

ws_status ws_channels_clear(ws_message *order, ws_clear_done done, void *arg)
{
    ws_channels *h = ws_channels_running();
    ws_history *history = h ? h->options.history : NULL;
    if (!history || !history->keeps(history, order->channel)) {
        return WS_GONE;
    }
    history->clear(history, order, done, arg);
    return WS_QUEUED;
}

apr_uint32_t ws_subscribers(const char *channel)
{
    ws_channels *h = ws_channels_running();
    apr_uint32_t n;
    apr_uint64_t hash;
    unsigned len;
    ws_channel *ch;
    if (!h || !ws_channel_valid(channel)) {
        return 0;
    }
    len = (unsigned)strlen(channel);
    hash = ws_channel_hash(channel, len);
    n = publish_subscribers_elsewhere(h, channel, len, hash);
    if ((ch = ws_channel_find(h, channel, len, hash))) {
        for (unsigned i = 0; i < h->loops; i++) {
            n += ws_sub_list_count(ch, i);
        }
        ws_channel_unref(h, ch);
    }
    return n;
}

/* ---- Sending to a connection or a location ---- */

/* Get the process number in an id: see engine/ids.c. */
static apr_uint32_t publish_process_of(ws_id id)
{
    return (apr_uint32_t)(id >> 48);
}

ws_status ws_send_anywhere(apr_uint64_t server, ws_id id, ws_type type, const char *data,
                           apr_size_t len)
{
    ws_channels *h = ws_channels_running();
    ws_node to = {server, publish_process_of(id)};
    ws_packet p = {.kind = WS_PACKET_SEND, .type = type, .id = id, .data = data, .len = len};
    ws_status s = publish_check(type, data, len);

    if (s < 0 || !h || !id) {
        return s < 0 ? s : WS_GONE;
    }
    s = WS_GONE;
    to.server = server ? server : h->options.self.server;
    if (to.server == h->options.self.server && to.process == (h->options.self.process & 0xFFFF)) {
        return ws_send_to(id, type, data, len);
    }
    p.from = h->options.self;
    if (h->options.local) {
        s = h->options.local->send(h->options.local, &to, &p);
    }
    if (s == WS_GONE && to.server != h->options.self.server && h->options.remote) {
        s = h->options.remote->send(h->options.remote, &to, &p);
    }
    return s;
}

ws_status ws_broadcast_everywhere(ws_location *here, ws_type type, const char *data, apr_size_t len,
                                  ws_id except)
{
    ws_channels *h = ws_channels_running();
    ws_bus *buses[] = {h ? h->options.local : NULL, h ? h->options.remote : NULL};
    ws_packet p = {
        .kind = WS_PACKET_BROADCAST, .type = type, .id = except, .data = data, .len = len};
    ws_status checked = publish_check(type, data, len);

    if (checked < 0) {
        return checked;
    }
    if (h && here->key && strlen(here->key) <= WS_PACKET_NAME_MAX) {
        p.from = h->options.self;
        p.channel = here->key;
        p.channel_len = (unsigned)strlen(here->key);
        p.hash = ws_channel_hash(p.channel, p.channel_len);
    }
    for (int i = 0; i < 2 && p.channel; i++) {
        apr_uint32_t reached = 0, missed = 0;
        ws_status s = buses[i] ? buses[i]->publish(buses[i], &p, &reached, &missed) : WS_QUEUED;
        if (s < 0 && i == 0) {
            ws_channels_count(h, WS_COUNT_PUBLISH_REFUSED, 1);
            return s;
        }
        if (missed) {
            ws_channels_count(h, WS_COUNT_BUS_MISSED, missed);
        }
    }
    return ws_broadcast(here, type, data, len, except);
}
