"""The vocabulary of policies: what a protocol says of itself, and the Cedar schema made from it.

Invariant: names of actions, entity types and facts come from a `Vocabulary` and from nowhere else,
so a policy that validates can only speak of what a decision will fill in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from chaperon.wire.errors import ConfigError
from chaperon.wire.principal import PrincipalKind

GENERAL: Final = (
    "connect",
    "read",
    "write",
    "define",
    "grant",
    "execute",
    "call",
    "tunnel",
    "transfer",
    "see",
    "unknown",
)
"""The action groups that hold for every protocol (ACCESS.md). `connect` is an action as well."""

CONNECT: Final = "connect"
RESOURCE: Final = "Resource"
_KINDS: Final = tuple(kind.value for kind in PrincipalKind)
_CEDAR: Final = {"set": "Set<String>", "bool": "Bool", "long": "Long", "string": "String"}
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Fact:
    """One attribute of `context.statement`.

    `values`, or else `pattern` (a full match) with `hint`, are the texts that it can hold: a policy
    that looks for any other would never match. `keyed`: the verdict cache's key settles the fact.
    """

    name: str
    type: Literal["set", "bool", "long", "string"]
    values: frozenset[str] = frozenset()
    pattern: str = ""
    hint: str = ""
    keyed: bool = True


@dataclass(frozen=True, slots=True)
class Action:
    """A concrete action: the general groups that it is in, what it is asked on, and words for it.

    `phrase` completes "may not …", as in "read" or "change the definition of". `on` are entity
    types, `Resource` or one of the vocabulary's levels.
    """

    name: str
    groups: tuple[str, ...]
    phrase: str
    on: tuple[str, ...] = (RESOURCE,)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What one family of protocols can be asked.

    `levels` are the entity types inside a resource, outermost first: an `Ask.path` of length n is
    an entity of type `levels[n - 1]`. Protocols that share a vocabulary share the object.
    """

    statement: str
    levels: tuple[str, ...]
    actions: tuple[Action, ...]
    facts: tuple[Fact, ...]


def entity_id(resource: str, path: Iterable[str]) -> str:
    """The id of a thing inside a resource: its parts joined by `/`, `/` and `%` in them escaped.

    One id for one path, whatever characters names have: ("a/b",) and ("a", "b") differ.
    """
    return "/".join((resource, *(part.replace("%", "%25").replace("/", "%2F") for part in path)))


class Schema:
    """Everything that policies of a gateway may speak of. Immutable once made."""

    def __init__(self, vocabularies: Mapping[str, Vocabulary]) -> None:
        """`vocabularies` by protocol name. Raises ConfigError where two of them disagree."""
        self.by_protocol = dict(vocabularies)
        self.actions: dict[str, Action] = {}
        self.facts: dict[str, Fact] = {}
        self.levels: dict[str, int] = {}
        self._statement_of: dict[str, str] = {}
        distinct = list({id(v): v for v in vocabularies.values()}.values())
        for vocabulary in distinct:
            self._add(vocabulary)
        self._distinct = tuple(distinct)

    def _add(self, vocabulary: Vocabulary) -> None:
        for name in (vocabulary.statement, *vocabulary.levels, *(f.name for f in vocabulary.facts)):
            if not _IDENTIFIER.match(name):
                raise ConfigError(f"vocabulary: {name!r} is no Cedar identifier; rename it.")
        for action in vocabulary.actions:
            if action.name in self.actions or action.name in GENERAL:
                raise ConfigError(f"vocabulary: the action {action.name!r} is defined twice.")
            if not action.groups or not set(action.groups) <= set(GENERAL):
                raise ConfigError(f"vocabulary: {action.name!r} is in no or in unknown groups.")
            self.actions[action.name] = action
            self._statement_of[action.name] = vocabulary.statement
        for depth, level in enumerate(vocabulary.levels, start=1):
            if self.levels.setdefault(level, depth) != depth:
                raise ConfigError(f"vocabulary: the entity type {level!r} is at two levels.")
        for fact in vocabulary.facts:
            if self.facts.setdefault(fact.name, fact) != fact:
                raise ConfigError(f"vocabulary: the fact {fact.name!r} is defined in two ways.")

    @property
    def entity_types(self) -> frozenset[str]:
        """Every entity type that a policy may name."""
        return frozenset((*_KINDS, "Group", "Action", RESOURCE, *self.levels))

    @property
    def action_ids(self) -> frozenset[str]:
        """Every action and action group that a policy may name."""
        return frozenset((*GENERAL, *self.actions))

    def action_entities(self) -> list[dict[str, object]]:
        """The actions with their groups, in Cedar's JSON form for entities."""
        general = [_action_entity(name, ()) for name in GENERAL]
        return general + [_action_entity(a.name, a.groups) for a in self.actions.values()]

    @cached_property
    def text(self) -> str:
        """The schema in Cedar's own notation."""
        lines = ["entity Group;"]
        lines += [f"entity {kind} in [Group] {{ name: String }};" for kind in _KINDS]
        lines += [f"entity {RESOURCE} {{ name: String }};"]
        for vocabulary in self._distinct:
            lines += _text_of(vocabulary)
        principals = ", ".join(_KINDS)
        groups = ", ".join(name for name in GENERAL if name != CONNECT)
        lines.append(f"action {groups};")
        lines.append(
            f"action {CONNECT} appliesTo {{ principal: [{principals}], resource: [{RESOURCE}], "
            f"context: {{}} }};"
        )
        for action in self.actions.values():
            lines.append(
                f'action "{action.name}" in [{", ".join(action.groups)}] appliesTo {{ '
                f"principal: [{principals}], resource: [{', '.join(action.on)}], "
                f"context: {{ statement: {self._statement_of[action.name]} }} }};"
            )
        return "\n".join(lines) + "\n"

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def _action_entity(name: str, groups: Iterable[str]) -> dict[str, object]:
    parents = [{"type": "Action", "id": group} for group in groups]
    return {"uid": {"type": "Action", "id": name}, "attrs": {}, "parents": parents}


def _text_of(vocabulary: Vocabulary) -> list[str]:
    above = RESOURCE
    lines = []
    for level in vocabulary.levels:
        lines.append(f"entity {level} in [{above}] {{ name: String, path: String }};")
        above = level
    facts = ", ".join(f"{fact.name}: {_CEDAR[fact.type]}" for fact in vocabulary.facts)
    return [*lines, f"type {vocabulary.statement} = {{ {facts} }};"]
