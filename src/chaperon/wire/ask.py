"""What is asked of policy: one action on one thing. Facts make them, policy answers each."""

from __future__ import annotations

from typing import NamedTuple


class Ask(NamedTuple):
    """One action (`sql.read`) on one thing inside a resource.

    `path` names the thing from the outside in: () is the resource itself; for PostgreSQL
    (schema, relation) is a relation, and a view or a sequence counts as one. Resolved as the server
    resolves it, never as the agent wrote it.
    """

    action: str
    path: tuple[str, ...] = ()
