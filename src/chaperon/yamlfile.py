"""A YAML file as plain values that remember where they stand, so that every error has a line.

Stricter than YAML 1.1 where that surprises: a key given twice is an error, only `true` and `false`
are truth values (`no`, `off` and `on` are words), and nothing is a date or a base-60 number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chaperon.wire.errors import ConfigError

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]+([eE][-+]?[0-9]+)?\Z")
_LARGEST = 4 * 1024 * 1024
_DEEPEST = 64
_MOST_VALUES = 100_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file. Line and column count from 1."""

    path: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class Located(dict[str, Any]):
    """A mapping that knows its own place and those of its keys."""

    place: Place
    keys_at: dict[str, Place]


class LocatedList(list[Any]):
    """A sequence that knows its own place and those of its items."""

    place: Place
    items_at: list[Place]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: where, what, and what to do about it."""

    place: Place
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}\n    {self.remedy}"


def config_error(problems: Iterable[Problem]) -> ConfigError:
    """One error out of all problems, in the order of the file."""
    ordered = sorted(problems, key=lambda p: (str(p.place.path), p.place.line, p.place.column))
    return ConfigError("\n".join(str(problem) for problem in ordered))


def read_yaml(path: Path) -> tuple[Located, list[Problem]]:
    """Read the mapping in `path`, with the problems that leave the rest of the file usable.

    Raises ConfigError where there is no file, no YAML, or no mapping in it.
    """
    text = _read(path)
    try:
        # A loader is made without a file object, so marks carry no name; `Place` supplies it.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _syntax_error(path, error) from None
    except RecursionError:
        raise config_error(
            [Problem(Place(path, 1, 1), "nested too deeply.", f"Use at most {_DEEPEST} levels.")]
        ) from None
    if not isinstance(root, yaml.MappingNode):
        place = Place(path, 1, 1) if root is None else _place(path, root)
        text = "the file is empty." if root is None else "the file holds no mapping at its top."
        raise config_error(
            [Problem(place, text, "Write `key: value` lines; see configuration.md.")]
        )
    reader = _Reader(path)
    return reader.mapping(root, 0), reader.problems


def _read(path: Path) -> str:
    start = Place(path, 1, 1)
    try:
        with path.open("rb") as stream:
            raw = stream.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}. "
            f"Name an existing file with -c FILE, or write a first one with `chaperon init`."
        ) from None
    if len(raw) > _LARGEST:
        raise config_error([Problem(start, "larger than 4 MiB.", "Is it the right file?")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        place = Place(path, line, column)
        raise config_error([Problem(place, "not UTF-8 text.", "Save the file as UTF-8.")]) from None


def _syntax_error(path: Path, error: yaml.YAMLError) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "malformed"
    place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path, 1, 1)
    remedy = "Check indentation and brackets; quote values with `: `, `#`, `{` or `[` in them."
    return config_error([Problem(place, f"not YAML: {what}.", remedy)])


def _place(path: Path, node: yaml.Node) -> Place:
    return Place(path, node.start_mark.line + 1, node.start_mark.column + 1)


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.values = 0

    def value(self, node: yaml.Node, depth: int) -> Any:
        if depth > _DEEPEST:  # an alias inside its own anchor never ends otherwise
            self._problem(node, "nested too deeply.", f"Use at most {_DEEPEST} levels.")
            return None
        self.values += 1  # aliases of aliases multiply
        if self.values > _MOST_VALUES:
            place = _place(self.path, node)
            raise config_error([Problem(place, "too many values.", "Write less by aliases.")])
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, depth)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise config_error([Problem(_place(self.path, node), "not YAML's.", "Write a value.")])

    def mapping(self, node: yaml.MappingNode, depth: int) -> Located:
        result = Located()
        result.place = _place(self.path, node)
        result.keys_at = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, "a key must be plain text.", "Write `key: value`.")
                continue
            key = str(key_node.value)
            if key in result:
                first = result.keys_at[key].line
                self._problem(key_node, f"`{key}` stands twice.", f"Keep one; first: line {first}.")
                continue
            result.keys_at[key] = _place(self.path, key_node)
            result[key] = self.value(value_node, depth + 1)
        return result

    def _sequence(self, node: yaml.SequenceNode, depth: int) -> LocatedList:
        result = LocatedList(self.value(item, depth + 1) for item in node.value)
        result.place = _place(self.path, node)
        result.items_at = [_place(self.path, item) for item in node.value]
        return result

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = str(node.value)
        if node.tag.startswith("!") or "python" in node.tag:
            self._problem(node, f"the tag {node.tag} means nothing here.", "Remove the tag.")
            return text
        if node.style is not None:  # quoted: text whatever it looks like
            return text
        if text in ("", "~", "null"):
            return None
        if text in ("true", "false"):
            return text == "true"
        if _INTEGER.match(text) and len(text) < 20:
            return int(text)
        return float(text) if _FLOAT.match(text) else text

    def _problem(self, node: yaml.Node, text: str, remedy: str) -> None:
        self.problems.append(Problem(_place(self.path, node), text, remedy))
