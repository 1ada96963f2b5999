"""Names mean what the server would take them to mean (PEERS.md, bypasses 7, 12 and 13)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.facts.facts_world import CATALOG, NAMING, asked, facts_of

from chaperon.facts.catalog import Catalog, Relation, WriteHook
from chaperon.facts.functions import SAFE
from chaperon.facts.model import Effect

UNKNOWN = """
SELECT evil('x')
SELECT public.evil('x')
SELECT other.lower('x')
SELECT no_such_function()
SELECT pg_sleep(1)
SELECT pg_catalog.pg_sleep(1)
SELECT pg_terminate_backend(1)
SELECT set_config('search_path', 'x', false)
SELECT nextval('s')
SELECT setval('s', 1)
SELECT lo_get(1)
SELECT lo_import('/etc/passwd')
SELECT pg_read_file('/etc/passwd')
SELECT pg_ls_dir('/')
SELECT query_to_xml('DELETE FROM orders', true, true, '')
SELECT table_to_xml('orders', true, true, '')
SELECT cursor_to_xml('c', 1, true, true, '')
SELECT database_to_xml(true, true, '')
SELECT ts_stat('SELECT note FROM orders')
SELECT ts_rewrite('a'::tsquery, 'SELECT 1')
SELECT pg_notify('c', 'x')
SELECT pg_advisory_lock(1)
SELECT pg_try_advisory_lock(1)
SELECT pg_logical_emit_message(true, 'a', 'b')
SELECT pg_create_restore_point('x')
SELECT pg_reload_conf()
SELECT pg_stat_get_activity(NULL)
SELECT pg_input_is_valid('x', 'public.bad')
SELECT dblink('x', 'y')
SELECT txid_current()
SELECT domain_in('x', 1, 1)
SELECT (5).pg_sleep
SELECT (5::int4).pg_sleep
SELECT ('x'::text).evil
SELECT o.evil FROM orders o
SELECT orders.total_of FROM orders
SELECT (o).evil FROM orders o
SELECT (SELECT o).evil FROM orders o
SELECT 1 === 2
SELECT 1 OPERATOR(public.===) 2
SELECT 1 OPERATOR(nowhere.+) 2
SELECT 1 === ANY (ARRAY[1])
SELECT 1 === (SELECT 1)
SELECT 'x'::bad
SELECT CAST('x' AS public.bad)
SELECT bad 'x'
SELECT 'x'::other.hidden_type
SELECT '{}'::bad[]
SELECT 'x'::nowhere.t
SELECT 'x'::pg_temp.t
SELECT bad('x')
SELECT pg_temp.f()
SELECT * FROM evil('x')
SELECT * FROM json_to_record('{}') AS x (a bad)
SELECT * FROM orders ORDER BY evil(note)
SELECT * FROM orders WHERE id = (SELECT evil(note)::int FROM orders)
SELECT sum(total) FILTER (WHERE evil(note) = '') FROM orders
SELECT sum(total) OVER (ORDER BY evil(note)) FROM orders
SELECT sum(total ORDER BY evil(note)) FROM orders
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY evil(note)) FROM orders
SELECT * FROM orders TABLESAMPLE evil (1)
SELECT * FROM orders LIMIT evil('1')::int
SELECT * FROM orders ORDER BY id USING ===
VALUES (evil('x'))
INSERT INTO orders VALUES (evil('x'))
INSERT INTO orders VALUES (1) ON CONFLICT (evil(note)) DO NOTHING
INSERT INTO orders VALUES (1) RETURNING evil(note)
UPDATE orders SET note = evil(note) WHERE id = 1
DELETE FROM orders WHERE id = 1 RETURNING evil(note)
MERGE INTO orders o USING customers c ON evil(c.name) = '' WHEN MATCHED THEN DO NOTHING
PREPARE p AS SELECT evil('x')
PREPARE p (bad) AS SELECT $1
EXECUTE p (evil('x'))
DECLARE c CURSOR FOR SELECT evil('x')
EXPLAIN SELECT evil('x')
COPY (SELECT evil('x')) TO STDOUT
COPY orders FROM STDIN WHERE evil(note) = ''
CREATE TABLE t AS SELECT evil('x')
CREATE TABLE t PARTITION OF orders FOR VALUES IN (evil('x'))
SELECT * FROM v_evil
INSERT INTO audited VALUES (1)
UPDATE audited SET id = 1 WHERE id = 2
DO $$ BEGIN END $$
CALL p()
""".strip().splitlines()

KNOWN = """
SELECT lower('X')
SELECT pg_catalog.lower('X')
SELECT listed('x')
SELECT public.listed('x')
SELECT count(*), sum(total), avg(total) FROM orders
SELECT now(), current_timestamp, current_user
SELECT extract(year FROM now()), overlay('a' PLACING 'b' FROM 1), position('a' IN 'b')
SELECT trim('x'), substring('abc' FROM 1 FOR 2), 'x' IS NORMALIZED
SELECT coalesce(note, ''), nullif(id, 1), greatest(1, 2) FROM orders
SELECT id = 1, id BETWEEN 1 AND 2, id IN (1), note LIKE 'x', note ILIKE 'x' FROM orders
SELECT note SIMILAR TO 'x', note ~ 'x', id IS DISTINCT FROM 1 FROM orders
SELECT '{"a": 1}'::jsonb -> 'a' ->> 'b', '1'::int, 'x'::text, 'a'::varchar(5), now()::date
SELECT 'a'::mood, '{a}'::public.mood[]
SELECT row_number() OVER (PARTITION BY id ORDER BY total) FROM orders
SELECT o.note, o.total FROM orders o
SELECT (ROW(1, 2)).f1
SELECT * FROM generate_series(1, 5) g
SELECT 1 AS evil
SELECT array_agg(id), string_agg(note, ',' ORDER BY id), json_agg(orders) FROM orders
SELECT timestamp '2020-01-01' AT TIME ZONE 'UTC', interval '1 day'
SELECT gen_random_uuid(), random()
SELECT a.attname FROM pg_class c JOIN pg_class a ON a.oid = c.oid
DELETE FROM audited WHERE id = 1
SELECT 1 COLLATE "C"
SELECT GROUPING(id) FROM orders GROUP BY ROLLUP (id)
SELECT $1::int
CREATE TABLE t (a text DEFAULT evil('x'))
""".strip().splitlines()


@pytest.mark.parametrize("sql", UNKNOWN)
def test_code_that_is_not_known_makes_a_statement_unknown(sql: str) -> None:
    facts = facts_of(sql)
    assert facts.unknown
    assert facts.reasons
    assert "unknown" in asked(sql)
    # What is not known may change anything.
    assert Effect.SETTINGS in facts.effects
    assert Effect.NAMES in facts.effects


@pytest.mark.parametrize("sql", KNOWN)
def test_ordinary_statements_are_known(sql: str) -> None:
    facts = facts_of(sql)
    assert facts.reasons == ()
    assert not facts.unknown


def test_the_path_decides() -> None:
    other_first = replace(NAMING, path=("pg_catalog", "other", "public"))
    assert facts_of("SELECT * FROM orders").reads == {("public", "orders")}
    assert facts_of("SELECT * FROM orders", other_first).reads == {("other", "orders")}
    assert facts_of("SELECT * FROM customers", other_first).reads == {("public", "customers")}
    assert not facts_of("SELECT lower('x'), 1 = 1 FROM orders").unknown
    # other has a lower() and a = of its own, each of which may fit better.
    assert facts_of("SELECT lower('x')", other_first).unknown
    assert not facts_of("SELECT pg_catalog.lower('x')", other_first).unknown
    for sql in (
        "SELECT 1 = 1",
        "SELECT 1 IN (1, 2)",
        "SELECT nullif(1, 2)",
        "SELECT 1 IS DISTINCT FROM 2",
        "SELECT CASE 1 WHEN 2 THEN 3 END",
        "SELECT 1 IN (SELECT 1)",
        "SELECT 1 = ANY (ARRAY[1])",
        "SELECT * FROM customers NATURAL JOIN shared",
        "SELECT * FROM customers JOIN shared USING (id)",
        "SELECT 1 BETWEEN 0 AND 2",
        "SELECT 'a' LIKE 'b'",
    ):
        assert facts_of(sql, other_first).unknown, sql
        assert not facts_of(sql).unknown, sql
    assert not facts_of("SELECT 1 OPERATOR(pg_catalog.=) 1", other_first).unknown
    assert facts_of("SELECT 'x'::hidden_type", other_first).unknown


def test_system_names_can_be_shadowed_behind_the_path() -> None:
    last = replace(NAMING, path=("public", "pg_catalog"))
    assert facts_of("SELECT * FROM pg_class", last).reads == {("pg_catalog", "pg_class")}
    shadowing = replace(
        CATALOG,
        relations={
            **CATALOG.relations,
            "public": {"pg_class": CATALOG.relations["public"]["shared"]},
        },
    )
    assert facts_of("SELECT * FROM pg_class", replace(last, catalog=shadowing)).reads == {
        ("public", "pg_class")
    }


def test_an_unknown_path_leaves_unqualified_relations_unknown() -> None:
    lost = replace(NAMING, path=None)
    assert facts_of("SELECT * FROM orders", lost).unknown
    assert facts_of("CREATE TABLE t (a int)", lost).unknown
    assert facts_of("SELECT lower('x')", lost).unknown  # other.lower may be meant
    assert not facts_of("SELECT * FROM public.orders", lost).unknown
    assert not facts_of("SELECT count(*), now()", lost).unknown


def test_temporary_relations_shadow() -> None:
    temp = replace(NAMING, temp=frozenset({"orders"}))
    assert facts_of("SELECT * FROM orders", temp).reads == {("pg_temp", "orders")}
    assert facts_of("SELECT * FROM orders", temp).unknown
    assert not facts_of("SELECT * FROM public.orders", temp).unknown
    assert not facts_of("SELECT * FROM customers", temp).unknown
    behind = replace(temp, path=("pg_catalog", "public", "pg_temp"))
    assert facts_of("SELECT * FROM orders", behind).reads == {("public", "orders")}
    named = replace(temp, path=("pg_temp_3", "pg_catalog", "public"))
    assert facts_of("SELECT * FROM orders", named).reads == {("pg_temp", "orders")}


def test_there_may_be_any_temporary_relation() -> None:
    any_temp = replace(NAMING, temp=None)
    assert facts_of("SELECT * FROM orders", any_temp).unknown
    assert facts_of("SELECT * FROM pg_class", any_temp).unknown
    assert facts_of("SELECT 'x'::text", any_temp).unknown  # a temporary type may be called text
    assert not facts_of("SELECT 'x'::pg_catalog.text, '1'::int", any_temp).unknown
    assert not facts_of("SELECT lower('x') FROM public.orders", any_temp).unknown


def test_text_that_the_server_reads_differently_is_unknown() -> None:
    unfaithful = replace(NAMING, faithful=False)
    for sql in ("SELECT 1", r"SELECT '\'' ; DELETE FROM x; --'", "COMMIT", ""):
        facts = facts_of(sql, unfaithful)
        assert facts.unknown
        assert "standard_conforming_strings" in facts.reasons[0]


def test_after_ddl_names_are_unknown() -> None:
    stale = replace(NAMING, stale=True)
    for sql in (
        "SELECT * FROM orders",
        "SELECT * FROM public.orders",
        "SELECT count(*)",
        "SELECT 1 + 1",
        "SELECT 'x'::mood",
    ):
        assert facts_of(sql, stale).unknown, sql
    assert not facts_of("SELECT pg_catalog.count(*) FROM pg_catalog.pg_class", stale).unknown
    assert not facts_of("COMMIT", stale).unknown


@pytest.mark.parametrize(
    ("sql", "unknown"),
    [
        ("SET search_path = other; SELECT * FROM orders", True),
        ("SET search_path = other; SELECT * FROM public.orders", False),
        ("SELECT set_config('search_path', 'other', false); SELECT * FROM orders", True),
        ("SET LOCAL application_name = 'x'; SELECT * FROM orders", False),
        ("RESET ALL; SELECT * FROM orders", True),
        ("DISCARD ALL; SELECT * FROM orders", True),
        ("SET ROLE x; SELECT * FROM orders", True),
        ("BEGIN; SELECT * FROM orders", False),
        ("COMMIT; SELECT * FROM orders", True),
        ("ROLLBACK TO s; SELECT * FROM orders", True),
        ("CREATE TEMP TABLE orders (a int); SELECT * FROM orders", True),
        ("CREATE TEMP TABLE orders (a int); SELECT * FROM public.orders", False),
        ("CREATE VIEW public.x AS SELECT 1; SELECT * FROM public.orders", True),
        ("DROP TABLE orders; SELECT count(*)", True),
    ],
)
def test_later_statements_of_one_text_see_what_earlier_ones_change(sql: str, unknown: bool) -> None:
    facts = facts_of(sql)
    assert facts.statements == 2
    last = facts_of(sql.rsplit(";", 1)[1])
    assert not last.unknown
    assert facts.unknown is unknown


def test_casts_between_built_in_types_poison_everything() -> None:
    poisoned = replace(NAMING, catalog=replace(CATALOG, casts=("a cast runs public.evil",)))
    assert facts_of("SELECT * FROM orders", poisoned).reasons == ("a cast runs public.evil",)
    assert not facts_of("COMMIT", poisoned).unknown


def test_event_triggers_run_at_data_definition() -> None:
    watched = replace(NAMING, catalog=replace(CATALOG, on_define=("an event trigger",)))
    assert facts_of("CREATE TABLE t (a int)", watched).unknown
    assert facts_of("DROP TABLE orders", watched).unknown
    assert not facts_of("SELECT * FROM orders", watched).unknown


def test_names_of_prepared_statements_and_cursors() -> None:
    facts = facts_of(
        "PREPARE a AS SELECT 1; EXECUTE b; DEALLOCATE c; DEALLOCATE ALL;"
        "DECLARE d CURSOR WITH HOLD FOR SELECT 2; DECLARE e SCROLL CURSOR FOR SELECT 3;"
        "FETCH f; MOVE g; CLOSE h; CLOSE ALL; EXPLAIN ANALYZE EXECUTE i"
    )
    assert [p.name for p in facts.prepares] == ["a"]
    assert facts.prepares[0].statement.statements[0].kinds == {"select"}
    assert facts.executes == ("b", "i")
    assert facts.deallocates == ("c", None)
    assert [(c.name, c.hold) for c in facts.declares] == [("d", True), ("e", False)]
    assert facts.fetches == ("f", "g")
    assert facts.closes == ("h", None)
    assert Effect.NAMES in facts.effects


@pytest.mark.parametrize(
    ("sql", "effects"),
    [
        ("SELECT 1", Effect.NONE),
        ("SET application_name = 'x'", Effect.NONE),
        ("SET search_path = x", Effect.SETTINGS),
        ("SET TIME ZONE 'UTC'", Effect.NONE),
        ("SET NAMES 'UTF8'", Effect.SETTINGS),
        ("SET ROLE x", Effect.SETTINGS),
        ("RESET ALL", Effect.SETTINGS),
        ("DISCARD ALL", Effect.SETTINGS | Effect.TEMP | Effect.NAMES),
        ("CREATE TEMP TABLE t (a int)", Effect.TEMP),
        ("CREATE TABLE t (a int)", Effect.DDL),
        ("DROP TABLE orders", Effect.DDL | Effect.TEMP),
        ("BEGIN", Effect.TXN),
        ("SAVEPOINT s", Effect.TXN),
        ("PREPARE p AS SELECT 1", Effect.NAMES),
        ("GRANT SELECT ON orders TO x", Effect.DDL),
    ],
)
def test_effects(sql: str, effects: Effect) -> None:
    assert facts_of(sql).effects == effects


def test_merging_unites() -> None:
    executed = facts_of("EXECUTE p").merged(facts_of("DELETE FROM orders"))
    assert executed.kinds == {"execute", "delete"}
    assert executed.writes == {("public", "orders")}
    assert executed.unbounded
    assert {a.action for a in executed.asks()} == {"sql.transaction", "sql.write", "sql.read"}


def test_dangerous_names_are_not_listed_as_safe() -> None:
    for name in SAFE:
        assert not name.startswith(
            ("lo_", "pg_read_", "pg_ls_", "pg_sleep", "pg_advisory", "dblink")
        )
        assert not name.endswith(("recv", "_handler", "_to_xml", "_to_xmlschema"))
    assert not SAFE & {"set_config", "nextval", "setval", "pg_notify", "ts_stat", "setseed"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT json_scalar('x')",
        "SELECT json_value('{}'::jsonb, '$.a')",
        "SELECT json_object('a': 1)",
        "SELECT json_arrayagg(id) FROM orders",
        "SELECT * FROM json_table('{}'::jsonb, '$' COLUMNS (a int)) t",
        "MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE "
        "RETURNING merge_action()",
    ],
)
def test_expressions_that_older_servers_read_as_calls(sql: str) -> None:
    assert not facts_of(sql).unknown
    [called] = {f.removeprefix("pg_catalog.") for f in facts_of(sql).functions}
    defined = {**CATALOG.functions, called: CATALOG.functions["evil"]}
    assert facts_of(sql, replace(NAMING, catalog=replace(CATALOG, functions=defined))).unknown


def test_an_update_of_a_partitioned_table_may_move_rows() -> None:
    hooks = {"on_write": (WriteHook(frozenset({"insert"}), "a trigger"),)}
    for kind, unknown in (("p", True), ("r", False)):
        relations = {**CATALOG.relations, "public": {"orders": Relation(kind, **hooks)}}
        naming = replace(NAMING, catalog=replace(CATALOG, relations=relations))
        facts = facts_of("UPDATE orders SET id = 1 WHERE id = 2", naming)
        assert facts.unknown is unknown


def test_without_a_snapshot_nothing_is_certain() -> None:
    blind = replace(NAMING, catalog=Catalog())
    for sql in (
        "SELECT lower('x')",
        "SELECT 1 === 2",
        "SELECT 'x'::mood",
        "SELECT * FROM pg_class",
    ):
        assert facts_of(sql, blind).unknown, sql
        assert facts_of(sql, replace(blind, path=None)).unknown, sql
    assert not facts_of("SELECT 1", blind).unknown
    assert not facts_of("COMMIT", blind).unknown
