"""What is measured: the server itself, pgbouncer, a bare relay, and Chaperon in both barriers.

All share one database. Each stands for an address with and without TLS downstream; upstream is in
plain text for all, as pgbouncer on the same machine would be run.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gateway import AGENT, PERMIT_ALL, RESOURCE, Gateway
from tests.support.pki import Authority
from tests.support.ports import free_port, wait_for_port
from tests.support.servers import APP_PASSWORD, APP_USER, DATABASE, DEBIAN_15, PostgresServer

POLICIES = 50
SERVER = {
    "shared_buffers": "512MB",
    "max_connections": "2500",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_wal_size": "4GB",
    "log_statement": "none",
    "full_page_writes": "off",
}


@dataclass(frozen=True, slots=True)
class Contestant:
    """Somebody who answers as a PostgreSQL server. `pid` is the process whose memory counts."""

    name: str
    environment: Mapping[str, str]
    ca: Path | None
    pid: int | None

    def variables(self, *, tls: bool) -> dict[str, str]:
        """What libpq needs to get there."""
        mode = {"PGSSLMODE": "disable"}
        if tls:
            mode = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.ca)}
        return {"PATH": os.environ["PATH"], "PGDATABASE": DATABASE, **self.environment, **mode}


def server(scale: int) -> PostgresServer:
    """PostgreSQL 15 with pgbench's tables of `scale`, warm."""
    made = PostgresServer.start(DEBIAN_15, tls=True, settings=SERVER)
    try:
        command: list[str | Path] = [
            DEBIAN_15 / "pgbench",
            "-i",
            "-q",
            "-s",
            str(scale),
            made.dsn(),
        ]
        subprocess.run(command, check=True, capture_output=True)
        made.sql("VACUUM FREEZE ANALYZE; CHECKPOINT; SELECT sum(abalance) FROM pgbench_accounts")
    except BaseException:
        made.stop()
        raise
    return made


def direct(target: PostgresServer) -> Contestant:
    assert target.authority is not None
    return _contestant("direct", target.port, target.authority.ca, target.process.pid)


def _contestant(name: str, port: int, ca: Path | None, pid: int) -> Contestant:
    variables = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": APP_USER,
        "PGPASSWORD": APP_PASSWORD,
    }
    return Contestant(name, variables, ca, pid)


@contextmanager
def pgbouncer(target: PostgresServer) -> Iterator[Contestant]:
    """pgbouncer of Debian in session mode, TLS offered downstream."""
    if not shutil.which("pgbouncer", path="/usr/sbin:/usr/bin"):
        raise RuntimeError("there is no pgbouncer; run tools/ci_install.py as root")
    folder = Path(tempfile.mkdtemp(prefix="chaperon-bouncer-"))
    port = free_port()
    authority = Authority.create(folder)
    pair = authority.server()
    login = f"dbname={DATABASE} user={APP_USER} password={APP_PASSWORD}"
    (folder / "users.txt").write_text(f'"{APP_USER}" "{APP_PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
{DATABASE} = host=127.0.0.1 port={target.port} {login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = session
max_client_conn = 1200
default_pool_size = 1100
server_tls_sslmode = disable
client_tls_sslmode = allow
client_tls_key_file = {pair.key}
client_tls_cert_file = {pair.certificate}
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = extra_float_digits
"""
    )
    user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None
    if user is not None:
        folder.chmod(0o755)
        for path in (folder, *folder.iterdir()):
            os.chown(path, user, -1)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/usr/sbin/pgbouncer", folder / "pgbouncer.ini"], stdout=log, stderr=log, user=user
        )
    try:
        wait_for_port(port, process, 10, "pgbouncer")
        yield _contestant("pgbouncer", port, authority.ca, process.pid)
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def relay(target: PostgresServer) -> Iterator[Contestant]:
    """The bare relay; TLS passes through it, so that is between client and server."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("relay.py"), str(port), str(target.port)]
    )
    try:
        wait_for_port(port, process, 10, "the relay")
        assert target.authority is not None
        yield _contestant("relay", port, target.authority.ca, process.pid)
    finally:
        _end(process)


@contextmanager
def chaperon(target: PostgresServer, barrier: str) -> Iterator[Contestant]:
    """Chaperon with 50 policies loaded and recording on."""
    gateway = Gateway.start(
        target,
        tls=True,
        policies=policies(),
        upstream={"tls": "disable"},
        recording={"barrier": barrier, "reserve": "64MiB"},
    )
    try:
        token = gateway.token(AGENT, "--ttl", "12h")
        assert gateway.process is not None
        assert gateway.authority is not None
        variables = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(gateway.port),
            "PGUSER": f"{AGENT}+{token.public_id}",
            "PGPASSWORD": token.token,
        }
        yield Contestant(
            f"chaperon-{barrier}", variables, gateway.authority.ca, gateway.process.pid
        )
    finally:
        gateway.stop()


def policies() -> dict[str, str]:
    """Fifty policies as an operator might have them; the agent may do everything on `shop`."""
    texts = {"allow.cedar": PERMIT_ALL}
    for number in range((POLICIES - 2) // 2):
        texts[f"team-{number:02}.cedar"] = f"""
@id("team-{number:02}-reads")
permit (principal in Group::"analysts", action in [Action::"connect", Action::"read"],
  resource in Resource::"{RESOURCE}");

@id("team-{number:02}-never-unbounded") @message("Add a WHERE clause.")
forbid (principal, action == Action::"sql.write", resource in Resource::"{RESOURCE}")
when {{ context.statement.unbounded
  && context.statement.writes.contains("public.ledger_{number}") }};
"""
    texts["last.cedar"] = """
@id("no-grants")
forbid (principal in Group::"analysts", action in Action::"grant", resource)
when { context has statement && context.statement.kinds.contains("create_role") };
"""
    return texts


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


MAKERS: dict[str, Any] = {
    "pgbouncer": pgbouncer,
    "relay": relay,
    "chaperon-write": lambda target: chaperon(target, "write"),
    "chaperon-fsync": lambda target: chaperon(target, "fsync"),
}


def enter(stack: ExitStack, target: PostgresServer, names: list[str]) -> list[Contestant]:
    """Start the contestants named, the server itself first."""
    return [direct(target), *(stack.enter_context(MAKERS[name](target)) for name in names)]
