"""What Cedar's validation lets pass though it can never mean what it says.

A misspelt group in a `forbid` forbids nobody, and validates. Reads a policy in Cedar's JSON form,
whose nesting the child process has limited; returns complaints, never changes anything.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chaperon.policy import arithmetic
from chaperon.policy.evidence import RESERVED_IDS
from chaperon.policy.model import Complaint
from chaperon.policy.schema import CONNECT, GENERAL, RESOURCE, Fact, Schema
from chaperon.wire.principal import PrincipalKind

ANNOTATIONS: Final = ("id", "message", "review", "mode")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}\Z")
_HIDDEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LONGEST_MESSAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Names:
    """The ids that exist, by entity type (`Group`, `Resource`, `Agent`, …).

    A type that is not a key is open: any id may come from outside.
    """

    known: Mapping[str, frozenset[str]]


def lint(policy: Mapping[str, Any], schema: Schema, names: Names) -> list[Complaint]:
    """Everything wrong with one policy that Cedar does not say."""
    return [
        *_annotations(policy),
        *_entities(policy, schema, names),
        *_scope(policy),
        *_conditions(policy),
        *_values(policy, schema),
        *arithmetic.overflows(policy),
    ]


def reads_beyond(policy: Mapping[str, Any], schema: Schema) -> bool:
    """Whether the policy reads context that the key of the verdict cache does not settle."""
    seen = 0
    for node in walk(policy["conditions"]):
        match node:
            case {".": {"left": {".": {"left": {"Var": "context"}, "attr": "statement"}}}}:
                fact = schema.facts.get(node["."]["attr"])
                if fact is None or not fact.keyed:
                    return True
                seen += 1
            case {"has": {"left": {"Var": "context"}, "attr": "statement"}}:
                seen += 1
            case {"has": {"left": {".": {"left": {"Var": "context"}, "attr": "statement"}}}}:
                seen += 1
            case {"Var": "context"}:
                seen -= 1
    return seen != 0  # `context` stands somewhere else than in one of these forms


def walk(value: object) -> Iterator[dict[str, Any]]:
    """Every mapping inside `value`, from the outside in."""
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from walk(member)
    elif isinstance(value, list):
        for member in value:
            yield from walk(member)


def _annotations(policy: Mapping[str, Any]) -> Iterator[Complaint]:
    given = policy.get("annotations", {})
    forbids = policy["effect"] == "forbid"
    for name in given:
        if name not in ANNOTATIONS:
            remedy = did_you_mean(name, ANNOTATIONS, "@")
            yield Complaint(f"there is no annotation @{name}.", remedy)
    own = given.get("id")
    if not own:
        yield Complaint("has no @id.", 'Put @id("a-name-for-it") in front; denials show it.')
    elif own in RESERVED_IDS:
        yield Complaint(f"@id({own!r}) is reserved.", "Choose another id.")
    elif not _ID.match(own):
        yield Complaint(
            f"@id({own!r}) is not usable.", "Use letters, digits, `.`, `_`, `@`, `-`; at most 100."
        )
    message = given.get("message")
    if message is not None and (_HIDDEN.search(message) or not message.strip()):
        yield Complaint("@message is empty or has control characters.", "Write a sentence.")
    elif message is not None and len(message) > _LONGEST_MESSAGE:
        yield Complaint("@message is too long.", f"Use at most {_LONGEST_MESSAGE} characters.")
    if "review" in given and not forbids:
        yield Complaint("@review stands on a permit.", "Put it on the forbid that it softens.")
    elif "review" in given and not given["review"]:
        yield Complaint("@review names no group.", 'Write @review("group").')
    if given.get("mode", "enforce") != "enforce":
        yield Complaint(
            f"@mode({given['mode']!r}) is not available yet.",
            "Remove the policy until it is: without the annotation it would be enforced.",
        )


def _entities(policy: Mapping[str, Any], schema: Schema, names: Names) -> Iterator[Complaint]:
    done: set[tuple[str, str]] = set()
    groups = {"Group": names.known["Group"]} if "Group" in names.known else {}
    review = policy.get("annotations", {}).get("review")
    if review and groups and review not in groups["Group"]:
        yield Complaint(
            f"@review: there is no group {review!r}.", did_you_mean(review, groups["Group"])
        )
    for node in walk([policy[part] for part in ("principal", "action", "resource", "conditions")]):
        kind, name = node.get("type"), node.get("id")
        if not isinstance(kind, str) or not isinstance(name, str) or (kind, name) in done:
            continue
        done.add((kind, name))
        if kind not in schema.entity_types:
            yield Complaint(
                f"there is no entity type {kind}.", did_you_mean(kind, schema.entity_types)
            )
        elif kind == "Action" and name not in schema.action_ids:
            yield Complaint(f"there is no action {name!r}.", did_you_mean(name, schema.action_ids))
        elif kind in schema.levels:
            yield from _inner(kind, name, schema, names)
        elif kind in names.known and name not in names.known[kind]:
            yield Complaint(
                f"there is no {kind.lower()} {name!r} in the configuration.",
                did_you_mean(name, names.known[kind]),
            )


def _inner(kind: str, name: str, schema: Schema, names: Names) -> Iterator[Complaint]:
    parts = name.split("/")
    depth = schema.levels[kind] + 1
    resources = names.known.get(RESOURCE)
    if len(parts) != depth or not all(parts):
        shape = "/".join(("RESOURCE", *(level.upper() for level in _down_to(kind, schema))))
        yield Complaint(f'{kind}::"{name}" is not of the form {shape}.', f"Name it as {shape}.")
    elif re.search(r"%(?!25|2F)", name):
        yield Complaint(f'{kind}::"{name}" has a bare %.', "Write %25 for % and %2F for /.")
    elif resources is not None and parts[0] not in resources:
        yield Complaint(
            f"there is no resource {parts[0]!r} in the configuration.",
            did_you_mean(parts[0], resources),
        )


def _down_to(kind: str, schema: Schema) -> list[str]:
    vocabulary = next(v for v in schema.by_protocol.values() if kind in v.levels)
    return list(vocabulary.levels[: vocabulary.levels.index(kind) + 1])


def _scope(policy: Mapping[str, Any]) -> Iterator[Complaint]:
    action = policy["action"]
    name = action.get("entity", {}).get("id")
    if action["op"] == "==" and name in GENERAL and name != CONNECT:
        yield Complaint(
            f"{name!r} is a group of actions, which nothing equals.",
            f'Write action in Action::"{name}".',
        )
    principal = policy["principal"]
    entity = principal.get("entity", {})
    people = {kind.value for kind in PrincipalKind}
    if principal["op"] == "==" and entity.get("type") not in (None, *people):
        yield Complaint(
            f"no principal equals a {entity['type']}.",
            f'Write principal in {entity["type"]}::"{entity["id"]}".',
        )


def _conditions(policy: Mapping[str, Any]) -> Iterator[Complaint]:
    for condition in policy["conditions"]:
        constant = truth(condition["body"])
        if constant is not None and constant == (condition["kind"] == "unless"):
            yield Complaint(
                f"`{condition['kind']}` is always {str(constant).lower()}, so it never applies.",
                "Remove the policy, or the condition.",
            )


def truth(node: Mapping[str, Any]) -> bool | None:
    """What the expression is whatever the request, None where that depends on it."""
    match node:
        case {"Value": bool(value)}:
            return value
        case {"!": {"arg": arg}}:
            inner = truth(arg)
            return None if inner is None else not inner
        case {"&&": {"left": left, "right": right}}:
            sides = (truth(left), truth(right))
            return False if False in sides else True if sides == (True, True) else None
        case {"||": {"left": left, "right": right}}:
            sides = (truth(left), truth(right))
            return True if True in sides else False if sides == (False, False) else None
        case {"if-then-else": {"if": test, "then": then, "else": otherwise}}:
            known = truth(test)
            if known is not None:
                return truth(then if known else otherwise)
            both = {truth(then), truth(otherwise)}
            return both.pop() if len(both) == 1 else None
        case {"==": {"left": left, "right": right}}:
            return _equal(left, right)
        case {"!=": {"left": left, "right": right}}:
            equal = _equal(left, right)
            return None if equal is None else not equal
    return None


def _equal(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool | None:
    if left == right:
        return True
    return False if left.keys() == right.keys() == {"Value"} else None


def _values(policy: Mapping[str, Any], schema: Schema) -> Iterator[Complaint]:
    """Texts that a fact is compared with though it can never hold them."""
    for node in walk(policy["conditions"]):
        for operator in ("contains", "containsAny", "containsAll", "==", "!="):
            match node.get(operator):
                case {"left": {".": {"left": {".": {"attr": "statement"}}, "attr": str(name)}}}:
                    fact = schema.facts.get(name)
                case _:
                    continue
            for text in _texts(node[operator]["right"]):
                remedy = _never(fact, text)
                if remedy is not None:
                    yield Complaint(f"context.statement.{name} never holds {text!r}.", remedy)


def _never(fact: Fact | None, text: str) -> str | None:
    """Why the fact cannot hold `text`, as a remedy; None where it can."""
    if fact is None:  # Cedar's validation says so
        return None
    if fact.values:
        return None if text in fact.values else did_you_mean(text.lower(), fact.values)
    if fact.pattern and not re.fullmatch(fact.pattern, text, re.DOTALL):
        return fact.hint
    return None


def _texts(node: Mapping[str, Any]) -> Iterator[str]:
    match node:
        case {"Value": str(text)}:
            yield text
        case {"Set": list(members)}:
            for member in members:
                yield from _texts(member)


def did_you_mean(wrong: str, known: Collection[str], mark: str = "") -> str:
    """A remedy that names the nearest of `known`, or all of them where none is near."""
    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {mark}{close[0]}?"
    if not known:
        return "There is none; add it to the configuration."
    return "There is: " + ", ".join(f"{mark}{name}" for name in sorted(known)) + "."
