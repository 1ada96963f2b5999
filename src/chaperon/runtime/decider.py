"""Answers a session's `Decide`: the protocol asks, policy answers, the answer is remembered.

Invariant: a remembered decision is found only under everything that it depends on: who asks with
which groups, where, under which policy set (the cache's scope), and what the protocol names (for
SQL: statement, how names resolve, the catalog's epoch).
"""

from __future__ import annotations

from chaperon.policy.cache import VerdictCache
from chaperon.policy.reload import Policies
from chaperon.protocols.base import Service
from chaperon.wire.operation import Operation
from chaperon.wire.permit import Decision
from chaperon.wire.principal import Principal


class Decider:
    """Decides for the sessions of one protocol."""

    def __init__(self, protocol: str, service: Service, policies: Policies) -> None:
        self._protocol = protocol
        self._service = service
        self._policies = policies
        self._cache = VerdictCache(policies.current)

    def policy_changed(self) -> None:
        """Another policy set is in force."""
        self._cache.use(self._policies.current)
        self._service.policy_changed()

    def now(self, principal: Principal, resource: str, operation: Operation) -> Decision | None:
        """The decision, or None where something has to be waited for first: then `later`."""
        names = self._service.remembered_as(resource, operation)
        scope = self._cache.scope(principal, resource, self._protocol) if names else 0
        for name in names:
            decision = self._cache.decisions.get((scope, name))
            if decision is not None:
                return decision
        question = self._service.question_now(principal, resource, operation)
        if question is None:
            return None
        decision = self._policies.current.decide(question)
        name = self._service.holds_for(decision, names) if names else None
        if name is not None:
            self._cache.put((scope, name), decision, extra=len(operation.text))
        return decision

    async def later(self, principal: Principal, resource: str, operation: Operation) -> Decision:
        """The decision, after whatever waiting it takes. Not remembered: it is seldom."""
        question = await self._service.question(principal, resource, operation)
        return self._policies.current.decide(question)
