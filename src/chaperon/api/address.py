"""Where the control socket is. A Unix socket's path holds 107 bytes, a data folder's may be longer.

Both ends therefore name the socket through an open descriptor of its folder where the path is too
long for the kernel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_NAME = "control.sock"
_LONGEST = 107  # sun_path of unix(7), less the closing NUL


def socket_path(data: Path) -> Path:
    """The control socket of the gateway whose data folder is `data`."""
    return data / FILE_NAME


@contextmanager
def bindable(path: Path) -> Iterator[str]:
    """A name of `path` that bind and connect accept, valid inside the `with`. Raises OSError."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
