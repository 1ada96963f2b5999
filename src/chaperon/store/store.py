"""The store of one data folder. Tokens are written by the gateway, the index by the indexer alone.

Every method is one short transaction and blocks for its time; a reader never waits for a writer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine

from chaperon.store import queries, tokens
from chaperon.store.database import open_database
from chaperon.store.model import (
    Position,
    SessionFilter,
    SessionRow,
    StatementFilter,
    StatementRow,
    StoredToken,
)


class Store:
    """Thread-safe. Methods raise `sqlalchemy.exc.SQLAlchemyError` where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, data: Path) -> Self:
        """Open `data/chaperon.db`, making it where it is missing. Raises ConfigError."""
        return cls(open_database(data))

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    # Sessions and statements.

    def sessions(
        self, wanted: SessionFilter | None = None, limit: int = 50, behind: Position | None = None
    ) -> list[SessionRow]:
        """Sessions, latest first. For the next page give `behind` the last row's position."""
        with self._engine.connect() as connection:
            return queries.sessions(connection, wanted or SessionFilter(), limit, behind)

    def session(self, session: str) -> SessionRow | None:
        """The session with this whole id."""
        with self._engine.connect() as connection:
            return queries.session(connection, session)

    def sessions_like(self, prefix: str, limit: int = 10) -> list[SessionRow]:
        """The sessions whose id begins with `prefix`, in order of id."""
        with self._engine.connect() as connection:
            return queries.sessions_like(connection, prefix, limit)

    def statements(self, session: str, after: int = -1, limit: int = 1000) -> list[StatementRow]:
        """Statements of one session in order, those with an ordinal above `after`."""
        with self._engine.connect() as connection:
            return queries.statements(connection, session, after, limit)

    def search(
        self, wanted: StatementFilter, limit: int = 50, behind: Position | None = None
    ) -> list[StatementRow]:
        """Statements of any session, latest first. Paged as `sessions`."""
        with self._engine.connect() as connection:
            return queries.search(connection, wanted, limit, behind)

    def complete_sessions(self) -> set[str]:
        """The ids of the sessions whose recordings need not be read again."""
        with self._engine.connect() as connection:
            return queries.complete_sessions(connection)

    def write_index(
        self, sessions: Sequence[SessionRow], statements: Sequence[StatementRow]
    ) -> None:
        """Insert or replace rows, all or none, by session id, and by session and ordinal."""
        with self._write() as connection:
            queries.write_sessions(connection, sessions)
            queries.write_statements(connection, statements)

    def clear_index(self) -> None:
        """Drop all sessions and statements; tokens stay."""
        with self._write() as connection:
            queries.clear(connection)

    # Tokens.

    def add_token(self, token: tokens.TokenLike) -> None:
        """Keep a new token. Raises ValueError where its id is taken."""
        with self._write() as connection:
            tokens.add(connection, token)

    def find_token(self, token_id: str) -> StoredToken | None:
        """The token with this public id, expired and revoked ones too."""
        with self._engine.connect() as connection:
            return tokens.find(connection, token_id)

    def tokens(self, principal: str | None = None) -> list[StoredToken]:
        """All tokens (of a principal), latest first."""
        with self._engine.connect() as connection:
            return tokens.listed(connection, principal)

    def revoke_token(self, token_id: str, now_ns: int) -> bool:
        """Revoke a token; False where there is none, or it was revoked before."""
        with self._write() as connection:
            return tokens.revoke(connection, token_id, now_ns)

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection
