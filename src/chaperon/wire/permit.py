"""What a decision yields: a `Permit`, without which nothing is forwarded, or a `Denial`.

A permit has no public constructor. Only `chaperon.policy.decision` issues them; a test over the
syntax trees of the package holds that. `Forward` takes a permit, so code that would forward
undecided bytes does not type-check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Never, Self


class Permit:
    """Proof that policy allowed one operation. Compared by identity.

    `evidence` is the JSON text (UTF-8) of the decision as the recording keeps it: verdict,
    policies, facts. `statement_facts` is the protocol's own facts object, which its session reads
    to follow what an allowed operation will change; the kernel never looks into it.
    """

    __slots__ = ("evidence", "statement_facts")

    evidence: bytes
    statement_facts: object

    def __init__(self, *_: Never) -> None:
        raise TypeError("permits are issued by chaperon.policy.decision only")

    @classmethod
    def _issue(cls, evidence: bytes, statement_facts: object) -> Self:
        permit = object.__new__(cls)
        permit.evidence = evidence
        permit.statement_facts = statement_facts
        return permit

    def __repr__(self) -> str:
        return f"Permit({self.evidence[:80]!r})"


@dataclass(frozen=True, slots=True)
class Denial:
    """Policy's refusal: what the agent is told, and what the recording keeps.

    `policy` is the `@id` of the policy that refused, or a reserved id such as `default-deny`;
    `message` a sentence for the agent; `remedy` what would help; `evidence` and `statement_facts`
    as in `Permit`: a refused statement may hold a secret that its recording must not.
    """

    policy: str
    message: str
    remedy: str
    evidence: bytes
    statement_facts: object = field(default=None, compare=False, repr=False)


Decision = Permit | Denial
