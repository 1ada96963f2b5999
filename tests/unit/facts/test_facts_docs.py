"""docs/facts.md is held to the code."""

from __future__ import annotations

import re
from pathlib import Path

from chaperon.facts import limits
from chaperon.facts.ask import ACTIONS
from chaperon.facts.model import SqlFacts

DOCS = (Path(__file__).parents[3] / "docs" / "facts.md").read_text()


def test_the_page_lists_every_action_with_its_group() -> None:
    assert dict(re.findall(r"^\| `(sql\.\w+)` \| (\w+) \|", DOCS, re.MULTILINE)) == ACTIONS


def test_the_page_lists_every_key_of_the_context() -> None:
    for key in SqlFacts().context():
        assert f"`{key}`" in DOCS


def test_the_page_has_the_limits() -> None:
    assert f"{limits.MAX_BYTES // 1024} KiB of text" in DOCS
    assert f"{limits.MAX_TREE // 1024} KiB of parse tree" in DOCS
    assert f"{limits.HELPER_BYTES // 2**20} MiB of text" in DOCS
    assert f"{limits.HELPER_STACK // 2**20} MiB of stack" in DOCS
