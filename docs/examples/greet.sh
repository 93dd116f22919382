#!/bin/sh
# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0
#
# One of these runs for each connection. Each line of input is a message, each line of output another.
#
#     WebSocketHandler ws_exec.so command=/path/to/greet.sh

echo "Welcome, ${REMOTE_USER:-stranger from $REMOTE_ADDR}. Who is it to be?"
while read -r name; do
    [ "$name" != bye ] || break
    echo "Hello, $name."
done
echo 'Good bye.'
