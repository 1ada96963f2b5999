"""From a question to Cedar's entities and requests. Every key is ours, names from outside values.

Cedar honours `{"__entity": …}` wherever a value may stand, so facts are rebuilt here by the types
of the schema: a text, a truth value, a number or a list of texts, and nothing else.
"""

from __future__ import annotations

import json
from typing import TypedDict

import cedarpy

from chaperon.policy.model import Json, Question
from chaperon.policy.schema import CONNECT, RESOURCE, Fact, Schema, Vocabulary, entity_id
from chaperon.wire.ask import Ask
from chaperon.wire.principal import Principal

_MOST_SCOPES = 1024


class Uid(TypedDict):
    """An entity's name in Cedar's JSON form."""

    type: str
    id: str


Request = dict[str, Uid | str]
"""principal, action, resource, and the context as JSON text, written once for all asks."""


class Unaskable(Exception):
    """The question does not fit the schema: a bug of whoever made it, and a denial."""


class Requests:
    """Builds requests for one schema. Entities that a session repeats are parsed once."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._actions = cedarpy.Entities.from_json_str(json.dumps(schema.action_entities()))
        self._known_actions = frozenset((*schema.actions, CONNECT))
        self._scopes: dict[tuple[Principal, str], cedarpy.Entities] = {}

    def build(
        self, question: Question, asks: tuple[Ask, ...]
    ) -> tuple[list[Request], cedarpy.Entities]:
        """The request of each of `asks`, in order, and the entities for all.

        Raises Unaskable, or ValueError where Cedar does not take a name.
        """
        vocabulary = self._schema.by_protocol.get(question.protocol)
        if vocabulary is None:
            raise Unaskable(f"the protocol {question.protocol!r} has no vocabulary")
        principal = _uid(question.principal.kind.value, question.principal.name)
        context = _context(question.statement, vocabulary.facts)
        requests: list[Request] = []
        inside: dict[tuple[str, ...], None] = {}
        for ask in asks:
            if ask.action not in self._known_actions:
                raise Unaskable(f"the action {ask.action!r} is in no vocabulary")
            target = _target(question.resource, ask, vocabulary)
            requests.append(
                {
                    "principal": principal,
                    "action": _uid("Action", ask.action),
                    "resource": target,
                    # `connect` has no statement in the schema, whatever else is asked with it.
                    "context": "{}" if ask.action == CONNECT else context,
                }
            )
            for length in range(1, len(ask.path) + 1):
                inside[ask.path[:length]] = None
        entities = self._scope(question.principal, question.resource)
        if inside:
            added = [_entity(question.resource, path, vocabulary) for path in inside]
            entities = entities.with_added_json_str(json.dumps(added))
        return requests, entities

    def _scope(self, principal: Principal, resource: str) -> cedarpy.Entities:
        """The actions, the principal with its groups, and the resource."""
        key = (principal, resource)
        known = self._scopes.get(key)
        if known is None:
            if len(self._scopes) >= _MOST_SCOPES:
                self._scopes.clear()
            groups = [_uid("Group", name) for name in sorted(principal.groups)]
            own = _uid(principal.kind.value, principal.name)
            added = [
                {"uid": own, "attrs": {"name": principal.name}, "parents": groups},
                {"uid": _uid(RESOURCE, resource), "attrs": {"name": resource}, "parents": []},
                *({"uid": group, "attrs": {}, "parents": []} for group in groups),
            ]
            known = self._actions.with_added_json_str(json.dumps(added))
            self._scopes[key] = known
        return known


def _uid(kind: str, name: str) -> Uid:
    return {"type": kind, "id": name}


def _target(resource: str, ask: Ask, vocabulary: Vocabulary) -> Uid:
    depth = len(ask.path)
    if depth == 0:
        return _uid(RESOURCE, resource)
    if depth > len(vocabulary.levels):
        raise Unaskable(f"a path of {depth} parts has no entity type")
    return _uid(vocabulary.levels[depth - 1], entity_id(resource, ask.path))


def _entity(resource: str, path: tuple[str, ...], vocabulary: Vocabulary) -> dict[str, object]:
    depth = len(path)
    above = RESOURCE if depth == 1 else vocabulary.levels[depth - 2]
    return {
        "uid": _uid(vocabulary.levels[depth - 1], entity_id(resource, path)),
        "attrs": {"name": path[-1], "path": ".".join(path)},
        "parents": [_uid(above, entity_id(resource, path[:-1]))],
    }


def _context(statement: object, facts: tuple[Fact, ...]) -> str:
    if statement is None:
        return "{}"
    if not isinstance(statement, dict):
        raise Unaskable("the facts are no mapping")
    if len(statement) != len(facts):
        odd = set(statement) ^ {fact.name for fact in facts}
        raise Unaskable(f"facts missing or unknown: {', '.join(sorted(map(str, odd)))}")
    return json.dumps({"statement": {f.name: _value(statement.get(f.name), f) for f in facts}})


def _value(value: object, fact: Fact) -> Json:
    match fact.type, value:
        case "bool", bool():
            return value
        case "long", int() if not isinstance(value, bool):
            return value
        case "string", str():
            return value
        case "set", list() | tuple() | set() | frozenset():
            if all(isinstance(item, str) for item in value):
                return list(value)
    raise Unaskable(f"the fact {fact.name!r} is missing or of another type")
