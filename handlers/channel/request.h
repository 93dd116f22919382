/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Handles clients' requests that are answered later. */

#ifndef WS_HANDLERS_CHANNEL_REQUEST_H
#define WS_HANDLERS_CHANNEL_REQUEST_H

#include "../reading.h"
#include "json.h"

#define PROTOCOL "channel.v1.json"

/* The state of a connection. */
typedef struct client {
    reading reading; /* must be first */
    /* The subscription in progress, which WS_EVENT_LIVE completes. Only one is in progress at a
     * time. */
    char *subscribing; /* channel of that subscription, or NULL */
    cJSON *number;     /* id of the request, or NULL */
} client;

/* A pending request. Its result arrives on any thread, but the reply is sent in a callback of the
 * connection. */
typedef struct request {
    ws_id id;
    int json, alone;
    cJSON *number;
    char *text; /* the reply; NULL: no reply is sent */
    char channel[WS_CHANNEL_MAX + 1];
} request;

int channel_speaks_json(const ws_conn *c);

/**
 * Create a request.
 * @param alone  1: read no further requests until this one is answered
 * @return NULL: out of memory
 */
request *channel_request_new(ws_conn *c, const char *channel, const cJSON *number, int alone);

void channel_request_free(request *q);

/** Finish a request that has failed or been answered.  [callback] @param c  NULL: the connection
 *  has ended */
void channel_request_end(ws_conn *c, request *q);

/** Send q->text, then end the request.  [any thread] */
void channel_answer_later(request *q);

#endif
