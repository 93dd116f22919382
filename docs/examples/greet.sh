#!/bin/sh
# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0
#
# The server starts this program for each connection. Each line of its input is a message from the client, and each line of its
# output is a message to the client.
#
#     WebSocketHandler ws_exec.so command=/path/to/greet.sh

echo "Welcome, ${REMOTE_USER:-stranger from $REMOTE_ADDR}. Who is it to be?"
while read -r name; do
    [ "$name" != bye ] || break
    echo "Hello, $name."
done
echo 'Good bye.'
