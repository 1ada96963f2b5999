"""Stock clients print one transcript directly and through the gateway, or the gateway is wrong.

The lane says on what: PostgreSQL 18 in plain text, or PostgreSQL 15 with TLS on both sides and a
client that proves its token by SCRAM.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conformance.toolchains import Client, ToolchainMissing, clients
from tests.support.gateway import AGENT, Gateway
from tests.support.pki import Authority
from tests.support.servers import APP_PASSWORD, APP_USER, DATABASE, PostgresServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

# What two runs against one server differ in: process ids in psql's words, the number of the
# session's temporary schema, object ids counted up by the server.
_VARIES = (
    (re.compile(rb"server process with PID \d+"), b"server process with PID N"),
    (re.compile(rb"pg_temp_\d+"), b"pg_temp_N"),
    (re.compile(rb"large object (?!4294967295|424242|515151)\d+"), b"large object N"),
)
_RESET = """
DROP SCHEMA IF EXISTS two CASCADE; DROP SCHEMA public CASCADE;
CREATE SCHEMA public AUTHORIZATION app; SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
"""


@dataclass(slots=True)
class Lane:
    """A server, what a client needs to reach it, and its gateway once asked for."""

    name: str
    server: PostgresServer
    transcripts: dict[str, bytes] = field(default_factory=dict)
    _gateway: Gateway | None = None

    def environment(self) -> dict[str, str]:
        found = {
            "PGHOST": self.server.host,
            "PGPORT": str(self.server.port),
            "PGUSER": APP_USER,
            "PGPASSWORD": APP_PASSWORD,
        }
        return found | self._tls(self.server.authority)

    def gateway(self) -> Gateway:
        """The lane's gateway; started by the first that needs it."""
        if self._gateway is None:
            authority = self.server.authority
            upstream = {"tls": "disable"}
            if authority:
                upstream = {"tls": "verify-full", "ca": str(authority.ca)}
            self._gateway = Gateway.start(self.server, tls=authority is not None, upstream=upstream)
        return self._gateway

    def through_gateway(self) -> dict[str, str]:
        gateway = self.gateway()
        token = gateway.token()
        scram = gateway.authority is not None
        found = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(gateway.port),
            "PGUSER": f"{AGENT}+{token.public_id}" if scram else AGENT,
            "PGPASSWORD": token.token,
        }
        return found | self._tls(gateway.authority)

    def direct(self, client: Client) -> bytes:
        """The client's transcript without a gateway, made once."""
        if client.name not in self.transcripts:
            self.transcripts[client.name] = self.run(client, self.environment())
        return self.transcripts[client.name]

    def run(self, client: Client, environment: dict[str, str]) -> bytes:
        """Run the client on a clean schema; its normalised transcript. Fails on another exit."""
        command = client.command()
        self.server.sql(_RESET)
        with (client.script or Path(os.devnull)).open("rb") as script:
            done = subprocess.run(
                command,
                stdin=script,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=client.seconds,
                env={**_BARE, "PGDATABASE": DATABASE, **client.environment, **environment},
                check=False,
            )
        output = done.stdout
        for pattern, replacement in _VARIES:
            output = pattern.sub(replacement, output)
        assert done.returncode == 0, output.decode(errors="replace")[-3000:]
        return output

    def stop(self) -> None:
        if self._gateway:
            self._gateway.stop()

    @staticmethod
    def _tls(authority: Authority | None) -> dict[str, str]:
        if authority is None:
            return {"PGSSLMODE": "disable"}
        return {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(authority.ca)}


_BARE = {
    "PATH": os.environ["PATH"],
    "HOME": os.environ.get("HOME", "/"),
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PGCONNECT_TIMEOUT": "10",
}
_CASES = [
    pytest.param(lane, client, id=f"{lane}-{client.name}")
    for client in clients()
    for lane in sorted(client.lanes)
]


@pytest.fixture(scope="module")
def lanes(pg18: PostgresServer, pg15_tls: PostgresServer) -> Iterator[dict[str, Lane]]:
    made = {lane.name: lane for lane in (Lane("plain-18", pg18), Lane("tls-15", pg15_tls))}
    yield made
    for lane in made.values():
        lane.stop()


def _present(client: Client) -> None:
    """A toolchain that is missing is a failure in CI, and named as not run elsewhere."""
    try:
        client.command()
    except ToolchainMissing as missing:
        text = f"{client.name} needs {missing}, which is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)


@pytest.mark.parametrize(("lane", "client"), _CASES)
def test_script_runs_directly(lanes: dict[str, Lane], lane: str, client: Client) -> None:
    _present(client)
    transcript = lanes[lane].direct(client)
    assert transcript.count(b"\n") >= 10, transcript
    assert b"time: False" not in transcript


@pytest.mark.parametrize(("lane", "client"), _CASES)
def test_gateway_changes_nothing(lanes: dict[str, Lane], lane: str, client: Client) -> None:
    _present(client)
    direct = lanes[lane].direct(client)
    through = lanes[lane].run(client, lanes[lane].through_gateway())
    if direct != through:
        pytest.fail(_difference(direct, through))


def _difference(direct: bytes, through: bytes) -> str:
    lines = difflib.unified_diff(
        direct.decode(errors="replace").splitlines(),
        through.decode(errors="replace").splitlines(),
        "directly",
        "through the gateway",
        lineterm="",
        n=2,
    )
    return "\n".join(line[:400] for line in lines)[:6000]
