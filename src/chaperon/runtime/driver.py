"""The driver: reads sockets, hands events to a session, carries out its commands in order.

Invariant (promise 1): `Forward` and `Reply` are recorded here before they are written. When that
fails, or anything else does, the conversation ends; nothing fails open.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, assert_never, cast

from chaperon.runtime.dial import CONNECT_SECONDS, deliver_cancel
from chaperon.runtime.pump import Outlet
from chaperon.wire import commands as c
from chaperon.wire import events as e
from chaperon.wire.errors import ProtocolViolation, RecordingFailed, Side
from chaperon.wire.operation import Operation
from chaperon.wire.session import Session

if TYPE_CHECKING:
    from chaperon.recording.recorder import Recorder
    from chaperon.runtime.environment import Environment

log = logging.getLogger("chaperon.session")

_UNRECORDED = (
    "its recording failed, and nothing may pass unrecorded; the gateway's log has the reason"
)


class _Peer(asyncio.Protocol):
    """The event loop's view of one side; everything goes to the conversation."""

    side = Side.DOWNSTREAM

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._conversation.connected(self.side, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._conversation.lost(self.side)

    def pause_writing(self) -> None:
        self._conversation.full(self.side)

    def resume_writing(self) -> None:
        self._conversation.empty(self.side)


class _Agent(_Peer):
    """The downstream side."""

    def data_received(self, data: bytes) -> None:
        self._conversation.handle(e.DownstreamData(data))


class _Target(_Peer):
    """The upstream side."""

    side = Side.UPSTREAM

    def data_received(self, data: bytes) -> None:
        self._conversation.handle(e.UpstreamData(data))


class Conversation:
    """One agent's connection, with the target's once it is dialled."""

    def __init__(
        self,
        environment: Environment,
        session: Session,
        peer: str,
        loopback: bool,
        direct_tls: bool,
    ) -> None:
        self._env = environment
        self._session = session
        self._loopback = loopback
        self._direct_tls = direct_tls
        self._down = Outlet()
        self._up = Outlet()
        self._recorder: Recorder | None = None
        self._upgrading: set[Side] = set()
        self._early: deque[e.Event] = deque()
        self._upstream_tls = False
        self._cancel_keys: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._finished = False
        self._opened: c.Open | None = None
        self._pending: deque[tuple[int, Outlet, bytes | memoryview]] = deque()
        self._pending_size = 0
        self._timeout = environment.loop.call_later(environment.limits.handshake, self._too_slow)
        self._lingering: asyncio.TimerHandle | None = None
        self.peer = peer
        self.protocol = environment.protocol
        self.started_ns = time.time_ns()
        self.id = ""

    @property
    def principal(self) -> str:
        return self._opened.principal.name if self._opened else ""

    @property
    def resource(self) -> str:
        return self._opened.resource if self._opened else ""

    @property
    def token_id(self) -> str:
        return self._opened.meta.get("token", "") if self._opened else ""

    def protocol_for(self, side: Side) -> asyncio.Protocol:
        """The callbacks for one side's transport."""
        return _Agent(self) if side is Side.DOWNSTREAM else _Target(self)

    # What the event loop says.

    def connected(self, side: Side, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods but are not its subclasses.
        stream = cast(asyncio.Transport, transport)
        if side is Side.DOWNSTREAM:
            if self._down.transport is None:
                self._env.directory.came()
                self._down.transport = stream
                tls = tls_info(stream, peer=False) if self._direct_tls else None
                self.handle(e.Connected(self.peer, self._loopback, tls))
        else:
            self._up.opened(stream)

    def lost(self, side: Side) -> None:
        outlet = self._down if side is Side.DOWNSTREAM else self._up
        outlet.lost = True
        if side is Side.DOWNSTREAM:
            self._env.directory.left()
            if self._lingering is not None:
                self._lingering.cancel()
        self.handle(e.DownstreamClosed() if side is Side.DOWNSTREAM else e.UpstreamClosed())
        if side is Side.DOWNSTREAM:
            self._finish("the agent closed the connection")

    def full(self, side: Side) -> None:
        """A write buffer is full: the other side waits."""
        (self._up if side is Side.DOWNSTREAM else self._down).pause("peer")

    def empty(self, side: Side) -> None:
        (self._up if side is Side.DOWNSTREAM else self._down).resume("peer")

    # What others say.

    def deliver(self, event: e.CancelRequested) -> None:
        self.handle(event)

    def kill(self, reason: str) -> None:
        """End the session now: the agent is told, sockets are closed."""
        if self._finished:
            return
        self.handle(e.Killed(reason))
        self._abort()

    def recording_failed(self, reason: str) -> None:
        """The disk refused a frame that was already forwarded; nothing more may follow."""
        self._fail_recording(RecordingFailed(reason))

    # Carrying out.

    def handle(self, event: e.Event) -> None:
        """Give the session an event and carry out what it asks."""
        if self._finished:
            return
        if self._upgrading and isinstance(event, (e.DownstreamData, e.UpstreamData)):
            self._early.append(event)
            return
        try:
            for command in self._session.handle(event):
                if isinstance(command, c.Forward):
                    self._forward(command)
                elif isinstance(command, c.Reply):
                    self._reply(command)
                else:
                    self._rarely(command)
        except ProtocolViolation as violation:
            log.warning("%s: %s", self.peer, violation)
            self._last_words(partial(self._session.violation, violation))
        except RecordingFailed as failure:
            self._fail_recording(failure)
        except Exception:
            log.exception("%s: the session failed", self.peer)
            self._last_words(partial(self._session.handle, e.Killed("an internal error")))

    def _last_words(self, words: Callable[[], Sequence[c.Command]]) -> None:
        try:
            for command in words():
                if isinstance(command, c.Reply):
                    self._reply(command)
                elif not isinstance(command, c.Forward):
                    self._rarely(command)
        except RecordingFailed as failure:
            self._fail_recording(failure)
        except Exception:
            log.exception("%s: the session failed while ending", self.peer)
        self._finish("error")

    def _fail_recording(self, failure: RecordingFailed) -> None:
        # What waits to become durable never will; replies among it were never sent.
        self._pending.clear()
        if self._finished:
            self._close_transports()
            return
        log.error("%s: recording failed: %s", self.peer, failure)
        try:
            for command in self._session.handle(e.Killed(_UNRECORDED)):
                # The gateway's own last words; nothing of the conversation passes any more.
                if type(command) is c.Reply and not self._down.lost:
                    self._down.write(command.data)
        except Exception:
            log.exception("%s: the session failed while ending", self.peer)
        self._finish("recording failed")

    def _forward(self, command: c.Forward) -> None:
        _, data, marks, recorded, direction = command
        if recorded != b"":
            recorder = self._recorder
            if recorder is None:
                raise RecordingFailed("the recording is not open")
            recorder.forward(marks, data if recorded is None else recorded, direction)
        self._write(self._up, data)

    def _reply(self, command: c.Reply) -> None:
        data, recorded = command
        if recorded != b"":
            recorder = self._recorder
            if recorder is None:
                raise RecordingFailed("the recording is not open")
            recorder.reply(data if recorded is None else recorded)
        self._write(self._down, data)

    def _write(self, outlet: Outlet, data: bytes | memoryview) -> None:
        if self._env.fsync and self._recorder is not None:
            self._write_when_durable(outlet, data)
        else:
            outlet.write(data)

    def _write_when_durable(self, outlet: Outlet, data: bytes | memoryview) -> None:
        recorder = self._recorder
        if recorder is None:
            raise RecordingFailed("the recording is not open")
        offset = recorder.offset
        if not self._pending and recorder.synced >= offset:
            outlet.write(data)
            return
        self._pending.append((offset, outlet, data))
        self._pending_size += len(data)
        if self._pending_size > _PENDING:
            self._down.pause("barrier")
            self._up.pause("barrier")
        loop = self._env.loop

        def durable(error: RecordingFailed | None) -> None:
            loop.call_soon_threadsafe(self._durable, error)

        self._env.recordings.await_durable(recorder, offset, durable)

    def _durable(self, error: RecordingFailed | None) -> None:
        if error is not None:
            self._fail_recording(error)
            return
        recorder = self._recorder
        synced = recorder.synced if recorder is not None else 0
        while self._pending and self._pending[0][0] <= synced:
            _, outlet, data = self._pending.popleft()
            self._pending_size -= len(data)
            outlet.write(data)
        if self._pending_size <= _PENDING:
            self._down.resume("barrier")
            self._up.resume("barrier")
        if self._closing and not self._pending:
            self._close_transports()

    def _rarely(self, command: c.RareCommand) -> None:
        match command:
            case c.Record(direction, data, marks):
                self._recording().record(direction, data, marks)
            case c.Decide(ticket, operation):
                self._decide(ticket, operation)
            case c.Open():
                self._open(command)
            case c.Authenticate(claim):
                self.handle(e.Authenticated(self._env.authenticate(claim)))
            case c.Dial(resource):
                self._start(self._dial(resource))
            case c.StartTls(side):
                self._upgrading.add(side)
                outlet = self._down if side is Side.DOWNSTREAM else self._up
                outlet.pause("tls")
                self._start(self._start_tls(side))
            case c.RegisterCancel(key):
                hashed = _hashed(key)
                self._cancel_keys.append(hashed)
                self._env.directory.by_cancel[hashed] = self
            case c.RouteCancel(key):
                target = self._env.directory.by_cancel.get(_hashed(key))
                if target is not None:
                    target.deliver(e.CancelRequested())
            case c.DialCancel():
                self._start(self._cancel(command))
            case c.Note(fields):
                if self._recorder is not None:
                    details = dict(fields)
                    self._recorder.event(details.pop("event"), details)
            case c.Invalidate():
                self._env.service.invalidate(self.resource)
            case c.Hold(side):
                (self._down if side is Side.DOWNSTREAM else self._up).pause("session")
            case c.Resume(side):
                (self._down if side is Side.DOWNSTREAM else self._up).resume("session")
            case c.Close(reason):
                self._finish(reason)
            case _:
                assert_never(command)

    def _recording(self) -> Recorder:
        if self._recorder is None:
            raise RecordingFailed("the recording is not open")
        return self._recorder

    def _open(self, command: c.Open) -> None:
        meta = {"protocol": self.protocol, "peer": self.peer, **self._env.meta(command)}
        loop = self._env.loop

        def failed(reason: str) -> None:
            loop.call_soon_threadsafe(self.recording_failed, reason)

        self._recorder = self._env.recordings.open(meta, failed)
        self.id = self._recorder.session
        self._opened = command
        self._timeout.cancel()
        self._env.directory.live[self.id] = self

    def _decide(self, ticket: int, operation: Operation) -> None:
        opened = self._opened
        if opened is None:
            raise RecordingFailed("a decision before the recording is open")
        decision = self._env.now(opened.principal, opened.resource, operation)
        if decision is not None:
            self.handle(e.Decided(ticket, decision))
        else:
            self._start(self._decide_later(ticket, operation))

    async def _decide_later(self, ticket: int, operation: Operation) -> None:
        opened = self._opened
        if opened is not None:
            decision = await self._env.later(opened.principal, opened.resource, operation)
            self.handle(e.Decided(ticket, decision))

    async def _dial(self, resource: str) -> None:
        upstream = self._env.upstream(resource)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._env.loop.create_connection(
                    lambda: self.protocol_for(Side.UPSTREAM), upstream.host, upstream.port
                )
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"no answer within {CONNECT_SECONDS:.0f} s"
            self.handle(e.DialFailed(f"{upstream.host}:{upstream.port}: {reason}"))
            return
        if self._finished:
            self._up.abort()
            return
        recorder = self._recording()
        self._timeout = self._env.loop.call_later(
            self._env.limits.login, self._no_login, recorder, recorder.offset
        )
        self.handle(e.Dialled())

    async def _start_tls(self, side: Side) -> None:
        downstream = side is Side.DOWNSTREAM
        outlet = self._down if downstream else self._up
        upstream = self._env.upstream(self.resource) if not downstream else None
        context = self._env.tls if upstream is None else upstream.tls
        transport = outlet.transport
        if context is None or transport is None:
            self._finish("TLS is not configured")
            return
        try:
            upgraded = await self._env.loop.start_tls(
                transport,
                transport.get_protocol(),
                context,
                server_side=downstream,
                server_hostname=None if upstream is None else upstream.host,
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            if downstream:
                self._finish(f"TLS with the agent failed: {error}")
            else:
                self._upgrading.discard(side)
                self.handle(e.DialFailed(f"TLS with the target failed: {error}"))
            return
        if upgraded is None or self._finished:
            self._finish("the connection closed during TLS")
            return
        outlet.upgraded(upgraded)
        self._upstream_tls = self._upstream_tls or not downstream
        self._upgrading.discard(side)
        self.handle(e.TlsStarted(side, tls_info(upgraded, peer=not downstream)))
        while self._early and not self._upgrading:
            self.handle(self._early.popleft())

    async def _cancel(self, command: c.DialCancel) -> None:
        upstream = self._env.upstream(self.resource)
        outcome = await deliver_cancel(upstream, self._upstream_tls, command)
        if outcome != "delivered":
            log.warning("%s: cancel request %s", self.peer, outcome)
        self.handle(e.CancelDelivered())

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._env.loop.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("%s: the session failed", self.peer)
            self._finish("an internal error")

    # The end.

    def _too_slow(self) -> None:
        if self._opened is None:
            self._finish("the handshake took too long")

    def _no_login(self, recorder: Recorder, offset: int) -> None:
        # Nothing of the login is recorded; everything behind it is.
        if recorder.offset == offset:
            limit = self._env.limits.login
            self.handle(e.DialFailed(f"the target did not finish the login within {limit:g} s"))

    def _finish(self, reason: str) -> None:
        """End once: close what is open behind what was written, close the recording."""
        if self._finished:
            return
        self._finished = True
        self._closing = True
        self._timeout.cancel()
        directory = self._env.directory
        directory.live.pop(self.id, None)
        for key in self._cancel_keys:
            directory.by_cancel.pop(key, None)
        if not self._pending:
            self._close_transports()
        recorder = self._recorder
        if recorder is not None:
            self._env.recordings.close(recorder, reason)
        self._durable(None)
        log.info("session ended peer=%s id=%s reason=%s", self.peer, self.id, reason)

    def _close_transports(self) -> None:
        self._up.close()
        self._down.end()
        if self._lingering is None and not self._down.lost:
            limit = self._env.limits.last_words
            self._lingering = self._env.loop.call_later(limit, self._down.close)

    def _abort(self) -> None:
        self._finish("killed")
        self._up.abort()
        # An agent that does not read must not keep its socket open behind a kill.
        self._env.loop.call_later(self._env.limits.last_words, self._down.abort)


_PENDING = 1024 * 1024


def _hashed(key: bytes) -> bytes:
    """What a cancel key is found by: how long a comparison takes then tells nothing of the key."""
    return hashlib.sha256(key).digest()


def tls_info(transport: asyncio.Transport, peer: bool) -> e.TlsInfo:
    """Facts of a finished handshake; with `peer`, the certificate of the other side in DER."""
    found = transport.get_extra_info("ssl_object")
    certificate = found.getpeercert(binary_form=True) if peer else None
    cipher = found.cipher()
    return e.TlsInfo(
        version=found.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=found.selected_alpn_protocol(),
        certificate=certificate,
    )
