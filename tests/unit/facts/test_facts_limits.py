"""No text crashes or stalls the process; large ones are read by the helper."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time

import pytest

from chaperon.facts import codec
from chaperon.facts.helper import Helper
from chaperon.facts.sql import read_statement

NUL, LONE = "select 1\0; drop table x", "select '\ud800'"

HOSTILE = {
    "21,700 terms": "select 1" + "+1" * 21_700,
    "1 MB of terms": "select 1" + "+1" * 500_000,
    "deep parentheses": "select " + "(" * 9_000 + "1" + ")" * 9_000,
    "deep calls": "select " + "f(" * 6_000 + "1" + ")" * 6_000,
    "deep selects": "select (" * 2_000 + "select 1" + ")" * 2_000,
    "a long IN list": "select 1 in (1" + ",1" * 500_000 + ")",
    "an AND chain": "delete from t where a" + " and a" * 100_000,
    "UNION branches": "select 1" + " union select 1" * 5_000,
    "NOT NOT NOT": "select " + "not " * 200_000 + "true",
    "casts": "select 1" + "::int" * 50_000,
    "a padding comment": "/*" + "x" * 9 * 1024 * 1024 + "*/ drop table x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_put_aside_at_once(name: str) -> None:
    text = HOSTILE[name]
    started = time.perf_counter()
    facts = read_statement(text)
    assert time.perf_counter() - started < 0.25
    assert facts.large
    assert facts.unknown


SHAPES = {
    "terms": ("select 1", "+1", ""),
    "in": ("select 1 in (1", ",1", ")"),
    "and": ("select * from t where a", " and a", ""),
    "not": ("select ", "not ", "a"),
    "negation": ("select ", "- ", "a"),
    "union": ("table a", " union table a", ""),
    "cast": ("select 1", "::t", ""),
    "field": ("select a", ".a", ""),
    "join": ("select from a", ",a", ""),
    "statements": ("select", ";select", ""),
    "values": ("values(1)", ",(1)", ""),
    "or": ("delete from t where a=1", " or a=1", ""),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_largest_text_read_here_takes_milliseconds(name: str) -> None:
    head, unit, tail = SHAPES[name]
    text = head + unit * ((16_384 - len(head) - len(tail)) // len(unit)) + tail
    best = 1.0
    for _ in range(3):
        started = time.perf_counter()
        read_statement(text)
        best = min(best, time.perf_counter() - started)
    assert best < 0.1  # some 10 ms; the machine may be busy


def test_nul_and_invalid_text_are_unknown() -> None:
    assert "NUL" in read_statement(NUL).reasons[0]
    assert "UTF-8" in read_statement(LONE).reasons[0]


@pytest.mark.parametrize(
    "sql", ["select 1", "prepare p as delete from a.b where id = $1", "fetch c; close all", "selec"]
)
def test_facts_pass_the_pipe_unchanged(sql: str) -> None:
    facts = read_statement(sql)
    assert codec.decode(codec.encode(facts)) == facts


def test_a_malformed_answer_is_refused() -> None:
    for data in (b"", b"[]", b"{}", json.dumps({"statements": [1]}).encode(), b"\xff"):
        with pytest.raises(ValueError, match=r".+"):
            codec.decode(data)


def test_the_helper_reads_what_the_process_does_not() -> None:
    async def scenario() -> None:
        helper = Helper()
        try:
            many = "select * from t where id in (1" + ",1" * 20_000 + ")"
            facts = await helper.read_large(many)
            assert not facts.unknown
            assert facts.statements[0].kinds == {"select"}
            padded = await helper.read_large(HOSTILE["a padding comment"])
            assert padded.statements[0].kinds == {"drop"}
            assert await helper.read_large("select 1") == read_statement("select 1")
            assert (await helper.read_large(NUL)).unknown
            assert (await helper.read_large(LONE)).unknown
            assert (await helper.read_large("x" * (17 * 1024 * 1024))).unknown
        finally:
            await helper.close()
        assert (await helper.read_large("select 1")).unknown

    asyncio.run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_the_helper_survives_or_is_replaced(name: str) -> None:
    async def scenario() -> None:
        helper = Helper()
        started = time.perf_counter()
        facts = await helper.read_large(HOSTILE[name])
        assert time.perf_counter() - started < 8
        assert facts.unknown or facts.statements
        assert not (await helper.read_large("select 1")).unknown
        await helper.close()

    asyncio.run(scenario())


def test_a_helper_that_dies_is_replaced_and_one_that_hangs_is_ended() -> None:
    async def scenario() -> None:
        helper = Helper(seconds=1.0)
        assert not (await helper.read_large("select 1")).unknown
        [child] = helper._idle
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        assert not (await helper.read_large("select 1")).unknown
        [child] = helper._idle
        os.kill(child.pid, signal.SIGSTOP)
        started = time.perf_counter()
        hung = await helper.read_large("alter role r password 'canary'")
        assert 0.9 < time.perf_counter() - started < 5
        assert "too long" in hung.reasons[0]
        assert hung.secrets
        assert child.returncode is not None
        assert not (await helper.read_large("select 1")).unknown
        await helper.close()

    asyncio.run(scenario())


def test_reading_does_not_block_the_loop_and_is_bounded() -> None:
    async def scenario() -> None:
        helper = Helper(size=1)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticking = asyncio.create_task(tick())
        text = "select 1" + "+1" * 20_000
        results = await asyncio.gather(*(helper.read_large(text) for _ in range(3)))
        ticking.cancel()
        assert all(not facts.unknown for facts in results)
        assert ticks > 10
        assert len(helper._idle) == 1
        await helper.close()

    asyncio.run(scenario())
