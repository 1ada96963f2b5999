"""Keeps a snapshot of each target's catalog fresh enough, over the gateway's own connection.

Invariant: a decision never uses a snapshot that is older than the resource's staleness limit or
than the last DDL that passed through this gateway. Where none can be had, the empty snapshot
resolves nothing, and what does not resolve is unknown.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

from chaperon.config import ResourceConfig
from chaperon.facts.catalog import Catalog
from chaperon.protocols.postgres.catalog import load_catalog
from chaperon.protocols.postgres.gate import Generation
from chaperon.tls import upstream_tls
from chaperon.wire.errors import ConfigError, UpstreamUnavailable

log = logging.getLogger("chaperon.catalog")


class CatalogCache:
    """The snapshot of one resource."""

    def __init__(self, config: ResourceConfig, generation: Generation) -> None:
        self._config = config
        self._generation = generation
        self._catalog: Catalog | None = None
        self._loaded = 0.0
        self._loading: asyncio.Task[Catalog] | None = None
        self._epoch = 0
        self._invalidations = 0

    def current(self) -> Catalog | None:
        """The snapshot, None where it has to be loaded first."""
        if self._catalog is None:
            return None
        if time.monotonic() - self._loaded > self._config.catalog_staleness:
            return None
        return self._catalog

    def invalidate(self) -> None:
        """The target's catalog has changed; decisions made by the old one are void."""
        self._catalog = None
        self._invalidations += 1
        self._generation.advance()

    async def load(self) -> Catalog:
        """The snapshot, loaded where it must be; one load at a time serves all who wait."""
        current = self.current()
        if current is not None:
            return current
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load())
            self._loading.add_done_callback(self._loaded_once)
        return await asyncio.shield(self._loading)

    def _loaded_once(self, _task: asyncio.Task[Catalog]) -> None:
        self._loading = None

    async def _load(self) -> Catalog:
        started = time.monotonic()
        before = self._invalidations
        upstream = self._config.upstream
        try:
            found = await load_catalog(
                host=upstream.host,
                port=upstream.port,
                database=upstream.database,
                user=upstream.user,
                password=upstream.password.resolve().reveal() if upstream.password else None,
                tls="prefer" if upstream.tls == "prefer" else upstream_tls(upstream),
                safe_functions=self._config.safe_functions,
            )
        except (UpstreamUnavailable, ConfigError) as error:
            log.warning("names of %s are not resolved: %s", upstream.host, error)
            return Catalog()
        if before != self._invalidations:
            # It was read while the target changed: good for nobody.
            return await self._load()
        known = self._catalog
        if known is None or replace(found, epoch=known.epoch) != known:
            self._epoch += 1
            self._generation.advance()
            known = replace(found, epoch=self._epoch)
        self._catalog = known
        self._loaded = started
        return known
