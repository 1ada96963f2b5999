"""Accepts agents' connections; sees whether one begins with TLS before anything reads from it.

Invariant: no byte is consumed here. A first byte 0x16 (a TLS handshake record, RFC 8446 §5.1) is
only peeked at, so that the TLS layer gets the whole hello.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Coroutine

from chaperon.config import ListenerConfig
from chaperon.protocols.base import ListenerFacts
from chaperon.runtime.driver import Conversation
from chaperon.runtime.environment import Environment
from chaperon.tls import certificate_der
from chaperon.wire.errors import ConfigError, Side

log = logging.getLogger("chaperon.listener")

_TLS_HANDSHAKE_RECORD = 0x16
_BACKLOG = 1024


class Listener:
    """One address."""

    def __init__(self, config: ListenerConfig, environment: Environment) -> None:
        self._config = config
        self._env = environment
        certificate = certificate_der(config.tls.certificate) if config.tls else None
        self._facts = ListenerFacts(certificate, config.allow_cleartext)
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """The address in fact bound."""
        if self._socket is None:
            return self._config.address
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Bind and listen. Raises ConfigError where the address cannot be had."""
        host, port = self._config.host, self._config.port
        try:
            info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, proto, _, address = info[0]
            listening = socket.socket(family, kind, proto)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self._config.address}: {error.strerror or error}. "
                "Stop what uses the address, or change it under `listeners`."
            ) from error
        listening.setblocking(False)
        self._socket = listening
        self._run(self._accept(listening))

    def stop(self) -> None:
        """Take no more connections."""
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:
            self._socket.close()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = self._env.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = self._env.loop
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                # Out of descriptors, most often: wait for some to come free rather than spin.
                log.error("accepting on %s failed: %s", self._config.address, error)
                await asyncio.sleep(0.5)
                continue
            self._run(self._begin(accepted, address))

    async def _begin(self, accepted: socket.socket, address: tuple[object, ...]) -> None:
        peer = f"{address[0]}:{address[1]}"
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            direct = self._env.tls is not None and await self._begins_with_tls(accepted)
            await self._converse(accepted, peer, str(address[0]), direct)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            log.info("%s: no session: %s", peer, error or type(error).__name__)
            accepted.close()

    async def _begins_with_tls(self, accepted: socket.socket) -> bool:
        loop = self._env.loop
        readable: asyncio.Future[None] = loop.create_future()
        descriptor = accepted.fileno()

        def ready() -> None:
            if not readable.done():
                readable.set_result(None)

        loop.add_reader(descriptor, ready)
        try:
            async with asyncio.timeout(self._env.limits.handshake):
                await readable
        finally:
            loop.remove_reader(descriptor)
        first = accepted.recv(1, socket.MSG_PEEK)
        return first[:1] == bytes((_TLS_HANDSHAKE_RECORD,))

    async def _converse(self, accepted: socket.socket, peer: str, host: str, direct: bool) -> None:
        loop = self._env.loop
        session = self._env.service.session(self._facts)
        loopback = ipaddress.ip_address(host.partition("%")[0]).is_loopback
        conversation = Conversation(self._env, session, peer, loopback, direct)
        await loop.connect_accepted_socket(
            lambda: conversation.protocol_for(Side.DOWNSTREAM),
            accepted,
            ssl=self._env.tls if direct else None,
        )
