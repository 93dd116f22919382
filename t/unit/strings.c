/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A connection packs the strings of its handshake into one block, and finds them again. */

#include <stdlib.h>

#include "engine/conn.h"
#include "t/unit/tap.h"

static char *packed(const ws_strings *s)
{
    char *block = malloc(ws_strings_size(s));
    ws_strings_pack(block, s);
    return block;
}

int main(void)
{
    /* One name is the beginning of another, one value equals a name, and some values are empty. */
    const char *const headers[] = {"Cookie", "a=b; c=d", "X", "",        "X-Empty", "",  "X-Name",
                                   "Host",   "Host",     "h", "X-Name-", "last",    NULL};
    ws_strings all = {"/uri", "a=1&b=2", "user", "192.0.2.1", "chat", headers};
    ws_strings few = {.uri = "/"};
    ws_strings blank = {"", "", "", "", "", NULL};
    ws_settings settings = {.vhost = "example.org"};
    ws_conn c = {.strings = packed(&all), .settings = &settings, .version = 8, .secure = 1};

    is_str(ws_uri(&c), "/uri", "uri");
    is_str(ws_args(&c), "a=1&b=2", "args");
    is_str(ws_user(&c), "user", "user");
    is_str(ws_peer(&c), "192.0.2.1", "peer");
    is_str(ws_protocol(&c), "chat", "protocol");
    is_str(ws_header(&c, "Cookie"), "a=b; c=d", "a header is found");
    is_str(ws_header(&c, "COOKIE"), "a=b; c=d", "a header is found in any case");
    is_str(ws_header(&c, "X"), "", "an empty header is found");
    is_str(ws_header(&c, "X-Empty"), "", "another");
    is_str(ws_header(&c, "X-Name"), "Host", "a value that looks like a name is returned");
    is_str(ws_header(&c, "host"), "h", "a value that looks like a name is not found as a name");
    is_str(ws_header(&c, "X-Name-"), "last", "the last header is found");
    is_str(ws_header(&c, "Cooki"), NULL, "a header that was not kept is not found");
    is_str(ws_header(&c, ""), NULL, "an empty name is not found");
    is_str(ws_vhost(&c), "example.org", "vhost");
    is_int(ws_version(&c), 8, "version");
    is_int(ws_secure(&c), 1, "secure");
    free(c.strings);

    c.strings = packed(&few);
    is_str(ws_uri(&c), "/", "a connection with only a URI has it");
    is_str(ws_args(&c), NULL, "a connection with only a URI has no arguments");
    is_str(ws_user(&c), NULL, "a connection with only a URI has no user");
    is_str(ws_peer(&c), NULL, "a connection with only a URI has no peer");
    is_str(ws_protocol(&c), NULL, "a connection with only a URI has no subprotocol");
    is_str(ws_header(&c, "Cookie"), NULL, "a connection with only a URI has no headers");
    free(c.strings);

    c.strings = packed(&blank);
    is_str(ws_args(&c), "", "empty arguments are not NULL");
    is_str(ws_protocol(&c), "", "an empty subprotocol is not NULL");
    free(c.strings);
    return done_testing();
}
