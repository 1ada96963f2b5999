"""The decision: one Cedar request for each ask, all must be allowed, any error denies.

The only module that issues permits; a test over the syntax trees of the package holds that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import cedarpy

from chaperon.policy.evidence import evidence_of, refusal_of
from chaperon.policy.model import Evaluation, Policy, Question, Verdict
from chaperon.policy.requests import Requests, Unaskable
from chaperon.policy.schema import Schema
from chaperon.wire.ask import Ask
from chaperon.wire.permit import Decision, Denial, Permit

_AT_ONCE = 64
_MOST_ASKS = 10_000
_POSITION = re.compile(r"\bpolicy(\d+)\b")


class PolicySet:
    """A validated set of policies, made by `load`. Immutable but for memories of its own.

    `hash` names texts and schema; `cacheable` is false where a policy reads something that the
    verdict cache's key does not settle.
    """

    def __init__(
        self, policies: Iterable[Policy], schema: Schema, hash_: str, *, cacheable: bool
    ) -> None:
        """Raises ValueError where Cedar does not take the texts, which `load` has had checked."""
        self.policies = tuple(policies)
        self.schema = schema
        self.hash = hash_
        self.cacheable = cacheable
        # Cedar numbers policies by position; the child process has checked that it does.
        self._cedar = cedarpy.PolicySet.from_str("\n".join(p.text for p in self.policies))
        if len(self._cedar) != len(self.policies):
            raise ValueError("Cedar counts other policies than were loaded")
        self._by_position = {f"policy{n}": policy for n, policy in enumerate(self.policies)}
        self._requests = Requests(schema)

    def decide(self, question: Question) -> Decision:
        """Allow or deny the operation as a whole; what cannot be asked is denied."""
        evaluation = self.evaluate(question)
        if evaluation.allowed:
            evidence = evidence_of(question, evaluation, self.hash)
            return Permit._issue(evidence, question.statement_facts)
        refusal = refusal_of(question, evaluation, self.schema)
        evidence = evidence_of(question, evaluation, self.hash, refusal)
        return Denial(
            refusal.policy, refusal.message, refusal.remedy, evidence, question.statement_facts
        )

    def evaluate(self, question: Question, *, everything: bool = False) -> Evaluation:
        """The verdict on each ask. With `everything`, a denial does not end the asking."""
        asks = tuple(dict.fromkeys(question.asks))
        if not asks:
            return Evaluation((), "nothing was asked")
        if len(asks) > _MOST_ASKS:
            return Evaluation((), f"it concerns more than {_MOST_ASKS} things")
        verdicts: list[Verdict] = []
        try:
            requests, entities = self._requests.build(question, asks)
            for start in range(0, len(requests), _AT_ONCE):
                answers = cedarpy.is_authorized_batch(
                    requests[start : start + _AT_ONCE], self._cedar, entities
                )
                part = asks[start : start + _AT_ONCE]
                verdicts += (
                    self._verdict(ask, answer) for ask, answer in zip(part, answers, strict=True)
                )
                if not everything and not all(verdict.allowed for verdict in verdicts[start:]):
                    break
        except (Unaskable, ValueError, KeyError) as error:
            return Evaluation((), str(error))
        return Evaluation(tuple(verdicts))

    def _verdict(self, ask: Ask, answer: cedarpy.AuthzResult) -> Verdict:
        # Cedar skips a policy that fails, a forbid too, and says so in the diagnostics only.
        errors = tuple(self._named(text) for text in answer.diagnostics.errors)
        policies = tuple(
            sorted(
                (self._by_position[position] for position in answer.diagnostics.reasons),
                key=lambda policy: policy.id,
            )
        )
        allowed = answer.decision is cedarpy.Decision.Allow and not errors and bool(policies)
        return Verdict(ask, allowed, policies, errors)

    def _named(self, text: str) -> str:
        """Cedar's words with our ids in the place of positions."""
        return _POSITION.sub(lambda match: self._id(match[0]), text)

    def _id(self, position: str) -> str:
        policy = self._by_position.get(position)
        return policy.id if policy else position
