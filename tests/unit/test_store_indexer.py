"""The index: filled while sessions live, made again from recordings with the same rows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.recordings import (
    META,
    WALL,
    Frames,
    complete,
    described,
    error,
    query,
    ready,
    row,
)

from chaperon.recording.frame import Kind
from chaperon.recording.place import finish
from chaperon.recording.recorder import Recorder
from chaperon.recording.service import RecordingService
from chaperon.runtime import indexed
from chaperon.runtime.indexer import Indexer, rebuild
from chaperon.store import SessionRow, StatementRow, Store
from chaperon.wire.commands import Mark
from chaperon.wire.permit import Denial, Permit

Rows = tuple[list[SessionRow], list[list[StatementRow]]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexed, "PATIENCE_SECONDS", 0.0)


def conversation(statements: int) -> Frames:
    frames = Frames()
    for number in range(statements):
        frames.agent(query(f"SELECT {number}"))
        frames.target(described("a"), row(b"1"), complete("SELECT 1"), ready())
    return frames


def everything(store: Store) -> Rows:
    sessions = store.sessions(limit=1000)
    return sessions, [store.statements(s.id, limit=100_000) for s in sessions]


def test_what_the_indexer_saw_piece_by_piece_is_what_a_rebuild_gives(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    frames = conversation(5)
    frames.agent(query("SELECT 'unfinished'"))
    whole = frames.close().bytes()
    path = tmp_path / "spool" / f"{frames.session}.rec"
    path.parent.mkdir()
    path.write_bytes(b"")
    indexer = Indexer(tmp_path, store)
    for cut in (0, 10, 32, *[frame.offset + 17 for frame in frames.list]):
        path.write_bytes(whole[:cut].ljust(len(whole) + 4096, b"\0"))
        indexer.step()
    live = store.session(frames.session)
    assert live is not None
    assert (live.complete, live.ended_ns, live.path) == (False, None, f"spool/{path.name}")
    path.write_bytes(whole)
    finished = finish(tmp_path, path)
    assert indexer.step()
    assert not indexer.step()
    indexer.close()

    seen = everything(store)
    [session] = seen[0]
    assert (session.principal, session.statements, session.complete) == ("ci-bot", 6, True)
    assert session.path == str(finished.relative_to(tmp_path))
    assert [s.outcome for s in seen[1][0]] == ["completed"] * 5 + ["unfinished"]
    assert rebuild(tmp_path, store) == 1
    assert everything(store) == seen


def test_many_recordings_rebuilt_with_progress(tmp_path: Path) -> None:
    for number in range(30):
        conversation(number * 20).close().write(tmp_path / "recordings" / "2026" / "11" / "23")
    damaged = conversation(3).close()
    broken = bytearray(damaged.bytes())
    broken[damaged.list[4].offset + 40] ^= 1
    (tmp_path / "corrupt").mkdir()
    (tmp_path / "corrupt" / f"{damaged.session}.rec").write_bytes(broken)
    store = Store.open(tmp_path)
    told: list[tuple[int, int]] = []
    assert rebuild(tmp_path, store, lambda done, of: told.append((done, of))) == 31
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    first = everything(store)
    assert sum(len(statements) for statements in first[1]) == sum(n * 20 for n in range(30)) + 2
    corrupt = store.session(damaged.session)
    assert corrupt is not None
    assert corrupt.damage.startswith(f"byte {damaged.list[4].offset}: ")
    assert corrupt.path == f"corrupt/{damaged.session}.rec"

    other = Store.open(_folder(tmp_path / "other"))
    os.symlink(tmp_path / "recordings", tmp_path / "other" / "recordings")
    os.symlink(tmp_path / "corrupt", tmp_path / "other" / "corrupt")
    indexer = Indexer(tmp_path / "other", other)
    while indexer.step():
        pass
    assert everything(other) == first


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_session_too_short_to_be_seen_live_is_found(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    indexer = Indexer(tmp_path, store)
    service = RecordingService(tmp_path, 0)
    service.start()
    recorder = service.open(META, lambda reason: None)
    recorder.forward((), query("SELECT 1"))
    recorder.reply(complete("SELECT 1") + ready())
    service.close(recorder, "over")
    service.stop()
    assert not recorder.path.exists()
    assert indexer.step()
    session = store.session(recorder.session)
    assert session is not None
    assert (session.statements, session.reason) == (1, "over")


def test_verdicts_values_and_errors_are_in_the_rows(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    service = RecordingService(tmp_path, 0)
    service.start()
    recorder = service.open(META, lambda reason: None)
    denial = Denial(
        "no-drop",
        "Do not.",
        "Ask.",
        b'{"verdict":"deny","denial":{"policy":"no-drop","message":"Do not."},"facts":{"k":1}}',
    )
    permit = Permit._issue(b'{"verdict":"allow","policies":["p1","p2"],"facts":{"k":2}}', None)
    text = query("DROP TABLE t")
    recorder.record(0, text, (Mark(denial, 0),))
    recorder.reply(error("42501", "Do not.") + ready())
    recorder.forward((Mark(permit, len(text)),), query("SELECT 2"))
    recorder.reply(described("a") + row(b"22") + complete("SELECT 1") + ready())
    service.close(recorder, "over")
    service.stop()
    rebuild(tmp_path, store)
    dropped, selected = store.statements(recorder.session)
    assert (dropped.verdict, dropped.policy, dropped.message) == ("deny", "no-drop", "Do not.")
    assert (dropped.outcome, dropped.error_code, dropped.facts) == ("denied", "42501", {"k": 1})
    assert (selected.verdict, selected.policy, selected.rows) == ("allow", "p1, p2", 1)
    assert selected.total_ms is not None
    session = store.session(recorder.session)
    assert session is not None
    assert (session.denied, session.failed, session.policy_hash) == (1, 0, "abc")


def test_an_unknown_protocol_has_a_session_without_statements(tmp_path: Path) -> None:
    frames = Frames({**META, "protocol": "gopher"}).agent(b"hello").close("over")
    frames.write(tmp_path / "recordings" / "2026" / "01" / "01")
    store = Store.open(tmp_path)
    rebuild(tmp_path, store)
    session = store.session(frames.session)
    assert session is not None
    assert (session.protocol, session.statements, session.complete) == ("gopher", 0, True)
    assert session.started_ns == WALL


def test_a_recording_without_a_close_is_told_as_damaged(tmp_path: Path) -> None:
    frames = conversation(1)
    frames.add(Kind.DATA, b"", 7)
    frames.write(tmp_path / "recordings" / "2026" / "01" / "01")
    store = Store.open(tmp_path)
    rebuild(tmp_path, store)
    session = store.session(frames.session)
    assert session is not None
    assert "without a CLOSE" in session.damage


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def test_the_process_follows_and_ends_when_told(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    service = RecordingService(tmp_path, 0)
    service.start()
    process = subprocess.Popen(
        [sys.executable, "-m", "chaperon.runtime.indexer", str(tmp_path), str(os.getpid())],
        stdin=subprocess.DEVNULL,
    )
    try:
        recorder: Recorder = service.open(META, lambda reason: None)
        _until(lambda: store.session(recorder.session) is not None)
        recorder.forward((), query("SELECT 1"))
        recorder.reply(complete("SELECT 1") + ready())
        _until(lambda: len(store.statements(recorder.session)) == 1)
        service.close(recorder, "over")
        service.stop()
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    session = store.session(recorder.session)
    assert session is not None
    assert session.reason == "over"


_PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "chaperon.runtime.indexer", sys.argv[1],
                          sys.argv[2] or str(os.getpid())],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("gone_before", [False, True])
def test_the_process_ends_when_its_parent_goes(tmp_path: Path, gone_before: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path), "1" if gone_before else ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if not gone_before:
        _until((tmp_path / "chaperon.db").exists)
        time.sleep(0.3)
        parent.kill()
        parent.wait()

    def gone() -> bool:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"

    _until(gone)
    parent.kill()
    parent.wait()


def test_statement_rows_are_plain_values() -> None:
    assert replace(SessionRow("a", "p", "q", "r", "s", 1), meta={}).meta == {}
    with pytest.raises(AttributeError):
        SessionRow("a", "p", "q", "r", "s", 1).id = "b"  # type: ignore[misc] # frozen
