"""Resolve names as the server would: `RawFacts` and a `Naming` give `SqlFacts`. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from chaperon.facts.catalog import Catalog
from chaperon.facts.model import RawFacts, SqlFacts


@dataclass(frozen=True, slots=True)
class Naming:
    """What names mean in a session now. Hashable by identity of `catalog`; use `epoch` for keys.

    `path`: the effective schemas in search order, as `current_schemas(true)` gives; None: unknown.
    `temp`: names of the session's temporary relations and types; None: there may be any.
    `faithful`: client_encoding is UTF8 and standard_conforming_strings is on.
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
    raise NotImplementedError
