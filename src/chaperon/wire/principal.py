"""Who is on the other side: the neutral form that policy and recordings see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class PrincipalKind(Enum):
    """The Cedar entity type of a principal."""

    AGENT = "Agent"
    USER = "User"
    SERVICE = "Service"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated identity with its groups at the time of authentication."""

    kind: PrincipalKind
    name: str
    groups: frozenset[str] = frozenset()
