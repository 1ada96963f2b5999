"""The facts of SQL text, before (`RawFacts`) and after (`SqlFacts`) names are resolved.

Invariant: both are pure values; what was not understood sets `unknown`, with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag
from typing import NamedTuple

from chaperon.facts import ask as actions
from chaperon.facts.ask import Ask
from chaperon.facts.catalog import Name

Json = str | int | bool | list[str]


class Effect(Flag):
    """What a statement may change that decides how later text is read."""

    NONE = 0
    SETTINGS = 1
    """search_path, role, session authorization, client_encoding, standard_conforming_strings, …"""
    TEMP = 2
    """May create or drop temporary objects."""
    DDL = 4
    """Changes the catalog: names and what they run."""
    TXN = 8
    """Begins or ends a transaction or a savepoint."""
    NAMES = 16
    """PREPARE, DEALLOCATE, DECLARE, CLOSE, DISCARD."""


class Ref(NamedTuple):
    """A name as written: `schema` is None where it was not qualified."""

    schema: str | None
    name: str


class Use(NamedTuple):
    """A relation as used. `action` is one of `ask.ACTIONS`.

    `events` is what is done to it: "insert", "update", "delete", "truncate", "truncate_cascade",
    "refresh"; "create" where the name is a new one.
    """

    action: str
    relation: Ref
    events: frozenset[str] = frozenset()


class Cursor(NamedTuple):
    """DECLARE: the cursor's name, its query, and whether it outlives the transaction."""

    name: str
    query: RawFacts
    hold: bool


class Prepared(NamedTuple):
    """PREPARE: the statement's name and what EXECUTE will run."""

    name: str
    statement: RawFacts


@dataclass(frozen=True, slots=True)
class RawStatement:
    """One statement as parsed, names unresolved.

    `functions`, `operators`, `types` run when it is executed; `deferred` are functions of bodies
    that it only defines. `equalities`: = is looked up though it is not written (IS DISTINCT FROM,
    NULLIF, CASE x WHEN, USING, IN with a query). `attributes` are names after a dot, which the
    server may read as calls: (name, on a row). `alone` are actions on the resource itself.
    """

    kinds: frozenset[str]
    uses: tuple[Use, ...] = ()
    alone: frozenset[str] = frozenset()
    functions: frozenset[Ref] = frozenset()
    operators: frozenset[Ref] = frozenset()
    equalities: bool = False
    types: frozenset[Ref] = frozenset()
    attributes: frozenset[tuple[str, bool]] = frozenset()
    deferred: frozenset[Ref] = frozenset()
    unbounded: bool = False
    literal_dependent: bool = False
    reasons: tuple[str, ...] = ()
    effects: Effect = Effect.NONE
    prepares: tuple[Prepared, ...] = ()
    executes: tuple[str, ...] = ()
    deallocates: tuple[str | None, ...] = ()
    declares: tuple[Cursor, ...] = ()
    fetches: tuple[str, ...] = ()
    closes: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class RawFacts:
    """A text as parsed: its statements in order, and what concerns all of it.

    `reasons` say why the text as a whole is unknown (it does not parse, it is over the limits).
    `secrets`: (start, end) byte ranges of the UTF-8 text that a recording must not keep.
    `large`: the text is over the limits of the process; `helper.read_large` may still read it.
    """

    statements: tuple[RawStatement, ...] = ()
    reasons: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    secrets: tuple[tuple[int, int], ...] = ()
    large: bool = False

    @property
    def unknown(self) -> bool:
        """Whether the text as a whole was not understood."""
        return bool(self.reasons)


@dataclass(frozen=True, slots=True)
class SqlFacts:
    """The facts that policy, recording and the session read.

    `prepares`, `executes`, `deallocates` (None: ALL), `declares`, `fetches`, `closes` (None: ALL)
    are in the order of the text; the session resolves `executes` and `fetches` with its own tables
    and unites with `merged`. `secrets` are byte ranges of the UTF-8 text.
    """

    kinds: frozenset[str] = frozenset()
    reads: frozenset[Name] = frozenset()
    writes: frozenset[Name] = frozenset()
    functions: frozenset[str] = frozenset()
    unbounded: bool = False
    statements: int = 0
    volatile: bool = False
    unknown: bool = False
    reasons: tuple[str, ...] = ()
    literal_dependent: bool = False
    secrets: tuple[tuple[int, int], ...] = ()
    effects: Effect = Effect.NONE
    prepares: tuple[Prepared, ...] = ()
    executes: tuple[str, ...] = ()
    deallocates: tuple[str | None, ...] = ()
    declares: tuple[Cursor, ...] = ()
    fetches: tuple[str, ...] = ()
    closes: tuple[str | None, ...] = ()
    questions: frozenset[Ask] = frozenset()

    def asks(self) -> tuple[Ask, ...]:
        """Everything that policy must allow, in a stable order; never empty."""
        asked = set(self.questions)
        if self.unknown or not asked:
            asked.add(Ask(actions.UNKNOWN))
        return tuple(sorted(asked))

    def merged(self, other: SqlFacts) -> SqlFacts:
        """These facts united with those of what is executed by them.

        Names that `other` would prepare or declare count too; `statements` and `secrets` stay.
        """
        return SqlFacts(
            kinds=self.kinds | other.kinds,
            reads=self.reads | other.reads,
            writes=self.writes | other.writes,
            functions=self.functions | other.functions,
            unbounded=self.unbounded or other.unbounded,
            statements=self.statements,
            volatile=self.volatile or other.volatile,
            unknown=self.unknown or other.unknown,
            reasons=tuple(dict.fromkeys(self.reasons + other.reasons)),
            literal_dependent=self.literal_dependent or other.literal_dependent,
            secrets=self.secrets,
            effects=self.effects | other.effects,
            prepares=self.prepares + other.prepares,
            executes=self.executes + other.executes,
            deallocates=self.deallocates + other.deallocates,
            declares=self.declares + other.declares,
            fetches=self.fetches + other.fetches,
            closes=self.closes + other.closes,
            questions=self.questions | other.questions,
        )

    def context(self) -> dict[str, Json]:
        """What a policy sees as `context.statement`. Its keys are fixed."""
        return {
            "kinds": sorted(self.kinds),
            "functions": sorted(self.functions),
            "unbounded": self.unbounded,
            "statements": self.statements,
            "volatile": self.volatile,
            "unknown": self.unknown,
            "reads": sorted(f"{schema}.{name}" for schema, name in self.reads),
            "writes": sorted(f"{schema}.{name}" for schema, name in self.writes),
        }

    def evidence(self) -> dict[str, Json]:
        """What the recording keeps: the context and the reasons."""
        return {**self.context(), "reasons": list(self.reasons)}
