"""One recording on its way into the store: frames in, rows out, as often as there is more."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from chaperon.protocols.registry import REGISTRY
from chaperon.recording.frame import Frame, Json, Kind, read_json
from chaperon.recording.place import SUFFIX, corrupt_folder, day_folder, spool_folder
from chaperon.recording.reader import DamagedRecording, RecordingReader
from chaperon.recording.transcript import (
    Decoder,
    Ended,
    Finished,
    Note,
    Outcome,
    Parameter,
    TranscriptEvent,
)
from chaperon.store import SessionRow, StatementRow

STATEMENTS_AT_ONCE = 2000
BYTES_AT_ONCE = 64 * 1024 * 1024
PATIENCE_SECONDS = 1.0


class Indexed:
    """Follows a recording. The same recording gives the same rows, whenever it is read."""

    def __init__(self, data: Path, path: Path) -> None:
        """Open it. Raises OSError; DamagedRecording where it is no recording at all."""
        self._data = data
        self._corrupt = path.parent == corrupt_folder(data)
        live = path.parent == spool_folder(data)
        self._reader = RecordingReader(path, live=live)
        self._decoder: Decoder | None = None
        self._meta: Mapping[str, Json] = {}
        self._started_ns = 0
        self._ended_ns: int | None = None
        self._reason: str | None = None
        self._damage = ""
        self._patience = 0.0
        self._statements = 0
        self._denied = 0
        self._failed = 0
        self.finished = False
        """Nothing more will come."""

    @property
    def session(self) -> str:
        """The session's id."""
        return self._reader.session

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._reader.offset

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def more(self) -> bool:
        """Whether there is something to read. Raises OSError."""
        if self.finished or time.monotonic() < self._patience:
            return False
        return not self._reader.live or self._reader.more()

    def advance(self) -> list[StatementRow]:
        """Read on, up to a bound; call again while `more()`. Raises OSError."""
        rows: list[StatementRow] = []
        stop = self._reader.offset + BYTES_AT_ONCE
        try:
            for frame in self._reader.read():
                self._take(frame, rows)
                if len(rows) >= STATEMENTS_AT_ONCE or self._reader.offset >= stop:
                    return rows
        except DamagedRecording as error:
            if self._reader.live:
                # Half a frame, as a killed gateway leaves it: recovery has the word on it.
                self._patience = time.monotonic() + PATIENCE_SECONDS
                return rows
            self._damage = f"byte {error.offset}: {error.reason}"
            self._end(rows)
            return rows
        if self._reader.closed:
            self._end(rows)
        elif not self._reader.live:
            self._damage = f"byte {self._reader.offset}: it ends without a CLOSE"
            self._end(rows)
        return rows

    def row(self) -> SessionRow:
        """The session as it is known now."""
        meta = self._meta
        return SessionRow(
            id=self.session,
            protocol=str(meta.get("protocol", "")),
            principal=str(meta.get("principal", "")),
            resource=str(meta.get("resource", "")),
            peer=str(meta.get("peer", "")),
            started_ns=self._started_ns,
            ended_ns=self._ended_ns,
            reason=self._reason,
            policy_hash=str(meta.get("policy_hash", "")),
            statements=self._statements,
            denied=self._denied,
            failed=self._failed,
            recorded_bytes=self._reader.offset,
            complete=self.finished,
            damage=self._damage,
            path=str(self._place().relative_to(self._data)),
            meta=dict(meta),
        )

    def _place(self) -> Path:
        name = f"{self.session}{SUFFIX}"
        if self._corrupt:
            return corrupt_folder(self._data) / name
        if self.finished and self._reader.closed:
            return day_folder(self._data, self._started_ns) / name
        return self._reader.path

    def _take(self, frame: Frame, rows: list[StatementRow]) -> None:
        if self._started_ns == 0:
            self._started_ns = frame.wall_ns
        if self._decoder is None and frame.kind == Kind.META:
            try:
                self._meta = read_json(frame.payload)
            except ValueError as error:
                self._damage = f"META cannot be read: {error}"
            spec = REGISTRY.get(str(self._meta.get("protocol", "")))
            if spec is not None:
                self._decoder = spec.transcript()
        if self._decoder is not None:
            for event in self._decoder.feed(frame):
                self._event(event, rows)
        elif frame.kind == Kind.CLOSE:
            self._ended_ns = frame.wall_ns
            self._reason = "unknown protocol"

    def _event(self, event: TranscriptEvent, rows: list[StatementRow]) -> None:
        if isinstance(event, Ended):
            self._statements += 1
            outcome = event.ending.outcome
            self._denied += outcome is Outcome.DENIED
            self._failed += outcome is Outcome.FAILED
            rows.append(statement_row(self.session, event))
        elif isinstance(event, Finished):
            self._ended_ns = event.wall_ns
            self._reason = event.reason
        elif isinstance(event, Note) and event.kind == "damage" and not self._damage:
            self._damage = event.text

    def _end(self, rows: list[StatementRow]) -> None:
        self.finished = True
        if self._decoder is not None:
            for event in self._decoder.finish():
                self._event(event, rows)


def statement_row(session: str, event: Ended) -> StatementRow:
    """The store's form of a statement that has ended."""
    statement, ending = event.statement, event.ending
    failure = ending.failure
    verdict = statement.verdict
    return StatementRow(
        session=session,
        ordinal=statement.ordinal,
        verb=statement.verb,
        text=statement.text,
        text_bytes=statement.text_bytes,
        values=[parameter_json(parameter) for parameter in statement.parameters],
        verdict=verdict.verdict,
        policy=verdict.policy,
        message=verdict.message,
        facts=verdict.facts,
        outcome=ending.outcome.value,
        started_ns=statement.started_ns,
        first_row_ms=ending.first_row_ms,
        total_ms=ending.total_ms,
        rows=ending.rows,
        affected=ending.affected,
        size=ending.size,
        error_code=failure.code if failure is not None else "",
        error_message=failure.message if failure is not None else "",
        tag=ending.tag,
    )


def parameter_json(parameter: Parameter) -> dict[str, Json]:
    """A bind value for the index and for machines."""
    value = parameter.value
    entry: dict[str, Json] = {"value": value.text, "type": parameter.type, "size": value.size}
    if value.cut:
        entry["cut"] = True
    if parameter.binary:
        entry["binary"] = True
    return entry
