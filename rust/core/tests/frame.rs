//! A frame is read as it was written, or not at all.

use chaperon_core::frame::{
    Envelope, FrameError, HEADER, Header, TRAILER, decode, encode, envelope, size,
};

const HEAD: Header = Header {
    kind: 2,
    direction: 1,
    flags: 0x0304,
    connection: 0x0506_0708,
    sequence: 0x1112_1314_1516_1718,
    mono_ns: 0x2122_2324_2526_2728,
    wall_ns: 0x3132_3334_3536_3738,
};

fn written(payload: &[u8]) -> Vec<u8> {
    let mut room = vec![0; size(payload.len())];
    assert_eq!(encode(&mut room, &HEAD, payload), Some(room.len()));
    room
}

#[test]
fn the_layout_is_as_documented() {
    let mut expected = vec![
        39, 0, 0, 0, 2, 1, 0x04, 0x03, 0x08, 0x07, 0x06, 0x05, //
        0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, //
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, //
        0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, //
        b'a', b'b', b'c',
    ];
    expected.extend_from_slice(&chaperon_core::crc32c(&expected).to_le_bytes());
    assert_eq!(written(b"abc"), expected);
    let Some(Envelope { head, trailer }) = envelope(&HEAD, b"abc") else { panic!() };
    assert_eq!([&head, b"abc".as_slice(), &trailer].concat(), expected);
}

#[test]
fn the_checksum_is_castagnoli() {
    // The check value of CRC-32/ISCSI in the catalogue of parametrised CRC algorithms.
    assert_eq!(chaperon_core::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn frames_follow_one_another_until_a_zero_length() {
    let payloads: [&[u8]; 4] = [b"", b"x", &[7; 5000], b"end"];
    let mut file = b"MAGIC".to_vec();
    for payload in payloads {
        file.extend(written(payload));
    }
    file.extend([0; 64]);
    let mut at = 5;
    for payload in payloads {
        let frame = decode(&file, at).unwrap().unwrap();
        assert_eq!(frame.header, HEAD);
        assert_eq!(&file[frame.start..frame.end], payload);
        assert_eq!(frame.start, at + HEADER);
        at = frame.end + TRAILER;
    }
    assert_eq!(decode(&file, at), Ok(None));
}

#[test]
fn a_buffer_that_ends_early_has_no_frame() {
    let file = written(b"abcdef");
    for end in 0..file.len() {
        assert_eq!(decode(&file[..end], 0), Ok(None));
    }
    assert_eq!(decode(&file, file.len()), Ok(None));
    assert_eq!(decode(&file, usize::MAX), Ok(None));
}

#[test]
fn a_flipped_bit_is_never_read() {
    let file = [written(b"abcdef"), written(b"next")].concat();
    for bit in 0..size(6) * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(!matches!(decode(&damaged, 0), Ok(Some(_))), "bit {bit}");
    }
}

#[test]
fn an_impossible_length_is_an_error() {
    for len in 1..36_u32 {
        let mut file = written(b"");
        file[..4].copy_from_slice(&len.to_le_bytes());
        assert_eq!(decode(&file, 0), Err(FrameError::Length { offset: 0, len }));
    }
}

#[test]
fn room_that_is_too_small_stays_untouched() {
    let mut room = vec![0; size(3) - 1];
    assert_eq!(encode(&mut room, &HEAD, b"abc"), None);
    assert!(room.iter().all(|&byte| byte == 0));
}
