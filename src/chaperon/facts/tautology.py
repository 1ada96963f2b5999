"""Does a condition hold for every row? Then a write under it is unbounded.

Asked of the tree, not of the data: `id = id`, `1 = 1`, `true`, `a OR NOT a` and whatever mentions
no column of the target hold for all rows or for none.
Invariant: in doubt about a condition that mentions no column of the target the answer is yes; about
any other it is no.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

Node = dict[str, Any]

_TRUE = frozenset({"t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"})
_FALSE = frozenset({"f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"})
_REFLEXIVE = frozenset({"=", ">=", "<=", "~~", "~~*", "~", "~*", "@>", "<@"})
_COMPARE: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NEGATED = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "!=": "="}


class Condition:
    """One WHERE of a statement. `literal` is set when the answer hangs on a literal's value."""

    __slots__ = ("literal", "names")

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.literal = False

    def always(self, node: Node) -> bool:
        """Whether the wrapped `node` is true for all rows, or does not depend on the row."""
        kind, inner = _open(node)
        if kind == "BoolExpr":
            return self._bool(inner)
        if kind == "A_Const":
            return self._constant(inner) is not False
        if not self._mentions(node):
            self.literal = True
            return self._compare(inner) is not False if kind == "A_Expr" else True
        if kind == "A_Expr":
            return self._about_itself(inner)
        if kind == "CaseExpr":
            results = [item["CaseWhen"].get("result", {}) for item in inner.get("args", [])]
            return "defresult" in inner and all(
                self.always(result) for result in [*results, inner["defresult"]]
            )
        return kind == "BooleanTest" and self._boolean_test(inner)

    def never(self, node: Node) -> bool:
        """Whether the wrapped `node` is false for all rows."""
        kind, inner = _open(node)
        if kind == "BoolExpr":
            arguments: list[Node] = inner.get("args", [])
            if inner.get("boolop") == "NOT_EXPR":
                return self.always(arguments[0])
            any_or_all = any if inner.get("boolop") == "AND_EXPR" else all
            return any_or_all(self.never(argument) for argument in arguments)
        if kind == "A_Const":
            return self._constant(inner) is False
        if not self._mentions(node):
            self.literal = True
            # Like `always`: a condition without columns counts both ways, so NOT of it does too.
            return self._compare(inner) is not True if kind == "A_Expr" else True
        if kind == "A_Expr" and inner.get("kind") == "AEXPR_OP":
            left, right = inner.get("lexpr"), inner.get("rexpr")
            name = _operator(inner)
            return name in ("<>", "!=", "<", ">") and _same(left, right)
        return False

    def _bool(self, inner: Node) -> bool:
        arguments: list[Node] = inner.get("args", [])
        if inner.get("boolop") == "NOT_EXPR":
            return self.never(arguments[0])
        if inner.get("boolop") == "AND_EXPR":
            return all(self.always(argument) for argument in arguments)
        self.literal = True
        if any(self.always(argument) for argument in arguments):
            return True
        # Alternatives of which each excludes what the other leaves: `a = 1 OR a <> 1`.
        seen = [_strip(argument) for argument in arguments[:64]]
        return any(_complement(a, b) for i, a in enumerate(seen) for b in seen[i + 1 :])

    def _constant(self, inner: Node) -> bool | None:
        if "boolval" in inner:
            return bool(inner["boolval"].get("boolval", False))
        if inner.get("isnull"):
            return False
        self.literal = True
        if "sval" in inner:
            text = inner["sval"].get("sval", "").strip().lower()
            return True if text in _TRUE else False if text in _FALSE else None
        return None

    def _compare(self, inner: Node) -> bool | None:
        left, right = _value(inner.get("lexpr")), _value(inner.get("rexpr"))
        if inner.get("kind") != "AEXPR_OP" or left is None or right is None:
            return None
        if isinstance(left, str) and isinstance(right, str):
            equal = {"=": left == right, "<>": left != right, "!=": left != right}
            return equal.get(_operator(inner))
        a, b = _number(left), _number(right)
        compare = _COMPARE.get(_operator(inner))
        return None if a is None or b is None or compare is None else compare(a, b)

    def _about_itself(self, inner: Node) -> bool:
        left, right = inner.get("lexpr"), inner.get("rexpr")
        match inner.get("kind"):
            case "AEXPR_OP" if _operator(inner) in _REFLEXIVE and _same(left, right):
                return True
            case "AEXPR_NOT_DISTINCT":
                return _same(left, right)
            case "AEXPR_LIKE" | "AEXPR_ILIKE" | "AEXPR_OP" | "AEXPR_SIMILAR":
                pattern = _value(right)
                if isinstance(pattern, str) and _operator(inner) in ("~~", "~~*", "~", "~*"):
                    self.literal = True
                    like = _operator(inner).startswith("~~") or inner["kind"] == "AEXPR_SIMILAR"
                    return (
                        pattern.strip("%") == "" != pattern
                        if like
                        else pattern in ("", ".*", "^", "$", "^.*", ".*$", "^.*$")
                    )
            case "AEXPR_IN" if _operator(inner) == "=":
                items = (right or {}).get("List", {}).get("items", [])
                return any(_same(left, item) for item in items)
            case "AEXPR_BETWEEN" | "AEXPR_BETWEEN_SYM":
                items = (right or {}).get("List", {}).get("items", [])
                return len(items) == 2 and all(_same(left, item) for item in items)
        return False

    def _boolean_test(self, inner: Node) -> bool:
        match inner.get("booltesttype"):
            case "IS_TRUE" | "IS_NOT_FALSE":
                return self.always(inner.get("arg", {}))
            case "IS_FALSE" | "IS_NOT_TRUE":
                return self.never(inner.get("arg", {}))
        return False

    def _mentions(self, node: Any) -> bool:
        """Whether a column that may be the target's is anywhere in `node`."""
        pending: list[Any] = [node]
        while pending:
            item = pending.pop()
            if isinstance(item, list):
                pending.extend(item)
            elif isinstance(item, dict):
                if "CurrentOfExpr" in item:
                    return True
                column = item.get("ColumnRef")
                if column is not None and self._ours(column.get("fields", [])):
                    return True
                pending.extend(item.values())
        return False

    def _ours(self, fields: list[Node]) -> bool:
        if len(fields) < 2:
            return True
        return fields[-2].get("String", {}).get("sval") in self.names


def _open(node: Node) -> tuple[str, Node]:
    """The type and body of a wrapped node, behind casts and collations."""
    while True:
        kind: str = next(iter(node), "")
        inner: Node = node.get(kind, {})
        if kind in ("TypeCast", "CollateClause") and "arg" in inner:
            node = inner["arg"]
            continue
        return kind, inner


def _operator(inner: Node) -> str:
    name: str = inner.get("name", [{}])[-1].get("String", {}).get("sval", "")
    return name


def _value(node: Node | None) -> str | Decimal | None:
    if node is None:
        return None
    kind, inner = _open(node)
    if kind != "A_Const":
        return None
    if "ival" in inner:
        return Decimal(inner["ival"].get("ival", 0))
    if "fval" in inner:
        return _number(inner["fval"].get("fval", ""))
    return inner["sval"].get("sval", "") if "sval" in inner else None


def _number(value: str | Decimal) -> Decimal | None:
    if isinstance(value, Decimal):
        return value
    try:
        number = Decimal(value.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _same(left: Node | None, right: Node | None) -> bool:
    """Whether both are one column, however cast, collated or qualified."""
    if left is None or right is None:
        return False
    a, first = _open(left)
    b, second = _open(right)
    if a != b:
        return False
    if a != "ColumnRef":
        return bool(a) and a not in ("A_Const", "ParamRef") and _strip(first) == _strip(second)
    mine, other = _strip(first.get("fields", [])), _strip(second.get("fields", []))
    shorter = min(len(mine), len(other))
    return bool(shorter) and mine[-shorter:] == other[-shorter:]


def _strip(node: Any) -> Any:
    """The tree without the places of its tokens, so that equal text compares equal."""
    if isinstance(node, dict):
        return {
            key: _strip(value)
            for key, value in node.items()
            if key not in ("location", "rexpr_list_start", "rexpr_list_end")
        }
    return [_strip(item) for item in node] if isinstance(node, list) else node


def _complement(a: Node, b: Node) -> bool:
    for one, other in ((a, b), (b, a)):
        negation = one.get("BoolExpr", {})
        if negation.get("boolop") == "NOT_EXPR" and negation.get("args") == [other]:
            return True
    first, second = a.get("NullTest"), b.get("NullTest")
    if first and second:
        kinds = {first.get("nulltesttype"), second.get("nulltesttype")}
        return len(kinds) == 2 and first.get("arg") == second.get("arg")
    first, second = a.get("A_Expr"), b.get("A_Expr")
    if not (first and second and first.get("kind") == second.get("kind") == "AEXPR_OP"):
        return False
    sides = [(e.get("lexpr"), e.get("rexpr")) for e in (first, second)]
    return sides[0] == sides[1] and _NEGATED.get(_operator(first)) in (
        _operator(second),
        _operator(second).replace("!=", "<>"),
    )
