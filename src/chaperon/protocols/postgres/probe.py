"""Connects to a target once, as the gateway would, and says what stands in the way.

Uses asyncpg and none of the gateway's own code: a second opinion. Takes nothing from libpq's
environment (PGPASSWORD, ~/.pgpass), which the gateway does not read either.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from chaperon.config import UpstreamConfig
from chaperon.protocols.postgres.plan import NoNames, SessionNaming, StatementContext
from chaperon.protocols.postgres.url import SCHEMES, is_loopback, read_url
from chaperon.protocols.probe import Finding, Level, Target
from chaperon.secrets import Secret
from chaperon.wire.errors import ConfigError, UpstreamUnavailable
from chaperon.wire.operation import Operation

CONNECT_SECONDS = 10.0

_ABOUT = """
SELECT current_setting('server_version') AS version, r.rolsuper AS superuser,
       s.version AS tls
FROM pg_catalog.pg_roles r, pg_catalog.pg_stat_ssl s
WHERE r.rolname = current_user AND s.pid = pg_catalog.pg_backend_pid()
"""

_SETTINGS = """
SELECT current_setting('search_path') AS path, current_user::text AS role,
       current_setting('standard_conforming_strings') AS strings
"""


async def probe(name: str, upstream: UpstreamConfig) -> list[Finding]:
    """What resource `name` finds at its target. Raises nothing; the credential is in no finding."""
    try:
        password = upstream.password.resolve() if upstream.password else Secret("")
    except ConfigError as error:
        what, _, remedy = str(error).partition(". ")
        return [Finding(Level.FAIL, name, what, remedy)]
    at = f"{upstream.host}:{upstream.port}"
    try:
        connection = await _connect(upstream, password)
    except Exception as error:
        return [_failure(name, at, upstream, error)]
    try:
        about = await connection.fetchrow(_ABOUT, timeout=CONNECT_SECONDS)
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        text = f"{at} lets the gateway in but does not answer a query: {_text(error)}"
        return [Finding(Level.FAIL, name, text, "See the server's log.")]
    finally:
        connection.terminate()
    if about is None:
        return [Finding(Level.OK, name, f"PostgreSQL at {at}, as {upstream.user}")]
    return _judged(name, at, upstream, about)


async def first_statement(upstream: UpstreamConfig, text: str) -> Operation:
    """`text` as a simple query at the beginning of a session. Raises UpstreamUnavailable."""
    try:
        password = upstream.password.resolve() if upstream.password else Secret("")
        connection = await _connect(upstream, password)
    except Exception as error:
        at = f"{upstream.host}:{upstream.port}"
        found = _failure("", at, upstream, error)
        raise UpstreamUnavailable(f"{found.text}\n{found.remedy}") from None
    try:
        settings = await connection.fetchrow(_SETTINGS, timeout=CONNECT_SECONDS)
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        raise UpstreamUnavailable(_text(error)) from None
    finally:
        connection.terminate()
    if settings is None:
        return Operation("query", text, context=StatementContext(None, NoNames()))
    naming = SessionNaming(
        setting=settings["path"],
        role=settings["role"],
        faithful=settings["strings"] == "on",
        temp=frozenset(),
    )
    return Operation("query", text, context=StatementContext(naming, NoNames()))


def _judged(name: str, at: str, upstream: UpstreamConfig, about: asyncpg.Record) -> list[Finding]:
    tls = about["tls"] or "without TLS"
    text = f"PostgreSQL {about['version'].split()[0]} at {at}, as {upstream.user}, {tls}"
    findings = [Finding(Level.OK, name, text)]
    if about["superuser"]:
        findings.append(
            Finding(
                Level.WARN,
                name,
                f"the gateway's role {upstream.user} is a superuser: a hole in a policy is then a "
                f"hole in the server",
                "Give the gateway a role that may do what agents may do, and no more.",
            )
        )
    if about["tls"] is None and not is_loopback(upstream.host):
        findings.append(
            Finding(
                Level.WARN,
                name,
                f"the connection to {at} is not encrypted",
                "Turn on TLS at the server, and write tls: verify-full.",
            )
        )
    elif upstream.tls in ("prefer", "require") and not is_loopback(upstream.host):
        findings.append(
            Finding(
                Level.WARN,
                name,
                f"tls: {upstream.tls} does not check whose certificate {at} shows",
                "Write tls: verify-full, with `ca` where the certificate is not a public one.",
            )
        )
    return findings


async def _connect(
    upstream: UpstreamConfig, password: Secret
) -> asyncpg.Connection[asyncpg.Record]:
    async def attempt(context: ssl.SSLContext | bool) -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(
            host=upstream.host,
            port=upstream.port,
            user=upstream.user,
            password=password.reveal(),
            database=upstream.database,
            ssl=context,
            timeout=CONNECT_SECONDS,
            target_session_attrs=SessionAttribute.any,
            server_settings={"application_name": "chaperon doctor"},
        )

    if upstream.tls == "disable":
        return await attempt(False)
    try:
        return await attempt(_context(upstream))
    except ConnectionError as error:
        if upstream.tls == "prefer" and "rejected SSL" in str(error):
            return await attempt(False)
        raise


def _context(upstream: UpstreamConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(upstream.ca) if upstream.ca else None)
    context.check_hostname = upstream.tls == "verify-full"
    if upstream.tls in ("prefer", "require"):
        context.verify_mode = ssl.CERT_NONE
    if upstream.certificate and upstream.key:
        context.load_cert_chain(upstream.certificate, upstream.key)
    return context


def _failure(name: str, at: str, upstream: UpstreamConfig, error: Exception) -> Finding:
    """Put an error of connecting into a line, with what would help."""
    user, database = upstream.user, upstream.database
    text, remedy = f"{at}: {_text(error)}", "See the server's log."
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            text = f"{at} refused the credential of {user}: {_text(error)}"
            where = upstream.password.where if upstream.password else "the resource's `password`"
            remedy = f"Correct user and password ({where}), or the server's pg_hba.conf."
        case asyncpg.InvalidCatalogNameError():
            text = f"{at} has no database {database}"
            remedy = "Correct `database` of the resource."
        case asyncpg.TooManyConnectionsError():
            remedy = "Raise max_connections at the server, or end connections there."
        case asyncpg.CannotConnectNowError():
            remedy = "The server is starting or stopping; wait a little."
        case ssl.SSLCertVerificationError():
            text = f"{at} shows a certificate that is not trusted: {error.verify_message}"
            remedy = "Name its authority with `ca: FILE`, and the host as the certificate has it."
        case ConnectionRefusedError():
            text = f"nothing listens at {at}"
            remedy = "Start the server there, or correct `host` and `port` of the resource."
        case socket.gaierror():
            text = f"the host name {upstream.host} is not known"
            remedy = "Correct `host` of the resource, or the machine's name service."
        case TimeoutError() | asyncio.TimeoutError():
            text = f"{at} does not answer within {CONNECT_SECONDS:.0f} s"
            remedy = "See whether a firewall is in between, and whether `host` is right."
        case ConnectionError() if "rejected SSL" in str(error):
            text = f"{at} does not offer TLS, and tls is {upstream.tls}"
            remedy = "Turn on TLS at the server; tls: prefer would go without."
        case OSError():
            remedy = "See whether the host is right and can be reached from here."
        case _:
            pass
    return Finding(Level.FAIL, name, text, remedy)


def _text(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0] or type(error).__name__


TARGET = Target(schemes=SCHEMES, read_url=read_url, probe=probe, statement=first_statement)
