"""The actions of SQL, of which facts make an `Ask` each, on a relation or the resource itself.

Invariant: every statement yields at least one `Ask`, so nothing passes without a question.
"""

from __future__ import annotations

from typing import Final

from chaperon.wire.ask import Ask

__all__ = ["ACTIONS", "Ask"]

READ: Final = "sql.read"
WRITE: Final = "sql.write"
DEFINE: Final = "sql.define"
GRANT: Final = "sql.grant"
LOCK: Final = "sql.lock"
MAINTAIN: Final = "sql.maintain"
NOTIFY: Final = "sql.notify"
SESSION: Final = "sql.session"
CONFIGURE: Final = "sql.configure"
TRANSACTION: Final = "sql.transaction"
EXECUTE: Final = "sql.execute"
UNKNOWN: Final = "sql.unknown"

ACTIONS: Final[dict[str, str]] = {
    READ: "read",
    WRITE: "write",
    DEFINE: "define",
    GRANT: "grant",
    # Explicit and row locks (LOCK, SELECT FOR UPDATE): readers do not need them, writers do.
    LOCK: "write",
    # VACUUM, ANALYZE, REINDEX, CLUSTER, REFRESH MATERIALIZED VIEW, CHECKPOINT.
    MAINTAIN: "define",
    # LISTEN, UNLISTEN, NOTIFY: a channel between sessions.
    NOTIFY: "transfer",
    # Settings that change neither rights nor how text is read, search_path included; SHOW.
    SESSION: "read",
    # Roles, and settings that change rights, enforcement or how text is read.
    CONFIGURE: "grant",
    # BEGIN … ROLLBACK, savepoints, cursors and prepared statements by name.
    TRANSACTION: "read",
    # COPY with programs or server files, large objects, LOAD.
    EXECUTE: "execute",
    # What could not be understood.
    UNKNOWN: "unknown",
}
"""Every action of SQL with the general action group that it is in (ACCESS.md)."""
