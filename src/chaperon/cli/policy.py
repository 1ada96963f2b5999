"""`chaperon policy`: whether the policies can be loaded, and what they say to one statement."""

from __future__ import annotations

import asyncio
import secrets
import sys
from pathlib import Path

from chaperon.cli.deployment import configuration, known
from chaperon.cli.exits import CommandFailed, Exit
from chaperon.cli.output import Style, paint, print_json, safe_lines, say
from chaperon.config import Config
from chaperon.policy import explain as policies
from chaperon.policy.load import load_policies, names_of
from chaperon.policy.model import Question
from chaperon.policy.schema import Schema
from chaperon.protocols.registry import REGISTRY
from chaperon.wire.ask import Ask
from chaperon.wire.errors import UpstreamUnavailable
from chaperon.wire.principal import Principal

_LARGEST_STATEMENT = 64 << 20


def schema() -> Schema:
    """What policies of any protocol may speak of."""
    return Schema({name: spec.vocabulary for name, spec in REGISTRY.items()})


def check(given: Path | None, *, json: bool) -> None:
    """Load the policies and say how many there are. Raises ConfigError with every problem."""
    config = configuration(given)
    report = policies.check(config.policies, schema(), config)
    if json:
        print_json(
            {
                "hash": report.hash,
                "policies": [
                    {"id": policy.id, "effect": policy.effect, "where": policy.where}
                    for policy in report.policies
                ],
                "cacheable": report.cacheable,
                "warnings": list(report.warnings),
            }
        )
        return
    number = len(report.policies)
    say(f"{config.policies} is in order: {number} {'policy' if number == 1 else 'policies'}.")
    say(f"hash         {report.hash}")
    for warning in report.warnings:
        say(f"{paint('warning:', Style.YELLOW)} {safe_lines(warning)}")


def explain(
    given: Path | None, principal: str, resource: str, statement: str, *, json: bool
) -> None:
    """Print how `statement` would be decided. Raises SystemExit where it would be denied."""
    config = configuration(given)
    principals = config.principals()
    known("principal", principal, principals, "identity.local")
    known("resource", resource, config.resources, "resources")
    text = _statement(statement)
    explanation, may_connect = asyncio.run(
        _explained(config, principals[principal], resource, text)
    )
    if json:
        print_json({**explanation.as_json(), "may_connect": may_connect})
    else:
        say(safe_lines(policies.render(explanation)))
        if not may_connect:
            say()
            say(paint(f"{principal} may not connect to {resource} at all.", Style.RED))
    if not (explanation.allowed and may_connect):
        raise SystemExit(Exit.DENIED)


async def _explained(
    config: Config, principal: Principal, resource: str, text: str
) -> tuple[policies.Explanation, bool]:
    """The explanation, and whether the principal may connect in the first place."""
    loaded = load_policies(config.policies, schema(), names_of(config))
    target = config.resources[resource]
    spec = REGISTRY[target.protocol]
    try:
        operation = await spec.target.statement(target.upstream, text)
    except UpstreamUnavailable as error:
        what, _, remedy = str(error).partition("\n")
        raise CommandFailed(
            Exit.FAILED, f"What names mean is the target's to say, and {what}.", remedy
        ) from None
    service = spec.service({resource: target}, secrets.token_bytes)
    try:
        question = await service.question(principal, resource, operation)
    finally:
        await service.close()
    connect = Question(principal, resource, target.protocol, (Ask("connect"),))
    return policies.explain(loaded, question), loaded.evaluate(connect).allowed


def _statement(argument: str) -> str:
    if argument != "-":
        return argument
    raw = sys.stdin.buffer.read(_LARGEST_STATEMENT + 1)
    if len(raw) > _LARGEST_STATEMENT:
        raise CommandFailed(Exit.USAGE, "The statement is longer than 64 MiB.", "Shorten it.")
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise CommandFailed(
            Exit.USAGE, "The statement on standard input is not UTF-8.", "Convert it first."
        ) from None
