//! Any bytes are rows or an error that leaves nothing; a plan that keeps all changes nothing, and one
//! that replaces all lets no value pass.
#![no_main]

use chaperon_core::rows::{Action, Columns, rewrite_run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, u8)| {
    let (run, columns) = input;
    let columns = usize::from(columns % 5);
    let mut out = b"before".to_vec();
    let kept = rewrite_run(&run, &vec![Action::Keep; columns], &mut out);
    assert_eq!(&out[..6], b"before");
    assert_eq!(&out[6..], if kept.is_ok() { run.as_slice() } else { b"" });

    let mut masked = Vec::new();
    assert_eq!(rewrite_run(&run, &vec![Action::Replace(b"*"); columns], &mut masked), kept);
    let mut again = Vec::new();
    assert_eq!(rewrite_run(&masked, &vec![Action::Null; columns], &mut again).is_ok(), true);
    if kept.is_ok() {
        let mut rest = masked.as_slice();
        while let Some((payload, next)) = message(rest) {
            for value in Columns::new(payload).unwrap() {
                assert!(matches!(value.unwrap(), None | Some(b"*")));
            }
            rest = next;
        }
        assert!(rest.is_empty());
    }
    if let Ok(walk) = Columns::new(&run) {
        walk.for_each(drop);
    }
});

fn message(run: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_be_bytes(run.get(1..5)?.try_into().unwrap()) as usize;
    Some((&run[5..=length], &run[length + 1..]))
}
