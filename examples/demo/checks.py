"""Whether the demo showed what it should: from the agent's report, the database and every file.

Invariant: a check looks at what came of a step, never at the step having been taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

REFUSED = "42501"
_KNOWN = b"DROP TABLE customers"
"""What the recordings must have, so that a search which finds nothing has searched something."""


class Check(NamedTuple):
    """One promise, whether it held, and what was found where it did not."""

    promise: str
    held: bool
    found: str = ""


Steps = Mapping[str, Mapping[str, Any]]


def read_report(path: Path) -> Steps:
    """The agent's steps by name; none where it wrote nothing."""
    try:
        steps: list[dict[str, Any]] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {step["name"]: step for step in steps}


def agent_checks(steps: Steps, repeats: int, copied: int) -> Iterator[Check]:
    """What the agent saw."""
    read = str(_part(steps, "read", "output"))
    yield Check("the agent read customers", "Grace Hopper" in read and "(3 rows)" in read, read)
    for name, what, policy in (
        ("delete-all", "DELETE without WHERE", "no-unbounded-writes"),
        ("delete-hidden", "the same DELETE hidden in a SELECT", "no-unbounded-writes"),
        ("drop", "DROP TABLE", "agents-do-not-change-definitions"),
        ("salaries", "the table that it may not see", "salaries-are-closed"),
        ("transaction", "a DELETE in a transaction", "no-unbounded-writes"),
    ):
        got = (_part(steps, name, "sqlstate"), _part(steps, name, "policy"))
        yield Check(
            f"{what} was refused: SQLSTATE {REFUSED}, policy {policy}",
            got == (REFUSED, policy),
            f"{got} {_part(steps, name, 'output')}",
        )
    one = str(_part(steps, "delete-one", "output"))
    yield Check("a DELETE with WHERE was done", one == "DELETE 1", one)
    out = str(_part(steps, "copy-out", "output"))
    yield Check("COPY brought the large orders out", out == "COPY 5", out)
    rows = _value(steps, "copy-in", "rows")
    yield Check(f"COPY brought {copied} rows in", rows == copied, str(rows))
    answers, kept = _value(steps, "prepared", "answers"), _value(steps, "prepared", "prepared")
    yield Check(
        f"a prepared statement ran {repeats} times, prepared once",
        answers == repeats and kept == 1,
        f"{answers} answers, {kept} prepared",
    )
    values = _part(steps, "pipeline", "values")
    yield Check(
        "a pipeline of three statements was answered in order",
        isinstance(values, dict)
        and (values.get("inserted"), values.get("updated"), values.get("status")) == (1, 1, "paid"),
        str(values),
    )
    after, ended = _value(steps, "transaction", "after"), _value(steps, "transaction", "ended")
    yield Check(
        "the transaction with a refusal was rolled back by the server",
        after == "25P02" and ended == "ROLLBACK",
        f"{after} {ended}",
    )


def database_checks(answer: Mapping[str, str], expected: Mapping[str, str]) -> Iterator[Check]:
    """What is in the database now, asked of it directly."""
    for what, value in expected.items():
        yield Check(f"in the database itself: {what} {value}", answer[what] == value, answer[what])


def session_checks(
    sessions: Sequence[Mapping[str, Any]], statements: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[Check]:
    """`chaperon sessions list` and `sessions show` have it all."""
    principals = [session["principal"] for session in sessions]
    yield Check(
        "`sessions list` has both sessions of the agent",
        principals == ["ci-bot", "ci-bot"],
        str(principals),
    )
    shown = [row for rows in statements.values() for row in rows]
    denied = [row for row in shown if row["verdict"] == "deny"]
    yield Check("`sessions show` has the five refusals", len(denied) == 5, f"{len(denied)}")


def replay_checks(replay: str) -> Iterator[Check]:
    """`chaperon replay` shows what was asked, answered and refused."""
    yield Check(
        "the replay shows the refused statement, and by what policy",
        "DROP TABLE customers" in replay and "agents-do-not-change-definitions" in replay,
        replay,
    )
    yield Check("the replay shows a value of a result", "4111 1111 1111 1111" in replay, replay)


def log_checks(log: Path) -> Iterator[Check]:
    """Nothing went wrong behind the agent's back."""
    text = log.read_text(errors="replace")
    bad = [line for line in text.splitlines() if " ERROR " in line or "Traceback" in line]
    yield Check("the gateway's log has no error", bool(text) and not bad, "\n".join(bad))


def secret_checks(secret: str, places: Mapping[str, Path], shown: str) -> Iterator[Check]:
    """The upstream's password is nowhere to be found."""
    looked = any(_holds(place, _KNOWN) for place in places.values())
    found = [name for name, place in places.items() if _holds(place, secret.encode())]
    if secret in shown:
        found.append("what was printed")
    yield Check(
        f"the database's password is in none of: {', '.join(places)}, what was printed",
        looked and not found,
        ", ".join(found) or "nothing: not even what the recordings should have",
    )


def _holds(place: Path, text: bytes) -> bool:
    paths = place.rglob("*") if place.is_dir() else (place,)
    return any(text in path.read_bytes() for path in paths if path.is_file())


def _part(steps: Steps, name: str, part: str) -> object:
    return steps.get(name, {}).get(part, "the step was not taken")


def _value(steps: Steps, name: str, value: str) -> object:
    values = steps.get(name, {}).get("values", {})
    return values.get(value, "the step was not taken")
