/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A message on a channel. Its frame is built once. All deliveries share the message, which is
 *  reference-counted. */

#ifndef WS_CHANNELS_MESSAGE_H
#define WS_CHANNELS_MESSAGE_H

#include <apr_time.h>

#include "engine/services.h"
#include "include/mod_websocket.h"

/** Size of a message's id digest, bytes. */
#define WS_MESSAGE_ID 16

/** Maximum length of a key or an event name, bytes. */
#define WS_FIELD_MAX WS_PUBLISH_FIELD_MAX

/** Optional fields that a publisher adds to a message. Texts are NUL-terminated UTF-8 without
 *  control characters; NULL: none. */
typedef struct ws_message_fields {
    apr_time_t expires; /**< when delivery stops, microseconds since 1970; 0: never */
    const char *event;  /**< name of the event, for EventSource */
    const char *key;    /**< see ws_send_keyed() */
    const char *source; /**< if `channel` is a wildcard, the channel of the publication */
} ws_message_fields;

/** Maximum size of the encoded fields, bytes. */
#define WS_FIELDS_MAX (8 + 3 * (1 + WS_FIELD_MAX))

/** A message is immutable once it has been handed to a bus or a loop. Before that, its publisher or
 *  its history sets position. */
typedef struct ws_message {
    apr_uint32_t refs; /**< atomic */
    ws_type type;
    const char *data; /**< payload; points into frames */
    apr_size_t len;
    ws_frames *frames;               /**< one complete frame */
    ws_position position;            /**< epoch 0: none */
    apr_uint64_t server;             /**< server of the publisher */
    ws_id except;                    /**< a connection of that server to skip, or 0 */
    apr_uint64_t hash;               /**< hash of the channel's name */
    apr_uint32_t fate;               /**< atomic: see ws_message_take() */
    int once;                        /**< 1: the message has an id, so publish it only once */
    unsigned char id[WS_MESSAGE_ID]; /**< digest of the id and the channel's name */
    apr_uint64_t number;             /**< serial number in this process; used if `once` is set */
    ws_message_fields fields;        /**< texts are stored after the channel's name */
    const char *user;                /**< the member's user in a member event; otherwise NULL */
    ws_id publisher;                 /**< the connection whose callback publishes it, or 0 */
    char *by;                        /**< the publisher's user; malloc'ed; or NULL */
    int trusted;                     /**< published by the application, so do not ask it */
    unsigned channel_len;
    char channel[]; /**< NUL-terminated */
} ws_message;

/** Create a message. The caller has checked the channel's name. @return one reference; NULL: out of
 *  memory */
WS_API ws_message *ws_message_new(const char *channel, ws_type type, const char *data,
                                  apr_size_t len);
/** Like ws_message_new(), with fields, which the caller has checked and which are copied.
 *  @param fields  NULL: none */
WS_API ws_message *ws_message_new_with(const char *channel, ws_type type, const char *data,
                                       apr_size_t len, const ws_message_fields *fields);

/** Whether a text is a valid field: 1 to WS_FIELD_MAX bytes of UTF-8, without control
 *  characters. */
WS_API int ws_field_valid(const char *text);

/** Encode the fields. @return the size in bytes; 0: no fields are set */
WS_API apr_size_t ws_fields_encode(const ws_message_fields *fields,
                                   unsigned char out[static WS_FIELDS_MAX]);

/** Storage for decoded fields' text. */
typedef struct ws_fields_buffer {
    char event[WS_FIELD_MAX + 1], key[WS_FIELD_MAX + 1], source[WS_FIELD_MAX + 1];
} ws_fields_buffer;

/** Decode and check the output of ws_fields_encode(). The fields point into the buffer.
 *  @return whether the encoding is valid. A length of 0 is valid: no fields */
WS_API int ws_fields_decode(ws_message_fields *fields, const void *bytes, apr_size_t len,
                            ws_fields_buffer *buffer);

/** Whether the message has expired. */
static inline int ws_message_expired(const ws_message *m)
{
    return m->fields.expires && m->fields.expires <= apr_time_now();
}

WS_API ws_message *ws_message_ref(ws_message *m);
WS_API void ws_message_unref(ws_message *m);

/** A store calls this immediately before it stores a message. It may call it more than once.
 *  @return 0: the publisher has withdrawn the message, which must not be stored */
WS_API int ws_message_take(ws_message *m);

/** Withdraw a message. @return 1: it will not be stored or published; 0: it has already been taken
 *  [any thread] */
WS_API int ws_message_withdraw(ws_message *m);

/** Estimate the memory that a queued message takes, bytes. */
static inline apr_size_t ws_message_cost(const ws_message *m)
{
    return sizeof(*m) + sizeof(*m->frames) + m->channel_len + m->len + 64;
}

/** Hash of a channel's name, keyed per httpd; never 0.  [any thread] */
WS_API apr_uint64_t ws_channel_hash(const char *channel, apr_size_t len);

/** Whether type and payload are valid: the type is text or binary, and text is UTF-8. */
WS_API int ws_message_valid(ws_type type, const char *data, apr_size_t len);

/** Whether a member's data are valid: UTF-8 of at most WS_MEMBER_MAX bytes. */
WS_API int ws_member_valid(const char *data, apr_size_t len);

/** Maximum length of a user name in member events, bytes. */
#define WS_USER_MAX 255

/** Maximum size of an encoded member, bytes: its data, a NUL, and its user, which may be empty. */
#define WS_MEMBER_WHOLE (WS_MEMBER_MAX + 1 + WS_USER_MAX)

/** Split an encoded member. @param data_len  set to the length of its data
 *  @return the user, which extends to the end of `whole`; NULL: the encoding is invalid */
WS_API const char *ws_member_split(const char *whole, apr_size_t len, apr_size_t *data_len);

/** Create the message for a member event, from an encoded member. Like ws_message_new(). */
ws_message *ws_message_about(const char *channel, const char *whole, apr_size_t len);

/** Whether a text is a wildcard: a channel's name followed by a slash and a star. */
WS_API int ws_wildcard_valid(const char *text, apr_size_t len);

/** Whether a pattern, for apr_fnmatch() without flags, can match a channel's name. */
WS_API int ws_channel_pattern_valid(const char *pattern);

/** Whether a pattern never applies after an earlier one, which is the same or matches every name. */
WS_API int ws_channel_pattern_hidden(const char *pattern, const char *earlier);

/** The error text for a pattern for which ws_channel_pattern_valid() returns 0. */
#define WS_CHANNEL_PATTERN                                                                         \
    "takes a pattern of channels' names, as news/*, of at most 200 of A-Z a-z 0-9 - _ . ~ : / @ "  \
    "+ "                                                                                           \
    "= ! * ? [a-z]"

/** Like ws_channel_valid(), for a name that is not NUL-terminated. */
WS_API int ws_channel_valid_len(const char *channel, apr_size_t len);

#endif
