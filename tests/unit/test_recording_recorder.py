"""The recorder: what it writes for what it is told, and that a failure is for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaperon.recording.frame import Frame, Kind, new_session_id, read_decision, read_json
from chaperon.recording.reader import frames
from chaperon.recording.recorder import KNOWN_DECISIONS, Recorder
from chaperon.wire.commands import Direction, Mark
from chaperon.wire.errors import RecordingFailed
from chaperon.wire.permit import Denial, Permit


class Touched:
    def __init__(self) -> None:
        self.recorders: list[Recorder] = []

    def touched(self, recorder: Recorder) -> None:
        self.recorders.append(recorder)


def recorder(folder: Path) -> tuple[Recorder, Touched]:
    touched = Touched()
    session = new_session_id()
    made = Recorder(folder / f"{session}.rec", session, touched)
    made.open({"session": session})
    return made, touched


def written(of: Recorder) -> list[Frame]:
    return list(frames(of.path))


def permit(evidence: bytes = b'{"verdict":"allow"}') -> Permit:
    return Permit._issue(evidence, None)


def test_a_decision_is_written_whole_once_and_then_referred_to(tmp_path: Path) -> None:
    made, _ = recorder(tmp_path)
    allowed = permit()
    refused = Denial("p", "m", "r", b'{"verdict":"deny"}')
    made.forward((Mark(allowed, 0),), b"one")
    made.forward((Mark(allowed, 3),), memoryview(b"two"))
    made.forward((Mark(allowed, 6), Mark(refused, 8)), b"three")
    made.record(Direction.FROM_AGENT, b"four", (Mark(refused, 11),))
    decisions = [(f.sequence, read_decision(f.payload)) for f in written(made) if f.kind == 3]
    assert [tuple(d) for _, d in decisions] == [
        (0, allowed.evidence, 0),
        (3, None, 1),
        (6, None, 1),
        (8, refused.evidence, 0),
        (11, None, decisions[3][0]),
    ]
    data = [f.payload for f in written(made) if f.kind == Kind.DATA]
    assert data == [b"one", b"two", b"three", b"four"]


def test_equal_permits_are_two_decisions(tmp_path: Path) -> None:
    made, _ = recorder(tmp_path)
    for _ in range(2):
        made.forward((Mark(permit(), 0),), b"x")
    assert [read_decision(f.payload).repeats for f in written(made) if f.kind == 3] == [0, 0]


def test_what_is_remembered_of_decisions_is_bounded(tmp_path: Path) -> None:
    made, _ = recorder(tmp_path)
    permits = [permit() for _ in range(KNOWN_DECISIONS + 1)]
    for one in permits:
        made.forward((Mark(one, 0),), b"")
    made.forward((Mark(permits[-1], 0),), b"")
    made.forward((Mark(permits[0], 0),), b"")
    last, first = [read_decision(f.payload) for f in written(made) if f.kind == 3][-2:]
    assert last.evidence is None
    assert first.evidence is not None


def test_directions_and_large_payloads(tmp_path: Path) -> None:
    made, _ = recorder(tmp_path)
    large = bytes(range(256)) * 40_000
    made.reply(large)
    made.forward((), memoryview(large), Direction.TO_TARGET)
    made.reply(b"small")
    found = [f for f in written(made) if f.kind == Kind.DATA]
    for direction in (Direction.TO_AGENT, Direction.TO_TARGET):
        joined = b"".join(f.payload for f in found if f.direction == direction)
        assert joined == large + (b"small" if direction is Direction.TO_AGENT else b"")
    assert max(len(f.payload) for f in found) == 4 * 1024 * 1024


def test_events_and_the_close(tmp_path: Path) -> None:
    made, _ = recorder(tmp_path)
    made.event("cancel", {"outcome": "sent"})
    made.close("over")
    made.close("twice")
    event, close = written(made)[-2:]
    assert read_json(event.payload) == {"event": "cancel", "outcome": "sent"}
    assert (close.kind, read_json(close.payload)) == (Kind.CLOSE, {"reason": "over"})
    for call in (lambda: made.reply(b"x"), lambda: made.forward((), b"x"), lambda: made.event("x")):
        with pytest.raises(RecordingFailed, match="closed"):
            call()
    assert written(made)[-1] == close


def test_it_is_touched_once_until_it_is_taken(tmp_path: Path) -> None:
    made, touched = recorder(tmp_path)
    made.reply(b"x")
    made.forward((), b"x")
    assert touched.recorders == [made]
    made.dirty = False
    made.reply(b"x")
    assert touched.recorders == [made, made]


def test_after_being_failed_every_call_raises_with_the_first_reason(tmp_path: Path) -> None:
    made, _ = recorder(tmp_path)
    known = permit()
    made.forward((Mark(known, 0),), b"x")
    made.fail("the disk is full")
    made.fail("later")
    before = made.offset
    for call in (
        lambda: made.reply(b"x"),
        lambda: made.forward((Mark(known, 0),), b"x"),
        lambda: made.record(Direction.FROM_TARGET, b"x"),
        lambda: made.event("x"),
        lambda: made.close("x"),
    ):
        with pytest.raises(RecordingFailed, match="the disk is full"):
            call()
    assert made.offset == before


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    made, touched = recorder(tmp_path)
    with pytest.raises(RecordingFailed, match="cannot be created"):
        Recorder(made.path, made.session, touched)


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from chaperon.recording.recorder import Recorder
from chaperon.recording.frame import new_session_id
from chaperon.wire.errors import RecordingFailed
class Touched:
    def touched(self, recorder): pass
session = new_session_id()
recorder = Recorder(Path(sys.argv[1]) / f"{session}.rec", session, Touched())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
written = 0
try:
    while written < 1000:
        recorder.reply(b"x" * 1000)
        written += 1
except RecordingFailed as error:
    print(written, error)
for call in (lambda: recorder.reply(b"y"), lambda: recorder.forward((), b"y")):
    try:
        call()
        print("went on")
    except RecordingFailed:
        pass
"""


def test_a_file_that_may_not_grow_fails_the_recorder_for_ever(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    count, _, reason = done.stdout.partition(" ")
    assert "went on" not in done.stdout
    assert "cannot be written" in reason
    [path] = tmp_path.iterdir()
    data = [f.payload for f in frames(path) if f.kind == Kind.DATA]
    assert len(data) == int(count) > 50
