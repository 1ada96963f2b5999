"""Exit codes, and the one exception by which a command ends with one of them.

docs/cli.md lists the codes; a test holds the two together.
"""

from __future__ import annotations

from enum import IntEnum

from chaperon.wire.errors import ChaperonError


class Exit(IntEnum):
    """What a command's exit status says. The numbers never change."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    NOT_RUNNING = 4
    NOT_FOUND = 5
    DENIED = 6
    INTERRUPTED = 130


class CommandFailed(ChaperonError):
    """Ends the command with `code`. `what` and `remedy` are a line each; `what` may be several."""

    def __init__(self, code: Exit, what: str, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.code = code
        self.what = what
        self.remedy = remedy
