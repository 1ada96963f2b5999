//! The spool: an append-only file of frames, preallocated and mapped (EVIDENCE.md, The barrier).
//!
//! Invariants: room is preallocated before it is mapped, and never made by ftruncate. A failure of
//! any kind is for ever: every later append raises, a failed fdatasync is not retried. `append`
//! holds the lock (and the GIL) for the time of one copy; `sync` holds neither while it waits for the
//! disk. Nothing that holds the lock waits for the GIL.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use chaperon_core::frame::{self, Header};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::bytes_of;
use crate::os::{self, Window};

/// A failure as Python sees it: errno and what was being done.
#[derive(Clone)]
struct Failure {
    errno: i32,
    doing: &'static str,
}

impl Failure {
    fn new(doing: &'static str, error: &io::Error) -> Self {
        Self { errno: error.raw_os_error().unwrap_or(libc::EIO), doing }
    }

    fn raise(&self, path: &Path) -> PyErr {
        let cause = io::Error::from_raw_os_error(self.errno);
        let text = format!("{} failed: {cause}", self.doing);
        PyOSError::new_err((self.errno, text, path.to_path_buf()))
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
    /// The room behind `offset`, at least `needed` bytes, making it when it is not there.
    fn room(&mut self, needed: usize) -> Result<&mut [u8], Failure> {
        let used = self.offset - self.start;
        if self.end - self.offset < needed as u64 {
            self.grow(needed as u64)?;
            return self.room(needed);
        }
        let used =
            usize::try_from(used).map_err(|_| Failure { errno: libc::EFBIG, doing: "mapping" })?;
        Ok(&mut self.window.bytes()[used..])
    }

    fn grow(&mut self, needed: u64) -> Result<(), Failure> {
        let page = os::page();
        let least = (self.offset + needed).next_multiple_of(page);
        let step = self.end.min(self.largest_step);
        let end = least.max((self.end + step).next_multiple_of(page));
        if let Err(error) = os::preallocate(&self.file, end) {
            // ext4 keeps the room that there was: give it back, others need it to end well.
            let _ = self.file.set_len(self.end);
            return Err(Failure::new("preallocating the spool", &error));
        }
        let start = self.offset - self.offset % page;
        self.window = Window::new(&self.file, start, end)
            .map_err(|error| Failure::new("mapping the spool", &error))?;
        self.start = start;
        self.end = end;
        Ok(())
    }

    fn frame(&mut self, kind: u8, direction: u8, payload: &[u8]) -> Result<(), Failure> {
        let (mono_ns, wall_ns) = os::clocks();
        let sequence = self.sequence;
        let header =
            Header { kind, direction, flags: 0, connection: 0, sequence, mono_ns, wall_ns };
        let room = self.room(frame::size(payload.len()))?;
        let size = frame::encode(room, &header, payload)
            .ok_or(Failure { errno: libc::EFBIG, doing: "writing a frame" })?;
        self.offset += size as u64;
        self.sequence += 1;
        Ok(())
    }
}

enum State {
    Open(Box<Writer>),
    Failed(Failure, Arc<File>, u64),
    Closed,
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
            .map_err(|error| Failure::new("creating the spool", &error).raise(&path))?;
        let end = initial.max(header.len() as u64).max(1).next_multiple_of(os::page());
        let opened = os::preallocate(&file, end)
            .map_err(|error| Failure::new("preallocating the spool", &error))
            .and_then(|()| {
                Window::new(&file, 0, end)
                    .map_err(|error| Failure::new("mapping the spool", &error))
            });
        let mut window = opened.map_err(|failure| {
            // Nothing is recorded in it, and on ext4 it holds all the room that was left.
            let _ = std::fs::remove_file(&path);
            failure.raise(&path)
        })?;
        window.bytes()[..header.len()].copy_from_slice(header);
        let offset = header.len() as u64;
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
                // Room for both first, so that a mark never stands alone.
                writer.room(frame::size(mark.len()) + frame::size(payload.len()))?;
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
    /// The state; a panic under the lock (there is none to be had) left it as it was between steps.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            let failure = Failure { errno: libc::EIO, doing: "an earlier append" };
            Self::fail(&mut state, &failure);
            state
        })
    }

    /// From here on every append raises `failure`. The first failure stays.
    fn fail(state: &mut State, failure: &Failure) {
        if let State::Open(writer) = state {
            *state = State::Failed(failure.clone(), Arc::clone(&writer.file), writer.offset);
        }
    }

    /// Runs `append` on the writer; returns the sequence number of the last frame it wrote.
    fn write(&self, append: impl FnOnce(&mut Writer) -> Result<(), Failure>) -> PyResult<u64> {
        let mut state = self.lock();
        let failure = match &mut *state {
            State::Open(writer) => match append(writer) {
                Ok(()) => {
                    self.offset.store(writer.offset, Ordering::Release);
                    return Ok(writer.sequence - 1);
                }
                Err(failure) => failure,
            },
            State::Failed(failure, ..) => failure.clone(),
            State::Closed => Failure { errno: libc::EBADF, doing: "appending to a closed spool" },
        };
        Self::fail(&mut state, &failure);
        drop(state);
        Err(failure.raise(&self.path))
    }

    fn sync_now(&self) -> Result<u64, Failure> {
        let (file, offset) = match &*self.lock() {
            State::Open(writer) => (Arc::clone(&writer.file), writer.offset),
            State::Failed(failure, ..) => return Err(failure.clone()),
            State::Closed => return Ok(self.synced.load(Ordering::Acquire)),
        };
        self.flush(&file, offset).inspect_err(|failure| Self::fail(&mut self.lock(), failure))
    }

    /// fdatasync, and the folder's entry before the first is reported.
    fn flush(&self, file: &File, offset: u64) -> Result<u64, Failure> {
        file.sync_data().map_err(|error| Failure::new("fdatasync of the spool", &error))?;
        if !self.named.load(Ordering::Acquire) {
            let folder = match self.path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| Failure::new("fsync of the spool's folder", &error))?;
            self.named.store(true, Ordering::Release);
        }
        Ok(self.synced.fetch_max(offset, Ordering::AcqRel).max(offset))
    }

    fn close_now(&self) -> Result<(), Failure> {
        // The window goes before the file is truncated.
        match std::mem::replace(&mut *self.lock(), State::Closed) {
            State::Open(writer) => {
                let Writer { file, window, offset, .. } = *writer;
                drop(window);
                file.set_len(offset)
                    .map_err(|error| Failure::new("truncating the spool", &error))?;
                self.flush(&file, offset)?;
                Ok(())
            }
            State::Failed(_, file, offset) => {
                // Raised already, and a failed fdatasync is not retried.
                let _ = file.set_len(offset);
                Ok(())
            }
            State::Closed => Ok(()),
        }
    }
}
