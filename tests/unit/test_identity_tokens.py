"""Tokens: their form, what is kept of them, and the verifier against an independent SCRAM."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from scramp import ScramClient, ScramMechanism

from chaperon.identity import tokens

HOUR = 3600 * 10**9


def test_token_form_and_record() -> None:
    issued = tokens.issue("ci-bot", now_ns=1_000, ttl_ns=HOUR)
    text = issued.token.reveal()
    assert len(text) == 55
    assert tokens.token_id_of(text) == issued.record.token_id
    assert issued.record.sha256 == hashlib.sha256(text.encode()).digest()
    assert issued.record.expires_ns == 1_000 + HOUR
    assert issued.record.revoked_ns is None


def test_nothing_kept_or_printed_shows_the_token() -> None:
    issued = tokens.issue("ci-bot", now_ns=0, ttl_ns=HOUR)
    secret = issued.token.reveal().rsplit("_", 1)[1]
    assert secret not in repr(issued)
    assert secret.encode() not in b"".join(
        value
        for name in issued.record.__slots__
        if isinstance(value := getattr(issued.record, name), bytes)
    )


def test_two_tokens_share_nothing() -> None:
    first, second = (tokens.issue("a", now_ns=0, ttl_ns=1) for _ in range(2))
    assert first.record.token_id != second.record.token_id
    assert first.token.reveal()[15:] != second.token.reveal()[15:]
    assert first.record.scram_salt != second.record.scram_salt


@pytest.mark.parametrize("ttl", [0, -1])
def test_a_token_that_never_lives_is_refused(ttl: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        tokens.issue("a", now_ns=0, ttl_ns=ttl)


def test_verifier_of_rfc_7677_example() -> None:
    # RFC 7677 §3: user "user", password "pencil", salt and iterations as printed there; the server
    # signature that the example shows follows from the server key.
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    verifier = tokens.scram_verifier("pencil", salt, 4096)
    auth_message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(verifier.server_key, auth_message, "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_signature = hmac.digest(verifier.stored_key, auth_message, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, client_signature, strict=True))
    assert hashlib.sha256(client_key).digest() == verifier.stored_key


@pytest.mark.parametrize("right", [True, False])
def test_a_scram_client_proves_a_token_and_no_other(right: bool) -> None:
    issued = tokens.issue("ci-bot", now_ns=0, ttl_ns=HOUR)
    record = issued.record
    mechanism = ScramMechanism("SCRAM-SHA-256")
    server = mechanism.make_server(
        lambda _user: (
            record.scram_salt,
            record.scram_stored_key,
            record.scram_server_key,
            record.scram_iterations,
        )
    )
    other = tokens.issue("ci-bot", now_ns=0, ttl_ns=HOUR)
    password = (issued if right else other).token.reveal()
    client = ScramClient(["SCRAM-SHA-256"], "x", password)
    server.set_client_first(client.get_client_first())
    client.set_server_first(server.get_server_first())
    if not right:
        with pytest.raises(Exception, match="invalid-proof"):
            server.set_client_final(client.get_client_final())
        return
    server.set_client_final(client.get_client_final())
    answer = server.get_server_final()
    client.set_server_final(answer)
    assert answer.startswith("v=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "chp_",
        "chp_aaaaaaaaaa_" + "a" * 39,
        "chp_aaaaaaaaaa_" + "a" * 41,
        "chp_aaaaaaaaaa_" + "a" * 40 + "\n",
        "chp_AAAAAAAAAA_" + "a" * 40,
        "chp_aaaaaaaaa1_" + "a" * 40,
        "chq_aaaaaaaaaa_" + "a" * 40,
        "chp_aaaaaaaaaa_" + "а" * 40,  # Cyrillic
        "hunter2",
    ],
)
def test_what_is_no_token(text: str) -> None:
    assert tokens.token_id_of(text) is None


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("ci-bot", ("ci-bot", None)),
        ("ci-bot+abcdefgh23", ("ci-bot", "abcdefgh23")),
        ("ana@example.org+abcdefgh23", ("ana@example.org", "abcdefgh23")),
        ("a+b+abcdefgh23", ("a+b", "abcdefgh23")),
        ("ci-bot+", ("ci-bot+", None)),
        ("ci-bot+short", ("ci-bot+short", None)),
        ("+abcdefgh23", ("", "abcdefgh23")),
        ("", ("", None)),
    ],
)
def test_split_user(user: str, expected: tuple[str, str | None]) -> None:
    assert tokens.split_user(user) == expected
