/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Handles packets from other processes and machines. While a loop's queue is full, the bus is
 *  blocked, which slows down the senders. */

#include <string.h>

#include "channels/dispatch.h"
#include "channels/listing.h"
#include "channels/presence.h"
#include "channels/replay.h"

static void receive_message(ws_channels *h, const ws_packet *p)
{
    char name[WS_CHANNEL_MAX + 1];
    ws_message_fields fields;
    ws_fields_buffer buffer;
    ws_channel *ch;
    ws_message *m;

    if (p->channel_len > WS_CHANNEL_MAX
        || !ws_fields_decode(&fields, p->fields, p->fields_len, &buffer)) {
        return;
    }
    ch =
        ws_channel_find(h, p->channel, p->channel_len, ws_channel_hash(p->channel, p->channel_len));
    if (!ch) {
        return;
    }
    memcpy(name, p->channel, p->channel_len);
    name[p->channel_len] = 0;
    if ((m = ws_message_new_with(name, p->type, p->data, p->len, &fields))) {
        m->position = p->position;
        m->server = p->from.server;
        m->except = p->id;
        /* Back-pressure: block the bus until all queues have room, or their loops are considered
         * stopped. */
        while (ws_dispatch_must_wait(h, ch, m)) {
            apr_sleep(1000);
        }
        ws_dispatch_message(h, ch, m);
        ws_message_unref(m);
    }
    else {
        ws_channels_missed(h, 1);
    }
    ws_channel_unref(h, ch);
}

static void receive_broadcast(ws_channels *h, const ws_packet *p)
{
    const ws_engine_options *o = ws_engine_options_of(h->options.engine);
    ws_id except = p->from.server == h->options.self.server ? p->id : 0;
    for (unsigned i = 0; i < o->location_count; i++) {
        ws_location *l = o->locations[i];
        if (l->key && strlen(l->key) == p->channel_len
            && !memcmp(l->key, p->channel, p->channel_len)) {
            ws_broadcast(l, p->type, p->data, p->len, except);
        }
    }
}

void ws_channels_receive(ws_channels *h, const ws_packet *p)
{
    if (__atomic_load_n(&h->stopped, __ATOMIC_ACQUIRE)) {
        return;
    }
    switch (p->kind) {
    case WS_PACKET_MESSAGE:
        receive_message(h, p);
        break;
    case WS_PACKET_JOIN:
    case WS_PACKET_LEAVE:
    case WS_PACKET_WHO:
    case WS_PACKET_HERE:
        ws_presence_receive(h, p);
        break;
    case WS_PACKET_LIST:
    case WS_PACKET_LISTED:
        ws_listing_receive(h, p);
        break;
    case WS_PACKET_SEND:
        ws_send_to(p->id, p->type, p->data, p->len);
        break;
    case WS_PACKET_BROADCAST:
        receive_broadcast(h, p);
        break;
    case WS_PACKET_ASK:
    case WS_PACKET_ANSWER:
        if (h->options.called) {
            h->options.called(p);
        }
        break;
    case WS_PACKET_FIELDS: /* the decoder converts it to MESSAGE */
        break;
    case WS_PACKET_MISSED:
        ws_channels_missed(h, 0); /* the sender has counted the lost packets */
        break;
    }
}

void ws_channels_wanted(ws_channels *h, const char *channel, unsigned len)
{
    ws_channel *ch = len <= WS_CHANNEL_MAX
                         ? ws_channel_find(h, channel, len, ws_channel_hash(channel, len))
                         : NULL;
    if (!ch) {
        return;
    }
    for (unsigned i = 0; ch->kept && i < h->loops; i++) {
        if (ws_sub_list_count(ch, i)) {
            ws_look_again_at(h, i, ch);
        }
    }
    ws_presence_again(h, ch);
    ws_channel_unref(h, ch);
}

void ws_channels_missed(ws_channels *h, apr_uint64_t how_many)
{
    if (how_many) {
        ws_channels_count(h, WS_COUNT_BUS_MISSED, (apr_int64_t)how_many);
    }
    for (unsigned i = 0; i < h->loops; i++) {
        ws_look_again(h, i);
    }
    ws_presence_again(h, NULL);
}
