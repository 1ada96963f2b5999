"""The first bytes of a connection, sent by hand: what no stock client sends on demand."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.gateway import AGENT, RESOURCE, Gateway, Token
from tests.support.servers import PostgresServer

pytestmark = [pytest.mark.server]

SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSS_REQUEST = struct.pack("!II", 8, 80877104)
PROTOCOL_3_0, PROTOCOL_3_2 = 3 << 16, 3 << 16 | 2
SECONDS = 10


@pytest.fixture(scope="module")
def gateway(pg18: PostgresServer) -> Iterator[Gateway]:
    """With TLS downstream; plain text is for loopback, where these tests are."""
    made = Gateway.start(pg18, tls=True, upstream={"tls": "disable"})
    yield made
    made.stop()


@pytest.fixture(scope="module")
def token(gateway: Gateway) -> Token:
    return gateway.token()


def dial(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=SECONDS)


def context(gateway: Gateway, *alpn: str) -> ssl.SSLContext:
    assert gateway.authority is not None
    made = ssl.create_default_context(cafile=str(gateway.authority.ca))
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


def startup(version: int = PROTOCOL_3_0, **parameters: str) -> bytes:
    named = {"user": AGENT, "database": RESOURCE, **parameters}
    body = b"".join(f"{key}\0{value}\0".encode() for key, value in named.items()) + b"\0"
    return struct.pack("!II", len(body) + 8, version) + body


def message(tag: bytes, body: bytes) -> bytes:
    return tag + struct.pack("!I", len(body) + 4) + body


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise EOFError(data)
        data += part
    return data


def receive(sock: socket.socket) -> tuple[bytes, bytes]:
    """One message: its tag and body. EOFError when the peer has closed."""
    tag = exactly(sock, 1)
    (length,) = struct.unpack("!I", exactly(sock, 4))
    return tag, exactly(sock, length - 4)


def until(sock: socket.socket, last: bytes) -> dict[bytes, bytes]:
    """Messages up to one with tag `last`, or an error; the newest of each tag."""
    seen: dict[bytes, bytes] = {}
    while not seen.keys() & {last, b"E"}:
        tag, body = receive(sock)
        seen[tag] = body
    return seen


def ends(sock: socket.socket) -> bool:
    """Whether the peer closes, within the socket's time limit and without a further byte."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def log_in(sock: socket.socket, token: Token, version: int = PROTOCOL_3_0) -> dict[bytes, bytes]:
    sock.sendall(startup(version))
    seen = until(sock, b"R")
    assert seen[b"R"] == struct.pack("!I", 3), "cleartext is expected here"
    sock.sendall(message(b"p", token.token.encode() + b"\0"))
    return seen | until(sock, b"Z")


def works(sock: socket.socket) -> bool:
    sock.sendall(message(b"Q", b"select 'it works'\0"))
    return b"it works" in until(sock, b"Z")[b"D"]


def test_gss_request_is_declined_and_tls_may_follow(gateway: Gateway, token: Token) -> None:
    with closing(dial(gateway)) as sock:
        sock.sendall(GSS_REQUEST)
        assert exactly(sock, 1) == b"N"
        sock.sendall(SSL_REQUEST)
        assert exactly(sock, 1) == b"S"
        with context(gateway).wrap_socket(sock, server_hostname="localhost") as tls:
            log_in(tls, token)
            assert works(tls)


def test_gss_request_is_declined_and_plain_text_may_follow(gateway: Gateway, token: Token) -> None:
    with closing(dial(gateway)) as sock:
        sock.sendall(GSS_REQUEST)
        assert exactly(sock, 1) == b"N"
        log_in(sock, token)
        assert works(sock)


def test_direct_tls_with_its_alpn(gateway: Gateway, token: Token) -> None:
    with (
        closing(dial(gateway)) as sock,
        context(gateway, "postgresql").wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        assert tls.selected_alpn_protocol() == "postgresql"
        log_in(tls, token)
        assert works(tls)


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
def test_direct_tls_without_its_alpn_is_refused(gateway: Gateway, alpn: tuple[str, ...]) -> None:
    with closing(dial(gateway)) as sock:
        try:
            tls = context(gateway, *alpn).wrap_socket(sock, server_hostname="localhost")
            with tls:
                tls.sendall(startup())
                answered = tls.recv(1)
        except (ssl.SSLError, ConnectionError):
            answered = b""
        assert answered in {b"", b"E"}


def test_bytes_behind_the_tls_request_are_refused(gateway: Gateway) -> None:
    """CVE-2021-23214: what a man in the middle puts before the handshake is not taken."""
    with closing(dial(gateway)) as sock:
        sock.sendall(SSL_REQUEST + startup())
        answer = sock.recv(1)
        assert answer in {b"", b"E", b"S"}
        if answer == b"S":
            assert ends(sock)


def test_a_second_tls_request_inside_tls_is_refused(gateway: Gateway) -> None:
    with closing(dial(gateway)) as sock:
        sock.sendall(SSL_REQUEST)
        assert exactly(sock, 1) == b"S"
        with context(gateway).wrap_socket(sock, server_hostname="localhost") as tls:
            tls.sendall(SSL_REQUEST)
            assert tls.recv(1) in {b"", b"E"}


def test_protocol_3_2_has_a_long_cancel_key(gateway: Gateway, token: Token) -> None:
    with closing(dial(gateway)) as sock:
        seen = log_in(sock, token, PROTOCOL_3_2)
        assert b"v" not in seen
        assert 4 + 4 < len(seen[b"K"]) <= 4 + 256
        assert works(sock)


def test_protocol_3_0_has_a_cancel_key_of_four_bytes(gateway: Gateway, token: Token) -> None:
    with closing(dial(gateway)) as sock:
        assert len(log_in(sock, token)[b"K"]) == 4 + 4


def test_a_newer_protocol_and_unknown_options_are_negotiated(
    gateway: Gateway, token: Token
) -> None:
    with closing(dial(gateway)) as sock:
        sock.sendall(startup(3 << 16 | 9, **{"_pq_.unheard_of": "1"}))
        seen = until(sock, b"R")
        newest, count = struct.unpack("!II", seen[b"v"][:8])
        assert newest in {2, PROTOCOL_3_2}
        assert count == 1
        assert seen[b"v"][8:] == b"_pq_.unheard_of\0"
        sock.sendall(message(b"p", token.token.encode() + b"\0"))
        assert b"Z" in until(sock, b"Z")


def test_an_old_protocol_is_refused_in_words(gateway: Gateway) -> None:
    with closing(dial(gateway)) as sock:
        sock.sendall(startup(2 << 16))
        assert sock.recv(1) == b"E"


@pytest.mark.parametrize(
    "first",
    [
        struct.pack("!II", 4, 0),
        struct.pack("!II", 0x7FFFFFFF, PROTOCOL_3_0),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        startup()[:-1] + b"x",
        struct.pack("!II", 9, PROTOCOL_3_0) + b"\0",
    ],
    ids=["too short", "too long", "http", "no end", "no user"],
)
def test_what_is_no_startup_is_refused(gateway: Gateway, first: bytes) -> None:
    with closing(dial(gateway)) as sock:
        sock.sendall(first)
        assert sock.recv(1) in {b"", b"E"}


def test_a_wrong_token_is_refused_in_words(gateway: Gateway, token: Token) -> None:
    wrong = Token(token.token[:-1] + ("a" if token.token[-1] != "a" else "b"), token.public_id)
    with closing(dial(gateway)) as sock:
        error = log_in(sock, wrong)[b"E"]
        assert b"C28P01\0" in error
        assert token.token.encode()[-20:] not in error


def test_a_cancel_with_a_wrong_key_does_nothing(gateway: Gateway, token: Token) -> None:
    with closing(dial(gateway)) as sock, closing(dial(gateway)) as canceller:
        key = log_in(sock, token)[b"K"]
        sock.sendall(message(b"Q", b"select pg_sleep(0.5)\0"))
        guess = key[:4] + bytes(byte ^ 0xFF for byte in key[4:])
        canceller.sendall(struct.pack("!II", 8 + len(guess), 80877102) + guess)
        assert ends(canceller)
        assert b"E" not in until(sock, b"Z")


def test_a_cancel_with_the_key_ends_the_statement(gateway: Gateway, token: Token) -> None:
    with closing(dial(gateway)) as sock, closing(dial(gateway)) as canceller:
        key = log_in(sock, token)[b"K"]
        sock.sendall(message(b"Q", b"select pg_sleep(60)\0"))
        time.sleep(0.5)  # as with any server: one that comes before the statement ends nothing
        canceller.sendall(struct.pack("!II", 8 + len(key), 80877102) + key)
        assert ends(canceller)
        assert b"C57014\0" in until(sock, b"Z")[b"E"]
        assert receive(sock)[0] == b"Z"
        assert works(sock)
