/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Processes what arrives on connections that subscribe: packets, and replies to SUBSCRIBE and
 *  PING. */

#include <stdio.h>
#include <string.h>

#include "redis/private.h"

/*
 * Handle the reply to the first PING on a new connection. The reply confirms the SUBSCRIBE
 * commands, which were sent before the PING. From now on no message is missed. Messages that were
 * published earlier are in the histories, or lost.
 */
static void receive_settle(ws_redis *r, ws_channels *h)
{
    if (!r->settled && r->again && h) {
        ws_channels_missed(h, 1 + __atomic_exchange_n(&r->lost, 0, __ATOMIC_RELAXED));
    }
    r->settled = r->again = 1;
}

/* Handle the reply to SUBSCRIBE, with which the subscription takes effect. Read the history again,
 * because a message may have been stored between the subscriber's first read and this reply. */
static void receive_subscribed(const ws_redis *r, ws_channels *h, const redisReply *reply)
{
    size_t prefix = strlen(r->options.prefix) + 2;
    const redisReply *name;
    if (!h || (r->again && !r->settled) || !ws_redis_is_array(reply, 3)
        || !(ws_redis_is(reply->element[0], "subscribe")
             || ws_redis_is(reply->element[0], "ssubscribe"))
        || !ws_redis_is_text(reply->element[1])) {
        return;
    }
    name = reply->element[1];
    if ((size_t)name->len > prefix && !strncmp(name->str, r->options.prefix, prefix - 2)
        && !strncmp(name->str + prefix - 2, "c:", 2)) {
        ws_channels_wanted(h, name->str + prefix, (unsigned)((size_t)name->len - prefix));
    }
}

void ws_redis_receive(ws_redis *r, const redisReply *reply)
{
    ws_channels *h = ws_channels_current();
    const redisReply *message;
    ws_packet p;
    char text[400];
    if (reply->type == REDIS_REPLY_ERROR) { /* these commands are sent only once, never repeated */
        snprintf(text, sizeof(text), "redis: %s", reply->str);
        r->options.log(WS_LOG_WARNING, text);
        return;
    }
    if (ws_redis_is_array(reply, 2) && ws_redis_is(reply->element[0], "pong")) {
        receive_settle(r, h);
    }
    if (!ws_redis_is_array(reply, 3)
        || !(ws_redis_is(reply->element[0], "message")
             || ws_redis_is(reply->element[0], "smessage"))) {
        receive_subscribed(r, h, reply);
        return;
    }
    message = reply->element[2];
    if (message->type != REDIS_REPLY_STRING
        || ws_packet_decode(&p, message->str, (apr_size_t)message->len) != (apr_size_t)message->len
        || p.from.server == r->options.self.server || !p.kind) {
        return;
    }
    ws_redis_peer_note(r, &p.from);
    if (h && (p.kind != WS_PACKET_MISSED || p.len)) {
        ws_channels_receive(h, &p);
    }
}
