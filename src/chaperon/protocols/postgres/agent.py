"""The agent's side of the handshake: from its first packet to a proven identity.

The method is chosen before the token is seen. With TLS: cleartext inside it, unless the user name
carries the token's public id (`ci-bot+ID`), then SCRAM-SHA-256 against the token's verifier, with
channel binding offered. Without TLS: SCRAM only; cleartext on loopback, or where the configuration
allows it. Source: PostgreSQL 18 manual, "Start-up".
"""

from __future__ import annotations

from enum import Enum, auto

from chaperon.identity.claims import Accepted, PasswordClaim, Refused, Verifier, VerifierClaim
from chaperon.identity.tokens import split_user
from chaperon.protocols.postgres import messages
from chaperon.protocols.postgres.scram import ServerExchange
from chaperon.protocols.postgres.startup import (
    CancelPacket,
    GssRequest,
    SslRequest,
    Startup,
    read_packet,
)
from chaperon.secrets import Secret
from chaperon.wire.commands import Authenticate, Command, Reply, RouteCancel, StartTls
from chaperon.wire.errors import ProtocolViolation, Side
from chaperon.wire.events import TlsInfo

ALPN = "postgresql"
_LARGEST_RESPONSE = 64 * 1024
_CLEARTEXT, _SASL, _SASL_CONTINUE, _SASL_FINAL = 3, 10, 11, 12


class _State(Enum):
    """Where the handshake stands; what the next bytes of the agent mean."""

    PACKET = auto()
    TLS = auto()
    IDENTITY = auto()
    PASSWORD = auto()
    SASL_FIRST = auto()
    SASL_FINAL = auto()
    DONE = auto()


class Rejected(Exception):
    """The handshake ends here, with words for the agent and words for the log."""

    def __init__(self, error: messages.ErrorFields, reason: str) -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason


class Handshake:
    """`outcome` is set when the agent is known, `cancelled` when this is a cancel request."""

    def __init__(self, certificate: bytes | None, allow_cleartext: bool) -> None:
        self._certificate = certificate
        self._allow_cleartext = allow_cleartext
        self._loopback = False
        self._state = _State.PACKET
        self._buffer = b""
        self._exchange: ServerExchange | None = None
        self._verifier: Verifier | None = None
        self._gss_seen = False
        self.tls: TlsInfo | None = None
        self.startup: Startup | None = None
        self.outcome: Accepted | None = None
        self.cancelled = False

    def connected(self, loopback: bool, tls: TlsInfo | None) -> None:
        """The connection is there; `tls` is set for direct TLS."""
        self._loopback = loopback
        self.tls = tls
        if tls is not None and tls.alpn != ALPN:
            # "SSL Session Encryption": direct TLS needs ALPN, against protocol confusion.
            raise Rejected(
                _fatal("08P01", "Direct TLS needs the ALPN protocol postgresql."),
                f"direct TLS with ALPN {tls.alpn!r}",
            )

    def tls_started(self, info: TlsInfo) -> list[Command]:
        self.tls = info
        self._state = _State.PACKET
        return []

    def receive(self, data: bytes) -> list[Command]:
        """Take bytes of the agent. Raises ProtocolViolation, Rejected."""
        self._buffer += data
        if len(self._buffer) > _LARGEST_RESPONSE + messages.PREFIX:
            raise ProtocolViolation(Side.DOWNSTREAM, "too many bytes before authentication")
        if self._state is _State.TLS:
            raise ProtocolViolation(Side.DOWNSTREAM, "bytes before the TLS handshake")
        return self._advance()

    def _advance(self) -> list[Command]:
        """Handle what is buffered as far as it is awaited: an agent may send before being asked."""
        out: list[Command] = []
        before = -1
        while self._buffer and len(self._buffer) != before and not self.cancelled:
            before = len(self._buffer)
            if self._state is _State.PACKET:
                out += self._packet()
            elif self._state in (_State.PASSWORD, _State.SASL_FIRST, _State.SASL_FINAL):
                out += self._response()
        return out

    def take_early(self) -> bytes:
        """What the agent sent before it was told that it may."""
        early, self._buffer = self._buffer, b""
        return early

    def _packet(self) -> list[Command]:
        read = read_packet(self._buffer)
        if read is None:
            return []
        packet, size = read
        rest = self._buffer[size:]
        self._buffer = rest
        match packet:
            case GssRequest():
                if rest or self._gss_seen:
                    raise ProtocolViolation(Side.DOWNSTREAM, "bytes behind a GSSENCRequest")
                self._gss_seen = True
                return [Reply(b"N", recorded=b"")]
            case SslRequest():
                if rest:
                    raise ProtocolViolation(Side.DOWNSTREAM, "bytes behind an SSLRequest")
                if self.tls is not None:
                    raise ProtocolViolation(Side.DOWNSTREAM, "an SSLRequest inside TLS")
                if self._certificate is None:
                    return [Reply(b"N", recorded=b"")]
                self._state = _State.TLS
                return [Reply(b"S", recorded=b""), StartTls(Side.DOWNSTREAM)]
            case CancelPacket(key):
                self.cancelled = True
                return [RouteCancel(key)]
            case Startup():
                self.startup = packet
                return self._choose(packet)

    def _choose(self, startup: Startup) -> list[Command]:
        if not startup.user:
            raise Rejected(
                _fatal("28000", "No user name was sent.", "Connect as postgresql://AGENT:TOKEN@…"),
                "no user name",
            )
        out: list[Command] = []
        if startup.minor != startup.answered_minor or startup.options:
            answer = messages.negotiate_protocol_version(
                startup.answered_minor, list(startup.options)
            )
            out.append(Reply(answer, recorded=b""))
        name, token_id = split_user(startup.user)
        if token_id is not None:
            self._state = _State.IDENTITY
            out.append(Authenticate(VerifierClaim(name, token_id, startup.database)))
            return out
        if self.tls is None and not (self._loopback or self._allow_cleartext):
            raise Rejected(
                _fatal(
                    "28000",
                    "Without TLS the token is not to be sent.",
                    "Use sslmode=require, or put the token's public id into the user name: "
                    f"{name}+ID, where the token is chp_ID_….",
                ),
                "cleartext without TLS",
            )
        self._state = _State.PASSWORD
        out.append(Reply(messages.authentication(_CLEARTEXT), recorded=b""))
        return out

    def authenticated(self, outcome: object) -> list[Command]:
        """The identity layer's answer."""
        match outcome:
            case Accepted():
                self._state = _State.DONE
                self.outcome = outcome
                return []
            case Verifier():
                self._verifier = outcome
                certificate = self._certificate if self.tls is not None else None
                self._exchange = ServerExchange(outcome, certificate)
                self._state = _State.SASL_FIRST
                sasl = messages.authentication(_SASL, self._exchange.mechanisms())
                return [Reply(sasl, recorded=b""), *self._advance()]
            case Refused():
                raise refused(outcome)
            case _:
                raise TypeError(f"not an outcome: {type(outcome).__name__}")

    def _response(self) -> list[Command]:
        if len(self._buffer) < messages.PREFIX:
            return []
        size = messages.int32(self._buffer, 1) + 1
        if self._buffer[:1] != b"p" or not messages.PREFIX <= size <= _LARGEST_RESPONSE:
            raise ProtocolViolation(Side.DOWNSTREAM, "an answer to authentication is expected")
        if len(self._buffer) < size:
            return []
        payload, self._buffer = self._buffer[messages.PREFIX : size], self._buffer[size:]
        if self._state is _State.PASSWORD:
            return self._password(payload)
        if self._exchange is None or self._verifier is None:
            raise ProtocolViolation(Side.DOWNSTREAM, "SASL messages out of order")
        if self._state is _State.SASL_FIRST:
            self._state = _State.SASL_FINAL
            answer = self._exchange.first(payload)
            return [Reply(messages.authentication(_SASL_CONTINUE, answer), recorded=b"")]
        final = self._exchange.final(payload)
        outcome = self._verifier.proven if final is not None else self._verifier.unproven
        if isinstance(outcome, Refused) or final is None:
            raise refused(outcome if isinstance(outcome, Refused) else self._verifier.unproven)
        self._state = _State.DONE
        self.outcome = outcome
        return [Reply(messages.authentication(_SASL_FINAL, final), recorded=b"")]

    def _password(self, payload: bytes) -> list[Command]:
        startup = self.startup
        if startup is None or not payload.endswith(b"\0") or b"\0" in payload[:-1]:
            raise ProtocolViolation(Side.DOWNSTREAM, "a password message is malformed")
        secret = Secret(payload[:-1].decode("utf-8", "replace"))
        self._state = _State.IDENTITY
        return [Authenticate(PasswordClaim(startup.user, secret, startup.database))]


def refused(outcome: Refused) -> Rejected:
    """A refusal of the identity layer in PostgreSQL's words."""
    return Rejected(_fatal("28P01", outcome.message, outcome.remedy), outcome.reason)


def _fatal(code: str, text: str, hint: str = "") -> messages.ErrorFields:
    return messages.ErrorFields("FATAL", code, text, hint=hint)
