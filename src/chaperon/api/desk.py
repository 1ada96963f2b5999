"""What a method of the API works with, and what a method is.

The same methods answer on the control socket and, where no gateway runs, in the process of the
command itself: then `gateway` is None.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaperon.api.context import ControlContext
from chaperon.api.errors import ApiError, Code
from chaperon.api.params import Params
from chaperon.api.values import Json

if TYPE_CHECKING:
    from chaperon.config import Config
    from chaperon.store.store import Store


@dataclass(frozen=True, slots=True)
class Desk:
    """A deployment at hand: its configuration, its store, and the gateway where one runs."""

    config: Config
    store: Store
    gateway: ControlContext | None

    def running(self) -> ControlContext:
        """The gateway. Raises ApiError (`NOT_RUNNING`) where there is none."""
        if self.gateway is None:
            raise ApiError(
                Code.NOT_RUNNING,
                f"No gateway runs on the data folder {self.config.data}.",
                f"Start it with: chaperon serve -c {self.config.path}",
            )
        return self.gateway


Handler = Callable[[Desk, Params], Awaitable[Json] | AsyncIterator[Json]]


@dataclass(frozen=True, slots=True)
class Method:
    """One method: the names of its parameters, and what it does.

    `handler` gives an awaitable of the result, or for a stream an iterator of events. It raises
    ApiError; anything else is answered as an internal error.
    """

    name: str
    parameters: frozenset[str]
    handler: Handler

    def run(self, desk: Desk, values: Mapping[str, Json]) -> Awaitable[Json] | AsyncIterator[Json]:
        """Begin. Raises ApiError where the parameters do not fit."""
        return self.handler(desk, Params(self.name, self.parameters, values))


def method(name: str, *parameters: str) -> Callable[[Handler], Method]:
    """Decorate a handler to be the method `name`."""

    def made(handler: Handler) -> Method:
        return Method(name, frozenset(parameters), handler)

    return made
