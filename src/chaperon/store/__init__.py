"""Metadata: an index over the recordings that can be rebuilt, and the tokens. Never evidence."""

from chaperon.store.model import (
    Position,
    SessionFilter,
    SessionRow,
    StatementFilter,
    StatementRow,
    StoredToken,
)
from chaperon.store.store import Store

__all__ = [
    "Position",
    "SessionFilter",
    "SessionRow",
    "StatementFilter",
    "StatementRow",
    "Store",
    "StoredToken",
]
