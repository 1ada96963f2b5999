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
from chaperon.protocols.probe import Finding, Level
from chaperon.protocols.registry import REGISTRY
from chaperon.wire.ask import Ask
from chaperon.wire.errors import ConfigError
from chaperon.wire.principal import Principal, PrincipalKind

_SUBJECT = "policies"
_CONNECT = Ask("connect")
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
    protocol = config.resources[resource].protocol
    if loaded.evaluate(Question(_STRANGER, resource, protocol, (_CONNECT,))).allowed:
        yield Finding(
            Level.WARN,
            _SUBJECT,
            f"whoever has a token may connect to {resource}, whatever their groups",
            "Name a principal or a group in the permit.",
        )
    vocabulary = REGISTRY[protocol].vocabulary
    # The facts of a statement that a careful policy would stop at.
    worst = {fact.name: _WORST[fact.type] for fact in vocabulary.facts}
    every = tuple(Ask(action.name) for action in vocabulary.actions)
    boundless = [
        principal.name
        for principal in config.principals().values()
        if loaded.evaluate(Question(principal, resource, protocol, every, worst)).allowed
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
        if not any(
            loaded.evaluate(Question(principal, name, resource.protocol, (_CONNECT,))).allowed
            for name, resource in config.resources.items()
        )
    ]
    if locked_out and config.resources:
        yield Finding(
            Level.WARN,
            _SUBJECT,
            f"may connect nowhere: {', '.join(sorted(locked_out))}",
            'Permit Action::"connect" to them or to a group that they are in.',
        )
