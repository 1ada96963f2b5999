"""Compute the effective search path from the text of `SHOW search_path`. Pure.

As `current_schemas(true)` does (catalog/namespace.c, recomputeNamespacePath).
Invariant: a text that PostgreSQL would refuse, or a role whose rights are not known, gives None.
"""

from __future__ import annotations

from chaperon.facts.catalog import Catalog

_SPACE = " \t\n\r\f\v"


def effective_path(
    setting: str, session_role: str, catalog: Catalog, temp_exists: bool = False
) -> tuple[str, ...] | None:
    """The schemas that `SHOW search_path` = `setting` means for the current role, in search order.

    `session_role` is the current role's name (what "$user" stands for). pg_catalog (and "pg_temp"
    where `temp_exists`) at their places, schemas that do not exist or that the role may not use
    left out.
    """
    names = split_identifiers(setting)
    usable = catalog.usage.get(session_role)
    if names is None or usable is None:
        return None
    path: list[str] = []
    for written in names:
        name = session_role if written == "$user" else written
        if name == "pg_temp":
            if temp_exists and "pg_temp" not in path:
                path.append(name)
        elif name in catalog.schemas and name in usable and name not in path:
            path.append(name)
    # Where not named, pg_catalog is searched first, and the temporary schema before it.
    if "pg_catalog" not in path:
        path.insert(0, "pg_catalog")
    if temp_exists and "pg_temp" not in path:
        path.insert(0, "pg_temp")
    return tuple(path)


def split_identifiers(text: str) -> list[str] | None:
    """A list of names as SplitIdentifierString reads it; None where it would refuse."""
    names: list[str] = []
    at, end = 0, len(text)
    while at < end and text[at] in _SPACE:
        at += 1
    if at == end:
        return names
    while True:
        if text[at : at + 1] == '"':
            read = _quoted(text, at + 1)
            if read is None:
                return None
            name, at = read
        else:
            start = at
            while at < end and text[at] != "," and text[at] not in _SPACE:
                at += 1
            if start == at:
                return None
            # downcase_truncate_identifier: only ASCII is folded in UTF8.
            name = "".join(c.lower() if c.isascii() else c for c in text[start:at])
        # NAMEDATALEN - 1 bytes, cut at a character.
        names.append(name.encode()[:63].decode("utf-8", "ignore"))
        while at < end and text[at] in _SPACE:
            at += 1
        if at == end:
            return names
        if text[at] != ",":
            return None
        at += 1
        while at < end and text[at] in _SPACE:
            at += 1


def _quoted(text: str, at: int) -> tuple[str, int] | None:
    parts: list[str] = []
    while True:
        close = text.find('"', at)
        if close < 0:
            return None
        parts.append(text[at:close])
        if text[close + 1 : close + 2] != '"':
            return "".join(parts), close + 1
        parts.append('"')
        at = close + 2
