"""The gateway's own login at the target, from the open socket to the first ReadyForQuery.

Invariant: the credential goes into messages that are never recorded, and nothing of the exchange
reaches the agent but ParameterStatus, notices and the process id.
Source: PostgreSQL 18 manual, "Start-up", "SSL Session Encryption", "SASL Authentication".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum, auto

from chaperon.protocols.postgres import messages
from chaperon.protocols.postgres.codec import HEADER, backend_codec
from chaperon.protocols.postgres.scram import ClientExchange
from chaperon.protocols.postgres.settings import Target
from chaperon.protocols.postgres.startup import Startup
from chaperon.wire.commands import Command, Forward, StartTls
from chaperon.wire.errors import ProtocolViolation, Side, UpstreamUnavailable
from chaperon.wire.events import TlsInfo
from chaperon.wire.permit import Permit

_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12


class _State(Enum):
    """Where the login stands."""

    TLS_ANSWER = auto()
    TLS = auto()
    LOGIN = auto()
    PARAMETERS = auto()
    READY = auto()


@dataclass(slots=True)
class Ready:
    """What the target said of itself: `greeting` is for the agent, as the target wrote it.

    `rest` is what came behind its first ReadyForQuery.
    """

    pid: bytes = b""
    secret: bytes = b""
    greeting: list[bytes] = field(default_factory=list)
    ready: bytes = b""
    utf8: bool = False
    rest: bytes = b""


class Login:
    """The exchange. `start` gives the first bytes; `receive` goes on until `ready` is set."""

    def __init__(self, permit: Permit, target: Target, startup: Startup) -> None:
        self._permit = permit
        self._target = target
        self._startup = startup
        self._state = _State.LOGIN
        self._codec = backend_codec()
        self._sasl: ClientExchange | None = None
        self._certificate: bytes | None = None
        self._proven = False
        self.result = Ready()

    @property
    def ready(self) -> bool:
        return self._state is _State.READY

    def start(self) -> list[Command]:
        """The socket is open."""
        if self._target.tls == "disable":
            return self._say_hello()
        self._state = _State.TLS_ANSWER
        return [self._send(messages.SSL_REQUEST_PACKET)]

    def tls_started(self, info: TlsInfo) -> list[Command]:
        """TLS with the target is up, verified as the configuration asks."""
        self._certificate = info.certificate
        return self._say_hello()

    def receive(self, data: bytes) -> list[Command]:
        """Take bytes of the target. Raises ProtocolViolation, UpstreamUnavailable."""
        if self._state is _State.TLS_ANSWER:
            return self._tls_answer(data)
        if self._state not in (_State.LOGIN, _State.PARAMETERS):
            raise ProtocolViolation(Side.UPSTREAM, "bytes where none are expected")
        out: list[Command] = []
        data, tags, ends = self._codec.feed(data)
        start = 0
        for tag, end in zip(tags, ends, strict=True):
            if self.ready:
                break
            out.extend(self._one(chr(tag), data[start:end]))
            start = end
        if self.ready:
            self.result.rest = data[start:] if ends else b""
        return out

    def _tls_answer(self, data: bytes) -> list[Command]:
        # One byte; anything behind it would have been sent before TLS (CVE-2021-23222).
        if data == b"S":
            self._state = _State.TLS
            return [StartTls(Side.UPSTREAM)]
        if data == b"N":
            if self._target.tls == "prefer":
                return self._say_hello()
            raise UpstreamUnavailable(f"the target offers no TLS, and tls is {self._target.tls!r}")
        raise ProtocolViolation(Side.UPSTREAM, "the answer to SSLRequest is neither S nor N")

    def _say_hello(self) -> list[Command]:
        self._state = _State.LOGIN
        parameters = [("user", self._target.user), ("database", self._target.database)]
        parameters += [
            (name, value)
            for name, value in self._startup.parameters.items()
            if name not in ("user", "database")
        ]
        return [self._send(messages.startup(self._startup.answered_minor, parameters))]

    def _send(self, data: bytes) -> Forward:
        return Forward(self._permit, data, recorded=b"")

    def _one(self, tag: str, raw: bytes) -> list[Command]:
        payload = raw[HEADER:]
        match tag:
            case "R":
                return self._authentication(payload)
            case "E":
                fields = messages.read_error(payload)
                raise UpstreamUnavailable(
                    f"the target refused the login: {fields.get('C', '')} {fields.get('M', '')}"
                )
            case "v":
                return []
            case "N" | "S":
                self.result.greeting.append(raw)
                if payload == b"server_encoding\0UTF8\0":
                    self.result.utf8 = True
            case "K" if len(payload) >= 8:
                self.result.pid, self.result.secret = payload[:4], payload[4:]
            case "Z":
                self.result.ready = raw
                self._state = _State.READY
            case _:
                raise ProtocolViolation(Side.UPSTREAM, f"message {tag!r} during the login")
        return []

    def _authentication(self, payload: bytes) -> list[Command]:
        if len(payload) < 4:
            raise ProtocolViolation(Side.UPSTREAM, "an Authentication message is too short")
        kind, body = messages.int32(payload, 0), payload[4:]
        if kind == _OK:
            if self._sasl is not None and not self._proven:
                raise ProtocolViolation(Side.UPSTREAM, "SCRAM ended without the server's proof")
            self._state = _State.PARAMETERS
            return []
        password = self._target.password
        if password is None:
            raise UpstreamUnavailable("the target asks for a password, and none is configured")
        if kind == _CLEARTEXT:
            return [self._password(password.reveal().encode() + b"\0")]
        if kind == _MD5 and len(body) == 4:
            # Manual, "AuthenticationMD5Password": md5(md5(password || user) || salt).
            user = self._target.user.encode()
            inner = hashlib.md5(
                password.reveal().encode() + user, usedforsecurity=False
            ).hexdigest()
            outer = hashlib.md5(inner.encode() + body, usedforsecurity=False).hexdigest()
            return [self._password(b"md5" + outer.encode() + b"\0")]
        if kind == _SASL:
            names = [n.decode("ascii", "replace") for n in body.split(b"\0") if n]
            self._sasl = ClientExchange(password, names, self._certificate)
            return [self._password(self._sasl.initial())]
        if kind == _SASL_CONTINUE and self._sasl is not None:
            return [self._password(self._sasl.final(body))]
        if kind == _SASL_FINAL and self._sasl is not None:
            self._sasl.verify(body)
            self._proven = True
            return []
        raise UpstreamUnavailable(
            f"the target asks for an authentication (code {kind}) that Chaperon does not speak"
        )

    def _password(self, payload: bytes) -> Forward:
        return self._send(messages.message(b"p", payload))
