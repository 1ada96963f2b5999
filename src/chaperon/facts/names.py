"""Resolve names as the server would: `RawFacts` and a `Naming` give `SqlFacts`. Pure.

Invariant: a name that could mean anything but what is reported, or that runs code that is neither
PostgreSQL's own and reviewed nor listed in the configuration, makes the facts unknown, with a
reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from chaperon.facts import ask
from chaperon.facts.ask import Ask
from chaperon.facts.catalog import Catalog, Name, Relation
from chaperon.facts.functions import (
    BY_GRAMMAR,
    SAFE,
    SAFE_INFORMATION_SCHEMA,
    SAMPLING,
    UNSAFE_SINGLE,
    VOLATILE,
)
from chaperon.facts.model import Effect, RawFacts, RawStatement, Ref, SqlFacts, Use

SYSTEM = "pg_catalog"
_BUILT_IN = frozenset({SYSTEM, "information_schema"})
_OWN = SAFE | SAMPLING | BY_GRAMMAR
_EQUALS = Ref(None, "=")
_NO_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType({})
_ANYTHING = Effect.SETTINGS | Effect.TEMP | Effect.DDL | Effect.TXN | Effect.NAMES


@dataclass(frozen=True, slots=True)
class Naming:
    """What names mean in a session now. Hashable by identity of `catalog`; use `epoch` for keys.

    `path`: the effective schemas in search order, as `current_schemas(true)` gives; None: unknown.
    `temp`: names of the session's temporary relations and types; None: there may be any.
    `faithful`: client_encoding and server_encoding are UTF8 and standard_conforming_strings is on
    (in a single-byte server_encoding the server folds more letters than the parser here does).
    `stale`: the catalog changed in the open transaction, or is past its staleness limit.
    """

    catalog: Catalog
    path: tuple[str, ...] | None
    role: str
    temp: frozenset[str] | None = frozenset()
    faithful: bool = True
    stale: bool = False


def resolve(raw: RawFacts, naming: Naming) -> SqlFacts:
    """The facts of `raw` under `naming`. Never raises; what cannot be resolved is `unknown`."""
    if not naming.catalog.schemas:
        naming = replace(naming, stale=True)  # no snapshot could be had: no name is certain
    whole = SqlFacts(kinds=raw.kinds, secrets=raw.secrets, reasons=raw.reasons)
    if not naming.faithful:
        why = (
            "The server does not read this text as Chaperon does: set client_encoding to UTF8 and "
            "standard_conforming_strings to on."
        )
        whole = replace(whole, reasons=(*whole.reasons, why))
    if whole.reasons:
        whole = replace(whole, unknown=True, effects=_ANYTHING, literal_dependent=True)
    if len(raw.statements) == 1:
        return _stamped(_Resolver(naming).statement(raw.statements[0]), whole, 1)
    facts = SqlFacts()
    for statement in raw.statements:
        one = _Resolver(naming).statement(statement)
        facts = facts.merged(one)
        naming = _after(naming, one)
    return _stamped(facts, whole, len(raw.statements))


def _stamped(facts: SqlFacts, whole: SqlFacts, statements: int) -> SqlFacts:
    if whole.unknown or whole.kinds:
        facts = facts.merged(whole)
    # An empty text runs nothing, and is asked about like a SELECT of nothing.
    questions = facts.questions or frozenset({Ask(ask.UNKNOWN if facts.unknown else ask.READ)})
    return replace(facts, statements=statements, secrets=whole.secrets, questions=questions)


_ENDS = frozenset({"commit", "rollback", "rollback_to", "prepare_transaction"})


def _after(naming: Naming, facts: SqlFacts) -> Naming:
    """What names mean to the next statement of one text: the server is not asked between them.

    How the text is read does not change: a text is parsed whole before any of it runs.
    """
    ends = bool(facts.kinds & _ENDS) or facts.unknown
    if Effect.SETTINGS in facts.effects or ends:
        naming = replace(naming, path=None)  # SET LOCAL ends with the transaction
    if Effect.TEMP in facts.effects or (ends and naming.temp):
        naming = replace(naming, temp=None)
    if Effect.DDL in facts.effects:
        naming = replace(naming, stale=True)
    return naming


class _Resolver:
    """One statement's names. Sets grow; `reasons` keep their order."""

    __slots__ = (
        "catalog",
        "effects",
        "functions",
        "naming",
        "questions",
        "reads",
        "reasons",
        "volatile",
        "writes",
    )

    def __init__(self, naming: Naming) -> None:
        self.naming = naming
        self.catalog = naming.catalog
        self.reads: set[Name] = set()
        self.writes: set[Name] = set()
        self.functions: set[str] = set()
        self.questions: set[Ask] = set()
        self.reasons: list[str] = []
        self.effects = Effect.NONE
        self.volatile = False

    def statement(self, raw: RawStatement) -> SqlFacts:
        self.reasons += raw.reasons
        self.effects = raw.effects
        for use in raw.uses:
            self._use(use)
        for ref in raw.functions:
            self._function(ref)
        for ref in raw.operators:
            self._operator(ref)
        if raw.equalities:
            self._operator(_EQUALS)
        for ref in raw.types:
            self._type(ref)
        for name, row in raw.attributes:
            self._attribute(name, row)
        for ref in raw.deferred:
            self.functions.add(f"{ref.schema}.{ref.name}" if ref.schema else ref.name)
        if self.catalog.casts and (raw.operators or raw.functions or raw.uses or raw.types):
            self.reasons += self.catalog.casts
        if Effect.DDL in raw.effects or Effect.TEMP in raw.effects:
            self.reasons += self.catalog.on_define
        reasons = tuple(dict.fromkeys(self.reasons))
        related = {asked.action for asked in self.questions}
        for action in raw.alone:
            # A query without relations is asked about the resource; with some, about those.
            if not (action == ask.READ and related):
                self.questions.add(Ask(action))
        if reasons:
            self.questions.add(Ask(ask.UNKNOWN))
        return SqlFacts(
            kinds=raw.kinds,
            reads=frozenset(self.reads),
            writes=frozenset(self.writes),
            functions=frozenset(self.functions),
            unbounded=raw.unbounded,
            statements=1,
            volatile=self.volatile or bool(reasons),
            unknown=bool(reasons),
            reasons=reasons,
            literal_dependent=raw.literal_dependent,
            effects=_ANYTHING if reasons else self.effects,
            prepares=raw.prepares,
            executes=raw.executes,
            deallocates=raw.deallocates,
            declares=raw.declares,
            fetches=raw.fetches,
            closes=raw.closes,
            questions=frozenset(self.questions),
        )

    # Relations (manual, section 5.10.3 "The Schema Search Path", and pg_temp in SET search_path).

    def _use(self, use: Use) -> None:
        if "create" in use.events:
            self._create(use)
            return
        name = self._find(use.relation)
        if name is None:
            self.questions.add(Ask(use.action))
            return
        self.questions.add(Ask(use.action, name))
        if name[0].startswith("pg_temp"):
            self._temporary(use, name)
            return
        relation = self.catalog.relation(*name)
        if relation is None:
            (self.writes if use.action == ask.WRITE else self.reads).add(name)
        elif use.action == ask.READ:
            self._read(name, relation)
        elif use.action in (ask.WRITE, ask.MAINTAIN):
            self._write(name, relation, use.events, use.action)
        elif use.action == ask.LOCK:
            self.reads.add(name)

    def _temporary(self, use: Use, name: Name) -> None:
        if use.action == ask.READ:
            self.reads.add(name)
        elif use.action == ask.WRITE:
            self.writes.add(name)
        # A temporary table may have triggers, checks and defaults of its own, a view anything.
        self.reasons.append(
            f'Temporary relation "{name[1]}" is not in the catalog snapshot: it may run any code.'
        )

    def _create(self, use: Use) -> None:
        schema, name = use.relation
        if schema is None:
            schema = self._creation_schema()
        if schema is None:
            self.reasons.append(
                f'"{name}" would be created in a schema that is not known: qualify its name.'
            )
            self.questions.add(Ask(use.action))
            self.effects |= Effect.TEMP
            return
        if schema.startswith("pg_temp"):
            schema = "pg_temp"
            self.effects |= Effect.TEMP
        self.questions.add(Ask(use.action, (schema, name)))

    def _creation_schema(self) -> str | None:
        path = self.naming.path
        if path is None:
            return None
        # pg_catalog and pg_temp may be there implicitly, where nothing is created.
        return next((s for s in path if s != SYSTEM and not s.startswith("pg_temp")), None)

    def _find(self, ref: Ref) -> Name | None:
        """(schema, name) of an existing relation, or None and a reason."""
        schema, name = ref
        naming = self.naming
        if schema is not None:
            if schema.startswith("pg_temp"):
                return (schema, name)
            if naming.stale and schema not in _BUILT_IN:
                self._stale(f"{schema}.{name}")
                return (schema, name)
            if self.catalog.relation(schema, name) is None:
                self._missing(f"{schema}.{name}")
            return (schema, name)
        if naming.temp is None and not self._only_system(name):
            self.reasons.append(
                f'"{name}" may mean a temporary relation of this session: qualify it with its '
                "schema."
            )
            return None
        return self._search(name)

    def _only_system(self, name: str) -> bool:
        """Whether a built-in relation hides any temporary one of that name."""
        return self._temp_is_behind() and self.catalog.relation(SYSTEM, name) is not None

    def _temp_is_behind(self) -> bool:
        """Whether the path names pg_temp behind pg_catalog; otherwise it comes first."""
        path = self.naming.path or ()
        places = [at for at, schema in enumerate(path) if schema.startswith("pg_temp")]
        return bool(places) and SYSTEM in path[: places[0]]

    def _search(self, name: str) -> Name | None:
        naming = self.naming
        if naming.path is None:
            self.reasons.append(
                f'"{name}" is not qualified while the search_path is not known: qualify it with '
                "its schema."
            )
            return None
        path = naming.path
        if naming.temp and name in naming.temp and not any(s.startswith("pg_temp") for s in path):
            path = ("pg_temp", *path)
        for schema in path:
            if schema.startswith("pg_temp"):
                if naming.temp is not None and name in naming.temp:
                    return ("pg_temp", name)
                continue
            if naming.stale and schema not in _BUILT_IN:
                self._stale(name)
                return None
            if self.catalog.relation(schema, name) is not None:
                return (schema, name)
        self._missing(name)
        return None

    def _stale(self, name: str) -> None:
        self.reasons.append(
            f'"{name}" may have changed in this transaction: commit before using it.'
        )

    def _changed(self) -> None:
        self.reasons.append(
            "Functions, operators or types may have changed in this transaction: commit first."
        )

    def _missing(self, name: str) -> None:
        self.reasons.append(
            f'Relation "{name}" is not in the catalog: it is new or does not exist.'
        )

    def _read(self, name: Name, relation: Relation) -> None:
        self.reads.add(name)
        self.reads |= relation.bases
        self.questions.update(Ask(ask.READ, base) for base in relation.bases)
        self.reasons += relation.hidden

    def _write(self, name: Name, relation: Relation, events: frozenset[str], action: str) -> None:
        """Follow what the write runs, and what else it writes, through views and foreign keys."""
        pending: list[tuple[Name, frozenset[str]]] = [(name, events)]
        done: set[tuple[Name, frozenset[str]]] = set()
        while pending:
            target, happening = pending.pop()
            if (target, happening) in done:
                continue
            done.add((target, happening))
            found = relation if target == name else self.catalog.relation(*target)
            if found is None:
                self._missing(".".join(target))
                continue
            if action == ask.WRITE:
                self.writes.add(target)
                self.questions.add(Ask(ask.WRITE, target))
            if target[0] == SYSTEM and action == ask.WRITE:
                self.reasons.append(
                    f'"{target[1]}" belongs to the system catalog: it is not written.'
                )
            # An update of a partitioned table may move a row: a delete and an insert.
            moves = found.kind == "p" and "update" in happening
            fires = happening | {"insert", "delete"} if moves else happening
            self.reasons += [hook.reason for hook in found.on_write if hook.events & fires]
            self.reasons += found.hidden
            if found.target is not None:
                pending.append((found.target, happening))
                self.reads |= found.bases
                self.questions.update(Ask(ask.READ, base) for base in found.bases)
            pending += [
                (cascade.target, frozenset({cascade.effect}))
                for cascade in found.cascades
                if cascade.event in happening
            ]

    # Functions, operators and types: pg_temp is never searched for the first two.

    def _shadowing(self, schemas: Iterable[str]) -> list[str]:
        """Those of `schemas` that an unqualified name may mean; all where the path is unknown."""
        path = self.naming.path
        return [schema for schema in schemas if path is None or schema in path]

    def _function(self, ref: Ref) -> None:
        schema, name = ref
        if schema is None:
            self._unqualified(name)
        elif schema == SYSTEM:
            self._builtin(name)
        else:
            self._user_function(schema, name)

    def _unqualified(self, name: str) -> None:
        found = self.catalog.functions.get(name, ())
        schemas = self._shadowing(function.schema for function in found)
        for schema in schemas:
            self._user_function(schema, name)
        if name in _OWN or not schemas:
            self._builtin(name)
        if self.naming.stale:
            self._changed()
        # f(x) is a cast where f is a type and no function of that name takes x.
        for schema, reasons in self.catalog.types.get(name, _NO_TYPES).items():
            if self._shadowing((schema,)):
                self.reasons += reasons

    def _builtin(self, name: str) -> None:
        self.functions.add(f"{SYSTEM}.{name}")
        if name in VOLATILE:
            self.volatile = True
        if name not in _OWN or self._overloaded(name):
            if f"{SYSTEM}.{name}" not in self.catalog.safe_functions:
                self._unlisted(f"{SYSTEM}.{name}")
            self.volatile = True

    def _overloaded(self, name: str) -> bool:
        """Whether somebody has put a function of that name into pg_catalog."""
        return any(found.schema == SYSTEM for found in self.catalog.functions.get(name, ()))

    def _user_function(self, schema: str, name: str) -> None:
        qualified = f"{schema}.{name}"
        self.functions.add(qualified)
        if schema == "information_schema" and name in SAFE_INFORMATION_SCHEMA:
            return
        self.volatile = True
        if qualified not in self.catalog.safe_functions:
            self._unlisted(qualified)
        elif self.naming.stale:
            self._changed()

    def _unlisted(self, name: str) -> None:
        self.reasons.append(
            f"Function {name} is not known to be safe: leave it out, or have an administrator list "
            "it in safe_functions."
        )

    def _operator(self, ref: Ref) -> None:
        schema, name = ref
        found = self.catalog.operators.get(name, ())
        if schema is None:
            schemas = set(self._shadowing(operator.schema for operator in found))
        else:
            schemas = {schema}
        for operator in found:
            if operator.schema in schemas:
                for function in operator.functions - self.catalog.safe_functions:
                    self.reasons.append(
                        f"Operator {operator.schema}.{name} calls {function}, which is not known "
                        f"to be safe: write OPERATOR(pg_catalog.{name}), or have an administrator "
                        "list the function in safe_functions."
                    )
                self.volatile = True
        if schema not in (None, SYSTEM) and not any(o.schema == schema for o in found):
            self.reasons.append(f"Operator {schema}.{name} is not in the catalog.")
        if self.naming.stale:
            self._changed()

    def _type(self, ref: Ref) -> None:
        schema, name = ref
        if schema is not None:
            if schema.startswith("pg_temp"):
                self.reasons.append(f'Type "{schema}.{name}" is temporary and may run any code.')
            elif schema != "information_schema":
                self._user_type(schema, name)
            return
        naming = self.naming
        if (naming.temp is None or name in naming.temp) and not self._temp_is_behind():
            self.reasons.append(
                f'Type "{name}" may mean a temporary one of this session: write '
                f"pg_catalog.{name}, or qualify it."
            )
        for where in self._shadowing(self.catalog.types.get(name, _NO_TYPES)):
            self._user_type(where, name)
        if naming.stale:
            self._changed()

    def _user_type(self, schema: str, name: str) -> None:
        reasons = self.catalog.types.get(name, _NO_TYPES).get(schema)
        if reasons is None:
            self.reasons.append(f'Type "{schema}.{name}" is not in the catalog.')
        else:
            self.reasons += reasons
            if self.naming.stale:
                self._changed()

    def _attribute(self, name: str, row: bool) -> None:
        """A name after a dot, which is a call where it names no column."""
        for function in self.catalog.functions.get(name, ()):
            able = function.row if row else function.single
            if able and self._shadowing((function.schema,)):
                self._user_function(function.schema, name)
        if name in UNSAFE_SINGLE or (name in self.catalog.builtins and name not in SAFE):
            self._builtin(name)
