-- Features of psql: run with -X and a transcript on standard output and error.
\set VERBOSITY verbose
\set SHOW_ALL_RESULTS on
\echo == startup
\encoding
select current_user, current_database();
\echo == results
select 1 as a \; select 2 as b, null as c \; select 'é 日本語' as d;
select 1 \; select 1/0 \; select 3;
;
select;
\gdesc
select 1 as one, 'x'::varchar(7) as two \gdesc
select $1::int + $2 as sum \bind 40 2 \g
select 'x' as prefix_x, 42 as prefix_y \gset
\echo :prefix_x :prefix_y
select format('select %s as generated', i) from generate_series(1, 3) i \gexec
\echo == tables
create table t (id int primary key, v text default 'é', b bytea);
create index t_v on t (v);
create view w as select id, v from t where id > 1;
comment on table t is 'a comment';
insert into t select i, 'v' || i, decode(lpad(i::text, 4, '0'), 'hex') from generate_series(1, 5) i;
\d t
\d+ w
\dt
\dv
\sv w
table t;
\x on
table w limit 1;
\x off
update t set v = 'new' where id = 1 returning *;
explain (costs off) select * from t where id = 1;
\echo == errors
selec 1;
select * from nothing;
insert into t values (1);
\errverbose
\set ON_ERROR_ROLLBACK on
begin;
insert into t values (10);
insert into t values (10);
select count(*) from t;
commit;
\set ON_ERROR_ROLLBACK off
begin;
select 1/0;
select 1;
savepoint a;
rollback;
\echo == copy
copy t to stdout;
\copy (select id, v from t order by id) to pstdout csv header
copy t (id, v) from stdin;
20	é
21	\N
\.
copy t (id, v) from stdin;
22	fine
oops	bad
23	fine
\.
\copy t (id, v) from pstdin csv
30,"quoted, ""é"""
\.
select count(*), count(v) from t;
\echo == cursors
begin;
declare c scroll cursor for select id from t order by id;
fetch 2 from c;
fetch last from c;
move backward 2 in c;
fetch 1 from c;
close c;
commit;
\set FETCH_COUNT 3
select id from t order by id;
select 10/(3-i) from generate_series(1, 5) i;
\set FETCH_COUNT 0
\echo == prepared
prepare p (int) as select $1 * 2 as twice;
execute p (21);
execute p (1) \; execute p (2);
deallocate p;
execute p (1);
\echo == notify
listen chan;
notify chan, 'payload';
unlisten *;
do $$ begin raise notice 'hello é'; end $$;
\echo == session
set timezone to 'Asia/Tokyo';
show timezone;
begin isolation level serializable read only;
show transaction_isolation;
create table forbidden ();
rollback;
reset all;
set application_name to 'x';
show application_name;
create temp table t (temp text);
select count(*) from t;
discard all;
select count(*) from t;
\echo == large objects
\set oid 424242
select lo_from_bytea(424242, '\x0102');
\lo_export 424242 /dev/null
select lo_get(424242);
\lo_unlink 424242
\lo_unlink 424242
\echo == reconnect
\set QUIET on
\c
\set QUIET off
select 1;
\echo == end
