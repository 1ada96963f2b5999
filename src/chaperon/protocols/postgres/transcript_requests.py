"""The agent's half of a recorded conversation: messages to statements and expected replies.

Invariant: `queue` holds, in order, what the target (or the gateway in its place) has yet to answer.
While the target skips to a Sync, names are kept aside and vanish at the Sync, as they do there.
Source: PostgreSQL 18 manual, "Message Flow" and "Message Formats".
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Final

from chaperon.protocols.postgres.transcript_codec import HEADER, TEXT_BOUND, Pieces, declared
from chaperon.protocols.postgres.transcript_model import (
    Ask,
    Decisions,
    Definition,
    Moment,
    Op,
    Portal,
    RawParameter,
    Undo,
    Unit,
    strictest,
)
from chaperon.protocols.postgres.transcript_values import render, type_name
from chaperon.recording.transcript import (
    Copied,
    Ended,
    Outcome,
    Parameter,
    Sent,
    Statement,
    TranscriptEvent,
    Verdict,
)

COPY_SHOWN = 64 * 1024
"""Bytes of COPY data that are given for one statement."""
_PARAMETERS = 1000
"""Bind values that are kept of one statement; the protocol allows 65,535."""


class Requests:
    """What was asked and not yet answered. `out` collects events for the frame being read."""

    def __init__(self, decisions: Decisions, rows: bool) -> None:
        self.out: list[TranscriptEvent] = []
        self.queue: deque[Op] = deque()
        self.definitions: dict[bytes, Definition] = {}
        self.portals: dict[bytes, Portal] = {}
        self.moment = Moment(0, 0)
        self.codec = "utf-8"
        self.skipping = False
        self.copy_in = False
        self.rows = rows
        self._decisions = decisions
        self._aside_definitions: dict[bytes, Definition] = {}
        self._aside_portals: dict[bytes, Portal] = {}
        self._next = 0
        self._copying: Unit | None = None

    def read(self, pieces: Pieces) -> None:
        """Take what the agent sent."""
        data, tags, ends, position = pieces
        start = 0
        for tag, end in zip(tags, ends, strict=True):
            if tag in (0, _COPY_DATA):
                self._copied(data, start, end, begins=tag != 0)
            else:
                self._copying = None
                handler = _HANDLERS.get(tag)
                if handler is not None:
                    verdict = self._decisions.about(position + start)
                    handler(self, data, start, end, verdict)
            start = end

    # Statements.

    def begin(
        self,
        verb: str,
        text: str,
        text_bytes: int,
        verdict: Verdict,
        portal: Portal | None = None,
        *,
        moment: Moment | None = None,
        name: str = "",
    ) -> Unit:
        """A statement was sent."""
        moment = moment or self.moment
        statement = Statement(
            ordinal=self._next,
            verb=verb,
            text=text,
            text_bytes=text_bytes,
            name=name,
            parameters=self._parameters(portal) if portal is not None else (),
            verdict=verdict,
            started_ns=moment.wall_ns,
        )
        self._next += 1
        self.out.append(Sent(statement))
        return Unit(statement, moment, portal)

    def skipped(self, unit: Unit) -> None:
        """The target discarded it."""
        ending = unit.ending(Outcome.SKIPPED, None)
        self.out.append(Ended(unit.statement, ending, self.moment.wall_ns))

    def undo(self, undo: Undo) -> None:
        """A name means again what it meant before."""
        if undo.portal:
            if isinstance(undo.before, Portal):
                self.portals[undo.name] = undo.before
            else:
                self.portals.pop(undo.name, None)
        elif isinstance(undo.before, Definition):
            self.definitions[undo.name] = undo.before
        else:
            self.definitions.pop(undo.name, None)

    def set_aside(self, op: Op) -> None:
        """What a skipped message named is known until the Sync, to tell what else is skipped."""
        if op.undo is None:
            return
        if op.portal is not None:
            self._aside_portals[op.undo.name] = op.portal
        elif op.definition is not None:
            self._aside_definitions[op.undo.name] = op.definition

    def _parameters(self, portal: Portal) -> tuple[Parameter, ...]:
        types = portal.definition.types
        parameters = []
        for index, raw in enumerate(portal.raw):
            oid = types[index] if index < len(types) else 0
            data = None if raw.size < 0 else raw.data
            value = render(data, oid, raw.binary, self.codec, raw.size)
            parameters.append(Parameter(value, type_name(oid), raw.binary))
        return tuple(parameters)

    def _text(self, data: bytes, start: int, end: int, message: int) -> tuple[str, int]:
        """The string at `start` and its whole size; `message` is where its message begins."""
        stop = data.find(b"\0", start, end)
        if stop < 0:
            stop = end
            whole = max(message + declared(data, message) - start - 1, end - start)
        else:
            whole = stop - start
        if whole > TEXT_BOUND:
            head = data[start : min(stop, start + TEXT_BOUND)]
            return head.decode(self.codec, "ignore"), whole
        return data[start:stop].decode(self.codec, "replace"), whole

    # Messages, by tag.

    def _query(self, data: bytes, start: int, end: int, verdict: Verdict | None) -> None:
        text, size = self._text(data, start + HEADER, end, start)
        unit = self.begin("query", text, size, strictest([verdict]))
        if self.skipping:
            self.skipped(unit)
        else:
            self.queue.append(Op(Ask.QUERY, unit))

    def _call(self, data: bytes, start: int, end: int, verdict: Verdict | None) -> None:
        oid = int.from_bytes(data[start + HEADER : min(start + HEADER + 4, end)], "big")
        text = f"-- FunctionCall of function {oid}"
        unit = self.begin("call", text, len(text), strictest([verdict]))
        if self.skipping:
            self.skipped(unit)
        else:
            self.queue.append(Op(Ask.CALL, unit))

    def _parse(self, data: bytes, start: int, end: int, verdict: Verdict | None) -> None:
        name, at = _string(data, start + HEADER, end)
        text, size = self._text(data, at, end, start)
        shown = name.decode(self.codec, "replace")
        definition = Definition(shown, text, size, verdict, self.moment)
        definition.types = _oids(data, at + size + 1, end)
        if self.skipping:
            self._aside_definitions[name] = definition
            return
        undo = Undo(False, name, self.definitions.get(name))
        self.definitions[name] = definition
        self.queue.append(Op(Ask.PARSE, definition=definition, undo=undo))

    def _bind(self, data: bytes, start: int, end: int, verdict: Verdict | None) -> None:
        name, at = _string(data, start + HEADER, end)
        of, at = _string(data, at, end)
        definition = self._definition(of)
        raw, formats = _bound(data, at, end)
        portal = Portal(definition, raw, formats, verdict, self.moment)
        if self.skipping:
            self._aside_portals[name] = portal
            return
        undo = Undo(True, name, self.portals.get(name))
        self.portals[name] = portal
        self.queue.append(Op(Ask.BIND, portal=portal, undo=undo))

    def _describe(self, data: bytes, start: int, end: int, _: Verdict | None) -> None:
        if self.skipping:
            return
        name, _at = _string(data, start + HEADER + 1, end)
        if data[start + HEADER : start + HEADER + 1] == b"P":
            portal = self.portals.get(name)
            self.queue.append(Op(Ask.DESCRIBE, portal=portal))
        else:
            self.queue.append(Op(Ask.DESCRIBE, definition=self.definitions.get(name)))

    def _execute(self, data: bytes, start: int, end: int, verdict: Verdict | None) -> None:
        name, _at = _string(data, start + HEADER, end)
        portal = self._aside_portals.get(name) if self.skipping else None
        portal = portal or self.portals.get(name)
        if portal is None:
            unknown = Definition("", "", 0, None, self.moment)
            portal = Portal(unknown, (), (), None, self.moment)
        definition = portal.definition
        if self.skipping and (definition.reported or portal.reported):
            definition.reported = portal.reported = False
            return
        unit = self.begin(
            "execute",
            definition.text,
            definition.text_bytes,
            strictest([definition.verdict, portal.verdict, verdict]),
            portal,
            name=definition.name,
        )
        unit.formats = portal.formats
        if self.skipping:
            self.skipped(unit)
        else:
            self.queue.append(Op(Ask.EXECUTE, unit, definition, portal))

    def _close(self, data: bytes, start: int, end: int, _: Verdict | None) -> None:
        if self.skipping:
            return
        name, _at = _string(data, start + HEADER + 1, end)
        if data[start + HEADER : start + HEADER + 1] == b"P":
            before: Definition | Portal | None = self.portals.pop(name, None)
            undo = Undo(True, name, before)
        else:
            before = self.definitions.pop(name, None)
            undo = Undo(False, name, before)
        self.queue.append(Op(Ask.CLOSE, undo=undo))

    def _sync(self, _data: bytes, _start: int, _end: int, _: Verdict | None) -> None:
        self.skipping = False
        self._aside_definitions.clear()
        self._aside_portals.clear()
        # "In copy-in mode the backend ignores Flush and Sync messages".
        if not self.copy_in:
            self.queue.append(Op(Ask.SYNC))

    def _copy_end(self, _data: bytes, _start: int, _end: int, _: Verdict | None) -> None:
        if self.copy_in:
            self.copy_in = False
        elif any(op.ask in (Ask.EXECUTE, Ask.QUERY) for op in self.queue):
            self.queue.append(Op(Ask.COPY_END))

    def _copied(self, data: bytes, start: int, end: int, *, begins: bool) -> None:
        """COPY data from the agent, or the rest of any message that was cut."""
        if begins:
            self._copying = self.queue[0].unit if self.queue else None
            if self._copying is not None:
                self.copy_data(self._copying, data[start + HEADER : end], from_agent=True)
        elif self._copying is not None:
            self._copying.size += end - start

    def copy_data(self, unit: Unit, payload: bytes, *, from_agent: bool) -> None:
        """COPY data of `unit`, one message or its beginning."""
        unit.size += len(payload)
        if self.rows and unit.copy_shown < COPY_SHOWN:
            shown = payload[: COPY_SHOWN - unit.copy_shown]
            unit.copy_shown += len(shown)
            self.out.append(Copied(unit.statement.ordinal, from_agent, shown, len(payload)))

    def _definition(self, name: bytes) -> Definition:
        found = self._aside_definitions.get(name) if self.skipping else None
        found = found or self.definitions.get(name)
        if found is None:
            # Made by SQL PREPARE, or never.
            found = Definition(name.decode(self.codec, "replace"), "", 0, None, self.moment)
        return found


def _string(data: bytes, start: int, end: int) -> tuple[bytes, int]:
    stop = data.find(b"\0", start, end)
    return (data[start:stop], stop + 1) if stop >= 0 else (data[start:end], end)


def _oids(data: bytes, at: int, end: int) -> tuple[int, ...]:
    try:
        (count,) = struct.unpack_from("!H", data, at)
        if at + 2 + 4 * count > end:
            return ()
        return struct.unpack_from(f"!{count}I", data, at + 2)
    except struct.error:
        return ()


def _bound(data: bytes, at: int, end: int) -> tuple[tuple[RawParameter, ...], tuple[int, ...]]:
    """Bind from its parameter formats on: as many values as are there, and the result formats."""
    raw: list[RawParameter] = []
    try:
        formats, at = _shorts(data, at, end)
        (count,) = struct.unpack_from("!H", data, at)
        at += 2
        for index in range(count):
            if at + 4 > end:
                return tuple(raw), ()
            (size,) = struct.unpack_from("!i", data, at)
            at += 4
            code = formats[index] if index < len(formats) else 0
            binary = (formats[0] if len(formats) == 1 else code) == 1
            length = max(size, 0)
            if len(raw) < _PARAMETERS:
                raw.append(RawParameter(data[at : min(at + length, end)], size, binary))
            at += length
        results, at = _shorts(data, at, end)
    except struct.error:
        return tuple(raw), ()
    return tuple(raw), results


def _shorts(data: bytes, at: int, end: int) -> tuple[tuple[int, ...], int]:
    (count,) = struct.unpack_from("!H", data, at)
    if at + 2 + 2 * count > end:
        raise struct.error("cut")
    return struct.unpack_from(f"!{count}H", data, at + 2), at + 2 + 2 * count


_COPY_DATA: Final = ord("d")
_Handler = Callable[[Requests, bytes, int, int, Verdict | None], None]
_HANDLERS: Final[dict[int, _Handler]] = {
    ord("Q"): Requests._query,
    ord("F"): Requests._call,
    ord("P"): Requests._parse,
    ord("B"): Requests._bind,
    ord("D"): Requests._describe,
    ord("E"): Requests._execute,
    ord("C"): Requests._close,
    ord("S"): Requests._sync,
    ord("c"): Requests._copy_end,
    ord("f"): Requests._copy_end,
}
