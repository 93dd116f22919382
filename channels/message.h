/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A message on a channel: framed once, counted, shared by all who deliver it. */

#ifndef WS_CHANNELS_MESSAGE_H
#define WS_CHANNELS_MESSAGE_H

#include <apr_time.h>

#include "engine/send_queue.h"
#include "include/mod_websocket.h"

/** Bytes. */
#define WS_MESSAGE_ID 16

/** Greatest length of a key or event's name, bytes. */
#define WS_FIELD_MAX WS_PUBLISH_FIELD_MAX

/** What a publisher can add to a message. Texts are NUL-terminated UTF-8 without control characters; NULL:
 *  none. */
typedef struct ws_message_fields {
    apr_time_t expires; /**< after that it is not delivered, microseconds since 1970; 0: never */
    const char *event;  /**< name of the event, for EventSource */
    const char *key;    /**< what the message is about, see ws_send_keyed() */
    const char *source; /**< the channel it was published to, where `channel` is a wildcard */
} ws_message_fields;

/** Largest encoding of the fields, bytes. */
#define WS_FIELDS_MAX (8 + 3 * (1 + WS_FIELD_MAX))

/** Nothing of it changes once it is on its way; before, its publisher or its history sets position. */
typedef struct ws_message {
    apr_uint32_t refs; /**< atomic */
    ws_type type;
    const char *data; /**< inside frames */
    apr_size_t len;
    ws_frames *frames;               /**< a whole frame */
    ws_position position;            /**< epoch 0: none */
    apr_uint64_t server;             /**< httpd of the publisher */
    ws_id except;                    /**< a connection of that server that does not get it, or 0 */
    apr_uint64_t hash;               /**< of the channel's name */
    apr_uint32_t fate;               /**< atomic: see ws_message_take() */
    int once;                        /**< it has an id by which it is published once: */
    unsigned char id[WS_MESSAGE_ID]; /**< digest of that and of the channel's name */
    apr_uint64_t number;             /**< with `once`: of the message in this process */
    ws_message_fields fields;        /**< point behind the channel's name */
    const char *user;                /**< of the member that it is about, NUL-terminated; or NULL */
    ws_id publisher;                 /**< the connection whose callback publishes it, or 0 */
    char *by;                        /**< its user, or that of the request; malloc'ed; or NULL */
    int trusted;                     /**< the application itself publishes it, and is not asked */
    unsigned channel_len;
    char channel[]; /**< NUL-terminated */
} ws_message;

/** One reference; NULL when there is no memory. The channel's name is valid. */
WS_API ws_message *ws_message_new(const char *channel, ws_type type, const char *data,
                                  apr_size_t len);
/** The same with fields, which are copied; they have been checked. @param fields  or NULL */
WS_API ws_message *ws_message_new_with(const char *channel, ws_type type, const char *data,
                                       apr_size_t len, const ws_message_fields *fields);

/** Whether a text can be a field: 1 to WS_FIELD_MAX bytes of UTF-8, without control characters. */
WS_API int ws_field_valid(const char *text);

/** Encode the fields. @return how many bytes; 0: there are none */
WS_API apr_size_t ws_fields_encode(const ws_message_fields *fields,
                                   unsigned char out[static WS_FIELDS_MAX]);

/** Space for the texts of decoded fields. */
typedef struct ws_fields_buffer {
    char event[WS_FIELD_MAX + 1], key[WS_FIELD_MAX + 1], source[WS_FIELD_MAX + 1];
} ws_fields_buffer;

/** Decode what ws_fields_encode() has made, and check it. The fields point into the buffer.
 *  @return whether it is valid; no bytes are valid: no fields */
WS_API int ws_fields_decode(ws_message_fields *fields, const void *bytes, apr_size_t len,
                            ws_fields_buffer *buffer);

/** Whether its time is over. */
static inline int ws_message_expired(const ws_message *m)
{
    return m->fields.expires && m->fields.expires <= apr_time_now();
}

WS_API ws_message *ws_message_ref(ws_message *m);
WS_API void ws_message_unref(ws_message *m);

/** A store takes a message right before it can be kept. @return 0: it has been withdrawn, and must not be.
 *  May be called again. */
WS_API int ws_message_take(ws_message *m);

/** @return 1: it has not been taken, and will not be kept or published. 0: that is too late  [any] */
WS_API int ws_message_withdraw(ws_message *m);

/** What a message costs while it waits, bytes. */
static inline apr_size_t ws_message_cost(const ws_message *m)
{
    return sizeof(*m) + sizeof(*m->frames) + m->channel_len + m->len + 64;
}

/** Hash of a channel's name, by the key of this httpd; never 0.  [any thread] */
WS_API apr_uint64_t ws_channel_hash(const char *channel, apr_size_t len);

/** Whether this can be a message: its type is one, and text is UTF-8. */
WS_API int ws_message_valid(ws_type type, const char *data, apr_size_t len);

/** Whether this can be known of a member: UTF-8 of at most WS_MEMBER_MAX bytes. */
WS_API int ws_member_valid(const char *data, apr_size_t len);

/** Greatest length of a user's name that others are told, bytes. */
#define WS_USER_MAX 255

/** All that is known of a member, as it travels: its data, a NUL, and its user, or nothing. */
#define WS_MEMBER_WHOLE (WS_MEMBER_MAX + 1 + WS_USER_MAX)

/** @return the user, which ends with the whole; NULL: this is none of a member */
WS_API const char *ws_member_split(const char *whole, apr_size_t len, apr_size_t *data_len);

/** A message that tells of a member: with its data, and its user. As ws_message_new(). */
ws_message *ws_message_about(const char *channel, const char *whole, apr_size_t len);

/** Whether a text is a wildcard: a channel's name, and behind it a slash and a star. */
WS_API int ws_wildcard_valid(const char *text, apr_size_t len);

/** As ws_channel_valid(). */
WS_API int ws_channel_valid_len(const char *channel, apr_size_t len);

#endif
