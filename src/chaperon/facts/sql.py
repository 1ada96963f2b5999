"""Read SQL text by PostgreSQL's own grammar into `RawFacts`. Pure; never raises on any text."""

from __future__ import annotations

from chaperon.facts.model import RawFacts


def read_statement(text: str) -> RawFacts:
    """The raw facts of `text` (one or several statements).

    A text over the limits of the process comes back unknown with `large` set: `helper.read_large`
    may still read it. What does not parse is of kind "invalid" with PostgreSQL's message.
    """
    raise NotImplementedError
