"""Opens the database: made where it is missing, checked for its version, private to its user."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from chaperon.store.tables import SCHEMA_VERSION, meta, schema
from chaperon.wire.errors import ConfigError

FILE_NAME = "chaperon.db"
BUSY_MS = 10_000
_VERSION = "schema_version"


def open_database(data: Path) -> Engine:
    """The engine of `data/chaperon.db`. Raises ConfigError with a remedy."""
    path = data / FILE_NAME
    try:
        with _alone(data):
            _make_private(path)
            engine = create_engine(f"sqlite:///{path}")
            event.listen(engine, "connect", _prepare)
            _create(engine)
            _check(engine, path)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be opened: {error.strerror}. Give the data folder to the user that "
            "runs Chaperon, with mode 0700."
        ) from error
    except DBAPIError as error:
        raise ConfigError(
            f"{path}: is not a usable database: {error.orig}. Move it away and run `chaperon index "
            "rebuild`: sessions and statements come back from the recordings, tokens have to be "
            "made anew."
        ) from error
    return engine


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Gateway, indexer and commands open it at the same time; one of them makes it."""
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _make_private(path: Path) -> None:
    """SQLite gives its -wal and -shm files the mode of the database, so it is made first.

    An existing file is not opened: closing it would drop the locks that SQLite holds on it in this
    process (https://sqlite.org/howtocorrupt.html, section 2.2).
    """
    if path.exists():
        os.chmod(path, 0o600)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    for pragma in (
        f"busy_timeout={BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _check(engine: Engine, path: Path) -> None:
    found = None
    if inspect(engine).has_table(meta.name):
        with engine.connect() as connection:
            found = connection.scalar(select(meta.c.value).where(meta.c.key == _VERSION))
    if found is None or not found.isdigit():
        raise ConfigError(
            f"{path}: has no schema version, so Chaperon did not make it. Move it away, or set "
            "`data:` to another folder."
        )
    if int(found) > SCHEMA_VERSION:
        raise ConfigError(
            f"{path}: has schema version {found}, written by a newer Chaperon; this one reads up "
            f"to {SCHEMA_VERSION}. Install the newer one again. Nothing was changed."
        )


def _create(engine: Engine) -> None:
    if inspect(engine).get_table_names():
        return
    with engine.begin() as connection:
        # One transaction: SQLite rolls back CREATE TABLE too, if its driver is told that it began.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        schema.create_all(connection)
        connection.execute(insert(meta).values(key=_VERSION, value=str(SCHEMA_VERSION)))
