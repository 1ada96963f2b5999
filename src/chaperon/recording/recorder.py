"""Writes one session's recording. Invariant: when a call returns, its bytes are with the system.

On the hot path: one call into the core for one read. After any failure the recorder stays failed,
and every further call raises `RecordingFailed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from chaperon._core import Spool
from chaperon.recording.frame import (
    LARGEST_PAYLOAD,
    Json,
    Kind,
    file_header,
    full_decision,
    json_payload,
    repeated_decision,
)
from chaperon.wire.commands import Direction, Mark
from chaperon.wire.errors import RecordingFailed
from chaperon.wire.permit import Decision

INITIAL = 64 * 1024
LARGEST_STEP = 8 * 1024 * 1024
KNOWN_DECISIONS = 4096
"""Full decisions that a later frame may point back at; a decoder keeps as many."""
KNOWN_BYTES = 4 * 1024 * 1024

_DATA = int(Kind.DATA)
_DECISION = int(Kind.DECISION)
_TO_AGENT = int(Direction.TO_AGENT)


class Dirty(Protocol):
    """Who makes dirty recorders durable; see `sync.Syncer`."""

    def touched(self, recorder: Recorder) -> None:
        """`recorder` has bytes that are not on the disk; called once until they are taken."""


class Recorder:
    """The open recording of one session. Not thread-safe but for `sync`, `offset` and `fail`."""

    __slots__ = (
        "_dirty",
        "_failure",
        "_known",
        "_known_bytes",
        "_sound",
        "_spool",
        "closed",
        "dirty",
        "path",
        "session",
    )

    def __init__(self, path: Path, session: str, dirty: Dirty) -> None:
        """Create the spool file `path`. Raises RecordingFailed."""
        self.path = path
        self.session = session
        self.dirty = False
        self.closed = False
        self._dirty = dirty
        self._failure: str | None = None
        self._sound = False
        self._known: dict[Decision, int] = {}
        self._known_bytes = 0
        try:
            self._spool = Spool(str(path), file_header(session), INITIAL, LARGEST_STEP)
        except OSError as error:
            raise RecordingFailed(
                f"the recording cannot be created: {error.strerror} ({path})"
            ) from error

    @property
    def offset(self) -> int:
        """Bytes written so far, the file's header included."""
        return self._spool.offset

    @property
    def synced(self) -> int:
        """Bytes known to be on the disk."""
        return self._spool.synced

    @property
    def failure(self) -> str | None:
        """Why nothing more can be recorded; None while all is well."""
        return self._failure

    def open(self, meta: Mapping[str, Json]) -> None:
        """Write META: who, what, which policy. The first frame of every recording."""
        self._append(Kind.META, 0, json_payload(meta))

    def forward(
        self, marks: tuple[Mark, ...], data: bytes | memoryview, direction: int = 0
    ) -> None:
        """Record `marks`, then `data`, which may be forwarded when this returns."""
        if not self.dirty:
            self._touch()
        if len(marks) == 1 and self._failure is None:
            decision, position = marks[0]
            sequence = self._known.get(decision)
            if sequence is not None and len(data) <= LARGEST_PAYLOAD:
                try:
                    self._spool.append_marked(
                        repeated_decision(position, sequence), _DATA, direction, data
                    )
                except OSError as error:
                    raise self._failed(error) from error
                return
        for decision, position in marks:
            self._mark(decision, position)
        self._data(direction, data)

    def reply(self, data: bytes | memoryview) -> None:
        """Record what the agent is about to be sent."""
        if not self.dirty:
            self._touch()
        if self._failure is not None or len(data) > LARGEST_PAYLOAD:
            self._data(_TO_AGENT, data)
            return
        try:
            self._spool.append(_DATA, _TO_AGENT, data)
        except OSError as error:
            raise self._failed(error) from error

    def record(
        self, direction: int, data: bytes | memoryview, marks: tuple[Mark, ...] = ()
    ) -> None:
        """Record bytes that are not passed on."""
        self.forward(marks, data, direction)

    def event(self, name: str, detail: Mapping[str, Json] | None = None) -> None:
        """Record that something happened beside the bytes: a cancel request, a kill."""
        self._append(Kind.EVENT, 0, json_payload({"event": name, **(detail or {})}))

    def close(self, reason: str) -> None:
        """Write CLOSE. The file is finished by `Syncer.finish`. Nothing more can be recorded."""
        if self.closed:
            return
        if self._failure is not None and not self._sound:
            raise RecordingFailed(self._failure)
        if not self.dirty:
            self._touch()
        try:
            self._spool.append(Kind.CLOSE, 0, json_payload({"reason": reason}))
        except OSError as error:
            raise self._failed(error) from error
        self.closed = True
        self.fail("the recording is closed")

    def fail(self, reason: str) -> None:
        """From now on every call raises `RecordingFailed` with `reason`. Any thread."""
        self._sound = False
        if self._failure is None:
            self._failure = reason

    def refuse(self, reason: str) -> None:
        """As `fail`, but the spool is sound: `close` can still be called. Any thread."""
        if self._failure is None:
            self._sound = True
            self._failure = reason

    def sync(self) -> int:
        """Make what is written durable; returns the durable offset. Raises RecordingFailed."""
        try:
            return self._spool.sync()
        except OSError as error:
            raise self._failed(error) from error

    def release(self) -> None:
        """Cut the file to what was written, sync and close it. Raises RecordingFailed."""
        try:
            self._spool.close()
        except OSError as error:
            raise self._failed(error) from error

    def _mark(self, decision: Decision, position: int) -> None:
        sequence = self._known.get(decision)
        if sequence is not None:
            self._append(_DECISION, 0, repeated_decision(position, sequence))
            return
        evidence = decision.evidence
        if len(evidence) > LARGEST_PAYLOAD:
            evidence = json_payload({"cut": len(evidence), "text": _head(evidence)})
        sequence = self._append(_DECISION, 0, full_decision(position, evidence))
        self._known_bytes += len(evidence)
        if len(self._known) >= KNOWN_DECISIONS or self._known_bytes > KNOWN_BYTES:
            self._known.clear()
            self._known_bytes = len(evidence)
        self._known[decision] = sequence

    def _data(self, direction: int, data: bytes | memoryview) -> None:
        if len(data) <= LARGEST_PAYLOAD:
            self._append(_DATA, direction, data)
            return
        view = memoryview(data)
        for start in range(0, len(view), LARGEST_PAYLOAD):
            self._append(_DATA, direction, view[start : start + LARGEST_PAYLOAD])

    def _append(self, kind: int, direction: int, payload: bytes | memoryview) -> int:
        if self._failure is not None:
            raise RecordingFailed(self._failure)
        if not self.dirty:
            self._touch()
        try:
            return self._spool.append(kind, direction, payload)
        except OSError as error:
            raise self._failed(error) from error

    def _touch(self) -> None:
        self.dirty = True
        self._dirty.touched(self)

    def _failed(self, error: OSError) -> RecordingFailed:
        self.fail(f"the recording cannot be written: {error.strerror or error}")
        return RecordingFailed(self._failure)


def _head(evidence: bytes) -> str:
    return evidence[:65536].decode("utf-8", "replace")
