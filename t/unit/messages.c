/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Messages through a real engine: every cut, every size. */

#include "t/unit/rig.h"

static const ws_handler echo = {ECHO_RECORDER};

static void echoes(rig *r)
{
    wire w = rig_join(r, "a");
    told_is("a", "open", "on_open");
    wire_text(&w, "hello");
    told_is("a", "text \"hello\"", "the handler gets the message");
    wire_next_is(&w, "text \"hello\"", "the client gets the handler's answer");
    wire_close(&w, 1000, "bye");
    wire_next_is(&w, "close 1000", "Close is answered");
    wire_next_is(&w, "eof", "and the server closes first");
    told_is("a", "close 1000 \"bye\"", "on_close has the peer's code and reason");
    wire_free(&w);
}

int main(void)
{
    rig r = {0};
    rig_start(&r, &echo, 1);
    echoes(&r);
    rig_stop(&r);
    return done_testing();
}
