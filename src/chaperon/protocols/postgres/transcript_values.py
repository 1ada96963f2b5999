"""Values of parameters and rows as text. Bounded: of a long value the beginning is kept.

What is not known to be otherwise is shown as the bytes are, in hexadecimal. Never raises on any
bytes. Sources: PostgreSQL 18, pg_type.dat for the OIDs; the send functions for binary formats.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from chaperon.recording.transcript import Value

VALUE_BOUND = 4096
"""Bytes of a value that are kept."""

_TYPES = {
    16: "bool", 17: "bytea", 18: "char", 19: "name", 20: "int8", 21: "int2", 23: "int4",
    24: "regproc", 25: "text", 26: "oid", 28: "xid", 114: "json", 142: "xml", 194: "pg_node_tree",
    600: "point", 650: "cidr", 700: "float4", 701: "float8", 705: "unknown", 790: "money",
    829: "macaddr", 869: "inet", 1000: "bool[]", 1001: "bytea[]", 1005: "int2[]", 1007: "int4[]",
    1009: "text[]", 1015: "varchar[]", 1016: "int8[]", 1021: "float4[]", 1022: "float8[]",
    1028: "oid[]", 1042: "bpchar", 1043: "varchar", 1082: "date", 1083: "time", 1114: "timestamp",
    1115: "timestamp[]", 1182: "date[]", 1184: "timestamptz", 1185: "timestamptz[]",
    1186: "interval", 1231: "numeric[]", 1266: "timetz", 1560: "bit", 1562: "varbit",
    1700: "numeric", 2205: "regclass", 2206: "regtype", 2249: "record", 2278: "void",
    2950: "uuid", 2951: "uuid[]", 3614: "tsvector", 3802: "jsonb", 3807: "jsonb[]",
    3904: "int4range", 4072: "jsonpath",
}  # fmt: skip
_RIGHT = frozenset((20, 21, 23, 26, 700, 701, 790, 1700))
_EPOCH = datetime(2000, 1, 1)
_EPOCH_DATE = date(2000, 1, 1)

CODECS = {
    "UTF8": "utf-8",
    "SQL_ASCII": "utf-8",
    "LATIN1": "latin-1",
    "LATIN9": "iso8859-15",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "SJIS": "shift_jis",
    "EUC_JP": "euc_jp",
    "BIG5": "big5",
    "GBK": "gbk",
    "GB18030": "gb18030",
    "KOI8R": "koi8-r",
}
"""Python's names for values of `client_encoding`."""


def type_name(oid: int) -> str:
    """The type's name, "" for none, `oid N` where it is not a built-in one."""
    return _TYPES.get(oid) or (f"oid {oid}" if oid else "")


def is_numeric(oid: int) -> bool:
    """Whether a column of this type is set flush right."""
    return oid in _RIGHT


def render(
    data: bytes | None, oid: int, binary: bool, codec: str, size: int | None = None
) -> Value:
    """`data` as text. `size` is the whole value's where `data` is only its beginning."""
    if data is None:
        return Value(None, 0)
    size = len(data) if size is None else size
    if binary and len(data) == size:
        read = _BINARY.get(oid)
        if read is not None:
            try:
                text = read(data)
            except (struct.error, ValueError, OverflowError, IndexError, RecursionError):
                text = hexadecimal(data[:VALUE_BOUND])
            return Value(text[:VALUE_BOUND], size, len(text) > VALUE_BOUND)
    cut = size > VALUE_BOUND
    if binary and oid not in _TEXTUAL:
        return Value(hexadecimal(data[:VALUE_BOUND]), size, cut)
    head = data[:VALUE_BOUND]
    if binary and oid == _JSONB:
        head = head[1:]
    return Value(head.decode(codec, "replace"), size, cut)


def hexadecimal(data: bytes) -> str:
    """As PostgreSQL writes bytea."""
    return "\\x" + data.hex()


_JSONB = 3802
_TEXTUAL = frozenset((18, 19, 25, 114, 142, 705, 1042, 1043, _JSONB))
"""Types whose binary format is their text (jsonb: behind a version byte)."""


def _scalar(form: str) -> Callable[[bytes], str]:
    packed = struct.Struct(form)
    return lambda data: str(packed.unpack(data)[0])


def _float(form: str, digits: int) -> Callable[[bytes], str]:
    packed = struct.Struct(form)

    def read(data: bytes) -> str:
        value: float = packed.unpack(data)[0]
        text = f"{value:.{digits}g}"
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)

    return read


def _timestamp(data: bytes) -> str:
    (micros,) = struct.unpack("!q", data)
    if micros in (-(1 << 63), (1 << 63) - 1):
        return "-infinity" if micros < 0 else "infinity"
    return str(_EPOCH + timedelta(microseconds=micros))


def _timestamptz(data: bytes) -> str:
    text = _timestamp(data)
    return text if text.endswith("infinity") else f"{text}+00"


def _date(data: bytes) -> str:
    (days,) = struct.unpack("!i", data)
    return (_EPOCH_DATE + timedelta(days=days)).isoformat()


def _time(data: bytes) -> str:
    (micros,) = struct.unpack("!q", data)
    return str((datetime.min.replace(tzinfo=UTC) + timedelta(microseconds=micros)).time())


def _interval(data: bytes) -> str:
    """interval_send: microseconds, days, months."""
    micros, days, months = struct.unpack("!qii", data)
    years, months = int(months / 12), months - 12 * int(months / 12)
    parts = [
        f"{number} {unit}"
        for number, unit in ((years, "years"), (months, "mons"), (days, "days"))
        if number
    ]
    if micros or not parts:
        seconds, rest = divmod(abs(micros), 1_000_000)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        fraction = f".{rest:06d}".rstrip("0") if rest else ""
        parts.append(("-" if micros < 0 else "") + clock + fraction)
    return " ".join(parts)


def _numeric(data: bytes) -> str:
    """numeric_send: digit groups base 10000, weight of the first, sign, scale."""
    count, weight, sign, scale = struct.unpack_from("!HhHH", data)
    if sign not in (0x0000, 0x4000):
        return {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}.get(sign, hexadecimal(data))
    if count > VALUE_BOUND or not -VALUE_BOUND < weight < VALUE_BOUND or scale > 4 * VALUE_BOUND:
        return hexadecimal(data)
    groups = struct.unpack_from(f"!{count}H", data, 8)
    digits = "0000" * max(0, -(weight + 1)) + "".join(f"{group:04d}" for group in groups)
    point = max(0, 4 * (weight + 1))
    digits = digits.ljust(point + scale, "0")
    whole = digits[:point].lstrip("0") or "0"
    fraction = digits[point : point + scale]
    return ("-" if sign else "") + whole + (f".{fraction}" if scale else "")


def _array(data: bytes) -> str:
    """array_send: dimensions, flags, element type, bounds, then each element with its length."""
    dimensions, _, oid = struct.unpack_from("!iiI", data)
    if dimensions == 0:
        return "{}"
    if dimensions != 1:
        return hexadecimal(data)
    (count,) = struct.unpack_from("!i", data, 12)
    at = 20
    parts: list[str] = []
    while len(parts) < count:
        (length,) = struct.unpack_from("!i", data, at)
        at += 4
        if length < 0:
            parts.append("NULL")
            continue
        value = render(data[at : at + length], oid, True, "utf-8")
        parts.append(_quoted(value.text or ""))
        at += length
    return "{" + ",".join(parts) + "}"


def _quoted(text: str) -> str:
    if text and text.upper() != "NULL" and not any(c in '{},"\\ \t\n' for c in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_BINARY: dict[int, Callable[[bytes], str]] = {
    16: lambda data: {b"\0": "f", b"\1": "t"}.get(data) or hexadecimal(data),
    20: _scalar("!q"),
    21: _scalar("!h"),
    23: _scalar("!i"),
    24: _scalar("!I"),
    26: _scalar("!I"),
    28: _scalar("!I"),
    700: _float("!f", 6),
    701: _float("!d", 17),
    1082: _date,
    1083: _time,
    1114: _timestamp,
    1184: _timestamptz,
    1186: _interval,
    1700: _numeric,
    2205: _scalar("!I"),
    2206: _scalar("!I"),
    2950: lambda data: str(uuid.UUID(bytes=data)),
    **dict.fromkeys((oid for oid, name in _TYPES.items() if name.endswith("[]")), _array),
}
