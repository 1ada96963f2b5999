"""What can happen to a session. The driver makes events; a session only reads them.

`DownstreamData` and `UpstreamData` occur once per read and are named tuples, which are the cheapest
immutable objects to build; the rest are frozen dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from chaperon.wire.errors import Side
from chaperon.wire.permit import Decision


class DownstreamData(NamedTuple):
    """Bytes from the agent, as read."""

    data: bytes


class UpstreamData(NamedTuple):
    """Bytes from the target, as read."""

    data: bytes


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """A finished handshake. `certificate` is the DER of the *server's* certificate on that side."""

    version: str
    cipher: str
    alpn: str | None
    certificate: bytes | None


@dataclass(frozen=True, slots=True)
class Connected:
    """The agent's connection is accepted. `tls` is set where TLS came before any other byte."""

    peer: str
    loopback: bool
    tls: TlsInfo | None = None


@dataclass(frozen=True, slots=True)
class Dialled:
    """`Dial` succeeded: the upstream's socket is open, nothing is sent yet."""

    tls: TlsInfo | None = None


@dataclass(frozen=True, slots=True)
class DialFailed:
    """`Dial` failed; `reason` is for the log, it may name hosts and ports."""

    reason: str


@dataclass(frozen=True, slots=True)
class TlsStarted:
    """`StartTls` finished on `side`."""

    side: Side
    info: TlsInfo


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The answer to `Authenticate`: an opaque outcome of the identity layer."""

    outcome: object


@dataclass(frozen=True, slots=True)
class Decided:
    """The answer to `Decide` with the same `ticket`."""

    ticket: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody who holds this session's cancel secret asked to stop what it is doing."""


@dataclass(frozen=True, slots=True)
class CancelDelivered:
    """The connection of `DialCancel` has closed: the target has seen the request, or cannot."""


@dataclass(frozen=True, slots=True)
class Killed:
    """Shutdown, a revoked principal, a lock, a failing recording: the session must end now."""

    reason: str


@dataclass(frozen=True, slots=True)
class DownstreamClosed:
    """The agent's connection ended."""


@dataclass(frozen=True, slots=True)
class UpstreamClosed:
    """The target's connection ended."""


Event = (
    DownstreamData
    | UpstreamData
    | Connected
    | Dialled
    | DialFailed
    | TlsStarted
    | Authenticated
    | Decided
    | CancelRequested
    | CancelDelivered
    | Killed
    | DownstreamClosed
    | UpstreamClosed
)
