"""Methods about sessions, past and live, as the index has them.

The index lags behind the gateway by a moment, so that live sessions are added from the gateway
itself where there is one.
"""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import cast

from chaperon.api.context import LiveSession
from chaperon.api.desk import Desk, method
from chaperon.api.errors import ApiError, Code
from chaperon.api.limits import LATEST_NS, MOST_SESSIONS, MOST_STATEMENTS, VERDICTS
from chaperon.api.params import Params
from chaperon.api.values import Json
from chaperon.store import SessionFilter, SessionRow, StatementRow


@method(
    "sessions.list", "principal", "resource", "since_ns", "until_ns", "verdict", "text", "limit"
)
async def sessions_list(desk: Desk, params: Params) -> Json:
    """Sessions, latest first. A time range means sessions that lived in it."""
    wanted = SessionFilter(
        principal=params.optional_text("principal"),
        resource=params.optional_text("resource"),
        since_ns=params.optional_integer("since_ns", least=0, largest=LATEST_NS),
        until_ns=params.optional_integer("until_ns", least=0, largest=LATEST_NS),
        verdict=params.optional_text("verdict"),
        text=params.optional_text("text"),
    )
    if wanted.verdict is not None and wanted.verdict not in VERDICTS:
        raise ApiError(
            Code.BAD_REQUEST,
            f"There is no verdict {wanted.verdict!r}.",
            f"Use one of: {', '.join(VERDICTS)}.",
        )
    limit = params.optional_integer("limit", least=1, largest=MOST_SESSIONS) or 50
    live = _live(desk)
    rows = await asyncio.to_thread(desk.store.sessions, wanted, limit)
    indexed = {row.id for row in rows}
    fresh = [
        _from_live(session)
        for session in live.values()
        if session.id not in indexed and _fits(session, wanted)
    ]
    unknown = [row for row in fresh if await asyncio.to_thread(desk.store.session, row.id) is None]
    together = sorted([*rows, *unknown], key=lambda row: (row.started_ns, row.id), reverse=True)
    return [session_json(row, live=row.id in live) for row in together[:limit]]


@method("sessions.show", "id")
async def sessions_show(desk: Desk, params: Params) -> Json:
    """The one session whose id begins so."""
    row = await find(desk, params.text("id"))
    return session_json(row, live=row.id in _live(desk))


@method("sessions.statements", "id", "after", "limit")
async def sessions_statements(desk: Desk, params: Params) -> Json:
    """Statements of the session with this whole id, in order, with ordinals above `after`."""
    after = params.optional_integer("after", least=-1, largest=2**31)
    limit = params.optional_integer("limit", least=1, largest=MOST_STATEMENTS) or MOST_STATEMENTS
    rows = await asyncio.to_thread(
        desk.store.statements, params.text("id"), -1 if after is None else after, limit
    )
    return [_statement_json(row) for row in rows]


async def find(desk: Desk, prefix: str) -> SessionRow:
    """The one session, live or past, whose id begins with `prefix`. Raises ApiError."""
    rows = await asyncio.to_thread(desk.store.sessions_like, prefix, 5)
    found = {row.id: row for row in rows}
    for session in _live(desk).values():
        if session.id.startswith(prefix) and session.id not in found:
            found[session.id] = _from_live(session)
    exact = found.get(prefix)
    if exact is not None:
        return exact
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ApiError(
            Code.AMBIGUOUS,
            f"More than one session begins with {prefix!r}.",
            f"Give more of the id: {', '.join(sorted(found))}.",
        )
    raise ApiError(
        Code.NOT_FOUND,
        f"No session begins with {prefix!r}.",
        "See their ids with: chaperon sessions list",
    )


def session_json(row: SessionRow, *, live: bool) -> dict[str, Json]:
    """A session for a machine. `state`: live, ended, or open (its recording has no end yet)."""
    value = {field.name: cast(Json, getattr(row, field.name)) for field in fields(row)}
    state = "live" if live else "ended" if row.ended_ns is not None else "open"
    return {**value, "state": state}


def _statement_json(row: StatementRow) -> dict[str, Json]:
    return {field.name: cast(Json, getattr(row, field.name)) for field in fields(row)}


def _live(desk: Desk) -> dict[str, LiveSession]:
    sessions = desk.gateway.live_sessions() if desk.gateway else ()
    return {session.id: session for session in sessions}


def _fits(session: LiveSession, wanted: SessionFilter) -> bool:
    """Whether a live session is wanted, as far as is known before it is in the index."""
    return (
        wanted.principal in (None, session.principal)
        and wanted.resource in (None, session.resource)
        and (wanted.until_ns is None or session.started_ns < wanted.until_ns)
        and wanted.verdict is None
        and not wanted.text
    )


def _from_live(session: LiveSession) -> SessionRow:
    return SessionRow(
        id=session.id,
        protocol=session.protocol,
        principal=session.principal,
        resource=session.resource,
        peer=session.peer,
        started_ns=session.started_ns,
    )
