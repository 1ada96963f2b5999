"""Secrets that do not print: a value leaves a `Secret` by `reveal()` and in no other way.

A configuration names where a secret comes from and never holds one, so a configuration may be
printed, logged and compared.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Never, final

from chaperon.wire.errors import ConfigError

_LARGEST = 64 * 1024


@final
class Secret:
    """A credential in memory. Printing, formatting, copying and pickling never show it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value. Keep it in a local name, as short as can be; never in a message."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "Secret(…)"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint of the value

    def __reduce_ex__(self, _protocol: object) -> Never:
        raise TypeError("a Secret is not pickled or copied; pass the object itself")


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is read from, when it is needed: an environment variable or a file.

    `where` is its place in the configuration (`file:line:column`), for errors.
    """

    env: str | None = None
    file: Path | None = None
    where: str = ""

    def resolve(self) -> Secret:
        """Read the secret now, so that a rotated file is seen at the next dial.

        One line ending at the end of a file is not part of the secret. Raises ConfigError, without
        the value, where there is none.
        """
        if self.env is not None:
            return self._from_environment(self.env)
        if self.file is not None:
            return self._from_file(self.file)
        raise ConfigError(f"{self._prefix()}no source for the secret. Name one: {{env: NAME}}")

    def _from_environment(self, name: str) -> Secret:
        value = os.environ.get(name)
        if not value:
            state = "is empty" if value == "" else "is not set"
            raise ConfigError(
                f"{self._prefix()}the environment variable {name} {state}. "
                f"Set it where the gateway is started, or name a file with {{file: PATH}}."
            )
        return Secret(value)

    def _from_file(self, path: Path) -> Secret:
        try:
            with path.open("rb") as stream:
                raw = stream.read(_LARGEST + 1)
        except OSError as error:
            raise ConfigError(
                f"{self._prefix()}the secret's file {path} cannot be read: {error.strerror}. "
                f"Create it with mode 0600, owned by the user that runs the gateway."
            ) from None
        if len(raw) > _LARGEST:
            raise ConfigError(
                f"{self._prefix()}the secret's file {path} is larger than {_LARGEST} bytes. "
                f"It must hold the secret and nothing else."
            )
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            raise ConfigError(
                f"{self._prefix()}the secret's file {path} is not UTF-8 text. Write it anew."
            ) from None
        value = value.removesuffix("\n").removesuffix("\r")
        if not value:
            raise ConfigError(f"{self._prefix()}the secret's file {path} is empty. Write it there.")
        return Secret(value)

    def _prefix(self) -> str:
        return f"{self.where}: " if self.where else ""
