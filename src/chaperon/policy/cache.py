"""Verdicts remembered by everything that they depend on, bounded in bytes.

Invariant: a hit is the decision that policy would give now. Who calls puts into the key all that
facts hang on (docs/policy.md); the cache adds who asks and the policy set, and stores nothing where
a policy of the set reads more than the key settles.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from chaperon.policy.decision import PolicySet
from chaperon.wire.permit import Decision
from chaperon.wire.principal import Principal

_OVERHEAD: Final = 600
"""Bytes of a kept decision beside its evidence and statement: objects, key, dictionary slot."""
_MOST_SCOPES: Final = 10_000


Key = tuple[int, *tuple[Hashable, ...]]
"""The scope first; behind it what the facts hang on: statement, path and role, catalog epoch."""


class VerdictCache:
    """Decisions by key. A look-up is `cache.decisions.get(key)`, with a key prepared before."""

    __slots__ = (
        "_first",
        "_limit",
        "_next",
        "_policies",
        "_scopes",
        "_size",
        "_sizes",
        "decisions",
    )

    def __init__(self, policies: PolicySet, limit: int = 32 << 20) -> None:
        """`limit` in bytes, estimated."""
        self.decisions: dict[Key, Decision] = {}
        self._sizes: dict[Key, int] = {}
        self._size = 0
        self._limit = limit
        self._policies = policies
        self._scopes: dict[tuple[Principal, str, str], int] = {}
        self._first = self._next = 0

    def use(self, policies: PolicySet) -> None:
        """Another policy set is in force: every remembered decision and scope is void."""
        self._policies = policies
        self._scopes.clear()
        self._first = self._next
        self.clear()

    def clear(self) -> None:
        """Forget every decision."""
        self.decisions.clear()
        self._sizes.clear()
        self._size = 0

    def scope(self, principal: Principal, resource: str, protocol: str) -> int:
        """A number for who asks where, under the policy set in force. None is used twice."""
        key = (principal, resource, protocol)
        number = self._scopes.get(key)
        if number is None:
            if len(self._scopes) >= _MOST_SCOPES:
                self.use(self._policies)
            number = self._scopes[key] = self._next
            self._next += 1
        return number

    def put(self, key: Key, decision: Decision, extra: int = 0) -> None:
        """Remember `decision`. `extra`: bytes that only key and decision hold, as the statement.

        A key with a void scope is not stored: its decision may be another policy set's.
        """
        if not self._policies.cacheable or not self._first <= key[0] < self._next:
            return
        size = _OVERHEAD + len(decision.evidence) + extra
        if size > self._limit // 16:
            return
        self._size += size - self._sizes.pop(key, 0)
        self._sizes[key] = size
        self.decisions[key] = decision
        while self._size > self._limit:
            oldest = next(iter(self._sizes))
            self._size -= self._sizes.pop(oldest)
            del self.decisions[oldest]

    @property
    def size(self) -> int:
        """Estimated bytes held."""
        return self._size
