"""Reading: windows, live files, damage."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from tests.support.recordings import Frames

from chaperon.recording.frame import Frame, Kind, encode_frame
from chaperon.recording.reader import WINDOW, DamagedRecording, RecordingReader, frames


def made(count: int, size: int) -> Frames:
    built = Frames()
    for number in range(count):
        built.add(Kind.DATA, bytes([number % 256]) * size)
    return built.close()


@pytest.mark.parametrize("size", [0, 100, WINDOW // 3, WINDOW - 50, WINDOW, 3 * WINDOW])
def test_frames_come_back_whatever_their_size(tmp_path: Path, size: int) -> None:
    built = made(7, size)
    assert list(frames(built.write(tmp_path))) == built.list


def test_reading_from_the_offset_of_a_frame(tmp_path: Path) -> None:
    built = made(5, 1000)
    path = built.write(tmp_path)
    assert list(frames(path, built.list[3].offset)) == built.list[3:]
    assert built.list[3].end == built.list[4].offset


def test_what_stands_behind_the_close_is_not_read(tmp_path: Path) -> None:
    built = made(1, 10)
    path = built.write(tmp_path)
    with path.open("ab") as file:
        file.write(encode_frame(Kind.DATA, 0, b"x", sequence=9, mono_ns=0, wall_ns=0))
    assert list(frames(path)) == built.list


@pytest.mark.parametrize("at", [0, 1, 4, 10, 35, 36, 100, 139])
def test_a_changed_bit_is_damage_with_its_offset(tmp_path: Path, at: int) -> None:
    built = made(3, 100)
    path = built.write(tmp_path)
    content = bytearray(path.read_bytes())
    content[built.list[2].offset + at] ^= 0x10
    path.write_bytes(content)
    read: list[Frame] = []
    with RecordingReader(path) as reader, pytest.raises(DamagedRecording) as caught:
        read.extend(reader.read())
    assert caught.value.offset == built.list[2].offset
    assert read == built.list[:2]


def test_an_impossible_length_is_damage_and_takes_no_memory(tmp_path: Path) -> None:
    path = Frames().write(tmp_path)
    with path.open("ab") as file:
        file.write(b"\xff\xff\xff\x7f" + b"\0" * 100)
    with pytest.raises(DamagedRecording, match="a frame of 2147483647 bytes"):
        list(frames(path))


def test_a_finished_file_that_ends_inside_a_frame_is_damaged(tmp_path: Path) -> None:
    built = made(3, 100)
    path = built.write(tmp_path)
    path.write_bytes(path.read_bytes()[: built.list[3].offset + 20])
    with pytest.raises(DamagedRecording, match="inside a frame"):
        list(frames(path))


def test_a_file_that_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    path.write_bytes(b"hello")
    with pytest.raises(DamagedRecording, match="at byte 0"):
        list(frames(path))
    with pytest.raises(FileNotFoundError):
        list(frames(tmp_path / "y.rec"))


def test_a_live_file_gives_what_is_there_and_then_more(tmp_path: Path) -> None:
    built = made(3, 100)
    whole = built.bytes()
    path = tmp_path / "live.rec"
    cut = built.list[2].offset
    path.write_bytes(whole[:cut] + b"\0" * 4096)
    with RecordingReader(path, live=True) as reader:
        assert list(reader.read()) == built.list[:2]
        assert not reader.more()
        assert list(reader.read()) == []
        path.write_bytes(whole)
        assert reader.more()
        assert list(reader.read()) == built.list[2:]
        assert reader.closed
        assert not reader.more()


def test_half_of_a_live_frame_is_waited_for(tmp_path: Path) -> None:
    built = made(1, 5000)
    whole = built.bytes()
    path = tmp_path / "live.rec"
    # The length and some of the payload are there, the rest is not yet visible.
    half = built.list[1].offset + 2000
    path.write_bytes(whole[:half] + b"\0" * (len(whole) - half))
    with RecordingReader(path, live=True) as reader:
        timer = threading.Timer(0.01, lambda: path.write_bytes(whole))
        timer.start()
        assert list(reader.read()) == built.list
        timer.join()


def test_damage_of_a_live_file_that_stays_is_told(tmp_path: Path) -> None:
    built = made(1, 5000)
    whole = bytearray(built.bytes())
    whole[built.list[1].offset + 40] ^= 1
    path = tmp_path / "live.rec"
    path.write_bytes(whole)
    with RecordingReader(path, live=True) as reader, pytest.raises(DamagedRecording):
        list(reader.read())


def test_following_ends_with_the_close_or_when_told(tmp_path: Path) -> None:
    built = made(2, 10)
    path = tmp_path / "live.rec"
    path.write_bytes(built.bytes()[: built.list[2].offset] + b"\0" * 1000)
    assert list(frames(path, follow=True, poll=0.001, stop=lambda: True)) == built.list[:2]
    timer = threading.Timer(0.05, lambda: path.write_bytes(built.bytes()))
    timer.start()
    began = time.monotonic()
    assert list(frames(path, follow=True, poll=0.001)) == built.list
    assert time.monotonic() - began < 5
    timer.join()
