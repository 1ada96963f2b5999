"""Collect what a parse tree uses: relations, functions, operators, types. Visits every node.

Invariant: a node type or field that the grammar table does not know makes the statement unknown, so
nothing hides in a place that this walk does not reach.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chaperon.facts import ask
from chaperon.facts.functions import SAFE, SAMPLING
from chaperon.facts.grammar import INLINE
from chaperon.facts.model import Cursor, Effect, Prepared, RawStatement, Ref, Use

Node = dict[str, Any]
Handler = Callable[["Reader", Node], None]

NOTHING: frozenset[str] = frozenset()

BETWEEN = {
    "AEXPR_BETWEEN": (">=", "<="),
    "AEXPR_NOT_BETWEEN": ("<", ">"),
    "AEXPR_BETWEEN_SYM": (">=", "<="),
    "AEXPR_NOT_BETWEEN_SYM": ("<", ">"),
}
NAMED_OPERATORS = frozenset(
    {
        "AEXPR_OP",
        "AEXPR_OP_ANY",
        "AEXPR_OP_ALL",
        "AEXPR_IN",
        "AEXPR_LIKE",
        "AEXPR_ILIKE",
        "AEXPR_SIMILAR",
    }
)
EQUALITIES = frozenset({"AEXPR_DISTINCT", "AEXPR_NOT_DISTINCT", "AEXPR_NULLIF"})
GRAMMAR_FUNCTIONS = {
    "JsonParseExpr": "json",
    "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize",
    "JsonObjectConstructor": "json_object",
    "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array",
    "JsonObjectAgg": "json_objectagg",
    "JsonArrayAgg": "json_arrayagg",
    "JsonTable": "json_table",
    "MergeSupportFunc": "merge_action",
    "JSON_EXISTS_OP": "json_exists",
    "JSON_QUERY_OP": "json_query",
    "JSON_VALUE_OP": "json_value",
}
"""What a server older than the grammar reads as calls of functions of these names."""


def strings(nodes: list[Node]) -> list[str]:
    """The values of a list of String nodes; an A_Star or anything else is left out."""
    return [node["String"].get("sval", "") for node in nodes if "String" in node]


def ref_of(nodes: list[Node]) -> Ref | None:
    """A possibly qualified name of String nodes; None where it has three parts or more."""
    parts = strings(nodes)
    if len(parts) != len(nodes) or not 1 <= len(parts) <= 2:
        return None
    return Ref(None, parts[0]) if len(parts) == 1 else Ref(parts[0], parts[1])


class Reader:
    """The state of reading one statement. `scope` holds the names of visible common table terms.

    `action` is what a relation found in passing is used for; inside a query that is reading it.
    `deferring`: what is read is a body that is defined and not executed.
    """

    __slots__ = (
        "action",
        "alone",
        "attributes",
        "closes",
        "deallocates",
        "declares",
        "deferred",
        "deferring",
        "effects",
        "equalities",
        "executes",
        "fetches",
        "functions",
        "kinds",
        "literal",
        "operators",
        "prepares",
        "reasons",
        "scope",
        "secret_options",
        "types",
        "unbounded",
        "uses",
    )

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.uses: dict[Use, None] = {}
        self.alone: set[str] = set()
        self.functions: set[Ref] = set()
        self.operators: set[Ref] = set()
        self.equalities = False
        self.types: set[Ref] = set()
        self.attributes: set[tuple[str, bool]] = set()
        self.deferred: set[Ref] = set()
        self.unbounded = False
        self.literal = False
        self.reasons: list[str] = []
        self.effects = Effect.NONE
        self.prepares: list[Prepared] = []
        self.executes: list[str] = []
        self.deallocates: list[str | None] = []
        self.declares: list[Cursor] = []
        self.fetches: list[str] = []
        self.closes: list[str | None] = []
        self.scope: frozenset[str] = NOTHING
        self.action = ask.READ
        self.deferring = False
        self.secret_options = 0

    def result(self) -> RawStatement:
        """What was read, as a value."""
        return RawStatement(
            kinds=frozenset(self.kinds),
            uses=tuple(self.uses),
            alone=frozenset(self.alone),
            functions=frozenset(self.functions),
            operators=frozenset(self.operators),
            equalities=self.equalities,
            types=frozenset(self.types),
            attributes=frozenset(self.attributes),
            deferred=frozenset(self.deferred),
            unbounded=self.unbounded,
            literal_dependent=self.literal,
            reasons=tuple(dict.fromkeys(self.reasons)),
            effects=self.effects,
            prepares=tuple(self.prepares),
            executes=tuple(self.executes),
            deallocates=tuple(self.deallocates),
            declares=tuple(self.declares),
            fetches=tuple(self.fetches),
            closes=tuple(self.closes),
        )

    def absorb(self, other: Reader, *, runs: bool = True) -> None:
        """Add what another reader found. Not `runs`: its writes are only planned (EXPLAIN)."""
        self.kinds |= other.kinds if runs else set()
        for use in other.uses:
            self.uses[use if runs or use.action != ask.WRITE else Use(ask.READ, use.relation)] = (
                None
            )
        self.alone |= other.alone
        self.functions |= other.functions
        self.operators |= other.operators
        self.equalities = self.equalities or other.equalities
        self.types |= other.types
        self.attributes |= other.attributes
        self.deferred |= other.deferred
        self.unbounded = self.unbounded or (runs and other.unbounded)
        self.literal = self.literal or other.literal
        self.reasons += other.reasons
        self.effects |= other.effects if runs else Effect.NONE
        self.executes += other.executes
        self.declares += other.declares if runs else []
        self.secret_options += other.secret_options

    def visit(self, kind: str, node: Node) -> None:
        """Read one node of type `kind`."""
        handler = HANDLERS.get(kind)
        if handler is not None:
            handler(self, node)
        else:
            self.children(kind, node)

    def children(self, kind: str, node: Node, *done: str) -> None:
        """Read every child of a node, but for the fields in `done`, which were read already."""
        inline = INLINE.get(kind)
        if inline is None:
            self.reasons.append(f"The statement has a part of a kind not known here ({kind}).")
            return
        for field, value in node.items():
            if field in done:
                continue
            shape = type(value)
            if shape is dict:
                static = inline.get(field)
                if static is not None:
                    self.visit(static, value)
                else:
                    self.wrapped(value)
            elif shape is list:
                for item in value:
                    self.wrapped(item)

    def wrapped(self, node: Any) -> None:
        """Read a wrapped node; an empty one is a null in a list."""
        if type(node) is not dict:
            self.reasons.append("The statement has a part of a form not known here.")
            return
        for kind, inner in node.items():
            if type(inner) is dict:
                self.visit(kind, inner)
            else:
                self.reasons.append(f"The statement has a part of a form not known here ({kind}).")

    def wrapped_all(self, nodes: list[Node]) -> None:
        """Read a list of wrapped nodes."""
        for node in nodes:
            self.wrapped(node)

    def relation(self, node: Node, action: str, events: frozenset[str] = NOTHING) -> Ref | None:
        """Note a RangeVar that is a target: never a common table term."""
        if "catalogname" in node:
            self.reasons.append("A relation is named with its database: leave the database out.")
            return None
        ref = Ref(node.get("schemaname"), node.get("relname", ""))
        self.uses[Use(action, ref, events)] = None
        return ref

    def call(self, names: list[Node]) -> None:
        """Note a function's name."""
        ref = ref_of(names)
        if ref is None:
            self.reasons.append("A function is named with its database: leave the database out.")
            return
        if ref.name not in SAFE:
            self.literal = True
        (self.deferred if self.deferring else self.functions).add(ref)

    def operator(self, names: list[Node]) -> None:
        """Note an operator's name."""
        ref = ref_of(names)
        if ref is None:
            self.reasons.append("An operator is named with its database: leave it out.")
        elif not self.deferring:
            self.operators.add(ref)


def _range_var(r: Reader, node: Node) -> None:
    if "schemaname" not in node and node.get("relname") in r.scope and r.action == ask.READ:
        return
    r.relation(node, r.action)


def _column_ref(r: Reader, node: Node) -> None:
    fields = node.get("fields", [])
    if len(fields) > 1:
        for field in fields[1:]:
            if "String" in field:
                # The server reads `t.f` as the call f(t) where t has no column f.
                r.attributes.add((field["String"].get("sval", ""), True))
            elif "A_Star" not in field:
                r.wrapped(field)


def _indirection(r: Reader, node: Node) -> None:
    for step in node.get("indirection", []):
        if "String" in step:
            # `(x).f` is the call f(x) for any x: `(5).pg_sleep` sleeps.
            r.attributes.add((step["String"].get("sval", ""), False))
        else:
            r.wrapped(step)
    r.children("A_Indirection", node, "indirection")


def _expression(r: Reader, node: Node) -> None:
    kind = node.get("kind", "")
    if kind in NAMED_OPERATORS:
        r.operator(node.get("name", []))
    elif kind in EQUALITIES:
        r.equalities = True
        r.operator(node.get("name", []))
    elif kind in BETWEEN:
        if not r.deferring:
            r.operators.update(Ref(None, name) for name in BETWEEN[kind])
    else:
        r.reasons.append(f"The statement has an expression of a kind not known here ({kind}).")
    for side in ("lexpr", "rexpr"):
        if side in node:
            r.wrapped(node[side])


def _call(r: Reader, node: Node) -> None:
    r.call(node.get("funcname", []))
    r.children("FuncCall", node, "funcname")


def _type_name(r: Reader, node: Node) -> None:
    ref = ref_of(node.get("names", []))
    if ref is None:
        r.reasons.append("A type is named with its database: leave the database out.")
    elif ref.schema != "pg_catalog" and not r.deferring:
        r.types.add(ref)
    r.children("TypeName", node, "names")


def _type_cast(r: Reader, node: Node) -> None:
    names = strings(node.get("typeName", {}).get("names", []))
    if names and names[-1].startswith("reg"):
        r.literal = True
    r.children("TypeCast", node)


def _sub_link(r: Reader, node: Node) -> None:
    if "operName" in node:
        r.operator(node["operName"])
    elif node.get("subLinkType") in ("ANY_SUBLINK", "ALL_SUBLINK"):
        r.equalities = True
    r.children("SubLink", node, "operName")


def _case(r: Reader, node: Node) -> None:
    if "arg" in node:
        r.equalities = True
    r.children("CaseExpr", node)


def _join(r: Reader, node: Node) -> None:
    if "usingClause" in node or node.get("isNatural"):
        r.equalities = True
    r.children("JoinExpr", node)


def _sort_by(r: Reader, node: Node) -> None:
    if "useOp" in node:
        r.operator(node["useOp"])
    r.children("SortBy", node, "useOp")


def _sample(r: Reader, node: Node) -> None:
    ref = ref_of(node.get("method", []))
    if ref is None or ref.name not in SAMPLING:
        r.call(node.get("method", []))
    else:
        (r.deferred if r.deferring else r.functions).add(ref)
    r.children("RangeTableSample", node, "method")


def with_clause(r: Reader, node: Node) -> None:
    """Read common table terms and leave their names in scope (manual, section 7.8).

    Without RECURSIVE a term sees the ones before it; with it, all of them.
    """
    terms = [item["CommonTableExpr"] for item in node.get("ctes", [])]
    names = [term.get("ctename", "") for term in terms]
    recursive = node.get("recursive", False)
    if recursive:
        r.scope = r.scope.union(names)
    for name, term in zip(names, terms, strict=True):
        r.children("CommonTableExpr", term, "aliascolnames")
        if not recursive:
            r.scope = r.scope | {name}


def _grammar_function(kind: str) -> Handler:
    def read(r: Reader, node: Node) -> None:
        name = GRAMMAR_FUNCTIONS.get(kind) or GRAMMAR_FUNCTIONS.get(node.get("op", ""))
        if name is None:
            r.reasons.append(f"The statement has an expression of a kind not known here ({kind}).")
        else:
            (r.deferred if r.deferring else r.functions).add(Ref(None, name))
        r.children(kind, node)

    return read


HANDLERS: dict[str, Handler] = {
    "RangeVar": _range_var,
    "ColumnRef": _column_ref,
    "A_Indirection": _indirection,
    "A_Expr": _expression,
    "FuncCall": _call,
    "TypeName": _type_name,
    "TypeCast": _type_cast,
    "SubLink": _sub_link,
    "CaseExpr": _case,
    "JoinExpr": _join,
    "SortBy": _sort_by,
    "RangeTableSample": _sample,
    "WithClause": with_clause,
    "A_Const": lambda _reader, _node: None,
    "String": lambda _reader, _node: None,
    "JsonFuncExpr": _grammar_function("JsonFuncExpr"),
    **{kind: _grammar_function(kind) for kind in GRAMMAR_FUNCTIONS if kind in INLINE},
}
"""Node types that are more than their children; statements add theirs."""
