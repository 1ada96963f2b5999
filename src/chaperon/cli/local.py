"""Runs methods of the API in this process, on the store alone: for when no gateway runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from sqlalchemy.exc import SQLAlchemyError

from chaperon.api.desk import Desk
from chaperon.api.methods import METHODS
from chaperon.api.values import Json
from chaperon.cli.exits import CommandFailed, Exit
from chaperon.config import Config, open_data_folder
from chaperon.store import Store


class Local:
    """A `Backend` without a gateway."""

    running = False

    def __init__(self, config: Config, store: Store) -> None:
        self.config = config
        self._desk = Desk(config, store, None)

    def call(self, method: str, params: Mapping[str, Json]) -> Json:
        """The result of one method. Raises ApiError, CommandFailed."""

        async def run() -> Json:
            return await cast(Awaitable[Json], METHODS[method].run(self._desk, params))

        try:
            return asyncio.run(run())
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise CommandFailed(
                Exit.FAILED, f"The store does not answer: {cause}.", "See: chaperon doctor"
            ) from None


@contextmanager
def local(config: Config) -> Iterator[Local]:
    """Open the data folder and its store, both made where missing. Raises ConfigError."""
    open_data_folder(config.data)
    store = Store.open(config.data)
    try:
        yield Local(config, store)
    finally:
        store.close()
