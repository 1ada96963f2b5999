"""What a protocol session claims about its agent, and what the identity layer answers.

Travels in the kernel's `Authenticate(claim)` and `Authenticated(outcome)`. A `PasswordClaim` is
answered by `Accepted | Refused`, a `VerifierClaim` always by a `Verifier`: an unknown token gets a
mock that nobody can prove, so that it cannot be told from a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chaperon.secrets import Secret
from chaperon.wire.principal import Principal


@dataclass(frozen=True, slots=True)
class PasswordClaim:
    """The agent sent `secret` as its password; `user` is as sent, with `+id` or without."""

    user: str
    secret: Secret
    resource: str


@dataclass(frozen=True, slots=True)
class VerifierClaim:
    """The agent is to prove by SCRAM that it holds token `token_id` (RFC 5802).

    `user` is the name before the `+`; see `split_user`.
    """

    user: str
    token_id: str
    resource: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The agent is `principal`; `expires_ns` is the token's end, wall clock, since the epoch."""

    principal: Principal
    token_id: str
    expires_ns: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The agent is not let in.

    `reason` is exact and for the log only; `message` and `remedy` are for the agent and say no more
    than what it has proven to know.
    """

    reason: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Verifier:
    """A SCRAM-SHA-256 verifier (RFC 5802 §3, RFC 7677) and what its exchange will mean.

    The outcome of the session is `proven` when the client's proof matches `stored_key`, and
    `unproven` when it does not. `proven` may be a `Refused` (expired, revoked, …): only one who
    holds the token gets to read it. `salt` is raw, not base64.
    """

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    proven: Accepted | Refused
    unproven: Refused


Claim = PasswordClaim | VerifierClaim
Outcome = Accepted | Refused | Verifier
