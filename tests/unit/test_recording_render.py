"""A replay as lines and as JSON: what is told, how it is paced, and that it drives no terminal."""

from __future__ import annotations

import json

from tests.support.recordings import (
    BOUND,
    PARSED,
    SYNC,
    WALL,
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
    row,
)

from chaperon.cli.output import Style
from chaperon.cli.render import Line, Lines, event_json, paced
from chaperon.protocols.postgres.transcript import Transcript

DENY = b'{"verdict":"deny","denial":{"policy":"no-drop","message":"Do not drop."}}'


def lines(frames: Frames, width: int | None = None) -> list[Line]:
    renderer = Lines(width)
    events = (paced.event for paced in paced(frames.list, Transcript(rows=True)))
    return [line for event in events for line in renderer.of(event)]


def text(frames: Frames, width: int | None = None) -> list[str]:
    return ["".join(span.text for span in line).rstrip() for line in lines(frames, width)]


def test_a_result_is_a_table() -> None:
    frames = Frames().agent(query("SELECT id, name FROM t"))
    frames.target(
        described("id", "name"),
        row(b"1", "ä東".encode()),
        row(b"22", None),
        complete("SELECT 2"),
        ready(),
    )
    shown = text(frames.close("over"))
    assert shown[0].startswith("ci-bot on orders  postgres from 127.0.0.1:9, 20")
    assert shown[2].endswith("#0  SELECT id, name FROM t")
    assert shown[3:8] == [
        "      id  name",
        "      --  ----",
        "      1   ä東",
        "      22  NULL",
        "      (2 rows)",
    ]
    assert shown[8] == "      1.0 ms, 28 B"
    assert shown[-1].endswith("session ended: over")


def test_numbers_are_set_right_and_an_empty_result_has_its_head() -> None:
    frames = Frames().agent(query("SELECT n")).target(described("number", oid=23), row(b"1"))
    frames.target(complete("SELECT 1"), ready())
    frames.agent(query("SELECT none")).target(described("number"), complete("SELECT 0"), ready())
    shown = text(frames)
    assert "           1" in shown
    assert shown.count("      number") == 2
    assert "      (0 rows)" in shown


def test_a_denied_statement_stands_out() -> None:
    frames = Frames()
    frames.decide(DENY)
    frames.agent(query("DROP TABLE t"))
    frames.target(error("42501", "Do not drop.", "Ask the owner."), ready())
    found = lines(frames)
    red = [
        "".join(s.text for s in line) for line in found if any(s.style is Style.RED for s in line)
    ]
    assert len(red) == 2
    assert red[0].endswith("DROP TABLE t")
    assert red[1] == "      DENIED by no-drop: Do not drop."
    assert "      hint: Ask the owner." in text(frames)


def test_parameters_errors_and_skipped_statements() -> None:
    frames = Frames().agent(parse("SELECT $1"), bind(b"x", None), execute())
    frames.agent(parse("SELECT 2"), bind(), execute(), SYNC)
    frames.target(PARSED, BOUND, error("22012", "division by zero"), ready())
    shown = text(frames)
    assert "      $1 = x" in shown
    assert "      $2 = NULL" in shown
    assert "      ERROR 22012: division by zero" in shown
    assert "      skipped: an earlier statement of its pipeline failed" in shown
    assert shown.count("      #0:") == 1


def test_recorded_text_cannot_drive_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\r\x9b31m"
    frames = Frames({"principal": evil, "resource": evil, "protocol": evil, "peer": evil})
    frames.decide(b'{"verdict":"deny","denial":{"policy":"p","message":"\\u001b[1m"}}')
    frames.agent(query(f"SELECT '{evil}'\n-- {evil}"))
    frames.target(error(evil, evil, evil), ready())
    frames.agent(parse("SELECT $1"), bind(evil.encode()), execute(), SYNC)
    frames.target(PARSED, BOUND, described(evil), row(evil.encode()), complete(evil), ready())
    frames.agent(query("COPY")).target(message(b"H", b"\0\0\0"), message(b"d", evil.encode()))
    frames.target(message(b"N", b"M" + evil.encode() + b"\0\0"))
    frames.target(message(b"A", b"\0\0\0\1" + evil.encode() + b"\0" + evil.encode() + b"\0"))
    for line in lines(frames.close(evil), width=200):
        for span in line:
            assert span.text.isprintable(), span.text
            assert "\u202e" not in span.text


def test_lines_are_cut_to_the_width() -> None:
    frames = Frames().agent(query("SELECT")).target(described("a", "b", "c"))
    frames.target(row(b"x" * 50, b"y" * 50, b"z" * 300), complete("SELECT 1"), ready())
    table = [line for line in text(frames, width=80) if "x" * 50 in line]
    assert len(table) == 1
    assert len(table[0]) == 80
    assert table[0].endswith("…")
    [whole] = [line for line in text(frames) if "x" * 50 in line]
    assert whole.endswith("z" * 59 + "…")


def test_a_long_statement_is_shown_from_its_beginning() -> None:
    frames = Frames().agent(query("\n" + "SELECT\n" * 100))
    shown = text(frames)
    assert "      … 60 more lines" in shown
    assert shown[2].endswith("SELECT")


def test_pacing_follows_the_recorded_times() -> None:
    frames = Frames().agent(query("SELECT 1"))
    frames.list[-1] = frames.list[-1]._replace(mono_ns=3_000_000_000)
    frames.target(complete("SELECT 1"), ready())
    frames.list[-1] = frames.list[-1]._replace(mono_ns=5_000_000_000)
    waits = [round(p.wait, 3) for p in paced(frames.list, Transcript(), speed=2.0) if p.wait]
    assert waits == [1.5, 1.0]
    assert all(p.wait == 0 for p in paced(frames.list, Transcript()))


def test_beginning_in_the_middle_leaves_out_what_was_before() -> None:
    frames = Frames().agent(query("SELECT 'early'")).target(complete("SELECT 1"), ready())
    frames.agent(query("SELECT 'across'"))
    frames.target(complete("SELECT 1"), ready()).close()
    start = frames.list[4].wall_ns
    assert start > WALL
    events = [p.event for p in paced(frames.list, Transcript(), start_ns=start)]
    shown = ["".join(s.text for s in line) for e in events for line in (Lines().of(e))]
    assert not any("early" in line for line in shown)
    renderer = Lines()
    told = ["".join(s.text for s in line) for e in events for line in renderer.of(e)]
    assert sum("SELECT 'across'" in line for line in told) == 1
    assert told[0].startswith("ci-bot on orders")


def test_every_event_is_json() -> None:
    frames = Frames().agent(parse("SELECT $1"), bind(b"\xff", None), execute(), SYNC)
    frames.target(PARSED, BOUND, described("a"), row(b"1"), complete("SELECT 1"), ready())
    frames.agent(query("COPY")).target(message(b"H", b"\0\0\0"), message(b"d", b"\xff\n"))
    frames.target(message(b"N", b"Mhello\0\0")).close("over")
    events = [
        json.loads(json.dumps(event_json(p.event)))
        for p in paced(frames.list, Transcript(rows=True))
    ]
    kinds = [event["event"] for event in events]
    assert kinds == [
        "began",
        "sent",
        "columns",
        "rows",
        "result_ended",
        "ended",
        "sent",
        "copied",
        "note",
        "ended",
        "finished",
    ]
    assert events[1]["statement"]["parameters"][1]["value"] == {"value": None, "size": 0}
    assert events[3]["rows"] == [[{"value": "1", "size": 1}]]
    assert events[5]["ending"]["outcome"] == "completed"
    assert events[7]["data"] == "\\xff\n"
