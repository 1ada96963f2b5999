"""Time limits: on the handshake and on the login at the target, and none on an open session.

The gateway runs in this process, so that its limits can be short.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import uvloop
import yaml
from tests.support.faults import chaperon, until
from tests.support.gateway import PERMIT_ALL
from tests.support.ports import free_port
from tests.support.servers import APP_PASSWORD, APP_USER, DATABASE, PostgresServer

from chaperon.config import load_config
from chaperon.protocols.registry import REGISTRY
from chaperon.runtime.environment import Limits
from chaperon.runtime.supervisor import Gateway

pytestmark = pytest.mark.server

LIMITS = Limits(handshake=0.4, login=0.4, last_words=0.4)


@pytest.fixture
def hole() -> Iterator[int]:
    """The port of a target that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def address(
    pg18: PostgresServer, hole: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Where a gateway listens, with a token in it; the resource is to follow."""
    monkeypatch.setenv("UPSTREAM_PASSWORD", APP_PASSWORD)
    port, path = free_port(), tmp_path / "chaperon.yaml"
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "policy.cedar").write_text(PERMIT_ALL)
    resources = {
        name: {
            "protocol": "postgres",
            "upstream": {
                "host": "127.0.0.1",
                "port": target,
                "database": DATABASE,
                "user": APP_USER,
                "password": {"env": "UPSTREAM_PASSWORD"},
                "tls": "prefer",
            },
        }
        for name, target in (("good", pg18.port), ("hole", hole))
    }
    config = {
        "data": "./data",
        "listeners": [{"protocol": "postgres", "address": f"127.0.0.1:{port}"}],
        "identity": {"local": {"agents": {"ci-bot": {"groups": ["analysts"]}}}},
        "resources": resources,
        "policies": "./policies",
        "recording": {"barrier": "write", "reserve": "1MiB"},
    }
    path.write_text(yaml.safe_dump(config))
    created = subprocess.run(
        [*chaperon(), "token", "create", "ci-bot", "--json", "-c", str(path)],
        capture_output=True,
        check=True,
    )
    token = json.loads(created.stdout)["token"]

    started, stopping = threading.Event(), asyncio.Event()
    loop = uvloop.new_event_loop()

    async def run() -> None:
        gateway = Gateway(load_config(path, REGISTRY), LIMITS)
        try:
            await gateway.start()
            started.set()
            await gateway.run(stopping)
        finally:
            await gateway.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert started.wait(20)
    yield f"postgresql://ci-bot:{token}@127.0.0.1:{port}/"
    loop.call_soon_threadsafe(stopping.set)
    thread.join(20)
    assert not thread.is_alive()
    loop.close()


def test_who_never_says_a_word_is_dropped(address: str) -> None:
    port = int(address.rsplit(":", 1)[1].strip("/"))
    for first in (b"", b"\0\0\0\x08"):
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", port)) as silent:
            silent.settimeout(10)
            silent.sendall(first)
            assert silent.recv(100) == b""
        assert LIMITS.handshake * 0.9 < time.monotonic() - started < 5


def test_a_target_that_never_answers_is_given_up(address: str) -> None:
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(f"{address}hole", connect_timeout=20)
    assert LIMITS.login * 0.9 < time.monotonic() - started < 5
    assert "could not log in at the target of resource 'hole'" in str(refused.value)
    assert "doctor" in str(refused.value)


def test_an_open_session_has_no_limit(address: str, pg18: PostgresServer) -> None:
    with psycopg.connect(f"{address}good", autocommit=True) as connection:
        pid = connection.info.backend_pid
        time.sleep(5 * LIMITS.handshake)  # says nothing
        assert connection.execute("select 1").fetchone() == (1,)
        connection.execute(f"select pg_sleep({5 * LIMITS.login})")  # the target says nothing
        assert connection.execute("select pg_backend_pid()").fetchone() == (pid,)
    gone = f"select count(*) from pg_stat_activity where pid = {pid}"
    until(lambda: pg18.sql(gone) == "0", "the target's session ends")
