"""Every statement of the grammar, and what it is to policy.

`STATEMENTS` maps each node type to what reads it; a test enumerates the grammar. Invariant: a
statement that is not mapped is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from chaperon.facts import ask
from chaperon.facts.model import Effect
from chaperon.facts.queries import QUERIES, creates
from chaperon.facts.reader import HANDLERS, Handler, Node, Reader, ref_of
from chaperon.facts.session_statements import SESSION, everything, run

_RELATIONS: Final = frozenset(
    {
        "OBJECT_TABLE",
        "OBJECT_VIEW",
        "OBJECT_INDEX",
        "OBJECT_SEQUENCE",
        "OBJECT_MATVIEW",
        "OBJECT_FOREIGN_TABLE",
    }
)
_OF_RELATION: Final = frozenset(
    {"OBJECT_COLUMN", "OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY", "OBJECT_TABCONSTRAINT"}
)
_CHANGES = Effect.DDL | Effect.TEMP


class _Rule(NamedTuple):
    """A handler that is told the type of its node."""

    read: Callable[[Reader, Node, str], None]


def _define(kind: str, *also: str, bodies: bool = False) -> _Rule:
    """DDL: every relation in it is defined. `bodies`: its expressions only run later."""

    def read(r: Reader, node: Node, of: str) -> None:
        r.kinds.add(kind)
        r.effects |= _CHANGES
        r.literal = True
        r.alone.update(also)
        r.action = ask.DEFINE
        r.deferring = r.deferring or bodies
        r.children(of, node, "setstmt")
        if not any(use.action == ask.DEFINE for use in r.uses):
            r.alone.add(ask.DEFINE)

    return _Rule(read)


def _creates(kind: str, field: str, *, bodies: bool = True) -> _Rule:
    """DDL that makes the relation in `field`."""

    def read(r: Reader, node: Node, of: str) -> None:
        r.kinds.add(kind)
        r.literal = True
        creates(r, node.get(field, {}))
        r.action = ask.DEFINE
        r.deferring = r.deferring or bodies
        r.children(of, node, field, "partbound")
        if "partbound" in node:
            r.deferring = False
            r.children("PartitionBoundSpec", node["partbound"])

    return _Rule(read)


def _alone(kind: str, *actions: str, effects: Effect = Effect.NONE) -> _Rule:
    """A statement about the resource, without relations of its own."""

    def read(r: Reader, node: Node, of: str) -> None:
        r.kinds.add(kind)
        r.alone.update(actions)
        r.effects |= effects
        r.literal = True
        r.children(of, node, "setstmt")

    return _Rule(read)


def _on_relations(kind: str, action: str, effects: Effect = Effect.NONE) -> _Rule:
    """A statement about the relations that it names, or about all of them."""

    def read(r: Reader, node: Node, of: str) -> None:
        r.kinds.add(kind)
        r.effects |= effects
        r.literal = True
        r.action = action
        r.children(of, node)
        if not any(use.action == action for use in r.uses):
            r.alone.add(action)

    return _Rule(read)


def _unknown(kind: str, why: str) -> Handler:
    def read(r: Reader, _node: Node) -> None:
        r.kinds.add(kind)
        r.reasons.append(why)
        r.literal = True
        everything(r)

    return read


def _objects(r: Reader, kind: str, names: list[Node]) -> None:
    """Note a relation named by a list of strings; `kind` is an ObjectType."""
    if kind in _OF_RELATION:
        names = names[:-1]
    elif kind not in _RELATIONS:
        r.alone.add(ask.DEFINE)
        return
    ref = ref_of(names)
    if ref is None:
        r.reasons.append("A relation is named with its database: leave the database out.")
    else:
        r.relation({"schemaname": ref.schema, "relname": ref.name}, ask.DEFINE)


def _drop(r: Reader, node: Node) -> None:
    r.kinds.add("drop")
    r.effects |= _CHANGES
    r.literal = True
    for item in node.get("objects", []):
        _objects(r, node.get("removeType", ""), item.get("List", {}).get("items", []))
    if not r.uses:
        r.alone.add(ask.DEFINE)


def _about_object(kind: str, field: str) -> Handler:
    """COMMENT, SECURITY LABEL, ALTER … SET SCHEMA and the like, by relation or by name."""

    def read(r: Reader, node: Node) -> None:
        r.kinds.add(kind)
        r.effects |= _CHANGES
        r.literal = True
        if "relation" in node:
            r.relation(node["relation"], ask.DEFINE)
            return
        items = node.get("object", {}).get("List", {}).get("items", [])
        _objects(r, node.get(field, ""), items)

    return read


def _truncate(r: Reader, node: Node) -> None:
    r.kinds.add("truncate")
    r.unbounded = True
    cascade = node.get("behavior") == "DROP_CASCADE"
    events = {"truncate", "truncate_cascade"} if cascade else {"truncate"}
    for item in node.get("relations", []):
        r.relation(item.get("RangeVar", {}), ask.WRITE, frozenset(events))


def _copy(r: Reader, node: Node) -> None:
    incoming = node.get("is_from", False)
    r.kinds.add("copy_from" if incoming else "copy_to")
    r.literal = True
    if node.get("is_program"):
        r.kinds.add("copy_program")
        r.alone.add(ask.EXECUTE)
    elif "filename" in node:
        r.kinds.add("copy_file")
        r.alone.add(ask.EXECUTE)
    if "relation" in node:
        events = frozenset({"insert"}) if incoming else frozenset[str]()
        r.relation(node["relation"], ask.WRITE if incoming else ask.READ, events)
    if "query" in node:
        if not incoming:
            r.alone.add(ask.READ)
        r.wrapped(node["query"])
    r.children("CopyStmt", node, "relation", "query")


def _grant(r: Reader, node: Node) -> None:
    r.kinds.add("grant" if node.get("is_grant") else "revoke")
    r.effects |= Effect.DDL
    r.literal = True
    if node.get("targtype") == "ACL_TARGET_OBJECT" and node.get("objtype") in (
        "OBJECT_TABLE",
        "OBJECT_SEQUENCE",
    ):
        for item in node.get("objects", []):
            r.relation(item.get("RangeVar", {}), ask.GRANT)
    else:
        r.alone.add(ask.GRANT)


def _view(r: Reader, node: Node) -> None:
    r.kinds.add("create")
    r.literal = True
    creates(r, node.get("view", {}))
    r.deferring = True
    r.children("ViewStmt", node, "view")


def _table_as(r: Reader, node: Node) -> None:
    r.kinds.add("create")
    r.literal = True
    creates(r, node.get("into", {}).get("rel", {}))
    r.children("IntoClause", node.get("into", {}), "rel")
    query = node.get("query", {})
    run(r, query) if "ExecuteStmt" in query else r.wrapped(query)


def _rename(r: Reader, node: Node) -> None:
    r.kinds.add("alter")
    r.effects |= _CHANGES
    r.literal = True
    if "relation" in node:
        r.relation(node["relation"], ask.DEFINE)
    else:
        r.alone.add(ask.DEFINE)


def _schema(r: Reader, node: Node) -> None:
    r.kinds.add("create")
    r.effects |= _CHANGES
    r.literal = True
    r.alone.add(ask.DEFINE)
    if node.get("schemaElts"):
        r.reasons.append(
            "CREATE SCHEMA with objects in it: create them by statements of their own."
        )


def _refresh(r: Reader, node: Node) -> None:
    r.kinds.add("refresh")
    r.relation(node.get("relation", {}), ask.MAINTAIN, frozenset({"refresh"}))


def _secret_options(kind: str, *also: str, every: bool = False) -> _Rule:
    """DDL whose options may hold credentials; `every`: each but the user's name is one."""
    define = _define(kind, *also)

    def read(r: Reader, node: Node, of: str) -> None:
        for item in node.get("options", []):
            option = item.get("DefElem", {})
            name = option.get("defname", "").lower()
            if "String" in option.get("arg", {}) and (
                (every and name != "user") or any(part in name for part in SECRET_WORDS)
            ):
                r.secret_options += 1
        if "conninfo" in node:
            r.secret_options += 1
        define.read(r, node, of)

    return _Rule(read)


SECRET_WORDS: Final = ("pass", "secret", "token", "credential", "key")
"""Parts of option names that stand before a secret."""

_DO = "DO runs code that is not looked into: send its statements themselves, or have it allowed."
_CALL = "CALL runs a procedure with unknown effects: an administrator may allow sql.unknown."

_TABLE: Final[dict[str, Handler | _Rule]] = {
    **QUERIES,
    **SESSION,
    "TruncateStmt": _truncate,
    "CopyStmt": _copy,
    "DoStmt": _unknown("do", _DO),
    "CallStmt": _unknown("call", _CALL),
    "RawStmt": _unknown("unknown", "A statement inside a statement."),
    "SetOperationStmt": _unknown("unknown", "A part of a query alone."),
    "ReturnStmt": _unknown("unknown", "RETURN outside a function's body."),
    "PLAssignStmt": _unknown("unknown", "An assignment outside a function's body."),
    "ViewStmt": _view,
    "CreateTableAsStmt": _table_as,
    "CreateStmt": _creates("create", "relation"),
    "CreateForeignTableStmt": _define("create", bodies=True),
    "CreateSeqStmt": _creates("create", "sequence"),
    "CompositeTypeStmt": _creates("create", "typevar"),
    "CreateSchemaStmt": _schema,
    "CreateDomainStmt": _define("create", bodies=True),
    "CreateEnumStmt": _define("create"),
    "CreateRangeStmt": _define("create"),
    "CreateFunctionStmt": _define("create", bodies=True),
    "CreateTrigStmt": _define("create", bodies=True),
    "CreateEventTrigStmt": _define("create", bodies=True),
    "CreatePolicyStmt": _define("create", ask.GRANT, bodies=True),
    "AlterPolicyStmt": _define("alter", ask.GRANT, bodies=True),
    "RuleStmt": _define("create", bodies=True),
    "CreatePLangStmt": _define("create", ask.EXECUTE),
    "CreateAmStmt": _define("create", ask.EXECUTE),
    "CreateCastStmt": _define("create"),
    "CreateConversionStmt": _define("create"),
    "CreateTransformStmt": _define("create"),
    "CreateOpClassStmt": _define("create"),
    "CreateOpFamilyStmt": _define("create"),
    "CreateStatsStmt": _define("create"),
    "CreatePublicationStmt": _define("create", bodies=True),
    "CreateSubscriptionStmt": _secret_options("create", ask.EXECUTE),
    "CreateTableSpaceStmt": _define("create", ask.EXECUTE),
    "CreateExtensionStmt": _define("create", ask.EXECUTE),
    "CreateFdwStmt": _secret_options("create", ask.EXECUTE),
    "CreateForeignServerStmt": _secret_options("create", ask.EXECUTE),
    "CreateUserMappingStmt": _secret_options("create", ask.GRANT, every=True),
    "ImportForeignSchemaStmt": _define("create", ask.EXECUTE),
    "CreatedbStmt": _define("create"),
    "CreateRoleStmt": _secret_options("create_role", ask.GRANT),
    "DefineStmt": _define("create"),
    "IndexStmt": _define("create"),
    "AlterTableStmt": _define("alter"),
    "AlterTableMoveAllStmt": _define("alter"),
    "AlterTableSpaceOptionsStmt": _define("alter"),
    "AlterCollationStmt": _define("alter"),
    "AlterDatabaseRefreshCollStmt": _define("alter"),
    "AlterDatabaseSetStmt": _define("alter", ask.GRANT),
    "AlterDatabaseStmt": _define("alter"),
    "AlterDefaultPrivilegesStmt": _alone("grant", ask.GRANT, effects=Effect.DDL),
    "AlterDomainStmt": _define("alter"),
    "AlterEnumStmt": _define("alter"),
    "AlterEventTrigStmt": _define("alter"),
    "AlterExtensionContentsStmt": _define("alter"),
    "AlterExtensionStmt": _define("alter", ask.EXECUTE),
    "AlterFdwStmt": _secret_options("alter", ask.EXECUTE),
    "AlterForeignServerStmt": _secret_options("alter", ask.EXECUTE),
    "AlterFunctionStmt": _define("alter"),
    "AlterObjectDependsStmt": _about_object("alter", "objectType"),
    "AlterObjectSchemaStmt": _about_object("alter", "objectType"),
    "AlterOpFamilyStmt": _define("alter"),
    "AlterOperatorStmt": _define("alter"),
    "AlterOwnerStmt": _about_object("alter", "objectType"),
    "AlterPublicationStmt": _define("alter", bodies=True),
    "AlterRoleSetStmt": _alone("alter_role", ask.GRANT, effects=Effect.DDL),
    "AlterRoleStmt": _secret_options("alter_role", ask.GRANT),
    "AlterSeqStmt": _define("alter"),
    "AlterStatsStmt": _define("alter"),
    "AlterSubscriptionStmt": _secret_options("alter", ask.EXECUTE),
    "AlterSystemStmt": _alone("alter_system", ask.CONFIGURE),
    "AlterTSConfigurationStmt": _define("alter"),
    "AlterTSDictionaryStmt": _define("alter"),
    "AlterTypeStmt": _define("alter"),
    "AlterUserMappingStmt": _secret_options("alter", ask.GRANT, every=True),
    "RenameStmt": _rename,
    "CommentStmt": _about_object("comment", "objtype"),
    "SecLabelStmt": _about_object("security_label", "objtype"),
    "DropStmt": _drop,
    "DropOwnedStmt": _define("drop", ask.GRANT),
    "DropRoleStmt": _alone("drop_role", ask.GRANT, effects=Effect.DDL),
    "DropSubscriptionStmt": _define("drop", ask.EXECUTE),
    "DropTableSpaceStmt": _define("drop"),
    "DropUserMappingStmt": _define("drop", ask.GRANT),
    "DropdbStmt": _define("drop"),
    "ReassignOwnedStmt": _define("alter", ask.GRANT),
    "GrantStmt": _grant,
    "GrantRoleStmt": _alone("grant", ask.GRANT, effects=Effect.DDL),
    "ReplicaIdentityStmt": _define("alter"),
    "LockStmt": _on_relations("lock", ask.LOCK),
    "VacuumStmt": _on_relations("vacuum", ask.MAINTAIN),
    "ClusterStmt": _on_relations("cluster", ask.MAINTAIN),
    "ReindexStmt": _on_relations("reindex", ask.MAINTAIN, Effect.DDL),
    "RefreshMatViewStmt": _refresh,
    "CheckPointStmt": _alone("checkpoint", ask.MAINTAIN),
    "ListenStmt": _alone("listen", ask.NOTIFY),
    "UnlistenStmt": _alone("unlisten", ask.NOTIFY),
    "NotifyStmt": _alone("notify", ask.NOTIFY),
    "LoadStmt": _alone("load", ask.EXECUTE),
}


def _bind(of: str, rule: Handler | _Rule) -> Handler:
    if not isinstance(rule, _Rule):
        return rule
    read = rule.read
    return lambda r, node: read(r, node, of)


STATEMENTS: Final[dict[str, Handler]] = {of: _bind(of, h) for of, h in _TABLE.items()}
"""Node type → what reads it as a statement."""

HANDLERS.update({of: h for of, h in STATEMENTS.items() if of not in QUERIES and of != "ReturnStmt"})
