//! Any bytes are a frame, no frame or an error; what was written is read back; damage is not.
#![no_main]

use chaperon_core::frame::{Header, TRAILER, decode, encode, size};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, u16, Vec<u8>, u16, u8)| {
    let (buffer, offset, payload, position, flip) = input;
    let offset = usize::from(offset);
    if let Ok(Some(frame)) = decode(&buffer, offset) {
        assert!(offset < frame.start && frame.start <= frame.end);
        assert!(frame.end + TRAILER <= buffer.len());
    }
    let header = Header {
        kind: flip,
        direction: payload.first().copied().unwrap_or(0),
        flags: position,
        connection: u32::from(position) << 9,
        sequence: u64::MAX - u64::from(position),
        mono_ns: u64::from(position) << 40,
        wall_ns: u64::from(flip) << 56,
    };
    let mut file = vec![0; offset + size(payload.len())];
    assert_eq!(encode(&mut file[offset..], &header, &payload), Some(size(payload.len())));
    let frame = decode(&file, offset).unwrap().unwrap();
    assert_eq!((frame.header, &file[frame.start..frame.end]), (header, payload.as_slice()));
    if flip != 0 {
        let at = offset + usize::from(position) % size(payload.len());
        file[at] ^= flip;
        assert!(!matches!(decode(&file, offset), Ok(Some(_))));
    }
});
