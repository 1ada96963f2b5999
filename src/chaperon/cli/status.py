"""`chaperon status`: what the running gateway says of itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

from chaperon.cli.backend import backend
from chaperon.cli.output import (
    Style,
    brief_duration,
    brief_size,
    local_time,
    paint,
    print_json,
    safe_lines,
    say,
)


def run(given: Path | None, *, json: bool) -> None:
    """Print it. Raises ApiError (not running) where no gateway answers."""
    with backend(given) as at:
        status = cast(dict[str, Any], at.call("status", {}))
        policy = cast(dict[str, Any], at.call("policy.status", {}))
    if json:
        print_json({**status, "policy": policy})
        return
    up = brief_duration(time.time_ns() - status["started_ns"])
    say(f"chaperon {status['version']}, pid {status['pid']}, up {up}")
    for address in status["listeners"]:
        say(f"listens on   {address}")
    say(f"sessions     {status['sessions']}")
    say(
        f"disk         {brief_size(status['free_bytes'])} free, "
        f"reserve {brief_size(status['reserve_bytes'])}"
    )
    say(f"policies     {policy['policies']}, loaded {local_time(policy['loaded_ns'])}")
    if error := policy.get("error"):
        since = local_time(policy.get("error_ns"))
        say(paint(f"             what is there since {since} cannot be loaded:", Style.RED))
        for line in safe_lines(error).splitlines():
            say(f"             {line}")
