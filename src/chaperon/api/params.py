"""Reading a request's parameters: each by name and type, and none that nobody asked for."""

from __future__ import annotations

from collections.abc import Mapping

from chaperon.api.errors import ApiError, Code
from chaperon.api.values import Json


class Params:
    """Parameters of one request. Every getter raises `ApiError` where the value does not fit."""

    __slots__ = ("_method", "_values")

    def __init__(self, method: str, allowed: frozenset[str], values: Mapping[str, Json]) -> None:
        self._method = method
        self._values = values
        for name in values:
            if name not in allowed:
                takes = ", ".join(sorted(allowed)) or "none"
                raise self._bad(f"has no parameter {name[:40]!r}; it takes {takes}")

    def text(self, name: str) -> str:
        """A string that must be there and not be empty."""
        value = self.optional_text(name)
        if not value:
            raise self._bad(f"needs the parameter {name!r}")
        return value

    def optional_text(self, name: str) -> str | None:
        """A string; None where it is absent or null."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._bad(f"wants a string as {name!r}")
        if "\0" in value or any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise self._bad(f"wants text without NUL and lone surrogates as {name!r}")
        return value

    def optional_integer(self, name: str, *, least: int, largest: int) -> int | None:
        """An integer in the range given, ends included; None where it is absent or null."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._bad(f"wants an integer as {name!r}")
        if not least <= value <= largest:
            raise self._bad(f"wants {name!r} between {least} and {largest}")
        return value

    def _bad(self, what: str) -> ApiError:
        return ApiError(
            Code.BAD_REQUEST,
            f"{self._method} {what}.",
            "docs/cli.md lists the methods of the control socket with their parameters.",
        )
