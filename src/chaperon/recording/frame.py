"""The recording's format: file header, frames, payloads. A number here is in files for ever.

docs/recording.md describes the same for somebody who writes another reader.
"""

from __future__ import annotations

import base64
import json
import secrets
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from chaperon._core import FRAME_HEADER, crc32c

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

MAGIC = b"\x89CHP\r\n\x1a\n"
"""As PNG's: a high bit, line ends of each kind and an end-of-file show a text-mode copy."""
VERSION = 1
FILE_HEADER = 32
LARGEST_PAYLOAD = 4 * 1024 * 1024
"""Bytes; DATA above this is split over frames, and a DECISION's evidence above it is cut."""
LARGEST_FRAME = 16 * 1024 * 1024
"""Bytes; a reader takes a longer frame for damage. This version writes none as long."""

_FILE = struct.Struct("<8sHHI16s")
_FRAME = struct.Struct("<IBBHIQQQ")
_CRC = struct.Struct("<I")
_DECISION = struct.Struct("<BQ")
_REFERENCE = struct.Struct("<BQQ")
_FULL, _REPEATED = 0, 1
TRAILER = 4


class Kind(IntEnum):
    """What a frame holds."""

    META = 1
    DATA = 2
    DECISION = 3
    REVIEW = 4
    MASK = 5
    EVENT = 6
    RESIZE = 7
    SNAPSHOT = 8
    GAP = 9
    CLOSE = 10


class Frame(NamedTuple):
    """One frame as read. `offset` is where it begins in its file, in bytes."""

    kind: int
    direction: int
    connection: int
    sequence: int
    mono_ns: int
    wall_ns: int
    payload: bytes
    offset: int

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.offset + FRAME_HEADER + len(self.payload) + TRAILER


class DecisionRef(NamedTuple):
    """A DECISION payload: the message at `position` got the decision that stands in `evidence`,

    or, where that is None, in the earlier frame with the sequence number `repeats`.
    """

    position: int
    evidence: bytes | None
    repeats: int


def new_session_id() -> str:
    """A random session id: 128 bits in lower-case base32 (RFC 4648 §6), 26 characters."""
    return session_text(secrets.token_bytes(16))


def session_text(raw: bytes) -> str:
    """The id as text of its 16 bytes."""
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def session_bytes(session: str) -> bytes:
    """The 16 bytes of an id. Raises ValueError where `session` is not an id."""
    if len(session) != 26:
        raise ValueError("a session id has 26 characters")
    raw = base64.b32decode(session.upper() + "======")
    if session_text(raw) != session:
        raise ValueError("not a session id")
    return raw


def file_header(session: str) -> bytes:
    """The first `FILE_HEADER` bytes: magic, version u16, flags u16 (0), header length u32, id."""
    return _FILE.pack(MAGIC, VERSION, 0, FILE_HEADER, session_bytes(session))


def read_file_header(data: bytes) -> str:
    """The session id. Raises ValueError with what is wrong."""
    if len(data) < FILE_HEADER:
        raise ValueError("shorter than a recording's header")
    magic, version, flags, length, raw = _FILE.unpack_from(data)
    if magic != MAGIC:
        if magic[1:4] == MAGIC[1:4]:
            raise ValueError("the magic is damaged: the file was copied as text")
        raise ValueError("not a recording")
    if version != VERSION or flags or length != FILE_HEADER:
        raise ValueError(f"version {version} with flags {flags:#x}: written by a newer Chaperon")
    return session_text(raw)


def full_decision(position: int, evidence: bytes) -> bytes:
    """A DECISION payload with the whole evidence."""
    return _DECISION.pack(_FULL, position) + evidence


def repeated_decision(position: int, sequence: int) -> bytes:
    """A DECISION payload that points at an earlier one."""
    return _REFERENCE.pack(_REPEATED, position, sequence)


def read_decision(payload: bytes) -> DecisionRef:
    """Decode a DECISION payload. Raises ValueError."""
    if len(payload) >= _DECISION.size:
        form, position = _DECISION.unpack_from(payload)
        if form == _FULL:
            return DecisionRef(position, payload[_DECISION.size :], 0)
        if form == _REPEATED and len(payload) == _REFERENCE.size:
            return DecisionRef(position, None, _REFERENCE.unpack(payload)[2])
    raise ValueError("a DECISION frame of unknown form")


def json_payload(value: Mapping[str, Json]) -> bytes:
    """The payload of META, EVENT, GAP and CLOSE: a JSON object, UTF-8, keys in the order given."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def read_json(payload: bytes) -> dict[str, Json]:
    """Decode such a payload. Raises ValueError."""
    try:
        value = json.loads(payload)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def encode_frame(
    kind: int, direction: int, payload: bytes, *, sequence: int, mono_ns: int, wall_ns: int
) -> bytes:
    """A whole frame, for what is written outside a live spool: recovery and tests."""
    length = FRAME_HEADER - 4 + len(payload) + TRAILER
    body = _FRAME.pack(length, kind, direction, 0, 0, sequence, mono_ns, wall_ns) + payload
    return body + _CRC.pack(crc32c(body))
