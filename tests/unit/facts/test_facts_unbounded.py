"""Writes without a bound, and conditions that are none."""

from __future__ import annotations

import pytest
from tests.unit.facts.facts_world import facts_of

UNBOUNDED = """
true
NOT false
1 = 1
1 <> 2
1 < 2
1 <= 1
'a' = 'a'
'a' <> 'b'
'1' = 1
1.0 = 1
't'
'true'::bool
'yes'
1 = 1 AND true
id = 5 OR true
id = 5 OR 1 = 1
(id = 5 AND note = 'x') OR 'a' = 'a'
NOT (1 = 2)
NOT NOT true
id = id
orders.id = id
public.orders.id = orders.id
id::bigint = id
id >= id
id <= id
id BETWEEN id AND id
id IN (id, 5)
id IS NOT DISTINCT FROM id
note = note COLLATE "C"
lower(note) = lower(note)
id IS NULL OR id IS NOT NULL
id = 1 OR id <> 1
id > 1 OR id <= 1
id = 1 OR NOT id = 1
NOT id = 1 OR id = 1
note LIKE '%'
note LIKE '%%'
note ILIKE '%'
note ~ ''
note ~ '.*'
CASE WHEN id = 1 THEN true ELSE true END
(true) IS TRUE
(1 = 1) IS NOT FALSE
(1 = 2) IS FALSE
now() > '2020-01-01'
random() < 2
current_user = current_user
$1 = $1
$1
EXISTS (SELECT 1)
EXISTS (SELECT 1 FROM customers)
1 IN (1, 2)
1 IN (SELECT 1)
1 = ANY (ARRAY[1])
coalesce(true, false)
length('a') = 1
1 + 1 = 2
EXISTS (SELECT FROM customers c WHERE c.id = 5)
(SELECT count(*) FROM customers) > 0
NOT (now() < '2020-01-01')
""".strip().splitlines()

BOUNDED = """
false
1 = 2
'a' = 'b'
'f'
NULL
1 > 2
true AND id = 5
id = 5
id = $1
id > 5
id = 5 OR id = 6
id = 1 OR note <> 'x'
id = customer_id
id IN (1, 2)
id IN (SELECT id FROM customers)
id = ANY ($1)
note LIKE 'a%'
note LIKE 'a%' OR note LIKE 'b%'
note ~ '^a'
id IS NULL
id <> id
NOT id = id
NOT id = 5
NOT (id = 5 OR true)
EXISTS (SELECT FROM customers c WHERE c.id = orders.customer_id)
id BETWEEN 1 AND 5
CASE WHEN id = 1 THEN true ELSE false END
CURRENT OF c
(id = 5) IS TRUE
id = (SELECT max(id) FROM customers)
""".strip().splitlines()


@pytest.mark.parametrize("condition", UNBOUNDED)
def test_conditions_that_hold_for_every_row(condition: str) -> None:
    assert facts_of(f"DELETE FROM orders WHERE {condition}").unbounded
    assert facts_of(f"UPDATE orders SET note = '' WHERE {condition}").unbounded


@pytest.mark.parametrize("condition", BOUNDED)
def test_conditions_that_choose(condition: str) -> None:
    assert not facts_of(f"DELETE FROM orders WHERE {condition}").unbounded
    assert not facts_of(f"UPDATE orders SET note = '' WHERE {condition}").unbounded


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM orders",
        "UPDATE orders SET note = ''",
        "TRUNCATE orders",
        "WITH x AS (DELETE FROM orders RETURNING *) SELECT * FROM x WHERE id = 1",
        "EXPLAIN ANALYZE DELETE FROM orders",
        "PREPARE p AS DELETE FROM orders",
        "COPY (DELETE FROM orders RETURNING id) TO STDOUT",
        "SELECT 1; DELETE FROM orders",
        "DELETE FROM orders o USING customers c WHERE c.id = 5",
        "UPDATE orders o SET note = '' FROM customers c WHERE c.name = 'x'",
        "MERGE INTO orders o USING customers c ON true WHEN MATCHED THEN DELETE",
        "MERGE INTO orders o USING customers c ON c.id = 1 WHEN MATCHED THEN UPDATE SET note = ''",
        "MERGE INTO orders o USING customers c ON o.id = c.id "
        "WHEN NOT MATCHED BY SOURCE THEN DELETE",
    ],
)
def test_unbounded_writes(sql: str) -> None:
    assert facts_of(sql).unbounded


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM orders WHERE true",
        "INSERT INTO orders SELECT * FROM customers",
        "EXPLAIN DELETE FROM orders",
        "DELETE FROM orders o USING customers c WHERE c.id = o.customer_id",
        "MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE",
        "MERGE INTO orders o USING customers c ON true WHEN MATCHED AND o.id = 5 THEN DELETE",
        "MERGE INTO orders o USING customers c ON true WHEN NOT MATCHED THEN INSERT VALUES (1)",
    ],
)
def test_bounded_statements(sql: str) -> None:
    assert not facts_of(sql).unbounded


@pytest.mark.parametrize(
    ("sql", "dependent"),
    [
        ("DELETE FROM orders WHERE id = 5", False),
        ("UPDATE orders SET note = 'x' WHERE id = 5", False),
        ("SELECT * FROM orders WHERE note = 'x'", False),
        ("INSERT INTO orders VALUES (1, 'x')", False),
        ("SELECT count(*) FROM orders LIMIT 5", False),
        ("FETCH 5 FROM c", False),
        ("DELETE FROM orders WHERE 1 = 1", True),
        ("DELETE FROM orders WHERE 'x'", True),
        ("DELETE FROM orders WHERE note LIKE '%'", True),
        ("DELETE FROM orders WHERE id = 1 OR id <> 1", True),
        ("SELECT set_config('search_path', 'x', false)", True),
        ("SELECT nextval('s')", True),
        ("SELECT 'orders'::regclass", True),
        ("SET search_path = 'x'", True),
        ("EXPLAIN (ANALYZE 'off') SELECT 1", True),
        ("PREPARE p AS SELECT 1", True),
    ],
)
def test_facts_that_hang_on_literals_say_so(sql: str, dependent: bool) -> None:
    assert facts_of(sql).literal_dependent is dependent
