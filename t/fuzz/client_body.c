/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target reads the body of an answer that refuses a handshake. on_response is called exactly
 *  once, with at most max_body bytes. */

#include "t/fuzz/connector.h"

enum { BODY = 300, HEAD = 100 };

static unsigned responses;

static void on_response(void *data, const ws_response *response)
{
    (void)data;
    responses++;
    MUST(response->body_len <= BODY);
    free(copy_of(response->body, response->body_len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const lengths[] = {NULL, "0", "5", "300", "301", "18446744073709551615",
                                          "-1", "x"};
    unsigned how = take_byte(&data, &len), status = take_byte(&data, &len);
    ws_connector *t = connector_new(data, len, how);

    t->o.on_response = on_response;
    t->o.max_body = how & 64 ? 0 : BODY;
    t->o.max_answer = HEAD;
    t->stage = how & 128 ? WS_AT_PROXY : WS_AT_ANSWER;
    t->answer.status = 200 + (int)status;
    t->answer.reason = "";
    if (how & 1) {
        t->answer.lines[t->answer.count].name = "Transfer-Encoding";
        t->answer.lines[t->answer.count++].value = how & 2 ? "chunked" : "gzip";
    }
    if (lengths[how >> 3 & 7]) {
        t->answer.lines[t->answer.count].name = "Content-Length";
        t->answer.lines[t->answer.count++].value = lengths[how >> 3 & 7];
    }
    t->in = malloc(1);
    t->in_max = HEAD;
    if (how & 4) { /* the first bytes of the body arrived together with the head */
        ws_connector_receive(t);
    }
    responses = 0;
    ws_connector_refused(t);
    MUST(responses == 1 && peer.failed == 1);
    connector_free(t);
    return 0;
}
