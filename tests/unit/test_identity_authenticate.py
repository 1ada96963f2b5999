"""Claims judged: who is let in, and what one who is not gets to know."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from chaperon.identity import mock_key as keys
from chaperon.identity import tokens
from chaperon.identity.authenticate import Authenticator
from chaperon.identity.claims import Accepted, PasswordClaim, Refused, Verifier, VerifierClaim
from chaperon.secrets import Secret
from chaperon.wire.errors import ConfigError
from chaperon.wire.principal import Principal, PrincipalKind

SECOND = 10**9
HOUR = 3600 * SECOND
NOW = 1_800_000_000 * SECOND
CI_BOT = Principal(PrincipalKind.AGENT, "ci-bot", frozenset({"analysts"}))
ANA = Principal(PrincipalKind.USER, "ana", frozenset({"dba"}))


class Gateway:
    """An authenticator over a dictionary of stored tokens, with a clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW
        self.rows: dict[str, tokens.TokenRecord] = {}
        self.principals = {p.name: p for p in (CI_BOT, ANA)}
        self.authenticator = Authenticator(
            self.principals, self.rows.get, b"k" * 32, lambda: self.now
        )

    def issue(self, principal: str = "ci-bot") -> tuple[str, str]:
        issued = tokens.issue(principal, now_ns=self.now, ttl_ns=HOUR)
        self.rows[issued.record.token_id] = issued.record
        return issued.token.reveal(), issued.record.token_id

    def change(self, token_id: str, **changes: int | None) -> None:
        self.rows[token_id] = dataclasses.replace(self.rows[token_id], **changes)

    def password(self, user: str, secret: str) -> Accepted | Refused:
        outcome = self.authenticator.authenticate(PasswordClaim(user, Secret(secret), "orders"))
        assert isinstance(outcome, Accepted | Refused)
        return outcome

    def verifier(self, user: str, token_id: str) -> Verifier:
        outcome = self.authenticator.authenticate(VerifierClaim(user, token_id, "orders"))
        assert isinstance(outcome, Verifier)
        return outcome


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def refused(outcome: Accepted | Refused) -> Refused:
    assert isinstance(outcome, Refused)
    return outcome


def test_the_right_token_is_its_principal(gateway: Gateway) -> None:
    token, token_id = gateway.issue()
    assert gateway.password("ci-bot", token) == Accepted(CI_BOT, token_id, NOW + HOUR)
    assert gateway.password(f"ci-bot+{token_id}", token) == Accepted(CI_BOT, token_id, NOW + HOUR)


def test_unknown_token_and_wrong_secret_read_the_same(gateway: Gateway) -> None:
    _, token_id = gateway.issue()
    wrong = refused(gateway.password("ci-bot", f"chp_{token_id}_{'a' * 40}"))
    unknown = refused(gateway.password("ci-bot", f"chp_{'a' * 10}_{'a' * 40}"))
    nobody = refused(gateway.password("mallory", f"chp_{token_id}_{'a' * 40}"))
    assert (wrong.message, wrong.remedy) == (unknown.message, unknown.remedy)
    assert (wrong.message, wrong.remedy) == (nobody.message, nobody.remedy)
    assert wrong.reason != unknown.reason


def test_one_character_off_is_refused(gateway: Gateway) -> None:
    token, _ = gateway.issue()
    for position in (15, 30, 54):
        other = "b" if token[position] != "b" else "c"
        spoilt = token[:position] + other + token[position + 1 :]
        assert "not valid" in refused(gateway.password("ci-bot", spoilt)).message


def test_a_password_that_is_no_token_says_what_is_wanted(gateway: Gateway) -> None:
    outcome = refused(gateway.password("ci-bot", "hunter2"))
    assert "not a gateway token" in outcome.message
    assert "chp_" in outcome.remedy
    assert "hunter2" not in f"{outcome}"


def test_expired(gateway: Gateway) -> None:
    token, token_id = gateway.issue()
    gateway.now = NOW + HOUR - 1
    assert isinstance(gateway.password("ci-bot", token), Accepted)
    gateway.now = NOW + HOUR
    outcome = refused(gateway.password("ci-bot", token))
    assert outcome.message == "This token expired at 2027-01-15 09:00:00 UTC."
    assert "chaperon token create ci-bot" in outcome.remedy
    spoilt = token[:-1] + ("a" if token[-1] != "a" else "b")
    assert "expired" not in refused(gateway.password("ci-bot", spoilt)).message
    assert isinstance(gateway.verifier("ci-bot", token_id).proven, Refused)


def test_revoked_at_once(gateway: Gateway) -> None:
    token, token_id = gateway.issue()
    accepted = gateway.password("ci-bot", token)
    assert isinstance(accepted, Accepted)
    gateway.change(token_id, revoked_ns=NOW)
    assert refused(gateway.password("ci-bot", token)).message == "This token was revoked."
    assert refused(gateway.authenticator.revalidate(accepted)).message == "This token was revoked."
    del gateway.rows[token_id]
    assert isinstance(gateway.authenticator.revalidate(accepted), Refused)


def test_token_of_another_principal_does_not_name_it(gateway: Gateway) -> None:
    token, token_id = gateway.issue("ana")
    outcome = refused(gateway.password("ci-bot", token))
    assert "another principal" in outcome.message
    assert "ana" not in f"{outcome.message} {outcome.remedy}".split()
    assert "'ana'" in outcome.reason
    assert isinstance(gateway.verifier("ci-bot", token_id).proven, Refused)


def test_user_name_with_the_id_of_another_token(gateway: Gateway) -> None:
    token, token_id = gateway.issue()
    _, other_id = gateway.issue()
    outcome = refused(gateway.password(f"ci-bot+{other_id}", token))
    assert f"ci-bot+{token_id}" in outcome.remedy


def test_principal_that_left_the_configuration(gateway: Gateway) -> None:
    token, _ = gateway.issue()
    del gateway.principals["ci-bot"]
    assert "no longer in" in refused(gateway.password("ci-bot", token)).message


def test_names_are_exact(gateway: Gateway) -> None:
    token, _ = gateway.issue()
    for user in ("CI-BOT", "ci-bot ", "ci-bot\0", "", "+" + "a" * 10):
        assert isinstance(gateway.password(user, token), Refused)


def test_verifier_of_a_known_token_means_its_principal(gateway: Gateway) -> None:
    _, token_id = gateway.issue()
    verifier = gateway.verifier("ci-bot", token_id)
    row = gateway.rows[token_id]
    assert (verifier.salt, verifier.stored_key) == (row.scram_salt, row.scram_stored_key)
    assert verifier.proven == Accepted(CI_BOT, token_id, NOW + HOUR)
    assert "not valid" in verifier.unproven.message


def test_mock_verifier_looks_real_and_stays_the_same(gateway: Gateway) -> None:
    _, token_id = gateway.issue()
    real = gateway.verifier("ci-bot", token_id)
    mock, again = (gateway.verifier("ci-bot", "a" * 10) for _ in range(2))
    other = gateway.verifier("ci-bot", "b" * 10)
    assert mock == again
    assert mock.salt != other.salt
    assert [len(f) for f in (mock.salt, mock.stored_key, mock.server_key)] == [
        len(f) for f in (real.salt, real.stored_key, real.server_key)
    ]
    assert mock.iterations == real.iterations
    assert isinstance(mock.proven, Refused)
    assert mock.unproven.message == real.unproven.message
    assert mock.unproven.remedy == real.unproven.remedy
    restarted = Authenticator({}, {}.get, b"k" * 32)
    assert restarted.authenticate(VerifierClaim("ci-bot", "a" * 10, "orders")) == mock


def test_no_secret_in_any_repr(gateway: Gateway) -> None:
    token, token_id = gateway.issue()
    claim = PasswordClaim("ci-bot", Secret(token), "orders")
    verifier = gateway.verifier("ci-bot", token_id)
    shown = f"{claim!r} {verifier!r} {gateway.password('ana', token)!r}"
    assert token.rsplit("_", 1)[1] not in shown
    assert repr(verifier.stored_key) not in shown


def test_what_is_no_claim_is_an_error(gateway: Gateway) -> None:
    with pytest.raises(TypeError, match="str"):
        gateway.authenticator.authenticate("ci-bot")


def test_a_failing_store_lets_nobody_in() -> None:
    def find(_token_id: str) -> None:
        raise OSError("disk gone")

    authenticator = Authenticator({"ci-bot": CI_BOT}, find, b"k" * 32)
    token = tokens.issue("ci-bot", now_ns=0, ttl_ns=HOUR).token
    with pytest.raises(OSError, match="disk gone"):
        authenticator.authenticate(PasswordClaim("ci-bot", token, "orders"))


def test_mock_key_is_made_once(tmp_path: Path) -> None:
    key = keys.mock_key(tmp_path)
    assert len(key) == 32
    assert keys.mock_key(tmp_path) == key
    assert [p.name for p in tmp_path.iterdir()] == [keys.FILE_NAME]
    assert (tmp_path / keys.FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_mock_key_damaged_or_unwritable(tmp_path: Path) -> None:
    (tmp_path / keys.FILE_NAME).write_bytes(b"short")
    with pytest.raises(ConfigError, match="damaged"):
        keys.mock_key(tmp_path)
    with pytest.raises(ConfigError, match="cannot be made"):
        keys.mock_key(tmp_path / "absent")
