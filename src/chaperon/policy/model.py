"""What policy is asked, free of any protocol: who, where, which actions on which things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chaperon.wire.ask import Ask
from chaperon.wire.principal import Principal

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class Question:
    """One operation, put to policy. Every ask must be allowed for the operation to be.

    `statement` is the facts that policies read as `context.statement`, and None where there is no
    statement (a connect). Its keys are the vocabulary's, never the agent's: one from outside could
    be a key that Cedar reads as an entity. `evidence` is what else the recording keeps; a list of
    texts under `reasons` there says why something is unknown, and a denial repeats it.
    `statement_facts` rides on the permit untouched.
    """

    principal: Principal
    resource: str
    protocol: str
    asks: tuple[Ask, ...]
    statement: Mapping[str, Json] | None = None
    evidence: Mapping[str, Json] = field(default_factory=dict)
    statement_facts: object = None
