"""The example policies load, and do what their comments say."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.policies import ANA, CI_BOT, SCHEMA, facts, question

from chaperon.policy.decision import PolicySet
from chaperon.policy.lint import Names
from chaperon.policy.load import load_policies
from chaperon.policy.model import Question
from chaperon.wire.permit import Permit
from chaperon.wire.principal import Principal, PrincipalKind

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEMO_NAMES = Names(
    {
        "Group": frozenset({"analysts", "dba"}),
        "Resource": frozenset({"orders"}),
    }
)


def verdict(policies: PolicySet, asked: Question) -> str:
    """`allow`, or the id of the policy that refuses."""
    decision = policies.decide(asked)
    return "allow" if isinstance(decision, Permit) else decision.policy


@pytest.mark.parametrize(
    "path", sorted((EXAMPLES / "policies").glob("*.cedar")), ids=lambda p: p.stem
)
def test_each_example_stands_alone(path: Path, tmp_path: Path) -> None:
    (tmp_path / path.name).write_text(path.read_text())
    policies = load_policies(tmp_path, SCHEMA)
    assert policies.policies
    assert policies.cacheable
    assert path.name in (path.parent / "README.md").read_text()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (question("connect", "sql.transaction", "sql.session"), "allow"),
        (question(("sql.read", ("public", "customers"))), "allow"),
        (question(("sql.write", ("public", "orders"))), "allow"),
        (question(("sql.write", ("public", "customers"))), "default-deny"),
        (
            question(("sql.write", ("public", "orders")), statement=facts(unbounded=True)),
            "no-unbounded-writes",
        ),
        (question(("sql.define", ("public", "orders"))), "agents-do-not-change-definitions"),
        (question("sql.configure"), "agents-do-not-change-definitions"),
        (question(("sql.read", ("public", "salaries"))), "salaries-are-closed"),
        (question("sql.unknown"), "default-deny"),
        (question("sql.execute"), "default-deny"),
        (question(("sql.read", ("public", "salaries")), principal=ANA), "allow"),
        (question("sql.unknown", principal=ANA), "allow"),
    ],
)
def test_the_demo(asked: Question, expected: str) -> None:
    policies = load_policies(EXAMPLES / "demo" / "policies", SCHEMA, DEMO_NAMES)
    assert verdict(policies, asked) == expected


def test_guards_permit_nothing(tmp_path: Path) -> None:
    (tmp_path / "g.cedar").write_text((EXAMPLES / "policies" / "guards.cedar").read_text())
    policies = load_policies(tmp_path, SCHEMA)
    assert all(policy.effect == "forbid" for policy in policies.policies)
    assert verdict(policies, question("sql.unknown")) == "agents-run-nothing-unknown"
    assert verdict(policies, question("sql.read")) == "default-deny"


def test_the_pipeline_loads_its_tables_only(tmp_path: Path) -> None:
    (tmp_path / "p.cedar").write_text((EXAMPLES / "policies" / "pipeline.cedar").read_text())
    policies = load_policies(tmp_path, SCHEMA)
    job = Principal(PrincipalKind.SERVICE, "nightly-load")

    def asked(*asks: tuple[str, tuple[str, ...]] | str, **kinds: list[str]) -> str:
        return verdict(
            policies,
            question(*asks, principal=job, resource="warehouse", statement=facts(**kinds)),
        )

    assert asked("sql.transaction", "sql.session") == "allow"
    assert asked(("sql.read", ("public", "x")), ("sql.write", ("public", "sales"))) == "allow"
    assert asked(("sql.write", ("public", "x"))) == "default-deny"
    assert asked(("sql.read", ("hr", "x"))) == "default-deny"
    truncate = asked(("sql.write", ("public", "sales")), kinds=["truncate"])
    assert truncate == "pipeline-never-truncates"
    assert verdict(policies, question("connect", principal=CI_BOT)) == "default-deny"
