"""The bytes of single messages: builders, and readers that raise `ProtocolViolation` on bad input.

Source: PostgreSQL 18 manual, "Message Formats" and "Error and Notice Message Fields".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from chaperon.wire.commands import DialCancel
from chaperon.wire.errors import ProtocolViolation, Side

CANCEL_REQUEST = (1234 << 16) | 5678
SSL_REQUEST = (1234 << 16) | 5679
GSSENC_REQUEST = (1234 << 16) | 5680

_INT32 = struct.Struct("!I")
_SMALL_REQUEST = struct.Struct("!II")

SSL_REQUEST_PACKET = _SMALL_REQUEST.pack(8, SSL_REQUEST)
LARGEST_EARLY = 256 * 1024
"""Bytes that an agent may send before it is told that the session is ready."""
_FIRST_OWN_OID = 16384
PREFIX = 5
"""Bytes of a tag and a length."""
AUTHENTICATION_OK = b"R\x00\x00\x00\x08\x00\x00\x00\x00"


def message(tag: bytes, payload: bytes) -> bytes:
    """One tagged message."""
    return tag + _INT32.pack(len(payload) + 4) + payload


def int32(data: bytes | memoryview, offset: int) -> int:
    """The unsigned big-endian 32-bit integer at `offset`."""
    value: int = _INT32.unpack_from(data, offset)[0]
    return value


@dataclass(frozen=True, slots=True)
class ErrorFields:
    """What an ErrorResponse says; `detail` and `hint` may be empty."""

    severity: str
    code: str
    message: str
    detail: str = ""
    hint: str = ""


def error_response(error: ErrorFields) -> bytes:
    """An ErrorResponse. NULs and unpaired surrogates in the texts are replaced."""
    fields = [
        ("S", error.severity),
        ("V", error.severity),
        ("C", error.code),
        ("M", error.message),
        ("D", error.detail),
        ("H", error.hint),
    ]
    body = b"".join(
        key.encode() + text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
        for key, text in fields
        if text
    )
    return message(b"E", body + b"\0")


def ready_for_query(status: int) -> bytes:
    """ReadyForQuery with the transaction status byte (I, T or E)."""
    return b"Z\x00\x00\x00\x05" + bytes((status,))


def query(text: str) -> bytes:
    """A simple Query."""
    return message(b"Q", text.encode() + b"\0")


def parse(name: bytes, text: str) -> bytes:
    """A Parse without parameter types."""
    return message(b"P", name + b"\0" + text.encode() + b"\0\0\0")


def startup(minor: int, parameters: list[tuple[str, str]]) -> bytes:
    """A StartupMessage of protocol 3.`minor`."""
    body = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in parameters)
    packet = _INT32.pack((3 << 16) | minor) + body + b"\0"
    return _INT32.pack(len(packet) + 4) + packet


def cancel_request(pid: bytes, secret: bytes) -> bytes:
    """A CancelRequest; `secret` has 4 bytes in protocol 3.0 and up to 256 in 3.2."""
    return _INT32.pack(8 + len(pid) + len(secret)) + _INT32.pack(CANCEL_REQUEST) + pid + secret


def dial_cancel(pid: bytes, secret: bytes) -> DialCancel:
    """The command that sends a cancel request to the target, in TLS where the session has it."""
    return DialCancel(cancel_request(pid, secret), SSL_REQUEST_PACKET, b"S")


def negotiate_protocol_version(minor: int, unrecognised: list[str]) -> bytes:
    """NegotiateProtocolVersion: the newest minor version spoken, and options not understood."""
    body = _INT32.pack((3 << 16) | minor) + _INT32.pack(len(unrecognised))
    return message(
        b"v", body + b"".join(o.encode("utf-8", "replace") + b"\0" for o in unrecognised)
    )


def backend_key_data(pid: bytes, secret: bytes) -> bytes:
    """BackendKeyData."""
    return message(b"K", pid + secret)


def authentication(kind: int, payload: bytes = b"") -> bytes:
    """An Authentication request of the given code."""
    return message(b"R", _INT32.pack(kind) + payload)


def cstring(data: bytes, start: int, end: int, side: Side) -> tuple[bytes, int]:
    """The NUL-terminated string at `start`, and the offset behind its NUL."""
    stop = data.find(b"\0", start, end)
    if stop < 0:
        raise ProtocolViolation(side, "a string has no terminator")
    return data[start:stop], stop + 1


class ParseFields(NamedTuple):
    """A Parse message: statement name, text, and the offset of the parameter types."""

    name: bytes
    text: bytes
    rest: int


class BindFields(NamedTuple):
    """The names at the head of a Bind message, and the offset behind them."""

    portal: bytes
    statement: bytes
    rest: int


def read_parse(data: bytes, start: int, end: int) -> ParseFields:
    """The Parse message whose tag stands at `start`."""
    name, at = cstring(data, start + 5, end, Side.DOWNSTREAM)
    text, at = cstring(data, at, end, Side.DOWNSTREAM)
    return ParseFields(name, text, at)


def own_types(types: bytes) -> tuple[int, ...]:
    """OIDs of types that are not PostgreSQL's own among Parse's parameter types.

    `types` is what follows the text: a count and that many OIDs (manual, "Parse (F)").
    """
    if len(types) <= 2:
        return ()
    try:
        (count,) = struct.unpack_from("!H", types)
        oids = struct.unpack_from(f"!{count}I", types, 2)
    except struct.error as error:
        raise ProtocolViolation(Side.DOWNSTREAM, "a Parse message ends too early") from error
    return tuple(oid for oid in oids if oid >= _FIRST_OWN_OID)


def read_bind(data: bytes, start: int, end: int) -> BindFields:
    """The names of the Bind message whose tag stands at `start`."""
    portal, at = cstring(data, start + 5, end, Side.DOWNSTREAM)
    statement, at = cstring(data, at, end, Side.DOWNSTREAM)
    return BindFields(portal, statement, at)


def read_bind_values(data: bytes, at: int, end: int) -> tuple[bytes | None, ...]:
    """Bind's values from the offset behind its names; one that `end` cuts is given up to there."""
    try:
        (formats,) = struct.unpack_from("!H", data, at)
        at += 2 + 2 * formats
        (count,) = struct.unpack_from("!H", data, at)
        at += 2
        values: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", data, at)
            at += 4
            if length < 0:
                values.append(None)
                continue
            values.append(data[at : min(at + length, end)])
            at += length
            if at >= end:
                break
    except struct.error as error:
        raise ProtocolViolation(Side.DOWNSTREAM, "a Bind message ends too early") from error
    return tuple(values)


def read_query(data: bytes, start: int, end: int) -> bytes:
    """The text of the Query message whose tag stands at `start`."""
    text, at = cstring(data, start + 5, end, Side.DOWNSTREAM)
    if at != end:
        raise ProtocolViolation(Side.DOWNSTREAM, "a Query message goes on after its text")
    return text


def read_error(payload: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse's or NoticeResponse's payload; damage gives fewer fields."""
    fields: dict[str, str] = {}
    for part in payload.split(b"\0"):
        if part:
            fields.setdefault(chr(part[0]), part[1:].decode("utf-8", "replace"))
    return fields
