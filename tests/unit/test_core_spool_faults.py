"""A disk that refuses: the spool fails for ever, and what was appended before stays readable.

Each fault is a real one below the program: a limit, a small file system, an fdatasync that fails,
a kill.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaperon._core import read_frame

_PRELUDE = """
import errno, os, resource, sys
from chaperon._core import Spool, read_frame

def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"
"""

_SHIM = r"""
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int fd) {
    int log = open(getenv("SHIM_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    (void)fd;
    if (write(log, "x", 1) != 1) _exit(99);
    close(log);
    errno = EIO;
    return -1;
}
"""


def _run(script: str, *arguments: str, before: tuple[str, ...] = ()) -> list[str]:
    finished = subprocess.run(
        [*before, sys.executable, "-c", _PRELUDE + script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()


def _payloads(content: bytes) -> list[bytes]:
    at = 1
    found = []
    while (frame := read_frame(content, at)) is not None:
        found.append(content[frame[6] : frame[7]])
        at = frame[7] + 4
    return found


def test_growth_that_is_refused_fails_the_spool_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    script = """
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
spool = Spool(sys.argv[1], b"H", 4096, 4096)
appended = 0
while (result := attempt(spool.append, 2, 0, b"x" * 1000)) == "ok":
    appended += 1
print(appended, result, attempt(spool.append, 2, 0, b""))
print(attempt(spool.append_marked, b"", 2, 0, b""))
print(os.path.getsize(sys.argv[1]), spool.offset, attempt(spool.sync), spool.synced)
print(attempt(spool.close), attempt(spool.close), os.path.getsize(sys.argv[1]))
"""
    offset = 1 + 15 * 1040
    assert _run(script, str(path)) == [
        *("15", "EFBIG", "EFBIG", "EFBIG"),
        *("16384", str(offset), "ok", str(offset)),
        *("ok", "ok", str(offset)),
    ]
    assert _payloads(path.read_bytes()) == [b"x" * 1000] * 15


def test_a_mark_never_stands_alone_on_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    script = """
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
spool = Spool(sys.argv[1], b"H", 4096, 4096)
print(attempt(spool.append_marked, b"m" * 2000, 2, 0, b"x" * 3000), spool.offset)
"""
    assert _run(script, str(path)) == ["EFBIG", "1"]
    assert _payloads(path.read_bytes()) == []


def test_a_full_file_system(tmp_path: Path) -> None:
    script = """
import subprocess
folder = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", folder], check=True)
spool = Spool(folder + "/a.rec", b"H", 32768, 1 << 20)
print(attempt(Spool, folder + "/b.rec", b"H", 1 << 17, 4096), *os.listdir(folder))
appended = 0
while (result := attempt(spool.append, 2, 0, b"x" * 1000)) == "ok":
    appended += 1
print(appended, result, attempt(spool.sync), os.path.getsize(folder + "/a.rec"))
print(attempt(Spool, folder + "/c.rec", b"H", 16384, 4096))
spool.close()
content = open(folder + "/a.rec", "rb").read()
at = 1
while frame := read_frame(content, at):
    at = frame[7] + 4
print(at == len(content) == spool.offset)
"""
    assert _run(script, str(tmp_path), before=("unshare", "-rm")) == [
        *("ENOSPC", "a.rec"),
        *("63", "ENOSPC", "ok", "65536"),
        *("ok", "True"),
    ]


def test_a_failed_fdatasync_is_for_ever_and_not_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "shim.c"
    shim.write_text(_SHIM)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(tmp_path / "shim.so"), str(shim)], check=True
    )
    log = tmp_path / "calls"
    monkeypatch.setenv("SHIM_LOG", str(log))
    script = """
spool = Spool(sys.argv[1], b"H", 4096, 4096)
print(attempt(spool.append, 2, 0, b"x"), attempt(spool.sync), attempt(spool.append, 2, 0, b"y"))
print(attempt(spool.sync), spool.synced, attempt(spool.close), os.path.getsize(sys.argv[1]))
other = Spool(sys.argv[1] + "2", b"H", 4096, 4096)
print(attempt(other.close), attempt(other.close), attempt(other.append, 2, 0, b"z"))
"""
    preload = f"LD_PRELOAD={tmp_path / 'shim.so'}"
    assert _run(script, str(tmp_path / "a.rec"), before=("env", preload)) == [
        *("ok", "EIO", "EIO"),
        *("EIO", "0", "ok", str(1 + 41)),
        *("EIO", "ok", "EBADF"),
    ]
    assert log.read_bytes() == b"xx"


def test_a_kill_loses_no_frame_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    script = """
spool = Spool(sys.argv[1], b"H", 4096, 65536)
while True:
    for size in (10, 300, 5000, 70_000):
        print(spool.append(2, 0, b"x" * size), flush=True)
"""
    gateway = subprocess.Popen(
        [sys.executable, "-c", _PRELUDE + script, str(path)], stdout=subprocess.PIPE
    )
    assert gateway.stdout is not None
    acknowledged = [int(gateway.stdout.readline()) for _ in range(1000)]
    gateway.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in gateway.stdout.read().splitlines() if line]
    gateway.wait()
    sizes = [len(payload) for payload in _payloads(path.read_bytes())]
    assert len(sizes) >= len(acknowledged) >= 1000
    assert sizes == [(10, 300, 5000, 70_000)[turn % 4] for turn in range(len(sizes))]
