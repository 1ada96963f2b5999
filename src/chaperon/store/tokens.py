"""Tokens in the store. Only hashes and verifiers come here, never a token."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from chaperon.store.model import StoredToken
from chaperon.store.tables import tokens

_COLUMNS = tuple(column.name for column in tokens.columns)


class TokenLike(Protocol):
    """What is kept of a token, whatever type brings it."""

    @property
    def token_id(self) -> str: ...
    @property
    def principal(self) -> str: ...
    @property
    def sha256(self) -> bytes: ...
    @property
    def scram_salt(self) -> bytes: ...
    @property
    def scram_iterations(self) -> int: ...
    @property
    def scram_stored_key(self) -> bytes: ...
    @property
    def scram_server_key(self) -> bytes: ...
    @property
    def issued_ns(self) -> int: ...
    @property
    def expires_ns(self) -> int: ...
    @property
    def revoked_ns(self) -> int | None: ...


def add(connection: Connection, token: TokenLike) -> None:
    """Raises ValueError where the id is taken."""
    try:
        connection.execute(insert(tokens).values({name: getattr(token, name) for name in _COLUMNS}))
    except IntegrityError:
        raise ValueError(f"a token with the id {token.token_id} exists") from None


def find(connection: Connection, token_id: str) -> StoredToken | None:
    row = connection.execute(select(tokens).where(tokens.c.token_id == token_id)).one_or_none()
    return None if row is None else StoredToken(**row._mapping)


def listed(connection: Connection, principal: str | None) -> list[StoredToken]:
    query = select(tokens).order_by(tokens.c.issued_ns.desc(), tokens.c.token_id)
    if principal is not None:
        query = query.where(tokens.c.principal == principal)
    return [StoredToken(**row._mapping) for row in connection.execute(query)]


def revoke(connection: Connection, token_id: str, now_ns: int) -> bool:
    result = connection.execute(
        update(tokens)
        .where(tokens.c.token_id == token_id, tokens.c.revoked_ns.is_(None))
        .values(revoked_ns=now_ns)
    )
    return result.rowcount == 1
