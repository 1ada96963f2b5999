"""Matches a target's messages against what was asked of it, in order.

Each message that goes upstream and has an answer leaves an `Expect` in a queue. Invariant: the head
of the queue is what the server is answering now, so a reply that belongs to the gateway's own
question (a probe, a statement that stands in for a denied one) never reaches the agent as it is.
Source: PostgreSQL 18 manual, "Message Flow": extended query, pipelining, COPY, asynchronous
operations.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Final, NamedTuple

from chaperon.protocols.postgres.codec import HEADER
from chaperon.protocols.postgres.messages import read_error
from chaperon.protocols.postgres.namespace import Namespace, Undo
from chaperon.wire.errors import ProtocolViolation, Side


class Ask(IntEnum):
    """What was asked; decides which replies may come and which one is the last."""

    PARSE = 1
    BIND = 2
    DESCRIBE = 3
    EXECUTE = 4
    CLOSE = 5
    SYNC = 6
    QUERY = 7
    CALL = 8
    COPY_END = 9


class Expect:
    """One entry of the queue. `error` stands in for the server's answer.

    `probe` collects DataRow messages as bytes that are whole when they are joined.
    """

    __slots__ = ("ask", "error", "probe", "undo")

    def __init__(
        self,
        ask: Ask,
        undo: Undo | None = None,
        error: bytes | None = None,
        probe: list[bytes] | None = None,
    ) -> None:
        self.ask = ask
        self.undo = undo
        self.error = error
        self.probe = probe


PARSE: Final = Expect(Ask.PARSE)
BIND: Final = Expect(Ask.BIND)
DESCRIBE: Final = Expect(Ask.DESCRIBE)
EXECUTE: Final = Expect(Ask.EXECUTE)
CLOSE: Final = Expect(Ask.CLOSE)
SYNC: Final = Expect(Ask.SYNC)
QUERY: Final = Expect(Ask.QUERY)
CALL: Final = Expect(Ask.CALL)
COPY_END: Final = Expect(Ask.COPY_END)

_PASS: Final = frozenset(b"\0NASv")
_LAST: Final = {
    Ask.PARSE: frozenset(b"1"),
    Ask.BIND: frozenset(b"2"),
    Ask.DESCRIBE: frozenset(b"Tn"),
    Ask.EXECUTE: frozenset(b"CsI"),
    Ask.CLOSE: frozenset(b"3"),
    Ask.SYNC: frozenset(),
    Ask.QUERY: frozenset(),
    Ask.CALL: frozenset(),
    Ask.COPY_END: frozenset(),
}
_MIDDLE: Final = {
    Ask.PARSE: frozenset(),
    Ask.BIND: frozenset(),
    Ask.DESCRIBE: frozenset(b"t"),
    Ask.EXECUTE: frozenset(b"DGHWdc"),
    Ask.CLOSE: frozenset(),
    Ask.SYNC: frozenset(),
    Ask.QUERY: frozenset(b"TDCIGHWdcs"),
    Ask.CALL: frozenset(b"V"),
    Ask.COPY_END: frozenset(),
}
IDLE: Final = ord("I")
_FATAL: Final = frozenset(("FATAL", "PANIC"))
_TAG_Z, _TAG_E, _TAG_G, _TAG_S, _TAG_D, _TAG_C, _TAG_N = b"ZEGSDCN"
_READY_SIZE: Final = HEADER + 1


_READING: Final = frozenset(
    (b"client_encoding", b"standard_conforming_strings", b"session_authorization", b"search_path")
)


_WHOLE: Final = {
    b"TDCZ": (QUERY,),
    b"TCZ": (QUERY,),
    b"CZ": (QUERY,),
    b"2DCZ": (BIND, EXECUTE, SYNC),
    b"2CZ": (BIND, EXECUTE, SYNC),
    b"2TDCZ": (BIND, DESCRIBE, EXECUTE, SYNC),
    b"2nCZ": (BIND, DESCRIBE, EXECUTE, SYNC),
    b"12DCZ": (PARSE, BIND, EXECUTE, SYNC),
    b"12TDCZ": (PARSE, BIND, DESCRIBE, EXECUTE, SYNC),
    b"12nCZ": (PARSE, BIND, DESCRIBE, EXECUTE, SYNC),
}
"""The whole answer to one query and nothing else: most reads. Only entries without undo match."""


class Absorbed(NamedTuple):
    """The outcome of one read: pieces for the agent in order, and what stays with the gateway."""

    replies: list[bytes | memoryview]
    kept: list[bytes]


class Replies:
    """The queue, and the transaction status that the server last reported."""

    __slots__ = (
        "_copying",
        "_keep_rest",
        "_names",
        "_reported",
        "copy_in",
        "failed",
        "queue",
        "renamed",
        "skipping",
        "status",
    )

    def __init__(self, names: Namespace) -> None:
        self._names = names
        self.queue: deque[Expect] = deque()
        self.status = IDLE
        self.skipping = False
        """The server discards everything up to a Sync that has not been forwarded yet."""
        self.copy_in = False
        """The server reads COPY data that the agent has not ended yet, and ignores Sync."""
        self._copying = False
        self.failed: list[dict[str, str]] = []
        self.renamed = False
        """The server reported a setting that decides how later text is read."""
        self._reported: dict[bytes, bytes] = {}
        self._keep_rest = False

    def absorb(self, data: bytes, tags: bytes, ends: tuple[int, ...]) -> Absorbed | None:
        """Match framed messages. None means that all of them go to the agent as they are."""
        queue = self.queue
        expected = _WHOLE.get(tags)
        if expected is not None and tuple(queue) == expected and ends[-1] - ends[-2] == _READY_SIZE:
            queue.clear()
            self._ready(data[ends[-1] - 1])
            return None
        start = 0
        from_ = 0
        pieces: list[bytes | memoryview] = []
        kept: list[bytes] = []
        touched = False
        view = memoryview(data)
        for tag, end in zip(tags, ends, strict=True):
            keep, instead = self._one(tag, data, start, end)
            if keep or instead is not None:
                touched = True
                if start > from_:
                    pieces.append(view[from_:start])
                kept.append(data[start:end])
                if instead is not None:
                    pieces.append(instead)
                from_ = end
            start = end
        if not touched:
            return None
        if start > from_:
            pieces.append(view[from_:start])
        return Absorbed(pieces, kept)

    def _one(self, tag: int, data: bytes, start: int, end: int) -> tuple[bool, bytes | None]:
        """Whether the message stays with the gateway, and what the agent gets in its place."""
        queue = self.queue
        head = queue[0] if queue else None
        if tag == 0:
            if self._keep_rest and head is not None and head.probe:
                head.probe.append(data[start:end])
            return self._keep_rest, None
        if tag in _PASS:
            if tag == _TAG_S:
                self._parameter(data[start + HEADER : end])
            # client_min_messages can make the server talk about what the gateway asked.
            ours = head is not None and (head.probe is not None or head.error is not None)
            return self._set_keep(ours and tag == _TAG_N), None
        if tag == _TAG_Z:
            return self._set_keep(self._finish(data, start, end)), None
        if head is None:
            if tag == _TAG_E:
                return self._set_keep(False), None
            raise ProtocolViolation(Side.UPSTREAM, f"unexpected message {chr(tag)!r}")
        if tag == _TAG_E:
            return self._error(head, data, start, end)
        ask = head.ask
        if tag in _LAST[ask]:
            queue.popleft()
            self._copying = self.copy_in = False
            while queue and queue[0] is COPY_END:
                queue.popleft()
        elif tag in _MIDDLE[ask]:
            if tag == _TAG_G:
                self._enter_copy_in()
            elif tag == _TAG_C and self._copying:
                self._copying = self.copy_in = False
                if len(queue) > 1 and queue[1] is COPY_END:
                    del queue[1]
            elif tag == _TAG_D and head.probe is not None:
                head.probe.append(data[start:end])
        else:
            raise ProtocolViolation(
                Side.UPSTREAM, f"message {chr(tag)!r} does not answer {ask.name.lower()}"
            )
        return self._set_keep(head.probe is not None), None

    def _set_keep(self, keep: bool) -> bool:
        self._keep_rest = keep
        return keep

    def _error(self, head: Expect, data: bytes, start: int, end: int) -> tuple[bool, bytes | None]:
        queue = self.queue
        ours = head.probe is not None or head.error is not None
        fields = read_error(data[start + HEADER : end]) if ours else {}
        if fields.get("V") in _FATAL:
            # The server ends the session, whatever it was asked.
            return self._set_keep(False), None
        if head.probe is not None:
            head.probe.clear()
            self.failed.append(fields)
            return self._set_keep(True), None
        instead = head.error
        self._copying = self.copy_in = False
        if head.ask in (Ask.QUERY, Ask.CALL, Ask.SYNC):
            if head.undo is not None:
                self._names.undo(head.undo)
                head.undo = None
        else:
            # Extended query: "the backend issues ErrorResponse, then reads and discards messages
            # until a Sync is reached". What it discards was never defined.
            undone: list[Undo] = []
            while queue and queue[0].ask is not Ask.SYNC:
                entry = queue.popleft()
                if entry.undo is not None:
                    undone.append(entry.undo)
            for undo in reversed(undone):
                self._names.undo(undo)
            self.skipping = not queue
        self._keep_rest = instead is not None
        return instead is not None, instead

    def _finish(self, data: bytes, start: int, end: int) -> bool:
        if end - start != HEADER + 1:
            raise ProtocolViolation(Side.UPSTREAM, "ReadyForQuery has a wrong length")
        probe = False
        self.skipping = self._copying = self.copy_in = False
        if self.queue:
            head = self.queue.popleft()
            if head.ask not in (Ask.SYNC, Ask.QUERY, Ask.CALL):
                raise ProtocolViolation(Side.UPSTREAM, "ReadyForQuery before its Sync")
            probe = head.probe is not None
            while self.queue and self.queue[0] is COPY_END:
                self.queue.popleft()
        self._ready(data[end - 1])
        return probe

    def _ready(self, status: int) -> None:
        self.status = status
        if status == IDLE and not self.queue:
            self._names.end_transaction()

    def _enter_copy_in(self) -> None:
        # "In copy-in mode the backend ignores Flush and Sync messages": their replies never come.
        queue = self.queue
        self._copying = True
        while len(queue) > 1 and queue[1].ask is Ask.SYNC:
            del queue[1]
        self.copy_in = len(queue) == 1
        if len(queue) > 1 and queue[1] is not COPY_END:
            # The server eats it with an error, and where the next answer belongs is lost.
            raise ProtocolViolation(Side.DOWNSTREAM, "a message in the place of COPY data")

    def _parameter(self, payload: bytes) -> None:
        name, _, value = payload.partition(b"\0")
        if name in _READING and self._reported.get(name) != value:
            self.renamed = True
        self._reported[name] = value
