/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** This target reads the answers of a SOCKS5 proxy. The attempt to connect either fails or
 *  continues, and then no byte of the answers is unread. */

#include "t/fuzz/connector.h"

int ws_connector_send(ws_connector *t, const char *who)
{
    (void)who;
    free(copy_of(t->out, t->out_len));
    MUST(t->out_len >= 3 && t->out_len <= 513);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static char long_name[257];
    static const char *const hosts[] = {"example.com", "127.0.0.1", "::1", long_name};
    unsigned how = take_byte(&data, &len);
    ws_connector *t = connector_new(data, len, how >> 4);

    memset(long_name, 'x', how & 8 ? 255 : 256);
    long_name[how & 8 ? 255 : 256] = 0;
    t->o.max_answer = 400;
    t->url.host = hosts[how & 3];
    t->url.port = 443;
    t->proxy.user = how & 4 ? (how & 8 ? "user" : long_name) : NULL;
    t->proxy.password = how & 4 ? "" : NULL;
    t->stage = WS_AT_PROXY;
    if (ws_connector_ask_socks(t)) {
        MUST(!peer.failed && t->in_len >= 7 && t->in[0] == 5 && t->in[1] == 0);
    }
    else {
        MUST(peer.failed == 1);
    }
    connector_free(t);
    return 0;
}
