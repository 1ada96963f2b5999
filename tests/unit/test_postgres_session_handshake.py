"""The handshake as a playbook: what the agent sends, what it is answered, what goes upstream."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest
from scramp import ScramClient, ScramMechanism
from tests.support.pg_session import (
    GREETING,
    KEY,
    PASSWORD,
    PID,
    TOKEN,
    Driven,
    World,
)
from tests.support.pg_wire import (
    GSS_REQUEST,
    SSL_REQUEST,
    cancel_request,
    codes,
    message,
    messages,
    query,
    shape,
    startup,
)
from tests.support.policies import CI_BOT

from chaperon.identity.claims import Accepted, Refused, Verifier
from chaperon.protocols.postgres.operations import _options as option_names
from chaperon.wire import commands as c
from chaperon.wire import events as e
from chaperon.wire.errors import Side

TLS = e.TlsInfo("TLSv1.3", "AES", None, None)
HELLO = startup(user="ci-bot", database="orders")
SHOWN = message("p", TOKEN.encode() + b"\0")


def accepted(world: World | None = None, *, loopback: bool = True) -> Driven:
    driven = Driven(world or World())
    driven.handle(e.Connected("127.0.0.1:1", loopback))
    return driven


def test_tls_is_started_when_there_is_a_certificate() -> None:
    driven = accepted(World(certificate=b"der"))
    driven.agent(GSS_REQUEST)
    assert driven.take_agent() == b"N"
    driven.agent(SSL_REQUEST)
    assert driven.take_agent() == b"S"
    assert driven.commands[-1] == c.StartTls(Side.DOWNSTREAM)
    driven.handle(e.TlsStarted(Side.DOWNSTREAM, TLS))
    driven.agent(HELLO)
    assert messages(driven.take_agent()) == [("R", struct.pack("!I", 3))]


def test_tls_is_declined_without_a_certificate() -> None:
    driven = accepted()
    driven.agent(SSL_REQUEST)
    assert driven.take_agent() == b"N"


@pytest.mark.parametrize("first", [SSL_REQUEST, GSS_REQUEST])
def test_bytes_behind_a_request_for_encryption_end_the_session(first: bytes) -> None:
    driven = accepted(World(certificate=b"der"))
    driven.agent(first + HELLO)
    assert codes(messages(driven.take_agent())) == ["08P01"]
    assert driven.closed


def test_plain_bytes_while_tls_begins_end_the_session() -> None:
    driven = accepted(World(certificate=b"der"))
    driven.agent(SSL_REQUEST)
    driven.take_agent()
    driven.agent(HELLO)
    assert codes(messages(driven.take_agent())) == ["08P01"]


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
def test_direct_tls_needs_its_alpn(alpn: str | None) -> None:
    driven = Driven(World(certificate=b"der"))
    driven.handle(e.Connected("1", True, replace(TLS, alpn=alpn)))
    assert codes(messages(driven.take_agent())) == ["08P01"]
    assert driven.closed


def test_direct_tls() -> None:
    driven = Driven(World(certificate=b"der"))
    driven.handle(e.Connected("1", False, replace(TLS, alpn="postgresql")))
    driven.agent(HELLO)
    assert messages(driven.take_agent()) == [("R", struct.pack("!I", 3))]


@pytest.mark.parametrize(("minor", "answered"), [(0, None), (2, None), (7, 2), (9999, 2)])
def test_the_version_is_negotiated(minor: int, answered: int | None) -> None:
    driven = accepted()
    driven.agent(startup(minor, user="ci-bot", database="orders"))
    found = messages(driven.take_agent())
    if answered is None:
        assert [tag for tag, _ in found] == ["R"]
    else:
        assert found[0] == ("v", struct.pack("!II", 3 << 16 | answered, 0))


def test_options_that_are_not_understood_are_named() -> None:
    driven = accepted()
    driven.agent(startup(0, user="ci-bot", database="orders", **{"_pq_.later": "1"}))
    found = messages(driven.take_agent())
    assert found[0] == ("v", struct.pack("!II", 3 << 16, 1) + b"_pq_.later\0")


@pytest.mark.parametrize("size", [4, 32])
def test_a_cancel_request_is_routed(size: int) -> None:
    driven = accepted()
    driven.agent(cancel_request(PID, b"k" * size))
    assert driven.commands == [c.RouteCancel(PID + b"k" * size), c.Close("cancel request")]


def test_no_user_is_refused() -> None:
    driven = accepted()
    driven.agent(startup(0, database="orders"))
    assert codes(messages(driven.take_agent())) == ["28000"]


def test_a_token_is_not_asked_for_in_plain_text() -> None:
    driven = accepted(loopback=False)
    driven.agent(HELLO)
    found = messages(driven.take_agent())
    assert codes(found) == ["28000"]
    assert b"sslmode=require" in found[0][1]
    allowed = accepted(World(allow_cleartext=True), loopback=False)
    allowed.agent(HELLO)
    assert [tag for tag, _ in messages(allowed.take_agent())] == ["R"]


def test_a_wrong_token_is_refused_and_nothing_is_dialled() -> None:
    driven = accepted()
    driven.agent(HELLO)
    driven.take_agent()
    driven.agent(message("p", b"chp_wrong\0"))
    assert codes(messages(driven.take_agent())) == ["28P01"]
    assert driven.closed == "wrong token"
    assert not any(isinstance(command, (c.Dial, c.Open)) for command in driven.commands)


def test_everything_at_once_is_as_one_by_one() -> None:
    """An agent that knows what it will be asked need not wait."""
    driven = accepted()
    driven.agent(HELLO + SHOWN + query("SELECT 1"))
    driven.handle(e.Dialled())
    driven.take_target()
    driven.target(GREETING)
    assert shape(messages(driven.take_agent())) == ["R", "R", "K", "ZI"]
    assert b"SHOW search_path" in driven.take_target()
    split = accepted()
    for byte in HELLO + SHOWN:
        split.agent(bytes((byte,)))
    assert isinstance(split.commands[-1], c.Dial)


def test_an_unknown_resource_is_named() -> None:
    driven = accepted()
    driven.agent(startup(0, user="ci-bot", database="nowhere") + SHOWN)
    assert codes(messages(driven.take_agent())[1:]) == ["3D000"]
    assert not any(driven.recorded.values())


def test_a_denied_connect_is_recorded_and_nothing_is_dialled() -> None:
    driven = accepted(World('@id("none") forbid (principal, action, resource);'))
    driven.agent(HELLO + SHOWN)
    assert codes(messages(driven.take_agent())[1:]) == ["42501"]
    assert len(driven.marks) == 1
    assert not any(isinstance(command, c.Dial) for command in driven.commands)


def verifier(proven: Accepted | Refused) -> Verifier:
    salt, stored, server, iterations = ScramMechanism("SCRAM-SHA-256").make_auth_info(
        TOKEN, iteration_count=4096, salt=b"s" * 16
    )
    return Verifier(salt, iterations, stored, server, proven, Refused("wrong", "No.", "Try."))


def sasl_initial(mechanism: str, text: bytes) -> bytes:
    return message("p", mechanism.encode() + b"\0" + struct.pack("!i", len(text)) + text)


@pytest.mark.parametrize("empty", [True, False], ids=["libpq", "named"])
@pytest.mark.parametrize("token", [TOKEN, "wrong"])
def test_scram_proves_the_token(empty: bool, token: str) -> None:
    driven = accepted(loopback=False)
    driven.outcome = verifier(Accepted(CI_BOT, "aaaaaaaaaa", 2**62))
    driven.agent(startup(0, user="ci-bot+aaaaaaaaaa", database="orders"))
    offer = messages(driven.take_agent())
    assert offer == [("R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0")]
    client = ScramClient(["SCRAM-SHA-256"], "x", token)
    first = client.get_client_first()
    if empty:
        first = first.replace("n=x", "n=")
        client.client_first_bare = client.client_first_bare.replace("n=x", "n=")
    driven.agent(sasl_initial("SCRAM-SHA-256", first.encode()))
    (tag, payload), *_ = messages(driven.take_agent())
    assert (tag, payload[:4]) == ("R", struct.pack("!I", 11))
    client.set_server_first(payload[4:].decode())
    driven.agent(message("p", client.get_client_final().encode()))
    found = messages(driven.take_agent())
    if token == TOKEN:
        assert found[0][1][:4] == struct.pack("!I", 12)
        client.set_server_final(found[0][1][4:].decode())
        assert isinstance(driven.commands[-1], c.Dial)
    else:
        assert codes(found) == ["28P01"]


def test_a_proof_of_a_revoked_token_is_refused() -> None:
    driven = accepted()
    driven.outcome = verifier(Refused("revoked", "It was revoked.", "Make another."))
    driven.agent(startup(0, user="ci-bot+aaaaaaaaaa", database="orders"))
    client = ScramClient(["SCRAM-SHA-256"], "x", TOKEN)
    driven.take_agent()
    driven.agent(sasl_initial("SCRAM-SHA-256", client.get_client_first().encode()))
    client.set_server_first(messages(driven.take_agent())[0][1][4:].decode())
    driven.agent(message("p", client.get_client_final().encode()))
    assert driven.closed == "revoked"


@pytest.mark.parametrize(
    "answer",
    [
        sasl_initial("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=x"),
        sasl_initial("SCRAM-SHA-256", b"n,,n=,r="),
        sasl_initial("SCRAM-SHA-256", b"y,,"),
        sasl_initial("SCRAM-SHA-256", b"\xff"),
        message("p", b"SCRAM-SHA-256\0"),
        message("p", TOKEN.encode()),
        message("Q", b"SELECT 1\0"),
    ],
)
def test_broken_sasl_ends_the_session_and_repeats_nothing(answer: bytes) -> None:
    driven = accepted()
    driven.outcome = verifier(Accepted(CI_BOT, "aaaaaaaaaa", 2**62))
    driven.agent(startup(0, user="ci-bot+aaaaaaaaaa", database="orders"))
    driven.take_agent()
    driven.agent(answer)
    driven.agent(message("p", b"c=biws,r=x,p=eA=="))
    assert driven.closed
    assert TOKEN.encode() not in driven.take_agent()
    assert TOKEN not in driven.closed


def logging_in(world: World | None = None) -> Driven:
    driven = accepted(world)
    driven.agent(HELLO + SHOWN)
    driven.take_agent()
    driven.handle(e.Dialled())
    return driven


def authentication(kind: int, body: bytes = b"") -> bytes:
    return message("R", struct.pack("!I", kind) + body)


def test_the_upstream_is_asked_for_tls_as_configured() -> None:
    driven = logging_in(World(tls="prefer"))
    assert driven.take_target() == SSL_REQUEST
    driven.target(b"N")
    assert driven.take_target() == startup(user="app", database="shop")
    strict = logging_in(World(tls="require"))
    strict.target(b"N")
    assert codes(messages(strict.take_agent())) == ["08006"]
    injected = logging_in(World(tls="prefer"))
    injected.target(b"S" + GREETING)
    assert injected.closed


@pytest.mark.parametrize("kind", ["cleartext", "md5", "scram"])
def test_the_gateway_logs_in(kind: str) -> None:
    driven = logging_in()
    driven.take_target()
    if kind == "cleartext":
        driven.target(authentication(3))
        assert driven.take_target() == message("p", PASSWORD.encode() + b"\0")
    elif kind == "md5":
        driven.target(authentication(5, b"salt"))
        inner = hashlib.md5(f"{PASSWORD}app".encode()).hexdigest()
        proof = hashlib.md5(inner.encode() + b"salt").hexdigest()
        assert driven.take_target() == message("p", f"md5{proof}\0".encode())
    else:
        mechanism = ScramMechanism("SCRAM-SHA-256")
        info = mechanism.make_auth_info(PASSWORD)
        server = mechanism.make_server(lambda _user: info)
        driven.target(authentication(10, b"SCRAM-SHA-256\0\0"))
        ((_, first),) = messages(driven.take_target())
        server.set_client_first(first[18:].decode())
        driven.target(authentication(11, server.get_server_first().encode()))
        ((_, final),) = messages(driven.take_target())
        server.set_client_final(final.decode())
        driven.target(authentication(12, server.get_server_final().encode()))
    driven.target(GREETING)
    assert shape(messages(driven.take_agent()))[-1] == "ZI"
    assert not any(PASSWORD.encode() in data for data in driven.recorded.values())


@pytest.mark.parametrize(
    "answer",
    [
        authentication(0),
        authentication(12, b"v=bm90aGluZw=="),
        authentication(11, b"nonsense"),
        authentication(11, b"r=x,s=eA==,i=1"),
    ],
)
def test_a_server_that_does_not_prove_itself_is_not_believed(answer: bytes) -> None:
    driven = logging_in()
    driven.target(authentication(10, b"SCRAM-SHA-256\0\0"))
    driven.target(answer)
    assert driven.closed
    assert shape(messages(driven.take_agent())) == ["E"]


def test_a_refused_login_says_nothing_of_the_credential() -> None:
    driven = logging_in()
    error = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user app\0\0"
    driven.target(message("E", error))
    found = driven.take_agent()
    assert codes(messages(found)) == ["08006"]
    assert b"app" not in found
    assert "password authentication failed" in str(driven.closed)


def test_the_agent_gets_a_cancel_secret_of_its_own() -> None:
    for minor, size in ((0, 4), (2, 32)):
        driven = accepted()
        driven.agent(startup(minor, user="ci-bot", database="orders") + SHOWN)
        driven.handle(e.Dialled())
        driven.take_agent()
        driven.target(GREETING)
        (key,) = [p for tag, p in messages(driven.take_agent()) if tag == "K"]
        assert key == PID + b"g" * size
        assert c.RegisterCancel(PID + b"g" * size) in driven.commands
        assert not any(b"gggg" in data or KEY in data for data in driven.recorded.values())


def test_what_the_target_says_behind_its_greeting_is_not_lost() -> None:
    driven = logging_in()
    notice = message("N", b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0")
    driven.target(GREETING + notice + notice[:7])
    assert messages(driven.take_agent())[-1][0] == "N"
    driven.target(notice[7:])
    assert messages(driven.take_agent()) == [("N", notice[5:])]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("-c a=1 --b-c=2 -cD=3", ["a", "b_c", "d"]),
        (r"-c a=x\ y -c b=1", ["a", "b"]),
        (r"-c a=x\\ -cb=1", ["a", "b"]),
        ("-c a=1\v-c\tb=2", ["a", "b"]),
        ("-c a=1\u00a0-c", ["a"]),
        ("-e -B 5", ["-e", "-B", "5"]),
        ("-c", [""]),
    ],
)
def test_startup_options_are_split_as_the_server_does(options: str, names: list[str]) -> None:
    assert option_names(options) == names
