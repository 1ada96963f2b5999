"""pg_dump and pg_restore there and back, in every format: prints what came back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from transcript import digest, say, section

PROGRAMS = Path(os.environ["PG_PROGRAMS"])
SCHEMA = """
create type mood as enum ('sad', 'ok');
create domain positive as int check (value > 0);
create sequence numbers start 5;
create table parent (id int primary key default nextval('numbers'), m mood, p positive, n text);
create table child (p int references parent, d date, b bytea, j jsonb, primary key (p, d))
  partition by range (d);
create table child_one partition of child for values from ('2026-01-01') to ('2027-01-01');
create view seen as select n, d from parent join child c on c.p = parent.id;
create materialized view counted as select count(*) from child;
create function twice(i int) returns int language sql immutable as 'select i * 2';
create index on parent (twice(id));
create function stop() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger t before insert on parent for each row execute function stop();
comment on table parent is 'it''s é';
insert into parent (m, p, n)
  select 'ok', i, 'row é ' || chr(9) || i from generate_series(1, 5000) i;
insert into child select id, '2026-02-03', decode(md5(id::text), 'hex'), '{"é": [1]}' from parent;
refresh materialized view counted;
select lo_from_bytea(717171, 'a large object');
"""
STATE = """
select count(*), md5(string_agg(parent::text, ',' order by id)) from parent;
select count(*), md5(string_agg(child::text, ',' order by p, d)) from child;
table counted; select count(*) from seen; select nextval('numbers'), twice(21);
select lo_get(717171); select obj_description('parent'::regclass);
"""
DROP = "drop schema public cascade; create schema public; select lo_unlink(717171);"


def run(program: str, *arguments: str, text: str = "") -> bytes:
    done = subprocess.run(
        [PROGRAMS / program, *arguments], input=text.encode(), capture_output=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{program} gave {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def psql(text: str) -> bytes:
    return run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", text=text)


def main() -> None:
    psql(SCHEMA)
    before = psql(STATE).decode().splitlines()
    section("plain")
    dump = run("pg_dump", "--no-owner")
    # Since 15.14 a plain dump carries a random key against injection (\restrict KEY).
    print(re.sub(rb"(\\(un)?restrict) \w+", rb"\1 KEY", dump).decode().split("COPY public")[0])
    say(digest(re.sub(rb"(\\(un)?restrict) \w+", rb"\1 KEY", dump)))
    with tempfile.TemporaryDirectory() as folder:
        section("custom and directory")
        custom, parts = f"{folder}/c", f"{folder}/d"
        run("pg_dump", "-Fc", "-f", custom, "--no-owner")
        run("pg_dump", "-Fd", "-j", "2", "-f", parts, "--no-owner")
        run("pg_dump", "--inserts", "--rows-per-insert=100", "-f", f"{folder}/i", "--no-owner")
        for how in (["-Fc", custom], ["-Fd", "-j", "2", parts]):
            psql(DROP)
            run("pg_restore", "--no-owner", "--no-acl", "-d", os.environ["PGDATABASE"], *how)
            after = psql(STATE).decode().splitlines()
            say(how[0], [a == b for a, b in zip(after, before, strict=True)], after)
        psql(DROP)
        run("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-f", f"{folder}/i")
        say("inserts", psql(STATE).decode().splitlines())


if __name__ == "__main__":
    main()
