"""kill -9 of the gateway at a random moment under load: the database ran nothing unrecorded.

The server's own log (log_statement=all) is the witness. Every statement carries a mark of its own,
in its text or as a bind value; each mark that the server logged must stand in what agents sent
according to the recordings, read after the gateway has started again and recovered them.

CHAPERON_KILLS sets how often (5; 50 by hand), CHAPERON_SEED the moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from tests.support.gateway import Gateway
from tests.support.servers import PostgresServer

from chaperon.recording.frame import Kind
from chaperon.recording.reader import RecordingReader
from chaperon.wire.commands import Direction

pytestmark = [pytest.mark.server, pytest.mark.slow]

KILLS = int(os.environ.get("CHAPERON_KILLS", "5"))
SEED = int(os.environ.get("CHAPERON_SEED", "20261123"))
WORKERS = ("simple", "extended", "prepared", "pipelined", "transactions")
_MARK = re.compile(rb"mark-\d+-[a-z]+-\d+-")
_CONNECT_TIMEOUT = "5"


class Load:
    """Clients that write marked rows until the gateway is gone."""

    def __init__(self, dsn: str, round_number: int) -> None:
        self.sent: Counter[str] = Counter()
        self._dsn = dsn
        self._round = round_number
        self._threads = [threading.Thread(target=self._work, args=(kind,)) for kind in WORKERS]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs although the gateway is gone"

    def _marks(self, kind: str) -> Iterator[str]:
        for number in range(10_000_000):
            yield f"mark-{self._round}-{kind}-{number}-"
            self.sent[kind] += 1  # and answered, but for what is still in a pipeline

    def _work(self, kind: str) -> None:
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(self._dsn, autocommit=True) as conn,
        ):
            marks = self._marks(kind)
            match kind:
                case "simple":
                    for mark in marks:
                        conn.execute(f"insert into killed values ('{mark}') /* {mark} */")
                case "extended":
                    for mark in marks:
                        conn.execute("insert into killed values (%s)", [mark], prepare=False)
                case "prepared":
                    for mark in marks:
                        conn.execute("insert into killed values (%s)", [mark], prepare=True)
                case "pipelined":
                    while True:
                        with conn.pipeline():
                            for _ in range(20):
                                conn.execute("insert into killed values (%s)", [next(marks)])
                case "transactions":
                    for mark in marks:
                        with conn.transaction():
                            conn.execute(f"insert into killed values ('{mark}')")
                case _:
                    raise AssertionError(kind)


def _executed(server: PostgresServer, offset: int) -> set[bytes]:
    """The marks that the server logged behind `offset`, once its sessions of agents have ended."""
    deadline = time.monotonic() + 20
    agents = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"
    while server.sql(agents) != "0":
        assert time.monotonic() < deadline, "the server still has sessions of a dead gateway"
        time.sleep(0.05)
    with server.log.open("rb") as log:
        log.seek(offset)
        return set(_MARK.findall(log.read()))


def _recorded(gateway: Gateway, number: int) -> set[bytes]:
    """The marks that agents sent, by the recordings, in round `number`."""
    found: set[bytes] = set()
    wanted = b"mark-%d-" % number
    for path in gateway.recordings():
        with RecordingReader(path) as reader:
            sent = b"".join(
                bytes(frame.payload)
                for frame in reader.read()
                if frame.kind == Kind.DATA and frame.direction == Direction.FROM_AGENT
            )
        found.update(mark for mark in _MARK.findall(sent) if mark.startswith(wanted))
    return found


def test_nothing_that_ran_is_unrecorded(pg18: PostgresServer) -> None:
    moments = random.Random(SEED)
    pg18.sql(
        "DROP TABLE IF EXISTS killed; CREATE TABLE killed (m text); GRANT ALL ON killed TO app"
    )
    gateway = Gateway.start(pg18, upstream={"tls": "disable"})
    total = 0
    try:
        token = gateway.token()
        for number in range(KILLS):
            offset = pg18.log.stat().st_size
            with Load(gateway.dsn(token, connect_timeout=_CONNECT_TIMEOUT), number) as load:
                deadline = time.monotonic() + 20
                while len(load.sent) < len(WORKERS):
                    assert time.monotonic() < deadline, f"idle clients: {load.sent}"
                    time.sleep(0.005)
                time.sleep(moments.uniform(0.0, 0.6))
                gateway.kill()
            executed = _executed(pg18, offset)
            gateway.serve()
            lost = executed - _recorded(gateway, number)
            assert not lost, (
                f"round {number}: {len(lost)} of {len(executed)} ran unrecorded: {lost}"
            )
            answered = load.sent.total() - load.sent["pipelined"]
            assert len(executed) >= answered, "the server's log is no witness"
            total += len(executed)
    finally:
        gateway.stop()
    print(f"{KILLS} kills, {total} statements, none unrecorded")
    assert total > KILLS * len(WORKERS)
