"""Reads a connection URI as libpq does (manual, "Connection URIs"), for a first configuration.

Errors never repeat the URI: it may hold a password.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import parse_qsl, unquote, urlsplit

from chaperon.protocols.probe import TargetAddress
from chaperon.secrets import Secret
from chaperon.wire.errors import ConfigError

SCHEMES = ("postgresql", "postgres")
_EXAMPLE = "Write it as in postgresql://app@db.example.org:5432/shop"
_FILES = {"sslrootcert": "ca", "sslcert": "certificate", "sslkey": "key"}
_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")


def read_url(url: str) -> TargetAddress:
    """Take `url` apart. Raises ConfigError, without repeating it, where something is missing."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError as error:
        what = "its port is no number up to 65535" if "ort" in str(error) else "it is malformed"
        raise ConfigError(
            f"The database URL cannot be read: {what}.\n{_EXAMPLE}; write special characters of a "
            f"user or password percent-encoded."
        ) from None
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"The database URL does not begin with {SCHEMES[0]}://\n{_EXAMPLE}.")
    host = options.pop("host", None) or unquote(parts.hostname or "")
    user = options.pop("user", None) or unquote(parts.username or "")
    database = options.pop("dbname", None) or unquote(parts.path.removeprefix("/"))
    password = options.pop("password", None) or unquote(parts.password or "")
    if not host or host.startswith("/") or "," in host:
        raise ConfigError(
            "The database URL names no single host to be reached over TCP.\n"
            f"{_EXAMPLE}; for a database on this machine the host is 127.0.0.1."
        )
    for value, name in ((user, "user"), (database, "database")):
        if not value:
            raise ConfigError(f"The database URL names no {name}.\n{_EXAMPLE}.")
    upstream: dict[str, str | int] = {
        "host": host,
        "port": _port(options.pop("port", None), port),
        "database": database,
        "user": user,
        "tls": _tls(options.pop("sslmode", None), host),
    }
    for option, key in _FILES.items():
        if options.get(option):
            upstream[key] = options.pop(option)
    notes = tuple(f"The URL's {name} has no counterpart and was left out." for name in options)
    return TargetAddress(upstream, Secret(password) if password else None, database, notes)


def _port(option: str | None, port: int | None) -> int:
    if option is None:
        return port or 5432
    if not option.isascii() or not option.isdigit() or not 1 <= int(option) <= 65535:
        raise ConfigError(f"The database URL's port is not a number up to 65535.\n{_EXAMPLE}.")
    return int(option)


def _tls(mode: str | None, host: str) -> str:
    """The mode asked for; otherwise the strict one, and what the server offers on loopback."""
    if mode == "allow":
        return "prefer"
    if mode is not None and mode not in _MODES:
        raise ConfigError(
            "The database URL's sslmode is none of the known ones.\n"
            f"Use one of {', '.join(_MODES)}."
        )
    return mode or ("prefer" if is_loopback(host) else "verify-full")


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine; a name other than localhost is taken not to be."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
