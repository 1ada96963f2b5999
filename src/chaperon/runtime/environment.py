"""What the driver of one connection needs from the process around it, and what it is to others."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from chaperon.protocols.base import Service
from chaperon.recording.frame import Json
from chaperon.recording.service import RecordingService
from chaperon.runtime.dial import Upstream
from chaperon.wire.commands import Open
from chaperon.wire.events import CancelRequested
from chaperon.wire.operation import Operation
from chaperon.wire.permit import Decision
from chaperon.wire.principal import Principal


class Live(Protocol):
    """A conversation as others see it."""

    @property
    def id(self) -> str: ...
    @property
    def principal(self) -> str: ...
    @property
    def resource(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def peer(self) -> str: ...
    @property
    def started_ns(self) -> int: ...
    @property
    def token_id(self) -> str: ...

    def deliver(self, event: CancelRequested) -> None:
        """Hand an event to the session."""
        ...

    def kill(self, reason: str) -> None:
        """End the session now."""
        ...


@dataclass(slots=True)
class Directory:
    """Live conversations of the process, and the cancel keys by which they are reached."""

    live: dict[str, Live] = field(default_factory=dict)
    by_cancel: dict[bytes, Live] = field(default_factory=dict)
    open_connections: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def came(self) -> None:
        """A connection was accepted."""
        self.open_connections += 1
        self.idle.clear()

    def left(self) -> None:
        """A connection has ended."""
        self.open_connections -= 1
        if self.open_connections == 0:
            self.idle.set()


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds. There is none on a session once it is open."""

    handshake: float = 60.0
    """From the accepted connection to the proven agent."""
    login: float = 30.0
    """From the target's open socket to the end of the gateway's login there."""
    last_words: float = 2.0
    """For an agent to close its side behind the end of its session."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Shared by all conversations of one listener.

    `now` answers a `Decide` at once or gives None, then `later` answers it. `upstream` tells how to
    reach a resource. `meta` adds to a recording's META what the session does not know.
    """

    loop: asyncio.AbstractEventLoop
    service: Service
    protocol: str
    tls: ssl.SSLContext | None
    authenticate: Callable[[object], object]
    now: Callable[[Principal, str, Operation], Decision | None]
    later: Callable[[Principal, str, Operation], Awaitable[Decision]]
    upstream: Callable[[str], Upstream]
    meta: Callable[[Open], dict[str, Json]]
    recordings: RecordingService
    fsync: bool
    directory: Directory
    limits: Limits = Limits()
