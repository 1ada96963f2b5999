"""Targets that are down, refuse, say nothing or go away; agents that go away or do not read."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
import yaml
from tests.support.faults import descriptors, rss, until
from tests.support.gateway import RESOURCE, Gateway, Token
from tests.support.ports import free_port
from tests.support.servers import APP_PASSWORD, PostgresServer, bundled_18

pytestmark = pytest.mark.server

MIB = 1024 * 1024


class Target:
    """A TCP server of the test's own: what it does with a connection is `serve`'s."""

    def __init__(self, answer: bytes) -> None:
        """Answers whatever comes first with `answer`."""
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                connection.recv(1024)
                connection.sendall(self._answer)

    def close(self) -> None:
        self._listening.close()
        for connection in self._open:
            connection.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[Target]:
    """Offers no TLS."""
    target = Target(b"N")
    yield target
    target.close()


@pytest.fixture(scope="module")
def gateway(pg18: PostgresServer, plain: Target) -> Iterator[Gateway]:
    """A gateway with one good target and several bad ones."""
    started = Gateway.start(pg18)
    started.stop(keep=True)
    config: dict[str, Any] = yaml.safe_load(started.config.read_text())
    good = config["resources"][RESOURCE]
    for name, changed in {
        "down": {"port": free_port()},
        "plain": {"port": plain.port, "tls": "require"},
        "badlogin": {"user": "nosuchrole"},
    }.items():
        config["resources"][name] = {**good, "upstream": {**good["upstream"], **changed}}
    started.config.write_text(yaml.safe_dump(config, sort_keys=False))
    started.serve()
    yield started
    started.stop(keep=True)
    shutil.rmtree(started.folder)


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> Token:
    return gateway.token()


def _connect(
    gateway: Gateway, token: Token, resource: str = RESOURCE
) -> psycopg.Connection[tuple[object, ...]]:
    dsn = gateway.dsn(token).replace(f":{gateway.port}/{RESOURCE}", f":{gateway.port}/{resource}")
    return psycopg.connect(dsn, autocommit=True, connect_timeout=20)


def _pid(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    return connection.info.backend_pid


def _alive(server: PostgresServer, pid: int) -> bool:
    return server.sql(f"select count(*) from pg_stat_activity where pid = {pid}") != "0"


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ("down", "refused"),
        ("plain", "offers no TLS"),
        ("badlogin", "the target refused the login: 28P01"),
    ],
)
def test_a_target_that_cannot_be_had(
    gateway: Gateway, token: Token, resource: str, reason: str
) -> None:
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError) as refused:
        _connect(gateway, token, resource)
    assert time.monotonic() - started < 5
    said = str(refused.value)
    assert repr(resource) in said
    assert "HINT" in said
    assert "doctor" in said
    # Why is the operator's, and in the log.
    until(lambda: reason.lower() in gateway.log.read_text().lower(), "the reason is in the log")
    assert APP_PASSWORD not in gateway.log.read_text() + said


def test_a_target_that_restarts(gateway: Gateway) -> None:
    server = PostgresServer.start(bundled_18(), tls=False)
    folder_gateway = Gateway.start(server)
    try:
        dsn = folder_gateway.dsn()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("select 1")
            server.process.send_signal(signal.SIGINT)
            server.process.wait(20)
            with pytest.raises(psycopg.OperationalError) as ended:
                connection.execute("select 1")
            # The target's own words arrive.
            assert ended.value.sqlstate == "57P01"
        with pytest.raises(psycopg.OperationalError, match="could not log in"):
            psycopg.connect(dsn)
    finally:
        folder_gateway.stop()
        server.stop()


def test_a_target_whose_session_dies(gateway: Gateway, token: Token, pg18: PostgresServer) -> None:
    with _connect(gateway, token) as connection:
        pg18.sql(f"select pg_terminate_backend({_pid(connection)})")
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("select 1")


def test_an_agent_that_goes_away_in_a_transaction(
    gateway: Gateway, token: Token, pg18: PostgresServer
) -> None:
    connection = _connect(gateway, token)
    connection.execute("begin")
    pid = _pid(connection)
    assert _alive(pg18, pid)
    connection.pgconn.finish()
    until(lambda: not _alive(pg18, pid), "the target's session ends")


def test_an_agent_that_is_cut_in_the_middle_of_a_query(
    gateway: Gateway, token: Token, pg18: PostgresServer
) -> None:
    connection = _connect(gateway, token)
    pid = _pid(connection)
    connection.pgconn.send_query(b"select repeat('x', 1000) from generate_series(1, 200000)")
    waiting = f"select wait_event from pg_stat_activity where pid = {pid}"
    until(lambda: pg18.sql(waiting) == "ClientWrite", "the target waits")
    _reset(connection.pgconn.socket)
    until(lambda: not _alive(pg18, pid), "the target's session ends")


def _reset(descriptor: int) -> None:
    """Close with RST, as a machine that is gone would be seen."""
    with socket.socket(fileno=os.dup(descriptor)) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # The descriptor stays libpq's to close.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def test_an_agent_that_closes_one_half(
    gateway: Gateway, token: Token, pg18: PostgresServer
) -> None:
    connection = _connect(gateway, token)
    pid = _pid(connection)
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as end:
        end.shutdown(socket.SHUT_WR)
        until(lambda: not _alive(pg18, pid), "the target's session ends")
    connection.close()


def test_a_slow_reader_makes_the_target_wait(
    gateway: Gateway, token: Token, pg18: PostgresServer
) -> None:
    assert gateway.process is not None
    with _connect(gateway, token) as connection:
        connection.execute("select 1")
        pid = _pid(connection)
        before = rss(gateway.process.pid)
        connection.pgconn.send_query(b"select repeat('x', 1000) from generate_series(1, 200000)")
        waiting = f"select wait_event from pg_stat_activity where pid = {pid}"
        until(lambda: pg18.sql(waiting) == "ClientWrite", "the target waits")
        time.sleep(1)
        assert pg18.sql(waiting) == "ClientWrite"
        assert rss(gateway.process.pid) - before < 32 * MIB
        # It all arrives when it is asked for.
        rows = 0
        connection.pgconn.set_single_row_mode()
        while (result := connection.pgconn.get_result()) is not None:
            rows += result.ntuples
        assert rows == 200_000
        assert rss(gateway.process.pid) - before < 32 * MIB


def test_a_slow_target_makes_the_agent_wait(
    gateway: Gateway, token: Token, pg18: PostgresServer
) -> None:
    assert gateway.process is not None
    with _connect(gateway, token) as holder, _connect(gateway, token) as connection:
        holder.execute("create table slow (line text)")
        try:
            holder.execute("begin; lock table slow")
            before = rss(gateway.process.pid)
            sent = 0
            done = threading.Event()

            def copy() -> None:
                nonlocal sent
                with connection.cursor() as cursor, cursor.copy("copy slow from stdin") as rows:
                    for _ in range(64):
                        rows.write(b"x" * (MIB - 1) + b"\n")
                        sent += 1
                done.set()

            thread = threading.Thread(target=copy)
            thread.start()
            time.sleep(1.5)
            assert not done.is_set()
            assert rss(gateway.process.pid) - before < 32 * MIB
            holder.execute("commit")
            thread.join(60)
            assert done.is_set()
            assert holder.execute("select count(*) from slow").fetchone() == (64,)
            assert rss(gateway.process.pid) - before < 32 * MIB
        finally:
            holder.execute("rollback")
            holder.execute("drop table slow")


def test_many_that_come_and_go_leave_nothing(
    gateway: Gateway, token: Token, pg18: PostgresServer
) -> None:
    assert gateway.process is not None
    pid = gateway.process.pid

    def quiet() -> bool:
        return "sessions     0" in gateway.command("status").stdout

    until(quiet, "no session is left")
    before = descriptors(pid)

    def come_and_go(count: int) -> None:
        for turn in range(count):
            match turn % 5:
                case 0:  # never says a word
                    socket.create_connection(("127.0.0.1", gateway.port)).close()
                case 1:  # no PostgreSQL
                    with socket.create_connection(("127.0.0.1", gateway.port)) as end:
                        end.sendall(b"GET / HTTP/1.1\r\n\r\n")
                        end.recv(100)
                case 2:  # goes away while it proves itself
                    with socket.create_connection(("127.0.0.1", gateway.port)) as end:
                        end.sendall(b"\0\0\0\x15\0\3\0\0user\0ci-bot\0\0"[:17])
                case 3:  # a target that is down
                    with pytest.raises(psycopg.OperationalError):
                        _connect(gateway, token, "down")
                case _:
                    connection = _connect(gateway, token)
                    connection.execute("select 1")
                    connection.close()

    threads = [threading.Thread(target=come_and_go, args=(125,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(quiet, "no session is left")
    # An agent may stay for its last words; the syncer finishes recordings.
    until(lambda: descriptors(pid) <= before + 3, "descriptors are given back")
    until(lambda: not list((gateway.data / "spool").glob("*.rec")), "recordings are finished")
    assert "Traceback" not in gateway.log.read_text()
    assert "never retrieved" not in gateway.log.read_text()


@contextmanager
def _unread(gateway: Gateway, token: Token) -> Iterator[int]:
    """A session whose agent does not read its large result."""
    connection = _connect(gateway, token)
    connection.pgconn.send_query(b"select repeat('x', 1000) from generate_series(1, 200000)")
    time.sleep(0.5)
    yield _pid(connection)
    connection.close()


def test_a_killed_session_whose_agent_does_not_read(
    gateway: Gateway, token: Token, pg18: PostgresServer
) -> None:
    assert gateway.process is not None
    gateway_pid = gateway.process.pid
    before = descriptors(gateway_pid)
    with _unread(gateway, token) as pid:
        [spool] = (gateway.data / "spool").glob("*.rec")
        gateway.command("sessions", "kill", spool.stem)
        until(lambda: not _alive(pg18, pid), "the target's session ends")
        until(lambda: descriptors(gateway_pid) <= before + 2, "its socket is closed", 6)


def test_tools_of_the_server_see_the_reason(gateway: Gateway, token: Token) -> None:
    """psql shows code and hint as of a server's own refusal."""
    dsn = gateway.dsn(token).replace(f":{gateway.port}/{RESOURCE}", f":{gateway.port}/down")
    done = subprocess.run(
        [bundled_18() / "psql", "-X", dsn, "-c", "select 1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "FATAL:  The gateway could not log in at the target of resource 'down'." in done.stderr
