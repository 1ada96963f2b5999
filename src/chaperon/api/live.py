"""Methods about the gateway that runs now: its status, its policies, its live sessions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from chaperon.api.context import ControlContext, LiveSession
from chaperon.api.desk import Desk, method
from chaperon.api.errors import ApiError, Code
from chaperon.api.params import Params
from chaperon.api.values import Json

KILL_SECONDS = 5.0
WATCH_SECONDS = 0.2


@method("status")
async def status(desk: Desk, _params: Params) -> Json:
    """What the gateway says of itself, and how many sessions are open."""
    gateway = desk.running()
    return {**gateway.status(), "sessions": len(gateway.live_sessions())}


@method("policy.status")
async def policy_status(desk: Desk, _params: Params) -> Json:
    """Hash and number of the policies in force, and what was wrong with the last reload."""
    return desk.running().policy_status()


@method("sessions.live")
async def sessions_live(desk: Desk, _params: Params) -> Json:
    """The sessions that are open now, oldest first."""
    return [as_json(session) for session in desk.running().live_sessions()]


@method("sessions.watch", "id")
async def sessions_watch(desk: Desk, params: Params) -> AsyncIterator[Json]:
    """A live session, as an event; the stream ends when it does."""
    gateway = desk.running()
    session = find(gateway, params.text("id"))
    yield as_json(session)
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        if session.id not in {other.id for other in gateway.live_sessions()}:
            return


@method("sessions.kill", "id", "reason")
async def sessions_kill(desk: Desk, params: Params) -> Json:
    """End a live session; answered once its sockets are closed."""
    gateway = desk.running()
    session = find(gateway, params.text("id"))
    reason = params.optional_text("reason") or "killed by the operator"
    return {"id": session.id, "killed": await end(gateway, session.id, reason[:200])}


async def end(gateway: ControlContext, session_id: str, reason: str) -> bool:
    """Kill a live session and wait until it is gone; false where it was not live.

    Raises ApiError where it is still there after `KILL_SECONDS`.
    """
    if not await gateway.kill(session_id, reason):
        return False
    deadline = time.monotonic() + KILL_SECONDS
    while any(session.id == session_id for session in gateway.live_sessions()):
        if time.monotonic() > deadline:
            raise ApiError(
                Code.FAILED,
                f"The session {session_id} was told to end and is still there.",
                "The gateway's log says more; stopping the gateway ends it in any case.",
            )
        await asyncio.sleep(0.01)
    return True


def find(gateway: ControlContext, prefix: str) -> LiveSession:
    """The one live session whose id begins with `prefix`. Raises ApiError."""
    matching = [session for session in gateway.live_sessions() if session.id.startswith(prefix)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise ApiError(
            Code.AMBIGUOUS,
            f"{len(matching)} live sessions begin with {prefix!r}.",
            f"Give more of the id: {', '.join(session.id for session in matching[:4])}.",
        )
    raise ApiError(
        Code.NOT_FOUND,
        f"No live session begins with {prefix!r}.",
        "See which are open with: chaperon sessions list",
    )


def as_json(session: LiveSession) -> Json:
    """A live session for a machine."""
    return {
        "id": session.id,
        "principal": session.principal,
        "resource": session.resource,
        "protocol": session.protocol,
        "peer": session.peer,
        "started_ns": session.started_ns,
        "token_id": session.token_id,
    }
