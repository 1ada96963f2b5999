"""The demo as somebody runs it: it can be tried, fails when it should, and leaves nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "demo"
SECONDS = 60
pytestmark = [pytest.mark.slow, pytest.mark.server]


@contextmanager
def running(demo: Path, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo with its temporary folder in `folder`; ended in any case."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(demo / "run.py"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that root's PostgreSQL, which is another user, may enter; pytest's are closed."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.name.startswith("pytest-") and os.stat(parent).st_uid == os.geteuid():
            parent.chmod(0o755)
    tmp_path.chmod(0o755)
    return tmp_path


@contextmanager
def taken(*ports: int) -> Iterator[None]:
    """Somebody else listens on `ports` already."""
    held = []
    for port in ports:
        listening = socket.socket()
        held.append(listening)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen()
        except OSError:
            continue  # somebody else does
    try:
        yield
    finally:
        for listening in held:
            listening.close()


def test_it_stays_can_be_tried_and_leaves_nothing(open_folder: Path) -> None:
    """On other ports than its own, which are taken."""
    started = time.monotonic()
    with taken(6432, 55432), running(DEMO, open_folder) as demo:
        lines: list[str] = []
        for line in demo.stdout or ():
            lines.append(line)
            if line.startswith("Running until"):
                break
        shown = "".join(lines)
        assert time.monotonic() - started < SECONDS, shown
        assert "FAIL" not in shown
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) > 3  # gateway, indexer, PostgreSQL with its own

        urls = re.findall(r'psql "(postgresql://[^"]+)"', shown)
        assert [url.split(":")[1] for url in urls] == ["//ci-bot", "//ana"]
        assert ":6432/" not in urls[0]
        with psycopg.connect(urls[0], autocommit=True) as agent:
            with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
                agent.execute("SELECT * FROM salaries")
            assert "salaries-are-closed" in (refused.value.diag.message_detail or "")
        with psycopg.connect(urls[1], autocommit=True) as person:
            paid = person.execute("SELECT count(*) FROM salaries").fetchone()
            assert paid == (3,)
        for command, code in ((" policy explain ", 6), (" doctor ", 0), (" sessions list ", 0)):
            line = next(line.strip() for line in lines if command in line and " -c " in line)
            done = subprocess.run(
                line, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == code, (line, done.stdout, done.stderr)

        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate(timeout=30)
        assert "everything of the demo is removed" in rest
        assert "Traceback" not in rest
        assert demo.returncode == 0
        assert [child for child in children if child.is_running()] == []
        assert list(open_folder.iterdir()) == []


def test_it_fails_when_something_is_allowed_that_should_not_be(open_folder: Path) -> None:
    """The checks look at what happened: with the guards gone, the data is gone, and it says so."""
    demo = open_folder / "demo"
    shutil.copytree(DEMO, demo, ignore=shutil.ignore_patterns("__pycache__"))
    (demo / "policies" / "20-guards.cedar").write_text(
        '@id("all") permit (principal is Agent, action, resource);\n'
    )
    with running(demo, open_folder, "--once") as process:
        shown, _ = process.communicate(timeout=2 * SECONDS)
    assert process.returncode == 1
    failed = re.findall(r"^  FAIL  (.*)$", shown, re.MULTILINE)
    assert any("DELETE without WHERE" in line for line in failed), shown
    assert any("in the database itself: orders" in line for line in failed), shown
    assert any("sessions show" in line for line in failed), shown
    assert any("replay shows the refused" in line for line in failed), shown
    assert "Something did not show what it should" in shown
    assert [path.name for path in open_folder.iterdir()] == ["demo"]


def test_a_gateway_that_does_not_start_is_told_in_its_own_words(open_folder: Path) -> None:
    demo = open_folder / "demo"
    shutil.copytree(DEMO, demo, ignore=shutil.ignore_patterns("__pycache__"))
    (demo / "policies" / "20-guards.cedar").write_text("permit (nonsense);\n")
    with running(demo, open_folder, "--once") as process:
        shown, _ = process.communicate(timeout=2 * SECONDS)
    assert process.returncode == 1
    assert "demo: The gateway did not start." in shown
    assert "20-guards.cedar:1" in shown
    assert "Traceback" not in shown
    assert [path.name for path in open_folder.iterdir()] == ["demo"]
