"""A small catalog for the tests of facts, made by hand."""

from __future__ import annotations

from chaperon.facts.catalog import Cascade, Catalog, Function, Operator, Relation, WriteHook
from chaperon.facts.model import SqlFacts
from chaperon.facts.names import Naming, resolve
from chaperon.facts.sql import read_statement

TRIGGER = WriteHook(frozenset({"insert", "update"}), "a trigger runs public.trg")

CATALOG = Catalog(
    epoch=1,
    schemas=frozenset({"public", "other", "pg_catalog", "information_schema"}),
    relations={
        "public": {
            "orders": Relation("r", ("id", "customer_id", "total", "note")),
            "customers": Relation(
                "r",
                ("id", "name", "ssn"),
                cascades=(
                    Cascade("delete", ("public", "orders"), "delete"),
                    Cascade("truncate_cascade", ("public", "orders"), "truncate_cascade"),
                ),
            ),
            "audited": Relation("r", ("id",), on_write=(TRIGGER,)),
            "v_orders": Relation(
                "v", bases=frozenset({("public", "orders")}), target=("public", "orders")
            ),
            "v_evil": Relation(
                "v", hidden=("the view runs public.evil",), bases=frozenset({("public", "orders")})
            ),
            "shared": Relation("r"),
        },
        "other": {"orders": Relation("r"), "shared": Relation("r"), "only": Relation("r")},
        "pg_catalog": {
            "pg_class": Relation("r"),
            "pg_stat_activity": Relation("v"),
            "pg_settings": Relation("v"),
        },
        "information_schema": {"tables": Relation("v")},
    },
    functions={
        "evil": (Function("public", row=True, single=True),),
        "listed": (Function("public", row=False, single=True),),
        "lower": (Function("other", row=False, single=True),),
        "total_of": (Function("public", row=True, single=True),),
    },
    operators={
        "===": (Operator("public", frozenset({"public.evil"})),),
        "=": (Operator("other", frozenset({"other.equal"})),),
        "<=": (Operator("other", frozenset({"other.less"})),),
        "~~": (Operator("other", frozenset({"other.like"})),),
    },
    types={
        "bad": {"public": ("Type public.bad runs public.evil",)},
        "mood": {"public": ()},
        "hidden_type": {"other": ("Type other.hidden_type runs code",)},
    },
    usage={"app": frozenset({"public", "other", "pg_catalog", "information_schema"})},
    safe_functions=frozenset({"public.listed"}),
)

NAMING = Naming(CATALOG, ("pg_catalog", "public"), "app")


def facts_of(sql: str, naming: Naming = NAMING) -> SqlFacts:
    """The facts of `sql` in this world."""
    return resolve(read_statement(sql), naming)


def asked(sql: str, naming: Naming = NAMING) -> set[str]:
    """The asks of `sql` as words: "read public.orders", "session"."""
    return {
        " ".join([a.action.removeprefix("sql."), ".".join(a.path)]).strip()
        for a in facts_of(sql, naming).asks()
    }
