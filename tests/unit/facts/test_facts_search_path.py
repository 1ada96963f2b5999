"""The effective path, as current_schemas(true) would give it."""

from __future__ import annotations

import pytest

from chaperon.facts.catalog import Catalog
from chaperon.protocols.postgres.search_path import effective_path, split_identifiers

SCHEMAS = frozenset({"pg_catalog", "public", "app", "Odd, one", "secret", "information_schema"})
CATALOG = Catalog(
    schemas=SCHEMAS,
    usage={"app": SCHEMAS - {"secret"}, "ana": SCHEMAS, "root": SCHEMAS},
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("  ", []),
        ("public", ["public"]),
        ('"$user", public', ["$user", "public"]),
        ("PUBLIC,App", ["public", "app"]),
        ('"PUBLIC" , "a""b"', ["PUBLIC", 'a"b']),
        ('"Odd, one",public', ["Odd, one", "public"]),
        ('""', [""]),
        ("Ä", ["Ä"]),
        ("x" * 70, ["x" * 63]),
        (",", None),
        ("public,", None),
        ("public app", None),
        ('"public', None),
        ('"a"b', None),
    ],
)
def test_splitting_as_the_server_does(text: str, names: list[str] | None) -> None:
    assert split_identifiers(text) == names


@pytest.mark.parametrize(
    ("setting", "role", "temp", "path"),
    [
        ('"$user", public', "app", False, ("pg_catalog", "app", "public")),
        ('"$user", public', "ana", False, ("pg_catalog", "public")),
        ("public", "app", True, ("pg_temp", "pg_catalog", "public")),
        ("public, pg_temp", "app", True, ("pg_catalog", "public", "pg_temp")),
        ("public, pg_temp", "app", False, ("pg_catalog", "public")),
        ("public, pg_catalog", "app", False, ("public", "pg_catalog")),
        ("secret, public", "app", False, ("pg_catalog", "public")),
        ("secret, public", "ana", False, ("pg_catalog", "secret", "public")),
        ("nowhere, public, public", "app", False, ("pg_catalog", "public")),
        ("", "app", False, ("pg_catalog",)),
        ('""', "app", False, ("pg_catalog",)),
        ('"Odd, one"', "app", False, ("pg_catalog", "Odd, one")),
        ("public,", "app", False, None),
        ("public", "nobody", False, None),
    ],
)
def test_effective_path(setting: str, role: str, temp: bool, path: tuple[str, ...] | None) -> None:
    assert effective_path(setting, role, CATALOG, temp) == path
