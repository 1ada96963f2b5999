"""A gateway that cannot start says what to do; nothing that was recorded is lost by it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml
from tests.support.faults import Marks, chaperon, last_kind, recorded, until
from tests.support.gateway import PERMIT_ALL, Gateway
from tests.support.servers import PostgresServer

from chaperon.recording.frame import Kind
from chaperon.recording.reader import RecordingReader

pytestmark = pytest.mark.server

CONFIGURATION = 3


@pytest.fixture(scope="module")
def used(pg18: PostgresServer) -> Iterator[Gateway]:
    """A gateway that has recorded a session and was stopped."""
    gateway = Gateway.start(pg18)
    with psycopg.connect(gateway.dsn()) as connection:
        connection.execute("select 'kept'")
    gateway.stop(keep=True)
    assert gateway.process is not None
    assert gateway.process.returncode == 0
    yield gateway
    shutil.rmtree(gateway.folder)


@pytest.fixture
def stopped(used: Gateway) -> Iterator[Gateway]:
    """The same, as it was before; after the test its recording is as it was."""
    [path] = used.recordings()
    before = path.read_bytes()
    config, policy = used.config.read_text(), (used.folder / "policies" / "policy.cedar")
    yield used
    used.config.write_text(config)
    policy.write_text(PERMIT_ALL)
    assert path.read_bytes() == before
    assert used.recordings() == [path]


def _refusal(gateway: Gateway, *before: str) -> str:
    """What `chaperon serve` says when it does not start."""
    done = subprocess.run(
        [*before, *chaperon(), "serve", "-c", str(gateway.config)],
        capture_output=True,
        text=True,
        env=gateway._environment,
        cwd=gateway.folder,
        check=False,
        timeout=60,
    )
    assert done.returncode == CONFIGURATION, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_port_that_is_taken(stopped: Gateway) -> None:
    with socket.create_server(("127.0.0.1", stopped.port)):
        said = _refusal(stopped)
    assert f"127.0.0.1:{stopped.port}" in said
    assert "listeners" in said


def test_all_errors_of_a_configuration_at_once(stopped: Gateway) -> None:
    config = yaml.safe_load(stopped.config.read_text())
    config["recording"]["barrier"] = "maybe"
    config["listeners"][0]["protocol"] = "gopher"
    config["resources"]["shop"]["upstream"]["port"] = "many"
    stopped.config.write_text(yaml.safe_dump(config, sort_keys=False))
    said = _refusal(stopped)
    for word in ("barrier", "gopher", "port"):
        assert word in said
    assert f"{stopped.config.name}:" in said  # with the line


def test_policies_that_cannot_be_loaded(stopped: Gateway) -> None:
    (stopped.folder / "policies" / "policy.cedar").write_text('@id("x") permit (principal')
    assert "policy.cedar" in _refusal(stopped)


def test_a_data_folder_of_a_newer_version(stopped: Gateway) -> None:
    version = stopped.data / "VERSION"
    before = version.read_text()
    version.write_text("99\n")
    try:
        said = _refusal(stopped)
    finally:
        version.write_text(before)
    assert "99" in said
    assert "newer" in said


def test_a_data_folder_of_somebody_else(stopped: Gateway) -> None:
    """Root reads everything, so root's gateway is started as another user."""
    if os.geteuid() == 0:
        mode = stopped.folder.stat().st_mode
        stopped.folder.chmod(0o755)
        user = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
        try:
            said = _refusal(stopped, *user)
        finally:
            stopped.folder.chmod(mode & 0o777)
    else:
        stopped.data.chmod(0o000)
        try:
            said = _refusal(stopped)
        finally:
            stopped.data.chmod(0o700)
    assert str(stopped.data) in said
    assert "0700" in said


def test_a_second_gateway_on_the_folder(stopped: Gateway) -> None:
    before = stopped.recordings()
    stopped.serve()
    try:
        token = stopped.token()
        assert "another gateway" in _refusal(stopped)
        # The first one goes on, its control socket too.
        assert stopped.command("status").returncode == 0
        with psycopg.connect(stopped.dsn(token)) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        stopped.stop(keep=True)
        for path in set(stopped.recordings()) - set(before):
            path.unlink()


def test_bad_tokens_and_names(pg18: PostgresServer) -> None:
    gateway = Gateway.start(pg18)
    try:
        brief = gateway.token("ci-bot", "--ttl", "1s")
        good = gateway.token()
        revoked = gateway.token()
        gateway.command("token", "revoke", revoked.public_id)
        address = gateway.dsn(good)
        wrong = address.replace(good.token, f"{good.token[:-4]}aaaa")
        time.sleep(1.1)
        cases = {
            wrong: "token",
            address.replace("ci-bot", "nobody"): "token",
            gateway.dsn(brief): "expired",
            gateway.dsn(revoked): "revoked",
            address.replace(f":{gateway.port}/shop", f":{gateway.port}/nosuch"): "nosuch",
        }
        for dsn, word in cases.items():
            with pytest.raises(psycopg.OperationalError) as refused:
                psycopg.connect(dsn, connect_timeout=10)
            said = str(refused.value)
            assert "FATAL" in said
            assert word in said.lower()
            assert "HINT" in said
        with psycopg.connect(address) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        gateway.stop()


def test_what_a_kill_left_is_finished_at_the_next_start(pg18: PostgresServer) -> None:
    gateway = Gateway.start(pg18)
    marks = Marks()
    try:
        dsn = gateway.dsn()
        with psycopg.connect(dsn, autocommit=True) as connection:
            sent = [next(marks) for _ in range(20)]
            for mark in sent:
                connection.execute(f"select '{mark}'")
            gateway.kill()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1")
        spool = gateway.data / "spool"
        assert list(spool.glob("*.rec"))
        gateway.serve()
        until(lambda: not list(spool.glob("*.rec")), "the spool is empty")
        [path] = gateway.recordings()
        assert path.is_relative_to(gateway.data / "recordings")
        assert last_kind(path) == Kind.CLOSE
        with RecordingReader(path) as reader:
            assert b"crash" in bytes([*reader.read()][-1].payload)
        assert marks.within(recorded([path])) == set(sent)
        with psycopg.connect(dsn) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        gateway.stop()


def test_broken_policies_never_replace_good_ones(pg18: PostgresServer) -> None:
    gateway = Gateway.start(pg18)
    policy = gateway.folder / "policies" / "policy.cedar"
    try:
        with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
            policy.write_text('@id("x") forbid (principal')
            until(lambda: "cannot be loaded" in gateway.command("status").stdout, "status")
            assert "fails" in gateway.log.read_text()
            assert connection.execute("select 1").fetchone() == (1,)
            with psycopg.connect(gateway.dsn()) as new:
                assert new.execute("select 1").fetchone() == (1,)
            policy.write_text(PERMIT_ALL + '@id("none") forbid (principal, action, resource);')
            until(lambda: _denied(connection), "the new policies are in force")
            assert "cannot be loaded" not in gateway.command("status").stdout
    finally:
        gateway.stop()


def _denied(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    try:
        connection.execute("select 1")
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def test_the_command_needs_no_folder_of_its_own(tmp_path: Path) -> None:
    """A configuration that is not there at all."""
    done = subprocess.run(
        [*chaperon(), "serve", "-c", str(tmp_path / "nosuch.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == CONFIGURATION
    assert "nosuch.yaml" in done.stderr
