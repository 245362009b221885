"""Carries every connection on to another port, 1,024 bytes at a time, as a Host's own SSH proxy does.

usage: copy_loop.py PORT

Prints `ready ITS-OWN-PORT`, and ends when its stdin does.
"""

import asyncio
import os
import sys
import threading


async def copy(reader, writer):
    try:
        while data := await reader.read(1024):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except (OSError, RuntimeError):
        writer.transport.abort()


async def serve(reader, writer):
    try:
        vps_reader, vps_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    except (OSError, RuntimeError):
        writer.close()
        return
    await asyncio.gather(copy(reader, vps_writer), copy(vps_reader, writer))
    vps_writer.close()
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def end_with_stdin():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_stdin, daemon=True).start()
asyncio.run(main())
