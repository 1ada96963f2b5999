"""What a session remembers of decisions, and of how the server resolves its names.

Invariant: a remembered decision was made for the names as they are now and for the policy, catalog
and locks of the current generation; whenever one of these may have changed the memory is empty.
"""

from __future__ import annotations

import struct

from chaperon._core import data_row, template
from chaperon.protocols.postgres.codec import HEADER
from chaperon.protocols.postgres.messages import int32
from chaperon.protocols.postgres.plan import Plan, SessionNaming
from chaperon.wire.permit import Permit

_BOUND = 4 * 1024 * 1024

SHOW_SETTINGS = (
    "SHOW search_path; SHOW role; SHOW session_authorization; SHOW client_encoding; "
    "SHOW standard_conforming_strings"
)
"""Utility statements take no snapshot, so asking inside a transaction changes nothing in it."""

TEMPORARY = (
    "; SELECT c.relname FROM pg_catalog.pg_class c "
    "WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()"
)
_SETTINGS = 5


class Generation:
    """A number shared by all sessions of a resource; another one means: decide anew."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def advance(self) -> None:
        self.number += 1


class Gate:
    """The memory of one session."""

    __slots__ = (
        "_generation",
        "_known",
        "_seen",
        "_size",
        "_utf8",
        "floor",
        "naming",
        "temp",
        "version",
    )

    def __init__(self, generation: Generation, utf8: bool = True) -> None:
        """`utf8`: the database is in UTF8."""
        self._utf8 = utf8
        self._generation = generation
        self._seen = generation.number
        self._known: dict[bytes, Permit] = {}
        self._size = 0
        self.naming: SessionNaming | None = None
        self.temp: frozenset[str] | None = None
        self.version = 0
        self.floor = 0
        """Decisions of an earlier version are void for more than what names mean."""

    def refresh(self) -> None:
        """Notice that policy, catalog or locks changed. Called once a read."""
        if self._seen != self._generation.number:
            self._seen = self._generation.number
            self.forget()
            self.floor = self.version

    def recall(self, text: bytes) -> Permit | None:
        """The permit of an equal statement, or of one that differs in plain literals only."""
        known = self._known
        permit = known.get(text)
        if permit is None and known:
            key = template(text)
            if key is not None:
                permit = known.get(key)
        return permit

    def remember(self, text: bytes, permit: Permit, plan: Plan) -> None:
        """Keep a permit for its text, or its template where the facts do not hang on literals."""
        if not plan.cacheable or self.naming is None:
            return
        key = (template(text) if plan.by_template else None) or text
        self._size += len(key)
        if self._size > _BOUND:
            self._known.clear()
            self._size = len(key)
        self._known[key] = permit

    def forget(self) -> None:
        """Drop every remembered decision."""
        self._known.clear()
        self._size = 0
        self.version += 1

    def names_changed(self) -> None:
        """Names may mean something else from here on: ask the server before the next decision."""
        self.naming = None
        self.forget()

    def learn(self, rows: bytes) -> None:
        """Take the answers to SHOW_SETTINGS, with or without TEMPORARY's rows behind them.

        `rows` are DataRow messages; anything else than expected leaves names unknown.
        """
        try:
            values = _first_columns(rows)
        except (ValueError, IndexError, struct.error):
            return
        if len(values) < _SETTINGS:
            return
        path, role, session, encoding, strings = values[:_SETTINGS]
        self.naming = SessionNaming(
            setting=path,
            role=session if role == "none" else role,
            faithful=self._utf8 and encoding == "UTF8" and strings == "on",
            temp=self.temp,
        )

    def learn_temporary(self, rows: bytes) -> None:
        """As `learn`, and every row behind the settings names a temporary relation."""
        try:
            names = frozenset(_first_columns(rows)[_SETTINGS:])
        except (ValueError, IndexError, struct.error):
            return
        self.temp = names
        self.learn(rows)


def _first_columns(rows: bytes) -> list[str]:
    """The first value of each DataRow message in `rows`."""
    values: list[str] = []
    at = 0
    while at < len(rows):
        end = at + 1 + int32(rows, at + 1)
        values.append((data_row(rows[at + HEADER : end])[0] or b"").decode())
        at = end
    return values
