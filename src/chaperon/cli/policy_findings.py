"""What `doctor` says of the policies: do they load, do they say something, do they permit too much.

Asked of the policies themselves, as a decision would ask, and not guessed from their texts.
"""

from __future__ import annotations

from collections.abc import Iterator

from chaperon.cli.policy import schema
from chaperon.config import Config
from chaperon.policy import explain as policies
from chaperon.policy.decision import PolicySet
from chaperon.policy.load import load_policies, names_of
from chaperon.policy.model import Json, Question
from chaperon.policy.schema import Vocabulary
from chaperon.protocols.probe import Finding, Level
from chaperon.protocols.registry import REGISTRY
from chaperon.wire.ask import Ask
from chaperon.wire.errors import ConfigError
from chaperon.wire.principal import Principal, PrincipalKind

_SUBJECT = "policies"
_STRANGER = Principal(PrincipalKind.AGENT, "somebody-whom-no-policy-names")
_WORST: dict[str, Json] = {"set": (), "bool": True, "long": 1, "string": ""}


def examine(config: Config) -> Iterator[Finding]:
    """Load the policies and ask them about every principal and resource. Raises nothing."""
    try:
        report = policies.check(config.policies, schema(), config)
        loaded = load_policies(config.policies, schema(), names_of(config))
    except ConfigError as error:
        what, _, remedy = str(error).partition("\n")
        yield Finding(Level.FAIL, _SUBJECT, what, remedy)
        return
    yield Finding(Level.OK, _SUBJECT, f"{len(report.policies)} in {config.policies}")
    for warning in report.warnings:
        yield Finding(Level.WARN, _SUBJECT, warning, "See docs/policy.md.")
    for resource in config.resources:
        yield from _too_much(config, loaded, resource)
    yield from _nothing(config, loaded)


def _too_much(config: Config, loaded: PolicySet, resource: str) -> Iterator[Finding]:
    if _may(config, loaded, _STRANGER, resource, "connect"):
        yield Finding(
            Level.WARN,
            _SUBJECT,
            f"whoever has a token may connect to {resource}, whatever their groups",
            "Name a principal or a group in the permit.",
        )
    vocabulary = REGISTRY[config.resources[resource].protocol].vocabulary
    boundless = [
        principal.name
        for principal in config.principals().values()
        if all(
            _may(config, loaded, principal, resource, action.name, _worst(vocabulary))
            for action in vocabulary.actions
        )
    ]
    if boundless:
        yield Finding(
            Level.WARN,
            _SUBJECT,
            f"may do everything on {resource}, also what could not be understood: "
            f"{', '.join(sorted(boundless))}",
            'Permit actions by name, and leave out Action::"unknown".',
        )


def _nothing(config: Config, loaded: PolicySet) -> Iterator[Finding]:
    locked_out = [
        principal.name
        for principal in config.principals().values()
        if not any(_may(config, loaded, principal, name, "connect") for name in config.resources)
    ]
    if locked_out and config.resources:
        yield Finding(
            Level.WARN,
            _SUBJECT,
            f"may connect nowhere: {', '.join(sorted(locked_out))}",
            'Permit Action::"connect" to them or to a group that they are in.',
        )


def _may(
    config: Config,
    loaded: PolicySet,
    principal: Principal,
    resource: str,
    action: str,
    statement: dict[str, Json] | None = None,
) -> bool:
    protocol = config.resources[resource].protocol
    asks = (Ask(action),)
    return loaded.evaluate(Question(principal, resource, protocol, asks, statement)).allowed


def _worst(vocabulary: Vocabulary) -> dict[str, Json]:
    """Facts of a statement that a careful policy would stop at."""
    return {fact.name: _WORST[fact.type] for fact in vocabulary.facts}
