"""SCRAM-SHA-256 both ways, on `scramp`, with PostgreSQL's framing of SASL.

Sources: PostgreSQL 18 manual "SASL Authentication"; RFC 5802, RFC 7677; RFC 5929 §4 for
`tls-server-end-point`. libpq sends an empty user name (`n=,`), which scramp refuses: it is given a
stand-in, while the proof is computed over what the client really sent.
"""

from __future__ import annotations

import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from scramp import ScramClient, ScramException, ScramMechanism
from scramp.core import ScramServer

from chaperon.identity.claims import Verifier
from chaperon.secrets import Secret
from chaperon.wire.errors import ProtocolViolation, Side

PLAIN = "SCRAM-SHA-256"
PLUS = "SCRAM-SHA-256-PLUS"

Binding = tuple[str, bytes]
"""The name of a channel binding and its data."""


def channel_binding(certificate: bytes | None) -> Binding | None:
    """tls-server-end-point of a DER certificate; None where none is defined (Ed25519, Ed448)."""
    if certificate is None:
        return None
    parsed = x509.load_der_x509_certificate(certificate)
    if isinstance(parsed.public_key(), (Ed25519PublicKey, Ed448PublicKey)):
        return None
    algorithm = parsed.signature_hash_algorithm
    if algorithm is None:
        return None
    # RFC 5929 §4.1: MD5 and SHA-1 are replaced by SHA-256.
    if algorithm.name in ("md5", "sha1"):
        algorithm = hashes.SHA256()
    digest = hashes.Hash(algorithm)
    digest.update(certificate)
    return "tls-server-end-point", digest.finalize()


class ServerExchange:
    """The gateway as SASL server, against a stored verifier."""

    def __init__(self, verifier: Verifier, certificate: bytes | None) -> None:
        self._verifier = verifier
        self._binding = channel_binding(certificate)
        self._server: ScramServer | None = None

    def mechanisms(self) -> bytes:
        """The body of AuthenticationSASL."""
        names = [PLUS, PLAIN] if self._binding is not None else [PLAIN]
        return b"".join(n.encode() + b"\0" for n in names) + b"\0"

    def first(self, payload: bytes) -> bytes:
        """Take SASLInitialResponse, give the server's first message. Raises ProtocolViolation."""
        name, _, rest = payload.partition(b"\0")
        mechanism = name.decode("ascii", "replace")
        if mechanism not in (PLAIN, PLUS) or (mechanism == PLUS and self._binding is None):
            # Its name is not repeated: a client that expected cleartext has its password there.
            raise _violation("the SASL mechanism was not offered")
        if len(rest) < 4:
            raise _violation("a SASL response has no length")
        (size,) = struct.unpack_from("!i", rest)
        message = rest[4:]
        if size != len(message):
            raise _violation("a SASL response has a wrong length")
        try:
            text = message.decode()
            header, _, bare = text.partition(",,")
            stand_in = text
            if bare.startswith("n=,"):
                stand_in = f"{header},,n=x,{bare[3:]}"
            server = ScramMechanism(mechanism).make_server(
                self._look_up, channel_binding=self._binding
            )
            server.set_client_first(stand_in)
            server.client_first_bare = bare
            answer: str = server.get_server_first()
            self._server = server
        except (ScramException, ValueError) as error:
            raise _violation(f"SCRAM: {error}") from error
        return answer.encode()

    def _look_up(self, _user: str) -> tuple[bytes, bytes, bytes, int]:
        v = self._verifier
        return v.salt, v.stored_key, v.server_key, v.iterations

    def final(self, payload: bytes) -> bytes | None:
        """Take the client's proof; the server's final message, or None where it is wrong."""
        if self._server is None:
            raise _violation("SASL messages out of order")
        try:
            self._server.set_client_final(payload.decode())
            answer: str = self._server.get_server_final()
        except (ScramException, ValueError):
            return None
        return answer.encode()


class ClientExchange:
    """The gateway as SASL client of a target."""

    def __init__(self, password: Secret, mechanisms: list[str], certificate: bytes | None) -> None:
        binding = channel_binding(certificate)
        offered = [m for m in mechanisms if m in (PLAIN, PLUS)]
        if binding is None:
            offered = [m for m in offered if m != PLUS]
        if not offered:
            raise ProtocolViolation(Side.UPSTREAM, f"no SASL mechanism in common: {mechanisms}")
        try:
            self._client = ScramClient(offered, "x", password.reveal(), channel_binding=binding)
        except ScramException as error:
            raise ProtocolViolation(Side.UPSTREAM, f"SCRAM: {error}") from error

    def initial(self) -> bytes:
        """The payload of SASLInitialResponse."""
        text: str = self._client.get_client_first()
        name: str = self._client.mechanism_name
        message = text.encode()
        return name.encode() + b"\0" + struct.pack("!i", len(message)) + message

    def final(self, payload: bytes) -> bytes:
        """Take the server's first message, give the payload of SASLResponse."""
        try:
            self._client.set_server_first(payload.decode())
            text: str = self._client.get_client_final()
        except (ScramException, ValueError) as error:
            raise ProtocolViolation(Side.UPSTREAM, f"SCRAM: {error}") from error
        return text.encode()

    def verify(self, payload: bytes) -> None:
        """Check that the server knows the verifier too. Raises ProtocolViolation."""
        try:
            self._client.set_server_final(payload.decode())
        except (ScramException, ValueError) as error:
            raise ProtocolViolation(Side.UPSTREAM, f"SCRAM: {error}") from error


def _violation(reason: str) -> ProtocolViolation:
    return ProtocolViolation(Side.DOWNSTREAM, reason)
