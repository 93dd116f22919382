/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Objects of channel.v1.json. */

#ifndef WS_HANDLERS_CHANNEL_JSON_H
#define WS_HANDLERS_CHANNEL_JSON_H

#include "mod_websocket.h"

#include <cjson/cJSON.h>

/** An object with a type, and a channel if that is not NULL. */
cJSON *json_answer(const char *type, const char *channel);

cJSON *json_error(const char *channel, const char *error);

/** Where there is one. */
void json_position(cJSON *o, ws_position p);

/** Text as it is; in base64 what JSON or cJSON cannot carry: bytes, and text with a NUL. */
void json_data(cJSON *o, ws_type type, const char *data, apr_size_t len);

/** @param user  or NULL */
void json_member(cJSON *o, ws_id id, const char *user, const char *data, apr_size_t len);

/** Takes over the object. @param number  the request's id, or NULL
 *  @return its text, to be freed by cJSON_free(), or NULL */
char *json_print(cJSON *o, const cJSON *number);

/** What a client is told of a failure. */
const char *status_words(ws_status s);

#endif
