"""PostgreSQL's own parser and scanner (libpg_query, as postgast ships it), in process.

The JSON tree is used because the protobuf tree fails on legitimate SQL (docs/facts.md). Only the
shared library is loaded, not the package, whose import costs 180 ms and 20 MB.
Invariant: callers bound the text first (`limits`); deep texts exhaust the C stack.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from chaperon.wire.errors import ConfigError


class _Error(ctypes.Structure):
    _fields_ = [("message", ctypes.c_char_p)]  # the rest of PgQueryError is not read


class _ParseResult(ctypes.Structure):
    _fields_ = [
        ("tree", ctypes.c_char_p),
        ("stderr", ctypes.c_char_p),
        ("error", ctypes.POINTER(_Error)),
    ]


class _ScanResult(ctypes.Structure):
    _fields_ = [
        ("length", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("stderr", ctypes.c_char_p),
        ("error", ctypes.POINTER(_Error)),
    ]


def _load() -> ctypes.CDLL:
    spec = importlib.util.find_spec("postgast")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for name in ("libpg_query.so", "libpg_query.dylib"):
            if (Path(folder) / name).is_file():
                return ctypes.CDLL(str(Path(folder) / name))
    raise ConfigError("the package postgast with its libpg_query is missing: reinstall chaperon")


_lib = _load()
_parse = _lib.pg_query_parse
_parse.argtypes = [ctypes.c_char_p]
_parse.restype = _ParseResult
_free_parse = _lib.pg_query_free_parse_result
_free_parse.argtypes = [_ParseResult]
_free_parse.restype = None
_scan = _lib.pg_query_scan
_scan.argtypes = [ctypes.c_char_p]
_scan.restype = _ScanResult
_free_scan = _lib.pg_query_free_scan_result
_free_scan.argtypes = [_ScanResult]
_free_scan.restype = None


class SyntaxProblem(Exception):
    """PostgreSQL's grammar refuses the text; the argument is its message."""


class Token(NamedTuple):
    """A token of the scanner: its kind (a number of PostgreSQL's grammar) and byte range."""

    kind: int
    start: int
    end: int


STRING_KINDS = frozenset({261, 262})
"""SCONST and USCONST: string constants, dollar-quoted ones included."""


def parse_json(text: bytes) -> bytes:
    """The raw parse tree of `text` (no NUL in it) as JSON. Raises `SyntaxProblem`."""
    result = _parse(text)
    try:
        if result.error:
            message: bytes = result.error.contents.message or b"syntax error"
            raise SyntaxProblem(message.decode("utf-8", "replace"))
        tree: bytes = result.tree
        return tree
    finally:
        _free_parse(result)


def scan(text: bytes) -> list[Token]:
    """The tokens of `text` by PostgreSQL's scanner. Raises `SyntaxProblem`."""
    result = _scan(text)
    try:
        if result.error:
            raise SyntaxProblem((result.error.contents.message or b"").decode("utf-8", "replace"))
        data = ctypes.string_at(result.data, result.length) if result.length else b""
    finally:
        _free_scan(result)
    return [_token(value) for field, value in _fields(data) if field == 2]


def _token(data: bytes) -> Token:
    # ScanToken in pg_query.proto: start = 1, end = 2, token = 4; absent means 0.
    found = dict(_numbers(data))
    return Token(found.get(4, 0), found.get(1, 0), found.get(2, 0))


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message; varints are passed over."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == 2:
            yield key >> 3, data[at : at + value]
            at += value


def _numbers(data: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        yield key >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
