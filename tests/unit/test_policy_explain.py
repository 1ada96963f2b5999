"""`policy explain` and `policy check`: the same verdict as the decision, with the reasons shown."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.policies import (
    ANA,
    DBA_WRITES,
    NO_UNBOUNDED,
    READ_ORDERS,
    SCHEMA,
    facts,
    load,
    question,
)

from chaperon.policy.explain import check, explain, render
from chaperon.wire.permit import Permit


def test_every_ask_is_explained_past_a_denial(tmp_path: Path) -> None:
    policies = load(tmp_path, READ_ORDERS, NO_UNBOUNDED)
    many = [("sql.write", ("public", f"t{n}")) for n in range(100)]
    asked = question(*many, ("sql.read", ("public", "customers")))
    explanation = explain(policies, asked)
    assert len(explanation.evaluation.verdicts) == 101
    text = render(explanation)
    assert "deny  sql.write on public.t0\n        no policy permits it" in text
    assert "allow sql.read on public.customers" in text
    assert f"permit analysts-read-orders ({tmp_path}/00.cedar:2)" in text
    assert "verdict: deny (default-deny)" in text
    assert "Agent ci-bot (groups: analysts)" in text


def test_an_explanation_says_what_the_decision_says(tmp_path: Path) -> None:
    policies = load(tmp_path, READ_ORDERS, NO_UNBOUNDED, DBA_WRITES)
    for asked in (
        question("sql.read"),
        question("sql.write", principal=ANA),
        question("sql.write", principal=ANA, statement=facts(unbounded=True)),
        question("sql.unknown", evidence={"reasons": ["no idea."]}),
        question(),
    ):
        decision, explanation = policies.decide(asked), explain(policies, asked)
        assert explanation.allowed is isinstance(decision, Permit)
        shown = json.loads(json.dumps(explanation.as_json()))
        assert shown["verdict"] == json.loads(decision.evidence)["verdict"]
        if explanation.refusal is not None:
            assert not isinstance(decision, Permit)
            assert explanation.refusal.policy == decision.policy
            assert decision.message in render(explanation)
        else:
            assert render(explanation).endswith("verdict: allow")


def test_facts_are_shown(tmp_path: Path) -> None:
    policies = load(tmp_path, READ_ORDERS)
    text = render(explain(policies, question("sql.read", statement=facts(kinds=["a", "b"]))))
    assert "  kinds       a, b\n" in text
    assert "  unbounded   false\n" in text
    assert "  writes      none\n" in text


def test_check_reports_what_is_there_and_what_is_odd(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(READ_ORDERS)
    report = check(tmp_path, SCHEMA)
    assert [policy.id for policy in report.policies] == ["analysts-read-orders"]
    assert report.warnings == ()
    (tmp_path / "a.cedar").write_text(
        '@id("x") @review("dba") forbid (principal, action, resource);'
    )
    warnings = check(tmp_path, SCHEMA).warnings
    assert any("no permit" in warning for warning in warnings)
    assert any("@review" in warning for warning in warnings)
