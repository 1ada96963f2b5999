//! Every message is framed the same whole, byte by byte, and with trailing bytes.

use chaperon_core::framer::{CONTINUATION, Entries, Framer, FramingError, Rule};

fn rules() -> [Rule; 256] {
    let mut rules = [Rule::default(); 256];
    let rule = Rule { whole: 64, prefix: 5, largest: 1 << 20, run: false };
    rules[usize::from(b'Q')] = Rule { prefix: 20, ..rule };
    rules[usize::from(b'Z')] = Rule { largest: 5, ..rule };
    rules[usize::from(b'D')] = Rule { run: true, ..rule };
    rules[usize::from(b'd')] = Rule { whole: 0, prefix: 0, run: true, ..rule };
    rules
}

fn message(tag: u8, payload: usize) -> Vec<u8> {
    let mut message = vec![tag];
    message.extend_from_slice(&u32::try_from(payload + 4).unwrap().to_be_bytes());
    message.resize(payload + 5, b'x');
    message
}

fn feed(framer: &mut Framer, data: &[u8]) -> Result<Vec<(u8, usize)>, FramingError> {
    let mut entries = Entries::default();
    framer.feed(data, &mut entries)?;
    Ok(entries.tags.into_iter().zip(entries.ends).collect())
}

#[test]
fn a_read_with_several_messages_and_a_part() {
    let mut framer = Framer::new(&rules());
    let data = [message(b'Q', 3), message(b'Z', 1), message(b'Q', 0)].concat();
    assert_eq!(feed(&mut framer, &data[..16]), Ok(vec![(b'Q', 8), (b'Z', 14)]));
    assert_eq!(framer.need(), 5);
    assert_eq!(feed(&mut framer, &data[14..]), Ok(vec![(b'Q', 5)]));
}

#[test]
fn need_says_when_the_next_feed_reports() {
    let mut framer = Framer::new(&rules());
    let data = message(b'Q', 30);
    for have in 0..data.len() {
        assert_eq!(feed(&mut framer, &data[..have]), Ok(vec![]));
        assert_eq!(framer.need(), if have < 5 { 5 } else { 35 });
    }
    assert_eq!(feed(&mut framer, &data), Ok(vec![(b'Q', 35)]));
    assert_eq!(framer.remaining(), 0);
}

#[test]
fn a_large_message_is_reported_with_its_prefix_and_continued() {
    let mut framer = Framer::new(&rules());
    let data = message(b'Q', 60);
    assert_eq!(feed(&mut framer, &data[..19]), Ok(vec![]));
    assert_eq!(framer.need(), 20);
    assert_eq!(feed(&mut framer, &data[..25]), Ok(vec![(b'Q', 25)]));
    assert_eq!((framer.remaining(), framer.need()), (40, 1));
    assert_eq!(feed(&mut framer, b""), Ok(vec![]));
    assert_eq!((framer.remaining(), framer.need()), (40, 1));
    assert_eq!(feed(&mut framer, &data[25..30]), Ok(vec![(CONTINUATION, 5)]));
    let rest = [&data[30..], &message(b'Z', 1)].concat();
    assert_eq!(feed(&mut framer, &rest), Ok(vec![(CONTINUATION, 35), (b'Z', 41)]));
    assert_eq!((framer.remaining(), framer.need()), (0, 5));
}

#[test]
fn a_message_of_exactly_the_whole_limit_waits() {
    let mut framer = Framer::new(&rules());
    let data = message(b'Q', 59);
    assert_eq!(feed(&mut framer, &data[..63]), Ok(vec![]));
    assert_eq!(framer.need(), 64);
}

#[test]
fn a_prefix_below_the_header_and_above_the_message_is_clamped() {
    let mut framer = Framer::new(&rules());
    assert_eq!(feed(&mut framer, b"d\0\0\0"), Ok(vec![]));
    assert_eq!(feed(&mut framer, b"d\0\0\0\x04"), Ok(vec![(b'd', 5)]));
    assert_eq!(framer.remaining(), 0);
    let mut wide = rules();
    wide[usize::from(b'Q')] = Rule { whole: 0, prefix: 100, largest: 99, run: false };
    let mut framer = Framer::new(&wide);
    assert_eq!(feed(&mut framer, &message(b'Q', 10)[..14]), Ok(vec![]));
    assert_eq!(framer.need(), 15);
}

#[test]
fn runs_are_one_entry_and_end_with_a_partial_message() {
    let mut framer = Framer::new(&rules());
    let data = [message(b'D', 1), message(b'D', 2), message(b'Z', 0), message(b'D', 3)].concat();
    assert_eq!(feed(&mut framer, &data), Ok(vec![(b'D', 13), (b'Z', 18), (b'D', 26)]));
    let data = [message(b'D', 1), message(b'D', 60)].concat();
    assert_eq!(feed(&mut framer, &data[..20]), Ok(vec![(b'D', 6), (b'D', 20)]));
    let next = [&data[20..], &message(b'D', 0), &message(b'D', 0)].concat();
    assert_eq!(feed(&mut framer, &next), Ok(vec![(CONTINUATION, 51), (b'D', 61)]));
}

#[test]
fn any_split_gives_the_same_messages() {
    let data = [
        message(b'D', 7),
        message(b'D', 0),
        message(b'Q', 59),
        message(b'Q', 60),
        message(b'd', 9),
        message(b'Z', 1),
    ]
    .concat();
    for step in 1..=data.len() {
        let mut framer = Framer::new(&rules());
        let (mut held, mut tags, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in data.chunks(step) {
            held.extend_from_slice(chunk);
            let entries = feed(&mut framer, &held).unwrap();
            assert!(!entries.is_empty() || held.len() < framer.need());
            let consumed = entries.last().map_or(0, |&(_, end)| end);
            tags.extend(entries.iter().map(|&(tag, _)| tag).filter(|&tag| tag != CONTINUATION));
            seen.extend(held.drain(..consumed));
        }
        assert_eq!(seen, data);
        tags.dedup();
        assert_eq!(tags, b"DQdZ");
    }
}

#[test]
fn what_is_not_of_the_protocol_is_refused_at_once_and_for_ever() {
    let cases: [(&[u8], FramingError); 4] = [
        (b"G", FramingError::UnknownTag(b'G')),
        (b"\0\0\0\0\x04", FramingError::UnknownTag(0)),
        (b"Q\0\0\0\x03", FramingError::TooShort { tag: b'Q', length: 3 }),
        (b"Z\xff\xff\xff\xff", FramingError::TooLong { tag: b'Z', length: u32::MAX, largest: 5 }),
    ];
    for (data, error) in cases {
        let mut framer = Framer::new(&rules());
        assert_eq!(feed(&mut framer, data), Err(error));
        assert_eq!(feed(&mut framer, &message(b'Q', 0)), Err(error));
        let late = [message(b'Q', 0), data.to_vec()].concat();
        assert_eq!(feed(&mut Framer::new(&rules()), &late), Err(error));
    }
}

#[test]
fn the_greatest_length_leaves_its_remainder() {
    let mut open = rules();
    open[usize::from(b'Q')] = Rule { whole: 0, prefix: 5, largest: u32::MAX, run: false };
    let mut framer = Framer::new(&open);
    assert_eq!(feed(&mut framer, b"Q\xff\xff\xff\xff"), Ok(vec![(b'Q', 5)]));
    assert_eq!(framer.remaining(), (1 << 32) - 5);
}
