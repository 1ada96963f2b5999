"""The loader against real servers: what names mean there, and which code reads and writes run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from tests.support.servers import APP_PASSWORD, APP_USER, PostgresServer

from chaperon.facts.catalog import Catalog
from chaperon.facts.model import SqlFacts
from chaperon.facts.names import Naming, resolve
from chaperon.facts.sql import read_statement
from chaperon.protocols.postgres.catalog import effective_path, load_catalog
from chaperon.wire.errors import UpstreamUnavailable

pytestmark = pytest.mark.server
DATABASE = "facts_catalog"
WORLD = Path(__file__).with_name("catalog_world.sql")


def load(server: PostgresServer, **options: object) -> Catalog:
    settings: dict[str, object] = {
        "host": server.host,
        "port": server.port,
        "database": DATABASE,
        "user": APP_USER,
        "password": APP_PASSWORD,
        **options,
    }
    return asyncio.run(load_catalog(**settings))  # type: ignore[arg-type]  # checked at run time


@pytest.fixture(scope="module", params=["pg18", "pg15_tls"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    found: PostgresServer = request.getfixturevalue(request.param)
    found.fresh_database(DATABASE)
    found.sql(WORLD.read_text(), database=DATABASE)
    yield found
    found.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)", database="postgres")


@pytest.fixture(scope="module")
def catalog(server: PostgresServer) -> Catalog:
    return load(server, epoch=7)


def facts(catalog: Catalog, sql: str) -> SqlFacts:
    path = effective_path('"$user", public', APP_USER, catalog)
    assert path == ("pg_catalog", "public")
    return resolve(read_statement(sql), Naming(catalog, path, APP_USER))


KNOWN = """
select * from orders
select * from v_plain
select * from fine
select * from audited
select * from conditioned
select * from secured_well
select * from stored
select * from domained_well
select m from moody where m = 'a'
select * from part
select * from generated
select * from checked
select null::gooddom, null::mood, null::mood[]
select * from pg_stat_activity
select * from information_schema.tables
select * from pg_catalog.pg_views
select o.id, o.note from orders o
select app.v_row from orders as app (v_row)
select 1 operator(app.<+>) 2
insert into fine (b) values (now())
insert into orders (total) values (1)
insert into disabled values (1)
insert into domained_well values ('x')
update suppressed set id = 1 where id = 2
delete from audited where id = 1
insert into ruled values (1)
delete from customers where id = 3
truncate customers cascade
""".strip().splitlines()

UNKNOWN = """
select * from v_evil
select * from v_nested
select * from v_early
select * from app.v_secured
select * from app.v_row
select * from secured
select * from indexed
select * from partial
select * from domained
select * from domained_array
select * from paired
select * from deeply
select * from child
select * from parent
select * from v_equality
insert into keyed_a values ('a')
select null::dom
select null::dom[]
select null::pair
select null::deep
select null::domained
select evil('x')
select lower('X')
select o.evil_row from orders o
select o.evil_order from orders o
select ('x'::text).evil
select (5).pg_sleep
select 1 === 'x'
select id <> 3 from moody
insert into audited values (1)
update audited set id = 1 where id = 2
update conditioned set id = 1 where id = 2
delete from ruled where id = 1
insert into defaulted (b) values (1)
insert into generated (a) values ('x')
insert into checked values ('x')
insert into part values (1, 'a')
insert into indexed values ('x')
insert into child values (1, 'x')
update secured set id = 1 where id = 2
refresh materialized view stored
select nextval('seq')
update pg_settings set setting = 'x' where name = 'y'
delete from pg_catalog.pg_class where oid = 1
select * from nowhere
""".strip().splitlines()


@pytest.mark.parametrize("sql", KNOWN)
def test_what_runs_nothing_of_the_users_is_known(catalog: Catalog, sql: str) -> None:
    assert facts(catalog, sql).reasons == ()


@pytest.mark.parametrize("sql", UNKNOWN)
def test_what_runs_other_code_is_unknown(catalog: Catalog, sql: str) -> None:
    assert facts(catalog, sql).reasons


def test_views_and_foreign_keys_are_followed(catalog: Catalog) -> None:
    read = facts(catalog, "select * from v_plain")
    assert read.reads == {("public", n) for n in ("v_plain", "orders", "customers")}
    deleted = facts(catalog, "delete from customers where id = 3")
    assert deleted.writes == {("public", n) for n in ("customers", "orders", "lines")}
    updated = facts(catalog, "update orders set total = 1 where id = 1")
    assert updated.writes == {("public", n) for n in ("orders", "lines")}
    through = facts(catalog, "update v_updatable set name = 'x' where id = 1")
    assert {("public", "v_updatable"), ("public", "customers")} == through.writes
    assert ("public", "lines") in through.reads
    assert facts(catalog, "truncate customers").writes == {("public", "customers")}


def test_listed_functions_are_acceptable(server: PostgresServer, catalog: Catalog) -> None:
    names = (
        "public.evil public.trg public.opf public.lower public.pair_int public.evil_row app.same"
    )
    listed = load(server, safe_functions=frozenset(names.split()))
    left = [sql for sql in UNKNOWN if facts(listed, sql).reasons]
    assert left == [
        "select o.evil_order from orders o",
        "select (5).pg_sleep",
        "delete from ruled where id = 1",
        "select nextval('seq')",
        "update pg_settings set setting = 'x' where name = 'y'",
        "delete from pg_catalog.pg_class where oid = 1",
        "select * from nowhere",
    ]


def test_the_snapshot_says_what_there_is(catalog: Catalog) -> None:
    assert catalog.epoch == 7
    assert {"public", "app", "secret", "pg_catalog", "information_schema"} == catalog.schemas
    orders = catalog.relation("public", "orders")
    assert orders is not None
    assert orders.kind == "r"
    assert orders.columns == ("id", "total", "note", "customer_id")
    assert catalog.relation("public", "seq") is not None
    assert catalog.usage[APP_USER] == {"public", "pg_catalog", "information_schema"}
    assert "pg_sleep" in catalog.builtins
    assert catalog.casts == ()
    assert catalog.on_define == ()
    two = catalog.functions["two"][0]
    assert (two.row, two.single) == (False, False)
    assert all(isinstance(reason, str) for r in catalog.type_oids.values() for reason in r)
    assert catalog.type_oids


def test_a_cast_between_built_in_types_and_an_event_trigger(server: PostgresServer) -> None:
    server.sql(
        "create function public.xcast(jsonb) returns point language sql as 'select null::point';"
        "create cast (jsonb as point) with function public.xcast(jsonb);"
        "create function public.evt() returns event_trigger language plpgsql as 'begin end';"
        "create event trigger evt on ddl_command_start execute function public.evt();",
        database=DATABASE,
    )
    try:
        catalog = load(server)
        assert "public.xcast" in facts(catalog, "select * from orders").reasons[0]
        assert "public.evt" in " ".join(facts(catalog, "create table x (a int)").reasons)
        listed = load(server, safe_functions=frozenset({"public.xcast", "public.evt"}))
        assert facts(listed, "create table x (a int)").reasons == ()
    finally:
        server.sql(
            "drop event trigger evt; drop cast (jsonb as point); drop function public.xcast;"
            "drop function public.evt;",
            database=DATABASE,
        )


def test_a_function_put_into_pg_catalog_is_not_postgresqls_own(server: PostgresServer) -> None:
    server.sql(
        "set allow_system_table_mods = on;"
        "create function pg_catalog.upper(int) returns text language sql as 'select null::text';",
        database=DATABASE,
    )
    try:
        catalog = load(server)
        assert facts(catalog, "select upper('x')").unknown
        assert facts(catalog, "select pg_catalog.upper('x')").unknown
    finally:
        server.sql(
            "set allow_system_table_mods = on; drop function pg_catalog.upper(int);",
            database=DATABASE,
        )


@pytest.mark.parametrize(
    "setting",
    ['"$user", public', "public, app, secret", "nowhere, PUBLIC", "", "public, pg_catalog"],
)
def test_the_path_is_the_servers(server: PostgresServer, catalog: Catalog, setting: str) -> None:
    async def asked() -> tuple[str, list[str]]:
        connection = await asyncpg.connect(
            server.dsn(database=DATABASE), server_settings={"search_path": setting}
        )
        shown = await connection.fetchval("show search_path")
        schemas = await connection.fetchval("select pg_catalog.current_schemas(true)::text[]")
        await connection.close()
        return shown, schemas

    shown, schemas = asyncio.run(asked())
    assert effective_path(shown, APP_USER, catalog) == tuple(schemas)


def test_what_the_server_resolves_is_what_the_facts_say(
    server: PostgresServer, catalog: Catalog
) -> None:
    """The server's own EXPLAIN names the schema of what it read."""

    async def planned() -> str:
        connection = await asyncpg.connect(server.dsn(database=DATABASE))
        plan = await connection.fetchval("explain (verbose, format json) select id from orders")
        await connection.close()
        return str(plan)

    assert '"Schema": "public"' in asyncio.run(planned())
    assert facts(catalog, "select id from orders").reads == {("public", "orders")}


@pytest.mark.parametrize("wrong", [{"password": "no"}, {"database": "none"}, {"port": 1}])
def test_an_unreachable_catalog_is_told_without_the_password(
    server: PostgresServer, wrong: dict[str, object]
) -> None:
    with pytest.raises(UpstreamUnavailable) as raised:
        load(server, **wrong)
    assert APP_PASSWORD not in str(raised.value)


def test_hidden_code_stays_hidden_when_a_name_is_stale(catalog: Catalog) -> None:
    naming = Naming(catalog, ("pg_catalog", "public"), APP_USER, stale=True)
    assert resolve(read_statement("select * from public.orders"), naming).unknown
    fresh = replace(naming, stale=False)
    assert not resolve(read_statement("select * from public.orders"), fresh).unknown


def test_an_extension_may_be_listed_as_a_whole(pg15_tls: PostgresServer) -> None:
    """PostgreSQL 15's packages bring citext; the bundled 18 has no contrib."""
    pg15_tls.fresh_database("facts_extension")
    pg15_tls.sql(
        "create extension citext; create table public.t (id int, a citext);"
        "create function public.citext_ne(int) returns int language sql as 'select 1';",
        database="facts_extension",
    )
    plain = load(pg15_tls, database="facts_extension")
    listed = load(
        pg15_tls, database="facts_extension", safe_functions=frozenset({"pg_extension.citext"})
    )
    for sql in ("select id from t where id = 5", "select * from t"):
        assert facts(plain, sql).unknown
    assert facts(listed, "select id from t where id = 5").reasons == ()
    assert "public.citext_eq" in listed.safe_functions
    # Somebody gave a function of the extension's an overload.
    assert "public.citext_ne" not in listed.safe_functions
    assert facts(listed, "select citext_ne(1)").unknown
