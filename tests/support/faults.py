"""Faults below and beside a running gateway, and the witnesses of what passed through it.

The witness of what a server executed is its own log (log_statement=all); what was recorded is read
from the recordings as they lie on the disk. Statements carry a mark by which both are compared.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaperon.recording.frame import Kind
from chaperon.recording.reader import DamagedRecording, RecordingReader
from chaperon.wire.commands import Direction

_SOURCE = Path(__file__).with_name("faults.c")


class Shim:
    """The shim of faults.c and the folder that steers it."""

    def __init__(self, folder: Path) -> None:
        """Compile it into `folder`. Raises CalledProcessError."""
        self._library = folder / "faults.so"
        self._folder = folder / "faults"
        self._folder.mkdir()
        command = ["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", self._library, _SOURCE]
        subprocess.run([*command, "-ldl"], check=True)

    @contextmanager
    def loaded(self) -> Iterator[None]:
        """Processes started meanwhile have it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(self._library))
            patch.setenv("FAULTS", str(self._folder))
            yield

    def fail(self, call: str, code: int) -> None:
        """From now on `call` fails with errno `code`."""
        temporary = self._folder / f".{call}"
        temporary.write_text(str(code))
        temporary.rename(self._folder / call)

    def mend(self, call: str) -> None:
        """Take `fail` back."""
        (self._folder / call).unlink()

    @contextmanager
    def held(self, call: str) -> Iterator[None]:
        """`call` does not return meanwhile."""
        path = self._folder / f"hold-{call}"
        path.touch()
        try:
            yield
        finally:
            path.unlink()

    def calls(self, call: str) -> list[tuple[str, int]]:
        """Every `call` so far: the name of the recording, and the errno that it gave."""
        log = self._folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        fields = [line.split(" ") for line in lines]
        return [(Path(path).name, int(code)) for name, path, code in fields if name == call]


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of `size` (as mount takes it) on `folder`; gives the path by which to reach it.

    Root mounts it. Anyone else has a process do so in a mount namespace of its own, and reaches it
    through that process.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(folder)]
    if os.geteuid() == 0:
        subprocess.run(mount, check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
        return
    script = '"$@" && echo mounted && exec cat'
    with subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", script, "sh", *mount],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n"
        try:
            yield Path(f"/proc/{holder.pid}/root{folder}")
        finally:
            holder.kill()


class Marks:
    """Marks for the statements of one test: no two tests share one."""

    def __init__(self) -> None:
        self._name = f"mark-{secrets.token_hex(6)}"
        self._count = 0

    def __next__(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count:06}."

    def within(self, text: str | bytes) -> set[str]:
        """The marks that stand in `text`."""
        text = text.decode("latin-1") if isinstance(text, bytes) else text
        return set(re.findall(rf"{self._name}-\d{{6}}\.", text))


def recorded(paths: list[Path]) -> bytes:
    """What agents sent, as the recordings have it; read up to their last good frame."""
    data = bytearray()
    for path in paths:
        try:
            with RecordingReader(path) as reader:
                for frame in reader.read():
                    if frame.kind == Kind.DATA and frame.direction == Direction.FROM_AGENT:
                        data += frame.payload
        except (DamagedRecording, FileNotFoundError):
            continue
    return bytes(data)


def last_kind(path: Path) -> int:
    """The kind of a recording's last frame. Raises DamagedRecording."""
    with RecordingReader(path) as reader:
        return [frame.kind for frame in reader.read()][-1]


def until(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Wait until `condition()` holds; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.02)


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def descriptors(pid: int) -> int:
    """Open descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def chaperon() -> list[str]:
    """The command line, as this interpreter runs it."""
    return [sys.executable, "-m", "chaperon.cli.main"]
