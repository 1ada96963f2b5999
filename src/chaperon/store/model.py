"""The rows that the store takes and gives, and what can be asked for. Plain values.

Times are ns since the epoch, lengths of time ms, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session. `complete`: its recording has been read to its end.

    `path` is relative to the data folder.
    `ended_ns` and `reason` are None while it lives; `damage` says where a recording is damaged.
    """

    id: str
    protocol: str
    principal: str
    resource: str
    peer: str
    started_ns: int
    ended_ns: int | None = None
    reason: str | None = None
    policy_hash: str = ""
    statements: int = 0
    denied: int = 0
    failed: int = 0
    recorded_bytes: int = 0
    complete: bool = False
    damage: str = ""
    path: str = ""
    meta: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatementRow:
    """A statement of a session, after its end. docs/recording.md says what each field means."""

    session: str
    ordinal: int
    verb: str
    text: str
    text_bytes: int
    values: Sequence[Json]
    verdict: str
    policy: str
    message: str
    facts: Json
    outcome: str
    started_ns: int
    first_row_ms: float | None
    total_ms: float | None
    rows: int
    affected: int | None
    size: int
    error_code: str
    error_message: str
    tag: str


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions; None asks for nothing. A time range means sessions that lived in it.

    `verdict` and `text` (a part, whatever its case) mean sessions with such a statement; both
    together mean one statement that has both.
    """

    principal: str | None = None
    resource: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    verdict: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class StatementFilter:
    """Which statements; None asks for nothing."""

    session: str | None = None
    principal: str | None = None
    resource: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    verdict: str | None = None
    outcome: str | None = None
    text: str | None = None


class Position(NamedTuple):
    """The last row of a page; the next page begins behind it."""

    started_ns: int
    session: str
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as it is kept: nothing in it proves anything to the gateway."""

    token_id: str
    principal: str
    sha256: bytes = field(repr=False)
    scram_salt: bytes = field(repr=False)
    scram_iterations: int = field(repr=False)
    scram_stored_key: bytes = field(repr=False)
    scram_server_key: bytes = field(repr=False)
    issued_ns: int
    expires_ns: int
    revoked_ns: int | None = None
