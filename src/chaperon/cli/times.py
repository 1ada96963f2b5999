"""Times as people type them: `90s`, `1h30m`, `7d`; a date, a moment, or so long ago."""

from __future__ import annotations

import re
from datetime import datetime

from chaperon.cli.exits import CommandFailed, Exit

SECOND = 1_000_000_000
_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86400 * SECOND}
_DURATION = re.compile(r"(?:\d{1,6}[smhd])+", re.ASCII)
_PART = re.compile(r"(\d{1,6})([smhd])", re.ASCII)


def duration(text: str, option: str) -> int:
    """Nanoseconds. Raises CommandFailed (usage), naming `option`, where it is no duration."""
    if not _DURATION.fullmatch(text):
        raise CommandFailed(
            Exit.USAGE,
            f"{option}: {text!r} is not a duration.",
            "Write numbers with a unit (s, m, h, d), as in 90s, 1h30m or 7d.",
        )
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def moment(text: str, option: str, now_ns: int) -> int:
    """Nanoseconds since the epoch, of a date, a date with time (ISO 8601), or a duration ago.

    A time without an offset is in the local zone. Raises CommandFailed (usage).
    """
    if _DURATION.fullmatch(text):
        return now_ns - duration(text, option)
    try:
        parsed = datetime.fromisoformat(text).astimezone()
        return int(parsed.timestamp() * 1_000_000) * 1000
    except (ValueError, OverflowError, OSError):
        raise CommandFailed(
            Exit.USAGE,
            f"{option}: {text!r} is not a time.",
            "Write 2026-11-23, 2026-11-23T14:05, 2026-11-23T14:05:00Z, or 2h for two hours ago.",
        ) from None
