# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

"""
Tests WebSockets over HTTP/2 without TLS with Debian's python3-h2: python-h2.py PORT. Prints "ok NAME" or "not ok NAME"
for each test, and "done".
"""

import os
import socket
import struct
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings

port = int(sys.argv[1])
TEXT, BINARY, CLOSE = 1, 2, 8


def check(right, name):
    print("ok" if right else "not ok", name)


class Connection:
    """An HTTP/2 connection, which stores the received data of each stream."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=int(os.environ.get("WS_TEST_DEADLINE", 60)))
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()
        self.data, self.status, self.ended, self.extended = {}, {}, set(), False
        while not self.extended:
            self.read()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def read(self):
        received = self.socket.recv(65536)
        if not received:
            raise EOFError("the server closed the connection")
        for event in self.h2.receive_data(received):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                changed = event.changed_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
                self.extended |= bool(changed and changed.new_value)
            elif isinstance(event, h2.events.ResponseReceived):
                self.status[event.stream_id] = dict(event.headers)[":status"]
            elif isinstance(event, h2.events.DataReceived):
                self.data[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                self.ended.add(event.stream_id)
        self.flush()

    def open(self, path):
        stream = self.h2.get_next_available_stream_id()
        self.data[stream] = b""
        self.h2.send_headers(
            stream,
            [
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":path", path),
                (":authority", f"localhost:{port}"),
                ("sec-websocket-version", "13"),
            ],
        )
        self.flush()
        while stream not in self.status:
            self.read()
        return stream

    def send(self, stream, opcode, payload):
        length = len(payload)
        head = bytes([0x80 | opcode])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 65536:
            head += struct.pack("!BH", 0xFE, length)
        else:
            head += struct.pack("!BQ", 0xFF, length)
        rest = head + bytes(4) + payload  # the masking key is zero
        while rest:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room:
                self.h2.send_data(stream, rest[:room])
                rest = rest[room:]
                self.flush()
            else:
                self.read()

    def bytes(self, stream, count):
        while len(self.data[stream]) < count:
            if stream in self.ended:
                raise EOFError("the stream ended")
            self.read()
        taken, self.data[stream] = self.data[stream][:count], self.data[stream][count:]
        return taken

    def frame(self, stream):
        first, length = self.bytes(stream, 2)
        if length == 126:
            (length,) = struct.unpack("!H", self.bytes(stream, 2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.bytes(stream, 8))
        return first & 15, self.bytes(stream, length)


def main():
    c = Connection()
    check(True, "the server offers extended CONNECT")
    one, two, three = (c.open(f"/?name=python-{n}") for n in (1, 2, 3))
    check([c.status[s] for s in (one, two, three)] == ["200"] * 3, "three streams are answered with 200")
    for size in (0, 1, 125, 126, 65535, 65536, 1000000):
        for stream in (one, two):
            data = bytes(i & 0xFF for i in range(size))
            c.send(stream, BINARY, data)
            check(c.frame(stream) == (BINARY, data), f"stream {stream}: {size} bytes are echoed")
    for stream in (one, two, three):
        c.send(stream, TEXT, b"hello %d" % stream)
    check(
        [c.frame(s) for s in (three, one, two)] == [(TEXT, b"hello %d" % s) for s in (three, one, two)],
        "each stream gets its own message",
    )
    c.send(three, TEXT, b"who")
    check(b"secure=0" in c.frame(three)[1], "the handler can see that the connection has no TLS")
    c.send(one, CLOSE, struct.pack("!H", 4321) + b"done")
    check(c.frame(one) == (CLOSE, struct.pack("!H", 4321) + b"done"), "the server answers with the same close code and reason")
    while one not in c.ended:
        c.read()
    check(True, "then the stream ends")
    c.send(two, TEXT, b"the others go on")
    check(c.frame(two) == (TEXT, b"the others go on"), "the other streams continue")
    c.send(two, TEXT, b"close 4002 enough")
    check(c.frame(two) == (CLOSE, struct.pack("!H", 4002) + b"enough"), "the server closes a stream with code and reason")
    print("done")


main()
