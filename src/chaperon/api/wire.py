"""The control socket's format: one JSON object a line, UTF-8, at most `LARGEST_REQUEST` bytes in.

Request `{"id", "method", "params"}`; answer `{"id", "result"}` or `{"id", "error": {"code",
"message", "remedy"}}`; a stream sends any number of `{"id", "event"}` before one of the two. Any
bytes give a request or an `ApiError`, never another exception.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from chaperon.api.errors import ApiError, Code
from chaperon.api.values import Json

LARGEST_REQUEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `id` comes back in the answer; null where the client sent none."""

    id: int | str | None
    method: str
    params: Mapping[str, Json]


def parse_request(line: bytes) -> Request:
    """Read one line. Raises `ApiError`."""
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _bad("The request is not a JSON object in UTF-8 on one line.") from None
    if not isinstance(value, dict):
        raise _bad("The request is not a JSON object.")
    request_id = value.get("id")
    if request_id is not None and (
        isinstance(request_id, bool) or not isinstance(request_id, int | str)
    ):
        raise _bad("'id' is neither an integer nor a string.")
    method = value.get("method")
    if not isinstance(method, str):
        raise _bad("'method' is not a string.")
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise _bad("'params' is not an object.")
    return Request(request_id, method, params)


def result(request_id: int | str | None, value: Json) -> bytes:
    """The answer to a request that was done."""
    return _line({"id": request_id, "result": value})


def event(request_id: int | str | None, value: Json) -> bytes:
    """One item of a stream."""
    return _line({"id": request_id, "event": value})


def failure(request_id: int | str | None, error: ApiError) -> bytes:
    """The answer to a request that could not be done."""
    body: Json = {
        "code": error.code.value,
        "message": error.message,
        "remedy": error.remedy,
    }
    return _line({"id": request_id, "error": body})


@dataclass(frozen=True, slots=True)
class Answer:
    """One line from the gateway: a result, or an event of a stream."""

    value: Json
    final: bool


def parse_answer(line: bytes) -> Answer:
    """Read one line of the gateway's. Raises `ApiError`: its own, or for a broken line."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        if "result" in value:
            return Answer(value["result"], final=True)
        if "event" in value:
            return Answer(value["event"], final=False)
        error = value.get("error")
        if isinstance(error, dict):
            raise _error(cast(dict[str, Json], error))
    raise ApiError(
        Code.UNREACHABLE,
        "What answers on the control socket does not speak as this version of Chaperon does.",
        "Use the chaperon command of the version that runs as the gateway.",
    )


def _error(body: Mapping[str, Json]) -> ApiError:
    try:
        code = Code(body.get("code"))
    except ValueError:
        code = Code.FAILED
    return ApiError(code, str(body.get("message", "")), str(body.get("remedy", "")))


def _line(value: Mapping[str, Json]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _bad(message: str) -> ApiError:
    return ApiError(
        Code.BAD_REQUEST, message, 'Send {"id": 1, "method": "status", "params": {}} and a newline.'
    )
