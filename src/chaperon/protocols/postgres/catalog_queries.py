"""The queries of the catalog loader, for PostgreSQL 13 to 18.

They run with search_path = pg_catalog in a read-only transaction, so every name means PostgreSQL's
own; 16384 is FIRST_USER_OID.
Invariant: nothing is filtered but what cannot be named (TOAST) or is another session's (temporary
schemas), so the snapshot is whole for any role: these tables are readable by everybody.
"""

from __future__ import annotations

from typing import Final

FIRST_USER_OID: Final = 16384
"""FirstNormalObjectId of access/transam.h: what was made after initdb."""

SCHEMAS: Final = """
select n.nspname::text as name from pg_namespace n
where n.nspname !~ '^pg_(toast|temp_|toast_temp_)'
"""

RELATIONS: Final = """
select c.oid::int8 as oid, n.nspname::text as schema, c.relname::text as name,
  c.relkind::text as kind, c.relrowsecurity as secured,
  coalesce((select array_agg(a.attname::text order by a.attnum) from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and n.nspname not in ('pg_catalog', 'information_schema')), '{}') as columns,
  coalesce((select array_agg(distinct a.atttypid::int8) from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and a.atttypid >= 16384), '{}') as types
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^pg_(toast|temp_|toast_temp_)'
"""

FUNCTIONS: Final = """
select p.oid::int8 as oid, n.nspname::text as schema, p.proname::text as name,
  p.pronargs >= 1 and p.pronargs - p.pronargdefaults <= 1 as single,
  p.pronargs >= 1 and p.pronargs - p.pronargdefaults <= 1
    and exists (select from pg_type t left join pg_type b on b.oid = t.typbasetype
      where t.oid = p.proargtypes[0] and (t.typtype in ('c', 'p') or b.typtype = 'c')) as row,
  n.nspname <> 'pg_catalog' or p.oid >= 16384 as custom
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname !~ '^pg_(toast|temp_|toast_temp_)'
  and (n.nspname <> 'pg_catalog' or p.oid >= 16384
    or p.pronargs >= 1 and not p.proargtypes::oid[] @> array['internal'::regtype::oid])
"""

EXTENSIONS: Final = """
select e.extname::text as extension, d.objid::int8 as function
from pg_depend d join pg_extension e on e.oid = d.refobjid
where d.deptype = 'e' and d.classid = 'pg_proc'::regclass
  and d.refclassid = 'pg_extension'::regclass
"""

OPERATORS: Final = """
select n.nspname::text as schema, o.oprname::text as name,
  array[o.oprcode::int8, o.oprrest::int8, o.oprjoin::int8] as functions
from pg_operator o join pg_namespace n on n.oid = o.oprnamespace
where n.nspname <> 'pg_catalog' or o.oid >= 16384
"""

TYPES: Final = """
select t.oid::int8 as oid, n.nspname::text as schema, t.typname::text as name,
  t.typtype::text as kind, t.typbasetype::int8 as base, t.typelem::int8 as element,
  case when t.typtype = 'b' and t.typelem = 0 or t.typtype = 'b' and t.typlen > 0 then
    array[t.typinput::int8, t.typoutput::int8, t.typreceive::int8, t.typsend::int8,
      t.typmodin::int8, t.typmodout::int8] else '{}' end as functions,
  coalesce((select array_agg(distinct a.atttypid::int8) from pg_attribute a
    where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
      and a.atttypid >= 16384), '{}') as parts,
  coalesce((select array_agg(pg_get_expr(k.conbin, 0)) from pg_constraint k
    where k.contypid = t.oid and k.conbin is not null), '{}') as checks
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where n.nspname !~ '^pg_(toast|temp_|toast_temp_)'
  and (n.nspname not in ('pg_catalog', 'information_schema')
  or t.oid >= 16384)
"""

RANGES: Final = """
select r.rngtypid::int8 as oid, r.rngsubtype::int8 as subtype,
  array[r.rngcanonical::int8, r.rngsubdiff::int8] as functions from pg_range r
"""

TYPE_OPERATORS: Final = """
select distinct c.opcintype::int8 as type, p.amproc::int8 as function
from pg_opclass c join pg_amproc p on p.amprocfamily = c.opcfamily
  and p.amproclefttype = c.opcintype
where c.opcintype >= 16384 and c.opcdefault
"""

CASTS: Final = """
select c.castsource::int8 as source, c.casttarget::int8 as target, c.castfunc::int8 as function,
  format_type(c.castsource, null) as source_name, format_type(c.casttarget, null) as target_name
from pg_cast c where c.oid >= 16384 and c.castfunc <> 0
"""

VIEWS: Final = """
select c.oid::int8 as oid, pg_get_viewdef(c.oid) as text, c.relkind = 'm' as stored
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('v', 'm') and c.oid >= 16384 and n.nspname !~ '^pg_temp_'
"""

RULES: Final = """
select r.ev_class::int8 as oid, r.rulename::text as name, r.ev_type::text as event
from pg_rewrite r
where r.rulename <> '_RETURN' and r.ev_enabled <> 'D' and r.oid >= 16384
"""

TRIGGERS: Final = """
select t.tgrelid::int8 as oid, t.tgname::text as name, t.tgtype::int4 as bits,
  t.tgfoid::int8 as function, pg_get_triggerdef(t.oid) as text
from pg_trigger t where not t.tgisinternal and t.tgenabled <> 'D'
"""

EVENT_TRIGGERS: Final = """
select e.evtname::text as name, e.evtfoid::int8 as function from pg_event_trigger e
where e.evtenabled <> 'D' and e.evtevent <> 'login'
"""

CHECKS: Final = """
select k.conrelid::int8 as oid, k.conname::text as name, pg_get_expr(k.conbin, k.conrelid) as text
from pg_constraint k where k.conrelid <> 0 and k.conbin is not null
"""

FOREIGN_KEYS: Final = """
select k.conrelid::int8 as source, k.confrelid::int8 as target,
  k.confdeltype::text as on_delete, k.confupdtype::text as on_update
from pg_constraint k where k.contype = 'f'
"""

DEFAULTS: Final = """
select d.adrelid::int8 as oid, a.attname::text as name, a.attgenerated::text as generated,
  pg_get_expr(d.adbin, d.adrelid) as text
from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
"""

INDEXES: Final = """
select i.indrelid::int8 as oid, c.relname::text as name,
  pg_get_expr(i.indexprs, i.indrelid) as expressions,
  pg_get_expr(i.indpred, i.indrelid) as predicate,
  coalesce((select array_agg(distinct p.amproc::int8) from pg_opclass o
    join pg_amproc p on p.amprocfamily = o.opcfamily
    where o.oid = any (i.indclass::oid[]) and o.oid >= 16384), '{}') as functions
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indexprs is not null or i.indpred is not null
  or exists (select from unnest(i.indclass::oid[]) as x where x >= 16384)
"""

PARTITION_KEYS: Final = """
select p.partrelid::int8 as oid, pg_get_expr(p.partexprs, p.partrelid) as text
from pg_partitioned_table p where p.partexprs is not null
"""

POLICIES: Final = """
select p.polrelid::int8 as oid, p.polname::text as name,
  pg_get_expr(p.polqual, p.polrelid) as qualification,
  pg_get_expr(p.polwithcheck, p.polrelid) as checks
from pg_policy p join pg_class c on c.oid = p.polrelid where c.relrowsecurity
"""

STATISTICS: Final = """
select s.stxrelid::int8 as oid, s.stxname::text as name,
  pg_get_expr(s.stxexprs, s.stxrelid) as text
from pg_statistic_ext s where s.stxexprs is not null
"""
"""PostgreSQL 14 and above."""

INHERITANCE: Final = """
select i.inhrelid::int8 as child, i.inhparent::int8 as parent from pg_inherits i
  join pg_class c on c.oid = i.inhrelid where c.relkind not in ('i', 'I')
"""

USAGE: Final = """
select r.rolname::text as role, array_agg(n.nspname::text) as schemas
from (select oid, rolname from pg_roles
    where rolname = session_user or pg_has_role(session_user, oid, 'member')
    order by rolname <> session_user, rolname limit 1000) r
  cross join pg_namespace n
where n.nspname !~ '^pg_(toast|temp_|toast_temp_)'
  and has_schema_privilege(r.oid, n.oid, 'usage') group by r.rolname
"""

ALL: Final[dict[str, tuple[int, str]]] = {
    "schemas": (0, SCHEMAS),
    "relations": (0, RELATIONS),
    "functions": (0, FUNCTIONS),
    "extensions": (0, EXTENSIONS),
    "operators": (0, OPERATORS),
    "types": (0, TYPES),
    "ranges": (0, RANGES),
    "type_operators": (0, TYPE_OPERATORS),
    "casts": (0, CASTS),
    "views": (0, VIEWS),
    "rules": (0, RULES),
    "triggers": (0, TRIGGERS),
    "event_triggers": (0, EVENT_TRIGGERS),
    "checks": (0, CHECKS),
    "foreign_keys": (0, FOREIGN_KEYS),
    "defaults": (0, DEFAULTS),
    "indexes": (0, INDEXES),
    "partition_keys": (0, PARTITION_KEYS),
    "policies": (0, POLICIES),
    "statistics": (140000, STATISTICS),
    "inheritance": (0, INHERITANCE),
    "usage": (0, USAGE),
}
"""Name → (least server_version_num, query)."""
