#!/usr/bin/python3
# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

"""Counts the bytes of what a client sends, of any kind: messages stand behind their length.

    WebSocketHandler ws_exec.so command=/path/to/tally.py framing=length type=binary
"""

import struct
import sys


def messages(stream):
    while len(head := stream.read(4)) == 4:
        yield stream.read(struct.unpack(">I", head)[0])


def send(stream, data):
    stream.write(struct.pack(">I", len(data)) + data)
    stream.flush()  # or it waits until there are 8 KiB


total = 0
for message in messages(sys.stdin.buffer):
    total += len(message)
    send(sys.stdout.buffer, b"%d bytes, %d in all" % (len(message), total))
