"""`chaperon replay` and `tail`: a recording as lines, at its own pace or as it is written.

Read from the recording itself and never from the index: what is shown is what was recorded.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from chaperon.api.address import socket_path
from chaperon.api.client import ControlClient
from chaperon.api.errors import ApiError, Code
from chaperon.cli import times
from chaperon.cli.backend import backend
from chaperon.cli.exits import CommandFailed, Exit
from chaperon.cli.output import note, paint, safe, say
from chaperon.cli.render import Line, Lines, paced
from chaperon.config import Config
from chaperon.protocols.registry import REGISTRY
from chaperon.recording.frame import Frame, Kind, read_json
from chaperon.recording.place import all_recordings, find_recording
from chaperon.recording.reader import DamagedRecording, RecordingReader, frames
from chaperon.recording.transcript import Decoder, Sent

POLL_SECONDS = 0.1
_STATEMENTS_BEFORE = 5


def replay(given: Path | None, prefix: str, *, speed: float | None, start: str | None) -> None:
    """Print the session from `start` on. `speed` None is without waiting."""
    config, session, live = _session(given, prefix)
    path = _recording(config, session)
    decoder, began_ns = _decoder(path)
    start_ns = None if start is None else _start(start, began_ns)
    lines = _lines()
    try:
        for wait, event in paced(frames(path), decoder, speed=speed, start_ns=start_ns):
            if wait > 0:
                sys.stdout.flush()
                time.sleep(wait)
            _print(lines.of(event))
    except DamagedRecording as error:
        raise CommandFailed(
            Exit.FAILED,
            f"The recording is damaged at byte {error.offset}: {error.reason}.",
            "What came before is shown above. Do not change the file; it is evidence.",
        ) from None
    if live:
        note(f"It is live; follow it with: chaperon tail {safe(prefix)}")


def tail(given: Path | None, prefix: str) -> None:
    """Print the last statements of the session, then what comes, until it ends."""
    config, session, live = _session(given, prefix)
    path = _recording(config, session)
    decoder, _ = _decoder(path)
    lines = _lines()
    gone = _watch(config, session) if live else None
    with RecordingReader(path, live=True) as reader:
        _print(_latest(reader, decoder, lines))
        while not reader.closed and gone is not None:
            ending = gone.is_set()  # before reading: what was written until then is read below
            for frame in reader.read():
                for event in decoder.feed(frame):
                    _print(lines.of(event))
            sys.stdout.flush()
            if ending:
                break
            if not reader.closed:
                time.sleep(POLL_SECONDS)
        if not reader.closed:
            note("The recording has no end: the gateway that wrote it is gone.")


def _session(given: Path | None, prefix: str) -> tuple[Config, str, bool]:
    """The configuration, the session's whole id, and whether it is live.

    A recording that the index does not have (yet) is found by its file.
    """
    with backend(given) as at:
        try:
            row = cast(dict[str, Any], at.call("sessions.show", {"id": prefix}))
        except ApiError as error:
            if error.code is not Code.NOT_FOUND:
                raise
            found = {p.stem for p in all_recordings(at.config.data) if p.stem.startswith(prefix)}
            if len(found) != 1:
                raise
            return at.config, found.pop(), False
        return at.config, row["id"], row["state"] == "live"


def _recording(config: Config, session: str) -> Path:
    path = find_recording(config.data, session)
    if path is None:
        raise CommandFailed(
            Exit.NOT_FOUND,
            f"The recording of session {session} is not in {config.data}.",
            "The index has it still; if the file was moved away, put it back.",
        )
    return path


def _decoder(path: Path) -> tuple[Decoder, int]:
    """A decoder of the recording's protocol, and when it began (ns since the epoch)."""
    with RecordingReader(path, live=True) as reader:
        first = next(reader.read(), None)
    protocol = _protocol(first)
    if first is None or protocol not in REGISTRY:
        raise CommandFailed(
            Exit.FAILED,
            f"{path} does not say which protocol it is of, or one that is not known here.",
            "Use the chaperon command of the version that recorded it.",
        )
    return REGISTRY[protocol].transcript(rows=True), first.wall_ns


def _protocol(first: Frame | None) -> str:
    if first is None or first.kind != Kind.META:
        return ""
    try:
        return str(read_json(first.payload).get("protocol", ""))
    except ValueError:
        return ""


def _start(text: str, began_ns: int) -> int:
    """`--from`: so far into the session, a time on its first day, or a moment."""
    if text[:1].isdigit() and text[-1:] in "smhd":
        return began_ns + times.duration(text, "--from")
    day = datetime.fromtimestamp(began_ns // times.SECOND).astimezone().date()
    if text[2:3] == ":":
        text = f"{day}T{text}"
    return times.moment(text, "--from", began_ns)


def _latest(reader: RecordingReader, decoder: Decoder, lines: Lines) -> Iterator[Line]:
    """The beginning of the session and its last statements, of what is recorded so far."""
    head: list[Line] = []
    blocks: deque[list[Line]] = deque(maxlen=_STATEMENTS_BEFORE)
    for frame in reader.read():
        for event in decoder.feed(frame):
            if isinstance(event, Sent):
                blocks.append([])
            (blocks[-1] if blocks else head).extend(lines.of(event))
    yield from head
    for block in blocks:
        yield from block


def _watch(config: Config, session: str) -> threading.Event:
    """An event that is set when the gateway no longer has the session, or is itself gone."""
    gone = threading.Event()

    def watch() -> None:
        try:
            with ControlClient(socket_path(config.data)) as client:
                for _ in client.stream("sessions.watch", {"id": session}):
                    pass
        except ApiError:
            pass  # it has ended already, or the gateway has
        finally:
            gone.set()

    threading.Thread(target=watch, daemon=True).start()
    return gone


def _lines() -> Lines:
    return Lines(shutil.get_terminal_size().columns if sys.stdout.isatty() else None)


def _print(lines: Iterator[Line] | list[Line]) -> None:
    for line in lines:
        say("".join(paint(span.text, span.style) for span in line).rstrip())
