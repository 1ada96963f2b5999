"""Bounds of the API's parameters, for both ends."""

from __future__ import annotations

from typing import Final

SECOND_NS: Final = 1_000_000_000
DEFAULT_TTL_NS: Final = 3600 * SECOND_NS
LONGEST_TTL_NS: Final = 366 * 86400 * SECOND_NS
MOST_SESSIONS: Final = 10_000
MOST_STATEMENTS: Final = 1_000
LATEST_NS: Final = 2**63 - 1
VERDICTS: Final = ("allow", "deny")
