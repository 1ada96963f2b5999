"""`chaperon init` and its URLs: what it writes loads, and the password is nowhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperon.cli import starter
from chaperon.cli.exits import Exit
from chaperon.cli.main import main
from chaperon.cli.policy import schema
from chaperon.config import load_config
from chaperon.policy.load import load_policies, names_of
from chaperon.protocols.postgres.url import read_url
from chaperon.protocols.registry import REGISTRY
from chaperon.wire.errors import ConfigError

PASSWORD = "canary: {p@ss} 'w\"ord' #9"
URL = "postgresql://app:canary%3A%20%7Bp%40ss%7D%20%27w%22ord%27%20%239@db.example.org:5433/shop"


def init(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["chaperon", "init", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_what_it_writes_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "deep" / "gateway"
    assert init(monkeypatch, "--database-url", URL, "--dir", str(folder)) == Exit.OK
    config = load_config(folder / "chaperon.yaml", REGISTRY)
    resource = config.resources["shop"]
    assert (resource.upstream.host, resource.upstream.port) == ("db.example.org", 5433)
    assert resource.upstream.tls == "verify-full"
    assert resource.upstream.password is not None
    assert resource.upstream.password.resolve().reveal() == PASSWORD
    assert len(load_policies(config.policies, schema(), names_of(config)).policies) == 1
    secret = folder / "secrets" / "shop.password"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700
    said = capsys.readouterr()
    others = [path for path in folder.rglob("*") if path.is_file() and path != secret]
    for text in (said.out, said.err, *(path.read_text() for path in others)):
        assert "canary" not in text
    for command in ("doctor", "serve", "token create ci-bot"):
        assert f"chaperon {command} -c {folder / 'chaperon.yaml'}" in said.out


def test_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--database-url", URL, "--dir", str(tmp_path))
    policy = tmp_path / "policies" / "10-read-only.cedar"
    policy.parent.mkdir()
    policy.write_text("mine")
    assert init(monkeypatch, *arguments) == Exit.FAILED
    assert policy.read_text() == "mine"
    assert not (tmp_path / "chaperon.yaml").exists()
    policy.unlink()
    assert init(monkeypatch, *arguments) == Exit.OK
    before = (tmp_path / "chaperon.yaml").read_text()
    assert init(monkeypatch, *arguments) == Exit.FAILED
    assert (tmp_path / "chaperon.yaml").read_text() == before
    assert "nothing is overwritten" in capsys.readouterr().err


def test_what_was_begun_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secrets").write_text("a file where a folder is to be")
    assert init(monkeypatch, "--database-url", URL, "--dir", str(tmp_path)) == Exit.FAILED
    assert not (tmp_path / "policies" / "10-read-only.cedar").exists()
    assert not (tmp_path / "chaperon.yaml").exists()


def test_without_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgres://app@127.0.0.1/shop"
    assert init(monkeypatch, "--database-url", url, "--dir", str(tmp_path)) == Exit.OK
    upstream = load_config(tmp_path / "chaperon.yaml", REGISTRY).resources["shop"].upstream
    assert (upstream.password, upstream.port, upstream.tls) == (None, 5432, "prefer")
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--database-url URL"),
        (("--database-url", "mysql://a@b/c"), "postgresql://"),
        (("--database-url", URL, "--resource", "no way"), "--resource"),
        (("--database-url", URL, "--agent", "a+b"), "--agent"),
        (("--database-url", "postgresql://app:canary@db:port/shop"), "no number"),
        (("--database-url", "postgresql://app:canary@/shop"), "no single host"),
        (("--database-url", "postgresql://app:canary@a,b/shop"), "no single host"),
        (("--database-url", "postgresql://app:canary@[::1/shop"), "malformed"),
        (("--database-url", "postgresql://db/shop"), "no user"),
        (("--database-url", "postgresql://app:canary@db"), "no database"),
        (("--database-url", "postgresql://app:canary@db/shop?sslmode=maybe"), "verify-full"),
        (("--database-url", "postgresql://app:canary@db/shop?port=0"), "65535"),
    ],
)
def test_slips_are_named_and_the_url_is_not_repeated(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert init(monkeypatch, *arguments) == Exit.USAGE
    said = capsys.readouterr().err
    assert words in said
    assert "canary" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_listen_address_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--database-url", URL, "--dir", str(tmp_path), "--listen", "nowhere")
    assert init(monkeypatch, *arguments) == Exit.USAGE
    assert not (tmp_path / "chaperon.yaml").exists()


def test_parts_of_a_url() -> None:
    target = read_url(
        "postgresql://us%20er@[::1]:6000/da%2Fta?sslmode=verify-ca&sslrootcert=ca.pem&keepalives=1"
    )
    assert target.upstream == {
        "host": "::1",
        "port": 6000,
        "database": "da/ta",
        "user": "us er",
        "tls": "verify-ca",
        "ca": "ca.pem",
    }
    assert target.password is None
    assert len(target.notes) == 1
    assert "keepalives" in target.notes[0]


@given(st.text(max_size=60))
def test_any_url_is_read_or_refused(text: str) -> None:
    try:
        outcome = str(read_url(f"postgresql://{text}").upstream["host"])
    except ConfigError as error:
        outcome = str(error).partition("\n")[2]
    assert outcome  # a host, or a remedy


_names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)


@given(database=_names, user=_names, password=_names)
def test_any_value_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory, database: str, user: str, password: str
) -> None:
    folder = tmp_path_factory.mktemp("init")
    text = starter.config_text(
        protocol="postgres",
        listen="127.0.0.1:6432",
        agent="ci-bot",
        resource="yes",
        upstream={"host": "db", "port": 1, "database": database, "user": user, "tls": "prefer"},
        password_file=f"./{password.encode().hex()}",
    )
    (folder / "chaperon.yaml").write_text(text)
    upstream = load_config(folder / "chaperon.yaml", REGISTRY).resources["yes"].upstream
    assert (upstream.database, upstream.user) == (database, user)


def test_the_policies_in_comments_are_in_order(tmp_path: Path) -> None:
    text = starter.policy_text(agent="ci-bot", resource="shop")
    lines = text.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("// @id("))
    uncommented = [line.removeprefix("// ").removeprefix("//") for line in lines[begin:]]
    (tmp_path / "p.cedar").write_text("\n".join([*lines[:begin], *uncommented]))
    assert len(load_policies(tmp_path, schema()).policies) == 3
