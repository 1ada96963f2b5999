"""Secrets do not print, and are read when they are needed, with an error that says what to do."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from pathlib import Path

import pytest

from chaperon.secrets import Secret, SecretSource
from chaperon.wire.errors import ConfigError

VALUE = "canary-0451"


def test_no_way_to_print_shows_it() -> None:
    secret = Secret(VALUE)
    assert secret.reveal() == VALUE
    for text in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret:>40}",
        "%s %r" % (secret, [secret]),  # noqa: UP031  # the old form is what is tested
        str({"password": secret}),
    ):
        assert VALUE not in text


@pytest.mark.parametrize("leak", [json.dumps, pickle.dumps, copy.copy, copy.deepcopy, hash, vars])
def test_it_is_not_serialised_copied_or_hashed(leak: object) -> None:
    assert callable(leak)
    with pytest.raises(TypeError) as error:
        leak(Secret(VALUE))
    assert VALUE not in "".join(traceback.format_exception(error.value))


def test_equality_is_by_value() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret("other")
    assert Secret(VALUE) != VALUE
    assert not Secret("")


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SecretSource(env="H3_PASSWORD", where="c.yaml:11:5")
    monkeypatch.delenv("H3_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match=r"c\.yaml:11:5: .*H3_PASSWORD is not set\. Set it"):
        source.resolve()
    monkeypatch.setenv("H3_PASSWORD", "")
    with pytest.raises(ConfigError, match="is empty"):
        source.resolve()
    monkeypatch.setenv("H3_PASSWORD", VALUE)
    assert source.resolve() == Secret(VALUE)
    assert VALUE not in repr(source)


def test_from_a_file_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "password"
    source = SecretSource(file=path)
    with pytest.raises(ConfigError, match="cannot be read"):
        source.resolve()
    for text, value in ((f"{VALUE}\n", VALUE), ("a b\r\n", "a b"), (" x \n\n", " x \n")):
        path.write_bytes(text.encode())
        assert source.resolve().reveal() == value


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [(b"", "empty"), (b"\n", "empty"), (b"\xff", "UTF-8"), (b"x" * 70000, "larger")],
)
def test_a_file_that_holds_no_secret(tmp_path: Path, raw: bytes, wrong: str) -> None:
    (tmp_path / "password").write_bytes(raw)
    with pytest.raises(ConfigError, match=wrong) as error:
        SecretSource(file=tmp_path / "password").resolve()
    assert error.value.__cause__ is None
    assert "xxx" not in str(error.value)
