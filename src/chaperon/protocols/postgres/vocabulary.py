"""What policy may be asked about PostgreSQL: its actions in the general groups, its facts.

Every action that facts can ask for is here, or the module does not import.
"""

from __future__ import annotations

from typing import Final

from chaperon.facts import ask
from chaperon.policy.schema import RESOURCE, Action, Fact, Vocabulary

_PHRASES: Final = {
    ask.READ: "read",
    ask.WRITE: "write to",
    ask.DEFINE: "create, alter or drop",
    ask.GRANT: "change rights on",
    ask.LOCK: "lock",
    ask.MAINTAIN: "run maintenance on",
    ask.NOTIFY: "listen or notify on",
    ask.SESSION: "change or show session settings on",
    ask.CONFIGURE: "change the role or protected settings on",
    ask.TRANSACTION: "control transactions on",
    ask.EXECUTE: "run programs or use server files on",
    ask.UNKNOWN: "run what could not be understood on",
}
_WITH_CONNECT: Final = frozenset((ask.SESSION, ask.TRANSACTION))
"""Whoever may connect may BEGIN, SET statement_timeout and COMMIT: without these a session is of no
use, and they reach no data. They are in `read` too, for policies that say
`action == Action::"connect"`. They are not in `write`: `forbid` over writes must not end
transactions. Settings that change rights or how text is read are `sql.configure`, in `grant`."""

_KINDS: Final = (
    "select insert update delete merge copy_from copy_to copy_program copy_file truncate lock "
    "create alter drop comment security_label refresh vacuum cluster reindex checkpoint "
    "grant revoke create_role alter_role drop_role alter_system "
    "begin commit rollback savepoint release rollback_to set_transaction set_constraints "
    "prepare_transaction commit_prepared rollback_prepared "
    "set reset show discard set_role set_session_authorization "
    "prepare execute deallocate declare fetch move close explain "
    "listen unlisten notify load do call unknown unread invalid"
)
KINDS: Final = frozenset(_KINDS.split())
"""What `context.statement.kinds` can hold: a policy that looks for anything else is refused."""

_QUALIFIED: Final = r"[^.]+\..+"
_SCHEMA_FIRST: Final = "Names have their schema in front, as in public.orders."

POSTGRES: Final = Vocabulary(
    statement="SqlStatement",
    levels=("Schema", "Table"),
    actions=tuple(
        Action(
            name,
            ("connect", group) if name in _WITH_CONNECT else (group,),
            _PHRASES[name],
            on=(RESOURCE, "Schema", "Table"),
        )
        for name, group in ask.ACTIONS.items()
    ),
    facts=(
        Fact("kinds", "set", values=KINDS),
        Fact("functions", "set", pattern=_QUALIFIED, hint=_SCHEMA_FIRST),
        Fact("reads", "set", pattern=_QUALIFIED, hint=_SCHEMA_FIRST),
        Fact("writes", "set", pattern=_QUALIFIED, hint=_SCHEMA_FIRST),
        Fact("unbounded", "bool"),
        Fact("statements", "long"),
        Fact("volatile", "bool"),
        Fact("unknown", "bool"),
    ),
)
