"""Runs a method of the API: in the gateway where one runs, otherwise here on the store alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from sqlalchemy.exc import SQLAlchemyError

from chaperon.api.address import socket_path
from chaperon.api.client import ControlClient
from chaperon.api.desk import Desk
from chaperon.api.errors import ApiError, Code
from chaperon.api.methods import METHODS
from chaperon.api.values import Json
from chaperon.cli.deployment import configuration
from chaperon.cli.exits import CommandFailed, Exit
from chaperon.config import Config, open_data_folder
from chaperon.store import Store


class Backend(Protocol):
    """Where methods run. `running` says whether that is a gateway."""

    @property
    def config(self) -> Config: ...
    @property
    def running(self) -> bool: ...
    def call(self, method: str, params: Mapping[str, Json]) -> Json:
        """The result of one method. Raises ApiError."""
        ...


@contextmanager
def backend(given: Path | None) -> Iterator[Backend]:
    """The deployment of the configuration `given`. Raises ApiError, CommandFailed, ConfigError."""
    config = configuration(given)
    try:
        client = ControlClient(socket_path(config.data))
    except ApiError as error:
        if error.code is not Code.NOT_RUNNING:
            raise
    else:
        with client:
            yield _Remote(config, client)
        return
    open_data_folder(config.data)
    store = Store.open(config.data)
    try:
        yield _Local(config, store)
    finally:
        store.close()


class _Remote:
    running = True

    def __init__(self, config: Config, client: ControlClient) -> None:
        self.config = config
        self._client = client

    def call(self, method: str, params: Mapping[str, Json]) -> Json:
        return self._client.call(method, params)


class _Local:
    running = False

    def __init__(self, config: Config, store: Store) -> None:
        self.config = config
        self._desk = Desk(config, store, None)

    def call(self, method: str, params: Mapping[str, Json]) -> Json:
        async def run() -> Json:
            return await cast(Awaitable[Json], METHODS[method].run(self._desk, params))

        try:
            return asyncio.run(run())
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise CommandFailed(
                Exit.FAILED, f"The store does not answer: {cause}.", "See: chaperon doctor"
            ) from None
