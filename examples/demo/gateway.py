"""The demo's gateway: its configuration with the ports in use, its process, the commands beside it.

Invariant: the database's password stands in one file beside the configuration, which only its owner
reads, and in nothing that the gateway writes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from postgres import DemoError

_HERE = Path(__file__).resolve().parent
_START_SECONDS = 20.0


class Gateway:
    """`chaperon serve`, and the other commands beside it."""

    resource = "orders"

    def __init__(self, folder: Path, port: int, password: str) -> None:
        self.folder = folder
        self.port = port
        self.config = folder / "chaperon.yaml"
        self.log = folder / "gateway.log"
        self.data = folder / "data"
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, upstream_port: int) -> None:
        """Copy the configuration and the policies, with the ports that are used."""
        text = (_HERE / "chaperon.yaml").read_text()
        for old, new in (
            (r"127\.0\.0\.1:\d+", f"127.0.0.1:{self.port}"),
            (r"(?<= port: )\d+", f"{upstream_port}"),
        ):
            text, count = re.subn(old, new, text)
            if count != 1:
                raise DemoError(f"examples/demo/chaperon.yaml should have one {old!r}")
        self.config.write_text(text)
        secret = self.folder / "shop.password"
        secret.touch(0o600)
        secret.write_text(self._password)
        shutil.copytree(_HERE / "policies", self.folder / "policies")

    def start(self) -> None:
        """Start, and wait until it is ready. Raises DemoError with the end of its log."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [program(), "serve", "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not (self.data / "control.sock").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_end = self.log.read_text(errors="replace")[-3000:]
                raise DemoError(f"The gateway did not start. Its log:\n{log_end}")
            time.sleep(0.05)

    def ask(self, *arguments: str) -> str:
        """Run `chaperon ARGUMENTS`; its output. Raises DemoError."""
        done = subprocess.run(
            [program(), *arguments, "-c", str(self.config)],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "100"},
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise DemoError(f"chaperon {' '.join(arguments)} failed:\n{done.stderr.strip()}")
        return done.stdout

    def url(self, name: str) -> str:
        """An address with a new token, as a client takes it."""
        token = self.ask("token", "create", name, "--ttl", "8h").strip()
        return f"postgresql://{name}:{token}@127.0.0.1:{self.port}/{self.resource}"

    def stop(self) -> None:
        """SIGTERM; after 10 s a kill."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


def program() -> str:
    """The `chaperon` of this environment. Raises DemoError."""
    found = Path(sys.executable).parent / "chaperon"
    if not found.exists():
        raise DemoError(f"There is no {found}. Run `make env`, then `make demo`.")
    return str(found)


def free_port(*wanted: int) -> int:
    """The first of `wanted` that nobody listens on, or any other free port of loopback."""
    for port in (*wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise DemoError("There is no free port on 127.0.0.1.")
