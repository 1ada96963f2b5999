"""The documents point at what is there, and say of the project what is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/**/*.md")
    for page in ROOT.glob(pattern)
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`[^`\n]*`")


def prose(page: Path) -> str:
    """The page without code: brackets and parentheses there are no links."""
    return _SPAN.sub("", _FENCE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    found = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def broken(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    bad = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            bad.append(link)
    return bad


def test_there_are_pages() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "SECURITY.md", "docs/README.md", "docs/design/README.md"} <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# One\n[a](b.md) [c](#one) [d](#two) `[e](f.md)`\n```\n[g](h.md)\n```\n")
    assert broken(page) == ["b.md", "#two"]


def test_every_page_is_linked_from_the_index_of_its_folder() -> None:
    for folder in (ROOT / "docs", ROOT / "docs/design"):
        linked = set(_LINK.findall((folder / "README.md").read_text()))
        missing = {page.name for page in folder.glob("*.md")} - linked - {"README.md"}
        assert missing == set(), folder


def test_the_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = {
        (str(page.relative_to(ROOT)), target)
        for page in PAGES
        for code in (*_FENCE.findall(page.read_text()), *_SPAN.findall(page.read_text()))
        for target in re.findall(r"(?:^|`)make ([a-z]+)", code, re.MULTILINE)
    }
    assert ("README.md", "demo") in named
    assert {entry for entry in named if entry[1] not in targets} == set()


def test_the_folders_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where things are")[2]
    for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE):
        names = re.findall(r"`([^`]+)`", row)
        base = ROOT / names[0]
        assert base.is_dir(), names[0]
        for name in names[1:]:
            assert (base.parent / name).is_dir() or (ROOT / name).is_dir(), name


def test_the_python_that_is_asked_for_is_the_one_that_is_needed() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"Python ≥ {needed.removeprefix('>=')}" in (ROOT / "README.md").read_text()


def test_the_readme_shows_what_the_demo_shows() -> None:
    """The refusal in the README is the demo's policy, word for word."""
    guards = (ROOT / "examples/demo/policies/20-guards.cedar").read_text()
    messages = dict(re.findall(r'@id\("([^"]+)"\)\s*@message\("([^"]+)"\)', guards))
    readme = (ROOT / "README.md").read_text()
    shown = re.findall(
        r"ERROR:  42501: (.+)\nDETAIL:  Refused by policy '([^']+)'\.", readme, re.MULTILINE
    )
    assert len(shown) == 2
    assert all(messages[policy] == message for message, policy in shown)


def test_the_claim_is_told_word_for_word() -> None:
    claim = (
        "*tamper-evident after the last cosigned checkpoint; "
        "not proof that the gateway itself was honest.*"
    )
    assert claim in " ".join((ROOT / "SECURITY.md").read_text().split())
