"""Load a `Catalog` from a PostgreSQL server, and compute effective search paths. Reads only."""

from __future__ import annotations

import ssl

from chaperon.facts.catalog import Catalog


async def load_catalog(
    *,
    host: str,
    port: int,
    database: str,
    user: str,
    password: str | None,
    tls: ssl.SSLContext | bool | None = None,
    safe_functions: frozenset[str] = frozenset(),
    epoch: int = 0,
    seconds: float = 10.0,
) -> Catalog:
    """A snapshot of `database`, numbered `epoch`. Raises `UpstreamUnavailable`."""
    raise NotImplementedError


def effective_path(
    setting: str, session_role: str, catalog: Catalog, temp_exists: bool = False
) -> tuple[str, ...] | None:
    """The schemas that `SHOW search_path` = `setting` means for the current role, in search order.

    As `current_schemas(true)`: pg_catalog (and "pg_temp" where `temp_exists`) at their places,
    schemas that do not exist or that the role may not use left out. None where `setting` is not a
    list that PostgreSQL would accept.
    """
    raise NotImplementedError
