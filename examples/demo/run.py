"""`make demo`: a database, a gateway before it, and an agent that works through the gateway.

Everything lives in a temporary folder and on loopback, and ends with the demo: Ctrl-C, or by itself
with --once, when the exit code is 0 only if each step showed what it should.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from checks import (  # noqa: E402 (a folder of scripts, not a package)
    Check,
    agent_checks,
    database_checks,
    log_checks,
    read_report,
    replay_checks,
    secret_checks,
    session_checks,
)
from gateway import Gateway, free_port, program  # noqa: E402 (as above)
from postgres import DemoError, Postgres, programs  # noqa: E402 (as above)

AGENT, PERSON = "ci-bot", "ana"
DATABASE = "shop"
REPEATS, COPIED = 200, 250
_INDEX_SECONDS = 15.0
_AGENT_SECONDS = 60.0


class Screen:
    """Prints, and remembers what it printed. Colour only on a terminal."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    @property
    def shown(self) -> str:
        return "".join(self._parts)

    def say(self, text: str = "") -> None:
        self._parts.append(f"{text}\n")
        print(text, flush=True)

    def heading(self, text: str, about: str) -> None:
        self.say()
        self.say(self._styled("1;36", f"── {text} ".ljust(96, "─")))
        self.say(about)

    def verdict(self, check: Check) -> None:
        word = self._styled("32", "ok  ") if check.held else self._styled("1;31", "FAIL")
        self.say(f"  {word}  {check.promise}")
        if not check.held:
            self.say(f"        found: {check.found}")

    def _styled(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colour else text


def fill(server: Postgres, password: str) -> None:
    """Make the shop. The statement with the password is not one that the server would log."""
    server.sql(f"CREATE ROLE app LOGIN PASSWORD '{password}'", database="postgres")
    server.sql(f"CREATE DATABASE {DATABASE} OWNER app", database="postgres")
    server.sql((HERE / "shop.sql").read_text(), database=DATABASE)


def run_agent(screen: Screen, folder: Path, url: str, psql: Path) -> Path:
    """The agent in a process and a folder of its own; its report. Prints what it prints."""
    work = folder / "agent"
    work.mkdir()
    report = work / "report.json"
    process = subprocess.Popen(
        [sys.executable, "-u", str(HERE / "agent.py")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=work,
        # All that it knows: an address with a token.
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "DATABASE_URL": url,
            "PSQL": str(psql),
            "REPORT": str(report),
        },
        start_new_session=True,
    )
    late = time.monotonic() + _AGENT_SECONDS
    try:
        for line in process.stdout or ():
            screen.say(line.rstrip("\n"))
            if time.monotonic() > late:
                raise DemoError("The agent took too long.")
        process.wait(10)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return report


def indexed_sessions(gateway: Gateway) -> list[dict[str, Any]]:
    """The sessions, oldest first, once the index has caught up with both."""
    deadline = time.monotonic() + _INDEX_SECONDS
    while True:
        found: list[dict[str, Any]] = json.loads(gateway.ask("sessions", "list", "--json"))
        if len(found) >= 2 and all(session["ended_ns"] for session in found):
            return found[::-1]
        if time.monotonic() > deadline:
            return found[::-1]
        time.sleep(0.3)


def database_now(server: Postgres, steps: Mapping[str, Any]) -> list[Check]:
    """What the database says of itself, compared with what the agent was allowed to do."""
    made = 500 - 1 + COPIED + 1  # without the one row deleted, with those copied and inserted
    expected = {
        "orders:": f"{made}",
        "customers:": "6",
        "the amount of order 1, updated in the transaction with the refusal:": "11.00",
    }
    questions = (
        "SELECT count(*) FROM orders",
        "SELECT count(*) FROM customers",
        "SELECT amount FROM orders WHERE id = 1",
    )
    answers = {
        what: server.sql(question, database=DATABASE)
        for what, question in zip(expected, questions, strict=True)
    }
    return list(database_checks(answers, expected))


def demo(screen: Screen, folder: Path, once: bool, stopping: Callable[[], None]) -> bool:
    """Run it all; whether every check held. Raises DemoError."""
    password = f"shop-{secrets.token_urlsafe(24)}"
    psql = folder / "psql"
    psql.symlink_to(programs() / "psql")
    screen.heading(
        "What this is",
        "A shop's database, Chaperon in front of it, and an agent that works through Chaperon\n"
        "with stock clients. It has a token for Chaperon, and never the database's password.",
    )
    upstream_port = free_port(55432)
    server = Postgres.start(folder / "postgres", upstream_port, secrets.token_urlsafe(24))
    gateway = Gateway(folder, free_port(6432), password)
    try:
        fill(server, password)
        gateway.configure(upstream_port)
        gateway.start()
        url = gateway.url(AGENT)
        screen.say()
        screen.say(f"  database   PostgreSQL 18 on 127.0.0.1:{upstream_port}, owned by user app")
        screen.say(
            f"  Chaperon   on 127.0.0.1:{gateway.port}, before it as resource {Gateway.resource!r}"
        )
        screen.say(f"  policies   {', '.join(sorted(p.name for p in POLICIES))}")
        screen.say(f"  agent      {url}")
        checks = story(screen, server, gateway, lambda: run_agent(screen, folder, url, psql))
        hints = by_hand(gateway, url, psql)
        places = {"recordings and store": gateway.data, "the gateway's log": gateway.log}
        checks += log_checks(gateway.log)
        checks += secret_checks(password, places, screen.shown + hints)
        screen.heading("What was checked", "Each line was looked up, not assumed.")
        for check in checks:
            screen.verdict(check)
        screen.heading(
            "Try it by hand",
            "In another terminal, while this runs. Any PostgreSQL client will do; the tokens are "
            "good for 8 h.",
        )
        screen.say(hints)
        held = all(check.held for check in checks)
        if not held:
            screen.say("Something did not show what it should: see FAIL above.")
        if not once:
            screen.say("Running until Ctrl-C, which removes everything.")
            stopping()
        return held
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what was started is stopped, come what may
        gateway.stop()
        server.stop()


POLICIES = list((HERE / "policies").glob("*.cedar"))


def story(
    screen: Screen, server: Postgres, gateway: Gateway, agent: Callable[[], Path]
) -> list[Check]:
    """Agent, sessions, replay; the checks of each."""
    screen.heading(
        "What the agent saw",
        f"First with psql, then with a Python program. It is {AGENT!r}, in the group analysts.",
    )
    steps = read_report(agent())
    checks = [*agent_checks(steps, REPEATS, COPIED), *database_now(server, steps)]

    screen.heading(
        "What its operator sees: the sessions",
        "$ chaperon sessions list",
    )
    sessions = indexed_sessions(gateway)
    screen.say(gateway.ask("sessions", "list").rstrip())
    statements = {
        session["id"]: json.loads(gateway.ask("sessions", "show", session["id"], "--json"))[
            "statement_list"
        ]
        for session in sessions
    }
    checks += session_checks(sessions, statements)

    replay = ""
    if sessions:
        shown_id = str(sessions[0]["id"])
        screen.heading(
            "What its operator sees: a session again, from its recording",
            f"$ chaperon replay {shown_id[:8]} --instant",
        )
        replay = gateway.ask("replay", shown_id, "--instant")
        screen.say(replay.rstrip())
    return checks + list(replay_checks(replay))


def by_hand(gateway: Gateway, url: str, psql: Path) -> str:
    """Addresses, tokens and commands to try."""
    chaperon = shown_path(Path(program()))
    config = f"-c {gateway.config}"
    rows: Sequence[tuple[str, str]] = (
        ("be the agent", f'{psql} "{url}"'),
        ("be a DBA", f'{psql} "{gateway.url(PERSON)}"'),
        ("see who did what", f"{chaperon} sessions list {config}"),
        ("follow a session while it runs", f"{chaperon} tail ID {config}"),
        (
            "ask how something would be decided, and why",
            f"{chaperon} policy explain {AGENT} {Gateway.resource} 'DELETE FROM orders' {config}",
        ),
        (
            "change what is allowed; in force within two seconds",
            f"${{EDITOR:-vi}} {gateway.folder}/policies/20-guards.cedar",
        ),
        ("see whether all is well", f"{chaperon} doctor {config}"),
    )
    return "\n".join(f"\n  {what}\n      {command}" for what, command in rows) + "\n"


def shown_path(path: Path) -> str:
    """Relative where that is shorter to type."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="end by itself")
    once = parser.parse_args().once

    def interrupted(number: int, _: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    screen = Screen()
    folder = Path(tempfile.mkdtemp(prefix="chaperon-demo-"))
    folder.chmod(0o755)  # root's PostgreSQL runs as another user, and has its folder in here
    try:
        held = demo(screen, folder, once, signal.pause)
    except DemoError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; everything of the demo is removed.")
        return 0 if not once else 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
