"""Features of asyncpg (its own protocol code, binary throughout): prints a transcript."""

from __future__ import annotations

import asyncio
import io
import os
import ssl
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import asyncpg
from transcript import CANCEL_SECONDS, digest, say, section, within

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]


async def connect(**more: Any) -> Connection:
    """A connection to what the environment (PGHOST, …) names."""
    if os.environ.get("PGSSLMODE", "disable") != "disable":
        more["ssl"] = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    else:
        more["ssl"] = False
    return await asyncpg.connect(**more)


async def failure(work: Awaitable[object]) -> None:
    """Say every field of the error that `work` must raise."""
    try:
        await work
    except asyncpg.PostgresError as error:
        say(type(error).__name__, sorted((k, v) for k, v in error.as_dict().items() if v))
    except (asyncpg.InterfaceError, ValueError) as error:
        say(type(error).__name__, str(error))
    else:
        say("NO ERROR")


async def queries(conn: Connection) -> None:
    say(conn.get_server_version(), conn.get_settings().TimeZone)
    say(await conn.fetchval("select pg_backend_pid()") == conn.get_server_pid())
    say(await conn.execute("select 1; select 2; create table a (i int primary key, t text)"))
    say(await conn.fetch(""))
    say(
        await conn.fetch("select $1::int as n, $2::text as t, $3::text[] as a", 1, "é", ["x", None])
    )
    await conn.executemany("insert into a values ($1, $2)", [(i, f"é{i}") for i in range(500)])
    say(await conn.fetchrow("select count(*), sum(i), max(t) from a"))
    await failure(conn.executemany("insert into a values ($1, $2)", [(1000, "x"), (1, "y")]))
    say(await conn.fetchval("select count(*) from a"))
    statement = await conn.prepare("select i, t from a where i < $1 order by i")
    say(statement.get_parameters(), statement.get_attributes())
    for limit in range(1, 101):
        found = await statement.fetch(limit)
    say(len(found), statement.get_statusmsg())
    say(await statement.explain(1) != [])
    say(await conn.fetchmany("insert into a values ($1, 'r') returning i", [(2001,), (2002,)]))


async def values(conn: Connection) -> None:
    say(
        await conn.fetchrow(
            "select true, 1::int2, 2::int8, 1.5::float4, 'NaN'::float8, 1.10::numeric, 'é', "
            "'\\x00ff'::bytea, date '2026-11-23', time '01:02:03', timestamptz '2026-11-23Z', "
            "interval '1 day 2 seconds', '550e8400-e29b-41d4-a716-446655440000'::uuid, '1'::jsonb, "
            "array[[1,2],[3,null]], int4range(1,5), '10.0.0.0/8'::cidr, point(1,2), b'101', "
            "row(1,'x'), null::text"
        )
    )
    await conn.execute(
        "create type mood as enum ('sad', 'ok'); create type pair as (a int, b mood)"
    )
    say(
        await conn.fetchval("select $1::mood", "ok"),
        await conn.fetchval("select row(1,'sad')::pair"),
    )
    say(await conn.fetchval("select $1::pair[]", [(1, "ok"), (2, None)]))
    big = os.urandom(1) * (16 << 20)
    say(len(await conn.fetchval("select $1::bytea", big)))


async def errors(conn: Connection) -> None:
    for query in "selec", "select 1/0", "select * from nothing", "insert into a values (1)":
        await failure(conn.execute(query))
        await failure(conn.fetch(query))
    await failure(conn.fetch("select $1::int", "x"))
    await failure(conn.fetch("select 1; select 2"))
    transaction = conn.transaction()
    await transaction.start()
    await failure(conn.fetch("select 1/0"))
    await failure(conn.fetch("select 1"))
    await transaction.rollback()
    async with conn.transaction():
        await conn.execute("insert into a values (5000)")
        try:
            async with conn.transaction():
                await conn.execute("insert into a values (5000)")
        except asyncpg.UniqueViolationError as error:
            say(error.constraint_name)
        say(await conn.fetchval("select count(*) from a where i = 5000"))
    async with conn.transaction(isolation="serializable", readonly=True, deferrable=True):
        say(await conn.fetchval("show transaction_isolation"))
        await failure(conn.execute("delete from a"))


async def cursors(conn: Connection) -> None:
    async with conn.transaction():
        seen = [row["i"] async for row in conn.cursor("select i from a order by i", prefetch=33)]
        say(len(seen), seen[:3])
        cursor = await conn.cursor("select generate_series(1, 10) as g")
        say(await cursor.fetch(3), await cursor.forward(2), await cursor.fetchrow())
        other = await conn.cursor("select 'two' as two from generate_series(1, 3)")
        say(await other.fetch(2), await cursor.fetch(10), await cursor.fetch(1))


async def copies(conn: Connection) -> None:
    await conn.execute("create table c (i int primary key, t text)")
    say(await conn.copy_records_to_table("c", records=[(i, f"é\t{i}") for i in range(5000)]))
    out = io.BytesIO()
    say(await conn.copy_from_query("select * from c where i < $1", 3, output=out, format="csv"))
    say(out.getvalue())
    out = io.BytesIO()
    say(await conn.copy_from_table("c", output=out, format="binary"), digest(out.getvalue()))
    say(await conn.execute("truncate c"))
    out.seek(0)
    say(await conn.copy_to_table("c", source=out, format="binary"))
    await failure(conn.copy_records_to_table("c", records=[(1, "taken")]))
    await failure(conn.copy_to_table("c", source=io.BytesIO(b"x\ty\n"), format="text"))
    say(await conn.fetchval("select count(*) from c"))


async def notifications(conn: Connection) -> None:
    got: asyncio.Queue[tuple[bool, str, str]] = asyncio.Queue()
    pid = conn.get_server_pid()
    other = await connect()
    await other.add_listener(
        "chan", lambda _, by, ch, load: got.put_nowait((by == pid, ch, str(load)))
    )
    with within(2.0, "notifications"):
        for load in "one", "é", "":
            await conn.execute("select pg_notify('chan', $1)", load)
            say(await asyncio.wait_for(got.get(), 10))
    notes: list[tuple[str, str]] = []
    conn.add_log_listener(lambda _, note: notes.append((note.sqlstate or "", note.message or "")))
    await conn.execute("do $$ begin raise notice 'n é'; raise warning 'w'; end $$")
    await asyncio.sleep(0.1)
    say(notes)
    await other.close()


async def cancels(conn: Connection) -> None:
    with within(CANCEL_SECONDS, "timeout"):
        try:
            await conn.fetch("select pg_sleep(30)", timeout=0.4)
        except TimeoutError:
            say("timed out")
    say(await conn.fetchval("select 'unharmed'"))
    for i in range(5):
        task = asyncio.ensure_future(conn.fetch("select pg_sleep(30)"))
        await asyncio.sleep(0.1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            say(i, await conn.fetchval("select 'after'"))
    say(await conn.reset())


async def many() -> None:
    more: Any = {}
    if os.environ.get("PGSSLMODE", "disable") != "disable":
        more["ssl"] = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    else:
        more["ssl"] = False
    async with asyncpg.create_pool(min_size=5, max_size=10, **more) as pool:
        say(sum(await asyncio.gather(*(pool.fetchval("select $1::int", i) for i in range(300)))))


async def main() -> None:
    conn = await connect(server_settings={"application_name": "conf", "search_path": "public"})
    for part in queries, values, errors, cursors, copies, notifications, cancels:
        section(part.__name__)
        await part(conn)
    await conn.close()
    section("many")
    await many()


if __name__ == "__main__":
    asyncio.run(main())
