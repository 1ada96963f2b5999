"""`chaperon check`: everything that can be said of a configuration without connecting anywhere."""

from __future__ import annotations

from pathlib import Path

from chaperon.cli.deployment import configuration
from chaperon.cli.output import Style, note, paint, print_json, safe_lines, say
from chaperon.cli.policy import schema
from chaperon.policy import explain as policies
from chaperon.wire.errors import ConfigError


def run(given: Path | None, *, json: bool) -> None:
    """Say that it is in order, and what of it is. Raises ConfigError with every problem found."""
    config = configuration(given)
    problems = []
    for name, resource in config.resources.items():
        password = resource.upstream.password
        try:
            if password is not None:
                password.resolve()
        except ConfigError as error:
            problems.append(f"resources.{name}: {error}")
    report = policies.check(config.policies, schema(), config)
    if json:
        print_json(
            {
                "config": str(config.path),
                "listeners": [listener.address for listener in config.listeners],
                "resources": list(config.resources),
                "principals": list(config.principals()),
                "policies": len(report.policies),
                "policy_hash": report.hash,
                "warnings": [*report.warnings, *problems],
            }
        )
        return
    say(f"{config.path} is in order.")
    say(f"listeners    {', '.join(listener.address for listener in config.listeners)}")
    say(f"resources    {', '.join(config.resources) or 'none'}")
    say(f"principals   {', '.join(config.principals()) or 'none'}")
    say(f"policies     {len(report.policies)} in {config.policies}")
    # Secrets may be there only where the gateway runs, so their absence here is no failure.
    for warning in (*report.warnings, *problems):
        note(f"{paint('warning:', Style.YELLOW)} {safe_lines(warning)}")
