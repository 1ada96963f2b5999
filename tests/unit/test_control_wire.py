"""The control socket's lines: any bytes give a request or an ApiError, and answers read back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperon.api import wire
from chaperon.api.errors import ApiError, Code
from chaperon.api.params import Params


def test_request() -> None:
    line = b'{"id": 7, "method": "status", "params": {"a": "b"}}'
    assert wire.parse_request(line) == wire.Request(7, "status", {"a": "b"})
    assert wire.parse_request(b'{"method": "status"}') == wire.Request(None, "status", {})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"[]",
        b"1",
        b"null",
        b"{}",
        b'{"method": 1}',
        b'{"method": "status", "params": []}',
        b'{"method": "status", "id": true}',
        b'{"method": "status", "id": 1.5}',
        b'{"method": "status", "id": {}}',
        b'{"method": "\xff"}',
        b"[" * 60_000,
        b'{"id": ' + b"9" * 60_000 + b"}",
    ],
)
def test_what_is_no_request(line: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        wire.parse_request(line)
    assert caught.value.code is Code.BAD_REQUEST
    assert caught.value.remedy


@given(st.binary(max_size=200))
def test_any_bytes_give_a_request_or_an_api_error(line: bytes) -> None:
    try:
        outcome: object = wire.parse_request(line)
    except ApiError as error:
        outcome = error.code
    assert outcome is Code.BAD_REQUEST or isinstance(outcome, wire.Request)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(_json)
def test_answers_are_one_line_and_read_back(value: object) -> None:
    line = wire.result(1, value)  # type: ignore[arg-type]  # hypothesis gives object
    assert line.count(b"\n") == 1
    assert wire.parse_answer(line) == wire.Answer(value, final=True)  # type: ignore[arg-type]  # as above


def test_an_error_comes_back_as_it_was() -> None:
    error = ApiError(Code.NOT_FOUND, "No such thing.", "Look elsewhere.")
    with pytest.raises(ApiError) as caught:
        wire.parse_answer(wire.failure(3, error))
    assert (caught.value.code, caught.value.message, caught.value.remedy) == (
        Code.NOT_FOUND,
        "No such thing.",
        "Look elsewhere.",
    )


@pytest.mark.parametrize("line", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"[]", b'{"id":1}', b"[" * 9999])
def test_another_servers_answer_is_unreachable(line: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        wire.parse_answer(line)
    assert caught.value.code is Code.UNREACHABLE


def test_an_error_code_of_a_newer_gateway_is_a_failure() -> None:
    line = json.dumps({"error": {"code": "teapot", "message": "m", "remedy": "r"}}).encode()
    with pytest.raises(ApiError) as caught:
        wire.parse_answer(line)
    assert caught.value.code is Code.FAILED


def params(**values: object) -> Params:
    return Params("m", frozenset({"name", "count"}), values)  # type: ignore[arg-type]  # wrong on purpose


def test_parameters_by_name_and_type() -> None:
    given_ = params(name="x", count=3)
    assert given_.text("name") == "x"
    assert given_.optional_integer("count", least=1, largest=3) == 3
    assert params().optional_text("name") is None
    assert params(name=None).optional_text("name") is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nam": "x"}, "no parameter 'nam'"),
        ({"name": 1}, "wants a string"),
        ({"name": "a\0b"}, "NUL"),
        ({"name": "\ud800"}, "surrogates"),
        ({"name": ""}, "needs the parameter"),
        ({}, "needs the parameter"),
    ],
)
def test_parameters_that_do_not_fit(values: dict[str, object], words: str) -> None:
    with pytest.raises(ApiError, match=words):
        params(**values).text("name")


@pytest.mark.parametrize("value", ["3", 3.0, True, 0, 4])
def test_an_integer_out_of_range_or_kind(value: object) -> None:
    with pytest.raises(ApiError):
        params(count=value).optional_integer("count", least=1, largest=3)
