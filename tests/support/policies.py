"""Policies and questions for tests of policy."""

from __future__ import annotations

from pathlib import Path

from chaperon.policy.decision import PolicySet
from chaperon.policy.lint import Names
from chaperon.policy.load import load_policies
from chaperon.policy.model import Json, Question
from chaperon.policy.schema import Schema
from chaperon.protocols.postgres.vocabulary import POSTGRES
from chaperon.wire.ask import Ask
from chaperon.wire.principal import Principal, PrincipalKind

SCHEMA = Schema({"postgres": POSTGRES})
NAMES = Names(
    {
        "Group": frozenset({"analysts", "dba"}),
        "Resource": frozenset({"orders"}),
        "Agent": frozenset({"ci-bot"}),
        "User": frozenset({"ana"}),
        "Service": frozenset(),
    }
)
CI_BOT = Principal(PrincipalKind.AGENT, "ci-bot", frozenset({"analysts"}))
ANA = Principal(PrincipalKind.USER, "ana", frozenset({"dba"}))

READ_ORDERS = """
@id("analysts-read-orders")
permit (
  principal in Group::"analysts",
  action in [Action::"connect", Action::"read"],
  resource in Resource::"orders"
);
"""
NO_UNBOUNDED = """
@id("no-unbounded-writes") @message("Add a WHERE clause.")
forbid (principal, action == Action::"sql.write", resource)
when { context.statement.unbounded };
"""
DBA_WRITES = """
@id("dba-writes")
permit (
  principal in Group::"dba",
  action in [Action::"connect", Action::"read", Action::"write"],
  resource in Resource::"orders"
);
"""


def facts(**changed: Json) -> dict[str, Json]:
    """The facts of a plain SELECT, but for what is `changed`."""
    plain: dict[str, Json] = {
        "kinds": ["select"],
        "functions": [],
        "reads": ["public.customers"],
        "writes": [],
        "unbounded": False,
        "statements": 1,
        "volatile": False,
        "unknown": False,
    }
    return {**plain, **changed}


def question(
    *asks: tuple[str, tuple[str, ...]] | str,
    principal: Principal = CI_BOT,
    statement: dict[str, Json] | None = None,
    evidence: dict[str, Json] | None = None,
    resource: str = "orders",
) -> Question:
    """A question with an ask for each of `asks`: an action on the resource, or (action, path)."""
    return Question(
        principal=principal,
        resource=resource,
        protocol="postgres",
        asks=tuple(Ask(a) if isinstance(a, str) else Ask(*a) for a in asks),
        statement=facts() if statement is None else statement,
        evidence=evidence or {},
        statement_facts="the session's own",
    )


def load(folder: Path, *texts: str, names: Names = NAMES) -> PolicySet:
    """Write `texts` into `folder`, a file each, and load it."""
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number:02}.cedar").write_text(text)
    return load_policies(folder, SCHEMA, names)
