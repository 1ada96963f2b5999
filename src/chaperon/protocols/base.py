"""What every protocol brings: the object from which listener, configuration and policy derive.

Invariant: nothing outside a protocol's folder compares against its name; what differs hangs here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Protocol

from chaperon.config import ResourceConfig
from chaperon.policy.model import Question
from chaperon.policy.schema import Vocabulary
from chaperon.protocols.probe import Target
from chaperon.recording.transcript import DecoderFactory
from chaperon.wire.operation import Operation
from chaperon.wire.permit import Decision
from chaperon.wire.principal import Principal
from chaperon.wire.session import Session


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """What a session must know of the listener: `certificate` is DER, None without TLS."""

    certificate: bytes | None
    allow_cleartext: bool


class Service(Protocol):
    """A protocol at work in one process, for all its resources."""

    def session(self, listener: ListenerFacts) -> Session:
        """A session for one accepted connection."""
        ...

    def question_now(
        self, principal: Principal, resource: str, operation: Operation
    ) -> Question | None:
        """The question for policy, or None where that needs waiting: then `question`."""
        ...

    async def question(self, principal: Principal, resource: str, operation: Operation) -> Question:
        """The question for policy. What cannot be found out makes it ask for more."""
        ...

    def remembered_as(self, resource: str, operation: Operation) -> tuple[Hashable, ...]:
        """Names under which a decision on an equal operation may be remembered; none: never."""
        ...

    def holds_for(self, decision: Decision, names: tuple[Hashable, ...]) -> Hashable | None:
        """Under which of `names` a decision may be kept, None where it may not."""
        ...

    def invalidate(self, resource: str) -> None:
        """The target of `resource` may have changed."""
        ...

    def policy_changed(self) -> None:
        """Every decision remembered by sessions is void."""
        ...

    async def close(self) -> None:
        """Release connections and processes."""
        ...


@dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """A protocol. `alpn` is set where a client may begin with TLS at once, and names it.

    `service` builds the service from the resources of this protocol and a source of randomness;
    `transcript` a decoder of recordings. `target` reads a target's address and tries it.
    """

    name: str
    alpn: str | None
    vocabulary: Vocabulary
    service: Callable[[Mapping[str, ResourceConfig], Callable[[int], bytes]], Service]
    transcript: DecoderFactory
    target: Target
