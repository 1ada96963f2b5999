"""The decoder on the bytes of real clients and a real server."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psycopg
import pytest
from tests.support.recording_relay import recording_relay
from tests.support.recordings import recut
from tests.support.servers import PostgresServer

from chaperon.protocols.postgres.transcript import Transcript
from chaperon.recording.place import find_recording
from chaperon.recording.reader import frames
from chaperon.recording.transcript import (
    Copied,
    Ended,
    Note,
    Outcome,
    Rows,
    Sent,
    TranscriptEvent,
)

pytestmark = pytest.mark.server


@dataclass
class Told:
    events: list[TranscriptEvent]

    @property
    def ends(self) -> list[Ended]:
        return sorted(
            (e for e in self.events if isinstance(e, Ended)), key=lambda e: e.statement.ordinal
        )

    def of(self, part: str) -> list[Ended]:
        return [e for e in self.ends if part in e.statement.text]

    def rows(self, ordinal: int) -> list[list[str | None]]:
        return [
            [value.text for value in row]
            for e in self.events
            if isinstance(e, Rows) and e.ordinal == ordinal
            for row in e.rows
        ]


def told(path: Path | None, size: int = 1 << 30) -> Told:
    assert path is not None
    decoder = Transcript(rows=True)
    events = [e for f in recut(frames(path), size) for e in decoder.feed(f)]
    assert decoder.finish() == []
    found = Told(events)
    assert not [e for e in events if isinstance(e, Note) and e.kind == "damage"]
    assert len(found.ends) == len([e for e in events if isinstance(e, Sent)])
    assert all(e.ending.outcome is not Outcome.UNFINISHED for e in found.ends)
    return found


def _psycopg(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        run = connection.execute
        run("CREATE TABLE real_t (id int PRIMARY KEY, name text, amount numeric(10,2))")
        run("INSERT INTO real_t VALUES (%s, %s, %s)", (1, "äöü", 12.5))
        with connection.cursor().copy("COPY real_t FROM STDIN") as copy:
            for number in range(2, 1000):
                copy.write_row((number, f"n{number}", number / 4))
        with connection.cursor().copy("COPY (TABLE real_t) TO STDOUT") as copy:
            assert len(list(copy.rows())) == 999
        with connection.pipeline():
            for number in range(20):
                run("SELECT id, name FROM real_t WHERE id = %s", (number + 1,), prepare=True)
        with pytest.raises(psycopg.Error):
            run("SELECT 1/0")
        with pytest.raises(psycopg.Error):
            _failing_pipeline(connection)
        run("SELECT 'all is well'", prepare=True)
        psycopg.ClientCursor(connection).execute("SELECT 1; SELECT 2, 3; DELETE FROM real_t")
        run("LISTEN channel_a")
        run("NOTIFY channel_a, 'payload'")
        run("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
        with connection.transaction(), connection.cursor("named") as cursor:
            cursor.execute("SELECT generate_series(1, 10)")
            assert len(cursor.fetchmany(3)) == 3
        with (
            pytest.raises(psycopg.Error),
            connection.cursor().copy("COPY real_t FROM STDIN") as copy,
        ):
            copy.write("not a number\tx\t1\n")


def _failing_pipeline(connection: psycopg.Connection) -> None:
    with connection.pipeline():
        connection.execute("SELECT 'before'")
        connection.execute("SELECT bogus FROM real_t")
        connection.execute("SELECT 'after'")


async def _asyncpg(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.fetch(
            "SELECT $1::int8 AS a, 1.50::numeric AS b, ARRAY['x','y z'] AS c, NULL AS d, "
            "TIMESTAMP '2026-01-02 03:04:05.6' AS e, TRUE AS f, INTERVAL '1 mon 2 days' AS g",
            5,
        )
        statement = await connection.prepare("SELECT $1::int + 1 AS s")
        for number in range(5):
            assert await statement.fetch(number)
        async with connection.transaction():
            cursor = await connection.cursor("SELECT generate_series(1, 5) AS n")
            await cursor.fetch(2)
            await cursor.fetch(2)
        await connection.executemany(
            "INSERT INTO real_t VALUES ($1, 'x', 1)", [(n,) for n in range(10)]
        )
        await connection.copy_to_table("real_t", source=io.BytesIO(b"5000\tx\t1\n"))
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def paths(
    pg18: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path | None, ...]:
    data = tmp_path_factory.mktemp("real")
    with recording_relay(data, pg18.port) as relay:
        dsn = pg18.dsn().replace(f":{pg18.port}/", f":{relay.port}/")
        _psycopg(dsn)
        asyncio.run(_asyncpg(dsn))
    return tuple(find_recording(data, session) for session in relay.sessions)


def test_psycopg(paths: tuple[Path | None, ...]) -> None:
    found = told(paths[0])
    [insert] = found.of("INSERT INTO real_t")
    assert [p.value.text for p in insert.statement.parameters] == ["1", "äöü", "12.5"]
    assert insert.statement.verdict.verdict == "allow"
    copied = [e for e in found.of("COPY real_t") if e.ending.outcome is Outcome.COMPLETED]
    assert copied[0].ending.affected == 998
    [out] = found.of("TO STDOUT")
    assert (out.ending.affected, out.ending.rows) == (999, 0)
    shown = [e for e in found.events if isinstance(e, Copied) and not e.from_agent]
    assert sum(e.size for e in shown) == out.ending.size
    pipelined = found.of("SELECT id, name")
    assert [found.rows(e.statement.ordinal)[0][0] for e in pipelined] == [
        str(n) for n in range(1, 21)
    ]
    outcomes = [
        found.of(part)[0].ending.outcome.value for part in ("1/0", "'before'", "bogus", "'after'")
    ]
    assert outcomes == ["failed", "completed", "failed", "skipped"]
    [several] = found.of("SELECT 1; SELECT 2, 3")
    assert several.ending.tag == "SELECT 1; SELECT 1; DELETE 999"
    notes = {(e.kind, e.text) for e in found.events if isinstance(e, Note)}
    assert {("notification", "channel_a"), ("notice", "hello")} <= notes
    [failed] = [e for e in found.of("COPY real_t") if e.ending.outcome is Outcome.FAILED]
    assert failed.ending.failure is not None
    assert failed.ending.failure.code == "22P02"


def test_asyncpg(paths: tuple[Path | None, ...]) -> None:
    found = told(paths[1])
    [values] = found.of("$1::int8")
    assert found.rows(values.statement.ordinal) == [
        ["5", "1.50", '{x,"y z"}', None, "2026-01-02 03:04:05.600000", "t", "1 mons 2 days"]
    ]
    assert [p.type for p in values.statement.parameters] == ["int8"]
    again = found.of("$1::int + 1")
    assert [found.rows(e.statement.ordinal) for e in again] == [[[str(n)]] for n in range(1, 6)]
    fetched = found.of("generate_series")
    assert [e.ending.outcome for e in fetched] == [Outcome.SUSPENDED, Outcome.SUSPENDED]
    assert len(found.of("INSERT INTO real_t")) == 10


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_same_statements_however_the_frames_are_cut(
    paths: tuple[Path | None, ...], size: int
) -> None:
    for path in paths:
        whole, cut = told(path), told(path, size)
        for one, other in zip(whole.ends, cut.ends, strict=True):
            assert one.statement == other.statement
            assert (one.ending.outcome, one.ending.rows, one.ending.size) == (
                other.ending.outcome,
                other.ending.rows,
                other.ending.size,
            )
