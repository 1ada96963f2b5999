"""Load a `Catalog` from a PostgreSQL server over a connection of the gateway's own. Reads only.

Invariant: one read-only transaction with one snapshot and pg_catalog as its search_path, so that no
name in it means anything but PostgreSQL's own, and no expression comes back unqualified.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Literal

import asyncpg

from chaperon.facts.catalog import Catalog
from chaperon.protocols.postgres.catalog_build import build
from chaperon.protocols.postgres.catalog_queries import ALL
from chaperon.protocols.postgres.search_path import effective_path
from chaperon.wire.errors import UpstreamUnavailable

__all__ = ["effective_path", "load_catalog"]


async def load_catalog(
    *,
    host: str,
    port: int,
    database: str,
    user: str,
    password: str | None,
    tls: ssl.SSLContext | Literal["prefer"] | bool | None = None,
    safe_functions: frozenset[str] = frozenset(),
    epoch: int = 0,
    seconds: float = 10.0,
) -> Catalog:
    """A snapshot of `database`, numbered `epoch`. Raises `UpstreamUnavailable`.

    `tls` as asyncpg's `ssl`: None or False for plain text. `seconds` bounds the connecting and
    each query.
    """
    try:
        connection = await asyncpg.connect(
            host=host,
            port=port,
            database=database,
            user=user,
            password=password,
            ssl=tls if tls is not None else False,
            timeout=seconds,
            command_timeout=seconds,
            statement_cache_size=0,
        )
        try:
            rows = await _rows(connection, seconds)
        finally:
            await connection.close(timeout=seconds)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UpstreamUnavailable(
            f"the catalog of {database} on {host}:{port} could not be read ({what})"
        ) from error
    # Reading thousands of definitions takes a while: not on the event loop.
    return await asyncio.to_thread(build, rows, safe_functions, epoch)


async def _rows(
    connection: asyncpg.Connection[asyncpg.Record], seconds: float
) -> dict[str, list[Any]]:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(
            "set local search_path = pg_catalog; "
            f"set local statement_timeout = {max(1, int(seconds * 1000))}"
        )
        version = await connection.fetchval(
            "select current_setting('server_version_num')::pg_catalog.int4"
        )
        return {
            name: list(await connection.fetch(query)) if version >= least else []
            for name, (least, query) in ALL.items()
        }
