"""The key of mock verifiers: made once for a data folder, mode 0600, the same after a restart.

It guards no token. Who had it could tell which public ids exist, and no more.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from chaperon.wire.errors import ConfigError

KEY_BYTES = 32
FILE_NAME = "mock-verifier.key"


def mock_key(folder: Path) -> bytes:
    """Return the key kept in `folder`, making it first where there is none.

    Raises ConfigError where the file cannot be written or read, or is not a key.
    """
    path = folder / FILE_NAME
    try:
        _create(path)
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be made or read: {error.strerror}. Make the data folder writable for "
            f"the user that runs the gateway."
        ) from None
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{path} is damaged: {len(key)} bytes instead of {KEY_BYTES}. Delete it; the gateway "
            f"makes a new one, and no token is lost by it."
        )
    return key


def _create(path: Path) -> None:
    """Write a new key in one step: a reader sees no file or a whole one."""
    if path.exists():
        return
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(KEY_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return  # another process was first; its key counts
    finally:
        os.unlink(temporary)
