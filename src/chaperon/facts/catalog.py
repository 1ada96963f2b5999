"""A frozen snapshot of what the target's names mean and which code they run.

Invariant: whatever runs code that is neither PostgreSQL's own and reviewed, nor listed in the
configuration, is named here with a reason; the snapshot never leaves out a relation or function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Name = tuple[str, str]
"""(schema, name), both as stored (already folded)."""


class WriteHook(NamedTuple):
    """Code that writing runs: for each of `events` ("insert", "update", "delete", "truncate")."""

    events: frozenset[str]
    reason: str


class Cascade(NamedTuple):
    """A foreign key's action: `event` here causes `effect` on `target`."""

    event: str
    target: Name
    effect: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation. `kind` is pg_class.relkind; `columns` the names of its live columns in order.

    `hidden` says why merely reading it runs code that is not listed safe, recursively.
    `bases` are the relations that a view reads, recursively; `target` the one that writing through
    an updatable view writes.
    """

    kind: str
    columns: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    on_write: tuple[WriteHook, ...] = ()
    cascades: tuple[Cascade, ...] = ()
    bases: frozenset[Name] = frozenset()
    target: Name | None = None


class Function(NamedTuple):
    """A function outside pg_catalog. One entry for all overloads of a (schema, name).

    `row`: some overload can be called with a single row, hence as `table.name`.
    `single`: some overload can be called with one argument, hence as `(value).name`.
    """

    schema: str
    row: bool = True
    single: bool = True


class Operator(NamedTuple):
    """An operator outside pg_catalog and the qualified names of the functions that it calls."""

    schema: str
    functions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The snapshot. `epoch` grows with each snapshot that differs from the one before.

    `schemas`: every schema. `relations`: schema → name → relation. `functions`, `operators`: name
    → those that are not PostgreSQL's own. `builtins`: names in pg_catalog that take one argument.
    `types`: name → schema → reasons why converting to that type outside pg_catalog runs code that
    is not listed (empty where it does not); `type_oids`: the same reasons by OID, only where there
    are any, for the types of bind parameters. `casts`: reasons that concern casts between built-in
    types; any makes every statement unknown. `on_define`: what data definition runs (event
    triggers). `usage`: role → schemas that it may use. `safe_functions`: "schema.name", as
    configured ("pg_extension.name" stands for the functions of one, which the loader lists).
    A snapshot without schemas, as `Catalog()`, is none: under it no name is certain.
    """

    epoch: int = 0
    schemas: frozenset[str] = frozenset()
    relations: Mapping[str, Mapping[str, Relation]] = field(default_factory=dict)
    functions: Mapping[str, tuple[Function, ...]] = field(default_factory=dict)
    operators: Mapping[str, tuple[Operator, ...]] = field(default_factory=dict)
    builtins: frozenset[str] = frozenset()
    types: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    type_oids: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    casts: tuple[str, ...] = ()
    on_define: tuple[str, ...] = ()
    usage: Mapping[str, frozenset[str]] = field(default_factory=dict)
    safe_functions: frozenset[str] = frozenset()

    def relation(self, schema: str, name: str) -> Relation | None:
        """The relation, or None where the snapshot has none of that name."""
        found = self.relations.get(schema)
        return None if found is None else found.get(name)
