# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

"""Tests an echo with Debian's python3-websockets: echo.py URL CA. If the URL contains "compressed", the client offers
permessage-deflate. Prints "ok NAME" or "not ok NAME" for each test, and "done"."""

import asyncio
import ssl
import sys

import websockets

url, ca = sys.argv[1:]
compressed = "compressed" in url
tls = ssl.create_default_context(cafile=ca) if url.startswith("wss") else None


def check(right, name):
    print("ok" if right else "not ok", name)


async def main():
    async with websockets.connect(
        url,
        ssl=tls,
        subprotocols=["unknown", "echo"],
        max_size=None,
        compression="deflate" if compressed else None,
    ) as c:
        check(c.subprotocol == "echo", "the subprotocol is agreed on")
        check(bool(c.extensions) == compressed, "compression is agreed on if it was offered")
        for text in ["", "hello", "h\u00e9 \u20ac \U0001f600", "long " * 40000]:
            await c.send(text)
            check(await c.recv() == text, f"text of {len(text)} characters is echoed")
        for size in [0, 1, 125, 126, 65535, 65536, 1000000]:
            data = bytes(i & 0xFF for i in range(size))
            await c.send(data)
            check(await c.recv() == data, f"a binary message of {size} bytes is echoed")
        await c.send(part for part in ["frag", "men", "ted"])
        check(await c.recv() == "fragmented", "a message in fragments is echoed")
        for i in range(500):
            await c.send(f"message {i}")
        check(
            [await c.recv() for _ in range(500)] == [f"message {i}" for i in range(500)],
            "500 messages together are echoed in order",
        )
        await asyncio.wait_for(await c.ping("are you there"), 60)
        check(True, "a ping is answered")
        await c.close(4321, "enough")
        check(c.close_code == 4321, "the server answers with the same close code")
    for path, headers, status in [("/echo", {"Origin": "http://evil.example"}, 403)]:
        try:
            await websockets.connect(url, ssl=tls, extra_headers=headers)
            check(False, f"status {status}")
        except websockets.InvalidStatusCode as refused:
            check(refused.status_code == status, f"a page of another origin is refused with {status}")
    print("done")


asyncio.run(main())
