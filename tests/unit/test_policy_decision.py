"""The decision: default deny, forbid over permit, every ask counts, every error denies."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.support.policies import (
    ANA,
    CI_BOT,
    DBA_WRITES,
    NO_UNBOUNDED,
    READ_ORDERS,
    SCHEMA,
    facts,
    load,
    question,
)

from chaperon.policy.decision import PolicySet
from chaperon.policy.model import Policy, Question
from chaperon.wire.permit import Denial, Permit

CUSTOMERS = ("public", "customers")
SECRETS = ("public", "secrets")


@pytest.fixture
def orders(tmp_path: Path) -> PolicySet:
    return load(tmp_path, READ_ORDERS, NO_UNBOUNDED, DBA_WRITES)


def denied(policies: PolicySet, asked: Question) -> Denial:
    decision = policies.decide(asked)
    assert isinstance(decision, Denial)
    return decision


def unchecked(*texts: str) -> PolicySet:
    """A set that no check has seen: for policies that fail when they are evaluated."""
    policies = [Policy(f"p{n}", "forbid", f"x:{n}", text) for n, text in enumerate(texts)]
    return PolicySet(policies, SCHEMA, "00", cacheable=True)


@pytest.mark.parametrize(
    "action", ["sql.read", "sql.transaction", "sql.session"], ids=["read", "begin", "set"]
)
def test_analyst_of_the_example_works_in_a_session(orders: PolicySet, action: str) -> None:
    assert isinstance(orders.decide(question(action)), Permit)


def test_connect_has_no_statement(orders: PolicySet) -> None:
    asked = Question(CI_BOT, "orders", "postgres", question("connect").asks)
    assert isinstance(orders.decide(asked), Permit)


def test_connect_sees_no_statement_even_beside_other_asks(tmp_path: Path) -> None:
    policies = load(
        tmp_path,
        READ_ORDERS,
        '@id("x") forbid (principal, action, resource) when { context has statement };',
    )
    asked = question("connect", "sql.session")
    verdicts = policies.evaluate(asked, everything=True).verdicts
    assert [verdict.allowed for verdict in verdicts] == [True, False]


def test_facts_that_are_not_there_deny(orders: PolicySet) -> None:
    asked = Question(ANA, "orders", "postgres", question("sql.write").asks)
    assert denied(orders, asked).policy == "policy-error"


@pytest.mark.parametrize(
    "action",
    [
        "sql.write",
        "sql.define",
        "sql.grant",
        "sql.lock",
        "sql.maintain",
        "sql.notify",
        "sql.configure",
        "sql.execute",
        "sql.unknown",
    ],
)
def test_what_no_policy_permits_is_denied(orders: PolicySet, action: str) -> None:
    denial = denied(orders, question((action, CUSTOMERS)))
    assert denial.policy == "default-deny"
    assert "ci-bot may not" in denial.message
    assert "public.customers" in denial.message
    assert f'Action::"{action}"' in denial.remedy
    assert 'Table::"orders/public/customers"' in denial.remedy


def test_one_denied_ask_denies_all(orders: PolicySet) -> None:
    both = question(("sql.read", CUSTOMERS), ("sql.write", SECRETS))
    assert denied(orders, both).message == "ci-bot may not write to public.secrets in orders."


def test_forbid_beats_permit_and_says_its_message(orders: PolicySet) -> None:
    allowed = question(("sql.write", CUSTOMERS), principal=ANA)
    assert isinstance(orders.decide(allowed), Permit)
    unbounded = question(
        ("sql.write", CUSTOMERS), principal=ANA, statement=facts(unbounded=True, kinds=["delete"])
    )
    denial = denied(orders, unbounded)
    assert (denial.policy, denial.message) == ("no-unbounded-writes", "Add a WHERE clause.")


def test_another_resource_is_another_thing(orders: PolicySet) -> None:
    assert denied(orders, question("sql.read", resource="payroll")).policy == "default-deny"


def test_policies_reach_schema_and_table(tmp_path: Path) -> None:
    policies = load(
        tmp_path,
        READ_ORDERS,
        '@id("no-hr") forbid (principal, action, resource in Schema::"orders/hr");',
        '@id("no-ssn") forbid (principal, action, resource == Table::"orders/public/ssn");',
        '@id("no-tmp") forbid (principal, action, resource is Table)'
        ' when { resource.name like "tmp_*" };',
    )
    assert isinstance(policies.decide(question(("sql.read", CUSTOMERS))), Permit)
    assert denied(policies, question(("sql.read", ("hr", "pay")))).policy == "no-hr"
    assert denied(policies, question(("sql.define", ("hr",)))).policy == "no-hr"
    assert denied(policies, question(("sql.read", ("public", "ssn")))).policy == "no-ssn"
    assert denied(policies, question(("sql.read", ("x", "tmp_1")))).policy == "no-tmp"


def test_names_with_separators_are_not_other_names(tmp_path: Path) -> None:
    policies = load(
        tmp_path,
        READ_ORDERS,
        '@id("no-ab") forbid (principal, action, resource == Table::"orders/a/b%2Fc");',
    )
    assert denied(policies, question(("sql.read", ("a", "b/c")))).policy == "no-ab"
    assert isinstance(policies.decide(question(("sql.read", ("a", "b%2Fc")))), Permit)
    assert isinstance(policies.decide(question(("sql.read", ("a/b", "c")))), Permit)


def test_failing_forbid_denies() -> None:
    """Cedar skips it and answers Allow."""
    policies = unchecked(
        "permit (principal, action, resource);",
        "forbid (principal, action, resource) when { context.missing };",
    )
    denial = denied(policies, question("sql.read"))
    assert denial.policy == "policy-error"
    errors = json.loads(denial.evidence)["errors"]
    assert any("p1" in error for error in errors)
    assert not any("policy1" in error for error in errors)


def test_failing_permit_denies_too() -> None:
    policies = unchecked(
        "permit (principal, action, resource);",
        "permit (principal, action, resource)"
        " when { context.statement.statements * 9223372036854775807 > 1 };",
    )
    two = question("sql.read", statement=facts(statements=2))
    assert denied(policies, two).policy == "policy-error"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (question(), "nothing was asked"),
        (question("sql.raed"), "no vocabulary"),
        (question("read"), "no vocabulary"),
        (question(("sql.read", ("a", "b", "c"))), "3 parts"),
        (question("sql.read", statement=facts(extra=1)), "extra"),
        (question("sql.read", statement=facts(unbounded="no")), "unbounded"),
        (question("sql.read", statement=facts(statements=True)), "statements"),
        (question("sql.read", statement=facts(kinds="delete")), "kinds"),
        (
            question("sql.read", statement=facts(kinds=[{"__entity": {"type": "A", "id": "x"}}])),
            "kinds",
        ),
        (question(("sql.read", ("public", "\ud800"))), "entit"),
        (question("sql.read", statement=facts(statements=1 << 70)), "request"),
    ],
)
def test_question_that_does_not_fit_is_denied(asked: Question, why: str) -> None:
    everything = unchecked("permit (principal, action, resource);")
    denial = denied(everything, asked)
    assert denial.policy == "policy-error"
    assert why in str(json.loads(denial.evidence)["errors"])


def test_unknown_protocol_is_denied() -> None:
    everything = unchecked("permit (principal, action, resource);")
    asked = Question(CI_BOT, "orders", "gopher", question("connect").asks)
    assert denied(everything, asked).policy == "policy-error"


def test_unknown_statement_says_what_was_not_understood(orders: PolicySet) -> None:
    reasons = ["public.f is not on the list of safe functions."]
    denial = denied(orders, question("sql.unknown", evidence={"reasons": reasons}))
    assert reasons[0] in denial.message


def test_review_is_a_forbid_that_names_who_could_approve(tmp_path: Path) -> None:
    policies = load(
        tmp_path,
        READ_ORDERS,
        '@id("ask") @review("dba") forbid (principal, action == Action::"sql.read", resource);',
    )
    denial = denied(policies, question("sql.read"))
    assert denial.policy == "ask"
    assert "group dba" in denial.remedy


def test_evidence_tells_what_was_asked_and_why(orders: PolicySet) -> None:
    decision = orders.decide(question(("sql.read", CUSTOMERS)))
    assert isinstance(decision, Permit)
    assert decision.statement_facts == "the session's own"
    assert json.loads(decision.evidence) == {
        "verdict": "allow",
        "policy_set": orders.hash,
        "policies": ["analysts-read-orders"],
        "asks": [
            {
                "action": "sql.read",
                "path": ["public", "customers"],
                "allowed": True,
                "policies": ["analysts-read-orders"],
            }
        ],
        "facts": facts(),
    }
    assert b": " not in decision.evidence
    refused = json.loads(denied(orders, question("sql.define")).evidence)
    assert (refused["verdict"], refused["denial"]["policy"]) == ("deny", "default-deny")


def test_many_asks_are_all_put(orders: PolicySet) -> None:
    tables = [("sql.read", ("public", f"t{n}")) for n in range(150)]
    assert isinstance(orders.decide(question(*tables)), Permit)
    assert isinstance(orders.decide(question(*tables, "sql.define")), Denial)
    assert isinstance(orders.decide(question("sql.define", *tables)), Denial)


def test_fifty_policies_and_three_tables_take_less_than_600_microseconds(tmp_path: Path) -> None:
    others = [
        f'@id("other-{n}") forbid (principal in Group::"dba", action == Action::"sql.write",'
        f' resource in Schema::"orders/s{n}")'
        ' when { context.statement.kinds.contains("delete") };'
        for n in range(49)
    ]
    policies = load(tmp_path, READ_ORDERS, *others)
    asked = question(*(("sql.read", ("public", f"t{n}")) for n in range(3)))
    assert isinstance(policies.decide(asked), Permit)
    best = 1.0
    for _ in range(50):
        start = time.perf_counter()
        policies.decide(asked)
        best = min(best, time.perf_counter() - start)
    assert best < 600e-6
