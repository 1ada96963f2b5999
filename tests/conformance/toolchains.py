"""The stock clients of the conformance suite: how each is built, from pinned parts, and started.

Everything that is built lands in `.build/conformance`. Pins carry hashes and no addresses: where
parts come from is the machine's own configuration of npm, Go and Maven.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.servers import DEBIAN_15, bundled_18

CLIENTS = Path(__file__).parent / "clients"
BUILD = Path(__file__).resolve().parents[2] / ".build" / "conformance"


class ToolchainMissing(Exception):
    """This machine lacks a program that a client needs."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client's script. `command` builds what it needs and gives the program to run.

    `lanes` are where it runs: the bundled programs of PostgreSQL 18 have no TLS, and pg_dump must
    not be older than its server.
    """

    name: str
    command: Callable[[], Sequence[str | Path]]
    script: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    lanes: frozenset[str] = frozenset({"plain-18", "tls-15"})
    seconds: float = 120.0


def needs(*programs: str) -> None:
    """Raise ToolchainMissing where one of `programs` is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            raise ToolchainMissing(program)


def _build(command: Sequence[str | Path], folder: Path, **more: str) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, **more}, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} gave {done.returncode}: {done.stdout}{done.stderr}")


def _python(script: str) -> Callable[[], Sequence[str | Path]]:
    return lambda: [sys.executable, CLIENTS / script]


def _psql(folder: Path) -> Callable[[], Sequence[str | Path]]:
    def command() -> Sequence[str | Path]:
        if not (folder / "psql").exists():
            raise ToolchainMissing(str(folder / "psql"))
        return [folder / "psql", "-X"]

    return command


@functools.cache
def _node() -> Sequence[str | Path]:
    needs("node", "npm")
    folder = BUILD / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(CLIENTS / "node" / name, folder / name)
    _build(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    return ["node", "--no-deprecation", CLIENTS / "node" / "client.js"]


@functools.cache
def _go() -> Sequence[str | Path]:
    needs("go")
    program = BUILD / "go" / "client"
    program.parent.mkdir(parents=True, exist_ok=True)
    _build(["go", "build", "-mod=readonly", "-o", program, "."], CLIENTS / "go")
    return [program]


@functools.cache
def _java() -> Sequence[str | Path]:
    needs("java", "javac", "mvn")
    folder = BUILD / "java"
    folder.mkdir(parents=True, exist_ok=True)
    jars: list[Path] = []
    for line in (CLIENTS / "java" / "jars.sha256").read_text().splitlines():
        digest, artifact = line.split()
        jar = folder / ("-".join(artifact.split(":")[1:]) + ".jar")
        if not jar.exists():
            copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
            options = [f"-Dartifact={artifact}", f"-DoutputDirectory={folder}", "-q", "-B"]
            _build(["mvn", copy, *options], folder)
        if hashlib.sha256(jar.read_bytes()).hexdigest() != digest:
            raise RuntimeError(f"{jar} is not the {artifact} that jars.sha256 pins")
        jars.append(jar)
    path = os.pathsep.join(map(str, (folder, *jars)))
    _build(["javac", "-d", folder, "-cp", path, CLIENTS / "java" / "Conformance.java"], folder)
    return ["java", "-Xmx512m", "-cp", path, "Conformance"]


_PLAIN = frozenset({"plain-18"})
_TLS = frozenset({"tls-15"})
_MODULES = {"NODE_PATH": str(BUILD / "node" / "node_modules")}
_PSQL_SCRIPT = CLIENTS / "psql_client.sql"


def clients() -> tuple[Client, ...]:
    """Every client of the suite."""
    bundled = bundled_18()
    of_18 = {"PG_PROGRAMS": str(bundled)}
    of_15 = {"PG_PROGRAMS": str(DEBIAN_15)}
    newest = {"PGMAXPROTOCOLVERSION": "3.2"}
    return (
        Client("psql-15", _psql(DEBIAN_15), _PSQL_SCRIPT),
        Client("psql-18", _psql(bundled), _PSQL_SCRIPT, lanes=_PLAIN),
        Client("psql-18-protocol-3.2", _psql(bundled), _PSQL_SCRIPT, newest, _PLAIN),
        Client("psycopg", _python("psycopg_client.py")),
        Client(
            "psycopg-protocol-3.2", _python("psycopg_client.py"), environment=newest, lanes=_PLAIN
        ),
        Client("libpq-functions", _python("fastpath_client.py")),
        Client("asyncpg", _python("asyncpg_client.py")),
        Client("pg_dump-18", _python("pgdump_client.py"), environment=of_18, lanes=_PLAIN),
        Client("pg_dump-15", _python("pgdump_client.py"), environment=of_15, lanes=_TLS),
        Client("pgbench-18", _python("pgbench_client.py"), environment=of_18, lanes=_PLAIN),
        Client("pgbench-15", _python("pgbench_client.py"), environment=of_15, lanes=_TLS),
        Client("node-postgres", _node, environment=_MODULES),
        Client("pgjdbc", _java),
        Client("pgx", _go),
    )
