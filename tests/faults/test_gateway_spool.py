"""Recordings that somebody touches while they are written; barrier `fsync`; how a gateway ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from tests.support.faults import Marks, Shim, last_kind, recorded, until
from tests.support.gateway import Gateway
from tests.support.servers import PostgresServer

from chaperon.recording.frame import Kind
from chaperon.recording.place import find_recording

pytestmark = pytest.mark.server

WORDS = "recording failed"


@pytest.fixture
def gateway(pg18: PostgresServer) -> Iterator[Gateway]:
    started = Gateway.start(pg18)
    yield started
    started.stop()


def _connect(dsn: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(dsn, autocommit=True, connect_timeout=10)


def _spool(gateway: Gateway) -> Path:
    [path] = (gateway.data / "spool").glob("*.rec")
    return path


def _until_refused(
    connection: psycopg.Connection[tuple[object, ...]], marks: Marks, pause: float
) -> psycopg.Error:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            connection.execute(f"select '{next(marks)}'")
        except psycopg.OperationalError as error:
            return error
        time.sleep(pause)
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize("size", [0, 100, 8192])
def test_a_spool_that_is_cut(gateway: Gateway, pg18: PostgresServer, size: int) -> None:
    marks = Marks()
    dsn = gateway.dsn()
    with _connect(dsn) as other, _connect(dsn) as connection:
        other_pid = other.execute("select pg_backend_pid()").fetchone()
        before = set((gateway.data / "spool").glob("*.rec"))
        for _ in range(100):
            connection.execute(f"select '{next(marks)}'")
        path = max(before, key=lambda p: len(marks.within(p.read_bytes())))
        time.sleep(0.2)  # all of that is on the disk
        os.truncate(path, size)
        error = _until_refused(connection, marks, 0)
        assert error.sqlstate == "57P01"
        assert WORDS in str(error)
        # Another session, and the gateway, go on.
        assert other.execute("select pg_backend_pid()").fetchone() == other_pid
        with _connect(dsn) as new:
            assert new.execute("select 1").fetchone() == (1,)
    assert "cut" in gateway.log.read_text()
    gateway.stop(keep=True)
    gateway.serve()
    # What was durable is missing: it is put aside as it is.
    kept = find_recording(gateway.data, path.stem)
    assert kept is not None
    assert kept.parent.name == "corrupt"


def test_a_spool_that_is_removed(gateway: Gateway) -> None:
    marks = Marks()
    with _connect(gateway.dsn()) as connection:
        connection.execute(f"select '{next(marks)}'")
        _spool(gateway).unlink()
        error = _until_refused(connection, marks, 0.05)
        assert error.sqlstate == "57P01"
        assert WORDS in str(error)
    assert "cannot be found" in gateway.log.read_text()


def test_sigterm_ends_sessions_and_finishes_recordings(gateway: Gateway) -> None:
    marks = Marks()
    dsn = gateway.dsn()
    failures: list[psycopg.Error] = []
    with _connect(dsn) as busy, _connect(dsn) as idle:

        def sleep() -> None:
            try:
                busy.execute(f"select pg_sleep(30), '{next(marks)}'")
            except psycopg.Error as error:
                failures.append(error)

        idle.execute(f"select '{next(marks)}'")
        thread = threading.Thread(target=sleep)
        thread.start()
        time.sleep(0.5)
        assert gateway.process is not None
        started = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(15) == 0
        assert time.monotonic() - started < 10
        thread.join(5)
        with pytest.raises(psycopg.OperationalError):
            idle.execute("select 1")
    assert [error.sqlstate for error in failures] == ["57P01"]
    assert "shutting down" in str(failures[0])
    paths = gateway.recordings()
    assert len(paths) == 2
    for path in paths:
        assert path.is_relative_to(gateway.data / "recordings")
        assert last_kind(path) == Kind.CLOSE
    assert len(marks.within(recorded(paths))) == 2
    assert not (gateway.data / "control.sock").exists()


def test_a_killed_session_is_told_and_gone(gateway: Gateway, pg18: PostgresServer) -> None:
    with _connect(gateway.dsn()) as connection:
        [[backend]] = connection.execute("select pg_backend_pid()").fetchall()
        session = _spool(gateway).stem
        connection.execute("set application_name = 'x'")
        gateway.command("sessions", "kill", session)
        with pytest.raises(psycopg.OperationalError) as killed:
            connection.execute("select 1")
        assert killed.value.sqlstate == "57P01"
    gone = f"select count(*) from pg_stat_activity where pid = {backend}"
    until(lambda: pg18.sql(gone) == "0", "the target's session ends")
    until(lambda: "sessions     0" in gateway.command("status").stdout, "no session is left")


def test_the_indexer_is_started_again(gateway: Gateway) -> None:
    def indexers() -> list[psutil.Process]:
        assert gateway.process is not None
        children = psutil.Process(gateway.process.pid).children()
        alive = [c for c in children if c.status() != psutil.STATUS_ZOMBIE]
        return [c for c in alive if "chaperon.runtime.indexer" in c.cmdline()]

    with _connect(gateway.dsn()) as connection:
        [first] = indexers()
        first.kill()
        for _ in range(20):
            assert connection.execute("select 1").fetchone() == (1,)
        until(lambda: [i.pid for i in indexers()] not in ([], [first.pid]), "another indexer")
        session = _spool(gateway).stem
    until(lambda: session in gateway.command("sessions", "list", "--json").stdout, "is indexed")


def test_nothing_passes_before_it_is_durable(pg18: PostgresServer, tmp_path: Path) -> None:
    shim = Shim(tmp_path)
    marks = Marks()
    with shim.loaded():
        gateway = Gateway.start(pg18, recording={"barrier": "fsync"})
    answers: list[object] = []
    try:
        with _connect(gateway.dsn()) as connection:
            connection.execute("select 1")

            def ask(text: str) -> threading.Thread:
                thread = threading.Thread(
                    target=lambda: answers.append(connection.execute(text).fetchone())
                )
                thread.start()
                return thread

            # A statement does not reach the server before it is on the disk …
            mark = next(marks)
            with shim.held("fdatasync"):
                asking = ask(f"select 1, '{mark}'")
                time.sleep(0.7)
                assert not marks.within(pg18.log.read_text(errors="replace"))
                assert not answers
            asking.join(10)
            assert answers == [(1, mark)]

            # … and its answer not the client.
            mark = next(marks)
            asking = ask(f"select 2, '{mark}', pg_sleep(3)")
            until(lambda: mark in pg18.log.read_text(errors="replace"), "the statement runs")
            with shim.held("fdatasync"):
                time.sleep(3.7)
                assert len(answers) == 1
            asking.join(10)
            assert answers[1] == (2, mark, "")
    finally:
        gateway.stop()


def test_stock_programs_under_barrier_fsync(pg18: PostgresServer) -> None:
    gateway = Gateway.start(pg18, recording={"barrier": "fsync"})
    try:
        dsn = gateway.dsn()
        for command in (
            ("psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", "select 1", "-c", "select 2", dsn),
            ("pgbench", "-q", "-i", "-s", "1", dsn),
            ("pgbench", "-n", "-c", "4", "-t", "25", "-M", "prepared", dsn),
        ):
            program, *arguments = command
            done = subprocess.run(
                [pg18.programs / program, *arguments], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        assert "number of transactions actually processed: 100/100" in done.stdout
    finally:
        pg18.sql(
            "drop table if exists pgbench_accounts, pgbench_branches, pgbench_history,"
            " pgbench_tellers"
        )
        gateway.stop()
