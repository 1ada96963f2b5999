"""Arithmetic in a policy that could leave 64 bits, where Cedar gives up on the policy.

Interval arithmetic over the expression: facts that count are from 0 to 2**31. A sum that may
overflow is a complaint, so that no `forbid` is skipped for it later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chaperon.policy.model import Complaint

_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1
_COUNT: Final = 1 << 31


Interval = tuple[int, int]


def overflows(policy: Mapping[str, Any]) -> Iterator[Complaint]:
    """A complaint for a policy with a sum, difference or product that may overflow; at most one."""
    for condition in policy["conditions"]:
        if _may_overflow(condition["body"]):
            yield Complaint(
                "its arithmetic can overflow, and a policy that fails denies everything it is "
                "asked about.",
                "Compare with a smaller number instead.",
            )
            return


def _may_overflow(node: object) -> bool:
    if isinstance(node, list):
        return any(map(_may_overflow, node))
    if not isinstance(node, dict):
        return False
    if node.keys() & {"+", "-", "*", "neg"}:
        low, high = _interval(node)
        if low < _LEAST or high > _MOST:
            return True
    return any(map(_may_overflow, node.values()))


def _interval(node: Any) -> Interval:
    match node:
        case {"Value": int(value)} if not isinstance(value, bool):
            return value, value
        case {".": _}:
            return 0, _COUNT
        case {"neg": {"arg": arg}}:
            low, high = _interval(arg)
            return -high, -low
        case {"+": {"left": left, "right": right}}:
            (a, b), (c, d) = _interval(left), _interval(right)
            return a + c, b + d
        case {"-": {"left": left, "right": right}}:
            (a, b), (c, d) = _interval(left), _interval(right)
            return a - d, b - c
        case {"*": {"left": left, "right": right}}:
            (a, b), (c, d) = _interval(left), _interval(right)
            ends = (a * c, a * d, b * c, b * d)
            return min(ends), max(ends)
        case {"if-then-else": {"then": then, "else": otherwise}}:
            (a, b), (c, d) = _interval(then), _interval(otherwise)
            return min(a, c), max(b, d)
    return _LEAST, _MOST
