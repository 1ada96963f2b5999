"""A disk that refuses while sessions run: they end with a clear error, nothing passes unrecorded.

The witness is the server's own log: each statement that stands there stands in a recording.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.support.faults import Marks, Shim, last_kind, recorded, tmpfs, until
from tests.support.gateway import Gateway
from tests.support.servers import PostgresServer

from chaperon.recording.frame import Kind

pytestmark = pytest.mark.server

MIB = 1024 * 1024
WORDS = "recording failed"


def _connect(dsn: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(dsn, autocommit=True, connect_timeout=10)


def _executed(server: PostgresServer, marks: Marks) -> set[str]:
    return marks.within(server.log.read_text(errors="replace"))


def _assert_nothing_unrecorded(gateway: Gateway, server: PostgresServer, marks: Marks) -> set[str]:
    time.sleep(0.3)  # what was on its way to the server has arrived
    executed = _executed(server, marks)
    missing = executed - marks.within(recorded(gateway.recordings()))
    assert not missing
    return executed


def _write_until_refused(
    connection: psycopg.Connection[tuple[object, ...]], marks: Marks, filler: int = 0
) -> psycopg.Error:
    for _ in range(100_000):
        try:
            connection.execute(f"select '{next(marks)}{'x' * filler}'")
        except psycopg.OperationalError as error:
            return error
    raise AssertionError("nothing was refused")


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    return Shim(tmp_path)


@pytest.fixture
def full(pg18: PostgresServer, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway whose data folder is a tmpfs of 24 MiB, with a reserve of 1 MiB."""
    with tmpfs(tmp_path / "gw" / "data", "24m") as data:
        gateway = Gateway.start(pg18, folder=data.parent, recording={"reserve": "1MiB"})
        yield gateway
        gateway.stop(keep=True)


def test_a_full_disk_ends_sessions_and_refuses_new_ones(
    full: Gateway, pg18: PostgresServer
) -> None:
    marks = Marks()
    dsn = full.dsn()
    filler = full.data / "filler"
    subprocess.run(["fallocate", "-l", "16M", filler], check=True)
    with _connect(dsn) as idle, _connect(dsn) as busy:
        error = _write_until_refused(busy, marks, filler=256 * 1024)
        assert error.sqlstate == "57P01"
        assert WORDS in str(error)
        until(lambda: _ended(idle), "the idle session ends")

    with pytest.raises(psycopg.OperationalError, match=WORDS):
        _connect(dsn)
    executed = _assert_nothing_unrecorded(full, pg18, marks)
    assert len(executed) > 3

    # What was recorded is readable with the means at hand, while the disk is still full.
    listed = full.command("sessions", "list", "--json", check=False)
    assert listed.returncode == 0, listed.stderr

    filler.unlink()
    with _connect(dsn) as again:
        assert again.execute("select 1").fetchall() == [(1,)]


def _ended(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    try:
        connection.execute("select 1")
    except psycopg.OperationalError:
        return True
    return False


def test_the_reserve_ends_sessions_with_their_recordings_closed(
    full: Gateway, pg18: PostgresServer
) -> None:
    marks = Marks()
    dsn = full.dsn()
    filler = full.data / "filler"
    with _connect(dsn) as connection:
        connection.execute(f"select '{next(marks)}'")
        with filler.open("wb") as file:
            subprocess.run(["fallocate", "-l", "20M", file.name], check=True)
            while _free(full.data) > MIB:
                file.seek(0, 2)
                file.write(b"x" * 65536)
                file.flush()
        until(lambda: _ended(connection), "the session ends")
    with pytest.raises(psycopg.OperationalError, match=WORDS):
        _connect(dsn)
    _assert_nothing_unrecorded(full, pg18, marks)
    # The reserve is what lets a recording end well.
    until(lambda: not list((full.data / "spool").glob("*.rec")), "the recording is finished")
    assert [last_kind(path) for path in full.recordings()] == [Kind.CLOSE]

    filler.unlink()
    with _connect(dsn) as again:
        assert again.execute("select 1").fetchall() == [(1,)]


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


@pytest.mark.parametrize("barrier", ["write", "fsync"])
def test_room_that_is_refused(pg18: PostgresServer, shim: Shim, barrier: str) -> None:
    with shim.loaded():
        gateway = Gateway.start(pg18, recording={"barrier": barrier})
    try:
        dsn = gateway.dsn()
        for code in (errno.ENOSPC, errno.EIO):
            marks = Marks()
            with _connect(dsn) as connection:
                connection.execute(f"select '{next(marks)}'")
                shim.fail("posix_fallocate", code)
                error = _write_until_refused(connection, marks, filler=8000)
                assert error.sqlstate == "57P01"
                assert WORDS in str(error)
            with pytest.raises(psycopg.OperationalError, match=WORDS):
                _connect(dsn)
            executed = _assert_nothing_unrecorded(gateway, pg18, marks)
            assert len(executed) < 16  # 64 KiB were preallocated
            shim.mend("posix_fallocate")
            with _connect(dsn) as again:
                assert again.execute("select 1").fetchall() == [(1,)]
    finally:
        gateway.stop()


@pytest.mark.parametrize("barrier", ["write", "fsync"])
def test_an_fdatasync_that_fails(pg18: PostgresServer, shim: Shim, barrier: str) -> None:
    marks = Marks()
    with shim.loaded():
        gateway = Gateway.start(pg18, recording={"barrier": barrier})
    try:
        dsn = gateway.dsn()
        with _connect(dsn) as connection:
            for _ in range(3):
                connection.execute(f"select '{next(marks)}'")
            before = len(_executed(pg18, marks))
            time.sleep(0.2)  # all of that is on the disk
            shim.fail("fdatasync", errno.EIO)
            started = time.monotonic()
            error = _write_until_refused(connection, marks)
            assert time.monotonic() - started < 2
            assert error.sqlstate == "57P01"
            assert WORDS in str(error)
        with pytest.raises(psycopg.OperationalError, match=WORDS):
            _connect(dsn)
        time.sleep(0.3)
        failed = [n for n, code in shim.calls("fdatasync") if code and n.endswith(".rec")]
        assert len(failed) == len(set(failed)) == 1  # not retried
        executed = _assert_nothing_unrecorded(gateway, pg18, marks)
        if barrier == "fsync":
            assert len(executed) == before == 3  # nothing that came after was forwarded
    finally:
        gateway.stop()
