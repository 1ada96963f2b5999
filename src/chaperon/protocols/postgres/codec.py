"""Bytes to messages, both ways. Invariant: what is given out, joined, is what came in.

The framing itself is compiled; here are the protocol's tables, and the bytes that wait for more.
Sources: PostgreSQL 18 manual "Message Formats"; limits as the server has them
(`PQ_SMALL_MESSAGE_LIMIT`, `PQ_LARGE_MESSAGE_LIMIT` in its documentation of the source).
"""

from __future__ import annotations

from chaperon._core import Framer
from chaperon.wire.errors import ProtocolViolation, Side

LARGEST = (1 << 30) - 1
SMALL = 10_000
WINDOW = 256 * 1024
INSPECTION_LIMIT = 16 * 1024 * 1024
HEADER = 5


Batch = tuple[bytes, bytes, tuple[int, ...]]
"""`(data, tags, ends)`: the i-th message has tag `tags[i]` and ends at `ends[i]` in `data`.

They are contiguous from offset 0. Tag 0 goes on with a message that was too large to hold. A plain
tuple, because one is made for every read.
"""


class Codec:
    """Frames one direction."""

    __slots__ = ("_framer", "_need", "_side", "_waiting", "_waiting_size")

    def __init__(self, framer: Framer, side: Side) -> None:
        self._framer = framer
        self._side = side
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._need = 0

    @property
    def inside(self) -> bool:
        """Whether the last message given out is incomplete, its rest to come as tag 0."""
        return self._framer.remaining > 0

    @property
    def waiting(self) -> int:
        """Bytes held back because a message is incomplete."""
        return self._waiting_size

    def take_waiting(self) -> bytes:
        """The bytes held back, for the recording of a connection that ends in mid-message."""
        rest = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_size = 0
        return rest

    def feed(self, data: bytes) -> Batch:
        """Frame `data`; raises ProtocolViolation."""
        if self._waiting:
            self._waiting.append(data)
            self._waiting_size += len(data)
            if self._waiting_size < self._need:
                return b"", b"", ()
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._waiting_size = 0
        try:
            tags, ends = self._framer.feed(data)
        except ValueError as error:
            self._waiting.append(data)  # for the recording
            raise ProtocolViolation(self._side, str(error)) from error
        if not ends or ends[-1] != len(data):
            rest = data[ends[-1] if ends else 0 :]
            self._waiting.append(rest)
            self._waiting_size = len(rest)
            self._need = self._framer.need
        return data, tags, ends


def _table(default: int, special: dict[bytes, int]) -> list[int]:
    table = [default] * 256
    for tags, value in special.items():
        for tag in tags:
            table[tag] = value
    return table


def frontend_codec(inspection_limit: int = INSPECTION_LIMIT) -> Codec:
    """Messages of an agent after its authentication. Statements are held whole up to the limit."""
    largest = _table(0, {b"QPBFd": LARGEST, b"CDEHSXcfp": SMALL})
    whole = _table(SMALL + 1, {b"QPF": inspection_limit, b"B": WINDOW, b"d": 0})
    prefix = _table(HEADER, {b"B": WINDOW})
    return Codec(Framer(whole, prefix, largest, b"d"), Side.DOWNSTREAM)


def backend_codec() -> Codec:
    """Messages of a target. Rows and COPY data run through; the rest is held up to a window."""
    largest = _table(0, {b"123ACDEGHIKNRSTVWZcdnstv": LARGEST})
    whole = _table(WINDOW, {b"Dd": 0})
    prefix = _table(HEADER, {})
    return Codec(Framer(whole, prefix, largest, b"Dd"), Side.UPSTREAM)
