"""One PostgreSQL session: handshake with the agent, login at the target, relay.

Invariant: nothing of the agent's reaches the target before the agent is authenticated and `connect`
is decided, and the recording is open before the first byte of the conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from chaperon.protocols.postgres import messages
from chaperon.protocols.postgres.agent import Handshake, Rejected
from chaperon.protocols.postgres.denial import denial_response
from chaperon.protocols.postgres.plan import NoNames, StatementContext
from chaperon.protocols.postgres.relay import Relay
from chaperon.protocols.postgres.settings import Settings, Target
from chaperon.protocols.postgres.upstream import Login
from chaperon.wire import events
from chaperon.wire.commands import (
    Close,
    Command,
    Decide,
    Dial,
    Direction,
    Mark,
    Note,
    Open,
    Record,
    RegisterCancel,
    Reply,
)
from chaperon.wire.errors import ProtocolViolation, Side, UpstreamUnavailable
from chaperon.wire.events import DownstreamData, Event, UpstreamData
from chaperon.wire.operation import Operation
from chaperon.wire.permit import Denial, Permit

_SECRET_BYTES = {0: 4, 2: 32}
_CONNECT = -1


class _Phase(Enum):
    """Where the session stands."""

    HANDSHAKE = auto()
    DECIDING = auto()
    DIALLING = auto()
    LOGIN = auto()
    RELAY = auto()
    ENDED = auto()


class PostgresSession:
    """Implements `chaperon.wire.session.Session`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._phase = _Phase.HANDSHAKE
        self._handshake = Handshake(settings.certificate, settings.allow_cleartext)
        self._permit: Permit | None = None
        self._target: Target | None = None
        self._login: Login | None = None
        self._relay: Relay | None = None
        self._early = b""
        self._peer = ""

    def handle(self, event: Event) -> Sequence[Command]:
        """See `Session.handle`."""
        relay = self._relay
        if relay is not None:
            if type(event) is DownstreamData:
                return relay.frontend(event.data)
            if type(event) is UpstreamData:
                return relay.backend(event.data)
        try:
            return self._handle(event)
        except Rejected as rejected:
            return self._end(rejected.error, rejected.reason)
        except UpstreamUnavailable as error:
            return self._end(self._unavailable(), str(error))

    def violation(self, error: ProtocolViolation) -> Sequence[Command]:
        """What to do about a peer that broke the protocol: tell the agent, end."""
        side = "The target" if error.side is Side.UPSTREAM else "The client"
        fields = messages.ErrorFields(
            "FATAL", "08P01", f"{side} broke the protocol: {error.reason}."
        )
        return self._end(fields, str(error))

    def _handle(self, event: Event) -> Sequence[Command]:
        match event:
            case DownstreamData(data):
                return self._downstream(data)
            case UpstreamData(data):
                return self._upstream(data)
            case events.Connected(peer, loopback, tls):
                self._peer = peer
                self._handshake.connected(loopback, tls)
                return ()
            case events.TlsStarted(Side.DOWNSTREAM, info):
                return self._handshake.tls_started(info)
            case events.TlsStarted(_, info):
                return self._login.tls_started(info) if self._login else ()
            case events.Authenticated(outcome):
                return [*self._handshake.authenticated(outcome), *self._identified()]
            case events.Decided(ticket, decision):
                if ticket == _CONNECT:
                    return self._connect(decision)
                return self._relay.decided(ticket, decision) if self._relay else ()
            case events.Dialled():
                self._phase = _Phase.LOGIN
                return self._login.start() if self._login else ()
            case events.DialFailed(reason):
                raise UpstreamUnavailable(reason)
            case events.CancelRequested():
                return self._relay.cancel() if self._relay else ()
            case events.CancelDelivered():
                return self._relay.cancel_delivered() if self._relay else ()
            case events.Killed(reason):
                return self._killed(reason)
            case events.DownstreamClosed():
                return self._closed("the agent closed the connection")
            case events.UpstreamClosed():
                return self._upstream_closed()

    def _downstream(self, data: bytes) -> Sequence[Command]:
        if self._phase is _Phase.ENDED:
            return ()
        if self._phase is not _Phase.HANDSHAKE:
            # A client that does not wait for ReadyForQuery; kept for the relay, bounded.
            self._early += data
            if len(self._early) > messages.LARGEST_EARLY:
                raise ProtocolViolation(Side.DOWNSTREAM, "too many bytes before ReadyForQuery")
            return ()
        out = list(self._handshake.receive(data))
        if self._handshake.cancelled:
            self._phase = _Phase.ENDED
            return [*out, Close("cancel request")]
        return [*out, *self._identified()]

    def _identified(self) -> list[Command]:
        """The agent is known: open the recording, ask whether it may connect."""
        accepted, startup = self._handshake.outcome, self._handshake.startup
        if accepted is None or startup is None or self._phase is not _Phase.HANDSHAKE:
            return []
        self._phase = _Phase.DECIDING
        self._early = self._handshake.take_early()
        resource = startup.database
        target = self._settings.targets(resource)
        if target is None:
            raise Rejected(
                messages.ErrorFields(
                    "FATAL",
                    "3D000",
                    f"There is no resource {resource!r} at this gateway.",
                    hint="The database name of the connection names the resource; "
                    "ask the gateway's operator which there are.",
                ),
                f"unknown resource {resource!r}",
            )
        self._target = target
        tls = self._handshake.tls
        meta = {
            "protocol_version": f"3.{startup.minor}",
            "token": accepted.token_id,
            "peer": self._peer,
            "tls": f"{tls.version} {tls.cipher}" if tls else "",
            **{f"startup.{name}": value for name, value in startup.parameters.items()},
        }
        settings = "\0".join(
            f"{n}={v}" for n, v in startup.parameters.items() if n not in ("user", "database")
        )
        context = StatementContext(None, NoNames(), replication=startup.replication)
        return [
            Open(accepted.principal, resource, meta),
            Decide(_CONNECT, Operation("connect", settings, context=context)),
        ]

    def _connect(self, decision: Permit | Denial) -> Sequence[Command]:
        mark = Record(Direction.FROM_AGENT, b"", (Mark(decision, 0),))
        if isinstance(decision, Denial):
            self._phase = _Phase.ENDED
            error = denial_response(decision, "FATAL")
            return [mark, Reply(error), Close(f"connect denied by {decision.policy}")]
        startup, target = self._handshake.startup, self._target
        if startup is None or target is None:
            return ()
        self._permit = decision
        self._phase = _Phase.DIALLING
        self._login = Login(decision, target, startup)
        return [mark, Dial(startup.database)]

    def _upstream(self, data: bytes) -> Sequence[Command]:
        login = self._login
        if login is None or self._phase is not _Phase.LOGIN:
            return ()
        out = list(login.receive(data))
        return [*out, *self._ready(login)] if login.ready else out

    def _ready(self, login: Login) -> list[Command]:
        """The target is ready: the agent gets the greeting, with a cancel secret of our own."""
        startup, permit, target = self._handshake.startup, self._permit, self._target
        if startup is None or permit is None or target is None:
            return []
        ready = login.result
        secret = self._settings.random(_SECRET_BYTES.get(startup.answered_minor, 4))
        key = messages.backend_key_data(ready.pid, secret)
        hidden = messages.backend_key_data(ready.pid, bytes(len(secret)))
        greeting = b"".join(ready.greeting)
        self._relay = Relay(
            permit,
            target.generation,
            target.inspection_limit,
            messages.dial_cancel(ready.pid, ready.secret),
            replication=startup.replication,
            utf8=ready.utf8,
        )
        self._phase = _Phase.RELAY
        out: list[Command] = [
            RegisterCancel(ready.pid + secret),
            Reply(messages.AUTHENTICATION_OK, recorded=b""),
            Reply(greeting + key + ready.ready, recorded=greeting + hidden + ready.ready),
        ]
        if ready.rest:
            out.extend(self._relay.backend(ready.rest))
        early, self._early = self._early, b""
        if early:
            out.extend(self._relay.frontend(early))
        return out

    def _unavailable(self) -> messages.ErrorFields:
        startup = self._handshake.startup
        name = startup.database if startup else ""
        return messages.ErrorFields(
            "FATAL",
            "08006",
            f"The gateway could not log in at the target of resource {name!r}.",
            hint="The gateway's log has the reason; its operator can run `chaperon doctor`.",
        )

    def _end(self, error: messages.ErrorFields, reason: str) -> Sequence[Command]:
        phase, self._phase = self._phase, _Phase.ENDED
        relay, self._relay = self._relay, None
        rest = relay.rest() if relay else []
        # Before the agent is known there is no recording, and the reply holds no conversation.
        recorded = b"" if phase is _Phase.HANDSHAKE or self._target is None else None
        return [*rest, Reply(messages.error_response(error), recorded=recorded), Close(reason)]

    def _killed(self, reason: str) -> Sequence[Command]:
        out: list[Command] = []
        if self._relay is not None and self._relay.busy and self._login is not None:
            ready = self._login.result
            out = [
                Note({"event": "cancel", "outcome": "sent", "by": "gateway"}),
                messages.dial_cancel(ready.pid, ready.secret),
            ]
        # 57P01 admin_shutdown, as a server says when an administrator ends a session.
        fields = messages.ErrorFields(
            "FATAL", "57P01", f"The gateway ended this session: {reason}."
        )
        return [*out, *self._end(fields, reason)]

    def _closed(self, reason: str) -> Sequence[Command]:
        if self._phase is _Phase.ENDED:
            return ()
        self._phase = _Phase.ENDED
        relay, self._relay = self._relay, None
        return [*(relay.rest() if relay else []), Close(reason)]

    def _upstream_closed(self) -> Sequence[Command]:
        if self._phase in (_Phase.DIALLING, _Phase.LOGIN):
            raise UpstreamUnavailable("the target closed the connection during the login")
        ended = self._relay is not None and self._relay.terminated
        reason = "the agent ended the session" if ended else "the target closed the connection"
        return self._closed(reason)
