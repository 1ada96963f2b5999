"""Features of psycopg 3 on libpq 18: prints a transcript."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import decimal
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import errors, pq, sql
from psycopg.types.json import Jsonb
from transcript import CANCEL_SECONDS, digest, say, section, within

Connection = psycopg.Connection[Any]

FIELDS = (
    *("severity_nonlocalized", "sqlstate", "message_primary", "message_detail", "message_hint"),
    *("statement_position", "internal_position", "internal_query", "context", "schema_name"),
    *("table_name", "column_name", "datatype_name", "constraint_name", "source_function"),
)


def connect(**more: Any) -> Connection:
    """A connection to what the environment (PGHOST, …) names."""
    return psycopg.connect("", autocommit=True, **more)


def failure(work: Callable[[], object]) -> None:
    """Say every field of the error that `work` must raise."""
    try:
        work()
    except psycopg.Error as error:
        fields = {name: getattr(error.diag, name) for name in FIELDS}
        say(type(error).__name__, {name: value for name, value in fields.items() if value})
    else:
        say("NO ERROR")


def rows(conn: Connection, query: str, *parameters: Any, binary: bool = False) -> None:
    cursor = conn.execute(query, parameters or None, binary=binary)
    say(cursor.statusmessage, cursor.fetchall() if cursor.description else None)


def startup(conn: Connection) -> None:
    for name in (
        *("server_version", "server_encoding", "client_encoding", "is_superuser", "DateStyle"),
        *("IntervalStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings"),
        *("in_hot_standby", "default_transaction_read_only", "search_path", "application_name"),
    ):
        say(name, conn.info.parameter_status(name))
    say(
        "same pid:",
        conn.execute("select pg_backend_pid()").fetchall()[0][0] == conn.info.backend_pid,
    )
    say("status", conn.info.transaction_status.name)
    rows(conn, "select current_user, session_user, current_database()")
    with connect(application_name="conf 'é", options="-c statement_timeout=12345") as other:
        rows(other, "show application_name")
        rows(other, "show statement_timeout")
    failure(lambda: connect(options="-c no_such_setting=1"))


TYPES = """
select true, null::int, 32767::int2, (-2147483648)::int4, 9223372036854775807::int8, 1.5::float4,
 'NaN'::float8, '-Infinity'::float8, 123456789012345678901234567890.123456789::numeric,
 'NaN'::numeric,
 'text é 日本語 🐘'::text, 'c'::char(5), 'v'::varchar(3), 'n'::name, '\\x00ff10'::bytea,
 date '2026-11-23', time '12:34:56.789', timetz '12:34:56+02', timestamp '2026-11-23 12:34:56.789',
 timestamptz '2026-11-23 12:34:56+02', interval '1 year 2 days 3.5 seconds',
 '550e8400-e29b-41d4-a716-446655440000'::uuid, '{"a": [1, null, "x"]}'::json, '{"b": 2}'::jsonb,
 array[1,null,3], array[['a','b'],['c,"','}']], int4range(1,5), '192.168.0.1/24'::inet,
 '08:00:2b:01:02:03'::macaddr, point(1,2), box '((1,1),(0,0))', '101'::bit(3), '12.34'::money,
 row(1,'two',null), '<a/>'::text, 'a & b'::tsquery, 'a b'::tsvector, 1::oid, 'pg_class'::regclass
"""


def types(conn: Connection) -> None:
    for binary in (False, True):
        cursor = conn.cursor(binary=binary)
        raw = cursor.execute(TYPES).pgresult
        assert raw is not None
        say([(raw.fname(i), raw.ftype(i), raw.fmod(i), raw.fsize(i)) for i in range(raw.nfields)])
        say([raw.get_value(0, i) for i in range(raw.nfields)])
    values: list[Any] = [
        *(None, True, 42, 2**40, 2**70, 1.25, decimal.Decimal("1.10"), "é'\"\\", b"\0\xff"),
        *(datetime.date(2026, 1, 2), datetime.timedelta(days=1), [1, 2, None], Jsonb({"k": "v"})),
    ]
    for fmt in "%s", "%b", "%t":
        for value in values:
            cursor = conn.execute(f"select {fmt}", [value])
            say(fmt, cursor.fetchall(), [column.type_code for column in cursor.description or ()])


def simple(conn: Connection) -> None:
    rows(conn, "")
    rows(conn, " ; ;; -- only a comment\n")
    for query in (
        "select 1 as a; select 2 as b, 3 as c; create temp table s (i int); insert into s select 1",
        "select 1; select 1/0; select 3",
        "begin; select 7; commit; select 8",
        "select; select from s; update s set i = 3 where false; delete from s returning *",
        "select 'é''' as \"quoted \"\" name\", $$dollar; $$ /* /* nested */ ; */ as x; select 2",
    ):
        cursor = conn.cursor()
        try:
            cursor.execute(query)
        except psycopg.Error as error:
            say(error.sqlstate, str(error), conn.info.transaction_status.name)
            continue
        while True:
            names = [column.name for column in cursor.description or ()]
            say(cursor.statusmessage, names, cursor.fetchall() if cursor.description else None)
            if not cursor.nextset():
                break
    say("status", conn.info.transaction_status.name)


def failures(conn: Connection) -> None:
    conn.execute("create table parent (id int primary key, v int check (v > 0), w text not null)")
    conn.execute("create table child (p int references parent on delete restrict)")
    conn.execute("insert into parent values (1, 1, 'é'); insert into child values (1)")
    for query in (
        *(
            "selec 1",
            "select * from nothing",
            "select é from parent",
            "select 1/0",
            "select 'x'::int",
        ),
        *("insert into parent values (1, 1, '')", "insert into parent values (2, 0, '')"),
        *("insert into parent values (2, 1, null)", "delete from parent", "select nofunc(1)"),
        *(
            "insert into child values (99)",
            "select '",
            'select "x',
            "do $$ begin raise 'own' "
            "using errcode = 'P0042', detail = 'd', hint = 'h', table = 't'; end $$",
        ),
        *(
            "commit prepared 'none'",
            "drop table nothing",
            "set nothing.here to default; set zz = 1",
        ),
    ):
        failure(lambda query=query: conn.execute(query))
        failure(lambda query=query: conn.execute(query, (), prepare=True))
    failure(lambda: conn.execute("select %s::int + 1", ["x"]))
    failure(lambda: conn.execute("select %b::int8", ["x"]))
    failure(lambda: conn.execute("select 1; select 2", [], prepare=True))


def transactions(conn: Connection) -> None:
    def status() -> None:
        say("status", conn.info.transaction_status.name)

    conn.execute("create table acc (id int primary key)")
    conn.execute("begin")
    status()
    conn.execute("insert into acc values (1)")
    conn.execute("savepoint a")
    failure(lambda: conn.execute("insert into acc values (1)"))
    status()
    failure(lambda: conn.execute("select 1"))
    conn.execute("rollback to a")
    status()
    conn.execute("insert into acc values (2)")
    conn.execute("release a")
    rows(conn, "commit")
    rows(conn, "select * from acc order by 1")
    conn.execute("begin; select 1/1")
    failure(lambda: conn.execute("nonsense"))
    rows(conn, "commit")
    rows(conn, "commit")
    for level in "read committed", "repeatable read", "serializable", "read uncommitted":
        with conn.transaction():
            conn.execute(f"set transaction isolation level {level}")
            rows(conn, "show transaction_isolation")
    with contextlib.suppress(errors.ReadOnlySqlTransaction), conn.transaction():
        conn.execute("set transaction read only")
        conn.execute("insert into acc values (9)")
    with conn.transaction(), conn.transaction():
        conn.execute("insert into acc values (3)")
        with conn.transaction(force_rollback=True):
            conn.execute("insert into acc values (4)")
    rows(conn, "select * from acc order by 1")
    with connect() as one, connect() as two:
        for each in one, two:
            each.execute("begin isolation level serializable")
            each.execute("select sum(id) from acc")
        one.execute("insert into acc values (10)")
        one.execute("commit")
        failure(lambda: (two.execute("insert into acc values (11)"), two.execute("commit")))
    with connect() as other:
        other.autocommit = False
        other.tpc_begin(other.xid(1, "gtrid", "bqual"))
        other.execute("insert into acc values (20)")
        other.tpc_prepare()
        other.tpc_commit()
        say("prepared transactions", other.tpc_recover())
    rows(conn, "select count(*) from acc")


def prepared(conn: Connection) -> None:
    total = 0
    for i in range(200):
        total += conn.execute("select %s::int * 2", [i], prepare=True).fetchall()[0][0]
    say("total", total)
    rows(conn, "select count(*) from pg_prepared_statements")
    conn.execute("prepare by_name (int, text) as select $1 + 1, upper($2)")
    rows(conn, "execute by_name (41, 'x')")
    failure(lambda: conn.execute("prepare by_name as select 1"))
    say(conn.pgconn.exec_prepared(b"by_name", [b"1", b"y"]).get_value(0, 1))
    described = conn.pgconn.describe_prepared(b"by_name")
    say([described.param_type(i) for i in range(described.nparams)], described.fname(1))
    conn.execute("deallocate by_name")
    failure(lambda: conn.execute("execute by_name (1, 'x')"))
    say(conn.pgconn.prepare(b"wire", b"select $1::text || '!'").status)
    rows(conn, "execute wire ('from SQL')")
    again = conn.pgconn.prepare(b"wire", b"select 2")
    say(again.error_field(pq.DiagnosticField.SQLSTATE))
    say(conn.pgconn.close_prepared(b"wire").status, conn.pgconn.close_prepared(b"never").status)
    conn.execute("deallocate all")
    say(conn.execute("select %s::int * 2", [21], prepare=True).fetchall())
    conn.execute("discard all")
    say(conn.execute("select %s::int * 2", [21], prepare=True).fetchall())
    missing = conn.pgconn.exec_prepared(b"missing", None)
    say(missing.error_field(pq.DiagnosticField.MESSAGE_PRIMARY))
    conn.execute("create temp table evolving (a int)")
    say(conn.pgconn.prepare(b"ev", b"select * from evolving").status)
    conn.execute("alter table evolving add b int")
    say(conn.pgconn.exec_prepared(b"ev", None).error_field(pq.DiagnosticField.SQLSTATE))


def cursors(conn: Connection) -> None:
    with conn.transaction():
        with conn.cursor("server side") as cursor:
            cursor.itersize = 7
            cursor.execute("select i, repeat('x', i) from generate_series(1, 30) i")
            say(cursor.fetchone(), cursor.fetchmany(3), len(cursor.fetchall()))
        with conn.cursor("scrolls", scrollable=True, binary=True) as cursor:
            cursor.execute("select generate_series(1, 10)")
            cursor.scroll(5)
            say(cursor.fetchone())
            cursor.scroll(-3)
            say(cursor.fetchone())
        conn.execute("declare c cursor with hold for select generate_series(1, 5)")
        rows(conn, "fetch 2 from c")
        rows(conn, "move 1 in c")
    rows(conn, "fetch all from c")
    rows(conn, "close c")
    failure(lambda: conn.execute("fetch all from c"))
    say(list(conn.cursor().stream("select generate_series(1, 5)")))
    cursor = conn.cursor()
    say(len(list(cursor.stream("select generate_series(1, 1000)", size=100))))
    failure(lambda: list(conn.cursor().stream("select 1/(3-i) from generate_series(1,5) i")))


def pipeline(conn: Connection) -> None:
    conn.execute("create table pipe (i int primary key)")
    with conn.pipeline() as line:
        found = [conn.execute("select %s::int", [i]) for i in range(50)]
        line.sync()
        say([cursor.fetchone() for cursor in found][-3:])
        conn.execute("insert into pipe values (1)")
        conn.execute("insert into pipe values (2)")
    try:
        with conn.pipeline():
            conn.execute("insert into pipe values (3)")
            conn.execute("insert into pipe values (1)")
            conn.execute("insert into pipe values (4)")
    except psycopg.Error as error:
        say(type(error).__name__, str(error).splitlines()[0])
    rows(conn, "select * from pipe order by 1")
    with conn.pipeline() as line, contextlib.suppress(psycopg.Error):
        with conn.transaction():
            conn.execute("insert into pipe values (10)")
            with contextlib.suppress(psycopg.Error), conn.transaction():
                conn.execute("insert into pipe values (10)")
            conn.execute("insert into pipe values (11)")
        line.sync()
    rows(conn, "select * from pipe order by 1")
    raw = conn.pgconn
    raw.enter_pipeline_mode()
    for query in (b"select 1", b"select 1/0", b"select 2"):
        raw.send_query_params(query, None)
    raw.pipeline_sync()
    raw.send_query_params(b"select 3", None)
    raw.send_flush_request()
    raw.pipeline_sync()
    raw.flush()
    seen: list[Any] = []
    while seen.count("PIPELINE_SYNC") < 2:
        result = raw.get_result()
        seen.append(pq.ExecStatus(result.status).name if result else None)
    say(seen)
    while raw.get_result():
        pass
    raw.exit_pipeline_mode()
    rows(conn, "select count(*) from pipe")


def copies(conn: Connection) -> None:
    conn.execute("create table c (i int primary key, t text, b bytea)")
    kinds = ("", " (format csv, header)", " (format binary)")
    conn.execute(
        "insert into c select i, nullif('é\t\\ \"' || i, 'é\t\\ \"3'), '\\x00ff' "
        "from generate_series(1, 5) i"
    )
    for kind in kinds:
        with conn.cursor().copy(f"copy (select * from c order by i) to stdout{kind}") as copy:
            data = b"".join(bytes(part) for part in copy)
        say(kind, data)
        conn.execute("create table copied (like c)")
        cursor = conn.cursor()
        with cursor.copy(f"copy copied from stdin{kind}") as copy:
            for start in range(0, len(data), 11):
                copy.write(data[start : start + 11])
        say(cursor.statusmessage)
        rows(conn, "select count(*), bool_and(c = copied) from c join copied using (i)")
        conn.execute("drop table copied")
    with conn.cursor().copy("copy c (i, t) from stdin") as copy:
        for i in range(100, 20_100):
            copy.write_row((i, "row é"))
    rows(conn, "select count(*), sum(length(t)) from c")

    def gives_up() -> None:
        with conn.cursor().copy("copy c (i) from stdin") as copy:
            copy.write_row((1_000_000,))
            raise psycopg.DataError("the client gives up")

    def bad(line: str) -> None:
        with conn.cursor().copy("copy c from stdin") as copy:
            copy.write("2000001\ta\t\\\\x00\n")
            copy.write(line)
            copy.write("2000002\ta\t\\\\x00\n" * 5000)

    failure(gives_up)
    failure(lambda: bad("not a number\ta\t\\\\x00\n"))
    failure(lambda: bad("1\ttaken\t\\\\x00\n"))
    failure(lambda: bad("1\ttoo\tmany\tcolumns\n"))
    failure(lambda: conn.cursor().copy("copy nothing from stdin").__enter__())
    failure(
        lambda: (
            conn.cursor()
            .copy("copy (select 1/(4-i) from generate_series(1,6) i) to stdout")
            .__enter__()
            .read()
        )
    )
    rows(conn, "select count(*) from c")
    say("status", conn.info.transaction_status.name)
    with conn.transaction():
        with conn.cursor().copy("copy c (i) from stdin") as copy:
            copy.write_row((3_000_000,))
        rows(conn, "select count(*) from c")
    reader = conn.cursor().copy(
        "copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout"
    )
    with reader as copy:
        say(sum(len(bytes(part)) for part in copy))


def notifications(conn: Connection) -> None:
    with connect() as other:
        other.execute('listen chan; listen "Other é"')
        conn.execute("notify chan, 'payload é'")
        conn.execute("select pg_notify('Other é', repeat('x', 7000))")
        with within(2.0, "notifications while idle"):
            for note in other.notifies(timeout=10, stop_after=2):
                say(
                    note.channel,
                    len(note.payload),
                    note.payload[:10],
                    "by:",
                    note.pid == conn.info.backend_pid,
                )
        other.execute("notify chan, 'own'")
        for note in other.notifies(timeout=10, stop_after=1):
            say(note.channel, note.payload, "own:", note.pid == other.info.backend_pid)
        with conn.transaction():
            conn.execute("notify chan, 'late'")
            say(list(other.notifies(timeout=0.3, stop_after=1)) == [])
        say([note.payload for note in other.notifies(timeout=10, stop_after=1)])
        other.execute("unlisten *")
        conn.execute("notify chan, 'nobody'")
        say(list(other.notifies(timeout=0.3)))


def notices(conn: Connection) -> None:
    got: list[tuple[str | None, ...]] = []
    conn.add_notice_handler(
        lambda d: got.append((d.severity, d.sqlstate, d.message_primary, d.message_hint, d.context))
    )
    conn.execute("drop table if exists never")
    conn.execute(
        "do $$ begin raise notice 'hello %', 'é'; raise warning 'w' using hint = 'h'; end $$"
    )
    conn.execute("set client_min_messages to debug1")
    conn.execute("create temp table noisy (i int primary key)")
    conn.execute("set client_min_messages to default")
    conn.execute("select 1; rollback")
    for item in got:
        say(item)


def settings(conn: Connection) -> None:
    def status() -> None:
        names = (
            "TimeZone",
            "DateStyle",
            "application_name",
            "client_encoding",
            "standard_conforming_strings",
            "search_path",
        )
        say([conn.info.parameter_status(name) for name in names])

    status()
    conn.execute("set timezone to 'Europe/Berlin'; set application_name = 'after'")
    status()
    conn.execute(
        "begin; set local datestyle to 'German, DMY'; "
        "select set_config('timezone', 'Asia/Tokyo', true)"
    )
    status()
    rows(conn, "select now()::date = current_date")
    conn.execute("rollback")
    status()
    conn.execute("set standard_conforming_strings = off")
    status()
    rows(conn, "select 'a\\'b'")
    conn.execute("set standard_conforming_strings = on")
    conn.execute("set client_encoding to latin1")
    status()
    rows(conn, "select 'é', length('é')")
    conn.execute("reset client_encoding")
    conn.execute("create schema two; create table two.thing (i int); create table thing (t text)")
    conn.execute("insert into two.thing values (2); insert into thing values ('public')")
    rows(conn, "select * from thing")
    conn.execute("set search_path to two, public")
    rows(conn, "select * from thing")
    conn.execute("create temp table thing (b bool)")
    rows(conn, "select * from thing")
    conn.execute("begin; set local search_path to pg_catalog, public")
    rows(conn, "select * from public.thing")
    conn.execute("rollback; drop table pg_temp.thing; reset search_path")
    rows(conn, "select * from thing")
    rows(conn, "select sql.x from (select 1 as x) as sql")
    conn.execute(sql.SQL("set application_name to {}").format("x'; --"))
    rows(conn, "show application_name")
    conn.execute("reset all")
    conn.execute("discard all")
    status()


def cancels(conn: Connection) -> None:
    for how in (conn.cancel, conn.cancel_safe):
        timer = threading.Timer(0.4, how)
        timer.start()
        with within(CANCEL_SECONDS, "cancelled"):
            failure(lambda: conn.execute("select pg_sleep(30)"))
        timer.join()
        rows(conn, "select 'unharmed'")
    how()
    time.sleep(0.1)
    for i in range(20):
        say(conn.execute("select %s::int", [i]).fetchall())
    conn.execute("begin")
    timer = threading.Timer(0.4, conn.cancel_safe)
    timer.start()
    failure(lambda: conn.execute("select pg_sleep(30)"))
    timer.join()
    say("status", conn.info.transaction_status.name)
    conn.execute("rollback")
    conn.execute("set statement_timeout = 200")
    failure(lambda: conn.execute("select pg_sleep(30)"))
    conn.execute("reset statement_timeout")
    with connect() as other:
        say(other.execute("select pg_cancel_backend(%s)", [conn.info.backend_pid]).fetchall())


def large(conn: Connection) -> None:
    value = bytes(range(256)) * (1 << 18)
    conn.execute("create temp table big (b bytea)")
    conn.execute("insert into big values (%b)", [value])
    [[back]] = conn.execute("select b from big", binary=True).fetchall()
    say(digest(back), back == value)
    rows(conn, "select length(b), md5(b) from big")
    with conn.cursor().copy("copy big to stdout (format binary)") as copy:
        say(digest(b"".join(bytes(part) for part in copy)))
    text = "é" * 3_000_000
    say(len(conn.execute("select length(%s), %s", [text, text]).fetchall()[0][1]))
    statement = "select 1 /* " + "x" * 2_000_000 + " */ as padded"
    rows(conn, statement)
    rows(
        conn,
        "select count(*), sum(length(t)) from "
        "(select repeat('y', 500) || i as t from generate_series(1, 50000) i) q",
    )
    say(
        len(conn.execute("select i, repeat('y', 100) from generate_series(1, 100000) i").fetchall())
    )
    many = ", ".join(f"{i} as c{i}" for i in range(1600))
    say(len(conn.execute(f"select {many}").fetchall()[0]))


def large_objects(conn: Connection) -> None:
    with conn.transaction():
        [[oid]] = conn.execute("select lo_from_bytea(0, '\\x0102')").fetchall()
        say(conn.execute("select lo_get(%s)", [oid]).fetchall())
        conn.execute("select lo_put(%s, 1, '\\xff')", [oid])
        say(conn.execute("select lo_get(%s), lo_unlink(%s)", [oid, oid]).fetchall())
    failure(lambda: conn.execute("select lo_get(4294967295::oid)"))


def ended(conn: Connection) -> None:
    victim = connect()
    conn.execute("select pg_terminate_backend(%s)", [victim.info.backend_pid])
    time.sleep(0.2)
    failure(lambda: victim.execute("select 1"))
    say("closed:", victim.closed, "broken:", victim.broken)


async def concurrent() -> None:
    async def one(number: int) -> int:
        async with await psycopg.AsyncConnection.connect("", autocommit=True) as conn:
            total = 0
            for i in range(20):
                cursor = await conn.execute("select %s::int + %s::int", [number, i])
                total += (await cursor.fetchall())[0][0]
            async with conn.pipeline():
                found = [await conn.execute("select %s::int", [i]) for i in range(20)]
            return total + sum([(await cursor.fetchall())[0][0] for cursor in found])

    say(await asyncio.gather(*(one(number) for number in range(8))))


def main() -> None:
    # What psycopg logs of a cursor that broke names host, port and user.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    with connect() as conn:
        for part in (
            *(startup, types, simple, failures, transactions, prepared, cursors, pipeline, copies),
            *(notifications, notices, settings, cancels, large, large_objects, ended),
        ):
            section(part.__name__)
            part(conn)
    section("concurrent")
    asyncio.run(concurrent())


if __name__ == "__main__":
    main()
