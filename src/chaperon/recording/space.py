"""Whether the spool's disk can be relied on: free space above the reserve, a self-test at start.

A disk that cannot record is found here, with words for the operator, and not by the first session.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from chaperon._core import Spool, read_frame
from chaperon.recording.frame import FILE_HEADER, Kind, file_header, new_session_id
from chaperon.wire.errors import ConfigError


class Space(NamedTuple):
    """Free bytes for this user on the disk, and how many must stay free."""

    free: int
    reserve: int

    @property
    def low(self) -> bool:
        """No session may go on."""
        return self.free < self.reserve

    def __str__(self) -> str:
        return f"{size_text(self.free)} free, {size_text(self.reserve)} to be kept in reserve"


def check_space(folder: Path, reserve: int) -> Space:
    """How much room there is. Raises OSError."""
    disk = os.statvfs(folder)
    return Space(disk.f_bavail * disk.f_frsize, reserve)


def size_text(size: int) -> str:
    """Bytes for a person: 1.5 GiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def self_test(folder: Path) -> None:
    """Create, append, sync, read back and remove a spool in `folder`.

    Raises ConfigError with what failed and what to do.
    """
    path = folder / f"{new_session_id()}.selftest"
    payload = os.urandom(10_000)
    step = "create and preallocate a file"
    try:
        try:
            spool = Spool(str(path), file_header(new_session_id()), 64 * 1024, 64 * 1024)
            step = "write to a file"
            for _ in range(8):
                spool.append(Kind.DATA, 0, payload)
            step = "fdatasync a file"
            if spool.sync() != spool.offset:
                raise OSError(0, "not everything was made durable")
            step = "close a file"
            spool.close()
            step = "read back what was written"
            _read_back(path, payload)
        finally:
            step = step if path.exists() else f"{step} (nothing was made)"
            path.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"{folder}: recordings cannot be kept here: could not {step}: {reason}. "
            "Make room, or set `data:` to a folder on a local disk (ext4, xfs, tmpfs; no "
            "network file system) that this user can write."
        ) from error


def _read_back(path: Path, payload: bytes) -> None:
    data = path.read_bytes()
    at, count = FILE_HEADER, 0
    while (frame := read_frame(data, at)) is not None:
        if data[frame[6] : frame[7]] != payload:
            raise ValueError("other bytes came back than were written")
        at, count = frame[7] + 4, count + 1
    if count != 8 or at != len(data):
        raise ValueError(f"{count} of 8 frames came back")
