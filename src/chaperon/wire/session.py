"""The one abstraction: a session turns an event into commands, over explicit state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chaperon.wire.commands import Command
from chaperon.wire.errors import ProtocolViolation
from chaperon.wire.events import Event


class Session(Protocol):
    """One proxied connection of one protocol. No I/O, no clock, no awaits."""

    def handle(self, event: Event) -> Sequence[Command]:
        """Return what to do about `event`.

        Raises `ProtocolViolation` where a peer's bytes are not its protocol's; the driver then ends
        the session. No other exception is expected; any other ends the session too, and is a bug.
        """
        ...

    def violation(self, error: ProtocolViolation) -> Sequence[Command]:
        """Return how to tell the agent that a peer broke the protocol, and end."""
        ...
