"""The commands without a gateway and without a database: what they print and how they end."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaperon.api.methods import METHODS
from chaperon.cli.exits import Exit
from chaperon.cli.main import main
from chaperon.store import SessionRow, StatementRow, Store

ROOT = Path(__file__).parents[2]
URL = "postgresql://app:canary-8642@127.0.0.1:1/shop"
SECOND = 10**9


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `chaperon ARGUMENTS` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHAPERON_CONFIG", raising=False)

    def run_command(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["chaperon", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert "\x1b" not in captured.out + captured.err
        return Done(code, captured.out, captured.err)

    return run_command


@pytest.fixture
def ready(run: Run) -> Run:
    """As `run`, in a folder with a configuration of `init`."""
    assert run("init", "--database-url", URL, "--resource", "orders").code == Exit.OK
    return run


def test_help_is_quick() -> None:
    """In processor time, because a busy machine makes any wall time long."""
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "chaperon.cli.main", "--help"],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 0.2


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['chaperon', '--help']\n"
        "from chaperon.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'sqlalchemy', 'rich', 'asyncio', 'cedarpy', 'yaml', 'asyncpg'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ("tokn",),
        ("token", "crate"),
        ("token", "create"),
        ("sessions", "list", "--lmit", "3"),
        ("sessions", "list", "--limit", "0"),
        ("replay", "x", "--speed", "fast"),
        ("replay", "x", "--speed", "0"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.code == Exit.USAGE
    assert "Usage:" in done.err
    assert done.out == ""


def test_a_slip_is_met_with_a_suggestion(run: Run) -> None:
    assert "'token'" in run("tokn").err


def test_no_configuration(run: Run) -> None:
    done = run("check")
    assert done.code == Exit.CONFIGURATION
    assert "chaperon init" in done.err
    assert "-c FILE" in done.err


def test_configuration_by_option_and_by_variable(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert ready("check").code == Exit.CONFIGURATION
    assert ready("check", "-c", "../chaperon.yaml").code == Exit.OK
    monkeypatch.setenv("CHAPERON_CONFIG", str(tmp_path / "chaperon.yaml"))
    assert ready("check").code == Exit.OK
    assert ready("check", "-c", "absent.yaml").code == Exit.CONFIGURATION


def test_check_names_every_problem_with_its_line(ready: Run, tmp_path: Path) -> None:
    config = tmp_path / "chaperon.yaml"
    config.write_text(config.read_text().replace("barrier: write", "barier: write"))
    done = ready("check")
    assert done.code == Exit.CONFIGURATION
    assert re.search(r"chaperon\.yaml:\d+:\d+", done.err)
    assert "barrier" in done.err


def test_check_and_policy_check(ready: Run, tmp_path: Path) -> None:
    assert ready("check", "--json").json()["resources"] == ["orders"]
    assert len(ready("policy", "check", "--json").json()["policies"]) == 1
    (tmp_path / "policies" / "10-read-only.cedar").write_text("permit (principal, action")
    for command in (("check",), ("policy", "check")):
        done = ready(*command)
        assert done.code == Exit.CONFIGURATION
        assert "10-read-only.cedar:1" in done.err


def test_a_missing_secret_is_a_warning(ready: Run, tmp_path: Path) -> None:
    (tmp_path / "secrets" / "orders.password").unlink()
    done = ready("check")
    assert done.code == Exit.OK
    assert "cannot be read" in done.err


def test_token_life(ready: Run) -> None:
    made = ready("token", "create", "ci-bot", "--ttl", "1h30m", "--json").json()
    assert made["token"].startswith(f"chp_{made['id']}_")
    assert made["expires_ns"] - made["issued_ns"] == 5400 * SECOND
    plain = ready("token", "create", "ci-bot")
    assert re.fullmatch(r"chp_[a-z2-7]{10}_[a-z2-7]{40}\n", plain.out)
    listed = ready("token", "list", "--json").json()
    assert {row["state"] for row in listed} == {"valid"}
    assert made["token"] not in json.dumps(listed)
    revoked = ready("token", "revoke", made["id"], "--json").json()
    assert revoked["state"] == "revoked"
    again = ready("token", "revoke", plain.out.strip())
    assert again.code == Exit.OK
    assert "Revoked" in again.out
    assert "revoked" in ready("token", "list").out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "ci-bto"), Exit.NOT_FOUND, "Did you mean ci-bot?"),
        (("create", "zzz"), Exit.NOT_FOUND, "identity.local"),
        (("create", "ci-bot", "--ttl", "soon"), Exit.USAGE, "1h30m"),
        (("create", "ci-bot", "--ttl", "0s"), Exit.USAGE, "out of bounds"),
        (("create", "ci-bot", "--ttl", "999999d"), Exit.USAGE, "out of bounds"),
        (("revoke", "aaaaaaaaaa"), Exit.NOT_FOUND, "chaperon token list"),
        (("revoke", "nonsense"), Exit.USAGE, "neither a token"),
        (("list", "--principal", "ci-bto"), Exit.NOT_FOUND, "Did you mean ci-bot?"),
    ],
)
def test_token_slips(ready: Run, arguments: tuple[str, ...], code: Exit, words: str) -> None:
    done = ready("token", *arguments)
    assert done.code == code
    assert words in done.err
    assert done.out == ""


HOSTILE = "SELECT '\x1b[2J\x07' -- \u202e"


@pytest.fixture
def recorded(ready: Run, tmp_path: Path) -> Run:
    """As `ready`, with two sessions in the index whose ids share their first letters."""
    assert ready("token", "list").code == Exit.OK  # makes the data folder
    store = Store.open(tmp_path / "data")
    now = time.time_ns()
    sessions = [
        SessionRow(
            id=name,
            protocol="postgres",
            principal=principal,
            resource="orders",
            peer="127.0.0.1:5",
            started_ns=now - age * SECOND,
            ended_ns=None if name == "abd" else now,
            reason="the agent closed the connection",
            statements=2,
            denied=denied,
            meta={"token": "aaaaaaaaaa"},
        )
        for name, principal, age, denied in (
            ("abcdefghij234567", "ci-bot", 7200, 1),
            ("abd", "ana", 60, 0),
        )
    ]
    store.write_index(
        sessions, [statement(0, "allow", HOSTILE), statement(1, "deny", "DROP TABLE t")]
    )
    store.close()
    return ready


def statement(ordinal: int, verdict: str, text: str) -> StatementRow:
    return StatementRow(
        session="abcdefghij234567",
        ordinal=ordinal,
        verb="query",
        text=text,
        text_bytes=len(text),
        values=["\x1b]0;pwned\x07"] if ordinal == 0 else [],
        verdict=verdict,
        policy="read-only",
        message="Only reads." if verdict == "deny" else "",
        facts=None,
        outcome="denied" if verdict == "deny" else "completed",
        started_ns=time.time_ns(),
        first_row_ms=None,
        total_ms=1.5,
        rows=3,
        affected=None,
        size=10,
        error_code="",
        error_message="",
        tag="SELECT 3",
    )


def ids(done: Done) -> list[str]:
    assert done.code == Exit.OK, done.err
    return [row["id"] for row in done.json()]


def test_sessions_list_and_its_filters(recorded: Run) -> None:
    both = ["abd", "abcdefghij234567"]
    assert ids(recorded("sessions", "list", "--json")) == both
    assert ids(recorded("sessions", "list", "--json", "--limit", "1")) == both[:1]
    for arguments, expected in (
        (("--principal", "ci-bot"), both[1:]),
        (("--resource", "orders"), both),
        (("--until", "1h"), both[1:]),
        (("--since", "2020-01-01"), both),
        (("--verdict", "deny"), both[1:]),
        (("--text", "drop table"), both[1:]),
        (("--text", "absent"), []),
    ):
        assert ids(recorded("sessions", "list", "--json", *arguments)) == expected, arguments
    shown = recorded("sessions", "list").out
    assert "abcdefghij23" in shown
    assert "open" in shown  # no end in its recording, and no gateway that has it


def test_sessions_list_slips(recorded: Run) -> None:
    for arguments, code, words in (
        (("--since", "yesterday-ish"), Exit.USAGE, "two hours ago"),
        (("--verdict", "maybe"), Exit.USAGE, "allow, deny"),
        (("--principal", "ci-bto"), Exit.NOT_FOUND, "Did you mean ci-bot?"),
        (("--resource", "order"), Exit.NOT_FOUND, "Did you mean orders?"),
    ):
        done = recorded("sessions", "list", *arguments)
        assert (done.code, words in done.err) == (code, True), done


def test_sessions_show(recorded: Run) -> None:
    value = recorded("sessions", "show", "abc", "--json").json()
    assert [row["text"] for row in value["statement_list"]] == [HOSTILE, "DROP TABLE t"]
    shown = recorded("sessions", "show", "abc").out
    assert "denied by read-only: Only reads." in shown
    assert "\\x1b[2J" in shown
    assert "\u202e" not in shown
    assert "\x07" not in shown


def test_session_by_its_beginning(recorded: Run) -> None:
    assert recorded("sessions", "show", "abd").code == Exit.OK
    ambiguous = recorded("sessions", "show", "ab")
    assert ambiguous.code == Exit.NOT_FOUND
    assert "abd" in ambiguous.err
    assert recorded("sessions", "show", "zz").code == Exit.NOT_FOUND
    assert recorded("sessions", "show", "%").code == Exit.NOT_FOUND
    assert recorded("sessions", "show", "").code == Exit.USAGE


def test_what_needs_a_gateway_says_so(ready: Run) -> None:
    for command in (("status",), ("sessions", "kill", "abc")):
        done = ready(*command)
        assert done.code == Exit.NOT_RUNNING
        assert "chaperon serve -c" in done.err


def test_index_rebuild_of_nothing(ready: Run) -> None:
    assert ready("index", "rebuild", "--json").json() == {"recordings": 0}
    assert ready("index", "rebuild").out == "Indexed 0 recordings.\n"


def test_index_rebuild_keeps_tokens_and_drops_what_has_no_recording(recorded: Run) -> None:
    recorded("token", "create", "ci-bot")
    assert recorded("index", "rebuild").code == Exit.OK
    assert ids(recorded("sessions", "list", "--json")) == []
    assert len(recorded("token", "list", "--json").json()) == 1


def test_a_store_of_a_newer_version(ready: Run, tmp_path: Path) -> None:
    ready("token", "list")
    (tmp_path / "data" / "VERSION").write_text("99\n")
    done = ready("token", "list")
    assert done.code == Exit.CONFIGURATION
    assert "newer" in done.err


def test_doctor_finds_what_is_amiss(ready: Run, tmp_path: Path) -> None:
    done = ready("doctor", "--json")
    assert done.code == Exit.FAILED
    levels = {row["subject"]: row["level"] for row in done.json()["findings"]}
    assert levels["orders"] == "fail"  # nothing listens at port 1
    assert {levels[name] for name in ("configuration", "data folder", "spool", "policies")} == {
        "ok"
    }
    for row in done.json()["findings"]:
        assert row["level"] == "ok" or row["remedy"], row
    assert "canary-8642" not in done.out
    plain = ready("doctor")
    assert "nothing listens at 127.0.0.1:1" in plain.out
    assert "1 failed" in plain.out


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ('@id("all") permit (principal, action, resource);', "may do everything"),
        ('@id("all") permit (principal, action, resource);', "whoever has a token"),
        ('@id("no") forbid (principal, action, resource);', "may connect nowhere: ci-bot"),
    ],
)
def test_doctor_judges_policies(ready: Run, tmp_path: Path, policy: str, words: str) -> None:
    (tmp_path / "policies" / "10-read-only.cedar").write_text(policy)
    findings = ready("doctor", "--json").json()["findings"]
    assert any(words in row["text"] for row in findings if row["level"] == "warn"), findings


def test_doctor_and_a_disk_below_the_reserve(ready: Run, tmp_path: Path) -> None:
    config = tmp_path / "chaperon.yaml"
    config.write_text(config.read_text().replace("reserve: 1GiB", "reserve: 900TiB"))
    findings = ready("doctor", "--json").json()["findings"]
    assert [row["level"] for row in findings if row["subject"] == "data folder"] == ["fail"]


def test_policy_explain_of_names_that_are_not(ready: Run) -> None:
    done = ready("policy", "explain", "ci-bto", "orders", "SELECT 1")
    assert (done.code, "ci-bot" in done.err) == (Exit.NOT_FOUND, True)
    done = ready("policy", "explain", "ci-bot", "order", "SELECT 1")
    assert (done.code, "orders" in done.err) == (Exit.NOT_FOUND, True)
    done = ready("policy", "explain", "ci-bot", "orders", "SELECT 1")
    assert (done.code, "nothing listens" in done.err) == (Exit.FAILED, True)


def test_a_bug_is_two_lines_and_not_a_traceback(
    ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("chaperon.cli.check.run", broken)
    done = ready("check")
    assert done.code == Exit.FAILED
    assert "CHAPERON_TRACEBACK" in done.err
    assert len(done.err.splitlines()) == 2


def test_exit_codes_are_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    documented = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE))
    assert documented == {str(int(code)): code.name for code in Exit}


def test_every_command_is_documented(run: Run) -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    for group in ((), ("token",), ("sessions",), ("policy",), ("index",)):
        listing = run(*group, "--help").out.split("Commands:")[1]
        for name in re.findall(r"^  (\w+)  ", listing, re.MULTILINE):
            assert f"chaperon {' '.join((*group, name))}" in text, name


def test_every_method_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    documented = re.findall(
        r"^\| `([\w.]+)` \|", text.split("## The control socket")[1], re.MULTILINE
    )
    assert sorted(documented) == sorted(METHODS)
