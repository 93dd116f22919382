/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What travels on a bus, as bytes: one packet after another, each with a version, a length, and fields in
 * network order, so that two releases of the module and two machines understand each other.
 *
 *     offset  bytes
 *     0       1     version, 1
 *     1       1     kind
 *     2       1     type: 1 text, 2 binary, 0 none
 *     3       1     flags
 *     4       4     length of the whole packet
 *     8       8     server of the sender
 *     16      4     process of the sender
 *     20      4     number of a question
 *     24      8     id: whom it is not for, or is for, or is about
 *     32      16    position: epoch, offset
 *     48      1     length of the channel's name
 *     49            the name; for WS_PACKET_FIELDS two bytes with a length, and so many bytes of fields; then
 *                   the data
 *
 * A reader skips packets of versions and kinds that it does not know.
 */

#ifndef WS_CHANNELS_PACKET_H
#define WS_CHANNELS_PACKET_H

#include "channels/message.h"

#define WS_PACKET_HEAD 49
/** A name in a packet: a channel's, or the key of a location, which has other bytes and may be longer. */
#define WS_PACKET_NAME_MAX 255
#define WS_PACKET_HEAD_MAX (WS_PACKET_HEAD + WS_PACKET_NAME_MAX + 2 + WS_FIELDS_MAX)
#define WS_PACKET_VERSION 1

typedef enum {
    WS_PACKET_MESSAGE = 1,   /**< published; id: except */
    WS_PACKET_LEAVE = 3,     /**< a member has gone; id: whose */
    WS_PACKET_WHO = 4,       /**< who are your members? request */
    WS_PACKET_SEND = 6,      /**< to a connection; id: which */
    WS_PACKET_BROADCAST = 7, /**< to a location; channel: its key; id: except */
    WS_PACKET_MISSED = 8,    /**< packets for you were lost; data: how many, as text */
    WS_PACKET_JOIN = 9,      /**< a member has come; id: whose; data: see ws_member_split() */
    WS_PACKET_HERE = 10,     /**< the answer to WHO, in one packet or several: see presence.c */
    WS_PACKET_ASK = 11,      /**< a question to a process; request; flags: its kind */
    WS_PACKET_ANSWER = 12,   /**< the answer to ASK; request; flags: its status */
    WS_PACKET_FIELDS = 13, /**< a MESSAGE with fields: how it travels; ws_packet.kind is MESSAGE */
    WS_PACKET_LIST = 14,   /**< which channels have subscribers? request; data: see listing.c */
    WS_PACKET_LISTED = 15  /**< the answer, in one packet or several */
    /* 2 and 5 were those of members without users. */
} ws_packet_kind;

/** WS_PACKET_HERE, WS_PACKET_LISTED: the last of them. */
#define WS_PACKET_LAST 0x1u
/** WS_PACKET_MESSAGE: a history has it, so that it must not be refused. */
#define WS_PACKET_STORED 0x2u

/** A process among all that buses connect. */
typedef struct ws_node {
    apr_uint64_t server;  /**< ws_server() */
    apr_uint32_t process; /**< the number in its ids; 16 bits */
} ws_node;

typedef struct ws_packet {
    ws_packet_kind kind;
    ws_type type;
    unsigned flags;
    ws_node from;
    apr_uint32_t request;
    ws_id id;
    ws_position position;
    const char *channel;         /**< not NUL-terminated when it has been decoded */
    unsigned channel_len;        /**< at most WS_PACKET_NAME_MAX */
    apr_uint64_t hash;           /**< of the name; ws_packet_decode() does not set it */
    const unsigned char *fields; /**< of a message, see ws_fields_encode() */
    unsigned fields_len;
    const char *data;
    apr_size_t len;
} ws_packet;

/** Whether it is for all processes, whatever they are subscribed to. */
static inline int ws_packet_is_for_all(const ws_packet *p)
{
    return p->kind == WS_PACKET_BROADCAST || p->kind == WS_PACKET_LIST;
}

/** Bytes that a packet takes. */
static inline apr_size_t ws_packet_size(const ws_packet *p)
{
    return WS_PACKET_HEAD + p->channel_len + (p->fields_len ? 2 + p->fields_len : 0) + p->len;
}

/** Write all that stands before the data: the head, the channel's name and the fields. @return how many bytes */
WS_API apr_size_t ws_packet_head(const ws_packet *p, unsigned char out[static WS_PACKET_HEAD_MAX]);

/**
 * Read a packet from the front of what has come. It points into the bytes.
 * @return how many bytes it takes; p->kind is 0 if it is one of a version or kind that is to be skipped, or
 *         cannot be what its kind says: names of channels and text have been checked in those that are
 *         not. 0: there is no whole packet, or it is broken
 */
WS_API apr_size_t ws_packet_decode(ws_packet *p, const void *bytes, apr_size_t len);

#endif
