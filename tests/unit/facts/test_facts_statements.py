"""Statements and what is asked about them: a line a statement, the asks in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.facts.facts_world import asked, facts_of

TABLE = Path(__file__).with_name("statements.txt").read_text()


def _cases() -> list[tuple[str, set[str]]]:
    cases = []
    for line in TABLE.strip().splitlines()[1:]:
        sql, _, expected = line.rpartition(" => ")
        cases.append((sql, {word.strip() for word in expected.split(",")}))
    return cases


@pytest.mark.parametrize(("sql", "expected"), _cases(), ids=lambda value: str(value)[:60])
def test_what_is_asked_about_a_statement(sql: str, expected: set[str]) -> None:
    assert asked(sql) == expected


def test_the_table_is_as_large_as_it_should_be() -> None:
    assert len(_cases()) >= 200


KINDS = {
    "SELECT 1": {"select"},
    "WITH x AS (DELETE FROM orders RETURNING *) SELECT * FROM x": {"select", "delete"},
    "DELETE FROM orders WHERE id IN (SELECT 1)": {"delete"},
    "EXPLAIN ANALYZE DELETE FROM orders": {"explain", "delete"},
    "EXPLAIN DELETE FROM orders": {"explain"},
    "COPY (SELECT 1) TO STDOUT": {"copy_to"},
    "COPY orders FROM PROGRAM 'x'": {"copy_from", "copy_program"},
    "COPY orders FROM '/x'": {"copy_from", "copy_file"},
    "SELECT * INTO t FROM orders": {"select", "create"},
    "SELECT * FROM orders FOR UPDATE": {"select", "lock"},
    "MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE": {
        "merge",
        "delete",
    },
    "PREPARE p AS DELETE FROM orders": {"prepare", "delete"},
    "DECLARE c CURSOR FOR SELECT 1": {"declare", "select"},
    "SET ROLE x": {"set", "set_role"},
    "SELEC 1": {"invalid"},
    "DO ''": {"do"},
    "": set(),
}


@pytest.mark.parametrize(("sql", "kinds"), KINDS.items(), ids=str)
def test_kinds(sql: str, kinds: set[str]) -> None:
    assert facts_of(sql).kinds == kinds


def test_an_empty_text_asks_to_read() -> None:
    assert asked("") == {"read"}
    assert asked("; -- nothing") == {"read"}


def test_context_has_fixed_keys_and_plain_values() -> None:
    facts = facts_of("WITH x AS (DELETE FROM orders RETURNING *) SELECT lower(note) FROM x")
    assert facts.context() == {
        "kinds": ["delete", "select"],
        "functions": ["pg_catalog.lower"],
        "unbounded": True,
        "statements": 1,
        "volatile": False,
        "unknown": False,
        "reads": ["public.orders"],
        "writes": ["public.orders"],
    }
    assert facts.evidence() == {**facts.context(), "reasons": []}
