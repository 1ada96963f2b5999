"""How an answer of the gateway says no: a code for machines, a sentence, and what would help."""

from __future__ import annotations

from enum import Enum

from chaperon.wire.errors import ChaperonError


class Code(Enum):
    """The closed list of error codes on the control socket. The words never change."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_METHOD = "unknown_method"
    NOT_FOUND = "not_found"
    AMBIGUOUS = "ambiguous"
    NOT_RUNNING = "not_running"
    UNREACHABLE = "unreachable"
    CONFIGURATION = "configuration"
    FAILED = "failed"
    INTERNAL = "internal"


class ApiError(ChaperonError):
    """A request that cannot be done. `message` and `remedy` are one line each, for a person."""

    def __init__(self, code: Code, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.code = code
        self.message = message
        self.remedy = remedy
