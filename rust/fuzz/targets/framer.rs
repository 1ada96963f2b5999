//! Any bytes in any split: the reported bytes are the stream, what must be held is bounded, and the
//! messages are those of a framer that sees all at once.
#![no_main]

use chaperon_core::framer::{CONTINUATION, Entries, Framer, Rule};
use libfuzzer_sys::fuzz_target;

const WHOLE: u32 = 48;

fn rules() -> [Rule; 256] {
    let mut rules = [Rule::default(); 256];
    for (tag, rule) in rules.iter_mut().enumerate().skip(1).step_by(2) {
        let run = tag % 4 == 1;
        let whole = if tag % 8 == 1 { 0 } else { WHOLE };
        let largest = if tag % 16 == 1 { u32::MAX } else { 300 };
        *rule = Rule { whole, prefix: (tag % 32) as u32, largest, run };
    }
    rules
}

/// Where messages begin, and whether the stream breaks the rules.
fn boundaries(stream: &[u8]) -> (Vec<usize>, bool) {
    let (rules, mut at, mut starts) = (rules(), 0_usize, Vec::new());
    while let Some(&tag) = stream.get(at) {
        let rule = rules[usize::from(tag)];
        if rule.largest == 0 {
            return (starts, true);
        }
        let Some(field) = stream.get(at + 1..at + 5) else { break };
        let length = u32::from_be_bytes(field.try_into().unwrap());
        if length < 4 || length > rule.largest {
            return (starts, true);
        }
        starts.push(at);
        at = at.saturating_add(length as usize + 1);
    }
    (starts, false)
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (stream, steps) = input;
    let (starts, broken) = boundaries(&stream);
    let (mut framer, mut entries) = (Framer::new(&rules()), Entries::default());
    let (mut reported, mut taken, mut turn) = (0, 0, 0);
    let mut refused = false;
    while taken < stream.len() {
        let step = steps
            .get(turn % steps.len().max(1))
            .map_or(stream.len(), |&step| usize::from(step) + 1);
        turn += 1;
        taken = stream.len().min(taken + step);
        let held = &stream[reported..taken];
        let need = framer.need();
        if framer.feed(held, &mut entries).is_err() {
            refused = true;
            break;
        }
        assert_eq!(entries.tags.len(), entries.ends.len());
        assert!(held.len() >= need || entries.tags.is_empty());
        let mut from = 0;
        for (&tag, &end) in entries.tags.iter().zip(&entries.ends) {
            assert!(from < end && end <= held.len());
            if tag != CONTINUATION {
                assert_eq!(held[from], tag);
                assert!(starts.contains(&(reported + from)));
            }
            from = end;
        }
        reported += from;
        assert!(framer.need() <= WHOLE as usize && taken - reported < framer.need());
    }
    assert_eq!(refused, broken);
});
