"""What a session is told of the gateway's configuration: the listener it came by, the targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chaperon.protocols.postgres.gate import Generation
from chaperon.secrets import Secret


@dataclass(frozen=True, slots=True)
class Target:
    """A resource's database and the gateway's credential there. `tls` as libpq's sslmode."""

    user: str
    database: str
    password: Secret | None
    tls: str
    inspection_limit: int
    generation: Generation = field(default_factory=Generation)


@dataclass(frozen=True, slots=True)
class Settings:
    """`targets` resolves a resource's name at the moment of the connection.

    `certificate` is the DER of the listener's certificate, None where it offers no TLS;
    `random` gives that many unpredictable bytes (the kernel has no randomness of its own).
    """

    targets: Callable[[str], Target | None]
    certificate: bytes | None
    allow_cleartext: bool
    random: Callable[[int], bytes]
