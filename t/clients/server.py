# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

"""Runs two echo servers with Debian's python3-websockets, one of them with TLS, on free ports: server.py CERT KEY.
Prints "NAME PORT" for each server, then "ready". Exits at the end of its input."""

import asyncio
import ssl
import sys

import websockets


async def echo(c, path="/"):
    async for message in c:
        await c.send(message)


async def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*sys.argv[1:])
    for name, context in ("python", None), ("python-tls", tls):
        server = await websockets.serve(
            echo, "127.0.0.1", 0, ssl=context, subprotocols=["echo"], max_size=None
        )
        print(name, server.sockets[0].getsockname()[1], flush=True)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
