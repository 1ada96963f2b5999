"""Read the statements that move rows: SELECT, INSERT, UPDATE, DELETE, MERGE.

Invariant: a target is never a common table term, so a term of the same name hides no write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaperon.facts import ask
from chaperon.facts.model import Effect, Use
from chaperon.facts.reader import HANDLERS, Node, Reader
from chaperon.facts.tautology import Condition

INSERT = frozenset({"insert"})
UPDATE = frozenset({"update"})
DELETE = frozenset({"delete"})
CREATE = frozenset({"create"})


@contextmanager
def _query(r: Reader) -> Iterator[None]:
    """Names of common table terms and the use of relations are those of the query inside."""
    scope, action = r.scope, r.action
    r.action = ask.READ
    try:
        yield
    finally:
        r.scope, r.action = scope, action


def creates(r: Reader, node: Node) -> None:
    """Note a RangeVar that becomes a new relation."""
    temporary = node.get("relpersistence") == "t" or node.get("schemaname") == "pg_temp"
    r.effects |= Effect.TEMP if temporary else Effect.DDL
    if temporary:
        node = {**node, "schemaname": "pg_temp"}
    r.relation(node, ask.DEFINE, CREATE)


def select(r: Reader, node: Node) -> None:
    """A SELECT, VALUES or TABLE in any place."""
    with _query(r):
        if "withClause" in node:
            r.visit("WithClause", node["withClause"])
        if "intoClause" in node:
            r.kinds.add("create")
            r.literal = True
            creates(r, node["intoClause"].get("rel", {}))
            r.children("IntoClause", node["intoClause"], "rel")
        if "lockingClause" in node:
            # FOR UPDATE … OF names aliases: all relations of this FROM are taken to be locked.
            others, r.uses = r.uses, {}
            r.wrapped_all(node.get("fromClause", []))
            locked = [use.relation for use in r.uses if use.action == ask.READ]
            r.uses = others | r.uses | dict.fromkeys(Use(ask.LOCK, name) for name in locked)
            r.kinds.add("lock")
        r.children("SelectStmt", node, "withClause", "intoClause", "lockingClause")


def _top_select(r: Reader, node: Node) -> None:
    r.kinds.add("select")
    r.alone.add(ask.READ)
    select(r, node)


def _write(r: Reader, kind: str, node: Node) -> None:
    if "withClause" in node:
        r.visit("WithClause", node["withClause"])
    r.kinds.add(kind)


def _insert(r: Reader, node: Node) -> None:
    with _query(r):
        _write(r, "insert", node)
        conflict = node.get("onConflictClause", {})
        updates = conflict.get("action") == "ONCONFLICT_UPDATE"
        target = r.relation(node["relation"], ask.WRITE, INSERT | UPDATE if updates else INSERT)
        if target is not None and (conflict or "returningClause" in node):
            r.uses[Use(ask.READ, target)] = None
        r.children("InsertStmt", node, "withClause", "relation")


def _update(r: Reader, node: Node) -> None:
    with _query(r):
        _write(r, "update", node)
        _changes(r, node, UPDATE)
        r.children("UpdateStmt", node, "withClause", "relation")


def _delete(r: Reader, node: Node) -> None:
    with _query(r):
        _write(r, "delete", node)
        _changes(r, node, DELETE)
        r.children("DeleteStmt", node, "withClause", "relation")


def _changes(r: Reader, node: Node, events: frozenset[str]) -> None:
    target = r.relation(node["relation"], ask.WRITE, events)
    # A condition tells whether a row exists: it reads, and so does SET a = b.
    if target is not None:
        r.uses[Use(ask.READ, target)] = None
    _bound(r, node["relation"], node.get("whereClause"))


def _bound(r: Reader, target: Node, condition: Node | None) -> None:
    if condition is None:
        r.unbounded = True
        return
    asked = Condition(_names(target))
    r.unbounded = asked.always(condition) or r.unbounded
    r.literal = r.literal or asked.literal


def _names(target: Node) -> frozenset[str]:
    alias = target.get("alias", {}).get("aliasname")
    return frozenset({alias or target.get("relname", "")})


def _merge(r: Reader, node: Node) -> None:
    with _query(r):
        _write(r, "merge", node)
        events: set[str] = set()
        for item in node.get("mergeWhenClauses", []):
            clause = item.get("MergeWhenClause", {})
            command = {"CMD_INSERT": "insert", "CMD_UPDATE": "update", "CMD_DELETE": "delete"}.get(
                clause.get("commandType", "")
            )
            if command is None:
                continue
            events.add(command)
            r.kinds.add(command)
            if command != "insert":
                by_source = clause.get("matchKind") == "MERGE_WHEN_NOT_MATCHED_BY_SOURCE"
                joined = node.get("joinCondition")
                if (
                    by_source
                    or joined is None
                    or Condition(_names(node["relation"])).always(joined)
                ):
                    _bound(r, node["relation"], clause.get("condition"))
                r.literal = True
        target = r.relation(node["relation"], ask.WRITE, frozenset(events))
        if target is not None:
            r.uses[Use(ask.READ, target)] = None
        r.children("MergeStmt", node, "withClause", "relation")


HANDLERS["SelectStmt"] = select

QUERIES = {
    "SelectStmt": _top_select,
    "InsertStmt": _insert,
    "UpdateStmt": _update,
    "DeleteStmt": _delete,
    "MergeStmt": _merge,
}
HANDLERS.update({kind: handler for kind, handler in QUERIES.items() if kind != "SelectStmt"})
