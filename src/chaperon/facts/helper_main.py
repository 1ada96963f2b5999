"""The parsing helper's own process: limits first, then texts from the pipe, one by one.

Invariant: it holds no secrets, opens nothing, and dies rather than grow beyond its limits.
"""

from __future__ import annotations

import resource
import struct
import sys
import threading
from typing import BinaryIO

from chaperon.facts import codec
from chaperon.facts.limits import HELPER_BYTES, HELPER_MEMORY, HELPER_SECONDS, HELPER_STACK
from chaperon.facts.model import RawFacts
from chaperon.facts.sql import read_within, refused

_LENGTH = struct.Struct(">I")
_MAX_TREE = 512 * 1024 * 1024
_RECURSION = 400_000
_NO_MEMORY = "The statement takes too much memory to be read: split it, or bind its values."


def main() -> None:
    """Serve until the pipe closes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (HELPER_MEMORY, HELPER_MEMORY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    # C code recurses on the stack of the thread that calls it: one of a known size.
    threading.stack_size(HELPER_STACK)
    sys.setrecursionlimit(_RECURSION)
    thread = threading.Thread(target=_serve, args=(sys.stdin.buffer, sys.stdout.buffer))
    thread.start()
    thread.join()


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    while True:
        head = source.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return
        (length,) = _LENGTH.unpack(head)
        if length > HELPER_BYTES:
            return
        _allow_cpu()
        answer = codec.encode(_read(source.read(length)))
        sink.write(_LENGTH.pack(len(answer)) + answer)
        sink.flush()


def _read(data: bytes) -> RawFacts:
    try:
        return read_within(data.decode(), HELPER_BYTES, _MAX_TREE)
    except MemoryError:
        return refused(_NO_MEMORY)


def _allow_cpu() -> None:
    """CPU time is counted over the process's life: allow this text its share from here."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + HELPER_SECONDS) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
