"""`RawFacts` as JSON and back, for the pipe between the gateway and its parsing helper.

Plain JSON and no pickle: the helper reads hostile text with a C parser, so what comes back is data.
Invariant: `decode(encode(facts)) == facts`; anything malformed raises ValueError.
"""

from __future__ import annotations

import json
from typing import Any

from chaperon.facts.model import Cursor, Effect, Prepared, RawFacts, RawStatement, Ref, Use


def encode(facts: RawFacts) -> bytes:
    """UTF-8 JSON of `facts`."""
    return json.dumps(_facts_out(facts), separators=(",", ":")).encode()


def decode(data: bytes) -> RawFacts:
    """The inverse of `encode`. Raises ValueError."""
    try:
        return _facts_in(json.loads(data))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"malformed facts: {error!r}") from error


def _facts_out(facts: RawFacts) -> dict[str, Any]:
    return {
        "statements": [_statement_out(statement) for statement in facts.statements],
        "reasons": facts.reasons,
        "kinds": sorted(facts.kinds),
        "secrets": facts.secrets,
        "large": facts.large,
    }


def _facts_in(data: dict[str, Any]) -> RawFacts:
    return RawFacts(
        statements=tuple(_statement_in(item) for item in data["statements"]),
        reasons=_strings(data["reasons"]),
        kinds=frozenset(_strings(data["kinds"])),
        secrets=tuple((int(start), int(end)) for start, end in data["secrets"]),
        large=bool(data["large"]),
    )


def _statement_out(raw: RawStatement) -> dict[str, Any]:
    return {
        "kinds": sorted(raw.kinds),
        "uses": [[use.action, *use.relation, sorted(use.events)] for use in raw.uses],
        "alone": sorted(raw.alone),
        "functions": list(raw.functions),
        "operators": list(raw.operators),
        "equalities": raw.equalities,
        "types": list(raw.types),
        "attributes": list(raw.attributes),
        "deferred": list(raw.deferred),
        "unbounded": raw.unbounded,
        "literal_dependent": raw.literal_dependent,
        "reasons": raw.reasons,
        "effects": raw.effects.value,
        "prepares": [[name, _facts_out(inner)] for name, inner in raw.prepares],
        "executes": raw.executes,
        "deallocates": raw.deallocates,
        "declares": [[name, _facts_out(inner), hold] for name, inner, hold in raw.declares],
        "fetches": raw.fetches,
        "closes": raw.closes,
    }


def _statement_in(data: dict[str, Any]) -> RawStatement:
    return RawStatement(
        kinds=frozenset(_strings(data["kinds"])),
        uses=tuple(
            Use(str(action), _ref(schema, name), frozenset(_strings(events)))
            for action, schema, name, events in data["uses"]
        ),
        alone=frozenset(_strings(data["alone"])),
        functions=frozenset(_ref(*pair) for pair in data["functions"]),
        operators=frozenset(_ref(*pair) for pair in data["operators"]),
        equalities=bool(data["equalities"]),
        types=frozenset(_ref(*pair) for pair in data["types"]),
        attributes=frozenset((str(name), bool(row)) for name, row in data["attributes"]),
        deferred=frozenset(_ref(*pair) for pair in data["deferred"]),
        unbounded=bool(data["unbounded"]),
        literal_dependent=bool(data["literal_dependent"]),
        reasons=_strings(data["reasons"]),
        effects=Effect(data["effects"]),
        prepares=tuple(Prepared(str(name), _facts_in(inner)) for name, inner in data["prepares"]),
        executes=_strings(data["executes"]),
        deallocates=_names(data["deallocates"]),
        declares=tuple(
            Cursor(str(name), _facts_in(inner), bool(hold))
            for name, inner, hold in data["declares"]
        ),
        fetches=_strings(data["fetches"]),
        closes=_names(data["closes"]),
    )


def _strings(items: list[Any]) -> tuple[str, ...]:
    return tuple(str(item) for item in items)


def _names(items: list[Any]) -> tuple[str | None, ...]:
    return tuple(None if item is None else str(item) for item in items)


def _ref(schema: Any, name: Any) -> Ref:
    return Ref(None if schema is None else str(schema), str(name))
