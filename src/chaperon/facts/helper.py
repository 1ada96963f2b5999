"""Read large texts in a child process with limits of stack, memory and time.

Invariant: a crash or a limit there gives `RawFacts` that are unknown, and harms nothing here.
"""

from __future__ import annotations

from chaperon.facts.model import RawFacts


class Helper:
    """A small pool of child processes, started when needed. Owned by the running event loop."""

    def __init__(self, size: int = 1, seconds: float = 5.0) -> None:
        raise NotImplementedError

    async def read_large(self, text: str) -> RawFacts:
        """As `sql.read_statement`, for texts over the limits. Never raises on any text."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the children."""
        raise NotImplementedError
