"""Reading and writing the index. Pages go by key, so that what comes in shifts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    select,
    tuple_,
)
from sqlalchemy.dialects.sqlite import insert

from chaperon.store.model import (
    Position,
    SessionFilter,
    SessionRow,
    StatementFilter,
    StatementRow,
)
from chaperon.store.tables import sessions as sessions_table
from chaperon.store.tables import statements as statements_table

_S = sessions_table.c
_T = statements_table.c
_SESSION_FIELDS = tuple(field.name for field in fields(SessionRow))
_STATEMENT_FIELDS = tuple(field.name for field in fields(StatementRow))


def sessions(
    connection: Connection, wanted: SessionFilter, limit: int, behind: Position | None
) -> list[SessionRow]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.principal is not None:
        conditions.append(_S.principal == wanted.principal)
    if wanted.resource is not None:
        conditions.append(_S.resource == wanted.resource)
    if wanted.since_ns is not None:
        conditions.append(_S.ended_ns.is_(None) | (_S.ended_ns >= wanted.since_ns))
    if wanted.until_ns is not None:
        conditions.append(_S.started_ns < wanted.until_ns)
    of_statement = _text_and_verdict(wanted.verdict, wanted.text)
    if of_statement:
        conditions.append(exists().where(_T.session == _S.id, *of_statement))
    if behind is not None:
        key = tuple_(_S.started_ns, _S.id)
        conditions.append(key < tuple_(behind.started_ns, behind.session))
    query = (
        select(sessions_table)
        .where(*conditions)
        .order_by(_S.started_ns.desc(), _S.id.desc())
        .limit(limit)
    )
    return [SessionRow(**row._mapping) for row in connection.execute(query)]


def session(connection: Connection, session: str) -> SessionRow | None:
    row = connection.execute(select(sessions_table).where(_S.id == session)).one_or_none()
    return None if row is None else SessionRow(**row._mapping)


def sessions_like(connection: Connection, prefix: str, limit: int) -> list[SessionRow]:
    query = (
        select(sessions_table)
        .where(_S.id.startswith(prefix, autoescape=True))
        .order_by(_S.id)
        .limit(limit)
    )
    return [SessionRow(**row._mapping) for row in connection.execute(query)]


def statements(connection: Connection, session: str, after: int, limit: int) -> list[StatementRow]:
    query = (
        select(statements_table)
        .where(_T.session == session, _T.ordinal > after)
        .order_by(_T.ordinal)
        .limit(limit)
    )
    return [StatementRow(**row._mapping) for row in connection.execute(query)]


def search(
    connection: Connection, wanted: StatementFilter, limit: int, behind: Position | None
) -> list[StatementRow]:
    conditions = _text_and_verdict(wanted.verdict, wanted.text)
    query = select(statements_table)
    if wanted.principal is not None or wanted.resource is not None:
        query = query.join(sessions_table, _S.id == _T.session)
        if wanted.principal is not None:
            conditions.append(_S.principal == wanted.principal)
        if wanted.resource is not None:
            conditions.append(_S.resource == wanted.resource)
    if wanted.session is not None:
        conditions.append(_T.session == wanted.session)
    if wanted.since_ns is not None:
        conditions.append(_T.started_ns >= wanted.since_ns)
    if wanted.until_ns is not None:
        conditions.append(_T.started_ns < wanted.until_ns)
    if wanted.outcome is not None:
        conditions.append(_T.outcome == wanted.outcome)
    if behind is not None:
        key = tuple_(_T.started_ns, _T.session, _T.ordinal)
        conditions.append(key < tuple_(*behind))
    query = (
        query.where(and_(True, *conditions))
        .order_by(_T.started_ns.desc(), _T.session.desc(), _T.ordinal.desc())
        .limit(limit)
    )
    return [StatementRow(**row._mapping) for row in connection.execute(query)]


def complete_sessions(connection: Connection) -> set[str]:
    return set(connection.scalars(select(_S.id).where(_S.complete)))


def write_sessions(connection: Connection, rows: Sequence[SessionRow]) -> None:
    _upsert(connection, sessions_table, rows, _SESSION_FIELDS)


def write_statements(connection: Connection, rows: Sequence[StatementRow]) -> None:
    _upsert(connection, statements_table, rows, _STATEMENT_FIELDS)


def clear(connection: Connection) -> None:
    connection.execute(delete(statements_table))
    connection.execute(delete(sessions_table))


def _text_and_verdict(verdict: str | None, text: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if verdict is not None:
        conditions.append(_T.verdict == verdict)
    if text:
        conditions.append(_T.text.icontains(text, autoescape=True))
    return conditions


def _upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[SessionRow] | Sequence[StatementRow],
    names: tuple[str, ...],
) -> None:
    if not rows:
        return
    keys = {column.name for column in table.primary_key}
    new = insert(table)
    query = new.on_conflict_do_update(
        index_elements=sorted(keys),
        set_={name: new.excluded[name] for name in names if name not in keys},
    )
    values: list[dict[str, Any]] = [{name: getattr(row, name) for name in names} for row in rows]
    connection.execute(query, values)
