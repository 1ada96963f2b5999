"""Prepared statements and portals of one session, SQL-level and protocol-level alike.

Names are entered when the message that defines them is forwarded, because later messages of the
same pipeline use them before the server has answered; an `Undo` takes them back where the server
refuses. Invariant: a name maps to the statement that the server would run for it, or is absent, and
an absent name is decided as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaperon.protocols.postgres.plan import Plan
from chaperon.wire.permit import Permit

_NAME_BYTES = 63


def name_key(name: bytes) -> bytes:
    """A name as the server compares it: NAMEDATALEN - 1 bytes, and what follows does not count."""
    return name[:_NAME_BYTES]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared statement: its text where it has one, and the permit and plan of its Parse.

    `version` is the gate's when it was decided; -1 where it must be decided when it is used.
    `types` are the parameter types as its Parse gave them.
    """

    text: bytes
    plan: Plan
    permit: Permit
    version: int
    types: bytes = b""


@dataclass(frozen=True, slots=True)
class Portal:
    """A bound statement or an open cursor. `hold`: it survives the end of the transaction."""

    prepared: Prepared
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Undo:
    """What to restore when the server refuses a definition; `forget` where that cannot be told."""

    statements: tuple[tuple[bytes, Prepared | None], ...] = ()
    portals: tuple[tuple[bytes, Portal | None], ...] = ()
    forget: bool = False


class Namespace:
    """The tables, and how plans change them."""

    __slots__ = ("held", "portals", "statements")

    def __init__(self) -> None:
        self.statements: dict[bytes, Prepared] = {}
        self.portals: dict[bytes, Portal] = {}
        self.held = False

    def statement(self, name: str) -> Plan | None:
        """See `plan.Names`."""
        found = self.statements.get(name_key(name.encode()))
        return found.plan if found is not None else None

    def cursor(self, name: str) -> Plan | None:
        """See `plan.Names`."""
        found = self.portals.get(name_key(name.encode()))
        return found.prepared.plan if found is not None else None

    def apply(self, plan: Plan, prepared: Prepared) -> Undo | None:
        """Enter what a forwarded statement defines or drops. `prepared` is the statement itself."""
        if not (plan.defines or plan.drops or plan.opens):
            return None
        statements: list[tuple[bytes, Prepared | None]] = []
        portals: list[tuple[bytes, Portal | None]] = []
        for name, inner in plan.defines:
            key = name.encode()
            statements.append((key, self.statements.get(key)))
            self.statements[key] = Prepared(b"", inner, prepared.permit, -1)
        for dropped in plan.drops:
            keys = list(self.statements) if dropped is None else [dropped.encode()]
            for key in keys:
                statements.append((key, self.statements.pop(key, None)))
        for name, inner, hold in plan.opens:
            key = name.encode()
            portals.append((key, self.portals.get(key)))
            self.portals[key] = Portal(Prepared(b"", inner, prepared.permit, -1), hold)
            self.held = self.held or hold
        return Undo(tuple(statements), tuple(portals), forget=plan.facts.statements > 1)

    def undo(self, undo: Undo) -> None:
        """Take back a definition that the server refused."""
        for name, old in reversed(undo.statements):
            if old is None or undo.forget:
                self.statements.pop(name, None)
            else:
                self.statements[name] = old
        for name, portal in reversed(undo.portals):
            if portal is None or undo.forget:
                self.portals.pop(name, None)
            else:
                self.portals[name] = portal

    def end_transaction(self) -> None:
        """Portals end with their transaction, but for cursors WITH HOLD.

        Called when nothing is in flight. Where something is, names of portals that are gone stay a
        while, which is harmless: the server refuses them, and a new one would replace the entry.
        """
        if not self.held:
            self.portals.clear()
        else:
            self.portals = {n: p for n, p in self.portals.items() if p.hold}
