"""What the Python clients print: one line a fact, nothing that two equal runs could differ in."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

CANCEL_SECONDS = 5.0


def say(*facts: object) -> None:
    """Print facts in one line, each unambiguous."""
    print(*(fact if isinstance(fact, str) else repr(fact) for fact in facts), flush=True)


def section(name: str) -> None:
    """Begin a part of the transcript."""
    print(f"== {name}", flush=True)


def digest(data: bytes) -> str:
    """A large value's length and hash."""
    return f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:16]}"


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Say whether the block took less than `seconds`; not how long exactly."""
    started = time.monotonic()
    yield
    say(f"{what} in time:", time.monotonic() - started < seconds)
