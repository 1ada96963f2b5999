"""Read the statements about the session itself: transactions, settings, names, EXPLAIN.

Invariant: what names another statement (PREPARE, DECLARE, EXPLAIN ANALYZE) has its facts too, and
what runs a name (EXECUTE, FETCH) lists it, for the session to resolve.
"""

from __future__ import annotations

from typing import Final

from chaperon.facts import ask
from chaperon.facts.model import Cursor, Effect, Prepared, RawFacts
from chaperon.facts.queries import QUERIES
from chaperon.facts.reader import HANDLERS, Handler, Node, Reader
from chaperon.facts.settings import FOLLOWED, HARMLESS

_ROLES: Final = {"role": "set_role", "session_authorization": "set_session_authorization"}
_TRANSACTIONS: Final = {
    "TRANS_STMT_BEGIN": "begin",
    "TRANS_STMT_START": "begin",
    "TRANS_STMT_COMMIT": "commit",
    "TRANS_STMT_ROLLBACK": "rollback",
    "TRANS_STMT_SAVEPOINT": "savepoint",
    "TRANS_STMT_RELEASE": "release",
    "TRANS_STMT_ROLLBACK_TO": "rollback_to",
    "TRANS_STMT_PREPARE": "prepare_transaction",
    "TRANS_STMT_COMMIT_PREPARED": "commit_prepared",
    "TRANS_STMT_ROLLBACK_PREPARED": "rollback_prepared",
}
_OFF: Final = frozenset({"off", "false", "0", "no"})


def everything(r: Reader) -> None:
    """Whatever this is may change anything."""
    r.effects |= Effect.SETTINGS | Effect.TEMP | Effect.DDL | Effect.TXN | Effect.NAMES


def inner(node: Node) -> Reader:
    """Read a wrapped statement on its own."""
    reader = Reader()
    for kind, body in node.items():
        handler = QUERIES.get(kind) or HANDLERS.get(kind)
        if handler is None or not kind.endswith("Stmt"):
            reader.reasons.append(f"The statement is of a kind not known here ({kind}).")
            everything(reader)
        else:
            handler(reader, body)
    return reader


def run(r: Reader, node: Node) -> None:
    """Note an EXECUTE that stands inside another statement."""
    r.absorb(inner(node))


def _transaction(r: Reader, node: Node) -> None:
    kind = _TRANSACTIONS.get(node.get("kind", ""))
    if kind is None:
        r.reasons.append("A transaction statement of a kind not known here.")
        everything(r)
        return
    r.kinds.add(kind)
    r.alone.add(ask.TRANSACTION)
    r.effects |= Effect.TXN


def _set(r: Reader, node: Node) -> None:
    if r.kinds:  # a clause of ALTER ROLE or CREATE FUNCTION, which asks for itself
        return
    r.literal = True
    name = node.get("name", "").lower()
    kind = node.get("kind", "")
    if kind == "VAR_SET_MULTI":
        r.kinds.add("set_transaction")
        r.alone.add(ask.TRANSACTION)
    elif kind == "VAR_RESET_ALL":
        r.kinds.add("reset")
        r.alone.add(ask.SESSION)
        r.effects |= Effect.SETTINGS
    elif name in _ROLES:
        r.kinds.update(("reset" if kind == "VAR_RESET" else "set", _ROLES[name]))
        r.alone.add(ask.CONFIGURE)
        r.effects |= Effect.SETTINGS
    else:
        r.kinds.add("reset" if kind == "VAR_RESET" else "set")
        r.alone.add(ask.SESSION if name in HARMLESS or name in FOLLOWED else ask.CONFIGURE)
        if name not in HARMLESS:
            r.effects |= Effect.SETTINGS


def _show(r: Reader, _node: Node) -> None:
    r.kinds.add("show")
    r.alone.add(ask.SESSION)


def _discard(r: Reader, node: Node) -> None:
    r.kinds.add("discard")
    r.alone.add(ask.SESSION)
    target = node.get("target")
    if target == "DISCARD_ALL":
        r.effects |= Effect.SETTINGS | Effect.TEMP | Effect.NAMES
        r.deallocates.append(None)
        r.closes.append(None)
    elif target == "DISCARD_TEMP":
        r.effects |= Effect.TEMP


def _constraints(r: Reader, _node: Node) -> None:
    r.kinds.add("set_constraints")
    r.alone.add(ask.TRANSACTION)


def _prepare(r: Reader, node: Node) -> None:
    prepared = inner(node.get("query", {}))
    prepared.literal = True
    r.absorb(prepared)
    r.kinds.add("prepare")
    r.effects |= Effect.NAMES
    r.prepares.append(Prepared(node.get("name", ""), RawFacts((prepared.result(),))))
    r.children("PrepareStmt", node, "query")


def _execute(r: Reader, node: Node) -> None:
    r.kinds.add("execute")
    r.alone.add(ask.TRANSACTION)
    r.executes.append(node.get("name", ""))
    r.children("ExecuteStmt", node)


def _deallocate(r: Reader, node: Node) -> None:
    r.kinds.add("deallocate")
    r.alone.add(ask.TRANSACTION)
    r.effects |= Effect.NAMES
    r.deallocates.append(node.get("name"))


def _declare(r: Reader, node: Node) -> None:
    query = inner(node.get("query", {}))
    query.literal = True
    r.absorb(query)
    r.kinds.add("declare")
    r.effects |= Effect.NAMES
    # CURSOR_OPT_HOLD of nodes/parsenodes.h
    hold = bool(node.get("options", 0) & 0x0020)
    r.declares.append(Cursor(node.get("portalname", ""), RawFacts((query.result(),)), hold))


def _fetch(r: Reader, node: Node) -> None:
    r.kinds.add("move" if node.get("ismove") else "fetch")
    r.alone.add(ask.TRANSACTION)
    r.fetches.append(node.get("portalname", ""))


def _close(r: Reader, node: Node) -> None:
    r.kinds.add("close")
    r.alone.add(ask.TRANSACTION)
    r.effects |= Effect.NAMES
    r.closes.append(node.get("portalname"))


def _explain(r: Reader, node: Node) -> None:
    explained = inner(node.get("query", {}))
    # An EXECUTE is taken as run: what it names is not in this text.
    r.absorb(explained, runs=_analyze(node) or bool(explained.executes))
    r.kinds.add("explain")
    r.literal = True
    r.children("ExplainStmt", node, "query")


def _analyze(node: Node) -> bool:
    """Whether EXPLAIN runs its statement; in doubt it does."""
    for item in node.get("options", []):
        option = item.get("DefElem", {})
        if option.get("defname", "").lower() != "analyze":
            continue
        value = option.get("arg", {})
        word = value.get("String", {}).get("sval", "").lower()
        number = value.get("Integer", {}).get("ival", 0) if "Integer" in value else None
        if not (word in _OFF or number == 0):
            return True
    return False


SESSION: Final[dict[str, Handler]] = {
    "TransactionStmt": _transaction,
    "VariableSetStmt": _set,
    "VariableShowStmt": _show,
    "DiscardStmt": _discard,
    "ConstraintsSetStmt": _constraints,
    "PrepareStmt": _prepare,
    "ExecuteStmt": _execute,
    "DeallocateStmt": _deallocate,
    "DeclareCursorStmt": _declare,
    "FetchStmt": _fetch,
    "ClosePortalStmt": _close,
    "ExplainStmt": _explain,
}
