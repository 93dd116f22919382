/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Handles clients' requests that are answered later, possibly by another thread. */

#include "request.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

int channel_speaks_json(const ws_conn *c)
{
    const char *protocol = ws_protocol(c);
    return protocol && !strcmp(protocol, PROTOCOL);
}

request *channel_request_new(ws_conn *c, const char *channel, const cJSON *number, int alone)
{
    request *q = calloc(1, sizeof(*q));
    client *me = ws_data(c);
    if (q) {
        q->id = ws_conn_id(c);
        q->json = channel_speaks_json(c);
        q->alone = alone;
        q->number = number ? cJSON_Duplicate(number, 0) : NULL;
        apr_cpystrn(q->channel, channel, sizeof(q->channel));
        reading_expect(&me->reading, alone);
    }
    return q;
}

void channel_request_free(request *q)
{
    cJSON_Delete(q->number);
    cJSON_free(q->text);
    free(q);
}

/* Finish a request that has failed or been answered. */
void channel_request_end(ws_conn *c, request *q)
{
    client *me = c ? ws_data(c) : NULL;
    if (me && q) {
        reading_answered(&me->reading, q->alone);
    }
    if (q) {
        channel_request_free(q);
    }
}

static void channel_send_answer(ws_conn *c, void *arg)
{
    request *q = arg;
    if (c && q->text) {
        ws_send(c, WS_TEXT, q->text, strlen(q->text));
    }
    channel_request_end(c, q);
    if (c && ws_data(c)) {
        reading_settle(c, ws_data(c));
    }
}

void channel_answer_later(request *q)
{
    if (ws_run(q->id, channel_send_answer, q) != WS_QUEUED) {
        channel_request_free(q);
    }
}
