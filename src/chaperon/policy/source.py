"""Policy files as texts: the folder read once, each policy cut out with the line it starts on.

Nothing is parsed here beyond strings, comments and `;`, which is all that cutting needs; Cedar
itself then parses each piece alone, so an error has the line of its policy.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chaperon.wire.errors import ConfigError

_LARGEST_FILE = 1 << 20
_LARGEST_SET = 8 << 20
_WORD = re.compile(r'//[^\r\n]*|"(?:[^"\\]|\\.)*"|;|\s+|[^\s;"/]+|.', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of one policy and where it starts. Lines count from 1."""

    path: Path
    line: int
    text: str

    @property
    def where(self) -> str:
        """`file:line`, for messages."""
        return f"{self.path}:{self.line}"


Stamp = tuple[tuple[str, int, int, int], ...]


def stamp(folder: Path) -> Stamp:
    """What polling compares: path, mtime, size, inode of every policy file. Raises ConfigError."""
    try:
        found = [(path, path.stat()) for path in _files(folder)]
    except OSError as error:
        raise _unreadable(folder, error) from None
    return tuple((str(p), s.st_mtime_ns, s.st_size, s.st_ino) for p, s in found)


def read_folder(folder: Path) -> dict[Path, bytes]:
    """Every `*.cedar` file below `folder`, but for hidden ones, by path in a stable order.

    Raises ConfigError where the folder or a file cannot be read, is too large, or there is none.
    """
    texts: dict[Path, bytes] = {}
    total = 0
    try:
        if not folder.is_dir():
            raise ConfigError(
                f"{folder}: there is no such folder of policies. Make it, or set `policies:` to "
                f"the folder that holds the *.cedar files."
            )
        for path in _files(folder):
            with path.open("rb") as stream:
                raw = stream.read(_LARGEST_FILE + 1)
            total += len(raw)
            if len(raw) > _LARGEST_FILE or total > _LARGEST_SET:
                raise ConfigError(
                    f"{path}:1: policies are limited to 1 MiB a file and 8 MiB in all. Split the "
                    f"file, or write fewer policies by using groups."
                )
            texts[path] = raw
    except OSError as error:
        raise _unreadable(folder, error) from None
    if not texts:
        raise ConfigError(
            f"{folder}: no *.cedar file in it, so everything would be denied. Write a first "
            f"policy; docs/policy.md has some to copy."
        )
    return texts


def digest(texts: Mapping[Path, bytes], folder: Path, schema_hash: str) -> str:
    """SHA-256, hexadecimal, of the names, the texts and the schema that they are read by."""
    state = hashlib.sha256(schema_hash.encode())
    for path, raw in texts.items():
        name = str(path.relative_to(folder)).encode()
        state.update(b"%d:%s%d:%s" % (len(name), name, len(raw), raw))
    return state.hexdigest()


def decode(path: Path, raw: bytes) -> str:
    """The text of a file. Raises ConfigError where it is not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text.\n    Save the file as UTF-8.") from None


def cut(path: Path, text: str) -> list[Piece]:
    """The policies of one file. What follows the last `;`, if more than space, is a piece too."""
    pieces: list[Piece] = []
    start: int | None = None
    line = first = 1
    for match in _WORD.finditer(text):
        word = match[0]
        if start is None and not word.isspace() and not word.startswith("//"):
            start, first = match.start(), line
        if word == ";" and start is not None:
            pieces.append(Piece(path, first, text[start : match.end()]))
            start = None
        line += word.count("\n")
    if start is not None:
        pieces.append(Piece(path, first, text[start:]))
    return pieces


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []

    def fail(error: OSError) -> None:
        raise error

    for base, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(base, n) for n in names if n.endswith(".cedar") and not n.startswith(".")]
    return sorted(found)


def _unreadable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{error.filename or folder}: cannot be read: {error.strerror}. Policies must be readable "
        f"by the user that runs the gateway."
    )
