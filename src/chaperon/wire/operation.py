"""The neutral unit that policy decides on: one statement, request, command or tool call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing an agent asks for.

    `verb` is the protocol's name of the step (PostgreSQL: `connect`, `query`, `parse`, `bind`,
    `function_call`); `text` the statement as sent; `values` its bind values as sent (None is SQL
    NULL or absent); `context` whatever of the session's state the protocol's own facts need, opaque
    to everyone else.
    """

    verb: str
    text: str = ""
    values: tuple[bytes | None, ...] = ()
    context: object = None
