"""`chaperon serve`: builds the gateway from its configuration, runs it, takes it down in order.

Order of start: folder and recordings (recovery), store and policy, control socket, listeners. Order
of the end is the reverse, so that no session outlives what records it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource as limits
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import uvloop

from chaperon import __version__
from chaperon.config import Config, load_config
from chaperon.datafolder import open_data_folder
from chaperon.identity.authenticate import Authenticator
from chaperon.identity.mock_key import mock_key
from chaperon.policy.load import names_of
from chaperon.policy.model import Json
from chaperon.policy.reload import Policies
from chaperon.policy.schema import Schema
from chaperon.protocols.base import Service
from chaperon.protocols.registry import REGISTRY
from chaperon.recording.service import RecordingService
from chaperon.runtime.decider import Decider
from chaperon.runtime.dial import Upstream, make_upstream
from chaperon.runtime.environment import Directory, Environment, Limits, Live
from chaperon.runtime.listener import Listener
from chaperon.store.store import Store
from chaperon.tls import listener_tls
from chaperon.wire.commands import Open

log = logging.getLogger("chaperon")

_TICK_SECONDS = 1.0
_DRAIN_SECONDS = 3.0
_INDEXER_SECONDS = 5.0
_LIMITS = Limits()


class Control(Protocol):
    """The control server as the supervisor sees it."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Gateway:
    """A running gateway. Has the shape of `chaperon.api.context.ControlContext`."""

    def __init__(self, config: Config, limits: Limits = _LIMITS) -> None:
        self.config = config
        self._limits = limits
        open_data_folder(config.data)
        self.store = Store.open(config.data)
        schema = Schema({name: spec.vocabulary for name, spec in REGISTRY.items()})
        self._policies = Policies(config.policies, schema, names_of(config))
        self._recordings = RecordingService(config.data, config.recording.reserve)
        self._authenticator = Authenticator(
            config.principals(), self.store.find_token, mock_key(config.data)
        )
        self._upstreams: dict[str, Upstream] = {}
        self._services: dict[str, Service] = {}
        self._deciders: dict[str, Decider] = {}
        self._listeners: list[Listener] = []
        self._directory = Directory()
        self._indexer: subprocess.Popen[bytes] | None = None
        self._started_ns = time.time_ns()

    async def start(self) -> None:
        """Raises ConfigError with what cannot be had."""
        loop = asyncio.get_running_loop()
        for recovered in self._recordings.start():
            log.warning("recovered recording %s", recovered)
        for name, config in self.config.resources.items():
            self._upstreams[name] = make_upstream(config.upstream)
        for name, spec in REGISTRY.items():
            resources = {n: r for n, r in self.config.resources.items() if r.protocol == name}
            service = spec.service(resources, secrets.token_bytes)
            self._services[name] = service
            self._deciders[name] = Decider(name, service, self._policies)
        for config_ in self.config.listeners:
            spec = REGISTRY[config_.protocol]
            service = self._services[spec.name]
            decider = self._deciders[spec.name]
            environment = Environment(
                loop=loop,
                service=service,
                protocol=spec.name,
                tls=listener_tls(config_.tls, spec.alpn) if config_.tls else None,
                authenticate=self._authenticator.authenticate,
                now=decider.now,
                later=decider.later,
                upstream=self._upstreams.__getitem__,
                meta=self._meta,
                recordings=self._recordings,
                fsync=self.config.recording.barrier == "fsync",
                directory=self._directory,
                limits=self._limits,
            )
            listener = Listener(config_, environment)
            listener.start()
            self._listeners.append(listener)
        self._start_indexer()

    def _meta(self, opened: Open) -> dict[str, Json]:
        principal = opened.principal
        return {
            "principal": principal.name,
            "kind": principal.kind.value,
            "groups": sorted(principal.groups),
            "resource": opened.resource,
            "policy_hash": self._policies.current.hash,
            "gateway": __version__,
            **opened.meta,
        }

    def _start_indexer(self) -> None:
        # A process of its own at the lowest priority: the index may lag, the data path may not.
        command = [sys.executable, "-m", "chaperon.runtime.indexer", str(self.config.data)]
        command.append(str(os.getpid()))
        # A session of its own: Ctrl-C at a terminal ends the gateway, which then ends the indexer.
        self._indexer = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    async def run(self, stopping: asyncio.Event) -> None:
        """Look after things once a second until `stopping`."""
        error: str | None = None
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _TICK_SECONDS)
            if self._policies.tick():
                for decider in self._deciders.values():
                    decider.policy_changed()
            error = self._tell_of_policies(error)
            if self._indexer is not None and self._indexer.poll() is not None:
                log.error(
                    "the indexer ended (status %s); starting it again", self._indexer.returncode
                )
                self._start_indexer()

    def _tell_of_policies(self, before: str | None) -> str | None:
        """Log, once, that the folder cannot be loaded, or can be again."""
        error = self._policies.status.error
        if error != before:
            if error is None:
                log.info("the policies in the folder are in force again")
            else:
                log.error("the policies in force stay: what is in the folder fails: %s", error)
        return error

    async def stop(self) -> None:
        """End all sessions, then what served them."""
        for listener in self._listeners:
            listener.stop()
        for live in list(self._directory.live.values()):
            live.kill("the gateway is shutting down")
        if self._directory.open_connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._directory.idle.wait(), _DRAIN_SECONDS)
        for service in self._services.values():
            await service.close()
        await asyncio.to_thread(self._recordings.stop)
        if self._indexer is not None:
            self._indexer.terminate()
            try:
                await asyncio.to_thread(self._indexer.wait, _INDEXER_SECONDS)
            except subprocess.TimeoutExpired:
                # On a full disk it waits for room. What it has not written comes at the next start.
                self._indexer.kill()
                await asyncio.to_thread(self._indexer.wait)

    # What the control server asks.

    def status(self) -> Mapping[str, Json]:
        space = self._recordings.space()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started_ns": self._started_ns,
            "listeners": [listener.address for listener in self._listeners],
            "sessions": len(self._directory.live),
            "free_bytes": space.free,
            "reserve_bytes": space.reserve,
            "sync_lag_seconds": self._recordings.sync_lag,
        }

    def live_sessions(self) -> Sequence[Live]:
        return list(self._directory.live.values())

    async def kill(self, session_id: str, reason: str) -> bool:
        live = self._directory.live.get(session_id)
        if live is None:
            return False
        live.kill(reason)
        return True

    def policy_status(self) -> Mapping[str, Json]:
        return asdict(self._policies.status)


def serve(path: Path, control: Callable[[Gateway], Control]) -> int:
    """Run the gateway of the configuration file `path` until SIGTERM or SIGINT; the exit code.

    `control` makes its control server. Raises ConfigError.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = load_config(path, REGISTRY)
    _raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, control))
    return 0


async def _serve(config: Config, control: Callable[[Gateway], Control]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    gateway = Gateway(config)
    server = control(gateway)
    try:
        await gateway.start()
        await server.start()
        log.info("ready on %s", ", ".join(listener.address for listener in gateway._listeners))
        await gateway.run(stopping)
    finally:
        await server.stop()
        await gateway.stop()


def _raise_descriptor_limit() -> None:
    """Each session takes three descriptors; the soft limit is often 1,024."""
    _, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        limits.setrlimit(limits.RLIMIT_NOFILE, (hard, hard))
