//! The spool: an append-only file of frames, preallocated and mapped (EVIDENCE.md, The barrier).
//!
//! Invariants: room is preallocated before it is written to, and never made by ftruncate. A failure
//! of any kind is for ever: every later append raises, and a failed fdatasync is not retried.
//! `append` holds the lock (and the GIL) for the time of one copy; `sync` holds neither while it
//! waits for the disk. Nothing that holds the lock waits for the GIL.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use chaperon_core::frame::{self, Envelope, Header};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::bytes_of;
use crate::os::{self, Window};

/// Payloads from this size on are written with pwrite: a fault for every page of the mapping (2.5 µs
/// on ext4) costs more there than the system calls do. Both write the same page cache.
const WRITTEN: usize = 4096;

/// Somebody else truncated the file: what it held, and what is written now, is lost.
const CUT: &str = "writing to a spool that another program cut";

/// A failure as Python sees it: errno and what was being done.
#[derive(Clone, Copy)]
struct Failure {
    errno: i32,
    doing: &'static str,
}

impl Failure {
    /// For use with `map_err`.
    fn of(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self { errno: error.raw_os_error().unwrap_or(libc::EIO), doing }
    }

    fn raise(self, path: &Path) -> PyErr {
        let cause = io::Error::from_raw_os_error(self.errno).to_string();
        let cause = cause.split(" (os error").next().unwrap_or_default();
        let text = format!("{} failed: {cause}", self.doing);
        PyOSError::new_err((self.errno, text, path.as_os_str().to_owned()))
    }
}

/// The writer's end: where the next frame goes.
struct Writer {
    file: Arc<File>,
    window: Window,
    /// The file offsets that `window` maps; the file is preallocated exactly up to `end`.
    start: u64,
    end: u64,
    offset: u64,
    sequence: u64,
    largest_step: u64,
}

impl Writer {
    /// Makes room for `needed` bytes behind the offset, all in the window.
    fn reserve(&mut self, needed: usize) -> Result<(), Failure> {
        if self.end - self.offset >= needed as u64 {
            return Ok(());
        }
        let page = os::page();
        let least = (self.offset + needed as u64).next_multiple_of(page);
        let doubled = (self.end + self.end.min(self.largest_step)).next_multiple_of(page);
        let end = least.max(doubled);
        os::preallocate(&self.file, self.end, end).map_err(|error| {
            // ext4 keeps the room that there was: give it back, others need it to end well.
            let _ = self.file.set_len(self.end);
            Failure::of("preallocating the spool")(error)
        })?;
        let start = self.offset - self.offset % page;
        self.window =
            Window::new(&self.file, start, end).map_err(Failure::of("mapping the spool"))?;
        self.start = start;
        self.end = end;
        Ok(())
    }

    fn frame(&mut self, kind: u8, direction: u8, payload: &[u8]) -> Result<(), Failure> {
        const TOO_LARGE: Failure = Failure { errno: libc::EFBIG, doing: "writing a frame" };
        if payload.len() > frame::LARGEST_PAYLOAD {
            return Err(TOO_LARGE);
        }
        let size = frame::size(payload.len());
        self.reserve(size)?;
        let (mono_ns, wall_ns) = os::clocks();
        let sequence = self.sequence;
        let header =
            Header { kind, direction, flags: 0, connection: 0, sequence, mono_ns, wall_ns };
        if payload.len() < WRITTEN {
            let used = usize::try_from(self.offset - self.start).map_err(|_| TOO_LARGE)?;
            self.window
                .write(|bytes| frame::encode(&mut bytes[used..], &header, payload))
                .map_err(Failure::of(CUT))?
                .ok_or(TOO_LARGE)?;
        } else {
            let Envelope { head, trailer } = frame::envelope(&header, payload).ok_or(TOO_LARGE)?;
            let (len, rest) = head.split_at(frame::LEN_FIELD);
            if self.file.metadata().map_err(Failure::of("looking at the spool"))?.len() < self.end {
                return Err(Failure { errno: libc::EIO, doing: CUT });
            }
            // The length last: a SIGKILL can end a pwrite in its middle.
            os::write_at(
                &self.file,
                [rest, payload, &trailer],
                self.offset + frame::LEN_FIELD as u64,
            )
            .and_then(|()| self.file.write_all_at(len, self.offset))
            .map_err(Failure::of("writing a frame"))?;
        }
        self.offset += size as u64;
        self.sequence += 1;
        Ok(())
    }
}

enum State {
    Open(Box<Writer>),
    /// What was written stays to be synced (`whole`), unless it was the disk that failed.
    Failed {
        failure: Failure,
        file: Arc<File>,
        offset: u64,
        whole: bool,
    },
    Closed,
}

impl State {
    /// From here on every append raises `failure`. The first failure stays.
    fn fail(&mut self, failure: Failure, whole: bool) {
        match self {
            Self::Open(writer) => {
                let (file, offset) = (Arc::clone(&writer.file), writer.offset);
                *self = Self::Failed { failure, file, offset, whole };
            }
            Self::Failed { failure: first, whole: was_whole, .. } if *was_whole && !whole => {
                *first = failure;
                *was_whole = false;
            }
            Self::Failed { .. } | Self::Closed => {}
        }
    }
}

#[pyclass(frozen, module = "chaperon._core")]
pub struct Spool {
    path: PathBuf,
    state: Mutex<State>,
    offset: AtomicU64,
    synced: AtomicU64,
    /// The folder's entry for the file is on the disk too.
    named: AtomicBool,
}

#[pymethods]
impl Spool {
    #[new]
    fn new(path: PathBuf, header: &[u8], initial: u64, largest_step: u64) -> PyResult<Self> {
        if largest_step == 0 {
            return Err(PyValueError::new_err("largest_step must be positive"));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Failure::of("creating the spool")(error).raise(&path))?;
        let offset = header.len() as u64;
        let end = initial.max(offset).max(1).next_multiple_of(os::page());
        let mut window = os::preallocate(&file, 0, end)
            .map_err(Failure::of("preallocating the spool"))
            .and_then(|()| Window::new(&file, 0, end).map_err(Failure::of("mapping the spool")))
            .map_err(|failure| {
                // Nothing is recorded in it, and on ext4 it holds all the room that was left.
                let _ = std::fs::remove_file(&path);
                failure.raise(&path)
            })?;
        window
            .write(|bytes| bytes[..header.len()].copy_from_slice(header))
            .map_err(|error| Failure::of(CUT)(error).raise(&path))?;
        let file = Arc::new(file);
        let writer = Writer { file, window, start: 0, end, offset, sequence: 0, largest_step };
        Ok(Self {
            path,
            state: Mutex::new(State::Open(Box::new(writer))),
            offset: AtomicU64::new(offset),
            synced: AtomicU64::new(0),
            named: AtomicBool::new(false),
        })
    }

    fn append(&self, kind: u8, direction: u8, payload: &Bound<'_, PyAny>) -> PyResult<u64> {
        bytes_of(payload, |payload| self.write(|writer| writer.frame(kind, direction, payload)))?
    }

    fn append_marked(
        &self,
        mark: &[u8],
        kind: u8,
        direction: u8,
        payload: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        bytes_of(payload, |payload| {
            self.write(|writer| {
                // Room for both first, so that no full disk leaves a mark alone.
                writer
                    .reserve(frame::size(mark.len()).saturating_add(frame::size(payload.len())))?;
                writer.frame(frame::DECISION, 0, mark)?;
                writer.frame(kind, direction, payload)
            })
        })?
    }

    #[getter]
    fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    #[getter]
    fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    fn sync(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.sync_now()).map_err(|failure| failure.raise(&self.path))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.close_now()).map_err(|failure| failure.raise(&self.path))
    }
}

impl Spool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // A panic under the lock left an unknown state: nothing more is appended.
            let mut state = poisoned.into_inner();
            state.fail(Failure { errno: libc::EIO, doing: "an earlier call" }, false);
            state
        })
    }

    /// Runs `append` on the writer; returns the sequence number of the last frame it wrote.
    fn write(&self, append: impl FnOnce(&mut Writer) -> Result<(), Failure>) -> PyResult<u64> {
        let mut state = self.lock();
        let failure = match &mut *state {
            State::Open(writer) => {
                let result = append(writer);
                // A mark may stand where what it is about failed.
                self.offset.store(writer.offset, Ordering::Release);
                match result {
                    Ok(()) => return Ok(writer.sequence - 1),
                    Err(failure) => failure,
                }
            }
            State::Failed { failure, .. } => *failure,
            State::Closed => Failure { errno: libc::EBADF, doing: "appending to a closed spool" },
        };
        state.fail(failure, true);
        drop(state);
        Err(failure.raise(&self.path))
    }

    fn sync_now(&self) -> Result<u64, Failure> {
        let (file, offset) = match &*self.lock() {
            State::Open(writer) => (Arc::clone(&writer.file), writer.offset),
            State::Failed { file, offset, whole: true, .. } => (Arc::clone(file), *offset),
            State::Failed { failure, .. } => return Err(*failure),
            State::Closed => return Ok(self.synced.load(Ordering::Acquire)),
        };
        let result = self.flush(&file, offset);
        if let Err(failure) = result {
            self.lock().fail(failure, false);
        }
        result
    }

    /// fdatasync, and the folder's entry with the first; nothing where all is on the disk already.
    fn flush(&self, file: &File, offset: u64) -> Result<u64, Failure> {
        let named = self.named.load(Ordering::Acquire);
        let synced = self.synced.load(Ordering::Acquire);
        if named && synced >= offset {
            return Ok(synced);
        }
        file.sync_data().map_err(Failure::of("fdatasync of the spool"))?;
        if !named {
            let folder = match self.path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(Failure::of("fsync of the spool's folder"))?;
            self.named.store(true, Ordering::Release);
        }
        Ok(self.synced.fetch_max(offset, Ordering::AcqRel).max(offset))
    }

    fn close_now(&self) -> Result<(), Failure> {
        let state = mem::replace(&mut *self.lock(), State::Closed);
        let (file, offset, whole) = match state {
            // The window goes before the file is truncated.
            State::Open(writer) => {
                let Writer { file, window, offset, .. } = *writer;
                drop(window);
                (file, offset, true)
            }
            State::Failed { file, offset, whole, .. } => (file, offset, whole),
            State::Closed => return Ok(()),
        };
        let truncated = file.set_len(offset).map_err(Failure::of("truncating the spool"));
        if !whole {
            // Raised already; a failed fdatasync is not retried.
            return Ok(());
        }
        self.flush(&file, offset)?;
        truncated
    }
}
