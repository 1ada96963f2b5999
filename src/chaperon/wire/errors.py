"""The exceptions of the data path: one root, few leaves. A denial is a value and not among them."""

from __future__ import annotations

from enum import Enum


class Side(Enum):
    """A side of the gateway: the agent is downstream, the target upstream."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"


class ChaperonError(Exception):
    """Root of every error that Chaperon raises on purpose."""


class ProtocolViolation(ChaperonError):
    """A peer sent bytes that its protocol does not allow; the session ends."""

    def __init__(self, side: Side, reason: str) -> None:
        super().__init__(f"{side.value} violated its protocol: {reason}")
        self.side = side
        self.reason = reason


class UpstreamUnavailable(ChaperonError):
    """The target could not be reached, or refused the gateway's credential."""


class RecordingFailed(ChaperonError):
    """A frame could not be made safe; the session ends, nothing more is forwarded."""


class ConfigError(ChaperonError):
    """Configuration, policy or data folder are not usable; the text says where and what to do."""
