"""`chaperon sessions`: what happened, as the index has it, and ending what happens now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from chaperon.api.limits import MOST_STATEMENTS
from chaperon.api.values import Json
from chaperon.cli import times
from chaperon.cli.backend import Backend, backend
from chaperon.cli.deployment import known
from chaperon.cli.output import (
    Column,
    Style,
    brief_duration,
    brief_size,
    local_time,
    note,
    paint,
    print_json,
    print_table,
    safe,
    say,
)

SHORT_ID = 12
_STATE = {"live": Style.GREEN, "ended": Style.PLAIN, "open": Style.YELLOW}
_OUTCOME = {"denied": Style.RED, "failed": Style.YELLOW, "unfinished": Style.YELLOW}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which sessions, as typed."""

    principal: str | None
    resource: str | None
    since: str | None
    until: str | None
    verdict: str | None
    text: str | None
    limit: int


def show_list(given: Path | None, wanted: Filter, *, json: bool) -> None:
    """Print sessions, latest first."""
    now_ns = time.time_ns()
    since = times.moment(wanted.since, "--since", now_ns) if wanted.since else None
    until = times.moment(wanted.until, "--until", now_ns) if wanted.until else None
    with backend(given) as at:
        rows = cast(
            list[dict[str, Any]],
            at.call(
                "sessions.list",
                {
                    "principal": wanted.principal,
                    "resource": wanted.resource,
                    "since_ns": since,
                    "until_ns": until,
                    "verdict": wanted.verdict,
                    "text": wanted.text,
                    "limit": wanted.limit,
                },
            ),
        )
        if not rows:
            _explain_nothing(at, wanted)
    if json:
        print_json(rows)
        return
    if not rows:
        note("No session fits." if _filtered(wanted) else "There is no session yet.")
        return
    print_table(
        [
            Column("ID"),
            Column("STARTED"),
            Column("LASTED", right=True),
            Column("PRINCIPAL"),
            Column("RESOURCE"),
            Column("STATEMENTS", right=True),
            Column("DENIED", right=True),
            Column("STATE", elastic=True),
        ],
        [_row(row, now_ns) for row in rows],
        {(number, 7): _STATE[row["state"]] for number, row in enumerate(rows)}
        | {(number, 6): Style.RED for number, row in enumerate(rows) if row["denied"]},
    )
    if len(rows) == wanted.limit:
        note(f"The latest {wanted.limit}; more with --limit, fewer with a filter.")


def show_one(given: Path | None, prefix: str, *, json: bool) -> None:
    """Print one session and every statement of it."""
    with backend(given) as at:
        row = cast(dict[str, Any], at.call("sessions.show", {"id": prefix}))
        if json:
            print_json({**row, "statement_list": list(_statements(at, row["id"]))})
            return
        _print_head(row)
        any_statement = False
        for statement in _statements(at, row["id"]):
            if not any_statement:
                say()
            any_statement = True
            _print_statement(statement, row["started_ns"])
    if row["state"] == "live":
        note(f"It is live; follow it with: chaperon tail {row['id'][:SHORT_ID]}")


def kill(given: Path | None, prefix: str, reason: str, *, json: bool) -> None:
    """End a live session. Raises ApiError where there is none such."""
    with backend(given) as at:
        answer = cast(dict[str, Any], at.call("sessions.kill", {"id": prefix, "reason": reason}))
    if json:
        print_json(answer)
    elif answer["killed"]:
        say(f"Ended session {answer['id']}.")
    else:
        say(f"Session {answer['id']} had ended by itself.")


def _statements(at: Backend, session: str) -> Iterator[dict[str, Any]]:
    after = -1
    while True:
        params: dict[str, Json] = {"id": session, "after": after, "limit": MOST_STATEMENTS}
        page = cast(list[dict[str, Any]], at.call("sessions.statements", params))
        yield from page
        if len(page) < MOST_STATEMENTS:
            return
        after = page[-1]["ordinal"]


def _explain_nothing(at: Backend, wanted: Filter) -> None:
    """A name that the configuration does not have may be a slip; it may also be one of the past."""
    for kind, name, names in (
        ("principal", wanted.principal, at.config.principals()),
        ("resource", wanted.resource, at.config.resources),
    ):
        if name is not None:
            known(kind, name, list(names), "the configuration")


def _filtered(wanted: Filter) -> bool:
    return any(
        (
            wanted.principal,
            wanted.resource,
            wanted.since,
            wanted.until,
            wanted.verdict,
            wanted.text,
        )
    )


def _row(row: dict[str, Any], now_ns: int) -> tuple[str, ...]:
    end = row["ended_ns"] or (now_ns if row["state"] == "live" else None)
    state = row["state"] if not row["damage"] else f"{row['state']}, damaged"
    return (
        row["id"][:SHORT_ID],
        local_time(row["started_ns"]),
        brief_duration(max(0, end - row["started_ns"])) if end else "",
        row["principal"],
        row["resource"],
        str(row["statements"]),
        str(row["denied"]),
        state,
    )


def _print_head(row: dict[str, Any]) -> None:
    meta = row["meta"] or {}
    lines = [
        ("session", row["id"]),
        ("principal", row["principal"]),
        ("resource", f"{row['resource']} ({row['protocol']})"),
        ("from", row["peer"]),
        ("started", local_time(row["started_ns"])),
        ("state", row["state"]),
        ("ended", local_time(row["ended_ns"])),
        ("reason", row["reason"] or ""),
        ("policy", row["policy_hash"]),
        ("recording", row["path"]),
        ("recorded", brief_size(row["recorded_bytes"]) if row["recorded_bytes"] else ""),
        ("damage", row["damage"]),
    ]
    shown = {key: value for key, value in meta.items() if key not in row and key != "session"}
    lines += [(key, _flat(value)) for key, value in shown.items()]
    for key, value in lines:
        if value:
            say(f"{paint(f'{key:<12}', Style.DIM)} {safe(value)}")


def _flat(value: Json) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _print_statement(statement: dict[str, Any], started_ns: int) -> None:
    outcome = statement["outcome"]
    offset = brief_duration(max(0, statement["started_ns"] - started_ns))
    mark = paint(f"{outcome:<10}", _OUTCOME.get(outcome, Style.GREEN))
    took = "" if statement["total_ms"] is None else f"{statement['total_ms']:.1f} ms"
    rows = f"{statement['rows']} rows" if statement["rows"] else ""
    facts = ", ".join(part for part in (f"+{offset}", took, rows, statement["tag"]) if part)
    say(f"{statement['ordinal']:>5}  {mark}  {safe(statement['text']) or statement['verb']}")
    say(f"{'':>5}  {paint(facts, Style.DIM)}")
    if values := statement["values"]:
        say(f"{'':>5}  {paint('values', Style.DIM)} {safe(str(values))}")
    if statement["verdict"] == "deny":
        reason = f"denied by {statement['policy']}: {statement['message']}"
        say(f"{'':>5}  {paint(safe(reason), Style.RED)}")
    elif statement["error_message"]:
        error = f"{statement['error_code']}: {statement['error_message']}"
        say(f"{'':>5}  {paint(safe(error), Style.YELLOW)}")
