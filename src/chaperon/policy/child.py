"""The child process that meets policy texts first: a text that crashes Cedar crashes only this.

Run as a script, in isolated mode, by `load`; it imports nothing of Chaperon. It does to a text what
the gateway will do to it, with a fraction of its stack, so what passes here is safe there.

Standard input: {"schema": text, "files": [{"text": …, "pieces": [text, …]}, …]}.
Standard output: {"policies": [policy or null, …], "errors": [[piece or null, file, text], …]}, one
policy in Cedar's JSON form for each piece, pieces and files counted over all from 0.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import cedarpy

STACK = 1 << 20
MEMORY = 2 << 30
CPU_SECONDS = 20
DEEPEST = 300


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, STACK))
    job = json.load(sys.stdin)
    json.dump(examine(job), sys.stdout)


def examine(job: dict[str, Any]) -> dict[str, Any]:
    """Parse every piece, compare with its whole file, validate, build the set, evaluate it."""
    policies: list[dict[str, Any] | None] = []
    errors: list[tuple[int | None, int, str]] = []
    schema = cedarpy.Schema.from_str(job["schema"])
    for number, file in enumerate(job["files"]):
        first = len(policies)
        for text in file["pieces"]:
            index = len(policies)
            policy, found = _examine_piece(text, schema)
            policies.append(policy)
            errors += [(index, number, problem) for problem in found]
        if None not in policies[first:] and not _same(file["text"], policies[first:]):
            errors.append((None, number, "the file does not divide into its policies at `;`"))
    if not errors:
        texts = [text for file in job["files"] for text in file["pieces"]]
        if not _rehearse("\n".join(texts), policies):
            errors.append((None, 0, "the policies do not keep their order"))
    return {"policies": policies, "errors": errors}


def _examine_piece(text: str, schema: cedarpy.Schema) -> tuple[dict[str, Any] | None, list[str]]:
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        return None, [str(error)]
    except RecursionError:
        return None, [f"nested deeper than {DEEPEST} levels"]
    if parsed["templates"]:
        return None, ["templates (?principal, ?resource) are not supported"]
    found = list(parsed["staticPolicies"].values())
    if len(found) != 1:
        return None, ["expected one policy here"]
    if _depth(found[0]) > DEEPEST:
        return None, [f"nested deeper than {DEEPEST} levels"]
    result = cedarpy.validate_policies(text, schema)
    problems = [error.error for error in result.errors]
    if not result.validation_passed and not problems:
        problems = ["not valid"]
    return found[0], problems


def _same(text: str, pieces: list[dict[str, Any] | None]) -> bool:
    """Whether Cedar finds these policies, in this order, in `text`."""
    try:
        whole = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    except ValueError:
        return False
    return len(whole) == len(pieces) and all(
        whole.get(f"policy{index}") == piece for index, piece in enumerate(pieces)
    )


def _rehearse(text: str, policies: list[dict[str, Any] | None]) -> bool:
    """Build and evaluate the whole set, so that a crash in either happens here.

    The gateway reads policies out of answers by their position in `text`: that is checked too.
    """
    request = {
        "principal": {"type": "Agent", "id": "nobody"},
        "action": {"type": "Action", "id": "connect"},
        "resource": {"type": "Resource", "id": "nothing"},
        "context": "{}",
    }
    cedarpy.is_authorized(request, cedarpy.PolicySet.from_str(text), "[]")
    return _same(text, policies)


def _depth(value: object) -> int:
    """Levels of nesting, without recursion."""
    deepest = 0
    open_values = [(value, 1)]
    while open_values:
        item, depth = open_values.pop()
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            open_values += [(member, depth + 1) for member in item.values()]
        elif isinstance(item, list):
            open_values += [(member, depth + 1) for member in item]
    return deepest


if __name__ == "__main__":
    main()
