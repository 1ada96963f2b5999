"""The control socket from the outside: one request, one answer; or a stream until it ends.

Synchronous, because its users (the command line, scripts) are. Tells apart that no gateway runs
(`NOT_RUNNING`: the store may be read without it) and that one cannot be reached (`UNREACHABLE`).
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from chaperon.api.address import bindable
from chaperon.api.errors import ApiError, Code
from chaperon.api.values import Json
from chaperon.api.wire import LARGEST_REQUEST, parse_answer

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 60.0


class ControlClient:
    """A connection to a running gateway. Use it in a `with`."""

    def __init__(self, path: Path) -> None:
        """Connect to the control socket at `path`.

        Raises ApiError: `NOT_RUNNING` where nobody listens, `UNREACHABLE` where it may not or does
        not answer.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(CONNECT_SECONDS)
            with bindable(path) as name:
                self._socket.connect(name)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            self._socket.close()
            raise ApiError(
                Code.NOT_RUNNING,
                f"No gateway runs on the data folder {path.parent}.",
                "Start it with: chaperon serve",
            ) from None
        except PermissionError:
            self._socket.close()
            raise ApiError(
                Code.UNREACHABLE,
                f"The control socket {path} belongs to another user.",
                "Run the command as the user that runs the gateway.",
            ) from None
        except OSError as error:
            self._socket.close()
            raise _unreachable(str(error.strerror or error)) from None
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a stream on the gateway's side ends with it. Idempotent."""
        self._lines.close()
        self._socket.close()

    def call(self, method: str, params: Mapping[str, Json]) -> Json:
        """Send one request and return its result. Raises ApiError, also the gateway's own."""
        self._socket.settimeout(ANSWER_SECONDS)
        self._send(method, params)
        while True:
            answer = parse_answer(self._line())
            if answer.final:
                return answer.value

    def stream(self, method: str, params: Mapping[str, Json]) -> Iterator[Json]:
        """Send one request and yield its events until the gateway ends them. Raises ApiError."""
        self._socket.settimeout(None)
        self._send(method, params)
        while not (answer := parse_answer(self._line())).final:
            yield answer.value

    def _send(self, method: str, params: Mapping[str, Json]) -> None:
        line = json.dumps({"id": 1, "method": method, "params": params}).encode("ascii") + b"\n"
        if len(line) > LARGEST_REQUEST:
            raise ApiError(Code.BAD_REQUEST, "The request is too long.", "Give shorter values.")
        # A gateway that refuses the connection answers before it is asked, and closes: its answer
        # is still there to be read.
        with contextlib.suppress(BrokenPipeError):
            self._socket.sendall(line)

    def _line(self) -> bytes:
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise _unreachable(f"no answer within {ANSWER_SECONDS:.0f} s") from None
        except OSError as error:
            raise _unreachable(str(error.strerror or error)) from None
        if not line.endswith(b"\n"):
            raise _unreachable("it closed the connection")
        return line


def _unreachable(why: str) -> ApiError:
    return ApiError(
        Code.UNREACHABLE,
        f"The gateway's control socket does not answer: {why}.",
        "See whether the gateway is shutting down or stuck; its log says more.",
    )
