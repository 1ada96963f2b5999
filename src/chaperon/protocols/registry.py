"""The protocols that there are. One line each; everything else derives from the objects."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from chaperon.protocols.base import ProtocolSpec
from chaperon.protocols.postgres.spec import POSTGRES

REGISTRY: Final = MappingProxyType({spec.name: spec for spec in (POSTGRES,)})
"""Protocols by the name that stands in configuration files."""


def spec_of(name: str) -> ProtocolSpec:
    """The protocol called `name`; KeyError where the configuration was not validated against it."""
    return REGISTRY[name]
