"""Why policy answers as it does: for people who write policies. Nothing here decides anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaperon.config import Config
from chaperon.policy.decision import PolicySet
from chaperon.policy.evidence import Refusal, refusal_of
from chaperon.policy.lint import Names
from chaperon.policy.load import load_policies, names_of
from chaperon.policy.model import Evaluation, Json, Policy, Question, Verdict
from chaperon.policy.schema import Schema


@dataclass(frozen=True, slots=True)
class Explanation:
    """A question, the verdict on each of its asks, and the words of a denial."""

    question: Question
    evaluation: Evaluation
    refusal: Refusal | None
    policy_set: str

    @property
    def allowed(self) -> bool:
        """The verdict on the whole."""
        return self.evaluation.allowed

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        question = self.question
        return {
            "principal": f"{question.principal.kind.value}::{question.principal.name}",
            "groups": sorted(question.principal.groups),
            "resource": question.resource,
            "verdict": "allow" if self.allowed else "deny",
            "policy_set": self.policy_set,
            "facts": {**(question.statement or {}), **question.evidence},
            "asks": [_verdict_json(verdict) for verdict in self.evaluation.verdicts],
            "failure": self.evaluation.failure,
            "denial": None if self.refusal is None else dict(self.refusal._asdict()),
        }


def explain(policies: PolicySet, question: Question) -> Explanation:
    """Evaluate every ask, past a denial too, by the same evaluation that decides."""
    evaluation = policies.evaluate(question, everything=True)
    refusal = None
    if not evaluation.allowed:
        refusal = refusal_of(question, evaluation, policies.schema)
    return Explanation(question, evaluation, refusal, policies.hash)


def render(explanation: Explanation) -> str:
    """The explanation as plain text."""
    return "\n".join(_lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    question, refusal = explanation.question, explanation.refusal
    groups = ", ".join(sorted(question.principal.groups)) or "none"
    yield f"{question.principal.kind.value} {question.principal.name} (groups: {groups})"
    yield f"on {question.resource} ({question.protocol})"
    yield ""
    yield "facts"
    facts = {**(question.statement or {}), **question.evidence}
    for name, value in facts.items():
        yield f"  {name:<11} {_shown(value)}"
    if not facts:
        yield "  none: no statement"
    yield ""
    yield "asked"
    for verdict in explanation.evaluation.verdicts:
        yield from _verdict_lines(verdict, question.resource)
    if explanation.evaluation.failure:
        yield f"  not asked: {explanation.evaluation.failure}"
    yield ""
    if refusal is None:
        yield "verdict: allow"
    else:
        yield f"verdict: deny ({refusal.policy})"
        yield f"  {refusal.message}"
        yield f"  {refusal.remedy}"


def _shown(value: Json) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _verdict_lines(verdict: Verdict, resource: str) -> Iterator[str]:
    thing = ".".join(verdict.ask.path) or resource
    yield f"  {'allow' if verdict.allowed else 'deny ':<5} {verdict.ask.action} on {thing}"
    for policy in verdict.policies:
        yield f"        {policy.effect} {policy.id} ({policy.where})"
    for error in verdict.errors:
        yield f"        failed: {error}"
    if not verdict.policies and not verdict.errors:
        yield "        no policy permits it"


def _verdict_json(verdict: Verdict) -> dict[str, Json]:
    return {
        "action": verdict.ask.action,
        "path": list(verdict.ask.path),
        "allowed": verdict.allowed,
        "policies": [_policy_json(policy) for policy in verdict.policies],
        "errors": list(verdict.errors),
    }


def _policy_json(policy: Policy) -> dict[str, Json]:
    return {"id": policy.id, "effect": policy.effect, "where": policy.where}


@dataclass(frozen=True, slots=True)
class Report:
    """What `chaperon policy check` says of a folder that is in order."""

    hash: str
    policies: tuple[Policy, ...]
    cacheable: bool
    warnings: tuple[str, ...]


def check(folder: Path, schema: Schema, config: Config | None = None) -> Report:
    """Load `folder`; with a `config`, ids in policies must exist there. Raises ConfigError."""
    policies = load_policies(folder, schema, names_of(config) if config else Names({}))
    return Report(policies.hash, policies.policies, policies.cacheable, tuple(_warnings(policies)))


def _warnings(policies: PolicySet) -> Iterator[str]:
    if not any(policy.effect == "permit" for policy in policies.policies):
        yield "There is no permit, so everything is denied."
    for policy in policies.policies:
        if policy.review:
            yield (
                f"{policy.where}: @review on {policy.id} is a plain forbid in this release: "
                f"nobody can approve yet."
            )
