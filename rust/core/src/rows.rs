//! `PostgreSQL` `DataRow` messages (protocol, section 55.7): walking their columns, and rewriting them
//! by a plan. Invariant: a row that is not exactly what its counts say is an error, and an error
//! leaves nothing in the output, so no value passes by a malformed row.

use std::fmt;

/// The tag of a `DataRow` message.
pub const DATA_ROW: u8 = b'D';

/// Bytes that are no row, or not the row that the plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowError {
    /// The row ends before its counts say.
    Truncated,
    /// Bytes follow the last column.
    Trailing,
    /// A count or length below what is allowed.
    Negative,
    /// The run holds a message that is no `DataRow`.
    NotARow,
    /// The row has another number of columns than the plan.
    Columns { row: usize, plan: usize },
    /// The rewritten row is longer than a message can be.
    TooLong,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated => f.write_str("the row ends before its columns do"),
            Self::Trailing => f.write_str("bytes follow the row's last column"),
            Self::Negative => f.write_str("the row has a negative count or length"),
            Self::NotARow => f.write_str("not a DataRow message"),
            Self::Columns { row, plan } => {
                write!(f, "the row has {row} columns, the plan is for {plan}")
            }
            Self::TooLong => f.write_str("the rewritten row is longer than a message can be"),
        }
    }
}

impl std::error::Error for RowError {}

/// The columns of one `DataRow` payload, from left to right; None is NULL. Ends after an error.
#[derive(Clone, Debug)]
pub struct Columns<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Columns<'a> {
    /// Begins at the payload of a message, after tag and length.
    ///
    /// # Errors
    /// The count of columns is missing or negative.
    pub fn new(payload: &'a [u8]) -> Result<Self, RowError> {
        let (count, rest) = payload.split_first_chunk().ok_or(RowError::Truncated)?;
        let left = usize::try_from(i16::from_be_bytes(*count)).map_err(|_| RowError::Negative)?;
        Ok(Self { rest, left })
    }

    /// Columns still to come.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }

    fn column(&mut self) -> Result<Option<&'a [u8]>, RowError> {
        let (length, rest) = self.rest.split_first_chunk().ok_or(RowError::Truncated)?;
        match i32::from_be_bytes(*length) {
            -1 => {
                self.rest = rest;
                Ok(None)
            }
            length => {
                let length = usize::try_from(length).map_err(|_| RowError::Negative)?;
                let (value, rest) = rest.split_at_checked(length).ok_or(RowError::Truncated)?;
                self.rest = rest;
                Ok(Some(value))
            }
        }
    }
}

impl<'a> Iterator for Columns<'a> {
    type Item = Result<Option<&'a [u8]>, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if self.rest.is_empty() {
                return None;
            }
            self.rest = &[];
            return Some(Err(RowError::Trailing));
        }
        self.left -= 1;
        let column = self.column();
        if column.is_err() {
            self.left = 0;
            self.rest = &[];
        }
        Some(column)
    }
}

/// What becomes of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// The value passes as it is.
    Keep,
    /// The value becomes NULL.
    Null,
    /// These bytes stand in the value's place; a NULL stays NULL.
    Replace(&'a [u8]),
}

/// Appends to `out` the payload of a `DataRow` with `plan` applied, one action a column.
///
/// # Errors
/// A malformed row or one with another number of columns; `out` is then as it was.
pub fn rewrite_row(payload: &[u8], plan: &[Action<'_>], out: &mut Vec<u8>) -> Result<(), RowError> {
    let before = out.len();
    let result = append_row(payload, plan, out);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Appends to `out` a run of whole `DataRow` messages (tag, length, payload), each with `plan`
/// applied; returns how many there were.
///
/// # Errors
/// As `rewrite_row`, and a message that is cut short or no `DataRow`; `out` is then as it was.
pub fn rewrite_run(run: &[u8], plan: &[Action<'_>], out: &mut Vec<u8>) -> Result<usize, RowError> {
    let before = out.len();
    let result = append_run(run, plan, out);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

fn append_run(mut run: &[u8], plan: &[Action<'_>], out: &mut Vec<u8>) -> Result<usize, RowError> {
    out.reserve(run.len());
    let mut rows = 0;
    while let Some((&tag, rest)) = run.split_first() {
        if tag != DATA_ROW {
            return Err(RowError::NotARow);
        }
        let (field, _) = rest.split_first_chunk().ok_or(RowError::Truncated)?;
        let length = usize::try_from(i32::from_be_bytes(*field)).map_err(|_| RowError::Negative)?;
        let (message, rest) = rest.split_at_checked(length).ok_or(RowError::Truncated)?;
        let payload = message.get(4..).ok_or(RowError::Negative)?;

        out.push(DATA_ROW);
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        append_row(payload, plan, out)?;
        let length = i32::try_from(out.len() - start).map_err(|_| RowError::TooLong)?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        run = rest;
        rows += 1;
    }
    Ok(rows)
}

fn append_row(payload: &[u8], plan: &[Action<'_>], out: &mut Vec<u8>) -> Result<(), RowError> {
    let columns = Columns::new(payload)?;
    if columns.left() != plan.len() {
        return Err(RowError::Columns { row: columns.left(), plan: plan.len() });
    }
    out.extend_from_slice(&payload[..2]);
    let mut actions = plan.iter();
    for column in columns {
        // `Columns` yields one item a column, or an error, which ends this.
        let value = match (column?, actions.next()) {
            (Some(value), Some(Action::Keep)) => Some(value),
            (Some(_), Some(Action::Replace(bytes))) => Some(*bytes),
            (None, _) | (Some(_), Some(Action::Null) | None) => None,
        };
        match value {
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => {
                let length = i32::try_from(value.len()).map_err(|_| RowError::TooLong)?;
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(value);
            }
        }
    }
    Ok(())
}
