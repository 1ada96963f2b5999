"""Remembered verdicts: never another principal's or another policy set's, bounded in bytes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.support.policies import ANA, CI_BOT, READ_ORDERS, SCHEMA, load, question

from chaperon.policy.cache import VerdictCache
from chaperon.policy.decision import PolicySet
from chaperon.policy.model import Policy
from chaperon.wire.principal import Principal, PrincipalKind

PLACE = ("orders", "postgres")


@pytest.fixture
def policies(tmp_path: Path) -> PolicySet:
    return load(tmp_path, READ_ORDERS)


def test_a_decision_is_remembered_by_its_key(policies: PolicySet) -> None:
    cache = VerdictCache(policies)
    scope = cache.scope(CI_BOT, *PLACE)
    decision = policies.decide(question("sql.read"))
    cache.put((scope, b"select", ("public",), "app", 7), decision)
    assert cache.decisions.get((scope, b"select", ("public",), "app", 7)) is decision
    assert cache.decisions.get((scope, b"select", ("public",), "app", 8)) is None


def test_scopes_tell_principals_groups_and_places_apart(policies: PolicySet) -> None:
    cache = VerdictCache(policies)
    demoted = Principal(CI_BOT.kind, CI_BOT.name)
    service = Principal(PrincipalKind.SERVICE, CI_BOT.name, CI_BOT.groups)
    scopes = [cache.scope(p, *PLACE) for p in (CI_BOT, ANA, demoted, service)]
    scopes += [cache.scope(CI_BOT, "payroll", "postgres"), cache.scope(CI_BOT, "orders", "other")]
    assert len(set(scopes)) == 6
    assert cache.scope(CI_BOT, *PLACE) == scopes[0]


def test_another_policy_set_voids_everything(policies: PolicySet) -> None:
    cache = VerdictCache(policies)
    scope = cache.scope(CI_BOT, *PLACE)
    decision = policies.decide(question("sql.read"))
    cache.put((scope, b"a"), decision)
    cache.use(policies)
    assert cache.decisions == {}
    cache.put((scope, b"b"), decision)  # decided before the change, arriving after it
    assert cache.decisions == {}
    assert cache.scope(CI_BOT, *PLACE) != scope


def test_nothing_is_kept_where_a_policy_reads_beyond_the_key(policies: PolicySet) -> None:
    beyond = PolicySet(
        [Policy("p", "permit", "x:1", "permit (principal, action, resource);")],
        SCHEMA,
        "00",
        cacheable=False,
    )
    cache = VerdictCache(beyond)
    cache.put((cache.scope(CI_BOT, *PLACE), b"a"), beyond.decide(question("sql.read")))
    assert cache.decisions == {}
    cache.use(policies)
    cache.put((cache.scope(CI_BOT, *PLACE), b"a"), policies.decide(question("sql.read")))
    assert len(cache.decisions) == 1


def test_bytes_are_bounded_and_the_oldest_goes_first(policies: PolicySet) -> None:
    cache = VerdictCache(policies, limit=64 * 1024)
    scope = cache.scope(CI_BOT, *PLACE)
    decision = policies.decide(question("sql.read"))
    for number in range(1000):
        cache.put((scope, number), decision, extra=100)
        assert cache.size <= 64 * 1024
    assert (scope, 999) in cache.decisions
    assert (scope, 0) not in cache.decisions
    cache.put((scope, "huge"), decision, extra=60 * 1024)
    assert (scope, "huge") not in cache.decisions
    size = cache.size
    cache.put((scope, 999), decision, extra=100)
    assert cache.size == size
    cache.clear()
    assert (cache.size, cache.decisions) == (0, {})


def test_a_hit_takes_less_than_a_microsecond(policies: PolicySet) -> None:
    cache = VerdictCache(policies)
    key = (cache.scope(CI_BOT, *PLACE), b"select * from customers" * 20, ("public",), "app", 7)
    cache.put(key, policies.decide(question("sql.read")))
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(1000):
            cache.decisions.get(key)
        best = min(best, time.perf_counter() - start)
    assert best / 1000 < 1e-6
