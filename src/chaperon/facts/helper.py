"""Read large texts in a child process with limits of stack, memory and time.

The pipe's protocol: `length u32 big-endian · bytes` both ways, one answer to each question; texts
go down as UTF-8, facts come back as JSON (`codec`).
Invariant: a crash or a limit there gives `RawFacts` that are unknown, and harms nothing here; a
child that crashed or overran is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import sys

from chaperon.facts import codec, credentials
from chaperon.facts.limits import HELPER_BYTES, HELPER_SECONDS
from chaperon.facts.model import RawFacts
from chaperon.facts.sql import refused

_LENGTH = struct.Struct(">I")
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PATH", "TMPDIR")
_MAX_ANSWER = 64 * 1024 * 1024
_TOO_LARGE = f"The statement is larger than {HELPER_BYTES // 2**20} MiB: split it."
_CRASHED = (
    "The statement is too large or too deeply nested for PostgreSQL's parser: split it, or bind "
    "its values as parameters or an array."
)
_SLOW = "The statement takes too long to be read: split it, or bind its values as parameters."
_NO_CHILD = "Chaperon could not start its helper for large statements: tell an administrator."
_CLOSED = "Chaperon is shutting down."


class Helper:
    """A small pool of child processes, started when needed. Owned by the running event loop.

    At most `size` texts are read at a time; more wait. `seconds` bounds the reading of one text.
    """

    def __init__(self, size: int = 1, seconds: float = HELPER_SECONDS) -> None:
        self._seconds = seconds
        self._slots = asyncio.Semaphore(size)
        self._idle: list[asyncio.subprocess.Process] = []
        self._busy: set[asyncio.subprocess.Process] = set()
        self._closed = False

    async def read_large(self, text: str) -> RawFacts:
        """As `sql.read_statement`, for texts over the limits. Never raises on any text."""
        try:
            data = text.encode()
        except UnicodeEncodeError:
            return refused("The statement is not valid UTF-8.")
        if len(data) > HELPER_BYTES:
            return refused(_TOO_LARGE)
        async with self._slots:
            if self._closed:
                return refused(_CLOSED)
            try:
                child = await self._child()
            except OSError:
                return _hidden(refused(_NO_CHILD), data)
            self._busy.add(child)
            facts: RawFacts | None = None
            try:
                async with asyncio.timeout(self._seconds):
                    facts = codec.decode(await _ask(child, data))
                return facts
            except TimeoutError:
                return _hidden(refused(_SLOW), data)
            except (OSError, EOFError, ValueError):
                return _hidden(refused(_CRASHED), data)
            finally:
                self._busy.discard(child)
                if facts is not None and not self._closed:
                    self._idle.append(child)
                else:
                    await _end(child)

    async def close(self) -> None:
        """End the children. Texts that wait or are being read come back unknown."""
        self._closed = True
        while self._idle:
            await _end(self._idle.pop())
        for child in list(self._busy):
            await _end(child)

    async def _child(self) -> asyncio.subprocess.Process:
        while self._idle:
            child = self._idle.pop()
            if child.returncode is None:
                return child
        return await self._start()

    async def _start(self) -> asyncio.subprocess.Process:
        # `-c` and not `-m`: the package may be in use from a path that only this process knows.
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            "from chaperon.facts.helper_main import main; main()"
        )
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-c",
            code,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            start_new_session=True,
        )


async def _ask(child: asyncio.subprocess.Process, data: bytes) -> bytes:
    if child.stdin is None or child.stdout is None:
        raise EOFError
    child.stdin.write(_LENGTH.pack(len(data)) + data)
    await child.stdin.drain()
    (length,) = _LENGTH.unpack(await child.stdout.readexactly(_LENGTH.size))
    if length > _MAX_ANSWER:
        raise ValueError("an answer beyond any that the helper gives")
    return await child.stdout.readexactly(length)


async def _end(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    await child.wait()


def _hidden(facts: RawFacts, data: bytes) -> RawFacts:
    """A text that was not read, with what may be a credential in it reported as one."""
    secrets = credentials.whole(data)
    return RawFacts((), facts.reasons, facts.kinds, secrets) if secrets else facts
