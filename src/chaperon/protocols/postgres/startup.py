"""The first packet of a connection, which has a length but no tag.

Sources: PostgreSQL 18 manual, "Message Formats" (StartupMessage, SSLRequest, GSSENCRequest,
CancelRequest) and "Protocol Versions"; CVE-2021-23214 for bytes behind an SSLRequest.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaperon.protocols.postgres.messages import (
    CANCEL_REQUEST,
    GSSENC_REQUEST,
    SSL_REQUEST,
    int32,
)
from chaperon.wire.errors import ProtocolViolation, Side

# The server's own bound (MAX_STARTUP_PACKET_LENGTH).
LARGEST_PACKET = 10_000
NEWEST_MINOR = 2
_SHORTEST = 8
_CANCEL_SECRET = (4, 256)


@dataclass(frozen=True, slots=True)
class SslRequest:
    """The agent asks for TLS."""


@dataclass(frozen=True, slots=True)
class GssRequest:
    """The agent asks for GSSAPI encryption."""


@dataclass(frozen=True, slots=True)
class CancelPacket:
    """A cancel request: the process id and the secret, joined, as the session registered them."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Startup:
    """A StartupMessage of protocol 3. `minor` as asked; `options` are those named `_pq_.…`."""

    minor: int
    parameters: dict[str, str]
    options: tuple[str, ...]

    @property
    def user(self) -> str:
        return self.parameters.get("user", "")

    @property
    def database(self) -> str:
        """The database asked for; by the protocol the user's name where none is given."""
        return self.parameters.get("database") or self.user

    @property
    def replication(self) -> bool:
        """Whether the connection is to speak the walsender's language."""
        value = self.parameters.get("replication", "").lower()
        return value not in ("", "false", "off", "no", "0")

    @property
    def answered_minor(self) -> int:
        return min(self.minor, NEWEST_MINOR)


Packet = SslRequest | GssRequest | CancelPacket | Startup


def read_packet(data: bytes) -> tuple[Packet, int] | None:
    """The first packet in `data` and its length, None while it is incomplete.

    Raises ProtocolViolation for anything that is not PostgreSQL's.
    """
    if len(data) < 4:
        return None
    size = int32(data, 0)
    if not _SHORTEST <= size <= LARGEST_PACKET:
        raise ProtocolViolation(Side.DOWNSTREAM, "the first packet's length is impossible")
    if len(data) < size:
        return None
    code = int32(data, 4)
    if code == SSL_REQUEST and size == _SHORTEST:
        return SslRequest(), size
    if code == GSSENC_REQUEST and size == _SHORTEST:
        return GssRequest(), size
    if code == CANCEL_REQUEST:
        low, high = _CANCEL_SECRET
        if not low <= size - 12 <= high:
            raise ProtocolViolation(Side.DOWNSTREAM, "a cancel request has an impossible length")
        return CancelPacket(data[8:size]), size
    if code >> 16 != 3:
        raise ProtocolViolation(
            Side.DOWNSTREAM,
            f"unsupported protocol {code >> 16}.{code & 0xFFFF}; 3.0 to 3.2 are spoken",
        )
    return _startup(code & 0xFFFF, data[8:size]), size


def _startup(minor: int, body: bytes) -> Startup:
    parts = body.split(b"\0")
    # name NUL value NUL … NUL: pairs, an empty name, and nothing behind the last NUL.
    if len(parts) < 2 or parts[-1] or parts[-2]:
        raise ProtocolViolation(Side.DOWNSTREAM, "the startup packet has no terminator")
    texts = parts[:-2]
    if len(texts) % 2:
        raise ProtocolViolation(Side.DOWNSTREAM, "a startup parameter has no value")
    try:
        pairs = [(n.decode(), v.decode()) for n, v in zip(texts[::2], texts[1::2], strict=True)]
    except UnicodeDecodeError as error:
        raise ProtocolViolation(Side.DOWNSTREAM, "a startup parameter is not UTF-8") from error
    if any(not name for name, _ in pairs):
        raise ProtocolViolation(Side.DOWNSTREAM, "a startup parameter has no name")
    options = tuple(name for name, _ in pairs if name.startswith("_pq_."))
    return Startup(minor, {n: v for n, v in pairs if not n.startswith("_pq_.")}, options)
