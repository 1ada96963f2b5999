"""docs/configuration.md and docs/policy.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from tests.support.policies import SCHEMA

from chaperon.config import (
    Config,
    ListenerConfig,
    LocalIdentity,
    RecordingConfig,
    ResourceConfig,
    UpstreamConfig,
    load_config,
)
from chaperon.policy.lint import ANNOTATIONS
from chaperon.policy.load import load_policies, names_of
from chaperon.policy.schema import GENERAL
from chaperon.protocols.postgres.vocabulary import POSTGRES

DOCS = Path(__file__).resolve().parents[2] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text()
POLICY = (DOCS / "policy.md").read_text()


def block(text: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_examples_on_both_pages_work_together(tmp_path: Path) -> None:
    (tmp_path / "chaperon.yaml").write_text(block(CONFIGURATION, "yaml"))
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.cedar").write_text(block(POLICY, "cedar"))
    config = load_config(tmp_path / "chaperon.yaml", ["postgres"])
    policies = load_policies(config.policies, SCHEMA, names_of(config))
    assert [policy.id for policy in policies.policies] == [
        "analysts-read-orders",
        "no-unbounded-writes",
    ]


@pytest.mark.parametrize(
    "model",
    [Config, ListenerConfig, LocalIdentity, ResourceConfig, UpstreamConfig, RecordingConfig],
)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    assert model.model_fields
    for key in model.model_fields:
        assert f"`{key}`" in CONFIGURATION, key


def test_every_action_group_fact_and_annotation_is_documented() -> None:
    names = [action.name for action in POSTGRES.actions] + [fact.name for fact in POSTGRES.facts]
    for name in [*names, *GENERAL]:
        assert f"`{name}`" in POLICY, name
    for name in ANNOTATIONS:
        assert f"@{name}(" in POLICY, name
    for action in POSTGRES.actions:
        row = next(line for line in POLICY.splitlines() if line.startswith(f"| `{action.name}` |"))
        for group in action.groups:
            assert f"`{group}`" in row
