"""What the control server needs of a running gateway; the supervisor has this shape.

`runtime` lies below `api` and does not import it: the command line hands the server's factory to
the supervisor, and the type checker compares the shapes there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from chaperon.api.values import Json

if TYPE_CHECKING:
    from chaperon.config import Config
    from chaperon.store.store import Store


class LiveSession(Protocol):
    """One session that is open now. Times in ns since the epoch; `token_id` is a public id."""

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


class ControlContext(Protocol):
    """A running gateway as the control server sees it. All but `kill` are quick and synchronous."""

    @property
    def config(self) -> Config: ...
    @property
    def store(self) -> Store: ...

    def status(self) -> Mapping[str, Json]:
        """Version, pid, started_ns, listeners (addresses in fact bound), anything worth showing."""
        ...

    def live_sessions(self) -> Sequence[LiveSession]:
        """The sessions that are open now, oldest first, authenticated ones only."""
        ...

    async def kill(self, session_id: str, reason: str) -> bool:
        """Tell a live session (full id) to end; false if it is not live.

        It is gone when `live_sessions` has it no more.
        """
        ...

    def policy_status(self) -> Mapping[str, Json]:
        """Hash, number of policies, when loaded, and the error of the last reload that failed."""
        ...
