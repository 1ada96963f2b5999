"""The control server: answers requests on `data/control.sock`, for the user that owns the gateway.

No request, however formed, ends the server or another connection; each connection is answered in
order and holds at most one request and one unsent answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from chaperon.api import wire
from chaperon.api.address import bindable, socket_path
from chaperon.api.context import ControlContext
from chaperon.api.desk import Desk, Method
from chaperon.api.errors import ApiError, Code
from chaperon.api.methods import METHODS
from chaperon.api.values import Json
from chaperon.wire.errors import ConfigError

MOST_CONNECTIONS = 64
_UCRED = struct.Struct("3i")  # pid, uid, gid: SO_PEERCRED of socket(7)
_log = logging.getLogger(__name__)

Reply = Callable[[bytes], Awaitable[None]]


class ControlServer:
    """Serves a running gateway's control socket. `start` and `stop` on the gateway's event loop."""

    def __init__(
        self, context: ControlContext, methods: Mapping[str, Method] | None = None
    ) -> None:
        self._path = socket_path(context.config.data)
        self._desk = Desk(context.config, context.store, context)
        self._methods = METHODS if methods is None else methods
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._inode: tuple[int, int] | None = None

    async def start(self) -> None:
        """Bind and listen. Raises ConfigError where another gateway answers there, or it cannot."""
        listening = _listen(self._path)
        status = os.stat(self._path)
        self._inode = (status.st_dev, status.st_ino)
        self._server = await asyncio.start_unix_server(
            self._accepted, sock=listening, limit=wire.LARGEST_REQUEST
        )

    async def stop(self) -> None:
        """Stop listening, end the open connections and remove the socket. Idempotent."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(self._path)
            if (status.st_dev, status.st_ino) == self._inode:
                self._path.unlink()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connection(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def reply(line: bytes) -> None:
            writer.write(line)
            await writer.drain()

        try:
            refusal = self._refusal(writer)
            if refusal is not None:
                await reply(wire.failure(None, refusal))
                return
            await self._converse(reader, reply)
        except (ConnectionError, TimeoutError):
            pass  # the client went away; nothing is owed to it
        finally:
            writer.close()

    def _refusal(self, writer: asyncio.StreamWriter) -> ApiError | None:
        """Why this connection is not served. The mode of the socket is the lock, this the bolt."""
        uid = _peer_uid(writer.get_extra_info("socket"))
        if uid not in (0, os.geteuid()):
            return ApiError(
                Code.FAILED,
                "The control socket serves only the user that runs the gateway.",
                "Run the command as that user.",
            )
        if len(self._connections) > MOST_CONNECTIONS:
            return ApiError(
                Code.FAILED,
                f"The control socket already has {MOST_CONNECTIONS} connections.",
                "Close one (a chaperon tail, say) and try again.",
            )
        return None

    async def _converse(self, reader: asyncio.StreamReader, reply: Reply) -> None:
        """Answer line by line until the client closes, or sends a line that is too long."""
        next_line = asyncio.ensure_future(_read_line(reader))
        try:
            while True:
                try:
                    line = await next_line
                except ApiError as error:
                    await reply(wire.failure(None, error))
                    return  # where a line begins again is unknown
                if not line:
                    return
                next_line = asyncio.ensure_future(_read_line(reader))
                answering = asyncio.ensure_future(self._answer(line, reply))
                try:
                    await asyncio.wait({answering, next_line}, return_when="FIRST_COMPLETED")
                    if not answering.done() and _closed(next_line):
                        return  # nobody listens any more: a stream would run for ever
                    await answering
                finally:
                    answering.cancel()
        finally:
            next_line.cancel()

    async def _answer(self, line: bytes, reply: Reply) -> None:
        request_id: int | str | None = None
        try:
            request = wire.parse_request(line)
            request_id = request.id
            method = self._methods.get(request.method)
            if method is None:
                raise ApiError(
                    Code.UNKNOWN_METHOD,
                    f"The gateway has no method {request.method[:60]!r}.",
                    "Use the chaperon command of the version that runs as the gateway.",
                )
            outcome = method.run(self._desk, request.params)
            if isinstance(outcome, AsyncIterator):
                async for item in outcome:
                    await reply(wire.event(request_id, item))
                value: Json = None
            else:
                value = await outcome
            await reply(wire.result(request_id, value))
        except ApiError as error:
            await reply(wire.failure(request_id, error))
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            # A bug or a failing store; the connection and the gateway go on, the operator sees it.
            _log.exception("a request on the control socket failed")
            await reply(wire.failure(request_id, _internal(error)))


def _internal(error: Exception) -> ApiError:
    if isinstance(error, ConfigError):
        return ApiError(Code.CONFIGURATION, str(error), "Correct it; chaperon doctor says more.")
    return ApiError(
        Code.INTERNAL,
        f"The gateway failed on this request ({type(error).__name__}).",
        "The gateway's log has the details.",
    )


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """One line without its newline; b"" at the end. Raises ApiError where it is too long."""
    while True:
        try:
            line = await reader.readline()
        except ValueError:
            raise ApiError(
                Code.BAD_REQUEST,
                f"The request is longer than {wire.LARGEST_REQUEST} bytes.",
                "Send a shorter one.",
            ) from None
        if not line:
            return b""
        if stripped := line.strip():
            return stripped


def _closed(next_line: asyncio.Future[bytes]) -> bool:
    return next_line.done() and next_line.exception() is None and not next_line.result()


def _peer_uid(connection: socket.socket) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(raw)[1]
    return uid


def _listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600 from its first moment."""
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.setblocking(False)
    mask = os.umask(0o177)
    try:
        with bindable(path) as name:
            listening.bind(name)
        listening.listen(MOST_CONNECTIONS)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"the control socket {path} cannot be made: {error.strerror}. The data folder must be "
            f"on a local file system and writable for the user that runs the gateway."
        ) from None
    finally:
        os.umask(mask)
    return listening


def _remove_stale(path: Path) -> None:
    """Remove a socket that a killed gateway left. Raises ConfigError where one answers there."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConfigError(f"{path} is not a socket. Move it away; the gateway needs its place.")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, bindable(path) as name:
            probe.settimeout(2)
            probe.connect(name)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return
    except OSError as error:
        raise ConfigError(
            f"the control socket {path} cannot be tried: {error.strerror or error}. If no gateway "
            f"runs on this data folder, delete it."
        ) from None
    raise ConfigError(
        f"another gateway already runs on the data folder {path.parent}. Stop it first, or give "
        f"this one a data folder of its own."
    )
