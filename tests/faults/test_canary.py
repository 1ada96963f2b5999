"""No secret stays anywhere: not in a recording, a log, an error, the store or an answer.

Planted: the upstream's password, the agent's token (the part behind its public id), and passwords
in statements, allowed and refused, read and unread. Sessions provoke errors; then every file of the
gateway and every byte that an agent saw is searched, in plain and in the usual encodings.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.gateway import AGENT, READ_ONLY, RESOURCE, Gateway, Token
from tests.support.pg_wire import (
    SSL_REQUEST,
    SYNC,
    Message,
    RawClient,
    bind,
    codes,
    execute,
    message,
    parse,
    query,
    startup,
    whole,
)
from tests.support.servers import APP_PASSWORD, DATABASE, PostgresServer

pytestmark = [pytest.mark.server]

IN_STATEMENT = "canary-in-a-statement-1234"
WRONG = "canary-wrong-upstream-password-5678"
GUESS = "chp_aaaaaaaaaa_canary-wrong-token-9012"
PERMIT = '@id("all") permit (principal, action, resource);\n'
MIB = 1024 * 1024


def forms(secret: str) -> list[bytes]:
    """The secret in plain, base64 at each offset, hex, and UTF-16."""
    raw = secret.encode()
    found = [raw, raw.hex().encode(), raw.hex().upper().encode(), secret.encode("utf-16-le")]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        found.append(encoded[4 if shift else 0 : len(encoded) - 4])
    return found


def leaks(data: bytes, *secrets: str) -> list[str]:
    return [secret for secret in secrets if any(form in data for form in forms(secret))]


@dataclass(slots=True)
class Eavesdropper:
    """A gateway, and everything that came back from it."""

    gateway: Gateway
    token: Token
    heard: bytearray = field(default_factory=bytearray)

    def note(self, found: list[Message]) -> list[Message]:
        self.heard += b"".join(tag.encode() + payload for tag, payload in found)
        return found

    def session(self) -> RawClient:
        client = RawClient.connect(self.gateway.port, AGENT, self.token.token, RESOURCE)
        self.note(client.greeting)
        return client

    def refused(self, password: str, user: str = AGENT, database: str = RESOURCE) -> str:
        with pytest.raises(ConnectionError) as error:
            RawClient.connect(self.gateway.port, user, password, database)
        self.heard += str(error.value).encode()
        return str(error.value)

    def secret_of_token(self) -> str:
        return self.token.token.split("_")[2]

    def search(self, *secrets: str) -> dict[str, list[str]]:
        """Which secrets stand where, once the gateway has stopped (so that all is written)."""
        self.gateway.stop(keep=True)
        folder = self.gateway.folder
        files = [path for path in folder.rglob("*") if path.is_file()]
        found = {
            str(path.relative_to(folder)): leaks(path.read_bytes(), *secrets) for path in files
        }
        found["what the agents saw"] = leaks(bytes(self.heard), *secrets)
        return {place: secrets for place, secrets in found.items() if secrets}


@pytest.fixture(params=["permit", "read-only"])
def heard(request: pytest.FixtureRequest, pg18: PostgresServer) -> Iterator[Eavesdropper]:
    pg18.fresh_database(DATABASE)
    pg18.sql("DROP ROLE IF EXISTS victim; CREATE ROLE victim; ALTER ROLE app CREATEROLE")
    pg18.sql("GRANT victim TO app WITH ADMIN OPTION")
    policies = PERMIT if request.param == "permit" else READ_ONLY
    gateway = Gateway.start(pg18, policies=policies)
    yield Eavesdropper(gateway, gateway.token())
    gateway.stop()


ALTER = f"ALTER ROLE victim PASSWORD '{IN_STATEMENT}'"
STATEMENTS = (
    ALTER,
    f"alter role victim with encrypted password E'{IN_STATEMENT}' valid until 'infinity'",
    f"CREATE ROLE victim PASSWORD '{IN_STATEMENT}'",
    f"ALTER USER victim PASSWORD $${IN_STATEMENT}$$",
    f"ALTER USER victim PASSWORD $tag${IN_STATEMENT}$tag$",
    f"ALTER ROLE victim PASSWORD U&'{IN_STATEMENT}'",
    f"ALTER ROLE victim PASSWORD '{IN_STATEMENT}' nonsense",
    f"ALTER ROLE victim PASSWORD '{IN_STATEMENT}' 'twice'",
    f"ALTER ROLE victim PASSWORD '{IN_STATEMENT}",
    f"SELECT 1; ALTER ROLE victim PASSWORD '{IN_STATEMENT}'",
    f"DO $$ BEGIN ALTER ROLE victim PASSWORD '{IN_STATEMENT}'; END $$",
    f"/* {'x' * 20_000} */ ALTER ROLE victim PASSWORD '{IN_STATEMENT}'",
    f"CREATE USER MAPPING FOR app SERVER s OPTIONS (user 'x', password '{IN_STATEMENT}')",
    f"CREATE SUBSCRIPTION s CONNECTION 'host=x password={IN_STATEMENT}' PUBLICATION p",
    f"SELECT dblink_connect('host=x password={IN_STATEMENT}')",
)


def test_secrets_in_statements_stay_nowhere(heard: Eavesdropper) -> None:
    for text in STATEMENTS:
        client = heard.session()
        heard.note(client.ask(text))
        heard.note(client.ask(whole(text)))
        heard.note(client.ask(query("BEGIN") + query(text) + query("ROLLBACK"), 3))
        client.close()
    # What agents saw may quote their own statement (an error's text); what is kept may not.
    heard.heard.clear()
    assert heard.search(IN_STATEMENT) == {}


def test_secrets_in_statements_that_nobody_reads_stay_nowhere(heard: Eavesdropper) -> None:
    client = heard.session()
    failing = parse("SELECT 1/0") + bind() + execute()
    heard.note(client.ask(failing + parse(ALTER) + query(ALTER) + SYNC))
    # Over the inspection limit.
    heard.note(client.ask(query(f"{ALTER} /*{'x' * 17 * MIB}*/")))
    heard.note(client.ask(query(f"/*{'x' * 17 * MIB}*/ {ALTER}")))
    heard.note(client.ask(whole(f"/*{'x' * 17 * MIB}*/ {ALTER}")))
    # Not UTF-8.
    heard.note(client.ask(query(ALTER.encode() + b" -- \xff")))
    # Behind a violation, and cut by the end of the connection.
    client.send(query("SELECT 1") + b"!nonsense" + query(ALTER))
    with suppress(ConnectionError):
        heard.note(client.until("never"))
    other = heard.session()
    other.send(query(ALTER)[:-4])
    other.close()
    assert heard.search(IN_STATEMENT) == {}


def test_the_upstreams_password_and_the_token_stay_nowhere(heard: Eavesdropper) -> None:
    client = heard.session()
    for text in ("SELECT 1", "SELECT 1/0", "no sql", "SELECT current_user", "SHOW all"):
        heard.note(client.ask(text))
    client.send(b"\0" * 64)
    with suppress(ConnectionError):
        heard.note(client.until("never"))
    heard.refused(GUESS)
    heard.refused(heard.token.token, user="nobody")
    heard.refused(heard.token.token, database="nowhere")
    heard.refused(heard.token.token + "x")
    _strange_handshakes(heard)
    for arguments in (("sessions", "list", "--json"), ("doctor",), ("check",)):
        done = heard.gateway.command(*arguments, check=False)
        heard.heard += (done.stdout + done.stderr).encode()
    assert heard.search(APP_PASSWORD, heard.secret_of_token(), GUESS.split("_")[2]) == {}


def _strange_handshakes(heard: Eavesdropper) -> None:
    """Handshakes that end in the middle, with a secret where none belongs."""
    token = heard.token.token.encode()
    hello = startup(user=AGENT, database=RESOURCE)
    for data in (
        SSL_REQUEST + token,
        hello + message("p", token),
        hello + message("p", token + b"\0\0"),
        hello + message("Q", token + b"\0"),
        startup(user=f"{AGENT}+{heard.token.public_id}", database=RESOURCE) + message("p", token),
        token * 200,
    ):
        with socket.create_connection(("127.0.0.1", heard.gateway.port), timeout=5) as raw:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while found := raw.recv(65536):
                    heard.heard += found


@pytest.mark.parametrize("tls", ["disable", "require"])
def test_a_wrong_upstream_password_stays_nowhere(
    pg18: PostgresServer, tmp_path: Path, tls: str
) -> None:
    """With `require` TLS fails as well: this server has none."""
    secret = tmp_path / "password"
    secret.write_text(WRONG)
    secret.chmod(0o600)
    upstream = {"password": {"file": str(secret)}, "tls": tls}
    gateway = Gateway.start(pg18, policies=PERMIT, upstream=upstream)
    try:
        heard = Eavesdropper(gateway, gateway.token())
        said = heard.refused(heard.token.token)
        assert "08006" in said
        done = gateway.command("doctor", check=False)
        heard.heard += (done.stdout + done.stderr).encode()
        assert heard.search(WRONG, heard.secret_of_token()) == {}
    finally:
        gateway.stop()


def test_the_search_finds_what_is_there(pg18: PostgresServer) -> None:
    gateway = Gateway.start(pg18, policies=PERMIT)
    try:
        heard = Eavesdropper(gateway, gateway.token())
        client = heard.session()
        assert codes(client.ask(f"SELECT '{IN_STATEMENT}'")) == []
        client.close()
        assert any(place.endswith(".rec") for place in heard.search(IN_STATEMENT))
    finally:
        gateway.stop()
