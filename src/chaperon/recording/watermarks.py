"""How far each live spool is known to be on the disk. One small file, one slot a session.

Invariant: a slot never says more than an fdatasync has confirmed. It may say less (it is not synced
itself); recovery then takes damage for a torn end that it could have called corruption.
Slot, 32 bytes, little-endian: session id 16 · offset u64 · CRC-32C of both u32 · zero u32.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from chaperon._core import crc32c
from chaperon.recording.frame import session_bytes, session_text

FILE_NAME = "watermarks"
_SLOT = struct.Struct("<16sQ")
_CRC = struct.Struct("<I4x")
SLOT = 32


class Watermarks:
    """The file, open for writing. One thread."""

    __slots__ = ("_free", "_handle", "_next", "_slots")

    def __init__(self, folder: Path) -> None:
        """Begin anew: what an earlier run left has been read by recovery. Raises OSError."""
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC
        self._handle = os.open(folder / FILE_NAME, flags, 0o600)
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._next = 0

    def put(self, session: str, offset: int) -> None:
        """`session` is durable up to `offset` bytes. Raises OSError."""
        slot = self._slots.get(session)
        if slot is None:
            if self._free:
                slot = self._free.pop()
            else:
                slot = self._next
                self._next += 1
            self._slots[session] = slot
        body = _SLOT.pack(session_bytes(session), offset)
        os.pwrite(self._handle, body + _CRC.pack(crc32c(body)), slot * SLOT)

    def drop(self, session: str) -> None:
        """`session` is finished; its slot can be used again."""
        slot = self._slots.pop(session, None)
        if slot is not None:
            self._free.append(slot)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def read_watermarks(folder: Path) -> dict[str, int]:
    """The offset by session, as an earlier run left it; damaged slots are left out."""
    try:
        data = (folder / FILE_NAME).read_bytes()
    except OSError:
        return {}
    marks: dict[str, int] = {}
    for at in range(0, len(data) - SLOT + 1, SLOT):
        body = data[at : at + _SLOT.size]
        if _CRC.unpack_from(data, at + _SLOT.size)[0] == crc32c(body):
            raw, offset = _SLOT.unpack(body)
            marks[session_text(raw)] = offset
    return marks
