/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Encodes and decodes bus packets. The decoder checks all contents, because packets also come from
 * other machines. A receiver skips a packet with invalid contents.
 */

#include "channels/packet.h"

#include <string.h>

static unsigned char *packet_put(unsigned char *at, apr_uint64_t n, int bytes)
{
    while (bytes--) {
        *at++ = (unsigned char)(n >> 8 * bytes);
    }
    return at;
}

static apr_uint64_t packet_get(const unsigned char **at, int bytes)
{
    apr_uint64_t n = 0;
    while (bytes--) {
        n = n << 8 | *(*at)++;
    }
    return n;
}

apr_size_t ws_packet_head(const ws_packet *p, unsigned char out[static WS_PACKET_HEAD_MAX])
{
    unsigned char *at = out;
    at = packet_put(at, WS_PACKET_VERSION, 1);
    at = packet_put(at, p->fields_len ? WS_PACKET_FIELDS : p->kind, 1);
    at = packet_put(at, p->type, 1);
    at = packet_put(at, p->flags, 1);
    at = packet_put(at, ws_packet_size(p), 4);
    at = packet_put(at, p->from.server, 8);
    at = packet_put(at, p->from.process, 4);
    at = packet_put(at, p->request, 4);
    at = packet_put(at, p->id, 8);
    at = packet_put(at, p->position.epoch, 8);
    at = packet_put(at, p->position.offset, 8);
    at = packet_put(at, p->channel_len, 1);
    if (p->channel_len) {
        memcpy(at, p->channel, p->channel_len);
        at += p->channel_len;
    }
    if (p->fields_len) {
        at = packet_put(at, p->fields_len, 2);
        memcpy(at, p->fields, p->fields_len);
        at += p->fields_len;
    }
    return (apr_size_t)(at - out);
}

static int packet_has_channel(const ws_packet *p)
{
    return ws_channel_valid_len(p->channel, p->channel_len);
}

/* Whether the fields and the channel's name are valid. A message for a wildcard names its original
 * channel in the field `source`. */
static int packet_has_fields(const ws_packet *p)
{
    ws_message_fields fields;
    ws_fields_buffer buffer;
    return ws_fields_decode(&fields, p->fields, p->fields_len, &buffer)
           && (fields.source ? ws_wildcard_valid(p->channel, p->channel_len)
                             : packet_has_channel(p));
}

static int packet_has_message(const ws_packet *p)
{
    return p->len <= WS_PUBLISH_MAX && ws_message_valid(p->type, p->data, p->len);
}

/* Whether a packet's contents are valid for its kind. presence.c checks the members in a packet of
 * the kind WS_PACKET_HERE. */
static int packet_makes_sense(const ws_packet *p)
{
    apr_size_t member_len;
    if (p->from.process > 0xFFFF) {
        return 0;
    }
    switch (p->kind) {
    case WS_PACKET_MESSAGE:
        return packet_has_fields(p) && packet_has_message(p)
               && !p->position.epoch == !p->position.offset;
    case WS_PACKET_BROADCAST:
        return p->channel_len && packet_has_message(p);
    case WS_PACKET_SEND:
        return p->id && packet_has_message(p);
    case WS_PACKET_JOIN:
        return packet_has_channel(p) && p->id && ws_member_split(p->data, p->len, &member_len);
    case WS_PACKET_LEAVE:
        return packet_has_channel(p) && p->id;
    case WS_PACKET_WHO:
    case WS_PACKET_HERE:
        return packet_has_channel(p);
    case WS_PACKET_ASK:
        return !p->channel_len || packet_has_channel(p);
    case WS_PACKET_MISSED:
    case WS_PACKET_ANSWER:
    case WS_PACKET_LIST:
    case WS_PACKET_LISTED:
        return 1;
    case WS_PACKET_FIELDS:
        break;
    }
    return 0;
}

/* Separate the fields from the data. @return whether the fields are complete */
static int packet_split_fields(ws_packet *p)
{
    const unsigned char *at = (const unsigned char *)p->data;
    apr_uint64_t len = p->len < 2 ? 0 : packet_get(&at, 2);
    if (!len || len > WS_FIELDS_MAX || p->len - 2 < len) {
        return 0;
    }
    p->kind = WS_PACKET_MESSAGE;
    p->fields = at;
    p->fields_len = (unsigned)len;
    p->data = (const char *)at + len;
    p->len -= 2 + len;
    return 1;
}

apr_size_t ws_packet_decode(ws_packet *p, const void *bytes, apr_size_t len)
{
    const unsigned char *at = bytes;
    apr_uint64_t version, size;

    memset(p, 0, sizeof(*p));
    if (len < 8) {
        return 0;
    }
    version = packet_get(&at, 1);
    p->kind = (ws_packet_kind)packet_get(&at, 1);
    p->type = (ws_type)packet_get(&at, 1);
    p->flags = (unsigned)packet_get(&at, 1);
    size = packet_get(&at, 4);
    if (size < 8 || size > len) {
        return 0;
    }
    if (version != WS_PACKET_VERSION) {
        p->kind = (ws_packet_kind)0;
        return size;
    }
    if (size < WS_PACKET_HEAD) {
        return 0;
    }
    p->from.server = packet_get(&at, 8);
    p->from.process = (apr_uint32_t)packet_get(&at, 4);
    p->request = (apr_uint32_t)packet_get(&at, 4);
    p->id = packet_get(&at, 8);
    p->position.epoch = packet_get(&at, 8);
    p->position.offset = packet_get(&at, 8);
    p->channel_len = (unsigned)packet_get(&at, 1);
    if (size < WS_PACKET_HEAD + p->channel_len) {
        return 0;
    }
    p->channel = (const char *)at;
    p->data = p->channel + p->channel_len;
    p->len = size - WS_PACKET_HEAD - p->channel_len;
    if ((p->kind == WS_PACKET_FIELDS && !packet_split_fields(p)) || !packet_makes_sense(p)) {
        p->kind = (ws_packet_kind)0;
    }
    return size;
}
