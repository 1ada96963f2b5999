//! A template loses nothing but literals, and other literals of the same kinds give it again.
#![no_main]

use chaperon_core::template::{INTEGER, NUMBER, STRING, template};
use libfuzzer_sys::fuzz_target;

fn substitute(template: &[u8], integer: &[u8], number: &[u8], string: &[u8]) -> Vec<u8> {
    let mut sql = Vec::new();
    for &byte in template {
        match byte {
            INTEGER => sql.extend_from_slice(integer),
            NUMBER => sql.extend_from_slice(number),
            STRING => sql.extend_from_slice(string),
            _ => sql.push(byte),
        }
    }
    sql
}

fuzz_target!(|sql: &[u8]| {
    let Some(made) = template(sql) else { return };
    assert!(made.len() <= sql.len());
    assert!(std::str::from_utf8(&made).is_ok());
    for (integer, number, string) in
        [("0", "0.5", "''"), ("002147483647", "2147483648", "'it''s -- \"ü\" $1 /*'")]
    {
        let other = substitute(&made, integer.as_bytes(), number.as_bytes(), string.as_bytes());
        assert_eq!(template(&other).as_ref(), Some(&made));
    }
});
