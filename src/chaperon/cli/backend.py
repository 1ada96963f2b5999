"""Runs a method of the API: in the gateway where one runs, otherwise here on the store alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from chaperon.api.address import socket_path
from chaperon.api.client import ControlClient
from chaperon.api.errors import ApiError, Code
from chaperon.api.values import Json
from chaperon.cli.deployment import configuration
from chaperon.config import Config


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
    # The store's libraries take longer to import than a gateway to answer.
    from chaperon.cli.local import local  # noqa: PLC0415  # only where no gateway runs

    with local(config) as at:
        yield at


class _Remote:
    running = True

    def __init__(self, config: Config, client: ControlClient) -> None:
        self.config = config
        self._client = client

    def call(self, method: str, params: Mapping[str, Json]) -> Json:
        return self._client.call(method, params)
