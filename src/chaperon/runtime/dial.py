"""Reaches a target: a session's connection, and the short one that carries a cancel request."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from chaperon.config import UpstreamConfig
from chaperon.tls import upstream_tls
from chaperon.wire.commands import DialCancel

CONNECT_SECONDS = 10.0
_CANCEL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a resource's target is. `tls` is None where the configuration disables it."""

    host: str
    port: int
    tls: ssl.SSLContext | None


def make_upstream(config: UpstreamConfig) -> Upstream:
    """From the configuration. Raises ConfigError."""
    return Upstream(config.host, config.port, upstream_tls(config))


async def deliver_cancel(upstream: Upstream, tls: bool, command: DialCancel) -> str:
    """Send a cancel request, wait until the target closes; says what happened, for the log."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(_CANCEL_SECONDS):
            reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
            if tls and upstream.tls is not None and command.preface:
                writer.write(command.preface)
                if await reader.readexactly(len(command.accepted)) != command.accepted:
                    return "the target did not accept TLS for the cancel request"
                await writer.start_tls(upstream.tls, server_hostname=upstream.host)
            writer.write(command.data)
            await writer.drain()
            while await reader.read(1024):
                pass
            return "delivered"
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        return f"not delivered: {error or type(error).__name__}"
    finally:
        if writer is not None:
            writer.close()
