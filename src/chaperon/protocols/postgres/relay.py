"""The conversation after authentication: each statement decided, each byte forwarded once.

Invariant: agent's messages are handled strictly in order. One that must wait (for a decision, for
the server's word on names, for a cancel under way) holds back everything behind it, and what is
behind it is not even framed.
Source: PostgreSQL 18 manual, "Message Flow".
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from chaperon.facts.credentials import whole
from chaperon.protocols.postgres import gate as names_of
from chaperon.protocols.postgres.codec import HEADER, backend_codec, frontend_codec
from chaperon.protocols.postgres.denial import (
    FAILING_PARSE,
    FAILING_QUERY,
    denial_response,
    too_long,
)
from chaperon.protocols.postgres.gate import Gate, Generation
from chaperon.protocols.postgres.messages import (
    cstring,
    int32,
    own_types,
    query,
    read_bind,
    read_bind_values,
    read_parse,
    read_query,
    ready_for_query,
)
from chaperon.protocols.postgres.namespace import Namespace, Portal, Prepared, Undo, name_key
from chaperon.protocols.postgres.operations import (
    concealed,
    quoted,
    secrets_of,
    struck_out,
)
from chaperon.protocols.postgres.plan import Plan, StatementContext
from chaperon.protocols.postgres.replies import (
    BIND,
    CALL,
    CLOSE,
    COPY_END,
    DESCRIBE,
    EXECUTE,
    IDLE,
    PARSE,
    QUERY,
    SYNC,
    Ask,
    Expect,
    Replies,
)
from chaperon.wire.commands import (
    Command,
    Decide,
    DialCancel,
    Direction,
    Forward,
    Hold,
    Invalidate,
    Mark,
    Note,
    Record,
    Reply,
    Resume,
)
from chaperon.wire.errors import ProtocolViolation, Side
from chaperon.wire.operation import Operation
from chaperon.wire.permit import Decision, Denial, Permit

_INBOX = 256 * 1024
_FAILED: Final = ord("E")


class _Wait(Enum):
    """Why the agent's next message is held back."""

    NOTHING = auto()
    DECISION = auto()
    SERVER = auto()
    """Everything in flight must be answered before names can be asked for."""
    NAMES = auto()


class _Do(Enum):
    """What becomes of one message."""

    PASS = auto()
    DROP = auto()
    WAIT = auto()


class Relay:
    """Relays one authenticated session. `permit` is the one of its connect."""

    def __init__(
        self,
        permit: Permit,
        generation: Generation,
        inspection_limit: int,
        cancel: DialCancel,
        *,
        replication: bool = False,
        utf8: bool = True,
    ) -> None:
        self._permit = permit
        self._current = permit
        """The permit of the statement that passed last; each one's own stands in the marks."""
        self._replication = replication
        self._limit = inspection_limit
        self._cancel = cancel
        self._front = frontend_codec(inspection_limit)
        self._back = backend_codec()
        self._names = Namespace()
        self._replies = Replies(self._names)
        self._gate = Gate(generation, utf8)
        self._data = b""
        self._tags = b""
        self._ends: tuple[int, ...] = ()
        self._next = 0
        self._base = 0
        """The count of the agent's bytes before the batch."""
        self._segment = 0
        """Where in the batch the part begins that passes but is not forwarded yet."""
        self._marks: list[Mark] = []
        self._secrets: list[tuple[int, int]] = []
        self._out: list[Command] = []
        self._inbox: list[bytes] = []
        self._inbox_size = 0
        self._held = False
        self._wait = _Wait.NOTHING
        self._cancelling = False
        self._ticket = 0
        self._bound: Portal | None = None
        self._asked = b""
        self._asked_types: tuple[int, ...] = ()
        self._asked_version = 0
        self._answer: Decision | None = None
        self._sent = False
        """Something was forwarded since the last Sync."""
        self._skipping = False
        """The agent's pipeline has failed; its messages are dropped up to Sync."""
        self._skipping_alone = False
        """The server knows nothing of the failed pipeline, so the gateway answers its Sync."""
        self._drop_copy = False
        self._rest_passes = True
        self._quoted: list[bytes] = []
        """Credentials in statements that the target is about to answer."""
        self._secret_rest = False
        """A statement that is dropped unread may hold a credential from here on."""
        self._touched = False
        """The open transaction may have changed what names mean."""
        self._ddl_open = False
        self._probe: list[bytes] = []
        self._probe_full = False
        self._probe_failed = False
        self.terminated = False

    # The agent's side.

    def frontend(self, data: bytes) -> list[Command]:
        """Take bytes from the agent."""
        if self._wait is not _Wait.NOTHING or self._cancelling:
            self._inbox.append(data)
            self._inbox_size += len(data)
            if self._inbox_size > _INBOX and not self._held:
                self._held = True
                return [Hold(Side.DOWNSTREAM)]
            return []
        self._gate.refresh()
        self._take(data)
        replies = self._replies
        if self._tags in _CYCLES and not (self._skipping or replies.skipping or replies.copy_in):
            forward = self._cycle()
            if forward is not None:
                return [forward]
        return self._walk()

    def _cycle(self) -> Forward | None:
        """One whole query of a kind that was decided before, which is what most reads hold.

        Does what `_walk` would do for it, or nothing (None) where anything is out of the ordinary.
        """
        data, tags, ends = self._data, self._tags, self._ends
        size = len(data)
        if ends[-1] != size:
            return None
        queue = self._replies.queue
        if tags == b"Q":
            # A message over the inspection limit is reported before it is complete.
            if data.find(0, HEADER) != size - 1 or int32(data, 1) != size - 1:
                return None
            permit = self._gate.recall(data[HEADER:-1])
            if permit is None:
                return None
            plan = permit.statement_facts
            if not isinstance(plan, Plan) or not plan.plain or plan.secrets:
                return None
            queue.append(QUERY)
            start = 0
        else:
            at = 0
            text = None
            types = b""
            if tags[0] == _PARSE:
                # Only the unnamed statement, parsed again with the same text.
                stop = data.find(0, HEADER + 1)
                if data[HEADER] or stop < 0:
                    return None
                text = data[HEADER + 1 : stop]
                types = data[stop + 1 : ends[0]]
                at = ends[0]
            stop = data.find(0, at + HEADER + 1)
            prepared = self._names.statements.get(data[at + HEADER + 1 : stop])
            start = ends[-3]
            if (
                prepared is None
                or prepared.version != self._gate.version
                or not prepared.plan.plain
                or (text is not None and (prepared.text != text or prepared.types != types))
                or data[at + HEADER]
                or data[start + HEADER]
            ):
                return None
            permit = prepared.permit
            if self._bound is None or self._bound.prepared is not prepared:
                self._bound = Portal(prepared)
            self._names.portals[b""] = self._bound
            queue.extend(_CYCLES[tags])
        self._drop_copy = self._sent = False
        self._next = len(tags)
        self._segment = size
        self._current = permit
        return Forward(permit, data, (Mark(permit, self._base + start),))

    def _take(self, data: bytes) -> None:
        if self._ends:
            self._base += self._ends[-1]
        self._data, self._tags, self._ends = self._front.feed(data)
        self._next = 0
        self._segment = 0

    def _walk(self) -> list[Command]:
        out = self._out
        while True:
            data, tags, ends = self._data, self._tags, self._ends
            index = self._next
            start = ends[index - 1] if index else 0
            waiting = False
            for tag in tags[index:]:
                end = ends[index]
                handler = _HANDLERS.get(tag)
                if handler is None:
                    raise ProtocolViolation(Side.DOWNSTREAM, f"unexpected message {chr(tag)!r}")
                self._next = index
                if self._replies.copy_in and tag in _NOT_IN_COPY:
                    raise ProtocolViolation(
                        Side.DOWNSTREAM, f"message {chr(tag)!r} in the middle of COPY data"
                    )
                do = handler(self, data, start, end)
                if do is _Do.WAIT:
                    waiting = True
                    break
                # An answer is for one message only, even where that was dropped in the meantime.
                self._answer = None
                if do is _Do.DROP:
                    # What a handler put into `out` comes behind the bytes before it and its record.
                    self._segment = end
                start = end
                index += 1
            self._next = index
            self._flush(start)
            if waiting or not self._inbox:
                break
            waiting_data = b"".join(self._inbox)
            self._inbox.clear()
            self._inbox_size = 0
            self._take(waiting_data)
        if self._held and not self._inbox:
            self._held = False
            out.append(Resume(Side.DOWNSTREAM))
        self._out = []
        return out

    def _flush(self, end: int) -> None:
        """Forward what passes, up to `end`."""
        start = self._segment
        if end > start:
            data = self._data
            piece = data if start == 0 and end == len(data) else memoryview(data)[start:end]
            recorded = self._redacted(start, end) if self._secrets else None
            self._out.append(Forward(self._current, piece, tuple(self._marks), recorded))
            self._segment = end
        self._marks.clear()

    def _redacted(self, start: int, end: int) -> bytes:
        clean = bytearray(memoryview(self._data)[start:end])
        for first, last in self._secrets:
            low, high = max(first - start, 0), min(last - start, len(clean))
            if low < high:
                clean[low:high] = b"*" * (high - low)
        self._secrets.clear()
        return bytes(clean)

    def _drop(self, start: int, end: int, marks: tuple[Mark, ...] = ()) -> _Do:
        """Keep a message from the target, but record it."""
        self._flush(start)
        recorded: bytes | memoryview = memoryview(self._data)[start:end]
        if self._secrets:
            recorded = self._redacted(start, end)
        self._out.append(Record(Direction.FROM_AGENT, recorded, marks))
        self._rest_passes = False
        return _Do.DROP

    def _decide(
        self,
        verb: str,
        text: bytes,
        plan: Plan | None,
        known: bool,
        *,
        values: tuple[bytes | None, ...] = (),
        types: tuple[int, ...] = (),
    ) -> Decision | None:
        """The decision on the statement at hand, or None when it has to be waited for."""
        if self._answer is not None:
            answer, self._answer = self._answer, None
            return answer
        if self._waits_for_names():
            return None
        gate = self._gate
        context = StatementContext(
            gate.naming, self._names, self._ddl_open, plan, known, self._replication, types
        )
        self._ticket += 1
        self._wait = _Wait.DECISION
        self._asked = text
        self._asked_types = types
        self._asked_version = gate.version
        try:
            decoded = text.decode()
        except UnicodeDecodeError:
            decoded = text.decode("utf-8", "backslashreplace")
            context = StatementContext(None, self._names, known=False)
        self._flush(self._segment_end())
        self._out.append(Decide(self._ticket, Operation(verb, decoded, values, context)))
        return None

    def _waits_for_names(self) -> bool:
        """Whether the server has to say first what names mean. Inside a pipeline it cannot."""
        if self._sent or self._replication:
            return False
        asking = self._gate.naming is None and not self._probe_failed
        if (asking or self._ddl_open) and self._replies.queue:
            self._wait = _Wait.SERVER
            return True
        if asking and self._replies.status != _FAILED:
            self._ask_names()
            return True
        return False

    def _segment_end(self) -> int:
        return self._ends[self._next - 1] if self._next else 0

    def _ask_names(self) -> None:
        self._flush(self._segment_end())
        full = self._replies.status == IDLE
        self._probe = []
        self._probe_full = full
        text = names_of.SHOW_SETTINGS + (names_of.TEMPORARY if full else "")
        self._wait = _Wait.NAMES
        self._replies.queue.append(Expect(Ask.QUERY, probe=self._probe))
        self._out.append(Forward(self._permit, query(text), direction=Direction.TO_TARGET))

    def decided(self, ticket: int, decision: Decision) -> list[Command]:
        """Take policy's answer and go on."""
        if ticket != self._ticket or self._wait is not _Wait.DECISION:
            return []
        self._probe_failed = False
        if self._asked_version != self._gate.version:
            # What it was decided for has changed in the meantime: it is asked again.
            return self._go_on()
        if isinstance(decision, Permit) and not self._asked_types:
            plan = _plan(decision)
            self._gate.remember(self._asked, decision, plan)
        self._answer = decision
        return self._go_on()

    def _go_on(self) -> list[Command]:
        self._wait = _Wait.NOTHING
        if self._cancelling:
            return []
        return self._walk()

    def _passes(self, permit: Permit, plan: Plan, start: int) -> Undo | None:
        """Note that a statement runs, and follow what it changes."""
        self._marks.append(Mark(permit, self._base + start))
        self._current = permit
        if plan.plain:
            return None
        return self._follow(plan, Prepared(b"", plan, permit, -1))

    def _follow(self, plan: Plan, prepared: Prepared) -> Undo | None:
        if plan.settings or plan.temp or (plan.txn and self._touched):
            self._gate.names_changed()
            self._probe_failed = False
            if plan.temp:
                self._gate.temp = None
            self._touched = self._touched or plan.settings or plan.temp
        if plan.ddl:
            self._ddl_open = True
            self._gate.forget()
        return self._names.apply(plan, prepared)

    def _conceal(self, plan: Plan, text_start: int) -> None:
        self._secrets.extend((text_start + a, text_start + b) for a, b in plan.secrets)
        for a, b in plan.secrets:
            self._quoted += quoted(self._data[text_start + a : text_start + b])

    def _text_start(self, start: int, end: int) -> int:
        """Where the text of a Query or Parse begins; `end` for messages that have none."""
        tag = self._data[start]
        if tag == _PARSE:
            return self._data.find(0, start + HEADER, end) + 1
        return start + HEADER if tag == _QUERY else end

    def _refuse(self, denial: Denial, start: int, end: int, extended: bool) -> _Do:
        """Answer in the denied statement's place as the server would (denial.py)."""
        self._flush(start)
        if isinstance(denial.statement_facts, Plan):
            self._conceal(denial.statement_facts, self._text_start(start, end))
        in_place = bool(self._replies.queue) or self._sent or self._replies.status != IDLE
        error = denial_response(denial)
        do = self._drop(start, end, (Mark(denial, self._base + start),))
        queue = self._replies.queue
        if extended:
            self._skipping = True
            self._skipping_alone = not in_place
            if in_place:
                self._sent = True
                queue.append(Expect(Ask.PARSE, error=error))
                self._out.append(
                    Forward(self._permit, FAILING_PARSE, direction=Direction.TO_TARGET)
                )
            else:
                self._out.append(Reply(error))
            return do
        self._drop_copy = True
        if in_place:
            self._sent = False
            queue.append(Expect(Ask.QUERY, error=error))
            self._out.append(Forward(self._permit, FAILING_QUERY, direction=Direction.TO_TARGET))
        else:
            self._out.append(Reply(error + ready_for_query(self._replies.status)))
        return do

    def _oversize(self, start: int, end: int) -> Denial | None:
        size = int32(self._data, start + 1) + 1
        return too_long(size, self._limit) if size > end - start else None

    def _conceal_unread(self, start: int, end: int) -> None:
        """Hide a part of a statement that nobody reads, once a credential may have begun in it."""
        self._secret_rest = self._secret_rest or bool(whole(self._data[start:end]))
        if self._secret_rest:
            self._secrets.append((start, end))

    def _swallow(self, start: int, end: int) -> _Do:
        """Drop a statement that the server would skip; what it says of credentials is not kept."""
        self._flush(start)
        if self._oversize(start, end) is not None:
            self._conceal_unread(start + HEADER, end)
        else:
            at = self._text_start(start, end)
            stop = self._data.find(0, at, end)
            text = self._data[at : stop if stop >= 0 else end]
            self._secrets.extend((at + a, at + b) for a, b in secrets_of(text))
        return self._drop(start, end)

    def _skip(self) -> bool:
        return self._skipping or self._replies.skipping

    def _on_query(self, data: bytes, start: int, end: int) -> _Do:
        self._drop_copy = self._secret_rest = False
        if self._skip():
            return self._swallow(start, end)
        too_big = self._oversize(start, end)
        if too_big is not None:
            self._flush(start)
            self._conceal_unread(start + HEADER, end)
            return self._refuse(too_big, start, end, extended=False)
        text = read_query(data, start, end)
        decision: Decision | None = self._gate.recall(text) if self._answer is None else None
        if decision is None:
            decision = self._decide("query", text, None, True)
            if decision is None:
                return _Do.WAIT
        if isinstance(decision, Denial):
            return self._refuse(decision, start, end, extended=False)
        plan = _plan(decision)
        undo = self._passes(decision, plan, start)
        self._replies.queue.append(QUERY if undo is None else Expect(Ask.QUERY, undo))
        self._conceal(plan, start + HEADER)
        self._sent = False
        return _Do.PASS

    def _on_parse(self, data: bytes, start: int, end: int) -> _Do:
        self._drop_copy = self._secret_rest = False
        if self._skip():
            return self._swallow(start, end)
        too_big = self._oversize(start, end)
        if too_big is not None:
            self._flush(start)
            self._conceal_unread(start + HEADER, end)
            return self._refuse(too_big, start, end, extended=True)
        name, text, rest = read_parse(data, start, end)
        types = data[rest:end]
        own = own_types(types)
        known = self._answer is None and not own
        decision: Decision | None = self._gate.recall(text) if known else None
        if decision is None:
            decision = self._decide("parse", text, None, True, types=own)
            if decision is None:
                return _Do.WAIT
        if isinstance(decision, Denial):
            return self._refuse(decision, start, end, extended=True)
        plan = _plan(decision)
        key = name_key(name)
        old = self._names.statements.get(key)
        if old is not None and old.permit is decision and old.text == text and old.types == types:
            self._replies.queue.append(PARSE)
        else:
            self._names.statements[key] = Prepared(text, plan, decision, self._version(plan), types)
            self._replies.queue.append(Expect(Ask.PARSE, Undo(((key, old),))))
        self._conceal(plan, start + HEADER + len(name) + 1)
        self._sent = True
        return _Do.PASS

    def _on_bind(self, data: bytes, start: int, end: int) -> _Do:
        if self._skip():
            return self._drop(start, end)
        self._rest_passes = True
        portal, name, rest = read_bind(data, start, end)
        portal, name = name_key(portal), name_key(name)
        prepared = self._names.statements.get(name)
        if prepared is None or prepared.version != self._gate.version or self._answer is not None:
            plan = prepared.plan if prepared else None
            text = prepared.text if prepared else b""
            values = () if self._answer is not None else read_bind_values(data, rest, end)
            types = prepared.types if prepared else b""
            own = own_types(types)
            decision = self._decide(
                "bind", text, plan, prepared is not None, values=values, types=own
            )
            if decision is None:
                return _Do.WAIT
            if isinstance(decision, Denial):
                return self._refuse(decision, start, end, extended=True)
            plan = _plan(decision)
            prepared = Prepared(text, plan, decision, self._version(plan), types)
            if name in self._names.statements:
                self._names.statements[name] = prepared
        if portal:
            undo = Undo(portals=((portal, self._names.portals.get(portal)),))
            self._replies.queue.append(Expect(Ask.BIND, undo))
        else:
            self._replies.queue.append(BIND)
        self._names.portals[portal] = Portal(prepared)
        if prepared.plan.settings and prepared.plan.facts.unknown:
            # Planning already runs what is constant, and that may be anything here.
            self._gate.names_changed()
            self._touched = True
        self._sent = True
        return _Do.PASS

    def _on_execute(self, data: bytes, start: int, end: int) -> _Do:
        if self._skip():
            return self._drop(start, end)
        portal = name_key(cstring(data, start + HEADER, end, Side.DOWNSTREAM)[0])
        bound = self._names.portals.get(portal)
        if bound is None or self._answer is not None or self._stale(bound.prepared):
            prepared = bound.prepared if bound else None
            plan = prepared.plan if prepared else None
            text = prepared.text if prepared else b""
            own = own_types(prepared.types) if prepared else ()
            decision = self._decide("execute", text, plan, prepared is not None, types=own)
            if decision is None:
                return _Do.WAIT
            if isinstance(decision, Denial):
                return self._refuse(decision, start, end, extended=True)
            plan = _plan(decision)
            prepared = Prepared(text, plan, decision, self._version(plan))
            if bound is not None:
                self._names.portals[portal] = Portal(prepared, bound.hold)
            permit = decision
        else:
            prepared = bound.prepared
            permit = prepared.permit
        undo = self._passes(permit, prepared.plan, start)
        self._replies.queue.append(EXECUTE if undo is None else Expect(Ask.EXECUTE, undo))
        self._sent = True
        return _Do.PASS

    def _version(self, plan: Plan) -> int:
        """For how long a decision holds: not at all where names were unknown, behind a SET.

        Nor where it is about what a name runs, which another statement may hold next time.
        """
        holds = plan.cacheable and self._gate.naming is not None
        return self._gate.version if holds else -1

    def _stale(self, prepared: Prepared) -> bool:
        # A bound portal keeps what its names meant, so behind a SET it stays what it was.
        gate = self._gate
        return prepared.version < gate.floor or (
            prepared.version != gate.version and gate.naming is not None
        )

    def _on_describe(self, _data: bytes, start: int, end: int) -> _Do:
        if self._skip():
            return self._drop(start, end)
        if self._waits_for_names():
            return _Do.WAIT
        self._replies.queue.append(DESCRIBE)
        self._sent = True
        return _Do.PASS

    def _on_close(self, data: bytes, start: int, end: int) -> _Do:
        if self._skip():
            return self._drop(start, end)
        if self._waits_for_names():
            return _Do.WAIT
        name, _ = cstring(data, start + HEADER + 1, end, Side.DOWNSTREAM)
        kind = data[start + HEADER]
        # A closed portal's entry may stay: the server refuses the name until it is bound again.
        key = name_key(name)
        old = self._names.statements.pop(key, None) if kind == ord("S") else None
        undo = None if old is None else Undo(((key, old),))
        self._replies.queue.append(CLOSE if undo is None else Expect(Ask.CLOSE, undo))
        self._sent = True
        return _Do.PASS

    def _on_flush(self, _data: bytes, start: int, end: int) -> _Do:
        return self._drop(start, end) if self._skip() else _Do.PASS

    def _on_sync(self, _data: bytes, start: int, end: int) -> _Do:
        self._drop_copy = False
        alone = self._skipping and self._skipping_alone
        self._skipping = self._skipping_alone = False
        self._sent = False
        if alone:
            self._drop(start, end)
            self._out.append(Reply(ready_for_query(self._replies.status)))
            return _Do.DROP
        self._replies.skipping = False
        if not self._replies.copy_in:
            self._replies.queue.append(SYNC)
        return _Do.PASS

    def _on_copy_data(self, _data: bytes, start: int, end: int) -> _Do:
        if self._skip() or self._drop_copy:
            return self._drop(start, end)
        self._rest_passes = True
        return _Do.PASS

    def _on_copy_end(self, _data: bytes, start: int, end: int) -> _Do:
        if self._skip() or self._drop_copy:
            return self._drop(start, end)
        self._replies.copy_in = False
        if self._replies.queue:
            self._replies.queue.append(COPY_END)
        return _Do.PASS

    def _on_rest(self, _data: bytes, start: int, end: int) -> _Do:
        if self._rest_passes:
            return _Do.PASS
        self._flush(start)
        self._conceal_unread(start, end)
        return self._drop(start, end)

    def _on_call(self, data: bytes, start: int, end: int) -> _Do:
        self._drop_copy = False
        if self._skip():
            return self._drop(start, end)
        too_big = self._oversize(start, end)
        if too_big is not None:
            return self._refuse(too_big, start, end, extended=False)
        oid = int32(data, start + HEADER) if end - start >= HEADER + 4 else 0
        decision = self._decide(
            "function_call", f"-- FunctionCall of function {oid}".encode(), None, False
        )
        if decision is None:
            return _Do.WAIT
        if isinstance(decision, Denial):
            return self._refuse(decision, start, end, extended=False)
        undo = self._passes(decision, _plan(decision), start)
        self._replies.queue.append(CALL if undo is None else Expect(Ask.CALL, undo))
        self._sent = False
        return _Do.PASS

    def _on_terminate(self, _data: bytes, _start: int, _end: int) -> _Do:
        self.terminated = True
        return _Do.PASS

    # The target's side.

    def backend(self, data: bytes) -> list[Command]:
        """Take bytes from the target."""
        data, tags, ends = self._back.feed(data)
        if not ends:
            return []
        absorbed = self._replies.absorb(data, tags, ends)
        out: list[Command]
        if absorbed is None:
            used = ends[-1]
            out = [Reply(data if used == len(data) else memoryview(data)[:used])]
        else:
            out = [Record(Direction.FROM_TARGET, kept) for kept in absorbed.kept]
            out.extend(Reply(piece) for piece in absorbed.replies)
        if self._quoted:
            # An error may repeat what it is about.
            out = [
                Reply(c.data, recorded=struck_out(bytes(c.data), self._quoted))
                if isinstance(c, Reply)
                else c
                for c in out
            ]
            if not self._replies.queue:
                self._quoted.clear()
        if self._replies.renamed:
            self._replies.renamed = False
            self._gate.names_changed()
        if not self._replies.queue:
            self._drained(out)
        return out

    def _drained(self, out: list[Command]) -> None:
        """Everything asked has been answered."""
        if self._replies.status == IDLE and (self._touched or self._ddl_open):
            if self._touched:
                self._touched = False
                self._gate.names_changed()
            if self._ddl_open:
                self._ddl_open = False
                self._gate.forget()
                out.append(Invalidate())
        if self._wait is _Wait.NAMES:
            self._learn(out)
            out.extend(self._go_on())
        elif self._wait is _Wait.SERVER:
            out.extend(self._go_on())

    def _learn(self, out: list[Command]) -> None:
        if self._probe_full:
            self._gate.learn_temporary(b"".join(self._probe))
        else:
            self._gate.learn(b"".join(self._probe))
        if self._gate.naming is None:
            self._probe_failed = True
            failed = self._replies.failed.pop() if self._replies.failed else {}
            out.append(Note({"event": "names-unknown", "error": failed.get("M", "")}))

    # Cancel.

    def cancel(self) -> list[Command]:
        """Pass a cancel request on if it can hit what it is meant for, and nothing later."""
        queue = self._replies.queue
        if not queue or queue[0].probe is not None or self._cancelling:
            return [Note({"event": "cancel", "outcome": "nothing to cancel"})]
        self._cancelling = True
        return [Note({"event": "cancel", "outcome": "sent"}), self._cancel]

    def cancel_delivered(self) -> list[Command]:
        """The target has seen the cancel: what was held back may go."""
        self._cancelling = False
        if self._wait is not _Wait.NOTHING:
            return []
        return self._walk()

    @property
    def busy(self) -> bool:
        """Whether the target is working on something."""
        return bool(self._replies.queue)

    def rest(self) -> list[Command]:
        """Record what the agent sent and nobody will look at any more."""
        out: list[Command] = []
        # Where a violation cut a walk short its commands were not carried out, nor will be.
        for command in self._out:
            if isinstance(command, Forward):
                if command.direction is Direction.FROM_AGENT:
                    kept = command.data if command.recorded is None else command.recorded
                    out.append(Record(Direction.FROM_AGENT, kept, command.marks))
            elif isinstance(command, (Record, Reply)):
                out.append(command)
        self._out = []
        left = self._data[self._segment : self._ends[-1]] if self._ends else b""
        left += self._front.take_waiting() + b"".join(self._inbox)
        self._inbox.clear()
        if left:
            out.append(Record(Direction.FROM_AGENT, concealed(left)))
        return out


def _plan(permit: Permit) -> Plan:
    plan = permit.statement_facts
    if not isinstance(plan, Plan):
        raise TypeError("a permit of another protocol")
    return plan


_PARSE: Final = ord("P")
_QUERY: Final = ord("Q")
_NOT_IN_COPY: Final = frozenset(b"QPBEDCF")
_CYCLES: Final = {
    b"Q": (QUERY,),
    b"BES": (BIND, EXECUTE, SYNC),
    b"BDES": (BIND, DESCRIBE, EXECUTE, SYNC),
    b"PBES": (PARSE, BIND, EXECUTE, SYNC),
    b"PBDES": (PARSE, BIND, DESCRIBE, EXECUTE, SYNC),
}
"""Reads that hold one query and nothing else, with what the server will answer."""

_HANDLERS: Final = {
    0: Relay._on_rest,
    ord("Q"): Relay._on_query,
    ord("P"): Relay._on_parse,
    ord("B"): Relay._on_bind,
    ord("E"): Relay._on_execute,
    ord("D"): Relay._on_describe,
    ord("C"): Relay._on_close,
    ord("H"): Relay._on_flush,
    ord("S"): Relay._on_sync,
    ord("d"): Relay._on_copy_data,
    ord("c"): Relay._on_copy_end,
    ord("f"): Relay._on_copy_end,
    ord("F"): Relay._on_call,
    ord("X"): Relay._on_terminate,
}
