"""The compiled core: what runs once per byte. No sockets, no policy, no state of a protocol."""

from typing import Self, final

__all__ = ["FRAME_HEADER", "Framer", "Spool", "crc32c", "data_row", "read_frame", "template"]

@final
class Framer:
    """Splits a stream of `tag u8 · length u32 big-endian (counting itself) · payload` messages.

    `whole`, `prefix` and `largest` each have 256 entries, indexed by tag:
    `largest[tag]`: greatest allowed length field; 0 means that the tag is not of this protocol.
    `whole[tag]`: a message of up to this many bytes in all (header included) is reported only when
    it is complete. A larger one is reported as soon as `prefix[tag]` bytes of it (at least 5) are
    there, and the rest passes as a continuation.
    `runs`: tags of which consecutive messages of one feed are reported as one entry.
    """

    def __new__(
        cls, whole: list[int], prefix: list[int], largest: list[int], runs: bytes
    ) -> Self: ...
    def feed(self, data: bytes) -> tuple[bytes, tuple[int, ...]]:
        """Frame `data`, which begins where the last feed's reported bytes ended.

        Returns `(tags, ends)`: the tag of each reported entry and the offset in `data` where it
        ends; entries are contiguous from offset 0. Tag 0 is the continuation of a message that was
        reported before it was complete. What lies behind the last end is not consumed: give it
        again, in front of more bytes, once there are at least `need` bytes in all.
        An entry of several messages (`runs`) holds only complete ones.
        Raises `ValueError` (a length below 4 or above `largest`, an unknown tag), and from then on
        at every feed.
        """
    @property
    def need(self) -> int:
        """Bytes that must be there, from the first unconsumed one, before a feed reports more."""
    @property
    def remaining(self) -> int:
        """Bytes still to come of a message that was reported before it was complete."""

def template(sql: bytes) -> bytes | None:
    """The statement with each literal replaced by a marker of its kind, or None.

    Two statements with one template have the same tokens but for the values of their number and
    plain string constants. None where the text has anything that this small lexer does not read as
    PostgreSQL does under UTF-8 and standard_conforming_strings (backslashes, E'' and U& strings,
    dollar quotes, bytes above 0x7f outside strings and quoted names, comments, numbers that touch
    letters, NUL): such a text is parsed in full. A fixed byte that cannot stand in SQL (0x01, 0x02,
    0x03) marks an integer that fits in 32 bits signed (PostgreSQL's int4 constant), another number,
    a string.
    """

def data_row(payload: bytes) -> list[bytes | None]:
    """The values of a DataRow's payload (after tag and length). Raises ValueError."""

def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of `data`."""

@final
class Spool:
    """An append-only file of frames, preallocated and mapped. docs/recording.md has the layout.

    All methods raise OSError where the system refuses (ENOSPC, EIO, …); after one every further
    append raises OSError. After a refused growth `sync` and `close` still make durable what was
    appended before; after a failed fdatasync nothing is retried. Where another program cuts the
    file, the next append raises (EIO) rather than ending the process by SIGBUS. A caller's mistake
    (a wrong type, a kind above 255) raises TypeError, ValueError or OverflowError and changes
    nothing.
    """

    def __new__(cls, path: str, header: bytes, initial: int, largest_step: int) -> Self:
        """Create `path` (O_EXCL, mode 0600), preallocate `initial` bytes, write `header`.

        It grows by doubling, in steps of at most `largest_step` bytes, each preallocated with
        posix_fallocate *before* it is mapped; windows behind the end are unmapped. Where this
        raises, the file is not there (unless it was before).
        """
    def append(self, kind: int, direction: int, payload: bytes | memoryview) -> int:
        """Append one frame stamped with both clocks; returns its sequence number (from 0).

        When this returns the frame is the operating system's: a kill -9 does not lose it.
        """
    def append_marked(
        self, mark: bytes, kind: int, direction: int, payload: bytes | memoryview
    ) -> int:
        """Append a frame of kind DECISION (3, direction 0) with payload `mark`, then as `append`.

        Returns the sequence number of the second. One call because it is the hot path.
        """
    @property
    def offset(self) -> int:
        """Bytes written, header included; what a reader may read."""
    @property
    def synced(self) -> int:
        """Bytes known to be on the disk."""
    def sync(self) -> int:
        """fdatasync, without the GIL; returns the offset made durable. Callable from any thread.

        The first also syncs the folder's entry. Where all is durable already it costs nothing.
        """
    def close(self) -> None:
        """Truncate to `offset`, fdatasync, unmap, close. Idempotent."""

FRAME_HEADER: int
"""Bytes of a frame's header; a frame is this, the payload, and a u32 CRC-32C."""

def read_frame(
    buffer: bytes | memoryview, offset: int
) -> tuple[int, int, int, int, int, int, int, int] | None:
    """Decode and check the frame at `offset`.

    Returns `(kind, direction, connection, sequence, mono_ns, wall_ns, payload_start, payload_end)`;
    the next frame is at `payload_end + 4`. None where a zero length ends the file or the buffer
    ends before the frame does. Raises ValueError where the CRC or the length is wrong; in a live
    file that another process writes, read the last frame once more before believing that.
    """
