"""What a protocol can say about a target before any agent comes: is it there, does it let us in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from chaperon.config import UpstreamConfig
from chaperon.secrets import Secret
from chaperon.wire.operation import Operation


class Level(Enum):
    """How bad a finding is. Only `FAIL` stands in the way of work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: a line of text, and for anything but `OK` what would help."""

    level: Level
    subject: str
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TargetAddress:
    """A target read from a URL: what goes under `upstream:` of a resource, and what does not.

    `upstream` holds plain values only. `name` is a suggestion for the resource's name; `notes` are
    parts of the URL that were left out, each a sentence.
    """

    upstream: dict[str, str | int]
    password: Secret | None
    name: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What a protocol knows of its targets apart from sessions.

    `schemes` are those of its URLs, the usual one first. `read_url` raises ConfigError (what, a
    newline, the remedy) without repeating the URL. `probe` takes the resource's name for its
    findings; it raises nothing and connects at most once. `statement` makes the operation that a
    statement would be as the first of a session; it asks the target how that session reads names,
    and raises UpstreamUnavailable where it cannot.
    """

    schemes: tuple[str, ...]
    read_url: Callable[[str], TargetAddress]
    probe: Callable[[str, UpstreamConfig], Awaitable[list[Finding]]]
    statement: Callable[[UpstreamConfig, str], Awaitable[Operation]]
