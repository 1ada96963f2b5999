"""One side's transport with the reasons for which reading from it is paused.

Invariant: reading goes on only when no reason is left, so backpressure, TLS and holds do not undo
each other.
"""

from __future__ import annotations

import asyncio


class Outlet:
    """A transport that may not be there yet, may be replaced by its TLS form, and may be lost."""

    __slots__ = ("_paused", "lost", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self._paused: set[str] = set()

    def write(self, data: bytes | memoryview) -> None:
        """Queue bytes for the peer; dropped when it is gone."""
        if self.transport is not None and not self.lost:
            self.transport.write(data)

    def pause(self, reason: str) -> None:
        """Stop reading from this side."""
        if not self._paused and self.transport is not None and not self.lost:
            self.transport.pause_reading()
        self._paused.add(reason)

    def resume(self, reason: str) -> None:
        """Take a reason back."""
        if reason in self._paused:
            self._paused.discard(reason)
            if not self._paused and self.transport is not None and not self.lost:
                self.transport.resume_reading()

    def opened(self, transport: asyncio.Transport) -> None:
        """The connection is there; reasons to pause may have come before it."""
        self.transport = transport
        if self._paused:
            transport.pause_reading()

    def upgraded(self, transport: asyncio.Transport) -> None:
        """Replace the transport by its TLS form, which begins reading by itself."""
        self._paused.discard("tls")
        self.transport = transport
        if self._paused:
            transport.pause_reading()

    def end(self) -> None:
        """Say that no more is written, and read on; with TLS as `close`.

        A close with bytes unread resets the connection, and the peer loses what it was last told.
        """
        if self.transport is None or self.lost:
            return
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        if self._paused:
            self._paused.clear()
            self.transport.resume_reading()

    def close(self) -> None:
        """Close behind what was written."""
        if self.transport is not None and not self.lost:
            self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()
