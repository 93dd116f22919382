/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The format of bus packets: each has a version, a length, and fields in network byte order, so
 * that different releases of the module and different machines can communicate.
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
 *     24      8     id: the connection to skip, the receiver, or the member
 *     32      16    position: epoch, offset
 *     48      1     length of the channel's name
 *     49            the name; for WS_PACKET_FIELDS the length of the fields (2 bytes) and the
 *                   fields; then the data
 *
 * A reader skips packets of versions and kinds that it does not know.
 */

#ifndef WS_CHANNELS_PACKET_H
#define WS_CHANNELS_PACKET_H

#include "channels/message.h"

#define WS_PACKET_HEAD 49
/** Maximum length of a name in a packet, bytes: a channel's name, or the key of a location. A key
 *  may be longer than a channel's name and may contain other bytes. */
#define WS_PACKET_NAME_MAX 255
#define WS_PACKET_HEAD_MAX (WS_PACKET_HEAD + WS_PACKET_NAME_MAX + 2 + WS_FIELDS_MAX)
#define WS_PACKET_VERSION 1

/** The kinds of packets. The comments name the members of ws_packet that a kind uses. */
typedef enum {
    WS_PACKET_MESSAGE = 1, /**< a published message; id: connection to skip */
    WS_PACKET_LEAVE = 3,   /**< a member has left; id: its connection */
    WS_PACKET_WHO = 4,     /**< asks for the receiver's members; request: number of the question */
    WS_PACKET_SEND = 6,    /**< a message for one connection; id: that connection */
    WS_PACKET_BROADCAST = 7, /**< a message for the connections of a location; channel: key of the
                                  location; id: connection to skip */
    WS_PACKET_MISSED = 8,    /**< packets for the receiver were lost; data: their number, as text */
    WS_PACKET_JOIN = 9,      /**< a member has joined; id, data: see ws_member_split() */
    WS_PACKET_HERE = 10,     /**< the answer to WHO, in one packet or several: see presence.c */
    WS_PACKET_ASK = 11,      /**< a question to a process; request: its number; flags: its kind */
    WS_PACKET_ANSWER = 12, /**< the answer to ASK; request: number of the question; flags: status of
                                  the answer */
    WS_PACKET_FIELDS = 13, /**< encoding of a MESSAGE with fields; ws_packet.kind is MESSAGE */
    WS_PACKET_LIST = 14,   /**< asks for channels with subscribers; request: number of the question;
                               data: see listing.c */
    WS_PACKET_LISTED = 15  /**< the answer to LIST, in one packet or several */
    /* 2 and 5 are reserved: an older format used them for members without users. */
} ws_packet_kind;

/** Flag in WS_PACKET_HERE and WS_PACKET_LISTED: the last packet of the answer. */
#define WS_PACKET_LAST 0x1u
/** Flag for publish: the bus must not refuse the packet, because a receiver can recover from a
 *  loss. A message with this flag is in a history, or is a copy for a wildcard. */
#define WS_PACKET_STORED 0x2u

/** Identifies a process on any bus. */
typedef struct ws_node {
    apr_uint64_t server;  /**< ws_server() */
    apr_uint32_t process; /**< the process number in its connections' ids; 16 bits */
} ws_node;

typedef struct ws_packet {
    ws_packet_kind kind;
    ws_type type;
    unsigned flags;
    ws_node from;
    apr_uint32_t request;
    ws_id id;
    ws_position position;
    const char *channel;         /**< not NUL-terminated in a decoded packet */
    unsigned channel_len;        /**< at most WS_PACKET_NAME_MAX */
    apr_uint64_t hash;           /**< hash of the name; not set by ws_packet_decode() */
    const unsigned char *fields; /**< fields of a message, see ws_fields_encode() */
    unsigned fields_len;
    const char *data;
    apr_size_t len;
} ws_packet;

/** Whether the packet is for all processes, regardless of their subscriptions. */
static inline int ws_packet_is_for_all(const ws_packet *p)
{
    return p->kind == WS_PACKET_BROADCAST || p->kind == WS_PACKET_LIST;
}

/** Size of an encoded packet, bytes. */
static inline apr_size_t ws_packet_size(const ws_packet *p)
{
    return WS_PACKET_HEAD + p->channel_len + (p->fields_len ? 2 + p->fields_len : 0) + p->len;
}

/** Encode the part before the data: the head, the channel's name and the fields.
 *  @return its size, bytes */
WS_API apr_size_t ws_packet_head(const ws_packet *p, unsigned char out[static WS_PACKET_HEAD_MAX]);

/**
 * Decode the first packet of a buffer. The packet points into the buffer.
 * @return its size, bytes; 0: the packet is incomplete or malformed. If p->kind is
 *         0, the caller must skip the packet, because its version or kind is unknown, or its
 *         contents are invalid for its kind. Otherwise the channel's name and the texts have been
 *         checked
 */
WS_API apr_size_t ws_packet_decode(ws_packet *p, const void *bytes, apr_size_t len);

#endif
