#!/usr/bin/python3
# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

"""Answers each message with its size and the total size of all messages. Input and output have the length of a message, in four
bytes, before each message.

    WebSocketHandler ws_exec.so command=/path/to/tally.py framing=length type=binary
"""

import struct
import sys


def messages(stream):
    while len(head := stream.read(4)) == 4:
        yield stream.read(struct.unpack(">I", head)[0])


def send(stream, data):
    stream.write(struct.pack(">I", len(data)) + data)
    stream.flush()  # otherwise, Python waits for 8 KiB


total = 0
for message in messages(sys.stdin.buffer):
    total += len(message)
    send(sys.stdout.buffer, b"%d bytes, %d in all" % (len(message), total))
