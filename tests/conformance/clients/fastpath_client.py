"""FunctionCall, the message that only libpq's large-object calls and PQfn still send, by ctypes."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import psycopg
from transcript import say, section

_WRITE, _READ = 0x20000, 0x40000  # libpq-fs.h: INV_WRITE, INV_READ


def library() -> ctypes.CDLL:
    """The libpq that psycopg brings."""
    folder = Path(psycopg.__file__).parent.parent / "psycopg_binary.libs"
    lib = ctypes.CDLL(str(next(folder.glob("libpq-*"))))
    lib.PQconnectdb.restype = lib.PQexec.restype = ctypes.c_void_p
    lib.PQerrorMessage.restype = lib.PQcmdStatus.restype = ctypes.c_char_p
    lib.PQfn.restype = ctypes.c_void_p
    return lib


class Argument(ctypes.Structure):
    """PQArgBlock of an integer argument."""

    _fields_ = [("len", ctypes.c_int), ("isint", ctypes.c_int), ("integer", ctypes.c_int64)]


def main() -> None:
    lib = library()
    conn = ctypes.c_void_p(lib.PQconnectdb(b""))

    def run(statement: bytes) -> None:
        say(
            statement,
            ctypes.string_at(lib.PQcmdStatus(ctypes.c_void_p(lib.PQexec(conn, statement)))),
        )

    section("large objects")
    run(b"begin")
    oid = lib.lo_create(conn, 515151)
    handle = lib.lo_open(conn, oid, _WRITE | _READ)
    data = os.urandom(100_000)
    say(oid, handle, lib.lo_write(conn, handle, data, len(data)))
    say(lib.lo_lseek(conn, handle, 50_000, 0), lib.lo_tell(conn, handle))
    back = ctypes.create_string_buffer(60_000)
    count = lib.lo_read(conn, handle, back, 60_000)
    say(count, back.raw[:count] == data[50_000:])
    say(lib.lo_truncate(conn, handle, 10), lib.lo_close(conn, handle))
    run(b"commit")
    say(lib.lo_unlink(conn, oid), lib.lo_unlink(conn, oid), lib.PQerrorMessage(conn))
    section("PQfn")
    result, length = ctypes.c_int(-1), ctypes.c_int(-1)
    arguments = (Argument * 2)(Argument(4, 1, 40), Argument(4, 1, 2))
    for function in (177, 154, 1):  # int4pl, int4div, none
        got = lib.PQfn(
            *(conn, function, ctypes.byref(result), ctypes.byref(length), 1, arguments, 2)
        )
        status = lib.PQresultStatus(ctypes.c_void_p(got))
        say(function, status, result.value, length.value, lib.PQerrorMessage(conn))
    run(b"select 1")
    lib.PQfinish(conn)


if __name__ == "__main__":
    main()
