//! A SQL text with its literals replaced by markers, so that texts which differ only in values share
//! one template. Lexical rules: `PostgreSQL` 18, section 4.1, and its `scan.l`.
//!
//! Invariant: two texts with one template have the same tokens but for the values of number and
//! plain string constants. This lexer reads the part of the language where that is plain, and gives
//! None for all else.

/// Marks an integer constant that fits in 32 bits signed, which `PostgreSQL` reads as int4.
pub const INTEGER: u8 = 1;
/// Marks any other number.
pub const NUMBER: u8 = 2;
/// Marks a string constant.
pub const STRING: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Not read here: NUL, markers, other control characters, backslash, braces, above 0x7f.
    Other,
    Space,
    /// `ident_start` within ASCII.
    Letter,
    Digit,
    /// Operator characters and punctuation that stand for themselves.
    Symbol,
    Dot,
    Dollar,
    Quote,
    DoubleQuote,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 128 {
        #[allow(clippy::cast_possible_truncation, reason = "byte is below 128")]
        let character = byte as u8;
        classes[byte] = match character {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*'
            | b'/' | b'%' | b'<' | b'>' | b'=' | b',' | b'(' | b')' | b'[' | b']' | b';' | b':' => {
                Class::Symbol
            }
            b'.' => Class::Dot,
            b'$' => Class::Dollar,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

/// The template of `sql`, or None where this lexer cannot answer for it.
#[must_use]
pub fn template(sql: &[u8]) -> Option<Vec<u8>> {
    if !sql.is_ascii() && std::str::from_utf8(sql).is_err() {
        return None;
    }
    let mut out = Vec::with_capacity(sql.len());
    let mut at = 0;
    while let Some(&byte) = sql.get(at) {
        let start = at;
        match class(byte) {
            Class::Space => at += 1,
            Class::Symbol => {
                at += 1;
                match (byte, sql.get(at)) {
                    // Comments, which nest and can hold anything; U&'' and U&"".
                    (b'-', Some(b'-')) | (b'/', Some(b'*')) | (b'&', Some(b'\'' | b'"')) => {
                        return None;
                    }
                    _ => {}
                }
            }
            Class::Letter => {
                at = word_end(sql, at);
                ends_plainly(sql, at)?;
            }
            Class::Dollar => {
                at = digits_end(sql, at + 1);
                // Neither `$` alone nor a number of a parameter that the scanner refuses.
                if !(2..=10).contains(&(at - start)) {
                    return None;
                }
                ends_plainly(sql, at)?;
            }
            Class::DoubleQuote => {
                at = quoted_end(sql, at, b'"')?;
                if at == start + 2 {
                    return None; // a name without characters is an error
                }
                ends_plainly(sql, at)?;
            }
            Class::Dot => match sql.get(at + 1).map(|&next| class(next)) {
                Some(Class::Dot) => return None,
                Some(Class::Digit) => {
                    // `a.5`, `).5` and the like are left to the parser.
                    let fresh = start == 0
                        || matches!(class(sql[start - 1]), Class::Space)
                        || matches!(
                            sql[start - 1],
                            b'(' | b',' | b'=' | b'+' | b'-' | b'*' | b'/' | b'<' | b'>'
                        );
                    if !fresh {
                        return None;
                    }
                    let (end, marker) = number(sql, at)?;
                    at = end;
                    out.push(marker);
                    continue;
                }
                _ => at += 1,
            },
            Class::Digit => {
                let (end, marker) = number(sql, at)?;
                at = end;
                out.push(marker);
                continue;
            }
            Class::Quote => {
                at = quoted_end(sql, at, b'\'')?;
                // A second string behind white space would be the first's continuation (4.1.2.1).
                let next = sql[at..].iter().find(|&&byte| class(byte) != Class::Space);
                if next == Some(&b'\'') {
                    return None;
                }
                ends_plainly(sql, at)?;
                out.push(STRING);
                continue;
            }
            Class::Other => return None,
        }
        out.extend_from_slice(&sql[start..at]);
    }
    Some(out)
}

fn word_end(sql: &[u8], at: usize) -> usize {
    let rest = &sql[at..];
    let length = rest
        .iter()
        .position(|&byte| !matches!(class(byte), Class::Letter | Class::Digit))
        .unwrap_or(rest.len());
    at + length
}

fn digits_end(sql: &[u8], at: usize) -> usize {
    let rest = &sql[at..];
    at + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
}

/// A token that touches another word, number, parameter, quote or byte above 0x7f is left to the
/// parser: prefixes of strings, junk after numbers, `$` inside of names.
fn ends_plainly(sql: &[u8], at: usize) -> Option<()> {
    match sql.get(at).map(|&byte| class(byte)) {
        None | Some(Class::Space | Class::Symbol | Class::Dot) => Some(()),
        Some(_) => None,
    }
}

/// The end of a quoted token at `at`, where a doubled quote stands for one.
fn quoted_end(sql: &[u8], at: usize, quote: u8) -> Option<usize> {
    let mut at = at + 1;
    loop {
        let byte = *sql.get(at)?;
        at += 1;
        if byte == quote {
            if sql.get(at) != Some(&quote) {
                return Some(at);
            }
            at += 1;
        } else if byte == b'\\' || byte <= STRING {
            return None;
        }
    }
}

/// The end of the number at `at` and its marker (`decinteger`, `numeric` and `real` of scan.l).
fn number(sql: &[u8], at: usize) -> Option<(usize, u8)> {
    let mut end = digits_end(sql, at);
    let whole = &sql[at..end];
    let mut integer = true;
    if sql.get(end) == Some(&b'.') {
        integer = false;
        end = digits_end(sql, end + 1);
    }
    if matches!(sql.get(end), Some(b'e' | b'E')) {
        integer = false;
        let sign = usize::from(matches!(sql.get(end + 1), Some(b'+' | b'-')));
        let exponent = end + 1 + sign;
        end = digits_end(sql, exponent);
        if end == exponent {
            return None;
        }
    }
    if sql.get(end) == Some(&b'.') {
        return None;
    }
    ends_plainly(sql, end)?;
    Some((end, if integer && fits_int4(whole) { INTEGER } else { NUMBER }))
}

fn fits_int4(digits: &[u8]) -> bool {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    let significant = &digits[zeros..];
    significant.len() < 10 || (significant.len() == 10 && significant <= b"2147483647".as_slice())
}
