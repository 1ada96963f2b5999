"""PostgreSQL at work in one process: sessions, catalogs of the targets, questions for policy."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from chaperon._core import template
from chaperon.config import ResourceConfig
from chaperon.facts.helper import Helper
from chaperon.policy.model import Question
from chaperon.protocols.base import ListenerFacts
from chaperon.protocols.postgres.catalogs import CatalogCache
from chaperon.protocols.postgres.gate import Generation
from chaperon.protocols.postgres.operations import (
    connect_question,
    needs_catalog,
    raw_facts,
    statement_question,
)
from chaperon.protocols.postgres.plan import Plan, StatementContext
from chaperon.protocols.postgres.session import PostgresSession
from chaperon.protocols.postgres.settings import Settings, Target
from chaperon.wire.errors import ConfigError, UpstreamUnavailable
from chaperon.wire.operation import Operation
from chaperon.wire.permit import Decision
from chaperon.wire.principal import Principal
from chaperon.wire.session import Session

NAME = "postgres"


class PostgresService:
    """Implements `chaperon.protocols.base.Service`."""

    def __init__(
        self, resources: Mapping[str, ResourceConfig], random: Callable[[int], bytes]
    ) -> None:
        self._resources = resources
        self._random = random
        self._generations = {name: Generation() for name in resources}
        self._catalogs = {
            name: CatalogCache(config, self._generations[name])
            for name, config in resources.items()
        }
        self._helper = Helper()

    def session(self, listener: ListenerFacts) -> Session:
        return PostgresSession(
            Settings(
                targets=self._target,
                certificate=listener.certificate,
                allow_cleartext=listener.allow_cleartext,
                random=self._random,
            )
        )

    def _target(self, resource: str) -> Target | None:
        config = self._resources.get(resource)
        if config is None:
            return None
        upstream = config.upstream
        try:
            password = upstream.password.resolve() if upstream.password else None
        except ConfigError as error:
            raise UpstreamUnavailable(str(error)) from error
        return Target(
            user=upstream.user,
            database=upstream.database,
            password=password,
            tls=upstream.tls,
            inspection_limit=config.inspection_limit,
            generation=self._generations[resource],
        )

    def question_now(
        self, principal: Principal, resource: str, operation: Operation
    ) -> Question | None:
        if not needs_catalog(operation):
            return connect_question(principal, resource, NAME, operation)
        catalog = self._catalogs[resource].current()
        if catalog is None:
            return None
        raw = raw_facts(operation)
        if raw.large:
            return None
        return statement_question(
            principal, resource, operation, protocol=NAME, raw=raw, catalog=catalog
        )

    async def question(self, principal: Principal, resource: str, operation: Operation) -> Question:
        catalog = await self._catalogs[resource].load()
        raw = raw_facts(operation)
        if raw.large:
            raw = await self._helper.read_large(operation.text)
        return statement_question(
            principal, resource, operation, protocol=NAME, raw=raw, catalog=catalog
        )

    def remembered_as(self, resource: str, operation: Operation) -> tuple[Hashable, ...]:
        """Exact text and template, each with how names resolve and the catalog's epoch.

        None for what hangs on more: names of the session, an open transaction's DDL, no catalog.
        """
        context = operation.context
        catalog = self._catalogs[resource].current()
        if (
            not isinstance(context, StatementContext)
            or context.naming is None
            or context.ddl_open
            or context.plan is not None
            or context.types
            or not context.known
            or catalog is None
        ):
            return ()
        text = operation.text.encode()
        around = (context.naming, catalog.epoch)
        by_template = template(text)
        exact = (text, *around)
        return (exact,) if by_template in (None, text) else (exact, (by_template, *around))

    def holds_for(self, decision: Decision, names: tuple[Hashable, ...]) -> Hashable | None:
        plan = decision.statement_facts
        if not isinstance(plan, Plan) or not plan.cacheable:
            return None
        return names[-1] if plan.by_template else names[0]

    def invalidate(self, resource: str) -> None:
        self._catalogs[resource].invalidate()

    def policy_changed(self) -> None:
        for generation in self._generations.values():
            generation.advance()

    async def close(self) -> None:
        await self._helper.close()
