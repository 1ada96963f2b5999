//! What Chaperon runs once per byte or per row. Pure functions and small state machines over
//! slices: no I/O, no clock, no policy, no protocol's state; every input yields a value or an error,
//! never a panic.

#![forbid(unsafe_code)]

pub mod frame;
pub mod framer;
pub mod rows;
pub mod template;

/// CRC-32C (Castagnoli) of `data`.
#[must_use]
pub fn crc32c(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
}
