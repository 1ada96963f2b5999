//! A mapped file that another program cuts: writing behind its new end is a SIGBUS, which would end
//! the process and every session in it. Here it ends one recording.
//!
//! Invariant: the handler touches only the bytes that are being written right now, as `watch` said
//! them; any other SIGBUS goes to whoever handled it before.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};

static START: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicBool = AtomicBool::new(false);
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, once.
pub fn install() {
    PREVIOUS.get_or_init(|| {
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: both structures outlive the calls; an all-zero sigaction is a valid one; `handle`
        // has the signature that SA_SIGINFO asks for.
        unsafe {
            libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr());
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = handle as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
            previous.assume_init()
        }
    });
}

/// Runs `write`, which writes to the mapping `start..start + length` and nothing else that is mapped
/// from a file. EIO where the file has lost those bytes; what was written is then nowhere.
///
/// One at a time in a process: the caller holds the GIL throughout.
pub fn watch<T>(start: *const u8, length: usize, write: impl FnOnce() -> T) -> io::Result<T> {
    LOST.store(false, Ordering::SeqCst);
    START.store(start as usize, Ordering::SeqCst);
    END.store(start as usize + length, Ordering::SeqCst);
    // Not even the compiler moves what `write` stores to before or behind the watch.
    compiler_fence(Ordering::SeqCst);
    let result = write();
    compiler_fence(Ordering::SeqCst);
    END.store(0, Ordering::SeqCst);
    if LOST.load(Ordering::SeqCst) {
        return Err(io::Error::from_raw_os_error(libc::EIO));
    }
    Ok(result)
}

extern "C" fn handle(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    let (start, end) = (START.load(Ordering::SeqCst), END.load(Ordering::SeqCst));
    // SAFETY: the kernel gives a valid siginfo to a handler with SA_SIGINFO. `start..end` is a
    // window of ours, page-aligned at its start, which `watch`'s caller keeps mapped; memory in its
    // place lets the interrupted write end. mmap and sigaction may be called in a handler.
    unsafe {
        let address = (*info).si_addr() as usize;
        if (start..end).contains(&address) {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let mapped = libc::mmap(start as *mut _, end - start, protection, flags, -1, 0);
            if mapped != libc::MAP_FAILED {
                LOST.store(true, Ordering::SeqCst);
                return;
            }
        }
        // The instruction runs again, and meets what was there before.
        if let Some(previous) = PREVIOUS.get() {
            libc::sigaction(libc::SIGBUS, previous, ptr::null_mut());
        } else {
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
        }
    }
}
