"""What becomes of a spool that an earlier run left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.recordings import Frames

from chaperon.recording.frame import FILE_HEADER, Kind, new_session_id, read_json
from chaperon.recording.place import all_recordings, find_recording, finish
from chaperon.recording.reader import frames
from chaperon.recording.recovery import Outcome, Recovered, recover
from chaperon.recording.watermarks import FILE_NAME, Watermarks, read_watermarks


def left(data: Path, count: int = 5) -> tuple[Frames, Path]:
    """A spool as a killed gateway leaves it: no CLOSE, preallocated room behind."""
    built = Frames()
    for number in range(count):
        built.add(Kind.DATA, bytes([65 + number]) * 100)
    path = built.write(data / "spool")
    with path.open("ab") as file:
        file.truncate(64 * 1024)
    return built, path


def watermark(data: Path, session: str, offset: int) -> None:
    marks = Watermarks(data / "spool")
    marks.put(session, offset)
    marks.close()


def one(data: Path) -> Recovered:
    [recovered] = recover(data)
    return recovered


def test_a_whole_spool_is_closed_as_a_crash(tmp_path: Path) -> None:
    built, path = left(tmp_path)
    watermark(tmp_path, built.session, built.list[3].offset)
    recovered = one(tmp_path)
    assert recovered.outcome is Outcome.CLOSED
    assert not path.exists()
    assert recovered.path == find_recording(tmp_path, built.session)
    *before, close = frames(recovered.path)
    assert before == built.list
    assert (close.kind, read_json(close.payload)) == (Kind.CLOSE, {"reason": "crash"})
    assert close.sequence == len(built.list)
    assert recovered.path.stat().st_size == close.end == recovered.offset
    assert recovered.path.stat().st_mode & 0o777 == 0o400
    assert recover(tmp_path) == []


def test_a_spool_with_its_close_is_only_moved(tmp_path: Path) -> None:
    built, path = left(tmp_path)
    built.close("over")
    path.unlink()
    built.write(tmp_path / "spool")
    recovered = one(tmp_path)
    assert recovered.outcome is Outcome.CLOSED
    assert list(frames(recovered.path)) == built.list


def test_a_move_that_was_cut_short_is_ended(tmp_path: Path) -> None:
    built, path = left(tmp_path)
    finished = one(tmp_path).path
    os.link(finished, path)
    before = finished.read_bytes()
    recovered = one(tmp_path)
    assert recovered.path == finished
    assert finished.read_bytes() == before
    assert not path.exists()
    assert list(all_recordings(tmp_path)) == [finished]
    assert built.session == recovered.session


@pytest.mark.parametrize("how", ["bit", "torn", "hole"])
def test_damage_beyond_the_watermark_is_cut_with_a_gap(tmp_path: Path, how: str) -> None:
    built, path = left(tmp_path)
    watermark(tmp_path, built.session, built.list[4].offset)
    content = bytearray(path.read_bytes())
    at = built.list[4].offset
    if how == "bit":
        content[at + 50] ^= 1
    elif how == "torn":
        content[at + 60 :] = bytes(len(content) - at - 60)
    else:
        content[at : built.list[5].offset] = bytes(built.list[5].offset - at)
    path.write_bytes(content)
    recovered = one(tmp_path)
    assert recovered.outcome is Outcome.CUT
    *before, gap, close = frames(recovered.path)
    assert before == built.list[:4]
    assert (gap.kind, close.kind) == (Kind.GAP, Kind.CLOSE)
    assert read_json(gap.payload)["from"] == at


@pytest.mark.parametrize("how", ["bit", "hole", "short"])
def test_damage_before_the_watermark_is_never_cut(tmp_path: Path, how: str) -> None:
    built, path = left(tmp_path)
    watermark(tmp_path, built.session, built.list[5].offset)
    content = bytearray(path.read_bytes())
    at = built.list[3].offset
    if how == "bit":
        content[at + 50] ^= 1
    elif how == "hole":
        content[at : built.list[4].offset] = bytes(built.list[4].offset - at)
    else:
        del content[at:]
    path.write_bytes(content)
    recovered = one(tmp_path)
    assert recovered.outcome is Outcome.CORRUPT
    assert recovered.offset == at
    assert recovered.path.parent == tmp_path / "corrupt"
    assert recovered.path.read_bytes() == bytes(content)
    assert recover(tmp_path) == []


def test_a_missing_frame_is_damage(tmp_path: Path) -> None:
    built, path = left(tmp_path)
    del built.list[3]
    path.write_bytes(built.bytes())
    recovered = one(tmp_path)
    assert recovered.outcome is Outcome.CUT
    assert recovered.detail == "a frame is missing"


def test_a_spool_that_was_only_made_is_removed(tmp_path: Path) -> None:
    session = new_session_id()
    path = tmp_path / "spool" / f"{session}.rec"
    path.parent.mkdir()
    path.write_bytes(b"\0" * 65536)
    assert one(tmp_path).outcome is Outcome.EMPTY
    assert not path.exists()


def test_a_header_that_is_damaged_or_of_another_session_is_corrupt(tmp_path: Path) -> None:
    built, path = left(tmp_path)
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    assert one(tmp_path).outcome is Outcome.CORRUPT
    other = built.write(tmp_path / "spool").rename(tmp_path / "spool" / f"{new_session_id()}.rec")
    recovered = one(tmp_path)
    assert recovered.outcome is Outcome.CORRUPT
    assert recovered.session == other.stem


def test_progress_and_leftovers(tmp_path: Path) -> None:
    left(tmp_path)
    left(tmp_path)
    (tmp_path / "spool" / "x.selftest").write_bytes(b"x")
    told: list[tuple[int, int]] = []
    assert len(recover(tmp_path, lambda done, of: told.append((done, of)))) == 2
    assert told == [(65536, 131072), (131072, 131072)]
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_finished_recording_is_never_overwritten(tmp_path: Path) -> None:
    built, _ = left(tmp_path)
    finished = one(tmp_path).path
    before = finished.read_bytes()
    forged = built.write(tmp_path / "spool")
    with pytest.raises(FileExistsError):
        finish(tmp_path, forged)
    assert one(tmp_path).outcome is Outcome.FAILED
    assert finished.read_bytes() == before


def test_watermarks_survive_and_slots_are_used_again(tmp_path: Path) -> None:
    sessions = [new_session_id() for _ in range(3)]
    marks = Watermarks(tmp_path)
    for number, session in enumerate(sessions):
        marks.put(session, 1000 + number)
    marks.put(sessions[0], 5000)
    marks.drop(sessions[1])
    fourth = new_session_id()
    marks.put(fourth, 7)
    marks.close()
    expected = {sessions[0]: 5000, sessions[2]: 1002, fourth: 7}
    assert read_watermarks(tmp_path) == expected
    content = bytearray((tmp_path / FILE_NAME).read_bytes())
    assert len(content) == 96
    content[16] ^= 1
    (tmp_path / FILE_NAME).write_bytes(content[:90])
    assert read_watermarks(tmp_path) == {fourth: 7}
    assert read_watermarks(tmp_path / "none") == {}
    assert FILE_HEADER == 32
