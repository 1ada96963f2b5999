"""Gateway tokens: opaque, short-lived, revocable; what is stored cannot be turned back into one.

A token is `chp_<public id>_<secret>`: ten characters that name it and forty that prove it, both in
lower-case base32 (RFC 4648 §6), so that a token needs no escaping in a URL and SASLprep (RFC 4013)
leaves it as it is. Kept are the SHA-256 of the whole token, for the password field, and a
SCRAM-SHA-256 verifier of it, for clients that prove instead of tell. A fast hash is enough: the
secret has 200 random bits.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Protocol

from chaperon.secrets import Secret

PREFIX = "chp_"
ID_CHARACTERS = 10
SECRET_BYTES = 25
SCRAM_ITERATIONS = 4096  # RFC 7677 §4: at least 4096; more would not protect 200 random bits better
SALT_BYTES = 16

_ID = re.compile(rf"[a-z2-7]{{{ID_CHARACTERS}}}")
_TOKEN = re.compile(rf"chp_([a-z2-7]{{{ID_CHARACTERS}}})_[a-z2-7]{{{SECRET_BYTES * 8 // 5}}}")


@dataclass(frozen=True, slots=True)
class ScramVerifier:
    """What a server keeps of a password for SCRAM-SHA-256 (RFC 5802 §3). All raw bytes."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


class TokenRow(Protocol):
    """A stored token, whatever the store's own type. Times are ns since the epoch."""

    @property
    def token_id(self) -> str: ...
    @property
    def principal(self) -> str: ...
    @property
    def sha256(self) -> bytes: ...
    @property
    def scram_salt(self) -> bytes: ...
    @property
    def scram_iterations(self) -> int: ...
    @property
    def scram_stored_key(self) -> bytes: ...
    @property
    def scram_server_key(self) -> bytes: ...
    @property
    def issued_ns(self) -> int: ...
    @property
    def expires_ns(self) -> int: ...
    @property
    def revoked_ns(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token as it is kept: nothing in it proves anything to the gateway. See `TokenRow`."""

    token_id: str
    principal: str
    sha256: bytes = field(repr=False)
    scram_salt: bytes = field(repr=False)
    scram_iterations: int = field(repr=False)
    scram_stored_key: bytes = field(repr=False)
    scram_server_key: bytes = field(repr=False)
    issued_ns: int
    expires_ns: int
    revoked_ns: int | None = None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token: the only moment at which its text exists here, and what is to be stored."""

    token: Secret
    record: TokenRecord


def issue(principal: str, *, now_ns: int, ttl_ns: int) -> IssuedToken:
    """Make a token for `principal`, valid from `now_ns` for `ttl_ns`. It is not yet stored.

    Raises ValueError where `ttl_ns` is not positive.
    """
    if ttl_ns <= 0:
        raise ValueError("a token's lifetime is positive")
    # 7 bytes give 12 characters; the first ten carry 50 random bits.
    token_id = _base32(secrets.token_bytes(7))[:ID_CHARACTERS]
    token = f"{PREFIX}{token_id}_{_base32(secrets.token_bytes(SECRET_BYTES))}"
    verifier = scram_verifier(token, secrets.token_bytes(SALT_BYTES), SCRAM_ITERATIONS)
    record = TokenRecord(
        token_id=token_id,
        principal=principal,
        sha256=digest(token),
        scram_salt=verifier.salt,
        scram_iterations=verifier.iterations,
        scram_stored_key=verifier.stored_key,
        scram_server_key=verifier.server_key,
        issued_ns=now_ns,
        expires_ns=now_ns + ttl_ns,
    )
    return IssuedToken(token=Secret(token), record=record)


def digest(token: str) -> bytes:
    """SHA-256 of the token's text, the form in which it is compared."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def scram_verifier(password: str, salt: bytes, iterations: int) -> ScramVerifier:
    """Derive the verifier of RFC 5802 §3 with SHA-256 (RFC 7677). `password` is plain ASCII."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return ScramVerifier(
        salt=salt,
        iterations=iterations,
        stored_key=hashlib.sha256(client_key).digest(),
        server_key=hmac.digest(salted, b"Server Key", "sha256"),
    )


def token_id_of(text: str) -> str | None:
    """The public id in `text`, or None where `text` does not have a token's form."""
    match = _TOKEN.fullmatch(text)
    return match.group(1) if match else None


def looks_like_token_id(text: str) -> bool:
    """Whether `text` has the form of a public id. Says nothing about whether it exists."""
    return _ID.fullmatch(text) is not None


def split_user(user: str) -> tuple[str, str | None]:
    """Split a user name as a client sends it, `ci-bot+<public id>`, into principal and token id.

    The id is None where the part behind the last `+` has not the form of one; the name is then
    `user` whole.
    """
    name, plus, token_id = user.rpartition("+")
    if plus and looks_like_token_id(token_id):
        return name, token_id
    return user, None


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()
