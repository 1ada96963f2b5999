"""The commands beside a running gateway, with an agent at work through it on PostgreSQL 18."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from tests.support.gateway import AGENT, READ_ONLY, RESOURCE, Gateway, Token
from tests.support.servers import APP_PASSWORD, PostgresServer

from chaperon.cli.exits import Exit

pytestmark = [pytest.mark.server, pytest.mark.slow]
PATIENCE = 15.0


@pytest.fixture(scope="module")
def gateway(pg18: PostgresServer) -> Iterator[Gateway]:
    pg18.sql("CREATE TABLE cli_orders AS SELECT 1 AS id; GRANT ALL ON cli_orders TO PUBLIC")
    running = Gateway.start(pg18, policies=READ_ONLY)
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def session(gateway: Gateway, token: Token | None = None) -> Iterator[psycopg.Connection]:
    dsn = gateway.dsn(token or gateway.token())
    connection = psycopg.connect(dsn, autocommit=True)
    try:
        yield connection
    finally:
        connection.close()


def answer(gateway: Gateway, *arguments: str) -> Any:
    return json.loads(gateway.command(*arguments, "--json").stdout)


def live(gateway: Gateway) -> list[str]:
    return [row["id"] for row in answer(gateway, "sessions", "list") if row["state"] == "live"]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ended(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_a_token_made_beside_the_gateway_lets_in_by_password_and_by_scram(
    gateway: Gateway,
) -> None:
    token = gateway.token()
    for scram in (False, True):
        with psycopg.connect(gateway.dsn(token, scram=scram)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: "hunter2", "not a gateway token"),
        (lambda t: t[:-1] + ("a" if t[-1] != "a" else "b"), "not valid"),
    ],
)
def test_a_wrong_token_is_told_what_to_do(
    gateway: Gateway, spoil: Callable[[str], str], words: str
) -> None:
    token = gateway.token()
    wrong = Token(spoil(token.token), token.public_id)
    with pytest.raises(psycopg.OperationalError, match=words):
        psycopg.connect(gateway.dsn(wrong))
    with pytest.raises(psycopg.OperationalError, match="not valid"):
        psycopg.connect(gateway.dsn(wrong, scram=True))


@pytest.mark.parametrize("scram", [False, True])
def test_an_expired_token_is_told_so(gateway: Gateway, scram: bool) -> None:
    token = gateway.token(AGENT, "--ttl", "1s")
    time.sleep(1.1)
    with pytest.raises(psycopg.OperationalError, match="expired"):
        psycopg.connect(gateway.dsn(token, scram=scram))


def test_a_revoked_token_ends_its_sessions_and_no_others(gateway: Gateway) -> None:
    first, second = gateway.token(), gateway.token()
    with session(gateway, first) as lost, session(gateway, second) as kept:
        revoked = answer(gateway, "token", "revoke", first.public_id)
        assert len(revoked["ended"]) == 1
        assert ended(lost)
        assert not ended(kept)
    with pytest.raises(psycopg.OperationalError, match="revoked"):
        psycopg.connect(gateway.dsn(first))


def test_a_killed_session_is_gone_when_the_command_returns(gateway: Gateway) -> None:
    with session(gateway) as connection:
        connection.execute("SELECT 1")
        [name] = live(gateway)
        killed = answer(gateway, "sessions", "kill", name[:8], "--reason", "because")
        assert killed == {"id": name, "killed": True}
        assert live(gateway) == []
        assert ended(connection)
    until(lambda: answer(gateway, "sessions", "show", name)["state"] == "ended")
    assert "because" in answer(gateway, "sessions", "show", name)["reason"]
    again = gateway.command("sessions", "kill", name, check=False)
    assert again.returncode == Exit.NOT_FOUND


def test_a_session_is_listed_shown_and_replayed(gateway: Gateway) -> None:
    with session(gateway) as connection:
        connection.execute("SELECT id AS answer FROM cli_orders")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM cli_orders")
        [name] = live(gateway)
    until(lambda: answer(gateway, "sessions", "show", name)["state"] == "ended")
    assert name in [
        row["id"] for row in answer(gateway, "sessions", "list", "--text", "delete FROM cli_orders")
    ]
    shown = answer(gateway, "sessions", "show", name)
    assert (shown["principal"], shown["resource"], shown["denied"]) == (AGENT, RESOURCE, 1)
    assert [row["verdict"] for row in shown["statement_list"]][-2:] == ["allow", "deny"]
    replayed = gateway.command("replay", name[:10], "--instant").stdout
    assert "answer" in replayed
    assert "DENIED by only-reads" in replayed
    assert "session ended" in replayed
    assert gateway.command("tail", name).stdout.splitlines()[-1] == replayed.splitlines()[-1]


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_tail_ends_with_the_session(gateway: Gateway, how: str) -> None:
    with session(gateway) as connection:
        [name] = live(gateway)
        tail = subprocess.Popen(
            [sys.executable, "-m", "chaperon.cli.main", "tail", name, "-c", str(gateway.config)],
            stdout=subprocess.PIPE,
            text=True,
            env=gateway._environment,
        )
        time.sleep(1.5)
        connection.execute("SELECT 4711 AS seen_late")
        if how == "killed":
            gateway.command("sessions", "kill", name)
    try:
        shown, _ = tail.communicate(timeout=PATIENCE)
    finally:
        tail.kill()
    assert tail.returncode == Exit.OK
    assert "seen_late" in shown
    assert "session ended" in shown


def test_doctor_and_status_know_the_gateway(gateway: Gateway) -> None:
    findings = answer(gateway, "doctor")["findings"]
    assert [row for row in findings if row["level"] == "fail"] == []
    assert any("the gateway's own" in row["text"] for row in findings)
    assert any("PostgreSQL 18" in row["text"] for row in findings)
    status = answer(gateway, "status")
    assert status["listeners"] == [f"127.0.0.1:{gateway.port}"]
    assert status["policy"]["policies"] == 2


@pytest.mark.parametrize(
    ("statement", "code", "words"),
    [
        ("SELECT * FROM cli_orders", Exit.OK, "allow sql.read on public.cli_orders"),
        ("DELETE FROM cli_orders", Exit.DENIED, "only-reads"),
        ("SELEC 1", Exit.DENIED, "unknown"),
    ],
)
def test_policy_explain(gateway: Gateway, statement: str, code: Exit, words: str) -> None:
    done = gateway.command("policy", "explain", AGENT, RESOURCE, statement, check=False)
    assert done.returncode == code
    assert words in done.stdout


def test_a_second_gateway_on_the_same_folder_is_refused(gateway: Gateway) -> None:
    second = gateway.command("serve", check=False)
    assert second.returncode == Exit.CONFIGURATION
    assert "Traceback" not in second.stderr
    assert answer(gateway, "status")["version"]


def test_the_index_is_the_gateways_while_it_runs(gateway: Gateway) -> None:
    done = gateway.command("index", "rebuild", check=False)
    assert done.returncode == Exit.FAILED
    assert "Stop it first" in done.stderr


def test_without_the_gateway_the_same_is_told(gateway: Gateway) -> None:
    """Last: it stops the gateway of the module."""
    with session(gateway) as connection:
        connection.execute("SELECT 1")
    until(lambda: {row["state"] for row in answer(gateway, "sessions", "list")} == {"ended"})
    before = answer(gateway, "sessions", "list")
    gateway.stop(keep=True)
    assert answer(gateway, "sessions", "list") == before
    assert answer(gateway, "index", "rebuild")["recordings"] == len(before)
    assert answer(gateway, "sessions", "list") == before
    everything = "".join(gateway.command("replay", row["id"], "--instant").stdout for row in before)
    assert APP_PASSWORD not in everything + gateway.log.read_text()
