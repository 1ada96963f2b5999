"""What the decoder of recordings keeps while it follows a session: what was asked, and named."""

from __future__ import annotations

import json
from collections import OrderedDict
from enum import IntEnum
from typing import NamedTuple

from chaperon.recording.frame import Frame, read_decision
from chaperon.recording.recorder import KNOWN_DECISIONS
from chaperon.recording.transcript import (
    Column,
    Ending,
    Failure,
    Outcome,
    Statement,
    Verdict,
)


class Ask(IntEnum):
    """What the agent asked, by the reply that it waits for."""

    PARSE = 1
    BIND = 2
    DESCRIBE = 3
    EXECUTE = 4
    CLOSE = 5
    SYNC = 6
    QUERY = 7
    CALL = 8
    COPY_END = 9


class Moment(NamedTuple):
    """When, by both clocks."""

    wall_ns: int
    mono_ns: int


class Definition:
    """A prepared statement. `reported`: its failure has been told, and is not told again."""

    __slots__ = (
        "columns", "moment", "name", "oids", "reported", "text", "text_bytes", "types", "verdict"
    )  # fmt: skip

    def __init__(
        self, name: str, text: str, text_bytes: int, verdict: Verdict | None, moment: Moment
    ) -> None:
        self.name = name
        self.text = text
        self.text_bytes = text_bytes
        self.verdict = verdict
        self.moment = moment
        self.types: tuple[int, ...] = ()
        self.columns: tuple[Column, ...] | None = None
        self.oids: tuple[int, ...] = ()
        self.reported = False


class RawParameter(NamedTuple):
    """A bind value as sent; `size` is the whole one's, -1 for NULL."""

    data: bytes
    size: int
    binary: bool


class Portal:
    """A bound statement."""

    __slots__ = ("definition", "formats", "moment", "raw", "reported", "verdict")

    def __init__(
        self,
        definition: Definition,
        raw: tuple[RawParameter, ...],
        formats: tuple[int, ...],
        verdict: Verdict | None,
        moment: Moment,
    ) -> None:
        self.definition = definition
        self.raw = raw
        self.formats = formats
        self.verdict = verdict
        self.moment = moment
        self.reported = False


class Unit:
    """A statement under way."""

    __slots__ = (
        "affected", "columns", "copy_shown", "first_row", "formats", "moment", "oids", "portal",
        "result_rows", "rows", "size", "statement", "tags", "told_columns"
    )  # fmt: skip

    def __init__(self, statement: Statement, moment: Moment, portal: Portal | None = None) -> None:
        self.statement = statement
        self.moment = moment
        self.portal = portal
        self.columns: tuple[Column, ...] = ()
        self.oids: tuple[int, ...] = ()
        self.formats: tuple[int, ...] = ()
        self.told_columns = False
        self.first_row: int | None = None
        self.rows = 0
        self.result_rows = 0
        self.size = 0
        self.copy_shown = 0
        self.affected: int | None = None
        self.tags: list[str] = []

    def tagged(self, tag: str) -> None:
        """Take the target's word on one result; its last word is the number of rows concerned."""
        if len(self.tags) < 100:
            self.tags.append(tag)
        number = tag.rpartition(" ")[2]
        if number.isascii() and number.isdigit() and len(number) < 19:
            self.affected = (self.affected or 0) + int(number)

    def ending(
        self, outcome: Outcome, mono_ns: int | None, failure: Failure | None = None
    ) -> Ending:
        """What came of it; `mono_ns` is None where the end was not seen."""
        begin = self.moment.mono_ns
        return Ending(
            outcome=outcome,
            rows=self.rows,
            affected=self.affected,
            size=self.size,
            tag="; ".join(self.tags),
            failure=failure,
            first_row_ms=None if self.first_row is None else (self.first_row - begin) / 1e6,
            total_ms=None if mono_ns is None else (mono_ns - begin) / 1e6,
        )


class Undo(NamedTuple):
    """What a name meant before; None for nothing."""

    portal: bool
    name: bytes
    before: Definition | Portal | None


class Op:
    """One entry of the queue of expected replies."""

    __slots__ = ("ask", "definition", "portal", "undo", "unit")

    def __init__(
        self,
        ask: Ask,
        unit: Unit | None = None,
        definition: Definition | None = None,
        portal: Portal | None = None,
        undo: Undo | None = None,
    ) -> None:
        self.ask = ask
        self.unit = unit
        self.definition = definition
        self.portal = portal
        self.undo = undo


class Decisions:
    """The DECISION frames seen, and those whose message has not come yet.

    A recorder points back at no more than its last `KNOWN_DECISIONS` full ones.
    """

    __slots__ = ("_full", "_waiting")

    def __init__(self) -> None:
        self._full: OrderedDict[int, Verdict] = OrderedDict()
        self._waiting: dict[int, Verdict] = {}

    def take(self, frame: Frame) -> Verdict | None:
        """Take a DECISION frame. Returns the verdict where it is on the session itself.

        Raises ValueError.
        """
        position, evidence, repeats = read_decision(frame.payload)
        if evidence is not None:
            verdict, on_session = read_evidence(evidence)
            self._full[frame.sequence] = verdict
            if len(self._full) > KNOWN_DECISIONS:
                self._full.popitem(last=False)
            if on_session:
                return verdict
        else:
            known = self._full.get(repeats)
            if known is None:
                raise ValueError(f"a decision repeats frame {repeats}, which is none")
            verdict = known
        before = self._waiting.get(position)
        if before is None or not before.denied:
            self._waiting[position] = verdict
        if len(self._waiting) > KNOWN_DECISIONS:
            del self._waiting[next(iter(self._waiting))]
        return None

    def about(self, position: int) -> Verdict | None:
        """The decision on the message at `position`, if there is one."""
        return self._waiting.pop(position, None) if self._waiting else None


def read_evidence(evidence: bytes) -> tuple[Verdict, bool]:
    """The verdict in a decision's evidence, and whether it is on opening the session.

    Raises ValueError where it is no JSON object. docs/policy.md has its shape.
    """
    try:
        value = json.loads(evidence)
    except RecursionError:
        raise ValueError("the evidence is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("the evidence is not an object")
    denial = value.get("denial")
    denial = denial if isinstance(denial, dict) else {}
    policies = value.get("policies")
    named = ", ".join(map(str, policies)) if isinstance(policies, list) else ""
    verdict = Verdict(
        verdict=str(value.get("verdict", "")),
        policy=str(denial.get("policy") or value.get("policy") or named),
        message=str(denial.get("message") or value.get("message") or ""),
        facts=value.get("facts"),
    )
    asks = value.get("asks")
    on_session = isinstance(asks, list) and any(
        isinstance(ask, dict) and ask.get("action") == "connect" for ask in asks
    )
    return verdict, on_session


def strictest(verdicts: list[Verdict | None]) -> Verdict:
    """The first denial, or the last verdict that there is."""
    there = [verdict for verdict in verdicts if verdict is not None]
    for verdict in there:
        if verdict.denied:
            return verdict
    return there[-1] if there else Verdict()
