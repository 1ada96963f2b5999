"""TLS contexts from the configuration: towards targets, and of listeners. Raises ConfigError."""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from chaperon.config import TlsFiles, UpstreamConfig
from chaperon.wire.errors import ConfigError


def upstream_tls(config: UpstreamConfig) -> ssl.SSLContext | None:
    """The context for a target, None where TLS is disabled.

    libpq's meanings: `prefer` and `require` encrypt, `verify-ca` checks the chain, `verify-full`
    the name as well.
    """
    if config.tls == "disable":
        return None
    try:
        context = ssl.create_default_context(cafile=str(config.ca) if config.ca else None)
        context.check_hostname = config.tls == "verify-full"
        if config.tls in ("prefer", "require"):
            context.verify_mode = ssl.CERT_NONE
        if config.certificate is not None:
            context.load_cert_chain(str(config.certificate), str(config.key))
    except OSError as error:
        raise ConfigError(
            f"the TLS files for {config.host} cannot be used: {error}. "
            "They must be PEM, belong together, and be readable by the gateway's user."
        ) from error
    return context


def listener_tls(files: TlsFiles, alpn: str | None) -> ssl.SSLContext:
    """The context of a listener; `alpn` is what a client that begins with TLS must name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(str(files.certificate), str(files.key))
    except OSError as error:
        raise ConfigError(
            f"the listener's certificate or key cannot be used: {error} "
            f"({files.certificate}, {files.key}). Both must be PEM and belong together."
        ) from error
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    return context


def certificate_der(path: Path) -> bytes:
    """The first certificate of a PEM file, in DER."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not a certificate in PEM: {error}.") from error
