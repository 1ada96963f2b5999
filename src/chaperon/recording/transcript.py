"""What a recording says, protocol by protocol in the same words: the events of a transcript.

A protocol's decoder turns frames into these; the index, replay, tail and JSON output read them.
Pure values: decoding the same frames gives the same events, however the frames are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from chaperon.recording.frame import Frame, Json


class Value(NamedTuple):
    """One value as text, None for NULL. `size` in bytes as sent; `cut`: `text` is its beginning."""

    text: str | None
    size: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """A bind value. `type` is the type's name, or "" where the recording does not tell."""

    value: Value
    type: str = ""
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a result."""

    name: str
    type: str
    right_aligned: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the agent saw it. `code` is the protocol's own (PostgreSQL: the SQLSTATE)."""

    code: str
    message: str
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What policy decided. `verdict` is "allow", "deny", … or "" where no decision is recorded."""

    verdict: str = ""
    policy: str = ""
    message: str = ""
    facts: Json = None

    @property
    def denied(self) -> bool:
        """The agent was refused."""
        return self.verdict == "deny"


class Outcome(Enum):
    """How a statement ended."""

    COMPLETED = "completed"
    SUSPENDED = "suspended"
    """A row limit was reached; a later statement goes on with it."""
    FAILED = "failed"
    DENIED = "denied"
    SKIPPED = "skipped"
    """The target discarded it, because an earlier one in its pipeline had failed."""
    UNFINISHED = "unfinished"
    """The session ended first."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as it was sent. `ordinal` counts from 0 in its session.

    `verb` is how it came (PostgreSQL: query, execute, parse, bind, call, sync); `text_bytes` its
    whole size, of which `text` may be only the beginning.
    """

    ordinal: int
    verb: str
    text: str
    text_bytes: int
    name: str
    parameters: tuple[Parameter, ...]
    verdict: Verdict
    started_ns: int

    @property
    def cut(self) -> bool:
        """`text` is not all of it."""
        return self.text_bytes > len(self.text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of a statement. Times in ms from its sending; None where it never came.

    `rows` counts the rows that the agent got, `affected` is the number in the command tag (all of
    them added up), `size` the bytes of rows and COPY data in either direction.
    """

    outcome: Outcome
    rows: int = 0
    affected: int | None = None
    size: int = 0
    tag: str = ""
    failure: Failure | None = None
    first_row_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Began:
    """The session began. `meta` is the recording's META."""

    meta: dict[str, Json]
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement was sent. Its results follow under its ordinal, perhaps behind others'."""

    statement: Statement


@dataclass(frozen=True, slots=True)
class Columns:
    """A result begins."""

    ordinal: int
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a result, in order. Only where the decoder was asked for them."""

    ordinal: int
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True, slots=True)
class Copied:
    """COPY data. `data` is a bounded beginning of what passed; empty where it was not asked for."""

    ordinal: int
    from_agent: bool
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class ResultEnded:
    """One result of a statement is whole; `tag` is the target's word on it."""

    ordinal: int
    tag: str
    rows: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A statement ended."""

    statement: Statement
    ending: Ending
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Note:
    """Anything else.

    `kind` is notice, notification, setting, event, error, decision, gap, gateway or damage.
    """

    kind: str
    text: str
    wall_ns: int
    detail: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """The session ended."""

    reason: str
    wall_ns: int


TranscriptEvent = Began | Sent | Columns | Rows | Copied | ResultEnded | Ended | Note | Finished


class Decoder(Protocol):
    """A protocol's decoder of recordings."""

    def feed(self, frame: Frame) -> Sequence[TranscriptEvent]:
        """What the next frame of one recording, in order from the first, brings. Never raises."""
        ...

    def finish(self) -> Sequence[TranscriptEvent]:
        """What is left over where a recording ends without CLOSE."""
        ...


class DecoderFactory(Protocol):
    """Makes a decoder; hangs on the `Protocol` object of each protocol."""

    def __call__(self, *, rows: bool = False, verbose: bool = False) -> Decoder:
        """`rows`: give rows and COPY data too. `verbose`: tell of the gateway's own traffic."""
        ...
