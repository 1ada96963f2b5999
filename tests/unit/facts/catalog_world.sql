-- A database that hides code wherever PostgreSQL lets one.
create schema app;
create schema secret;
create table public.customers (id serial primary key, name text, email text);
create table public.orders (id serial primary key, total numeric, note text,
  customer_id int references public.customers on delete cascade);
create table public.lines (id int primary key,
  order_id int references public.orders on delete set null on update cascade);
create table secret.keys (k text);
create table public.fine (a int generated always as identity, b timestamp default now(), c int[]);

create function public.evil(text) returns text language sql immutable as 'select $1';
create function public.evil_row(anyelement) returns int language sql as 'select 1';
create function public.evil_order(public.orders) returns int language sql as 'select 1';
create function public.two(int, int) returns int language sql as 'select 1';
create function public.lower(int) returns text language sql as 'select 1::text';
create function public.trg() returns trigger language plpgsql as 'begin return new; end';

create table public.audited (id int);
create trigger aud before insert or update on public.audited
  for each row execute function public.trg();
create table public.conditioned (id int, t text);
create trigger cond before update on public.conditioned for each row
  when (public.evil(new.t) <> '') execute function pg_catalog.suppress_redundant_updates_trigger();
create table public.suppressed (id int);
create trigger sup before update on public.suppressed for each row
  execute function pg_catalog.suppress_redundant_updates_trigger();
create table public.disabled (id int);
create trigger dis before insert on public.disabled for each row execute function public.trg();
alter table public.disabled disable trigger dis;

create table public.ruled (id int);
create rule r as on delete to public.ruled do also delete from public.orders;
create table public.secured (id int, owner text);
alter table public.secured enable row level security;
create policy p on public.secured using (public.evil(owner) = current_user);
create table public.secured_well (id int, owner text);
alter table public.secured_well enable row level security;
create policy p on public.secured_well using (owner = current_user);

create view public.v_plain as select o.id, c.name from public.orders o
  join public.customers c on c.id = o.customer_id where o.total > 5;
create view public.v_evil as select public.evil(name) as n from public.customers;
create view public.v_nested as select * from public.v_evil;
create view public.v_early as select 1 as one;
create view public.v_updatable as select id, name from public.customers
  where id > (select min(id) from public.lines);
create or replace view public.v_early as select length(n) as one from public.v_nested;
create view app.v_secured as select * from public.secured;
create view app.v_row as select public.evil_row(o) from public.orders o;
create materialized view public.stored as select public.evil(name) n from public.customers;

create table public.indexed (a text);
create index ix on public.indexed (public.evil(a));
create table public.partial (a text);
create index px on public.partial (a) where public.evil(a) <> '';
create table public.defaulted (a text default public.evil('x'), b int);
create table public.generated (a text, b text generated always as (public.evil(a)) stored);
create table public.checked (a text check (public.evil(a) <> ''));
create domain public.dom as text check (public.evil(value) <> '');
create domain public.gooddom as text check (length(value) < 10);
create table public.domained (a public.dom);
create table public.domained_array (a public.dom[]);
create table public.domained_well (a public.gooddom);
create type public.mood as enum ('a', 'b');
create table public.moody (m public.mood, id int);
create type public.pair as (a int, b text);
create type public.deep as (p public.pair);
create function public.pair_int(public.pair) returns int language sql as 'select 1';
create cast (public.pair as int) with function public.pair_int(public.pair);
create table public.paired (p public.pair);
create table public.deeply (d public.deep);

create function public.opf(int, text) returns bool language sql as 'select true';
create operator public.=== (leftarg = int, rightarg = text, function = public.opf);
create operator public.<> (leftarg = int, rightarg = text, function = public.opf);
create operator app.<+> (leftarg = int, rightarg = int, function = pg_catalog.int4pl);

create table public.part (id int, k text) partition by list (k);
create table public.part_a partition of public.part for values in ('a');
create trigger aud before insert on public.part_a for each row execute function public.trg();
create table public.parent (id int);
create table public.child (a text check (public.evil(a) <> '')) inherits (public.parent);
create statistics st on (public.evil(a)), a from public.indexed;
create sequence public.seq;
grant select on public.orders to public;
create function app.same(point, text) returns bool language sql as 'select true';
create operator app.= (leftarg = point, rightarg = text, function = app.same);
create table public.points (p point, t text);
set search_path = public, app, pg_catalog;
create view public.v_equality as select p is distinct from t as d from public.points;
create view public.v_nullif as select nullif(p::text, t) as d from public.points;
reset search_path;
create table public.keyed (a text) partition by list (public.evil(a));
create table public.keyed_a partition of public.keyed for values in ('a');
