"""A relay that records: real clients' real bytes for the tests of the decoder, without the gateway.

Every Query and Execute gets the same permit, as the gateway does for a repeated statement.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaperon.recording.recorder import Recorder
from chaperon.recording.service import RecordingService
from chaperon.wire.commands import Direction, Mark
from chaperon.wire.permit import Permit

EVIDENCE = b'{"verdict":"allow","policies":["test"],"facts":{"kinds":["select"]}}'
PERMIT = Permit._issue(EVIDENCE, None)
META = {"protocol": "postgres", "principal": "ci-bot", "resource": "orders", "peer": "127.0.0.1:9"}


class _Session:
    """One relayed connection; recording begins behind AuthenticationOk."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.authenticated = False
        self.target = b""
        self.agent = b""
        self.position = 0

    def from_agent(self, data: bytes) -> None:
        if not self.authenticated:
            return
        self.agent += data
        marks = []
        at = 0
        while len(self.agent) - at >= 5:
            end = at + 1 + int.from_bytes(self.agent[at + 1 : at + 5], "big")
            if end > len(self.agent):
                break
            if self.agent[at : at + 1] in (b"Q", b"E"):
                marks.append(Mark(PERMIT, self.position + at))
            at = end
        self.recorder.forward(tuple(marks), self.agent[:at], Direction.FROM_AGENT)
        self.agent = self.agent[at:]
        self.position += at

    def to_agent(self, data: bytes) -> None:
        if not self.authenticated:
            self.target += data
            found = self.target.find(b"R\0\0\0\x08\0\0\0\0")
            if found < 0:
                return
            self.authenticated = True
            data = self.target[found + 9 :]
        self.recorder.reply(data)


class RecordingRelay:
    """Listens on `port`, relays to `target_port`, records into `data`."""

    def __init__(self, data: Path, target_port: int) -> None:
        self.service = RecordingService(data, 0)
        self.service.start()
        self.sessions: list[str] = []
        self.port = 0
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._open: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(asyncio.gather(*self._open))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        recorder = self.service.open(META, lambda reason: None)
        self.sessions.append(recorder.session)
        session = _Session(recorder)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)

        async def pump(
            source: asyncio.StreamReader, sink: asyncio.StreamWriter, down: bool
        ) -> None:
            while data := await source.read(65536):
                (session.from_agent if down else session.to_agent)(data)
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(
            pump(reader, up_writer, True), pump(up_reader, writer, False), return_exceptions=True
        )
        self.service.close(recorder, "the agent closed the connection")

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self.service.stop()


@contextmanager
def recording_relay(data: Path, target_port: int) -> Iterator[RecordingRelay]:
    """A relay that runs inside the `with`; behind it every recording is finished."""
    relay = RecordingRelay(data, target_port)
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
