//! The Python face of `chaperon-core`; `_core.pyi` describes it. All unsafe code is in `os.rs`
//! (system calls) and `bytes_of` below.

mod lost;
mod os;
mod spool;

use chaperon_core::frame;
use chaperon_core::framer::{self, Entries, Rule};
use chaperon_core::{rows, template as lexer};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

/// Entries whose memory is kept between feeds.
const KEPT_ENTRIES: usize = 4096;

fn value_error(error: impl std::error::Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Calls `use_bytes` with the bytes of a `bytes` or of a contiguous buffer of bytes.
fn bytes_of<T>(object: &Bound<'_, PyAny>, use_bytes: impl FnOnce(&[u8]) -> T) -> PyResult<T> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(use_bytes(bytes.as_bytes()));
    }
    let buffer = PyBuffer::<u8>::get(object)?;
    if !buffer.is_c_contiguous() {
        return Err(PyValueError::new_err("the buffer is not contiguous"));
    }
    let length = buffer.len_bytes();
    if length == 0 {
        return Ok(use_bytes(&[]));
    }
    // SAFETY: the buffer is contiguous, of `u8`, not empty, and exported (so neither freed nor
    // resized) until `buffer` is dropped, after the call. The GIL is held throughout, and
    // `use_bytes` runs no Python code, so nothing in this process writes to it meanwhile. Where it
    // maps a live spool, the writer changes only bytes behind the last frame.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), length) };
    Ok(use_bytes(bytes))
}

#[pyclass(module = "chaperon._core")]
struct Framer {
    framer: framer::Framer,
    entries: Entries,
}

#[pymethods]
impl Framer {
    #[new]
    #[allow(clippy::needless_pass_by_value, reason = "extracted from Python")]
    fn new(whole: Vec<u32>, prefix: Vec<u32>, largest: Vec<u32>, runs: &[u8]) -> PyResult<Self> {
        if [whole.len(), prefix.len(), largest.len()] != [256; 3] {
            return Err(PyValueError::new_err("whole, prefix and largest need 256 entries each"));
        }
        let mut rules = [Rule::default(); 256];
        for (tag, rule) in (0_u8..).zip(&mut rules) {
            let at = usize::from(tag);
            let run = runs.contains(&tag);
            *rule = Rule { whole: whole[at], prefix: prefix[at], largest: largest[at], run };
        }
        Ok(Self { framer: framer::Framer::new(&rules), entries: Entries::default() })
    }

    fn feed<'py>(
        &mut self,
        py: Python<'py>,
        data: &Bound<'py, PyBytes>,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyTuple>)> {
        self.framer.feed(data.as_bytes(), &mut self.entries).map_err(value_error)?;
        let tags = PyBytes::new(py, &self.entries.tags);
        let ends = PyTuple::new(py, &self.entries.ends)?;
        if self.entries.tags.capacity() > KEPT_ENTRIES {
            self.entries = Entries::default();
        }
        Ok((tags, ends))
    }

    #[getter]
    fn need(&self) -> usize {
        self.framer.need()
    }

    #[getter]
    fn remaining(&self) -> u64 {
        self.framer.remaining()
    }
}

#[pyfunction]
fn template<'py>(py: Python<'py>, sql: &[u8]) -> Option<Bound<'py, PyBytes>> {
    lexer::template(sql).map(|template| PyBytes::new(py, &template))
}

#[pyfunction]
fn data_row<'py>(py: Python<'py>, payload: &[u8]) -> PyResult<Bound<'py, PyList>> {
    let columns = rows::Columns::new(payload).map_err(value_error)?;
    let row = PyList::empty(py);
    for column in columns {
        match column.map_err(value_error)? {
            Some(value) => row.append(PyBytes::new(py, value))?,
            None => row.append(py.None())?,
        }
    }
    Ok(row)
}

#[pyfunction]
fn crc32c(data: &[u8]) -> u32 {
    chaperon_core::crc32c(data)
}

type ReadFrame = (u8, u8, u32, u64, u64, u64, usize, usize);

#[pyfunction]
fn read_frame(buffer: &Bound<'_, PyAny>, offset: usize) -> PyResult<Option<ReadFrame>> {
    let read = bytes_of(buffer, |bytes| frame::decode(bytes, offset))?.map_err(value_error)?;
    Ok(read.map(|frame| {
        let header = frame.header;
        (
            header.kind,
            header.direction,
            header.connection,
            header.sequence,
            header.mono_ns,
            header.wall_ns,
            frame.start,
            frame.end,
        )
    }))
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Framer>()?;
    module.add_class::<spool::Spool>()?;
    module.add_function(wrap_pyfunction!(template, module)?)?;
    module.add_function(wrap_pyfunction!(data_row, module)?)?;
    module.add_function(wrap_pyfunction!(crc32c, module)?)?;
    module.add_function(wrap_pyfunction!(read_frame, module)?)?;
    module.add("FRAME_HEADER", frame::HEADER)?;
    Ok(())
}
