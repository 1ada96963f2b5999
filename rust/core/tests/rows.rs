//! Rows are walked and rewritten exactly, or refused with nothing in the output.

use chaperon_core::rows::{Action, Columns, RowError, rewrite_row, rewrite_run};

type Value<'a> = Option<&'a [u8]>;

fn payload(values: &[Value<'_>]) -> Vec<u8> {
    let mut row = i16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        row.extend_from_slice(&length.to_be_bytes());
        row.extend_from_slice(value.unwrap_or_default());
    }
    row
}

fn message(values: &[Value<'_>]) -> Vec<u8> {
    let payload = payload(values);
    let length = i32::try_from(payload.len() + 4).unwrap().to_be_bytes();
    [b"D".as_slice(), &length, &payload].concat()
}

fn walk(payload: &[u8]) -> Result<Vec<Value<'_>>, RowError> {
    Columns::new(payload)?.collect()
}

const ROW: [Value<'static>; 4] = [Some(b"abc"), None, Some(b""), Some(b"4111")];

#[test]
fn columns_are_walked() {
    assert_eq!(walk(&payload(&ROW)), Ok(ROW.to_vec()));
    assert_eq!(walk(&payload(&[])), Ok(vec![]));
}

#[test]
fn a_row_that_is_not_what_it_says_is_refused() {
    let row = payload(&ROW);
    for end in 0..row.len() {
        assert_eq!(walk(&row[..end]), Err(RowError::Truncated));
    }
    assert_eq!(walk(&[row.as_slice(), b"x"].concat()), Err(RowError::Trailing));
    assert_eq!(walk(b"\xff\xff"), Err(RowError::Negative));
    assert_eq!(walk(b"\0\x01\xff\xff\xff\xfe"), Err(RowError::Negative));
    assert_eq!(walk(b"\0\x01\x7f\xff\xff\xff"), Err(RowError::Truncated));
}

#[test]
fn the_walk_ends_after_an_error() {
    let mut columns = Columns::new(b"\0\x03\0\0\0\x09x").unwrap();
    assert_eq!(columns.next(), Some(Err(RowError::Truncated)));
    assert_eq!(columns.next(), None);
}

#[test]
fn a_plan_keeps_empties_and_replaces() {
    let plan = [Action::Null, Action::Replace(b"zz"), Action::Keep, Action::Replace(b"****")];
    let mut out = b"before".to_vec();
    rewrite_row(&payload(&ROW), &plan, &mut out).unwrap();
    let expected = payload(&[None, None, Some(b""), Some(b"****")]);
    assert_eq!(out, [b"before".as_slice(), &expected].concat());
}

#[test]
fn a_run_keeps_its_messages() {
    let run = [message(&[Some(b"a"), Some(b"b")]), message(&[None, Some(b"cd")])].concat();
    let mut out = Vec::new();
    assert_eq!(rewrite_run(&run, &[Action::Keep; 2], &mut out), Ok(2));
    assert_eq!(out, run);
    out.clear();
    let plan = [Action::Keep, Action::Replace(b"masked")];
    assert_eq!(rewrite_run(&run, &plan, &mut out), Ok(2));
    let expected =
        [message(&[Some(b"a"), Some(b"masked")]), message(&[None, Some(b"masked")])].concat();
    assert_eq!(out, expected);
    assert_eq!(rewrite_run(b"", &plan, &mut out), Ok(0));
}

#[test]
fn an_error_leaves_nothing_in_the_output() {
    let good = message(&[Some(b"secret")]);
    let bad: [(Vec<u8>, RowError); 6] = [
        (message(&[]), RowError::Columns { row: 0, plan: 1 }),
        (message(&[None, None]), RowError::Columns { row: 2, plan: 1 }),
        (b"C\0\0\0\x04".to_vec(), RowError::NotARow),
        (b"D\0\0\0\x03".to_vec(), RowError::Negative),
        (b"D\xff\xff\xff\xff".to_vec(), RowError::Negative),
        (good[..good.len() - 1].to_vec(), RowError::Truncated),
    ];
    for (message, error) in bad {
        let mut out = b"before".to_vec();
        let run = [good.as_slice(), &message].concat();
        assert_eq!(rewrite_run(&run, &[Action::Keep], &mut out), Err(error));
        assert_eq!(out, b"before");
    }
    let mut out = b"before".to_vec();
    let trailing = [payload(&[Some(b"secret")]), b"x".to_vec()].concat();
    assert_eq!(rewrite_row(&trailing, &[Action::Keep], &mut out), Err(RowError::Trailing));
    assert_eq!(out, b"before");
}
