/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Creates JSON objects of the subprotocol channel.v1.json. */

#ifndef WS_HANDLERS_CHANNEL_JSON_H
#define WS_HANDLERS_CHANNEL_JSON_H

#include "mod_websocket.h"

#include <cjson/cJSON.h>

/** Create an object with a type, and with a channel if `channel` is not NULL. */
cJSON *json_answer(const char *type, const char *channel);

cJSON *json_error(const char *channel, const char *error);

/** Add a position if it is not empty. */
void json_position(cJSON *o, ws_position p);

/** Add data. Text is added unchanged. Bytes are added in base64, and so is text with a NUL, which
 *  cJSON cannot hold. */
void json_data(cJSON *o, ws_type type, const char *data, apr_size_t len);

/** Add the parts of a message that are set: data, event, key, wildcard and position. */
void json_message(cJSON *o, const ws_event *e);

/** Create an object for an event of a channel. */
cJSON *json_event(const ws_event *e);

/** Check the types of a request's members. @return NULL, or an error text that names a member */
const char *json_wrong_member(const cJSON *o);

/** Read a whole number of at least 1. @return whether it is valid */
int json_count(const cJSON *value, apr_uint32_t *n);

/**
 * Read the content of a publication. A string is text; other values become JSON text. With
 * "encoding":"base64", the string is decoded to bytes.
 * @param data  set to the content, which the caller frees
 * @return 0: the string is not base64, or out of memory
 */
int json_bytes(const cJSON *o, ws_type *type, char **data, apr_size_t *len);

/** Add a member. @param user  the member's user name, or NULL */
void json_member(cJSON *o, ws_id id, const char *user, const char *data, apr_size_t len);

/**
 * Print and free an object.
 * @param number  the request's id, or NULL
 * @return the text, which the caller frees with cJSON_free(); NULL: out of memory
 */
char *json_print(cJSON *o, const cJSON *number);

/** Get the error text for a client. */
const char *status_words(ws_status s);

#endif
