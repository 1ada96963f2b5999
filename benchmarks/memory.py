"""Resident memory of a proxy: with many idle sessions, and while a gigabyte passes each way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg
from psycopg import conninfo, pq

from benchmarks.contestants import Contestant

MIB = 1 << 20
GIGABYTE = 1000 * MIB  # one field of PostgreSQL holds somewhat less than 1 GiB
VALUE = 500 * MIB  # twice this in hexadecimal, as a text row


@dataclass(slots=True)
class Peak:
    """The largest resident set seen, bytes."""

    seen: int = 0


def resident(pid: int) -> int:
    """Resident set of a process and its children, bytes, without pages of mapped files.

    Pages of the spool's mapping are the page cache's, and go when the kernel wants them.
    """
    return sum(memory.rss - memory.shared for memory in _all(pid))


def _all(pid: int) -> list[Any]:
    process = psutil.Process(pid)
    return [each.memory_info() for each in (process, *process.children(recursive=True))]


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """Sample the resident set every 20 ms."""
    peak, stop = Peak(resident(pid)), threading.Event()

    def sample() -> None:
        while not stop.wait(0.02):
            peak.seen = max(peak.seen, resident(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def measure(contestant: Contestant, idle: int) -> dict[str, float]:
    """MiB: at rest, with `idle` sessions, and how it grew while 1 GB passed in each manner."""
    assert contestant.pid is not None
    found = {"rest": resident(contestant.pid) / MIB}
    private, everything = _idle(contestant, idle)
    found[f"{idle} idle sessions"] = private / MIB
    found[f"{idle} idle sessions, mapped files and libraries too"] = everything / MIB
    for name, work in (
        ("row", _row),
        ("bind", _bind),
        ("copy out", _copy_out),
        ("copy in", _copy_in),
    ):
        before = resident(contestant.pid)
        with watched(contestant.pid) as peak:
            work(contestant)
        found[f"growth: 1 GB, {name}"] = (peak.seen - before) / MIB
    return {name: round(value, 1) for name, value in found.items()}


def _connect(contestant: Contestant) -> psycopg.Connection[tuple[object, ...]]:
    variables = contestant.variables(tls=False)
    return psycopg.connect(
        conninfo.make_conninfo(
            host=variables["PGHOST"],
            port=variables["PGPORT"],
            user=variables["PGUSER"],
            password=variables["PGPASSWORD"],
            dbname=variables["PGDATABASE"],
            sslmode="disable",
        ),
        autocommit=True,
    )


def _idle(contestant: Contestant, count: int) -> tuple[int, int]:
    assert contestant.pid is not None
    held = []
    try:
        for _ in range(count):
            conn = _connect(contestant)
            conn.execute("select 1")
            held.append(conn)
        time.sleep(2)
        return resident(contestant.pid), sum(memory.rss for memory in _all(contestant.pid))
    finally:
        for conn in held:
            conn.close()


def _row(contestant: Contestant) -> None:
    """One text value of 1 GB in a row, thrown away as it comes."""
    with _connect(contestant) as conn:
        conn.execute(f"select repeat('x', {GIGABYTE})")


def _bind(contestant: Contestant) -> None:
    """One bind value of 1 GB."""
    with _connect(contestant) as conn:
        result = conn.pgconn.exec_params(
            b"select length($1)", [b"x" * GIGABYTE], [17], [pq.Format.BINARY]
        )
        assert result.get_value(0, 0) == str(GIGABYTE).encode(), result.error_message


def _copy_out(contestant: Contestant) -> None:
    query = f"copy (select repeat('x', {MIB}) from generate_series(1, 1000)) to stdout"
    with _connect(contestant) as conn, conn.cursor().copy(query) as copy:
        received = sum(len(bytes(part)) for part in copy)
    assert received >= GIGABYTE, received


def _copy_in(contestant: Contestant) -> None:
    """1 GB in lines of 1 MiB, discarded by a WHERE that is false so that no disk is measured."""
    line = b"x" * (MIB - 1) + b"\n"
    with _connect(contestant) as conn:
        conn.execute("create temp table sink (t text)")
        with conn.cursor().copy("copy sink from stdin where false") as copy:
            for _ in range(1000):
                copy.write(line)
