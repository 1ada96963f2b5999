"""Methods about sessions, past and live, as the index has them."""

from __future__ import annotations

from chaperon.api.desk import Desk, method
from chaperon.api.params import Params
from chaperon.api.values import Json


@method(
    "sessions.list", "principal", "resource", "since_ns", "until_ns", "verdict", "text", "limit"
)
async def sessions_list(desk: Desk, params: Params) -> Json:
    raise NotImplementedError


@method("sessions.show", "id")
async def sessions_show(desk: Desk, params: Params) -> Json:
    raise NotImplementedError
