"""What a session asks of the driver, carried out in order.

Promise 1 is structural: `Forward` and `Reply` *are* recorded by the driver before they are written,
so a session cannot put a byte on a wire that the recording does not have. `recorded` replaces what
is recorded where the bytes carry a secret, and `b""` records nothing (the credential exchange).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from chaperon.wire.errors import Side
from chaperon.wire.operation import Operation
from chaperon.wire.permit import Decision, Permit
from chaperon.wire.principal import Principal


class Direction(IntEnum):
    """Which way recorded bytes went; the numbers stand in frames and never change.

    The first two are the conversation as the agent saw it. The last two are there only where the
    gateway rewrote something: what it sent to, or took from, the target instead.
    """

    FROM_AGENT = 0
    TO_AGENT = 1
    TO_TARGET = 2
    FROM_TARGET = 3


class Mark(NamedTuple):
    """A decision and the message it is about: `position` counts the agent's recorded bytes."""

    decision: Decision
    position: int


class Forward(NamedTuple):
    """Write `data` to the target, recorded as coming from the agent unless `direction` says else.

    `marks` are recorded first. The permit is the one that lets the bytes pass.
    """

    permit: Permit
    data: bytes | memoryview
    marks: tuple[Mark, ...] = ()
    recorded: bytes | None = None
    direction: Direction = Direction.FROM_AGENT


class Reply(NamedTuple):
    """Write `data` to the agent, recorded as what the agent saw."""

    data: bytes | memoryview
    recorded: bytes | None = None


class Record(NamedTuple):
    """Record bytes that are not passed on: refused, swallowed, or asked by the gateway itself."""

    direction: Direction
    data: bytes | memoryview
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Open:
    """Open the recording. Comes before the first `Forward`, `Reply` or `Record` of data."""

    principal: Principal
    resource: str
    meta: dict[str, str]


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Ask the identity layer; `claim` is one of its claims. Answered by `Authenticated`."""

    claim: object


@dataclass(frozen=True, slots=True)
class Decide:
    """Ask policy; answered by `Decided` with this `ticket`."""

    ticket: int
    operation: Operation


@dataclass(frozen=True, slots=True)
class Dial:
    """Open the connection to the resource's target. Answered by `Dialled` or `DialFailed`."""

    resource: str


@dataclass(frozen=True, slots=True)
class StartTls:
    """Begin TLS in place on `side`, behind what was written there. Answered by `TlsStarted`."""

    side: Side


@dataclass(frozen=True, slots=True)
class RegisterCancel:
    """Let a later `RouteCancel` with this `key` reach this session. Secrets; never logged."""

    key: bytes


@dataclass(frozen=True, slots=True)
class RouteCancel:
    """This connection is a cancel request for the session that registered `key`."""

    key: bytes


@dataclass(frozen=True, slots=True)
class DialCancel:
    """Send `data` to the target on a connection of its own; `CancelDelivered` once that has closed.

    Where the session's own connection has TLS, `preface` is sent first, `accepted` must come back,
    and TLS begins before `data`.
    """

    data: bytes
    preface: bytes = b""
    accepted: bytes = b""


@dataclass(frozen=True, slots=True)
class Note:
    """Record an event that is not bytes: a cancel request, a failed probe. No secrets."""

    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Invalidate:
    """What is cached about the resource's target may no longer be so."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Stop reading from `side` until `Resume`; disconnects are still seen."""

    side: Side


@dataclass(frozen=True, slots=True)
class Resume:
    """Read from `side` again."""

    side: Side


@dataclass(frozen=True, slots=True)
class Close:
    """End the session after what was written has left. `reason` goes into the CLOSE frame."""

    reason: str


RareCommand = (
    Record
    | Open
    | Authenticate
    | Decide
    | Dial
    | StartTls
    | RegisterCancel
    | RouteCancel
    | DialCancel
    | Note
    | Invalidate
    | Hold
    | Resume
    | Close
)
Command = Forward | Reply | RareCommand
