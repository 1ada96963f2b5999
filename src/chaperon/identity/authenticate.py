"""Judges a claim by the stored tokens and the configured principals; every doubt is a `Refused`.

What the agent is told never goes beyond what it has proven: only one who holds a token's secret
learns that it has expired, was revoked or belongs to somebody else. A look-up by primary key and a
hash: no waiting, no cache, so a token revoked is refused from then on.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from chaperon.identity.claims import (
    Accepted,
    Outcome,
    PasswordClaim,
    Refused,
    Verifier,
    VerifierClaim,
)
from chaperon.identity.tokens import (
    SALT_BYTES,
    SCRAM_ITERATIONS,
    TokenRow,
    digest,
    split_user,
    token_id_of,
)
from chaperon.wire.principal import Principal

_NO_DIGEST = bytes(hashlib.sha256().digest_size)


class Authenticator:
    """Answers the claims of protocol sessions.

    `principals` are those that the configuration names. `find` gives the stored token with a public
    id, or None. `mock_key` (32 random bytes, kept across restarts) makes the verifiers of tokens
    that do not exist. `clock` gives ns since the epoch.
    """

    def __init__(
        self,
        principals: Mapping[str, Principal],
        find: Callable[[str], TokenRow | None],
        mock_key: bytes,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._principals = principals
        self._find = find
        self._mock_key = mock_key
        self._clock = clock

    def authenticate(self, claim: object) -> Outcome:
        """Answer a claim. Raises TypeError for anything else, and whatever `find` raises."""
        match claim:
            case PasswordClaim():
                return self._password(claim)
            case VerifierClaim():
                return self._verifier(claim)
            case _:
                raise TypeError(f"not a claim: {type(claim).__name__}")

    def revalidate(self, accepted: Accepted) -> Accepted | Refused:
        """Judge again what was accepted earlier: token and principal may have changed since."""
        row = self._find(accepted.token_id)
        if row is None:
            return _unproven(f"token {accepted.token_id} is no longer in the store")
        return self._standing(row, accepted.principal.name)

    def _password(self, claim: PasswordClaim) -> Accepted | Refused:
        name, named_id = split_user(claim.user)
        text = claim.secret.reveal()
        token_id = token_id_of(text)
        if token_id is None:
            return Refused(
                reason=f"user {claim.user!r}: the password is not a gateway token",
                message="The password is not a gateway token.",
                remedy="Send as the password the token that `chaperon token create` printed; "
                "it begins with chp_ and is 55 characters long.",
            )
        row = self._find(token_id)
        known = row.sha256 if row is not None else _NO_DIGEST
        right = hmac.compare_digest(digest(text), known)
        if row is None:
            return _unproven(f"user {claim.user!r}: no token {token_id}")
        if not right:
            return _unproven(f"user {claim.user!r}: wrong secret for token {token_id}")
        if named_id is not None and named_id != token_id:
            return Refused(
                reason=f"user {claim.user!r} sent token {token_id}",
                message="The user name carries the id of another token than the password.",
                remedy=f"Connect as {name}+{token_id}, or without the part from the + on.",
            )
        return self._standing(row, name)

    def _verifier(self, claim: VerifierClaim) -> Verifier:
        mock = self._mock(claim.token_id)
        row = self._find(claim.token_id)
        if row is None:
            unknown = _unproven(f"user {claim.user!r}: no token {claim.token_id}")
            return Verifier(
                salt=mock[:SALT_BYTES],
                iterations=SCRAM_ITERATIONS,
                stored_key=mock[32:64],
                server_key=mock[64:],
                proven=unknown,
                unproven=unknown,
            )
        return Verifier(
            salt=row.scram_salt,
            iterations=row.scram_iterations,
            stored_key=row.scram_stored_key,
            server_key=row.scram_server_key,
            proven=self._standing(row, claim.user),
            unproven=_unproven(f"user {claim.user!r}: wrong proof for token {claim.token_id}"),
        )

    def _standing(self, row: TokenRow, name: str) -> Accepted | Refused:
        """What a proven token is worth now. The agent holds its secret and may read why not."""
        if row.principal != name:
            return Refused(
                reason=f"user {name!r} holds token {row.token_id} of {row.principal!r}",
                message="This token was issued for another principal.",
                remedy="Connect with the user name that the token was issued for.",
            )
        anew = f"Ask the gateway's operator for a new one (chaperon token create {name})."
        if row.revoked_ns is not None:
            return Refused(
                reason=f"token {row.token_id} of {name!r} was revoked at {_utc(row.revoked_ns)}",
                message="This token was revoked.",
                remedy=anew,
            )
        if self._clock() >= row.expires_ns:
            return Refused(
                reason=f"token {row.token_id} of {name!r} expired at {_utc(row.expires_ns)}",
                message=f"This token expired at {_utc(row.expires_ns)}.",
                remedy=anew,
            )
        principal = self._principals.get(name)
        if principal is None:
            return Refused(
                reason=f"token {row.token_id}: {name!r} is not in the configuration",
                message=f"The principal {name} is no longer in the gateway's configuration.",
                remedy="Ask the gateway's operator to add it under identity.local again.",
            )
        return Accepted(principal=principal, token_id=row.token_id, expires_ns=row.expires_ns)

    def _mock(self, token_id: str) -> bytes:
        """96 bytes that are always the same for one id, so that asking twice tells nothing."""
        return b"".join(
            hmac.digest(self._mock_key, part + token_id.encode("utf-8", "replace"), "sha256")
            for part in (b"salt:", b"stored:", b"server:")
        )


def _unproven(reason: str) -> Refused:
    """One answer for an unknown token and for a wrong secret."""
    return Refused(
        reason=reason,
        message="The gateway token is not valid.",
        remedy="Check that the whole token was copied, or ask the gateway's operator for a new one "
        "(chaperon token create PRINCIPAL).",
    )


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
