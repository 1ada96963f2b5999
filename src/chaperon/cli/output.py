"""What the command line prints. Text from outside never reaches a terminal as control characters.

Results go to stdout, everything else to stderr. Colour only where the stream is a terminal and
NO_COLOR is not set (https://no-color.org).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import TextIO

from chaperon.api.values import Json

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_ELLIPSIS = "…"


class Style(Enum):
    """SGR parameters (ECMA-48 §8.3.117)."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"


def coloured(stream: TextIO) -> bool:
    """Whether `stream` is to be written in colour."""
    return (
        stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") != "dumb"
    )


def paint(text: str, style: Style, stream: TextIO | None = None) -> str:
    """`text` in `style`, where the stream (stdout if None) takes colour."""
    if style is Style.PLAIN or not coloured(sys.stdout if stream is None else stream):
        return text
    return f"\x1b[{style.value}m{text}\x1b[0m"


def safe(text: str) -> str:
    """`text` on one line, with whitespace folded and every invisible character spelt out.

    A statement may carry terminal escapes, or marks that turn the reading direction: both would
    let an agent show its operator something else than what it did.
    """
    if text.isascii() and text.isprintable() and "  " not in text:
        return text
    folded = " ".join(text.split())
    return "".join(_spelt(character) for character in folded)


def safe_lines(text: str) -> str:
    """As `safe`, but line breaks and indentation stay."""
    return "\n".join(
        "".join(_spelt(character) for character in line.expandtabs(4)) for line in text.split("\n")
    )


def _spelt(character: str) -> str:
    if unicodedata.category(character) in _HIDDEN:
        return character.encode("unicode_escape").decode("ascii")
    return character


def say(text: str = "") -> None:
    """A line on stdout."""
    print(text)


def note(text: str) -> None:
    """A line on stderr, for a person; not part of the result."""
    print(text, file=sys.stderr)


def print_json(value: Json) -> None:
    """The result for a machine: one JSON document, ASCII only."""
    indent = 2 if sys.stdout.isatty() else None
    print(json.dumps(value, indent=indent))


def print_error(what: str, remedy: str) -> None:
    """What went wrong, and what would help, on stderr."""
    note(f"{paint('error:', Style.RED, sys.stderr)} {safe_lines(what)}")
    if remedy:
        note(f"  {safe_lines(remedy)}")


class Column:
    """One column of a table. `elastic` ones are cut first where the terminal is too narrow."""

    __slots__ = ("elastic", "right", "title")

    def __init__(self, title: str, *, right: bool = False, elastic: bool = False) -> None:
        self.title = title
        self.right = right
        self.elastic = elastic


def print_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    styles: Mapping[tuple[int, int], Style] | None = None,
) -> None:
    """Print aligned columns, cut to the terminal's width where stdout is one.

    `styles` is by (row, column). Cells are made safe here.
    """
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [
        max([_width(column.title), *(_width(row[i]) for row in cells)])
        for i, column in enumerate(columns)
    ]
    if sys.stdout.isatty():
        widths = _fitted(columns, widths, shutil.get_terminal_size().columns)
    titles = [column.title for column in columns]
    say(paint(_line(columns, titles, widths), Style.DIM))
    for number, row in enumerate(cells):
        painted = [
            (styles or {}).get((number, index), Style.PLAIN) for index in range(len(columns))
        ]
        say(_line(columns, row, widths, painted))


def _fitted(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    fitted = list(widths)
    excess = sum(fitted) + 2 * (len(fitted) - 1) - room
    for index, column in enumerate(columns):
        if column.elastic and excess > 0:
            cut = min(excess, max(0, fitted[index] - 12))
            fitted[index] -= cut
            excess -= cut
    return fitted


def _line(
    columns: Sequence[Column],
    cells: Sequence[str],
    widths: Sequence[int],
    styles: Sequence[Style] | None = None,
) -> str:
    parts = []
    for index, (column, cell, width) in enumerate(zip(columns, cells, widths, strict=True)):
        text = _cut(cell, width)
        padding = " " * (width - _width(text))
        if styles is not None:
            text = paint(text, styles[index])
        parts.append(padding + text if column.right else text + padding)
    return "  ".join(parts).rstrip()


def _width(text: str) -> int:
    """Terminal cells of `text` (Unicode TR 11: wide and fullwidth take two)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    cut = text[:width]
    while cut and _width(cut) > width - 1:
        cut = cut[:-1]
    return cut + _ELLIPSIS


def local_time(ns: int | None) -> str:
    """A wall-clock time (ns since the epoch) in the local zone, to the second; "" for None."""
    if ns is None:
        return ""
    moment = datetime.fromtimestamp(ns // 1_000_000_000).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def brief_duration(ns: int) -> str:
    """A length of time in two units at most: `850ms`, `12s`, `3m 20s`, `2h 5m`, `3d 4h`."""
    if ns < 1_000_000_000:
        return f"{ns // 1_000_000}ms"
    seconds = ns // 1_000_000_000
    for size, unit, smaller, part in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size}{unit} {rest}{part}" if rest else f"{seconds // size}{unit}"
    return f"{seconds}s"


def brief_size(size: int) -> str:
    """Bytes in a unit that keeps it short: `512 B`, `1.5 MiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
