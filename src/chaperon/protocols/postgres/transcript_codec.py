"""Frames recorded bytes again, for the decoder of recordings. Invariant: it never raises.

Other bounds than the session's: here large messages are cut to what a reader of the index wants to
see, and what cannot be framed is counted and told once. Source: PostgreSQL 18 manual, "Message
Formats".
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from chaperon._core import Framer

HEADER = 5
TEXT_BOUND = 1024 * 1024
"""Bytes of a statement's message that are kept; of a longer one the beginning."""
BIND_BOUND = 256 * 1024
ROW_BOUND = 64 * 1024

_LARGEST = (1 << 30) - 1
_AGENT_TAGS = b"QPBFdCDEHSXcfp"
_TARGET_TAGS = b"123ACDEGHIKNRSTVWZcdnstv"
_LENGTH = struct.Struct("!I")


class Pieces(NamedTuple):
    """Messages in `data`; the i-th ends at `ends[i]`. `position`: where `data` begins in all."""

    data: bytes
    tags: bytes
    ends: tuple[int, ...]
    position: int


_NOTHING = Pieces(b"", b"", (), 0)


class Stream:
    """One direction. `broken` says why it cannot be framed any more, "" while it can."""

    __slots__ = ("_framer", "_tags", "_waiting", "_waiting_size", "broken", "position", "told")

    def __init__(self, framer: Framer, tags: bytes) -> None:
        self._framer = framer
        self._tags = tags
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self.position = 0
        self.broken = ""
        self.told = False

    def feed(self, data: bytes) -> Pieces:
        """Frame `data`; nothing once broken."""
        if self.broken:
            return _NOTHING
        if self._waiting:
            self._waiting.append(data)
            self._waiting_size += len(data)
            if self._waiting_size < self._framer.need:
                return _NOTHING
            data = b"".join(self._waiting)
            self._waiting.clear()
        inside = self._framer.remaining
        try:
            tags, ends = self._framer.feed(data)
        except ValueError as error:
            self.broken = str(error)
            tags, ends = _good(data, inside, self._tags)
            return Pieces(data, tags, ends, self.position)
        used = ends[-1] if ends else 0
        if used != len(data):
            self._waiting.append(data[used:])
            self._waiting_size = len(data) - used
        pieces = Pieces(data, tags, ends, self.position)
        self.position += used
        return pieces


def agent_stream(keep_copy: bool) -> Stream:
    """What the agent sent after its authentication."""
    whole = {b"QPF": TEXT_BOUND + BIND_BOUND, b"B": BIND_BOUND, b"d": ROW_BOUND if keep_copy else 0}
    return Stream(_framer(_AGENT_TAGS, whole), _AGENT_TAGS)


def target_stream(keep_rows: bool) -> Stream:
    """What the agent got, from the target or from the gateway in its place."""
    whole = {b"Dd": ROW_BOUND if keep_rows else 0, b"T": TEXT_BOUND}
    return Stream(_framer(_TARGET_TAGS, whole), _TARGET_TAGS)


def declared(data: bytes, start: int) -> int:
    """The size in bytes that the message at `start` has in all, tag included."""
    length: int = _LENGTH.unpack_from(data, start + 1)[0]
    return length + 1


def _good(data: bytes, inside: int, known: bytes) -> tuple[bytes, tuple[int, ...]]:
    """The messages in front of what cannot be framed; `inside` bytes go on with an earlier one."""
    tags, ends = bytearray(), []
    at = min(inside, len(data))
    if at:
        tags.append(0)
        ends.append(at)
    while at + HEADER <= len(data):
        end = at + declared(data, at)
        if data[at] not in known or end < at + HEADER or end > len(data):
            break
        tags.append(data[at])
        ends.append(end)
        at = end
    return bytes(tags), tuple(ends)


def _framer(tags: bytes, whole: dict[bytes, int]) -> Framer:
    largest = [0] * 256
    for tag in tags:
        largest[tag] = _LARGEST
    bounds = [BIND_BOUND] * 256
    prefixes = [BIND_BOUND] * 256
    for some, bound in whole.items():
        for tag in some:
            bounds[tag] = bound
            prefixes[tag] = max(bound, HEADER)
    return Framer(bounds, prefixes, largest, b"")
