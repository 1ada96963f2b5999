"""`chaperon serve`: hands over to the supervisor, which returns when the gateway has stopped."""

from __future__ import annotations

from pathlib import Path

from chaperon.api.control import ControlServer
from chaperon.cli.deployment import config_path
from chaperon.runtime.supervisor import serve


def run(config: Path | None) -> int:
    """Run the gateway in this process; the result is the process's exit code."""
    return serve(config_path(config), ControlServer)
