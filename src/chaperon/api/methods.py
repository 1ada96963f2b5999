"""The table of all methods: what is not in it does not exist."""

from __future__ import annotations

from collections.abc import Mapping

from chaperon.api import live, sessions, tokens
from chaperon.api.desk import Method

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        live.status,
        live.policy_status,
        live.sessions_live,
        live.sessions_kill,
        live.sessions_watch,
        sessions.sessions_list,
        sessions.sessions_show,
        sessions.sessions_statements,
        tokens.token_create,
        tokens.token_list,
        tokens.token_revoke,
    )
}
