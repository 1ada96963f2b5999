"""A bare relay on uvloop: copies bytes both ways, looks at none. The floor for any proxy in Python.

python benchmarks/relay.py PORT UPSTREAM_PORT
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import cast

import uvloop


class Relay(asyncio.Protocol):
    """One side of a pair; what it reads it writes to the other."""

    def __init__(self, upstream_port: int | None) -> None:
        self._upstream_port = upstream_port
        self.other: Relay | None = None
        self.transport: asyncio.Transport | None = None
        self._early = bytearray()  # what came before the other side was there
        self._dial: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        if self._upstream_port is not None:
            self._dial = asyncio.get_running_loop().create_task(self._connect(self._upstream_port))

    async def _connect(self, port: int) -> None:
        assert self.transport is not None
        other = Relay(None)
        other.other, self.other = self, other
        try:
            await asyncio.get_running_loop().create_connection(lambda: other, "127.0.0.1", port)
        except OSError:
            self.transport.abort()
        else:
            assert other.transport is not None
            other.transport.write(bytes(self._early))

    def data_received(self, data: bytes) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(data)
        else:
            self._early += data

    def pause_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other and self.other.transport:
            self.other.transport.close()


async def main(port: int, upstream_port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Relay(upstream_port), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
