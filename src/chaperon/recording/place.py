"""Where recordings are: live ones in `spool/`, finished ones under their day, corrupt ones apart.

Invariant: a file moves by a new name and then the loss of the old one, so that nothing is ever
overwritten, and a crash between leaves both names on one file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from chaperon._core import read_frame
from chaperon.recording.frame import FILE_HEADER

SUFFIX = ".rec"


def spool_folder(data: Path) -> Path:
    """Live recordings."""
    return data / "spool"


def recordings_folder(data: Path) -> Path:
    """Finished recordings, by year, month and day (UTC) of their beginning."""
    return data / "recordings"


def day_folder(data: Path, wall_ns: int) -> Path:
    """Where the recording of a session that began at `wall_ns` is kept."""
    day = datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC)
    return recordings_folder(data) / f"{day:%Y}" / f"{day:%m}" / f"{day:%d}"


def corrupt_folder(data: Path) -> Path:
    """Recordings damaged where they had been durable; never changed by Chaperon."""
    return data / "corrupt"


def all_recordings(data: Path) -> Iterator[Path]:
    """Every recording of the data folder: finished, corrupt, then live."""
    yield from sorted(recordings_folder(data).glob(f"*/*/*/*{SUFFIX}"))
    yield from sorted(corrupt_folder(data).glob(f"*{SUFFIX}"))
    yield from sorted(spool_folder(data).glob(f"*{SUFFIX}"))


def find_recording(data: Path, session: str) -> Path | None:
    """The recording of `session` (its whole id), wherever it is; None where there is none."""
    if not session.isalnum():
        return None
    name = f"{session}{SUFFIX}"
    for folder in (spool_folder(data), corrupt_folder(data)):
        if (folder / name).exists():
            return folder / name
    return next(iter(recordings_folder(data).glob(f"*/*/*/{name}")), None)


def finish(data: Path, path: Path) -> Path:
    """Make a finished spool read-only and move it under its day; returns its new path.

    Raises OSError; FileExistsError where another file has that name.
    """
    return move(path, day_folder(data, _started_ns(path)))


def move(path: Path, folder: Path) -> Path:
    """Move a recording into `folder`, read-only. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / path.name
    os.chmod(path, 0o400)
    try:
        os.link(path, target)
    except FileExistsError:
        if not os.path.samefile(path, target):
            raise
    _sync_folder(folder)
    os.unlink(path)
    _sync_folder(path.parent)
    return target


def _started_ns(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(1024 * 1024)
    try:
        frame = read_frame(head, FILE_HEADER)
    except ValueError:
        frame = None
    return frame[5] if frame is not None else path.stat().st_mtime_ns


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
