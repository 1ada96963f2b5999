"""A decision in words: what the agent is told, and the JSON that the recording keeps.

Words come from the policy and the vocabulary. Cedar's own error texts go into the evidence only.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from chaperon.policy.model import Evaluation, Question, Verdict
from chaperon.policy.schema import CONNECT, RESOURCE, Action, Schema, entity_id
from chaperon.wire.ask import Ask

DEFAULT_DENY: Final = "default-deny"
POLICY_ERROR: Final = "policy-error"
RESERVED_IDS: Final = frozenset((DEFAULT_DENY, POLICY_ERROR, "inspection-limit"))
"""Ids in denials that are not a policy's; no policy may take one."""

_CONNECT: Final = Action(CONNECT, (CONNECT,), "connect to")
_MOST_REASONS = 3


class Refusal(NamedTuple):
    """The parts of a denial that the agent sees."""

    policy: str
    message: str
    remedy: str


def refusal_of(question: Question, evaluation: Evaluation, schema: Schema) -> Refusal:
    """Why it is not allowed: an error, else a forbid (one with a message first), else no permit."""
    if evaluation.failure is not None:
        return _error(evaluation.failure)
    denied = [verdict for verdict in evaluation.verdicts if not verdict.allowed]
    if any(verdict.errors for verdict in denied):
        return _error("a policy failed while it was evaluated")
    forbidden = [verdict for verdict in denied if verdict.policies]
    if forbidden:
        return _forbidden(question, forbidden, schema)
    if denied:
        return _unpermitted(question, denied[0].ask, schema)
    return _error("nothing was asked")


def evidence_of(
    question: Question, evaluation: Evaluation, policy_set: str, refusal: Refusal | None = None
) -> bytes:
    """The decision as compact JSON with sorted keys (UTF-8). docs/policy.md has its shape."""
    deciding = {policy.id for verdict in evaluation.verdicts for policy in verdict.policies}
    kept: dict[str, object] = {
        "verdict": "allow" if refusal is None else "deny",
        "policy_set": policy_set,
        "policies": sorted(deciding),
        "asks": [_answer(verdict) for verdict in evaluation.verdicts],
        "facts": {**(question.statement or {}), **question.evidence},
    }
    errors = {error for verdict in evaluation.verdicts for error in verdict.errors}
    if evaluation.failure is not None:
        errors.add(evaluation.failure)
    if errors:
        kept["errors"] = sorted(errors)
    if refusal is not None:
        kept["denial"] = refusal._asdict()
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_set)
    return text.encode(errors="backslashreplace")


def _set(value: object) -> object:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} in a decision's evidence")


def _answer(verdict: Verdict) -> dict[str, object]:
    return {
        "action": verdict.ask.action,
        "path": verdict.ask.path,
        "allowed": verdict.allowed,
        "policies": [policy.id for policy in verdict.policies],
    }


def _error(what: str) -> Refusal:
    return Refusal(
        POLICY_ERROR,
        f"This could not be decided, so it is refused: {what}.",
        "Tell whoever keeps the policies of this gateway; the recording has the details.",
    )


def _forbidden(question: Question, verdicts: list[Verdict], schema: Schema) -> Refusal:
    found = [(policy, verdict) for verdict in verdicts for policy in verdict.policies]
    policy, verdict = next((pair for pair in found if pair[0].message), found[0])
    message = policy.message or _may_not(question, verdict.ask, schema)
    if policy.review:
        remedy = (
            f"A person of the group {policy.review} would have to approve it, which this release "
            f"cannot ask for; ask one of them to do it."
        )
    else:
        remedy = (
            f"The policy {policy.id} forbids it. Ask for something else, or ask whoever keeps the "
            f"policies of this gateway for a change of it."
        )
    return Refusal(policy.id, message, remedy)


def _unpermitted(question: Question, ask: Ask, schema: Schema) -> Refusal:
    action = schema.actions.get(ask.action, _CONNECT)
    message = _may_not(question, ask, schema)
    if "unknown" in action.groups:
        reasons = question.evidence.get("reasons")
        if isinstance(reasons, (list, tuple)) and reasons:
            shown = " ".join(f"{str(reason).rstrip('.')}." for reason in reasons[:_MOST_REASONS])
            message += f" Not understood: {shown}"
    remedy = (
        f"No policy permits it. Ask whoever keeps the policies of this gateway for a permit of "
        f"{_action(ask, action)} on {_thing(question, ask, schema)}."
    )
    return Refusal(DEFAULT_DENY, message, remedy)


def _may_not(question: Question, ask: Ask, schema: Schema) -> str:
    phrase = schema.actions.get(ask.action, _CONNECT).phrase
    inside = f"{'.'.join(ask.path)} in " if ask.path else ""
    return f"{question.principal.name} may not {phrase} {inside}{question.resource}."


def _action(ask: Ask, action: Action) -> str:
    own = f'Action::"{ask.action}"'
    groups = [f'Action::"{group}"' for group in action.groups if group != ask.action]
    return f"{own} (in {' and '.join(groups)})" if groups else own


def _thing(question: Question, ask: Ask, schema: Schema) -> str:
    if not ask.path:
        return f'{RESOURCE}::"{question.resource}"'
    levels = schema.by_protocol[question.protocol].levels
    return f'{levels[len(ask.path) - 1]}::"{entity_id(question.resource, ask.path)}"'
