"""The configuration file: what a good one gives, and every wrong one's line and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaperon.config import Config, load_config
from chaperon.wire.errors import ConfigError
from chaperon.wire.principal import Principal, PrincipalKind

ISSUE = """\
data: ./data
listeners:
  - {protocol: postgres, address: 127.0.0.1:6432}
identity:
  local:
    agents: {ci-bot: {groups: [analysts]}}
    users: {ana: {groups: [dba]}}
resources:
  orders:
    protocol: postgres
    upstream: {host: 127.0.0.1, port: 5432, database: shop, user: app, \
password: {env: ORDERS_PASSWORD}, tls: prefer}
policies: ./policies
recording: {barrier: write, reserve: 1GiB}
"""
PROTOCOLS = ("postgres", "redis")


def read(folder: Path, text: str) -> Config:
    (folder / "chaperon.yaml").write_text(text)
    return load_config(folder / "chaperon.yaml", PROTOCOLS)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as error:
        read(folder, text)
    return str(error.value)


def changed(old: str, new: str) -> str:
    assert old in ISSUE
    return ISSUE.replace(old, new)


def test_the_example_of_the_issue(tmp_path: Path) -> None:
    config = read(tmp_path, ISSUE)
    assert config.path == tmp_path / "chaperon.yaml"
    assert config.data == tmp_path / "data"
    assert config.policies == tmp_path / "policies"
    assert (config.listeners[0].host, config.listeners[0].port) == ("127.0.0.1", 6432)
    assert not config.listeners[0].allow_cleartext
    assert config.principals() == {
        "ci-bot": Principal(PrincipalKind.AGENT, "ci-bot", frozenset({"analysts"})),
        "ana": Principal(PrincipalKind.USER, "ana", frozenset({"dba"})),
    }
    assert config.groups() == {"analysts", "dba"}
    upstream = config.resources["orders"].upstream
    assert (upstream.host, upstream.port, upstream.database) == ("127.0.0.1", 5432, "shop")
    assert (upstream.user, upstream.tls) == ("app", "prefer")
    assert upstream.password is not None
    assert upstream.password.env == "ORDERS_PASSWORD"
    assert upstream.password.where == f"{tmp_path}/chaperon.yaml:11:82"
    assert config.resources["orders"].inspection_limit == 16 * 1024 * 1024
    assert (config.recording.barrier, config.recording.reserve) == ("write", 1 << 30)


def test_what_is_left_out_has_a_safe_default(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        "data: /d\npolicies: /p\nlisteners: [{protocol: redis, address: '[::1]:0'}]\n"
        "resources: {r: {protocol: redis, upstream: {host: h, database: d, user: u}}}\n",
    )
    assert config.resources["r"].upstream.tls == "verify-full"
    assert config.resources["r"].upstream.password is None
    assert config.resources["r"].safe_functions == frozenset()
    assert config.principals() == {}
    assert config.data == Path("/d")
    assert (config.listeners[0].host, config.listeners[0].port) == ("::1", 0)


def test_everything_that_may_be_written(tmp_path: Path) -> None:
    text = changed("tls: prefer", "tls: verify-full, ca: ca.pem, certificate: c.pem, key: k.pem")
    text = text.replace("{env: ORDERS_PASSWORD}", "{file: secrets/orders}")
    text = text.replace(
        "6432}", "6432, tls: {certificate: a.pem, key: b.pem}, allow_cleartext: true}"
    )
    text = text.replace(
        "    protocol: postgres\n",
        "    protocol: postgres\n    safe_functions: [public.total]\n"
        "    catalog_staleness: 1.5m\n    inspection_limit: 1MiB\n",
    )
    config = read(tmp_path, text.replace("ana: {groups: [dba]}", "ana: , bo: {}"))
    resource = config.resources["orders"]
    assert resource.catalog_staleness == 90.0
    assert resource.inspection_limit == 1 << 20
    assert resource.safe_functions == {"public.total"}
    assert resource.upstream.ca == tmp_path / "ca.pem"
    assert resource.upstream.password is not None
    assert resource.upstream.password.file == tmp_path / "secrets/orders"
    listener = config.listeners[0]
    assert listener.allow_cleartext
    assert listener.tls is not None
    assert listener.tls.certificate == tmp_path / "a.pem"
    assert config.principals()["ana"].groups == frozenset()


@pytest.mark.parametrize(
    ("text", "place", "wrong", "remedy"),
    [
        (changed("data:", "dta:"), "1:1", "dta: unknown", "`data`?"),
        (changed("data: ./data\n", ""), "1:1", "data: missing", "Add `data:`"),
        (
            changed("protocol: postgres,", "protocol: postgress,"),
            "3:6",
            "'postgress'",
            "`postgres`",
        ),
        (changed("127.0.0.1:6432", "127.0.0.1"), "3:26", "no address|not an address", "HOST:PORT"),
        (changed("127.0.0.1:6432", "127.0.0.1:99999"), "3:26", "not an address", "HOST:PORT"),
        (changed("127.0.0.1:6432", "'::1:6432'"), "3:26", "not an IPv6", r"\[::1\]"),
        (changed("groups: [analysts]", "groups: analysts"), "6:23", "must be a list", "one, two"),
        (changed("groups: [analysts]", "group: [a]"), "6:23", "unknown key", "`groups`"),
        (changed("ci-bot:", "ci+bot:"), "6:14", "ci\\+bot", "letters"),
        (changed("ana:", "ci-bot:"), "7:13", "taken in line 6", "Rename"),
        (changed("5432", "0"), "11:33", "port", "docs/configuration.md"),
        (changed("{env: ORDERS_PASSWORD}", "hunter2"), "11:72", "named here", "{env: NAME}"),
        (changed("{env: ORDERS_PASSWORD}", "{value: x}"), "11:72", "named here", "{env: NAME}"),
        (changed("{env: ORDERS_PASSWORD}", "{env: 'a b'}"), "11:72", "not the name", "{env: NAME}"),
        (changed("tls: prefer", "tls: allow"), "11:106", "not one of", "'verify-full'"),
        (changed("tls: prefer", "tls: no"), "11:106", "not one of", "'disable'"),
        (changed("tls: prefer", "ca: x, tls: require"), "11:5", "no effect", "verify-full"),
        (changed("tls: prefer", "key: x"), "11:5", "go together", "both"),
        (changed("user: app", "user: 12"), "11:61", "must be text", "quotes"),
        (changed("user: app", "user: ''"), "11:61", "at least 1", ""),
        (changed("write,", "sync,"), "13:13", "not one of", "'write' or 'fsync'"),
        (changed("barrier:", "barier:"), "13:13", "unknown", "`barrier`"),
        (changed("1GiB", "1GB"), "13:29", "'1GB' is not a size", "1GiB"),
        (changed("1GiB", "-1"), "13:29", "not a size", "1GiB"),
        (changed("1GiB", "true"), "13:29", "not a size", "1GiB"),
        (ISSUE + "data: x\n", "14:1", "stands twice", "line 1"),
        (changed("resources:\n", "resources:\n  bad name: {}\n"), "9:3", "bad name", "letters"),
        (
            changed("listeners:\n", "listeners: []\n").replace("  - {p", "#"),
            "2:1",
            "at least 1",
            "",
        ),
        (changed("data: ./data", "data: [a"), "2:10", "not YAML", "brackets"),
        (changed("data: ./data", "data: !!python/object:x a"), "1:7", "tag", "Remove"),
        ("", "1:1", "empty", "key: value"),
        ("- a\n", "1:1", "no mapping", "key: value"),
    ],
)
def test_refused_with_line_column_and_remedy(
    tmp_path: Path, text: str, place: str, wrong: str, remedy: str
) -> None:
    said = refused(tmp_path, text)
    problems = said.split(f"{tmp_path}/chaperon.yaml:")
    here = [problem for problem in problems if problem.startswith(f"{place}: ")]
    assert here, said
    assert any(re.search(wrong, problem) for problem in here), said
    assert any(re.search(remedy, problem.partition("\n    ")[2]) for problem in here), said


def test_every_problem_in_one_go_and_in_order(tmp_path: Path) -> None:
    text = changed("data:", "dta:").replace("prefer", "perhaps").replace("write,", "sync,")
    places = re.findall(r"chaperon\.yaml:(\d+):", refused(tmp_path, text))
    assert places == ["1", "1", "11", "13"]


def test_a_secret_in_the_file_is_not_repeated(tmp_path: Path) -> None:
    for value in ("hunter2", "{value: hunter2}", "{env: 'hunter2 '}", "[hunter2]", "{hunter2: x}"):
        said = refused(tmp_path, changed("{env: ORDERS_PASSWORD}", value))
        assert "hunter2" not in said


def test_words_stay_words(tmp_path: Path) -> None:
    config = read(tmp_path, changed("user: app", "user: no").replace("shop", "2026-01-01"))
    assert config.resources["orders"].upstream.user == "no"
    assert config.resources["orders"].upstream.database == "2026-01-01"


@pytest.mark.parametrize(
    "text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b]\n"]
)
def test_aliases_end(tmp_path: Path, text: str) -> None:
    assert "a: unknown key" in refused(tmp_path, text) or "deeply" in refused(tmp_path, text)


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    lines = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for level in range(1, 12):
        lines.append(f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 10)}]")
    assert "too many values" in refused(tmp_path, "\n".join(lines))


def test_deep_nesting_is_an_error_and_no_crash(tmp_path: Path) -> None:
    assert "deeply" in refused(tmp_path, "a: " + "[" * 5000 + "]" * 5000)


def test_files_that_are_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chaperon init"):
        load_config(tmp_path / "none.yaml", PROTOCOLS)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, PROTOCOLS)
    (tmp_path / "x.yaml").write_bytes(b"data: a\nb: \xff")
    with pytest.raises(ConfigError, match=r"x\.yaml:2:4: not UTF-8"):
        load_config(tmp_path / "x.yaml", PROTOCOLS)
    (tmp_path / "y.yaml").write_bytes(b"data: a\x00b\n")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(tmp_path / "y.yaml", PROTOCOLS)


def test_known_protocols_come_from_outside(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(ISSUE)
    with pytest.raises(ConfigError, match="no protocol 'postgres'"):
        load_config(tmp_path / "c.yaml", ["redis"])
