"""Finds the configuration that a command is about, and reaches its gateway or its store."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection
from pathlib import Path

from chaperon.cli.exits import CommandFailed, Exit
from chaperon.config import Config, load_config
from chaperon.protocols.registry import REGISTRY

DEFAULT = Path("chaperon.yaml")
VARIABLE = "CHAPERON_CONFIG"


def config_path(given: Path | None) -> Path:
    """-c FILE, else $CHAPERON_CONFIG, else ./chaperon.yaml. Raises CommandFailed."""
    if given is not None:
        return given
    if variable := os.environ.get(VARIABLE):
        return Path(variable)
    if DEFAULT.exists():
        return DEFAULT
    raise CommandFailed(
        Exit.CONFIGURATION,
        f"There is no {DEFAULT} in this folder.",
        f"Name one with -c FILE or ${VARIABLE}, or write a first one with: chaperon init",
    )


def configuration(given: Path | None) -> Config:
    """Load the configuration. Raises CommandFailed and ConfigError."""
    return load_config(config_path(given), known_protocols())


def known_protocols() -> Collection[str]:
    """The names that may stand under `protocol`."""
    return REGISTRY.keys()


def known(kind: str, name: str, names: Collection[str], where: str) -> str:
    """`name` where it is one of `names`. Raises CommandFailed (not found), with the closest."""
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        remedy = f"Did you mean {close[0]}?"
    elif names:
        shown = sorted(names)
        more = f", and {len(shown) - 12} more" if len(shown) > 12 else ""
        remedy = f"There is: {', '.join(shown[:12])}{more}."
    else:
        remedy = f"Add it under {where}."
    raise CommandFailed(Exit.NOT_FOUND, f"The configuration has no {kind} {name!r}.", remedy)
