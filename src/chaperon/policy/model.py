"""What policy is asked, free of any protocol: who, where, which actions on which things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from chaperon.wire.ask import Ask
from chaperon.wire.principal import Principal

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


@dataclass(frozen=True, slots=True)
class Question:
    """One operation, put to policy. Every ask must be allowed for the operation to be.

    `statement` is the facts that policies read as `context.statement`, and None where nothing but
    `connect` is asked: a policy that reads facts which are not there denies. Its keys are the
    vocabulary's, never the agent's: one from outside could be a key that Cedar reads as an entity.
    `evidence` is what else the recording keeps; a list of texts under `reasons` there says why
    something is unknown, and a denial repeats it. `statement_facts` rides on the permit untouched.
    """

    principal: Principal
    resource: str
    protocol: str
    asks: tuple[Ask, ...]
    statement: Mapping[str, Json] | None = None
    evidence: Mapping[str, Json] = field(default_factory=dict)
    statement_facts: object = None


@dataclass(frozen=True, slots=True)
class Policy:
    """One loaded policy. `where` is `file:line`; `review` the group of `@review`, on a forbid."""

    id: str
    effect: Literal["permit", "forbid"]
    where: str
    text: str
    message: str | None = None
    review: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Policy's answer to one ask.

    `policies` are those that decided: the forbids that matched, or else the permits. `errors` are
    evaluations that failed, in Cedar's words; with any, `allowed` is false.
    """

    ask: Ask
    allowed: bool
    policies: tuple[Policy, ...]
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The answers to every ask of a question, in its order; after a denial some may be left out.

    `failure` says why the question could not be put at all; then it is denied.
    """

    verdicts: tuple[Verdict, ...]
    failure: str | None = None

    @property
    def allowed(self) -> bool:
        """Whether everything asked is allowed. False where nothing was asked."""
        return (
            self.failure is None
            and bool(self.verdicts)
            and all(verdict.allowed for verdict in self.verdicts)
        )


class Complaint(NamedTuple):
    """What is wrong with a policy, and what to do."""

    text: str
    remedy: str
