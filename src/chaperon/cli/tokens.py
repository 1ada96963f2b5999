"""`chaperon token`: makes, lists and revokes. Only `create` prints a token, and only once."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, cast

from chaperon.api.limits import LONGEST_TTL_NS
from chaperon.cli import times
from chaperon.cli.backend import backend
from chaperon.cli.exits import CommandFailed, Exit
from chaperon.cli.output import (
    Column,
    Style,
    brief_duration,
    local_time,
    note,
    print_json,
    print_table,
    say,
)

_STATE = {"valid": Style.GREEN, "expired": Style.DIM, "revoked": Style.RED}


def create(given: Path | None, principal: str, ttl: str, *, json: bool) -> None:
    """Print a new token: alone on stdout, what there is to know about it on stderr."""
    ttl_ns = times.duration(ttl, "--ttl")
    if not times.SECOND <= ttl_ns <= LONGEST_TTL_NS:
        raise CommandFailed(
            Exit.USAGE,
            f"--ttl: {ttl} is out of bounds.",
            "A token lives for 1s to 366d; the shorter, the better.",
        )
    with backend(given) as at:
        made = cast(
            dict[str, Any], at.call("token.create", {"principal": principal, "ttl_ns": ttl_ns})
        )
        listener = at.config.listeners[0].address
        resource = next(iter(at.config.resources), "RESOURCE")
    if json:
        print_json(made)
        return
    say(made["token"])
    if sys.stdout.isatty():
        note("")
        note(f"For {principal}, until {local_time(made['expires_ns'])}. It is not shown again.")
        note(f"Send it as the password of {principal} to {listener}; the database is {resource}.")
        note(f"As {principal}+{made['id']} it is proven and never sent (for want of TLS, say).")
        note(f"Take it back with: chaperon token revoke {made['id']}")


def revoke(given: Path | None, token: str, *, json: bool) -> None:
    """Revoke a token and say which sessions ended with it."""
    with backend(given) as at:
        answer = cast(dict[str, Any], at.call("token.revoke", {"token": token}))
    if json:
        print_json(answer)
        return
    say(f"Revoked {answer['id']} of {answer['principal']}.")
    for session in answer["ended"]:
        say(f"Ended session {session}.")


def show(given: Path | None, principal: str | None, *, json: bool) -> None:
    """Print the tokens that there are, latest first."""
    with backend(given) as at:
        rows = cast(list[dict[str, Any]], at.call("token.list", {"principal": principal}))
    if json:
        print_json(rows)
        return
    if not rows:
        note("There are no tokens. Make one with: chaperon token create PRINCIPAL")
        return
    now_ns = time.time_ns()
    print_table(
        [Column("ID"), Column("PRINCIPAL"), Column("STATE"), Column("ISSUED"), Column("EXPIRES")],
        [
            (
                row["id"],
                row["principal"],
                row["state"],
                local_time(row["issued_ns"]),
                _expiry(row, now_ns),
            )
            for row in rows
        ],
        {(number, 2): _STATE[row["state"]] for number, row in enumerate(rows)},
    )


def _expiry(row: dict[str, Any], now_ns: int) -> str:
    at = local_time(row["expires_ns"])
    if row["state"] != "valid":
        return at
    return f"{at} (in {brief_duration(row['expires_ns'] - now_ns)})"
