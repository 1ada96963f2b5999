"""Only `policy/decision.py` issues permits: shown over the syntax trees of the whole package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import chaperon
from chaperon.wire.permit import Permit

PACKAGE = Path(chaperon.__file__).parent


def issuers(tree: ast.AST) -> Iterator[int]:
    """Lines that could make a permit: the name as an attribute or text, or `Permit` made bare."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="_issue") | ast.Constant(value="_issue"):
                yield node.lineno
            case (
                ast.Call(func=ast.Attribute(attr="__new__"), args=[ast.Name(id="Permit"), *_])
                | ast.Call(func=ast.Attribute(value=ast.Name(id="Permit"), attr="__new__"))
            ):
                yield node.lineno
            case ast.ClassDef(bases=bases):
                if any(isinstance(base, ast.Name) and base.id == "Permit" for base in bases):
                    yield node.lineno


def test_one_module_issues_permits() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(issuers(ast.parse(path.read_text())))
    }
    assert found == {"policy/decision.py"}


def test_the_search_would_find_one() -> None:
    for text in (
        "Permit._issue(b'', None)",
        "getattr(Permit, '_issue')(b'', None)",
        "object.__new__(Permit)",
        "class Mine(Permit): ...",
    ):
        assert list(issuers(ast.parse(text))), text


def test_a_permit_has_no_constructor() -> None:
    try:
        Permit()
    except TypeError:
        return
    raise AssertionError("a permit was made")
