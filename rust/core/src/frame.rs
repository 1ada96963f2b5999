//! Frames of a recording, to and from bytes (EVIDENCE.md, Frames). Little-endian:
//!
//! ```text
//! offset  size  field
//!      0     4  len         bytes after this field: 32 of header, the payload, 4 of CRC
//!      4     1  kind        META 1, DATA 2, DECISION 3, REVIEW 4, MASK 5, EVENT 6, RESIZE 7,
//!                           SNAPSHOT 8, GAP 9, CLOSE 10; never 0
//!      5     1  direction
//!      6     2  flags       0
//!      8     4  connection
//!     12     8  sequence    from 0, dense in one file
//!     20     8  mono_ns     CLOCK_MONOTONIC
//!     28     8  wall_ns     CLOCK_REALTIME
//!     36     n  payload
//!   36+n     4  crc32c      CRC-32C of all that stands before it, `len` included
//! ```
//!
//! The next frame follows without padding. A zero `len` ends the file: unwritten room is zeros. `len`
//! is stored last, behind a release fence, so that whoever sees it sees the frame. A reader in
//! another process has no such order for the bytes of one copy (and `len` may straddle two cache
//! lines): where the last frame of a live file fails its check, it reads that frame once more before
//! it believes it.

use std::fmt;
use std::sync::atomic::{Ordering, fence};

/// Bytes before the payload.
pub const HEADER: usize = 36;

/// Bytes after the payload.
pub const TRAILER: usize = 4;

/// Bytes of `len` itself, which it does not count.
pub const LEN_FIELD: usize = 4;

/// The greatest payload that `len` can count.
pub const LARGEST_PAYLOAD: usize = u32::MAX as usize - (HEADER - LEN_FIELD) - TRAILER;

/// The kind of a frame that says what policy decided.
pub const DECISION: u8 = 3;

/// A frame's header but for its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub kind: u8,
    pub direction: u8,
    pub flags: u16,
    pub connection: u32,
    pub sequence: u64,
    pub mono_ns: u64,
    pub wall_ns: u64,
}

/// Bytes of a frame with a payload of `payload` bytes, which a slice's length is.
#[must_use]
pub const fn size(payload: usize) -> usize {
    payload.saturating_add(HEADER + TRAILER)
}

/// The bytes before and behind a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub head: [u8; HEADER],
    pub trailer: [u8; TRAILER],
}

/// What stands around `payload` in its frame; None where the payload is above `LARGEST_PAYLOAD`.
/// Who writes it keeps the order: the first `LEN_FIELD` bytes last.
#[must_use]
pub fn envelope(header: &Header, payload: &[u8]) -> Option<Envelope> {
    if payload.len() > LARGEST_PAYLOAD {
        return None;
    }
    let len = u32::try_from(size(payload.len()) - LEN_FIELD).ok()?;
    let mut head = [0; HEADER];
    head[0..4].copy_from_slice(&len.to_le_bytes());
    head[4] = header.kind;
    head[5] = header.direction;
    head[6..8].copy_from_slice(&header.flags.to_le_bytes());
    head[8..12].copy_from_slice(&header.connection.to_le_bytes());
    head[12..20].copy_from_slice(&header.sequence.to_le_bytes());
    head[20..28].copy_from_slice(&header.mono_ns.to_le_bytes());
    head[28..36].copy_from_slice(&header.wall_ns.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head), payload);
    Some(Envelope { head, trailer: crc.to_le_bytes() })
}

/// Writes one frame at the beginning of `room`; returns its size, or None, with nothing written,
/// where the room is too small or the payload above `LARGEST_PAYLOAD`.
pub fn encode(room: &mut [u8], header: &Header, payload: &[u8]) -> Option<usize> {
    let size = size(payload.len());
    let frame = room.get_mut(..size)?;
    let Envelope { head, trailer } = envelope(header, payload)?;
    frame[LEN_FIELD..HEADER].copy_from_slice(&head[LEN_FIELD..]);
    frame[HEADER..HEADER + payload.len()].copy_from_slice(payload);
    frame[HEADER + payload.len()..].copy_from_slice(&trailer);
    fence(Ordering::Release);
    frame[..LEN_FIELD].copy_from_slice(&head[..LEN_FIELD]);
    Some(size)
}

/// A frame that was read and whose CRC holds. The payload is `start..end` of the buffer; the next
/// frame is at `end + TRAILER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub header: Header,
    pub start: usize,
    pub end: usize,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// `len` is too small for a header and a CRC.
    Length { offset: usize, len: u32 },
    /// The CRC does not hold.
    Crc { offset: usize, stored: u32, computed: u32 },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { offset, len } => {
                write!(f, "frame at offset {offset} has the impossible length {len}")
            }
            Self::Crc { offset, stored, computed } => write!(
                f,
                "frame at offset {offset} is damaged: CRC {computed:08x}, stored {stored:08x}"
            ),
        }
    }
}

impl std::error::Error for FrameError {}

/// Reads and checks the frame at `offset`; None where a zero length ends the file, or the buffer
/// ends before the frame does.
///
/// # Errors
/// An impossible length, or a CRC that does not hold.
pub fn decode(buffer: &[u8], offset: usize) -> Result<Option<Frame>, FrameError> {
    let Some(bytes) = buffer.get(offset..) else {
        return Ok(None);
    };
    let Some(field) = bytes.first_chunk::<LEN_FIELD>() else {
        return Ok(None);
    };
    let len = u32::from_le_bytes(*field);
    if len == 0 {
        return Ok(None);
    }
    let Some(payload) = (len as usize).checked_sub(HEADER - LEN_FIELD + TRAILER) else {
        return Err(FrameError::Length { offset, len });
    };
    let Some(frame) = bytes.get(..size(payload)) else {
        return Ok(None);
    };
    let (checked, trailer) = frame.split_at(HEADER + payload);
    let stored = u32_at(trailer, 0);
    let computed = crc32c::crc32c(checked);
    if stored != computed {
        return Err(FrameError::Crc { offset, stored, computed });
    }
    let header = Header {
        kind: checked[4],
        direction: checked[5],
        flags: u16::from_le_bytes([checked[6], checked[7]]),
        connection: u32_at(checked, 8),
        sequence: u64_at(checked, 12),
        mono_ns: u64_at(checked, 20),
        wall_ns: u64_at(checked, 28),
    };
    Ok(Some(Frame { header, start: offset + HEADER, end: offset + HEADER + payload }))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}
