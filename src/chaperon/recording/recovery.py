"""Finishes what an earlier run left in the spool: closed as a crash, cut where torn, or put aside.

Invariant: nothing that was durable is ever cut. Damage beyond the durable watermark (after a power
cut pages land out of order) is cut to the last good frame and a GAP written; damage before it makes
the recording corrupt, and it is put aside as it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from chaperon.recording.frame import (
    FILE_HEADER,
    Json,
    Kind,
    encode_frame,
    json_payload,
)
from chaperon.recording.place import SUFFIX, corrupt_folder, finish, move, spool_folder
from chaperon.recording.reader import WINDOW, DamagedRecording, RecordingReader
from chaperon.recording.watermarks import read_watermarks


class Outcome(Enum):
    """What became of an orphaned spool."""

    CLOSED = "closed"
    """Whole; a CLOSE with the reason `crash` was written where there was none."""
    CUT = "cut"
    """Torn beyond the watermark: cut, with a GAP."""
    CORRUPT = "corrupt"
    """Damaged before the watermark, or no recording at all: put aside, unchanged."""
    EMPTY = "empty"
    """Made and never written to; removed."""
    FAILED = "failed"
    """The disk refused; it stays in the spool."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """One orphaned spool. `offset` is where damage begins, or where the file now ends."""

    session: str
    outcome: Outcome
    path: Path
    offset: int
    detail: str = ""


def recover(data: Path, progress: Callable[[int, int], None] | None = None) -> list[Recovered]:
    """Finish every spool that no gateway is writing to. The caller holds the folder's lock."""
    folder = spool_folder(data)
    for leftover in folder.glob("*.selftest"):
        leftover.unlink(missing_ok=True)
    marks = read_watermarks(folder)
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    sizes = {path: path.stat().st_size for path in paths}
    total, done = sum(sizes.values()), 0
    recovered = []
    for path in paths:
        try:
            recovered.append(_recover(data, path, marks.get(path.stem, 0)))
        except OSError as error:
            reason = f"{error.strerror or error}"
            recovered.append(Recovered(path.stem, Outcome.FAILED, path, 0, reason))
        done += sizes[path]
        if progress is not None:
            progress(done, total)
    return recovered


@dataclass(slots=True)
class _Scan:
    """How far a spool can be read. `damage` says what stands behind `end`, "" for nothing."""

    end: int = FILE_HEADER
    sequence: int = 0
    mono_ns: int = 0
    closed: bool = False
    damage: str = ""


def _recover(data: Path, path: Path, watermark: int) -> Recovered:
    session = path.stem
    try:
        scan = _scan(path, session)
    except DamagedRecording as error:
        if watermark <= FILE_HEADER and not _anything(path, 0):
            path.unlink()
            return Recovered(session, Outcome.EMPTY, path, 0)
        return _corrupt(data, path, error.offset, error.reason)
    if scan.end < watermark:
        reason = scan.damage or "bytes that were durable are missing"
        return _corrupt(data, path, scan.end, reason)
    now = time.time_ns()
    tail = b""
    if scan.damage:
        lost: dict[str, Json] = {"reason": scan.damage, "from": scan.end}
        tail = _frame(Kind.GAP, lost, scan, now)
    if not scan.closed:
        tail += _frame(Kind.CLOSE, {"reason": "crash"}, scan, now)
    end = scan.end + len(tail)
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(handle, scan.end)
        os.pwrite(handle, tail, scan.end)
        os.fsync(handle)
    finally:
        os.close(handle)
    outcome = Outcome.CUT if scan.damage else Outcome.CLOSED
    return Recovered(session, outcome, finish(data, path), end, scan.damage)


def _scan(path: Path, session: str) -> _Scan:
    scan = _Scan()
    with RecordingReader(path) as reader:
        if reader.session != session:
            raise DamagedRecording(path, 0, "its header names another session")
        try:
            for frame in reader.read():
                if frame.sequence != scan.sequence:
                    raise DamagedRecording(path, frame.offset, "a frame is missing")
                scan.sequence += 1
                scan.mono_ns = frame.mono_ns
                scan.end = frame.end
        except DamagedRecording as error:
            scan.damage = error.reason
        scan.closed = reader.closed and not scan.damage
    if not scan.damage and _anything(path, scan.end):
        scan.damage = "bytes behind the last frame"
    return scan


def _anything(path: Path, offset: int) -> bool:
    """Whether there is a byte other than zero from `offset` on."""
    with path.open("rb") as file:
        file.seek(offset)
        while data := file.read(WINDOW):
            if data.count(0) != len(data):
                return True
    return False


def _corrupt(data: Path, path: Path, offset: int, reason: str) -> Recovered:
    return Recovered(path.stem, Outcome.CORRUPT, move(path, corrupt_folder(data)), offset, reason)


def _frame(kind: Kind, value: dict[str, Json], scan: _Scan, now: int) -> bytes:
    frame = encode_frame(
        kind,
        0,
        json_payload(value),
        sequence=scan.sequence,
        mono_ns=scan.mono_ns,
        wall_ns=now,
    )
    scan.sequence += 1
    return frame
