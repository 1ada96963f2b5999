"""The spool: what was appended is in the file at once, whole, in order, and nothing else is."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from chaperon._core import FRAME_HEADER, Spool, read_frame

_HEADER = b"\x89MAGIC\r\n\x1a\n"
_DATA = 2


def _spool(path: Path, initial: int = 4096, largest_step: int = 16384) -> Spool:
    return Spool(str(path), _HEADER, initial, largest_step)


def _frames(path: Path) -> list[tuple[int, int, int, bytes]]:
    """(kind, direction, sequence, payload) of each frame; only zeros may follow them."""
    content = path.read_bytes()
    assert content.startswith(_HEADER)
    at = len(_HEADER)
    frames = []
    while (frame := read_frame(content, at)) is not None:
        kind, direction, connection, sequence, _, _, start, end = frame
        assert (connection, start) == (0, at + FRAME_HEADER)
        frames.append((kind, direction, sequence, content[start:end]))
        at = end + 4
    assert not any(content[at:])
    return frames


def test_frames_are_in_the_file_as_soon_as_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path)
    expected = []
    for sequence, payload in enumerate([b"", b"x", b"y" * 100, b"z" * 4095, b"w" * 4096]):
        assert spool.append(_DATA, sequence % 2, payload) == sequence
        expected.append((_DATA, sequence % 2, sequence, payload))
        assert _frames(path) == expected
    size = len(_HEADER) + sum(FRAME_HEADER + len(frame[3]) + 4 for frame in expected)
    assert spool.offset == size
    spool.close()
    assert path.stat().st_size == size
    assert _frames(path) == expected


@pytest.mark.parametrize("largest", [1, 4096, 1 << 20])
def test_growth_for_every_size_of_frame(tmp_path: Path, largest: int) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path, initial=1, largest_step=largest)
    sizes = [
        0,
        3900,
        4055,
        4056,
        4057,
        1,
        100_000,
        5,
        70_000,
        4095,
        300_000,
        12,
        *range(1, 3000, 97),
    ]
    for size in sizes:
        spool.append(_DATA, 0, size.to_bytes(4, "little") * (size // 4))
    assert [len(frame[3]) for frame in _frames(path)] == [size // 4 * 4 for size in sizes]
    assert path.stat().st_size <= spool.offset + max(largest, 300_000) + 8192
    spool.close()
    assert [frame[3] for frame in _frames(path)] == [
        size.to_bytes(4, "little") * (size // 4) for size in sizes
    ]


def test_room_is_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path, initial=1 << 20)
    status = path.stat()
    assert (status.st_size, status.st_blocks * 512 >= 1 << 20) == (1 << 20, True)
    spool.close()
    assert path.stat().st_size == len(_HEADER)


def test_windows_behind_are_unmapped(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path, largest_step=65536)
    for _ in range(4000):
        spool.append(_DATA, 0, b"x" * 1000)
    mapped = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(path)):
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            mapped += high - low
    assert 0 < mapped <= 2 * 65536
    spool.close()
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_a_mark_comes_before_what_it_is_about(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path)
    spool.append(1, 0, b"meta")
    for size in (10, 5000, 100_000):
        assert spool.append_marked(b"{}" * size, _DATA, 1, b"p" * size) % 2 == 0
    assert [(frame[0], frame[1], len(frame[3])) for frame in _frames(path)[1:]] == [
        (3, 0, 20),
        (2, 1, 10),
        (3, 0, 10_000),
        (2, 1, 5000),
        (3, 0, 200_000),
        (2, 1, 100_000),
    ]
    assert [frame[2] for frame in _frames(path)] == list(range(7))


def test_buffers_of_bytes_are_taken_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path)
    view = memoryview(b"abcdef")
    spool.append(_DATA, 0, view[2:4])
    spool.append(_DATA, 0, view[:0])
    spool.append(_DATA, 0, memoryview(bytearray(b"ghi")))
    with pytest.raises(ValueError, match="contiguous"):
        spool.append(_DATA, 0, view[::2])
    with pytest.raises(TypeError):
        spool.append(_DATA, 0, "text")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(OverflowError):
        spool.append(256, 0, b"")
    # A caller's mistake is no failure of the disk.
    assert spool.append(_DATA, 0, b"j") == 3
    assert [frame[3] for frame in _frames(path)] == [b"cd", b"", b"ghi", b"j"]


def test_frames_carry_both_clocks(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path)
    mono, wall = time.monotonic_ns(), time.time_ns()
    spool.append(_DATA, 0, b"")
    frame = read_frame(path.read_bytes(), len(_HEADER))
    assert frame is not None
    assert mono <= frame[4] <= time.monotonic_ns()
    assert wall <= frame[5] <= time.time_ns()


def test_the_file_is_new_and_private(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    old = os.umask(0)
    try:
        spool = _spool(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError) as caught:
        _spool(path)
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError):
        _spool(tmp_path / "missing" / "a.rec")
    with pytest.raises(ValueError, match="largest_step"):
        _spool(tmp_path / "b.rec", largest_step=0)
    spool.close()
    assert _frames(path) == []


def test_sync_says_what_is_on_the_disk(tmp_path: Path) -> None:
    spool = _spool(tmp_path / "a.rec")
    assert spool.synced == 0
    assert spool.sync() == spool.synced == spool.offset == len(_HEADER)
    spool.append(_DATA, 0, b"x")
    assert spool.synced < spool.offset
    assert spool.sync() == spool.synced == spool.offset


def test_close_is_idempotent_and_ends_the_spool(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path)
    spool.append(_DATA, 0, b"x")
    spool.close()
    spool.close()
    assert spool.synced == spool.offset == path.stat().st_size
    assert spool.sync() == spool.offset
    with pytest.raises(OSError, match="closed") as caught:
        spool.append(_DATA, 0, b"y")
    assert caught.value.errno == errno.EBADF
    assert len(_frames(path)) == 1


def test_a_spool_that_nobody_closed_is_as_after_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path)
    spool.append(_DATA, 0, b"x")
    del spool
    assert str(path) not in Path("/proc/self/maps").read_text()
    assert (len(_frames(path)), path.stat().st_size) == (1, 4096)


def test_threads_sync_while_the_main_one_appends(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path, largest_step=1 << 16)
    done = threading.Event()
    errors: list[BaseException] = []

    def keep_syncing() -> None:
        last = 0
        try:
            while not done.is_set():
                reached = spool.sync()
                assert last <= reached <= spool.offset
                last = reached
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=keep_syncing) for _ in range(3)]
    for thread in threads:
        thread.start()
    count = 0
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        for _ in range(100):
            spool.append(_DATA, 0, count.to_bytes(4, "little") * 50)
            count += 1
    spool.close()
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [frame[2] for frame in _frames(path)] == list(range(count))


def test_frames_from_several_threads_are_dense(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path)
    sequences: list[list[int]] = [[] for _ in range(4)]

    def work(own: list[int]) -> None:
        for _ in range(2000):
            own.append(spool.append(_DATA, 0, b"x" * 60))

    threads = [threading.Thread(target=work, args=(own,)) for own in sequences]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(itertools.chain(*sequences)) == list(range(8000))
    assert [frame[2] for frame in _frames(path)] == list(range(8000))


def test_damage_is_an_error_and_an_early_end_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    spool = _spool(path)
    spool.append(_DATA, 0, b"abc")
    spool.close()
    content = path.read_bytes()
    at = len(_HEADER)
    assert read_frame(memoryview(content), at) == read_frame(content, at)
    for end in range(at, len(content)):
        assert read_frame(content[:end], at) is None
    assert read_frame(content, len(content) + 100) is None
    for flipped in range(at + 4, len(content)):
        damaged = bytearray(content)
        damaged[flipped] ^= 1
        with pytest.raises(ValueError, match=f"frame at offset {at} is damaged"):
            read_frame(bytes(damaged), at)
    with pytest.raises(ValueError, match="length"):
        read_frame(b"\x05\0\0\0" + bytes(64), 0)
