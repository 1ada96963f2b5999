"""The other half: what the agent got, matched against what it asked, gives results and endings.

Never raises: a message that answers nothing is passed over, and ReadyForQuery brings both in step
again. Source: PostgreSQL 18 manual, "Message Flow" and "Error and Notice Message Fields".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from chaperon._core import data_row
from chaperon.protocols.postgres.messages import read_error
from chaperon.protocols.postgres.transcript_codec import HEADER, Pieces, declared
from chaperon.protocols.postgres.transcript_model import (
    Ask,
    Definition,
    Op,
    Portal,
    Unit,
    strictest,
)
from chaperon.protocols.postgres.transcript_requests import Requests
from chaperon.protocols.postgres.transcript_values import (
    CODECS,
    is_numeric,
    render,
    type_name,
)
from chaperon.recording.transcript import (
    Column,
    Columns,
    Ended,
    Failure,
    Note,
    Outcome,
    ResultEnded,
    Rows,
    Value,
)

_ROWS_AT_ONCE = 256


class Replies:
    """Reads what the agent got."""

    def __init__(self, requests: Requests) -> None:
        self._asked = requests
        self._row_unit: Unit | None = None
        self._pending: list[tuple[Value, ...]] = []

    def read(self, pieces: Pieces) -> None:
        """Take what was sent to the agent."""
        data, tags, ends, _ = pieces
        start = 0
        for tag, end in zip(tags, ends, strict=True):
            if tag == _ROW:
                self._row(data, start, end)
            elif tag == 0:
                if self._row_unit is not None:
                    self._row_unit.size += end - start
            else:
                self._flush()
                self._row_unit = None
                handler = _HANDLERS.get(tag)
                if handler is not None:
                    handler(self, data, start + HEADER, end)
            start = end
        self._flush()

    # Rows.

    def _row(self, data: bytes, start: int, end: int) -> None:
        unit = self._row_unit
        if unit is None:
            unit = self._unit()
            if unit is None:
                return
            self._row_unit = unit
            if unit.first_row is None:
                unit.first_row = self._asked.moment.mono_ns
            self._tell_columns(unit)
        unit.rows += 1
        unit.result_rows += 1
        unit.size += end - start - HEADER
        if self._asked.rows:
            self._pending.append(self._values(unit, data, start, end))
            if len(self._pending) >= _ROWS_AT_ONCE:
                self._flush()

    def _flush(self) -> None:
        if self._pending and self._row_unit is not None:
            ordinal = self._row_unit.statement.ordinal
            self._asked.out.append(Rows(ordinal, tuple(self._pending)))
        self._pending.clear()

    def _values(self, unit: Unit, data: bytes, start: int, end: int) -> tuple[Value, ...]:
        payload = data[start + HEADER : end]
        fields: list[tuple[bytes | None, int]]
        if declared(data, start) == end - start:
            try:
                fields = [(field, len(field or b"")) for field in data_row(payload)]
            except ValueError:
                fields = []
        else:
            fields = _cut_row(payload)
        codec, oids, formats = self._asked.codec, unit.oids, unit.formats
        every = formats[0] if len(formats) == 1 else 0
        return tuple(
            render(
                field,
                oids[index] if index < len(oids) else 0,
                (formats[index] if 1 < len(formats) > index else every) == 1,
                codec,
                size,
            )
            for index, (field, size) in enumerate(fields)
        )

    def _tell_columns(self, unit: Unit) -> None:
        if unit.told_columns:
            return
        if not unit.columns and unit.portal is not None:
            definition = unit.portal.definition
            unit.columns = definition.columns or ()
            unit.oids = definition.oids
        if unit.columns:
            unit.told_columns = True
            self._asked.out.append(Columns(unit.statement.ordinal, unit.columns))

    # Messages, by tag; `start` is behind the header.

    def _row_description(self, data: bytes, start: int, end: int) -> None:
        op = self._head()
        if op is None:
            return
        columns, oids, formats = _described(data, start, end, self._asked.codec)
        if op.ask is Ask.DESCRIBE:
            self._pop()
            definition = op.definition or (op.portal.definition if op.portal else None)
            if definition is not None:
                definition.columns = columns
                definition.oids = oids
        elif op.unit is not None:
            unit = op.unit
            unit.columns, unit.oids, unit.formats = columns, oids, formats
            unit.told_columns = False
            self._tell_columns(unit)

    def _no_data(self, _data: bytes, _start: int, _end: int) -> None:
        op = self._head()
        if op is not None and op.ask is Ask.DESCRIBE:
            self._pop()

    def _parameter_description(self, data: bytes, start: int, end: int) -> None:
        op = self._head()
        if op is None or op.definition is None or end - start < 2:
            return
        (count,) = struct.unpack_from("!H", data, start)
        if start + 2 + 4 * count <= end:
            op.definition.types = struct.unpack_from(f"!{count}I", data, start + 2)

    def _done(self, ask: Ask) -> None:
        op = self._head()
        if op is not None and op.ask is ask:
            self._pop()

    def _parse_complete(self, _data: bytes, _start: int, _end: int) -> None:
        self._done(Ask.PARSE)

    def _bind_complete(self, _data: bytes, _start: int, _end: int) -> None:
        self._done(Ask.BIND)

    def _close_complete(self, _data: bytes, _start: int, _end: int) -> None:
        self._done(Ask.CLOSE)

    def _command_complete(self, data: bytes, start: int, end: int) -> None:
        self._result(_text(data, start, end), Outcome.COMPLETED)

    def _empty_query(self, _data: bytes, _start: int, _end: int) -> None:
        self._result("", Outcome.COMPLETED)

    def _suspended(self, _data: bytes, _start: int, _end: int) -> None:
        self._result("", Outcome.SUSPENDED)

    def _result(self, tag: str, outcome: Outcome) -> None:
        op = self._head()
        if op is None or op.unit is None or op.ask not in (Ask.EXECUTE, Ask.QUERY):
            return
        unit = op.unit
        self._asked.copy_in = False
        if op.ask is Ask.EXECUTE and tag.startswith("SELECT"):
            self._tell_columns(unit)
        if tag:
            unit.tagged(tag)
        rows, unit.result_rows = unit.result_rows, 0
        self._asked.out.append(ResultEnded(unit.statement.ordinal, tag, rows))
        if op.ask is Ask.EXECUTE:
            self._end(unit, outcome)
            self._pop()
        unit.told_columns = False
        unit.columns = ()

    def _copy_begins(self, _data: bytes, _start: int, _end: int) -> None:
        """CopyInResponse or CopyBothResponse."""
        asked = self._asked
        op = self._head()
        if op is None or op.ask not in (Ask.EXECUTE, Ask.QUERY):
            return
        # "In copy-in mode the backend ignores Flush and Sync messages": their replies never come.
        ended = False
        kept = []
        for entry in asked.queue:
            ended = ended or entry.ask is Ask.COPY_END
            if ended or entry.ask is not Ask.SYNC:
                kept.append(entry)
        asked.queue.clear()
        asked.queue.extend(kept)
        asked.copy_in = not ended

    def _copy_data(self, data: bytes, start: int, end: int) -> None:
        unit = self._unit()
        if unit is not None:
            if unit.first_row is None:
                unit.first_row = self._asked.moment.mono_ns
            self._asked.copy_data(unit, data[start:end], from_agent=False)
            self._row_unit = unit

    def _function_result(self, _data: bytes, start: int, end: int) -> None:
        op = self._head()
        if op is not None and op.ask is Ask.CALL and op.unit is not None:
            op.unit.rows = 1
            op.unit.size = end - start
            op.unit.first_row = self._asked.moment.mono_ns

    def _error(self, data: bytes, start: int, end: int) -> None:
        fields = read_error(data[start:end])
        failure = Failure(
            fields.get("C", ""), fields.get("M", ""), fields.get("D", ""), fields.get("H", "")
        )
        asked = self._asked
        op = self._head()
        asked.copy_in = False
        if op is None:
            self._note("error", failure.message, dict(fields))
        elif op.ask in (Ask.QUERY, Ask.CALL):
            if op.unit is not None:
                self._fail(op.unit, failure)
                op.unit = None
        elif op.ask is Ask.SYNC:
            unit = asked.begin("sync", "", 0, strictest([]))
            self._fail(unit, failure)
        else:
            self._extended_error(failure)

    def _extended_error(self, failure: Failure) -> None:
        """ "… issues ErrorResponse, then reads and discards messages until a Sync is reached"."""
        asked = self._asked
        dropped: list[Op] = []
        while asked.queue and asked.queue[0].ask is not Ask.SYNC:
            dropped.append(asked.queue.popleft())
        asked.skipping = not asked.queue
        for op in reversed(dropped):
            if op.undo is not None:
                asked.undo(op.undo)
        head = dropped[0]
        failed = _execution_of(head, dropped)
        if failed is None:
            failed = self._unexecuted(head)
        if failed is not None:
            self._fail(failed, failure)
        else:
            self._note("error", failure.message, {"C": failure.code})
        for op in dropped:
            if asked.skipping:
                asked.set_aside(op)
            if op.unit is not None and op.unit is not failed:
                asked.skipped(op.unit)

    def _unexecuted(self, op: Op) -> Unit | None:
        """The statement of a Parse, Bind or Describe that failed before it was executed."""
        asked = self._asked
        portal = op.portal
        definition = op.definition or (portal.definition if portal else None)
        if definition is None:
            return None
        verb = {Ask.PARSE: "parse", Ask.BIND: "bind"}.get(op.ask, "describe")
        (portal or definition).reported = True
        return asked.begin(
            verb,
            definition.text,
            definition.text_bytes,
            strictest([definition.verdict, portal.verdict if portal else None]),
            portal,
            moment=(portal or definition).moment,
            name=definition.name,
        )

    def _ready(self, _data: bytes, _start: int, _end: int) -> None:
        asked = self._asked
        asked.copy_in = False
        while asked.queue:
            op = asked.queue.popleft()
            last = op.ask in (Ask.QUERY, Ask.CALL, Ask.SYNC)
            if op.unit is not None:
                self._end(op.unit, Outcome.COMPLETED if last else Outcome.UNFINISHED)
            if last:
                break
        self._drop_markers()

    def _notice(self, data: bytes, start: int, end: int) -> None:
        fields = read_error(data[start:end])
        self._note("notice", fields.get("M", ""), dict(fields))

    def _notification(self, data: bytes, start: int, end: int) -> None:
        if end - start < 4:
            return
        parts = data[start + 4 : end].split(b"\0")
        channel = parts[0].decode(self._asked.codec, "replace")
        payload = parts[1].decode(self._asked.codec, "replace") if len(parts) > 1 else ""
        pid = int.from_bytes(data[start : start + 4], "big")
        self._note("notification", channel, {"payload": payload, "pid": pid})

    def _setting(self, data: bytes, start: int, end: int) -> None:
        name, _, rest = data[start:end].partition(b"\0")
        value = rest.partition(b"\0")[0].decode("utf-8", "replace")
        if name == b"client_encoding":
            self._asked.codec = CODECS.get(value.upper(), "utf-8")
        self._note("setting", name.decode("utf-8", "replace"), {"value": value})

    # Helpers.

    def finish(self, outcome: Outcome = Outcome.UNFINISHED) -> None:
        """The session ended: so does what is under way."""
        self._flush()
        while self._asked.queue:
            op = self._asked.queue.popleft()
            if op.unit is not None:
                wall = self._asked.moment.wall_ns
                self._asked.out.append(
                    Ended(op.unit.statement, op.unit.ending(outcome, None), wall)
                )

    def _head(self) -> Op | None:
        return self._asked.queue[0] if self._asked.queue else None

    def _unit(self) -> Unit | None:
        op = self._head()
        return op.unit if op is not None and op.ask in (Ask.EXECUTE, Ask.QUERY) else None

    def _pop(self) -> None:
        self._asked.queue.popleft()
        self._drop_markers()

    def _drop_markers(self) -> None:
        while self._asked.queue and self._asked.queue[0].ask is Ask.COPY_END:
            self._asked.queue.popleft()

    def _end(self, unit: Unit, outcome: Outcome) -> None:
        moment = self._asked.moment
        ending = unit.ending(outcome, moment.mono_ns)
        self._asked.out.append(Ended(unit.statement, ending, moment.wall_ns))

    def _fail(self, unit: Unit, failure: Failure) -> None:
        moment = self._asked.moment
        outcome = Outcome.DENIED if unit.statement.verdict.denied else Outcome.FAILED
        ending = unit.ending(outcome, moment.mono_ns, failure)
        self._asked.out.append(Ended(unit.statement, ending, moment.wall_ns))

    def _note(self, kind: str, text: str, detail: dict[str, str | int]) -> None:
        self._asked.out.append(Note(kind, text, self._asked.moment.wall_ns, {**detail}))


def _execution_of(head: Op, dropped: list[Op]) -> Unit | None:
    """The first execution, among what was dropped with it, of what `head` is about."""
    if head.ask is Ask.EXECUTE:
        return head.unit
    definition: Definition | None = head.definition
    portal: Portal | None = head.portal
    for op in dropped:
        if op.unit is None or op.portal is None:
            continue
        if portal is not None and op.portal is portal:
            return op.unit
        if definition is not None and op.portal.definition is definition:
            return op.unit
    return None


def _described(
    data: bytes, start: int, end: int, codec: str
) -> tuple[tuple[Column, ...], tuple[int, ...], tuple[int, ...]]:
    """RowDescription: names and types, OIDs, formats; as many columns as are there."""
    columns: list[Column] = []
    oids: list[int] = []
    formats: list[int] = []
    at = start + 2
    while at < end:
        stop = data.find(b"\0", at, end)
        if stop < 0 or stop + 19 > end:
            break
        _, _, oid, _, _, format_ = struct.unpack_from("!IhIhih", data, stop + 1)
        name = data[at:stop].decode(codec, "replace")
        columns.append(Column(name, type_name(oid), is_numeric(oid)))
        oids.append(oid)
        formats.append(format_)
        at = stop + 19
    return tuple(columns), tuple(oids), tuple(formats)


def _cut_row(payload: bytes) -> list[tuple[bytes | None, int]]:
    """The fields at the beginning of a DataRow that was cut."""
    fields: list[tuple[bytes | None, int]] = []
    at = 2
    while at + 4 <= len(payload):
        (size,) = struct.unpack_from("!i", payload, at)
        at += 4
        if size < 0:
            fields.append((None, 0))
            continue
        fields.append((payload[at : at + size], size))
        at += size
    return fields


def _text(data: bytes, start: int, end: int) -> str:
    stop = data.find(b"\0", start, end)
    return data[start : stop if stop >= 0 else end].decode("utf-8", "replace")


_ROW: Final = ord("D")
_Handler = Callable[[Replies, bytes, int, int], None]
_HANDLERS: Final[dict[int, _Handler]] = {
    ord("T"): Replies._row_description,
    ord("n"): Replies._no_data,
    ord("t"): Replies._parameter_description,
    ord("1"): Replies._parse_complete,
    ord("2"): Replies._bind_complete,
    ord("3"): Replies._close_complete,
    ord("C"): Replies._command_complete,
    ord("I"): Replies._empty_query,
    ord("s"): Replies._suspended,
    ord("G"): Replies._copy_begins,
    ord("W"): Replies._copy_begins,
    ord("d"): Replies._copy_data,
    ord("V"): Replies._function_result,
    ord("E"): Replies._error,
    ord("Z"): Replies._ready,
    ord("N"): Replies._notice,
    ord("A"): Replies._notification,
    ord("S"): Replies._setting,
}
