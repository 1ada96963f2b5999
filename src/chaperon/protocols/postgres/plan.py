"""What a session must know of a decided statement: the facts, reduced to what it follows.

A permit of this protocol carries a `Plan` as its `statement_facts`. Invariant: `plain` is true only
where forwarding the statement changes nothing that later decisions depend on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from chaperon.facts.model import RawFacts, SqlFacts


@dataclass(frozen=True, slots=True)
class SessionNaming:
    """How the server resolves names for this session, in the server's own words.

    `setting` is the text of `SHOW search_path`; `role` the current role; `faithful` whether parser
    and server read a text alike (UTF8 and standard_conforming_strings on); `temp` the names of the
    session's temporary relations, None where there may be any.
    """

    setting: str
    role: str
    faithful: bool
    temp: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A decided statement as the session follows it.

    `raw` is kept so that a prepared statement can be decided again when names mean something else.
    `settings`: names may mean something else afterwards. `temp`: temporary objects may be new.
    `ddl`: the catalog may be another. `txn`: it begins or ends a transaction or savepoint.
    `cacheable`: the decision holds for the same text again; `by_template`: for its template too.
    `defines`: prepared statements (name, plan of the inner one) that SQL PREPARE makes; `drops`
    names that DEALLOCATE removes, None for all; `opens`: cursors (name, plan, WITH HOLD).
    `secrets`: byte ranges of the text that no recording may hold.
    """

    raw: RawFacts
    facts: SqlFacts
    plain: bool
    cacheable: bool
    by_template: bool
    settings: bool = False
    temp: bool = False
    ddl: bool = False
    txn: bool = False
    defines: tuple[tuple[str, Plan], ...] = ()
    drops: tuple[str | None, ...] = ()
    opens: tuple[tuple[str, Plan, bool], ...] = ()
    secrets: tuple[tuple[int, int], ...] = ()


class Names(Protocol):
    """Prepared statements and portals of a session, as they are now."""

    def statement(self, name: str) -> Plan | None:
        """What EXECUTE of `name` runs; None where this session did not see it defined."""
        ...

    def cursor(self, name: str) -> Plan | None:
        """What FETCH from `name` runs."""
        ...


class NoNames:
    """A session without any."""

    def statement(self, name: str) -> Plan | None:
        return None

    def cursor(self, name: str) -> Plan | None:
        return None


@dataclass(frozen=True, slots=True)
class StatementContext:
    """The session's state that the decision on one statement needs.

    `naming` is None where the server's word is not to be had (a pipeline behind a SET). `ddl_open`:
    the open transaction has changed the catalog. `plan` is what a Bind or Execute names, None with
    `known` False for a name that this session did not see defined. `replication`: the walsender's
    grammar applies. `types`: OIDs of parameter types that are not PostgreSQL's own.
    """

    naming: SessionNaming | None
    names: Names
    ddl_open: bool = False
    plan: Plan | None = None
    known: bool = True
    replication: bool = False
    types: tuple[int, ...] = ()
