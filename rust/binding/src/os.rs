//! The system calls of the spool, each a safe function. Invariant: a `Window` maps only bytes that
//! `preallocate` has given the file, so writing there meets no full disk (which would be a SIGBUS).

use std::fs::File;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

use crate::lost;

/// Bytes of a page.
pub fn page() -> u64 {
    // SAFETY: takes no pointer, has no precondition.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(page).unwrap_or(4096)
}

fn signed(value: u64) -> Result<libc::off_t> {
    libc::off_t::try_from(value).map_err(|_| Error::from_raw_os_error(libc::EFBIG))
}

/// Gives the file room on the disk for `start..end`. On failure (ENOSPC) the file may have become
/// larger all the same: truncate it.
pub fn preallocate(file: &File, start: u64, end: u64) -> Result<()> {
    let (offset, length) = (signed(start)?, signed(end.saturating_sub(start))?);
    loop {
        // SAFETY: the descriptor is open for as long as `file` is borrowed; no pointers.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), offset, length) } {
            0 => return Ok(()),
            libc::EINTR => {}
            code => return Err(Error::from_raw_os_error(code)),
        }
    }
}

/// Writes all of `parts`, one behind the other, at `offset` of the file.
pub fn write_at(file: &File, parts: [&[u8]; 3], mut offset: u64) -> Result<()> {
    let mut slices = parts.map(IoSlice::new);
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let count = libc::c_int::try_from(left.len()).unwrap_or(1);
        // SAFETY: `IoSlice` is ABI-compatible with iovec on Unix; `left` and what it points to are
        // borrowed for the call, which only reads them; the descriptor is open.
        let written = unsafe {
            libc::pwritev(file.as_raw_fd(), left.as_ptr().cast(), count, signed(offset)?)
        };
        match usize::try_from(written) {
            Ok(0) => return Err(Error::from_raw_os_error(libc::EIO)),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(_) => {
                let error = Error::last_os_error();
                if error.kind() != ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Nanoseconds of a clock.
fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that outlives the call.
    let failed = unsafe { libc::clock_gettime(id, &raw mut time) };
    debug_assert_eq!(failed, 0, "both clocks are there on every Linux");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}

/// (`CLOCK_MONOTONIC`, `CLOCK_REALTIME`) in nanoseconds.
pub fn clocks() -> (u64, u64) {
    (clock(libc::CLOCK_MONOTONIC), clock(libc::CLOCK_REALTIME))
}

/// A part of a file, mapped shared and writable.
pub struct Window {
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and `Window` has no other owner.
unsafe impl Send for Window {}

impl Window {
    /// Maps `start..end` of the file, which must be preallocated; `start` is a multiple of the page.
    pub fn new(file: &File, start: u64, end: u64) -> Result<Self> {
        lost::install();
        let length = usize::try_from(end.saturating_sub(start))
            .map_err(|_| Error::from_raw_os_error(libc::ENOMEM))?;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing of ours; the
        // kernel refuses a bad descriptor, offset or length (EBADF, EINVAL).
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                signed(start)?,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).ok_or_else(Error::last_os_error)?;
        Ok(Self { address, length })
    }

    /// Runs `write` on the mapped bytes. EIO where another program has cut the file.
    pub fn write<T>(&mut self, write: impl FnOnce(&mut [u8]) -> T) -> Result<T> {
        let (start, length) = (self.address.as_ptr(), self.length);
        let bytes = self.bytes();
        lost::watch(start, length, || write(bytes))
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `address..address + length` is mapped readable and writable until drop, and
        // borrowed mutably here. The file is ours (O_EXCL, 0600), preallocated so far, and
        // truncated only after the window is gone; where another process cuts it, `write` answers.
        unsafe { std::slice::from_raw_parts_mut(self.address.as_ptr(), self.length) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped, once; no borrow of `bytes` outlives `self`.
        let failed = unsafe { libc::munmap(self.address.as_ptr().cast(), self.length) };
        debug_assert_eq!(failed, 0, "unmapping a whole mapping cannot fail");
    }
}
