"""Reads recordings, finished or live, in bounded memory.

Invariant: any bytes give frames or `DamagedRecording`, never another exception.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from chaperon._core import read_frame
from chaperon.recording.frame import (
    FILE_HEADER,
    LARGEST_FRAME,
    TRAILER,
    Frame,
    Kind,
    read_file_header,
)
from chaperon.wire.errors import ChaperonError

WINDOW = 1024 * 1024
_CLOSE = int(Kind.CLOSE)
_RETRIES = 3


class DamagedRecording(ChaperonError):
    """Bytes that are no recording. `offset` is where the damage begins, in bytes."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(f"{path}: damaged at byte {offset}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason


class RecordingReader:
    """Gives the frames that are there; asked again later, those that came since.

    `offset` is where the next frame begins; `closed` becomes true behind the CLOSE frame.
    A file that is still written to is `live`: its end may be half visible, and is read again.
    """

    __slots__ = ("_handle", "closed", "live", "offset", "path", "session")

    def __init__(self, path: Path, from_offset: int = 0, *, live: bool = False) -> None:
        """Open `path`. `from_offset` is 0 or where a frame begins.

        Raises OSError where it cannot be opened, DamagedRecording where it is no recording.
        """
        self.path = path
        self.live = live
        self.closed = False
        self.offset = max(from_offset, FILE_HEADER)
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.session = read_file_header(os.pread(self._handle, FILE_HEADER, 0))
        except ValueError as error:
            self.close()
            raise DamagedRecording(path, 0, str(error)) from None
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def size(self) -> int:
        """The file's size now; for a live one with the room that is not yet used."""
        return os.fstat(self._handle).st_size

    def more(self) -> bool:
        """Whether there is something behind `offset`; much cheaper than `read`. Raises OSError."""
        head = os.pread(self._handle, 4, self.offset)
        return not self.closed and head.count(0) != len(head)

    def read(self) -> Iterator[Frame]:
        """The frames from `offset` on that are there. Raises DamagedRecording, OSError."""
        window = WINDOW
        tries = 0
        while not self.closed:
            base = self.offset
            data = os.pread(self._handle, window, base)
            at = 0
            try:
                while not self.closed and (found := read_frame(data, at)) is not None:
                    kind, direction, connection, sequence, mono, wall, start, end = found
                    frame = Frame(
                        kind,
                        direction,
                        connection,
                        sequence,
                        mono,
                        wall,
                        data[start:end],
                        base + at,
                    )
                    at = end + TRAILER
                    self.offset = base + at
                    self.closed = kind == _CLOSE
                    tries = 0
                    yield frame
                needed = None if self.closed else self._more(data, at)
            except ValueError as error:
                # The last frame of a live file may be half visible to another process.
                if self.live and tries < _RETRIES:
                    tries += 1
                    time.sleep(0.005 * tries)
                    continue
                raise DamagedRecording(self.path, base + at, str(error)) from None
            if needed is None:
                return
            window = max(WINDOW, needed)

    def _more(self, data: bytes, at: int) -> int | None:
        """Bytes to read from `offset` to get further; None at the end of what is there.

        `data[at:]` does not hold a whole frame. Raises ValueError.
        """
        left = len(data) - at
        length = int.from_bytes(data[at : at + 4], "little") if left >= 4 else 0
        if length > LARGEST_FRAME:
            raise ValueError(f"a frame of {length} bytes")
        if at and left < 4 + length:
            return 4 + length
        if left < 4 or length == 0:
            return None
        # Read from the frame's own beginning: either the window was short or the file is.
        if self.size() >= self.offset + 4 + length:
            return 4 + length
        if self.live:
            return None
        raise ValueError("the file ends inside a frame")


def frames(
    path: Path,
    from_offset: int = 0,
    *,
    follow: bool = False,
    poll: float = 0.1,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Frame]:
    """The frames of a recording.

    With `follow` it waits for more, looking every `poll` seconds, until CLOSE or until `stop()`.
    Raises DamagedRecording, OSError.
    """
    with RecordingReader(path, from_offset, live=follow or path.parent.name == "spool") as reader:
        while True:
            yield from reader.read()
            if not follow or reader.closed or stop():
                return
            time.sleep(poll)
