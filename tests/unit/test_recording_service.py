"""The service and its thread: durability, the reserve, the lock, finished recordings."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaperon.recording import sync
from chaperon.recording.frame import Kind, read_json
from chaperon.recording.place import find_recording
from chaperon.recording.reader import frames
from chaperon.recording.service import RecordingService
from chaperon.recording.space import check_space, self_test, size_text
from chaperon.recording.watermarks import read_watermarks
from chaperon.wire.errors import ConfigError, RecordingFailed


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RecordingService]:
    running = RecordingService(tmp_path, 0)
    running.start()
    yield running
    running.stop()


def until(condition: Callable[[], bool], seconds: float = 10) -> float:
    """Wait; how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come"
        time.sleep(0.001)
    return time.monotonic() - began


def never(reason: str) -> None:
    pytest.fail(f"the recording failed: {reason}")


def test_what_is_written_is_soon_on_the_disk(service: RecordingService, tmp_path: Path) -> None:
    recorders = [service.open({"n": n}, never) for n in range(20)]
    took = []
    for _ in range(5):
        for recorder in recorders:
            recorder.reply(b"x" * 100)
        took.append(until(lambda: all(r.synced == r.offset for r in recorders)))
    # 50 ms is promised; a machine that also does other things gets some patience here.
    assert min(took) < 0.1
    assert sorted(took)[2] < 1
    marks = read_watermarks(tmp_path / "spool")
    assert set(marks) == {r.session for r in recorders}
    assert all(0 < marks[r.session] <= r.synced for r in recorders)


def test_a_closed_recording_goes_where_it_stays(service: RecordingService, tmp_path: Path) -> None:
    recorder = service.open({"principal": "ci-bot"}, never)
    recorder.forward((), b"hello")
    live = find_recording(tmp_path, recorder.session)
    assert live == recorder.path
    service.close(recorder, "over")
    until(lambda: not recorder.path.exists())
    path = find_recording(tmp_path, recorder.session)
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o400
    meta, data, close = frames(path)
    assert read_json(meta.payload) == {"session": recorder.session, "principal": "ci-bot"}
    assert data.payload == b"hello"
    assert read_json(close.payload) == {"reason": "over"}
    assert path.stat().st_size == close.end
    assert find_recording(tmp_path, "../spool/x") is None
    assert find_recording(tmp_path, "nosuch") is None


def test_waiting_for_the_disk(service: RecordingService) -> None:
    recorder = service.open({}, never)
    answers: list[tuple[int, RecordingFailed | None, int]] = []
    done = threading.Event()
    for number in range(50):
        recorder.forward((), b"x" * 50)
        offset = recorder.offset

        def durable(error: RecordingFailed | None, n: int = number, o: int = offset) -> None:
            answers.append((n, error, recorder.synced - o))
            if n == 49:
                done.set()

        service.await_durable(recorder, offset, durable)
    assert done.wait(10)
    assert [n for n, _, _ in answers] == list(range(50))
    assert all(error is None and ahead >= 0 for _, error, ahead in answers)


def test_who_waits_for_a_failed_recorder_is_told(service: RecordingService) -> None:
    recorder = service.open({}, lambda reason: None)
    answers: list[RecordingFailed | None] = []
    recorder.fail("the disk broke")
    service.await_durable(recorder, recorder.offset + 1, answers.append)
    until(lambda: bool(answers))
    assert isinstance(answers[0], RecordingFailed)
    assert "the disk broke" in str(answers[0])


def test_stopping_finishes_everything(tmp_path: Path) -> None:
    service = RecordingService(tmp_path, 0)
    service.start()
    recorders = [service.open({}, never) for _ in range(10)]
    for recorder in recorders:
        recorder.reply(b"last words")
        service.close(recorder, "shutdown")
    service.stop()
    for recorder in recorders:
        path = find_recording(tmp_path, recorder.session)
        assert path is not None
        assert path.parent.parent.parent.parent == tmp_path / "recordings"
    with pytest.raises(RecordingFailed, match="not running"):
        service.open({}, never)


def test_below_the_reserve_sessions_end_and_none_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "SPACE_INTERVAL", 0.05)
    real = os.statvfs(tmp_path)
    service = RecordingService(tmp_path, real.f_bavail * real.f_frsize // 2)
    service.start()
    reasons: list[str] = []
    recorder = service.open({}, reasons.append)
    recorder.reply(b"x")
    monkeypatch.setattr(service, "_reserve", 1 << 60)
    assert service._syncer is not None
    monkeypatch.setattr(service._syncer, "_reserve", 1 << 60)
    until(lambda: bool(reasons))
    assert "disk is full" in reasons[0]
    assert "reserve" in reasons[0]
    with pytest.raises(RecordingFailed, match="disk is full"):
        recorder.reply(b"y")
    with pytest.raises(RecordingFailed, match="disk is full"):
        service.open({}, never)
    service.close(recorder, "recording failed")
    service.stop()
    assert len(reasons) == 1
    # The reserve is what a recording ends well in.
    path = find_recording(tmp_path, recorder.session)
    assert path is not None
    assert path != recorder.path
    assert [f.kind for f in frames(path)] == [Kind.META, Kind.DATA, Kind.CLOSE]


def test_one_gateway_at_a_time(tmp_path: Path) -> None:
    first, second = RecordingService(tmp_path, 0), RecordingService(tmp_path, 0)
    first.start()
    with pytest.raises(ConfigError, match="another gateway runs"):
        second.start()
    first.stop()
    second.start()
    second.stop()


def test_a_folder_that_cannot_record_is_told_with_a_remedy(tmp_path: Path) -> None:
    self_test(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match=r"could not create and preallocate.*Make room"):
        self_test(tmp_path / "missing")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be used"):
        RecordingService(tmp_path / "file", 0).start()


def test_space_is_told_in_words(tmp_path: Path) -> None:
    space = check_space(tmp_path, 3 << 30)
    assert "3.0 GiB to be kept in reserve" in str(space)
    assert not check_space(tmp_path, 0).low
    assert check_space(tmp_path, 1 << 62).low
    assert [size_text(n) for n in (5, 2048, 5 << 40)] == ["5 B", "2.0 KiB", "5.0 TiB"]


def test_a_recording_that_cannot_begin_leaves_nothing_running(
    service: RecordingService, tmp_path: Path
) -> None:
    (tmp_path / "spool").chmod(0o500)
    try:
        if os.geteuid() != 0:
            with pytest.raises(RecordingFailed, match="cannot be created"):
                service.open({}, never)
    finally:
        (tmp_path / "spool").chmod(0o700)
    assert service.open({}, never).failure is None
