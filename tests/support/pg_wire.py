"""PostgreSQL's messages for tests: builders of what an agent sends, a reader, a raw client.

Written apart from the package on purpose: a mistake there is not repeated here.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from typing import Self

from scramp import ScramClient

Message = tuple[str, bytes]


def message(tag: str, payload: bytes = b"") -> bytes:
    return tag.encode() + struct.pack("!I", len(payload) + 4) + payload


def startup(minor: int = 0, **parameters: str) -> bytes:
    body = struct.pack("!I", 3 << 16 | minor)
    body += b"".join(f"{n}\0{v}\0".encode() for n, v in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def query(text: str | bytes) -> bytes:
    return message("Q", (text if isinstance(text, bytes) else text.encode()) + b"\0")


def parse(text: str | bytes, name: str = "", *types: int) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    oids = struct.pack(f"!H{len(types)}I", len(types), *types)
    return message("P", name.encode() + b"\0" + raw + b"\0" + oids)


def bind(portal: str = "", statement: str = "", *values: bytes | None) -> bytes:
    body = portal.encode() + b"\0" + statement.encode() + b"\0" + struct.pack("!HH", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack("!H", 0))


def describe(kind: str = "P", name: str = "") -> bytes:
    return message("D", kind.encode() + name.encode() + b"\0")


def execute(portal: str = "", rows: int = 0) -> bytes:
    return message("E", portal.encode() + b"\0" + struct.pack("!I", rows))


def close(kind: str, name: str) -> bytes:
    return message("C", kind.encode() + name.encode() + b"\0")


def call(oid: int, *values: bytes) -> bytes:
    body = struct.pack("!IHHH", oid, 1, 0, len(values))
    body += b"".join(struct.pack("!i", len(value)) + value for value in values)
    return message("F", body + struct.pack("!H", 0))


def copy_data(data: bytes) -> bytes:
    return message("d", data)


COPY_DONE = message("c")
SYNC = message("S")
FLUSH = message("H")
TERMINATE = message("X")
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSS_REQUEST = struct.pack("!II", 8, 80877104)


def copy_fail(why: str = "no") -> bytes:
    return message("f", why.encode() + b"\0")


def cancel_request(pid: bytes, secret: bytes) -> bytes:
    return struct.pack("!II", 12 + len(secret), 80877102) + pid + secret


def whole(text: str, *values: bytes | None, name: str = "") -> bytes:
    """Parse, Bind, Execute, Sync."""
    return parse(text, name) + bind("", name, *values) + execute() + SYNC


def messages(data: bytes) -> list[Message]:
    """Whole messages of `data`; ValueError where it ends in the middle of one."""
    found: list[Message] = []
    at = 0
    while at < len(data):
        if at + 5 > len(data):
            raise ValueError("a message is cut")
        end = at + 1 + struct.unpack_from("!I", data, at + 1)[0]
        if end > len(data):
            raise ValueError("a message is cut")
        found.append((chr(data[at]), data[at + 5 : end]))
        at = end
    return found


def error_fields(payload: bytes) -> dict[str, str]:
    return {part[:1].decode(): part[1:].decode() for part in payload.split(b"\0") if part}


def rows(found: list[Message]) -> list[tuple[bytes | None, ...]]:
    """The values of DataRow messages."""
    answer = []
    for tag, payload in found:
        if tag == "D":
            at, values = 2, []
            for _ in range(struct.unpack_from("!H", payload)[0]):
                (size,) = struct.unpack_from("!i", payload, at)
                values.append(None if size < 0 else payload[at + 4 : at + 4 + size])
                at += 4 + max(size, 0)
            answer.append(tuple(values))
    return answer


def shape(found: list[Message]) -> list[str]:
    """What a client goes by: tags, transaction states, command tags; never an error's words."""
    answer = []
    for tag, payload in found:
        if tag == "Z":
            answer.append("Z" + payload.decode())
        elif tag == "C":
            answer.append("C " + payload[:-1].decode())
        elif tag not in "NSA":
            answer.append(tag)
    return answer


def codes(found: list[Message]) -> list[str]:
    """The SQLSTATEs of the errors, in order."""
    return [error_fields(payload)["C"] for tag, payload in found if tag == "E"]


@dataclass(slots=True)
class RawClient:
    """A client that sends bytes as it is told and reads whole messages. Loopback only."""

    socket: socket.socket
    greeting: list[Message] = field(default_factory=list)
    _buffer: bytes = b""

    @classmethod
    def connect(
        cls, port: int, user: str, password: str, database: str, minor: int = 0, **more: str
    ) -> Self:
        """Log in; ConnectionError with the server's error fields in it when refused."""
        client = cls(socket.create_connection(("127.0.0.1", port), timeout=20))
        client.send(startup(minor, user=user, database=database, **more))
        client._log_in(password)
        client.greeting += client.until_ready()
        return client

    def _log_in(self, password: str) -> None:
        scram: ScramClient | None = None
        while True:
            tag, payload = self.next()
            if tag == "v":
                continue
            if tag != "R":
                self.close()
                raise ConnectionError(error_fields(payload) if tag == "E" else tag)
            kind, body = struct.unpack_from("!I", payload)[0], payload[4:]
            if kind == 0:
                return
            if kind == 3:
                self.send(message("p", password.encode() + b"\0"))
            elif kind == 10:
                scram = ScramClient(["SCRAM-SHA-256"], "x", password)
                first = scram.get_client_first().encode()
                size = struct.pack("!i", len(first))
                self.send(message("p", b"SCRAM-SHA-256\0" + size + first))
            elif kind == 11 and scram:
                scram.set_server_first(body.decode())
                self.send(message("p", scram.get_client_final().encode()))
            elif kind == 12 and scram:
                scram.set_server_final(body.decode())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def next(self) -> Message:
        """One message; ConnectionError at the end of the stream, TimeoutError after 20 s."""
        while len(self._buffer) < 5 or len(self._buffer) < self._size():
            self._fill()
        size = self._size()
        found = (chr(self._buffer[0]), self._buffer[5:size])
        self._buffer = self._buffer[size:]
        return found

    def _size(self) -> int:
        return 1 + int.from_bytes(self._buffer[1:5], "big")

    def _fill(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the connection has ended")
        self._buffer += data

    def until_ready(self, times: int = 1) -> list[Message]:
        """Everything up to the `times`-th ReadyForQuery."""
        found: list[Message] = []
        while times:
            found.append(self.next())
            times -= found[-1][0] == "Z"
        return found

    def until(self, *tags: str) -> list[Message]:
        """Everything up to a message of one of `tags`."""
        found = [self.next()]
        while found[-1][0] not in tags:
            found.append(self.next())
        return found

    def ask(self, data: bytes | str, times: int = 1) -> list[Message]:
        """Send, or send a simple query; then `until_ready`."""
        self.send(query(data) if isinstance(data, str) else data)
        return self.until_ready(times)

    def close(self) -> None:
        self.socket.close()
