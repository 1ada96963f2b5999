"""How a denial looks on the wire: the server's own error in the same place, in words to act on.

SQLSTATE 42501 (insufficient_privilege), the policy's message as text, its id and the remedy as
detail and hint.
"""

from __future__ import annotations

import json

from chaperon.protocols.postgres.messages import ErrorFields, error_response, parse, query
from chaperon.wire.permit import Denial

INSUFFICIENT_PRIVILEGE = "42501"

# Not SQL, so that the server's raw parser refuses it before anything else is looked at: inside a
# transaction it aborts it, behind a savepoint it can be rolled back to, in a pipeline the server
# skips to the next Sync. The statement's name is one that no client uses.
_NO_SQL = "denied by chaperon"
FAILING_PARSE = parse(b"chaperon_denied", _NO_SQL)
FAILING_QUERY = query(_NO_SQL)


def denial_response(denial: Denial, severity: str = "ERROR") -> bytes:
    """The ErrorResponse that an agent reads."""
    return error_response(
        ErrorFields(
            severity=severity,
            code=INSUFFICIENT_PRIVILEGE,
            message=denial.message,
            detail=f"Refused by policy {denial.policy!r}.",
            hint=denial.remedy,
        )
    )


def too_long(size: int, limit: int) -> Denial:
    """A statement that is longer than what is inspected; it is never forwarded."""
    evidence = {"verdict": "deny", "policies": ["inspection-limit"], "bytes": size, "limit": limit}
    return Denial(
        policy="inspection-limit",
        message=f"The statement has {size} bytes; at most {limit} are inspected.",
        remedy="Send long data as bind values or through COPY, or have the resource's "
        "inspection_limit raised.",
        evidence=json.dumps(evidence, separators=(",", ":"), sort_keys=True).encode(),
    )
