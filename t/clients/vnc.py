# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

"""Connects to a VNC server (RFC 6143) through a bridge, and reads the first picture: vnc.py URL SUBPROTOCOL. Prints
"ok NAME" or "not ok NAME" for each test, and "done"."""

import asyncio
import base64
import struct
import sys

import websockets

url, protocol = sys.argv[1:3]


def ok(condition, name):
    print("ok" if condition else "not ok", name, flush=True)


class Stream:
    """A stream of bytes in messages."""

    def __init__(self, socket):
        self.socket = socket
        self.data = b""

    async def read(self, n):
        while len(self.data) < n:
            message = await self.socket.recv()
            self.data += base64.b64decode(message) if protocol == "base64" else message
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    async def write(self, data):
        await self.socket.send(base64.b64encode(data).decode() if protocol == "base64" else data)


async def main():
    async with websockets.connect(url, subprotocols=[protocol], max_size=None) as socket:
        ok(socket.subprotocol == protocol, f"the subprotocol {protocol} is agreed on")
        s = Stream(socket)
        greeting = await s.read(12)
        ok(greeting == b"RFB 003.008\n", f"the server sends its greeting: {greeting!r}")
        await s.write(greeting)
        kinds = await s.read((await s.read(1))[0])
        ok(1 in kinds, "the server needs no password")
        await s.write(b"\x01")
        ok(await s.read(4) == b"\0\0\0\0", "the server accepts the client")
        await s.write(b"\x01")
        width, height, bits = struct.unpack(">HHB15x", await s.read(20))
        await s.read(struct.unpack(">I", await s.read(4))[0])  # the name of the desktop
        ok((width, height) == (320, 200), f"the server has a screen of {width} x {height}")
        # SetEncodings for raw pixels, then FramebufferUpdateRequest for the whole screen.
        await s.write(struct.pack(">BxHi", 2, 1, 0) + struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        kind, count = struct.unpack(">BxH", await s.read(4))
        ok(kind == 0, "the server sends an update")
        pixels = 0
        for _ in range(count):
            _, _, w, h, _ = struct.unpack(">HHHHi", await s.read(12))
            await s.read(w * h * bits // 8)
            pixels += w * h
        ok(pixels == width * height, f"the update has the whole picture, {pixels} pixels")
    print("done")


asyncio.run(asyncio.wait_for(main(), 60))
