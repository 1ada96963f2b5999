"""A progress bar on stderr, where that is a terminal; nothing anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chaperon.cli.output import brief_duration, brief_size

_WIDTH = 30
_EVERY_SECONDS = 0.1


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yields `report(done, of)`, both in bytes; the bar is gone when the `with` ends."""
    if not sys.stderr.isatty():
        yield lambda _done, _of: None
        return
    started = last = time.monotonic()

    def report(done: int, of: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _EVERY_SECONDS:
            return
        last = now
        share = min(1.0, done / of) if of else 1.0
        filled = round(share * _WIDTH)
        left = int((now - started) * (1 - share) / share * 1e9) if share else 0
        sys.stderr.write(
            f"\r\x1b[K{what} [{'#' * filled}{'.' * (_WIDTH - filled)}] {share:4.0%} of "
            f"{brief_size(of)}, {brief_duration(left)} left"
        )
        sys.stderr.flush()

    try:
        yield report
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
