//! Splits a byte stream of `tag u8 · length u32 big-endian (counting itself) · payload` messages.
//!
//! Invariant: the entries of one feed are contiguous from offset 0, and all bytes that were ever
//! reported, put together, are the stream. A message of at most `whole` bytes is reported only when
//! it is complete; a larger one as soon as `prefix` bytes of it are there, and then the rest passes as
//! continuations, so what must be held is bounded whatever the length field says.

use std::fmt;

/// Tag and length field.
const HEADER: usize = 5;

/// The least length field: it counts its own four bytes.
const LENGTH_FIELD: u32 = 4;

/// The tag of an entry that continues a message reported before it was complete.
pub const CONTINUATION: u8 = 0;

/// How messages of one tag are framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// A message of up to this many bytes, header included, is reported only when complete.
    pub whole: u32,
    /// Bytes of a larger one, header included, that must be there before it is reported; at least 5.
    pub prefix: u32,
    /// Greatest allowed length field; 0 means that the tag is not of this protocol.
    pub largest: u32,
    /// Complete messages that follow one another in one feed are reported as one entry.
    pub run: bool,
}

/// Bytes that the protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// No message of the protocol has this tag.
    UnknownTag(u8),
    /// The length field is smaller than itself.
    TooShort { tag: u8, length: u32 },
    /// The length field is above what the tag's rule allows.
    TooLong { tag: u8, length: u32, largest: u32 },
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownTag(tag) => write!(f, "unknown message type 0x{tag:02x}"),
            Self::TooShort { tag, length } => {
                write!(f, "message type 0x{tag:02x} with length {length}, below 4")
            }
            Self::TooLong { tag, length, largest } => {
                write!(f, "message type 0x{tag:02x} with length {length}, above {largest}")
            }
        }
    }
}

impl std::error::Error for FramingError {}

/// What one feed reported, as two parallel columns; kept by the caller so that its memory is reused.
#[derive(Debug, Default)]
pub struct Entries {
    pub tags: Vec<u8>,
    pub ends: Vec<usize>,
}

impl Entries {
    fn clear(&mut self) {
        self.tags.clear();
        self.ends.clear();
    }

    fn push(&mut self, tag: u8, end: usize) {
        self.tags.push(tag);
        self.ends.push(end);
    }
}

/// The state between feeds of one direction of one connection.
#[derive(Debug)]
pub struct Framer {
    /// For each tag the place of its rule: a protocol has few distinct rules, a gateway many framers.
    index: [u8; 256],
    rules: Box<[Rule]>,
    remaining: u64,
    need: usize,
    broken: Option<FramingError>,
}

impl Framer {
    /// A framer at the beginning of a stream; `rules` is indexed by tag.
    #[must_use]
    pub fn new(rules: &[Rule; 256]) -> Self {
        let mut distinct: Vec<Rule> = Vec::new();
        let mut index = [0; 256];
        for (place, rule) in index.iter_mut().zip(rules) {
            let at = distinct.iter().position(|known| known == rule).unwrap_or_else(|| {
                distinct.push(*rule);
                distinct.len() - 1
            });
            // 256 tags have at most 256 distinct rules.
            *place = u8::try_from(at).unwrap_or(u8::MAX);
        }
        Self { index, rules: distinct.into(), remaining: 0, need: HEADER, broken: None }
    }

    /// Bytes that must be there, from the first unconsumed one, before a feed can report more.
    #[must_use]
    pub fn need(&self) -> usize {
        self.need
    }

    /// Bytes still to come of a message that was reported before it was complete.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Frames `data`, which begins where the reported bytes of the last feed ended, into `entries`.
    ///
    /// # Errors
    /// A length or tag that the rules do not allow; after that every feed gives the same error.
    pub fn feed(&mut self, data: &[u8], entries: &mut Entries) -> Result<(), FramingError> {
        entries.clear();
        if let Some(error) = self.broken {
            return Err(error);
        }
        let result = self.advance(data, entries);
        self.broken = result.err();
        result
    }

    fn advance(&mut self, data: &[u8], entries: &mut Entries) -> Result<(), FramingError> {
        let mut at = 0;
        if self.remaining > 0 {
            at = usize::try_from(self.remaining).map_or(data.len(), |rest| rest.min(data.len()));
            if at > 0 {
                entries.push(CONTINUATION, at);
                self.remaining -= at as u64;
            }
            if self.remaining > 0 {
                self.need = 1;
                return Ok(());
            }
        }
        // The tag of the run that the last entry can still grow by.
        let mut open_run = None;
        loop {
            let rest = &data[at..];
            let Some(&tag) = rest.first() else {
                self.need = HEADER;
                return Ok(());
            };
            let rule = self.rules[usize::from(self.index[usize::from(tag)])];
            if rule.largest == 0 {
                return Err(FramingError::UnknownTag(tag));
            }
            let Some(&[_, a, b, c, d]) = rest.first_chunk::<HEADER>() else {
                self.need = HEADER;
                return Ok(());
            };
            let length = u32::from_be_bytes([a, b, c, d]);
            if length < LENGTH_FIELD {
                return Err(FramingError::TooShort { tag, length });
            }
            if length > rule.largest {
                return Err(FramingError::TooLong { tag, length, largest: rule.largest });
            }
            let total = u64::from(length) + 1;
            if total <= rest.len() as u64 {
                // The comparison shows that `total` fits.
                at += usize::try_from(total).unwrap_or(rest.len());
                if open_run == Some(tag)
                    && let Some(end) = entries.ends.last_mut()
                {
                    *end = at;
                } else {
                    entries.push(tag, at);
                    open_run = rule.run.then_some(tag);
                }
                continue;
            }
            let enough = if total <= u64::from(rule.whole) {
                total
            } else {
                u64::from(rule.prefix).max(HEADER as u64)
            };
            let enough = usize::try_from(enough.min(total)).unwrap_or(usize::MAX);
            if rest.len() < enough {
                self.need = enough;
                return Ok(());
            }
            self.remaining = total - rest.len() as u64;
            self.need = 1;
            entries.push(tag, data.len());
            return Ok(());
        }
    }
}
