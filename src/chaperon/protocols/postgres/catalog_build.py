"""Make a `Catalog` of the loader's rows. Pure.

Every text that the server would run when a relation is read or written (view definitions, policies,
defaults, checks, index expressions, …) is read by the same reader as a statement is and resolved in
the snapshot itself. Invariant: a text that is not understood gives a reason, never silence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from chaperon.facts.catalog import (
    Cascade,
    Catalog,
    Function,
    Name,
    Operator,
    Relation,
    WriteHook,
)
from chaperon.facts.functions import SAFE
from chaperon.facts.model import RawFacts
from chaperon.facts.names import Naming, resolve
from chaperon.facts.sql import read_statement, sole_source
from chaperon.protocols.postgres.catalog_queries import FIRST_USER_OID

Rows = Mapping[str, Sequence[Mapping[str, Any]]]

_WRITES = frozenset({"insert", "update"})
_ALL_WRITES = frozenset({"insert", "update", "delete", "truncate", "truncate_cascade"})
_RULE_EVENTS = {"2": "update", "3": "insert", "4": "delete"}
# Bits of tgtype (catalog/pg_trigger.h).
_TRIGGER_BITS = {4: "insert", 8: "delete", 16: "update", 32: "truncate"}
# Actions of pg_constraint.confdeltype and confupdtype: what they do to the referencing table.
_ON_DELETE = {"c": "delete", "n": "update", "d": "update"}
_ON_UPDATE = {"c": "update", "n": "update", "d": "update"}
# Owners' defaults call these on sequences of their own; an agent's statement may not.
_DEFAULTS_MAY = frozenset({"pg_catalog.nextval"})


class _Code(NamedTuple):
    """A text that runs: SQL of one statement, what it belongs to, and when."""

    label: str
    text: str
    reading: bool
    events: frozenset[str] = frozenset()
    view: bool = False
    allowed: frozenset[str] = frozenset()


def build(rows: Rows, safe_functions: frozenset[str], epoch: int) -> Catalog:
    """The snapshot of `rows`, which are the results of `catalog_queries.ALL` by name."""
    return _Builder(rows, safe_functions).catalog(epoch)


def _of_extensions(rows: Rows, listed: frozenset[str]) -> frozenset[str]:
    """Names of the functions of listed extensions ("pg_extension.citext").

    No schema can be called so: names that begin with pg_ are PostgreSQL's own. A function's name
    that has an overload from elsewhere is left out.
    """
    member = {
        row["function"]
        for row in rows["extensions"]
        if f"pg_extension.{row['extension']}" in listed
    }
    if not member:
        return frozenset()
    mine: set[str] = set()
    others: set[str] = set()
    for row in rows["functions"]:
        (mine if row["oid"] in member else others).add(f"{row['schema']}.{row['name']}")
    return frozenset(mine - others)


class _Builder:
    def __init__(self, rows: Rows, safe_functions: frozenset[str]) -> None:
        self.rows = rows
        self.safe = safe_functions | _of_extensions(rows, safe_functions)
        self.functions: dict[int, str] = {}
        self.names: dict[int, Name] = {}
        self.oids: dict[Name, int] = {}
        self.relations: dict[str, dict[str, Relation]] = defaultdict(dict)
        self.code: dict[int, list[_Code]] = defaultdict(list)
        self.hidden: dict[int, list[str]] = defaultdict(list)
        self.hooks: dict[int, list[WriteHook]] = defaultdict(list)
        self.children: dict[int, list[int]] = defaultdict(list)
        self.done: set[int] = set()
        schemas = frozenset(row["name"] for row in rows["schemas"])
        self.base = Catalog(schemas=schemas, safe_functions=self.safe)

    def catalog(self, epoch: int) -> Catalog:
        self._functions()
        type_oids = self._type_reasons()
        by_name: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        for row in self.rows["types"]:
            by_name[row["name"]][row["schema"]] = type_oids.get(row["oid"], ())
        self.base = replace(
            self.base,
            epoch=epoch,
            relations=self.relations,
            types=dict(by_name),
            type_oids=type_oids,
            casts=self._built_in_casts(),
            usage={row["role"]: frozenset(row["schemas"]) for row in self.rows["usage"]},
            on_define=self._event_triggers(),
        )
        self._relations(type_oids)
        self._texts()
        self._write_code()
        for oid in self.names:
            self._finish(oid)
        return self.base

    def _unsafe(self, oids: Iterable[int]) -> list[str]:
        """Names of those functions that are neither PostgreSQL's own nor listed."""
        return [
            self.functions.get(oid, f"with OID {oid}")
            for oid in dict.fromkeys(oids)
            if oid >= FIRST_USER_OID and self.functions.get(oid) not in self.safe
        ]

    def _functions(self) -> None:
        custom: dict[str, dict[str, Function]] = defaultdict(dict)
        builtins: set[str] = set()
        for row in self.rows["functions"]:
            name, schema = row["name"], row["schema"]
            self.functions[row["oid"]] = f"{schema}.{name}"
            if not row["custom"]:
                if row["single"]:
                    builtins.add(name)
                continue
            known = custom[name].get(schema, Function(schema, row=False, single=False))
            custom[name][schema] = Function(
                schema, known.row or row["row"], known.single or row["single"]
            )
        operators: dict[str, list[Operator]] = defaultdict(list)
        for row in self.rows["operators"]:
            called = frozenset(
                self.functions.get(oid, f"with OID {oid}")
                for at, oid in enumerate(row["functions"])
                # The second and third estimate rows; PostgreSQL's own do no more.
                if oid and (at == 0 or oid >= FIRST_USER_OID)
            )
            unsafe = frozenset(n for n in called if not self._own_and_safe(n))
            operators[row["name"]].append(Operator(row["schema"], unsafe))
        self.base = replace(
            self.base,
            functions={name: tuple(found.values()) for name, found in custom.items()},
            operators={name: tuple(found) for name, found in operators.items()},
            builtins=frozenset(builtins),
        )

    @staticmethod
    def _own_and_safe(name: str) -> bool:
        schema, _, function = name.partition(".")
        return schema == "pg_catalog" and function in SAFE

    def _event_triggers(self) -> tuple[str, ...]:
        return tuple(
            f"Event trigger {row['name']} runs {name} at data definition, which is not known to be "
            "safe."
            for row in self.rows["event_triggers"]
            for name in self._unsafe([row["function"]])
        )

    # Types: what converting to or from them runs.

    def _type_reasons(self) -> dict[int, tuple[str, ...]]:
        own: dict[int, list[str]] = defaultdict(list)
        parts: dict[int, set[int]] = defaultdict(set)
        names: dict[int, str] = {}
        for row in self.rows["types"]:
            oid = row["oid"]
            names[oid] = f"{row['schema']}.{row['name']}"
            parts[oid].update(part for part in (row["base"], row["element"], *row["parts"]) if part)
            own[oid] += self._type_code(names[oid], "its own code", row["functions"])
            for check in row["checks"]:
                facts = resolve(read_statement(f"SELECT {check}"), self._naming())
                own[oid] += [f"Type {names[oid]} checks values: {why}" for why in facts.reasons]
        for row in self.rows["ranges"]:
            if row["oid"] in names:
                parts[row["oid"]].add(row["subtype"])
                own[row["oid"]] += self._type_code(names[row["oid"]], "", row["functions"])
        for row in self.rows["type_operators"]:
            if row["type"] in names:
                why = self._type_code(names[row["type"]], "comparison", [row["function"]])
                own[row["type"]] += why
        for row in self.rows["casts"]:
            for oid in (row["source"], row["target"]):
                if oid in names:
                    own[oid] += self._type_code(names[oid], "a cast", [row["function"]])
        found = {oid: self._collected(oid, own, parts) for oid in names}
        return {oid: reasons for oid, reasons in found.items() if reasons}

    def _type_code(self, name: str, what: str, oids: Iterable[int]) -> list[str]:
        means = f" by {what}" if what else ""
        return [
            f"Type {name} runs {function}{means}, which is not known to be safe: an administrator "
            "may list it in safe_functions."
            for function in self._unsafe(oids)
        ]

    @staticmethod
    def _collected(
        oid: int, own: Mapping[int, list[str]], parts: Mapping[int, set[int]]
    ) -> tuple[str, ...]:
        reasons: dict[str, None] = {}
        pending, seen = [oid], {oid}
        while pending:
            at = pending.pop()
            reasons.update(dict.fromkeys(own.get(at, ())))
            fresh = parts.get(at, set()) - seen
            seen |= fresh
            pending += fresh
        return tuple(reasons)

    def _built_in_casts(self) -> tuple[str, ...]:
        return tuple(
            f"The cast from {row['source_name']} to {row['target_name']} runs {function}, which is "
            "not known to be safe: an administrator may list it in safe_functions."
            for row in self.rows["casts"]
            if row["source"] < FIRST_USER_OID and row["target"] < FIRST_USER_OID
            for function in self._unsafe([row["function"]])
        )

    # Relations: what reading and writing them runs.

    def _relations(self, type_oids: Mapping[int, tuple[str, ...]]) -> None:
        for row in self.rows["relations"]:
            oid, name = row["oid"], (row["schema"], row["name"])
            self.names[oid] = name
            self.oids[name] = oid
            self.relations[name[0]][name[1]] = Relation(row["kind"], tuple(row["columns"]))
            for part in row["types"]:
                self.hidden[oid] += type_oids.get(part, ())
        for row in self.rows["inheritance"]:
            self.children[row["parent"]].append(row["child"])

    def _add(self, oid: int, code: _Code) -> None:
        if oid in self.names and oid >= FIRST_USER_OID:
            self.code[oid].append(code)

    def _texts(self) -> None:
        for row in self.rows["views"]:
            events = frozenset({"refresh"}) if row["stored"] else frozenset[str]()
            self._add(
                row["oid"],
                _Code("the view", row["text"], not row["stored"], events, view=not row["stored"]),
            )
        for row in self.rows["defaults"]:
            virtual = row["generated"] == "v"
            label = f"column {row['name']}"
            self._add(
                row["oid"],
                _Code(label, f"SELECT {row['text']}", virtual, _WRITES, allowed=_DEFAULTS_MAY),
            )
        partitions = {row["child"] for row in self.rows["inheritance"]}
        for row in self.rows["checks"]:
            # Checks of partitions are looked at when a query is planned (constraint_exclusion).
            code = _Code(f"check {row['name']}", f"SELECT {row['text']}", False, _WRITES)
            self._add(row["oid"], code._replace(reading=row["oid"] in partitions))
        for row in self.rows["indexes"]:
            for text in (row["expressions"], row["predicate"]):
                if text:
                    # Planning a query evaluates what is constant in them.
                    code = _Code(f"index {row['name']}", f"SELECT {text}", True, _ALL_WRITES)
                    self._add(row["oid"], code)
            for name in self._unsafe(row["functions"]):
                why = f"Index {row['name']} runs {name}, which is not known to be safe."
                self.hidden[row["oid"]].append(why)
        for row in self.rows["partition_keys"]:
            code = _Code("the partition key", f"SELECT {row['text']}", True, _WRITES)
            for oid in self._descendants(row["oid"]):
                self._add(oid, code)
        for row in self.rows["policies"]:
            for text, reading in ((row["qualification"], True), (row["checks"], False)):
                if text:
                    code = _Code(f"policy {row['name']}", f"SELECT {text}", reading, _ALL_WRITES)
                    self._add(row["oid"], code)
        for row in self.rows["statistics"]:
            self._add(row["oid"], _Code(f"statistics {row['name']}", f"SELECT {row['text']}", True))

    def _descendants(self, oid: int) -> list[int]:
        """`oid` and all that inherit from it; a multiple parent counts once."""
        found = dict.fromkeys([oid])
        pending = [oid]
        while pending:
            fresh = [child for child in self.children[pending.pop()] if child not in found]
            found.update(dict.fromkeys(fresh))
            pending += fresh
        return list(found)

    def _write_code(self) -> None:
        for row in self.rows["rules"]:
            event = _RULE_EVENTS.get(row["event"])
            name = ".".join(self.names.get(row["oid"], ("", "")))
            why = f"Rule {row['name']} on {name} turns statements into others."
            if event is None:
                self.hidden[row["oid"]].append(why)
            else:
                self.hooks[row["oid"]].append(WriteHook(frozenset({event}), why))
        for row in self.rows["triggers"]:
            events = {event for bit, event in _TRIGGER_BITS.items() if row["bits"] & bit}
            if "truncate" in events:
                events.add("truncate_cascade")
            name = ".".join(self.names.get(row["oid"], ("", "")))
            for function in (*self._unsafe([row["function"]]), *self._conditions(row["text"])):
                why = (
                    f"Trigger {row['name']} on {name} runs {function}, which is not known to be "
                    "safe: an administrator may list it in safe_functions."
                )
                self.hooks[row["oid"]].append(WriteHook(frozenset(events), why))
        cascades: dict[int, list[Cascade]] = defaultdict(list)
        for row in self.rows["foreign_keys"]:
            source = self.names.get(row["source"])
            if source is None:
                continue
            on_delete, on_update = (
                _ON_DELETE.get(row["on_delete"]),
                _ON_UPDATE.get(row["on_update"]),
            )
            found = cascades[row["target"]]
            found.append(Cascade("truncate_cascade", source, "truncate_cascade"))
            if on_delete is not None:
                found.append(Cascade("delete", source, on_delete))
            if on_update is not None:
                found.append(Cascade("update", source, on_update))
        for oid, found in cascades.items():
            if oid in self.names:
                self._change(oid, cascades=tuple(dict.fromkeys(found)))

    def _conditions(self, text: str) -> list[str]:
        """Unlisted functions of a trigger's WHEN; its own function is judged by OID."""
        raw = read_statement(text)
        if raw.reasons:
            return ["a condition that could not be read"]
        return [
            f"{ref.schema}.{ref.name}"
            for statement in raw.statements
            for ref in statement.deferred
            if not self._own_and_safe(f"{ref.schema}.{ref.name}")
            and f"{ref.schema}.{ref.name}" not in self.safe
            and not (ref.schema is None and ref.name in SAFE)
        ]

    def _change(self, oid: int, **changes: Any) -> None:
        schema, name = self.names[oid]
        self.relations[schema][name] = replace(self.relations[schema][name], **changes)

    def _finish(self, oid: int) -> None:
        """Settle what reading and writing `oid` runs, after everything that it depends on."""
        if oid in self.done:
            return
        self.done.add(oid)  # a cycle ends here: its other members carry the reasons
        hidden, hooks = list(self.hidden[oid]), list(self.hooks[oid])
        bases: set[Name] = set()
        target: Name | None = None
        for code in self.code[oid]:
            raw = read_statement(code.text)
            self._finish_used(raw)
            facts = resolve(raw, self._naming(code.allowed))
            label = f"{'.'.join(self.names[oid])}, {code.label}"
            reasons = [f"{label}: {why}" for why in (*facts.reasons, *self._unwritten(raw))]
            if code.reading:
                hidden += reasons
            hooks += [WriteHook(code.events, why) for why in reasons if code.events]
            if code.view:
                bases |= facts.reads
                target = sole_source(code.text)
        for child in self.children[oid]:
            if child in self.names:
                self._finish(child)
                found = self.base.relation(*self.names[child])
                if found is not None:
                    hidden += found.hidden
                    hooks += found.on_write
        if hidden or hooks or bases or target:
            self._change(
                oid,
                hidden=tuple(dict.fromkeys(hidden)),
                on_write=tuple(dict.fromkeys(hooks)),
                bases=frozenset(bases),
                target=target,
            )

    def _unwritten(self, raw: RawFacts) -> list[str]:
        """Which = is called where the text does not say is not to be told: any may be."""
        if not any(statement.equalities for statement in raw.statements):
            return []
        return [
            f"A comparison may call {function}, which is not known to be safe."
            for operator in self.base.operators.get("=", ())
            for function in sorted(operator.functions - self.safe)
        ]

    def _finish_used(self, raw: RawFacts) -> None:
        for statement in raw.statements:
            for use in statement.uses:
                schema, name = use.relation
                used = self.oids.get((schema or "pg_catalog", name))
                if used is not None:
                    self._finish(used)

    def _naming(self, allowed: frozenset[str] = frozenset()) -> Naming:
        """Names as the loader's own connection sees them: search_path = pg_catalog."""
        catalog = self.base
        if allowed:
            catalog = replace(catalog, safe_functions=self.safe | allowed)
        return Naming(catalog, ("pg_catalog",), "", frozenset())
