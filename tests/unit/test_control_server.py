"""The control server on a real socket, met by its client and by clients that misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaperon.api import control
from chaperon.api.client import ControlClient
from chaperon.api.control import ControlServer
from chaperon.api.desk import Desk, Method, method
from chaperon.api.errors import ApiError, Code
from chaperon.api.params import Params
from chaperon.api.values import Json
from chaperon.api.wire import LARGEST_REQUEST
from chaperon.wire.errors import ConfigError

ended = threading.Event()


@method("echo", "text")
async def echo(_desk: Desk, params: Params) -> Json:
    return params.text("text")


@method("boom")
async def boom(_desk: Desk, _params: Params) -> Json:
    raise RuntimeError("secret detail")


@method("count", "to")
async def count(_desk: Desk, params: Params) -> AsyncIterator[Json]:
    for number in range(params.optional_integer("to", least=0, largest=10**9) or 0):
        yield number


@method("forever")
async def forever(_desk: Desk, _params: Params) -> AsyncIterator[Json]:
    try:
        yield "begun"
        await asyncio.sleep(3600)
    finally:
        ended.set()


METHODS: dict[str, Method] = {m.name: m for m in (echo, boom, count, forever)}  # type: ignore[attr-defined]  # decorated


class Running:
    """A control server on an event loop in a thread of its own."""

    def __init__(self, data: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        context: Any = SimpleNamespace(config=SimpleNamespace(data=data), store=None)
        self.server = ControlServer(context, METHODS)
        self.wait(self.server.start())
        self.path = data / "control.sock"

    def wait(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(10)

    def stop(self) -> None:
        self.wait(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(tmp_path)
    yield server
    server.stop()


def raw(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(str(path))
    return connection


def line_of(connection: socket.socket) -> dict[str, Any]:
    with connection.makefile("rb") as lines:
        value = json.loads(lines.readline())
    assert isinstance(value, dict)
    return value


def test_a_call_and_its_answer(running: Running) -> None:
    with ControlClient(running.path) as client:
        assert client.call("echo", {"text": "ä\n😀"}) == "ä\n😀"
        assert client.call("echo", {"text": "again"}) == "again"


def test_errors_come_back_and_the_connection_lives_on(running: Running) -> None:
    with ControlClient(running.path) as client:
        for name, params, code in (
            ("ehco", {}, Code.UNKNOWN_METHOD),
            ("echo", {}, Code.BAD_REQUEST),
            ("echo", {"text": "a", "more": "b"}, Code.BAD_REQUEST),
            ("boom", {}, Code.INTERNAL),
        ):
            with pytest.raises(ApiError) as caught:
                client.call(name, params)
            assert caught.value.code is code
            assert "secret detail" not in str(caught.value)
        assert client.call("echo", {"text": "alive"}) == "alive"


def test_a_stream_and_its_end(running: Running) -> None:
    with ControlClient(running.path) as client:
        assert list(client.stream("count", {"to": 2000})) == list(range(2000))
        assert client.call("echo", {"text": "after"}) == "after"


def test_a_stream_ends_with_its_client(running: Running) -> None:
    ended.clear()
    with ControlClient(running.path) as client:
        assert next(client.stream("forever", {})) == "begun"
    assert ended.wait(10)


def test_a_stream_that_nobody_reads_waits(running: Running) -> None:
    with raw(running.path) as connection:
        connection.sendall(b'{"method": "count", "params": {"to": 1000000000}}\n')
        with ControlClient(running.path) as client:
            assert client.call("echo", {"text": "meanwhile"}) == "meanwhile"


def test_garbage_is_answered(running: Running) -> None:
    with raw(running.path) as connection:
        for line in (b"garbage\n", b"\xff\xfe\n", b"[]\n", b"[" * 50_000 + b"\n"):
            connection.sendall(line)
            assert line_of(connection)["error"]["code"] == "bad_request"
        connection.sendall(b'\n\r\n{"id": "x", "method": "echo", "params": {"text": "y"}}\r\n')
        assert line_of(connection) == {"id": "x", "result": "y"}


def test_a_request_in_single_bytes_and_two_in_one_write(running: Running) -> None:
    with raw(running.path) as connection:
        for byte in b'{"id":1,"method":"echo","params":{"text":"a"}}\n':
            connection.sendall(bytes([byte]))
        assert line_of(connection)["result"] == "a"
        two = b'{"id":1,"method":"echo","params":{"text":"a"}}\n' * 2
        connection.sendall(two)
        with connection.makefile("rb") as lines:
            assert [json.loads(lines.readline())["result"] for _ in range(2)] == ["a", "a"]


def test_a_request_too_long_is_refused_and_bounded(running: Running) -> None:
    with raw(running.path) as connection:
        connection.sendall(b"x" * (LARGEST_REQUEST + 1))
        answer = line_of(connection)
        assert "longer than" in answer["error"]["message"]
        assert connection.recv(1) == b""


def test_a_connection_cut_in_the_middle_harms_nobody(running: Running) -> None:
    for _ in range(20):
        with raw(running.path) as connection:
            connection.sendall(b'{"method": "ec')
    with ControlClient(running.path) as client:
        assert client.call("echo", {"text": "alive"}) == "alive"


def test_too_many_connections(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MOST_CONNECTIONS", 2)
    with ControlClient(running.path) as first, ControlClient(running.path) as second:
        assert first.call("echo", {"text": "1"}) == second.call("echo", {"text": "1"})
        with ControlClient(running.path) as third, pytest.raises(ApiError, match="connections"):
            third.call("echo", {"text": "1"})


def test_the_socket_is_private_and_goes_with_the_server(tmp_path: Path) -> None:
    server = Running(tmp_path)
    assert server.path.stat().st_mode & 0o777 == 0o600
    server.stop()
    assert not server.path.exists()


def test_the_data_folder_is_taken(running: Running, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another gateway already runs"):
        Running(tmp_path)
    with ControlClient(running.path) as client:
        assert client.call("echo", {"text": "alive"}) == "alive"


def test_a_socket_left_by_a_kill_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(tmp_path / "control.sock"))
    left.close()
    server = Running(tmp_path)
    with ControlClient(server.path) as client:
        assert client.call("echo", {"text": "alive"}) == "alive"
    server.stop()


def test_what_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "control.sock").write_text("mine")
    with pytest.raises(ConfigError, match="not a socket"):
        Running(tmp_path)
    assert (tmp_path / "control.sock").read_text() == "mine"


def test_a_data_folder_deeper_than_a_socket_path(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    assert len(os.fsencode(deep / "control.sock")) > 108
    server = Running(deep)
    with ControlClient(server.path) as client:
        assert client.call("echo", {"text": "alive"}) == "alive"
    server.stop()
    assert not server.path.exists()


@pytest.mark.parametrize("how", ["absent", "left", "no folder"])
def test_no_gateway(tmp_path: Path, how: str) -> None:
    path = tmp_path / "control.sock"
    if how == "left":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(str(path))
    if how == "no folder":
        path = tmp_path / "absent" / "control.sock"
    with pytest.raises(ApiError) as caught:
        ControlClient(path)
    assert caught.value.code is Code.NOT_RUNNING


def test_a_gateway_that_hangs_up(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        with ControlClient(path) as client:
            accepted, _ = listening.accept()
            accepted.close()
            with pytest.raises(ApiError) as caught:
                client.call("echo", {})
    assert caught.value.code is Code.UNREACHABLE
