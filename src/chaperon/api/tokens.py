"""Methods about gateway tokens. A token's text is in the answer of `token.create` and no other."""

from __future__ import annotations

import asyncio
import difflib
import time

from chaperon.api.desk import Desk, method
from chaperon.api.errors import ApiError, Code
from chaperon.api.limits import DEFAULT_TTL_NS, LONGEST_TTL_NS, SECOND_NS
from chaperon.api.live import end
from chaperon.api.params import Params
from chaperon.api.values import Json
from chaperon.identity.tokens import TokenRow, issue, looks_like_token_id, token_id_of


@method("token.create", "principal", "ttl_ns")
async def token_create(desk: Desk, params: Params) -> Json:
    """Issue a token and store what proves it. The answer holds its text."""
    principal = _known(desk, params.text("principal"))
    ttl_ns = params.optional_integer("ttl_ns", least=SECOND_NS, largest=LONGEST_TTL_NS)
    issued = issue(principal, now_ns=time.time_ns(), ttl_ns=ttl_ns or DEFAULT_TTL_NS)
    await asyncio.to_thread(desk.store.add_token, issued.record)
    answer = _as_json(issued.record, issued.record.issued_ns)
    return {**answer, "token": issued.token.reveal()}


@method("token.list", "principal")
async def token_list(desk: Desk, params: Params) -> Json:
    """Tokens, newest first, of one principal or of all."""
    principal = params.optional_text("principal")
    if principal is not None:
        _known(desk, principal)
    now_ns = time.time_ns()
    rows = await asyncio.to_thread(desk.store.tokens, principal)
    return [_as_json(row, now_ns) for row in rows]


@method("token.revoke", "token")
async def token_revoke(desk: Desk, params: Params) -> Json:
    """Revoke a token, given its id or itself, and end the live sessions that it opened."""
    text = params.text("token")
    token_id = text if looks_like_token_id(text) else token_id_of(text)
    if token_id is None:
        raise ApiError(
            Code.BAD_REQUEST,
            "This is neither a token nor a token's id.",
            "See the ids with: chaperon token list",
        )
    await asyncio.to_thread(desk.store.revoke_token, token_id, time.time_ns())
    row = await asyncio.to_thread(desk.store.find_token, token_id)
    if row is None:
        raise ApiError(
            Code.NOT_FOUND,
            f"There is no token {token_id}.",
            "See the ids with: chaperon token list",
        )
    return {**_as_json(row, time.time_ns()), "ended": await _end_sessions(desk, token_id)}


async def _end_sessions(desk: Desk, token_id: str) -> list[str]:
    """End what a revoked token opened; the store refuses it from now on, so nothing is missed."""
    if desk.gateway is None:
        return []
    ended = []
    for session in list(desk.gateway.live_sessions()):
        if session.token_id == token_id and await end(desk.gateway, session.id, "token revoked"):
            ended.append(session.id)
    return ended


def _known(desk: Desk, principal: str) -> str:
    names = desk.config.principals()
    if principal in names:
        return principal
    close = difflib.get_close_matches(principal, names, n=1, cutoff=0.6)
    raise ApiError(
        Code.NOT_FOUND,
        f"The configuration has no principal {principal!r}.",
        f"Did you mean {close[0]}?"
        if close
        else "Add it under identity.local (agents, users or services) and restart the gateway.",
    )


def _as_json(row: TokenRow, now_ns: int) -> dict[str, Json]:
    if row.revoked_ns is not None:
        state = "revoked"
    else:
        state = "expired" if now_ns >= row.expires_ns else "valid"
    return {
        "id": row.token_id,
        "principal": row.principal,
        "state": state,
        "issued_ns": row.issued_ns,
        "expires_ns": row.expires_ns,
        "revoked_ns": row.revoked_ns,
    }
