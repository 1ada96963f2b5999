"""The texts that `chaperon init` writes. Values are quoted here; a test loads what comes out."""

from __future__ import annotations

import re
from collections.abc import Mapping

GROUP = "agents"
_BARE = re.compile(r"(?:\./)?[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))

_CONFIG = """\
# Chaperon's configuration; docs/configuration.md explains every key.
# Check it with `chaperon check`, and everything around it with `chaperon doctor`.

# Recordings, tokens, the index. Everything in it is readable for the gateway's user only.
data: ./data

# Where agents connect, and with what protocol. TLS: add `tls: {certificate: FILE, key: FILE}`.
listeners:
  - {protocol: @protocol, address: @listen}

# Who there is. `chaperon token create NAME` gives one of them a token.
identity:
  local:
    agents:
      @agent: {groups: [@group]}
    users: {}

# What they work on, under the name that they connect with.
resources:
  @resource:
    protocol: @protocol
    upstream:
@upstream

# What is allowed: every *.cedar file in this folder. Nothing is, without one that permits it.
policies: ./policies

# barrier: write  a kill -9 of the gateway loses nothing that was forwarded
# barrier: fsync  a power cut loses nothing either, at the price of a disk flush per statement
recording: {barrier: write, reserve: 1GiB}
"""

_POLICY = """\
// Agents connect to @resource_text and read. Everything else is denied, because nothing permits it:
// writes, definitions, grants, functions with unknown effects, and what cannot be understood.
@id("agents-read-@resource_text")
permit (
  principal in Group::@group,
  action in [Action::"connect", Action::"read"],
  resource in Resource::@resource
);

// More rights are more permits. A forbid beats every permit, and its message reaches the agent.
// See what a change would do with:
//   chaperon policy explain @agent_text @resource_text 'DELETE FROM orders WHERE id = 1'
//
// @id("agents-write-orders")
// permit (
//   principal in Group::@group,
//   action == Action::"sql.write",
//   resource == Table::"@resource_text/public/orders"
// );
//
// @id("no-unbounded-writes") @message("Add a WHERE clause.")
// forbid (principal, action == Action::"sql.write", resource)
// when { context.statement.unbounded };
"""


def quoted(text: str) -> str:
    """A string in YAML's double quotes (YAML 1.2 §5.7). What is ASCII is read by Cedar alike."""
    return f'"{"".join(_escaped(character) for character in text)}"'


def _escaped(character: str) -> str:
    code = ord(character)
    if character in '"\\':
        return f"\\{character}"
    if 0x20 <= code < 0x7F:
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\U{code:08x}"


def _scalar(value: str | int) -> str:
    """A YAML scalar, bare where it cannot be read as anything but this text."""
    if isinstance(value, int) or (_BARE.fullmatch(value) and value.lower() not in _WORDS):
        return str(value)
    return quoted(value)


def config_text(
    *,
    protocol: str,
    listen: str,
    agent: str,
    resource: str,
    upstream: Mapping[str, str | int],
    password_file: str | None,
) -> str:
    """The configuration file. `password_file` is relative to it; None for no password."""
    lines = [f"      {key}: {_scalar(value)}" for key, value in upstream.items() if key != "tls"]
    if password_file is not None:
        lines.append(f"      password: {{file: {_scalar(password_file)}}}")
    lines.append("      # As libpq's sslmode; verify-full is the one that nobody can get between.")
    lines.append(f"      tls: {upstream['tls']}")
    return _filled(
        _CONFIG,
        protocol=protocol,
        listen=quoted(listen),
        agent=_scalar(agent),
        group=GROUP,
        resource=_scalar(resource),
        upstream="\n".join(lines),
    )


def policy_text(*, agent: str, resource: str) -> str:
    """The starter policy. Names are those that a configuration allows, so they need no escaping."""
    return _filled(
        _POLICY,
        resource_text=resource,
        agent_text=agent,
        resource=quoted(resource),
        group=quoted(GROUP),
    )


def _filled(template: str, **values: str) -> str:
    """Replace each `@name`; the longest names first, since one may begin another."""
    for name in sorted(values, key=len, reverse=True):
        template = template.replace(f"@{name}", values[name])
    return template
