"""Read SQL text by PostgreSQL's own grammar into `RawFacts`. Pure; never raises on any text.

Invariant: whatever is over the limits, does not parse or is not understood comes back unknown, with
the reason.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from chaperon.facts import credentials
from chaperon.facts.limits import MAX_BYTES, MAX_TREE
from chaperon.facts.model import RawFacts, RawStatement, SqlFacts
from chaperon.facts.parser import SyntaxProblem, parse_json
from chaperon.facts.reader import Reader
from chaperon.facts.session_statements import everything
from chaperon.facts.statements import STATEMENTS

__all__ = ["RawFacts", "SqlFacts", "read_statement", "read_within", "refused", "sole_source"]

_LARGE = (
    "The statement is too large or too deeply nested to be read here: split it, or bind its values "
    "as parameters or an array."
)


def read_statement(text: str) -> RawFacts:
    """The raw facts of `text` (one or several statements).

    A text over the limits of the process comes back unknown with `large` set: `helper.read_large`
    may still read it. What does not parse is of kind "invalid" with PostgreSQL's message.
    """
    return read_within(text, MAX_BYTES, MAX_TREE)


def read_within(text: str, max_bytes: int, max_tree: int) -> RawFacts:
    """As `read_statement` under other limits (bytes of text, bytes of JSON tree)."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return refused("The statement is not valid UTF-8.")
    if len(data) > max_bytes:
        return _too_large(data)
    if 0 in data:
        why = "The statement has a NUL byte, at which parsers stop reading: remove it."
        return replace(refused(why), secrets=credentials.whole(data))
    try:
        tree = parse_json(data)
        if len(tree) > max_tree:
            return _too_large(data)
        return _facts(data, json.loads(tree).get("stmts", []))
    except SyntaxProblem as problem:
        message = str(problem)
        if message.startswith(("memory exhausted", "stack depth")):
            return _too_large(data)
        secrets = credentials.unparsed(data)
        if secrets:
            # What stands there may be the credential.
            message = message.partition(" at or near ")[0]
        return RawFacts(
            reasons=(f"The statement does not parse: {message}.",),
            kinds=frozenset({"invalid"}),
            secrets=secrets,
        )
    except RecursionError:
        return _too_large(data)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        # A tree of a shape that the walk does not expect is one that it does not understand.
        return replace(
            refused("The statement has a form not known here."), secrets=credentials.unparsed(data)
        )


def refused(reason: str, *, large: bool = False) -> RawFacts:
    """Facts of a text that was not read."""
    return RawFacts(reasons=(reason,), kinds=frozenset({"unread"}), large=large)


def _too_large(data: bytes) -> RawFacts:
    return replace(refused(_LARGE, large=True), secrets=credentials.whole(data))


def _facts(data: bytes, nodes: list[dict[str, Any]]) -> RawFacts:
    statements: list[RawStatement] = []
    expected = 0
    contents = False
    for node in nodes:
        reader = Reader()
        for kind, body in node["stmt"].items():
            read = STATEMENTS.get(kind)
            if read is None:
                reader.reasons.append(f"The statement is of a kind not known here ({kind}).")
                everything(reader)
            else:
                read(reader, body)
        statements.append(reader.result())
        expected += reader.secret_options
        contents = contents or reader.literal
    secrets = credentials.locate(data, expected, contents) if expected or contents else ()
    return RawFacts(tuple(statements), secrets=secrets)


def sole_source(text: str) -> tuple[str, str] | None:
    """The relation, if qualified, that a view's definition selects from and nothing else.

    It is the one that writing through an updatable view writes (manual, CREATE VIEW, "Updatable
    Views").
    """
    data = text.encode()
    if len(data) > MAX_BYTES or 0 in data:
        return None
    try:
        statement = json.loads(parse_json(data))["stmts"][0]["stmt"]["SelectStmt"]
        sources = statement.get("fromClause", [])
        source = sources[0]["RangeVar"] if len(sources) == 1 else {}
        return (source["schemaname"], source["relname"])
    except (SyntaxProblem, RecursionError, ValueError, KeyError, TypeError, IndexError):
        return None
