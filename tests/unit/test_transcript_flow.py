"""The decoder over conversations written by hand: what each of PostgreSQL's flows becomes."""

from __future__ import annotations

import json

import pytest
from tests.support.recordings import (
    BOUND,
    PARSED,
    SYNC,
    Frames,
    bind,
    complete,
    described,
    error,
    execute,
    message,
    parse,
    query,
    ready,
    recut,
    row,
)

from chaperon.protocols.postgres.transcript import Transcript
from chaperon.protocols.postgres.transcript_codec import TEXT_BOUND
from chaperon.recording.frame import Frame, Kind, json_payload
from chaperon.recording.transcript import (
    Began,
    Columns,
    Copied,
    Ended,
    Finished,
    Note,
    Outcome,
    Rows,
    Sent,
    TranscriptEvent,
    Value,
)
from chaperon.wire.commands import Direction

ALLOW = b'{"verdict":"allow","policies":["readers"],"facts":{"kinds":["select"]}}'
DENY = json.dumps(
    {
        "verdict": "deny",
        "policies": ["no-drop"],
        "denial": {"policy": "no-drop", "message": "Do not drop.", "remedy": "Ask."},
        "facts": {"kinds": ["drop"]},
    }
).encode()
CONNECT = b'{"verdict":"allow","policies":["in"],"asks":[{"action":"connect","path":[]}]}'


def decode(frames: Frames, size: int = 1 << 30) -> list[TranscriptEvent]:
    decoder = Transcript(rows=True)
    events = [event for frame in recut(frames.list, size) for event in decoder.feed(frame)]
    return events + list(decoder.finish())


def endings(events: list[TranscriptEvent]) -> list[tuple[int, str, str, Outcome]]:
    return [
        (e.statement.ordinal, e.statement.verb, e.statement.text, e.ending.outcome)
        for e in events
        if isinstance(e, Ended)
    ]


def ended(events: list[TranscriptEvent], ordinal: int) -> Ended:
    [found] = [e for e in events if isinstance(e, Ended) and e.statement.ordinal == ordinal]
    return found


def test_a_simple_query() -> None:
    frames = Frames()
    frames.target(message(b"S", b"client_encoding\0UTF8\0"), ready())
    frames.decide(ALLOW)
    frames.agent(query("SELECT a FROM t"))
    frames.target(described("a"), row(b"x"), row(None), complete("SELECT 2"), ready())
    events = decode(frames.close("bye"))
    assert isinstance(events[0], Began)
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "bye"
    [rows] = [e for e in events if isinstance(e, Rows)]
    assert rows.rows == ((Value("x", 1),), (Value(None, 0),))
    end = ended(events, 0)
    assert end.statement.verdict.policy == "readers"
    assert end.statement.verdict.facts == {"kinds": ["select"]}
    assert (end.ending.rows, end.ending.affected, end.ending.tag) == (2, 2, "SELECT 2")
    assert end.ending.first_row_ms == end.ending.total_ms == 1.0


def test_several_statements_in_one_query_give_their_results_in_order() -> None:
    frames = Frames().agent(query("SELECT 1; DELETE FROM t; SELECT 2"))
    frames.target(described("a"), row(b"1"), complete("SELECT 1"))
    frames.target(complete("DELETE 3"), described("b"), row(b"2"), complete("SELECT 1"), ready())
    events = decode(frames)
    assert [e.columns[0].name for e in events if isinstance(e, Columns)] == ["a", "b"]
    ending = ended(events, 0).ending
    assert (ending.tag, ending.rows, ending.affected) == ("SELECT 1; DELETE 3; SELECT 1", 2, 5)


def test_a_denied_query_is_denied_with_what_the_agent_saw() -> None:
    frames = Frames()
    frames.decide(DENY)
    frames.agent(query("DROP TABLE t")).target(error("42501", "Do not drop.", "Ask."), ready())
    end = ended(decode(frames), 0)
    assert end.ending.outcome is Outcome.DENIED
    assert end.statement.verdict.policy == "no-drop"
    assert end.ending.failure is not None
    assert (end.ending.failure.code, end.ending.failure.hint) == ("42501", "Ask.")


def test_the_decision_on_the_session_is_not_taken_for_the_first_statements() -> None:
    frames = Frames()
    frames.decide(CONNECT)
    first = frames.decide(ALLOW)
    frames.agent(query("SELECT 1")).target(complete("SELECT 0"), ready())
    frames.again(first).agent(query("SELECT 1")).target(complete("SELECT 0"), ready())
    events = decode(frames)
    assert [e.text for e in events if isinstance(e, Note)] == ["connect: allow"]
    assert [ended(events, n).statement.verdict.policy for n in (0, 1)] == ["readers", "readers"]


def test_a_prepared_statement_executed_many_times() -> None:
    frames = Frames()
    frames.agent(parse("SELECT $1", "s"), message(b"D", b"Ss\0"), SYNC)
    frames.target(
        PARSED, message(b"t", b"\0\1\0\0\0\x17"), described("v", oid=23, format_=0), ready()
    )
    first = frames.decide(ALLOW, len(bind(b"0", name="s")))
    for number in range(3):
        value = str(number).encode()
        if number:
            frames.again(first, len(bind(value, name="s")))
        frames.agent(bind(value, name="s"), execute(), SYNC)
        frames.target(BOUND, row(value), complete("SELECT 1"), ready())
    events = decode(frames)
    assert endings(events) == [(n, "execute", "SELECT $1", Outcome.COMPLETED) for n in range(3)]
    for number in range(3):
        statement = ended(events, number).statement
        assert statement.name == "s"
        assert statement.verdict.verdict == "allow"
        assert [(p.value.text, p.type) for p in statement.parameters] == [(str(number), "int4")]
    assert len([e for e in events if isinstance(e, Columns)]) == 3


def test_a_pipeline_behind_an_error_is_skipped_to_the_sync() -> None:
    frames = Frames()
    frames.agent(
        *(parse("INSERT 1"), bind(), execute()),
        *(parse("INSERT 2"), bind(), execute()),
        *(parse("INSERT 3"), bind(), execute()),
        SYNC,
        *(parse("SELECT 4"), bind(), execute(), SYNC),
    )
    frames.target(PARSED, BOUND, complete("INSERT 0 1"), PARSED, BOUND, error("23505", "double"))
    frames.target(ready(), PARSED, BOUND, complete("SELECT 0"), ready())
    assert endings(decode(frames)) == [
        (0, "execute", "INSERT 1", Outcome.COMPLETED),
        (1, "execute", "INSERT 2", Outcome.FAILED),
        (2, "execute", "INSERT 3", Outcome.SKIPPED),
        (3, "execute", "SELECT 4", Outcome.COMPLETED),
    ]


def test_an_error_at_parse_is_the_executions_and_is_told_once() -> None:
    frames = Frames().agent(parse("SELECT bogus"), bind(), execute(), SYNC)
    frames.target(error("42703", "no column"), ready())
    assert endings(decode(frames)) == [(0, "execute", "SELECT bogus", Outcome.FAILED)]


def test_a_parse_denied_before_the_rest_arrives_is_told_once() -> None:
    frames = Frames()
    frames.decide(DENY)
    frames.agent(parse("DROP TABLE t", "s")).target(error("42501", "Do not drop."))
    frames.agent(bind(name="s"), message(b"D", b"P\0"), execute(), SYNC).target(ready())
    frames.agent(bind(name="s"), execute(), SYNC).target(error("26000", "no statement"), ready())
    events = decode(frames)
    assert endings(events) == [
        (0, "parse", "DROP TABLE t", Outcome.DENIED),
        (1, "execute", "", Outcome.FAILED),
    ]
    assert ended(events, 1).statement.name == "s"


def test_an_execution_denied_at_bind_shows_its_values() -> None:
    frames = Frames().agent(parse("DELETE FROM t WHERE id = $1", "s"), SYNC).target(PARSED, ready())
    frames.decide(DENY)
    frames.agent(bind(b"7", name="s"), execute(), SYNC).target(error("42501", "no"), ready())
    end = ended(decode(frames), 0)
    assert end.ending.outcome is Outcome.DENIED
    assert [p.value.text for p in end.statement.parameters] == ["7"]


def test_a_failed_parse_does_not_replace_the_statement_of_its_name() -> None:
    frames = Frames().agent(parse("SELECT 1", "s"), SYNC).target(PARSED, ready())
    frames.agent(parse("SELECT 2", "s"), SYNC).target(error("42P05", "exists"), ready())
    frames.agent(bind(name="s"), execute(), SYNC).target(BOUND, complete("SELECT 1"), ready())
    assert endings(decode(frames)) == [
        (0, "parse", "SELECT 2", Outcome.FAILED),
        (1, "execute", "SELECT 1", Outcome.COMPLETED),
    ]


def test_a_row_limit_suspends_and_the_next_execute_goes_on() -> None:
    frames = Frames().agent(parse("SELECT n"), bind(), execute(limit=1), SYNC)
    frames.target(PARSED, BOUND, row(b"1"), message(b"s"), ready())
    frames.agent(execute(limit=1), SYNC).target(row(b"2"), complete("SELECT 1"), ready())
    assert [outcome for *_, outcome in endings(decode(frames))] == [
        Outcome.SUSPENDED,
        Outcome.COMPLETED,
    ]


def test_an_error_at_the_commit_of_a_sync_is_told() -> None:
    frames = Frames().agent(parse("INSERT"), bind(), execute(), SYNC)
    frames.target(PARSED, BOUND, complete("INSERT 0 1"), error("23503", "deferred"), ready())
    assert [(verb, outcome) for _, verb, _, outcome in endings(decode(frames))] == [
        ("execute", Outcome.COMPLETED),
        ("sync", Outcome.FAILED),
    ]


@pytest.mark.parametrize("extended", [False, True])
def test_copy_in(extended: bool) -> None:
    frames = Frames()
    if extended:
        frames.agent(parse("COPY t FROM STDIN"), bind(), execute(), SYNC)
        frames.target(PARSED, BOUND, message(b"G", b"\0\0\0"))
    else:
        frames.agent(query("COPY t FROM STDIN")).target(message(b"G", b"\0\0\0"))
    frames.agent(message(b"d", b"1\n2\n"), message(b"d", b"3\n"), message(b"c"))
    if extended:
        frames.agent(SYNC)
    frames.target(complete("COPY 3"), ready())
    frames.agent(query("SELECT 1")).target(complete("SELECT 1"), ready())
    events = decode(frames)
    end = ended(events, 0).ending
    assert (end.outcome, end.affected, end.size) == (Outcome.COMPLETED, 3, 6)
    assert b"".join(e.data for e in events if isinstance(e, Copied)) == b"1\n2\n3\n"
    assert ended(events, 1).statement.text == "SELECT 1"


def test_copy_in_that_fails_in_the_middle() -> None:
    frames = Frames().agent(query("COPY t FROM STDIN")).target(message(b"G", b"\0\0\0"))
    frames.agent(message(b"d", b"bad\n")).target(error("22P02", "bad"), ready())
    frames.agent(message(b"d", b"more\n"), message(b"c"), query("SELECT 1"))
    frames.target(complete("SELECT 1"), ready())
    assert [outcome for *_, outcome in endings(decode(frames))] == [
        Outcome.FAILED,
        Outcome.COMPLETED,
    ]


def test_copy_out() -> None:
    frames = Frames().agent(query("COPY t TO STDOUT")).target(message(b"H", b"\0\0\0"))
    frames.target(message(b"d", b"1\n"), message(b"d", b"2\n"), message(b"c"))
    frames.target(complete("COPY 2"), ready())
    end = ended(decode(frames), 0).ending
    assert (end.affected, end.size, end.rows) == (2, 4, 0)


def test_function_call() -> None:
    frames = Frames().agent(message(b"F", (1598).to_bytes(4, "big") + b"\0" * 6))
    frames.target(message(b"V", b"\0\0\0\1x"), ready())
    end = ended(decode(frames), 0)
    assert end.statement.verb == "call"
    assert "1598" in end.statement.text
    assert end.ending.rows == 1


def test_notices_notifications_events_and_gaps_are_told() -> None:
    frames = Frames().target(message(b"N", b"SNOTICE\0C00000\0Mhello\0\0"))
    frames.target(message(b"A", (7).to_bytes(4, "big") + b"ch\0load\0"))
    frames.target(error("57P01", "terminated by the administrator"))
    frames.add(Kind.EVENT, json_payload({"event": "cancel", "outcome": "sent"}))
    frames.add(Kind.GAP, json_payload({"reason": "torn", "from": 9}))
    notes = [e for e in decode(frames) if isinstance(e, Note)]
    assert [(n.kind, n.text) for n in notes] == [
        ("notice", "hello"),
        ("notification", "ch"),
        ("error", "terminated by the administrator"),
        ("event", "cancel"),
        ("gap", "torn"),
    ]
    assert notes[1].detail == {"payload": "load", "pid": 7}


def test_the_gateways_own_traffic_is_told_only_when_asked_for() -> None:
    frames = Frames()
    frames.add(Kind.DATA, query("SHOW search_path"), Direction.TO_TARGET)
    quiet, verbose = Transcript(), Transcript(verbose=True)
    assert [e for f in frames.list for e in quiet.feed(f) if isinstance(e, Note)] == []
    [note] = [e for f in frames.list for e in verbose.feed(f) if isinstance(e, Note)]
    assert note.kind == "gateway"


def test_a_statement_longer_than_what_is_kept_says_how_long_it_was() -> None:
    text = "SELECT '" + "x" * (TEXT_BOUND + 1000) + "'"
    frames = Frames().agent(query(text)).target(complete("SELECT 1"), ready())
    statement = ended(decode(frames, 100_000), 0).statement
    assert statement.cut
    assert statement.text_bytes == len(text)
    assert len(statement.text) <= TEXT_BOUND
    assert text.startswith(statement.text)


def test_a_large_row_keeps_its_beginning_and_its_size() -> None:
    big = b"y" * 500_000
    frames = Frames().agent(query("SELECT")).target(described("a", "b"), row(b"1", big))
    frames.target(complete("SELECT 1"), ready())
    events = decode(frames, 70_000)
    [rows] = [e for e in events if isinstance(e, Rows)]
    assert rows.rows[0][0] == Value("1", 1)
    assert (rows.rows[0][1].size, rows.rows[0][1].cut) == (500_000, True)
    assert ended(events, 0).ending.size == 2 + 4 + 1 + 4 + len(big)


def test_a_session_that_ends_leaves_unfinished_statements() -> None:
    frames = Frames().agent(query("SELECT pg_sleep(9)")).close("killed")
    assert endings(decode(frames)) == [(0, "query", "SELECT pg_sleep(9)", Outcome.UNFINISHED)]
    frames = Frames().agent(query("SELECT pg_sleep(9)"))
    assert endings(decode(frames)) == [(0, "query", "SELECT pg_sleep(9)", Outcome.UNFINISHED)]


def test_bytes_that_are_no_messages_are_told_once_and_the_other_side_goes_on() -> None:
    frames = Frames().agent(query("SELECT 1")).agent(b"\xff\xff\xff\xff\xff\xff").agent(b"more")
    frames.target(complete("SELECT 1"), ready())
    events = decode(frames)
    assert [e.kind for e in events if isinstance(e, Note)] == ["damage"]
    assert endings(events) == [(0, "query", "SELECT 1", Outcome.COMPLETED)]


def test_a_decision_frame_that_cannot_be_read_is_damage() -> None:
    frames = Frames()
    frames.again(99)
    frames.add(Kind.DECISION, b"\0")
    frames.add(Kind.CLOSE, b"not json")
    assert [e.kind for e in decode(frames) if isinstance(e, Note)] == ["damage"] * 3


def test_client_encoding_is_followed() -> None:
    frames = Frames().target(message(b"S", b"client_encoding\0LATIN1\0"))
    frames.agent(message(b"Q", "SELECT 'ä'".encode("latin-1") + b"\0"))
    [sent] = [e for e in decode(frames) if isinstance(e, Sent)]
    assert sent.statement.text == "SELECT 'ä'"


@pytest.mark.parametrize("size", [1, 2, 5, 7, 100])
def test_however_the_frames_are_cut_the_statements_are_the_same(size: int) -> None:
    frames = Frames().agent(parse("SELECT $1", "s"), bind(b"v", name="s"), execute(), SYNC)
    frames.target(PARSED, BOUND, row(b"v"), complete("SELECT 1"), ready())
    frames.agent(query("SELECT 2")).target(described("a"), row(b"2"), error("XX000", "x"), ready())

    def statements(cut: list[Frame]) -> list[object]:
        decoder = Transcript()
        found = [e for f in cut for e in decoder.feed(f) if isinstance(e, Ended)]
        return [(e.statement, e.ending.rows, e.ending.size, e.ending.failure) for e in found]

    assert statements(recut(frames.list, size)) == statements(frames.list)


def test_what_stands_in_front_of_damage_in_one_read_is_not_lost() -> None:
    frames = Frames().agent(query("DROP TABLE t") + b"\xff\xff\xff\xff\xff")
    assert [text for _, _, text, _ in endings(decode(frames))] == ["DROP TABLE t"]
