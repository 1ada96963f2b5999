"""What may be parsed in this process: bounds that make a crash or a stall impossible.

Measured on the worst texts found (docs/facts.md): at 16 KiB no text takes the C parser more than
5 ms or 2 MiB of stack, of 8 MiB. A tree of at most 192 KiB takes `json` and the walk a few
milliseconds. Deeper nesting than Python's recursion limit is met as RecursionError by both.
Invariant: the checks are linear, cost no parsing, and need no recursion.
"""

from __future__ import annotations

from typing import Final

MAX_BYTES: Final = 16 * 1024
"""UTF-8 bytes of a text that is parsed in process."""

MAX_TREE: Final = 192 * 1024
"""Bytes of JSON of a tree that is read in process."""

HELPER_BYTES: Final = 16 * 1024 * 1024
"""UTF-8 bytes of a text that the helper process takes at all."""

HELPER_SECONDS: Final = 5.0
"""Wall time that the helper may spend on one text; its CPU time is bounded likewise."""

HELPER_STACK: Final = 256 * 1024 * 1024
"""Bytes of the stack on which the helper parses."""

HELPER_MEMORY: Final = 2 * 1024 * 1024 * 1024
"""Bytes of address space of the helper, its stack included."""
