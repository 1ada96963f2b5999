//! Which texts have a template, and which; the rest is the parser's.

use chaperon_core::template::template;

#[test]
fn literals_become_markers() {
    let cases: [(&str, &str); 24] = [
        ("", ""),
        ("select 1", "select \x01"),
        ("SELECT 'a''b', 'ü', ''", "SELECT \x03, \x03, \x03"),
        ("select 2147483647, 0002147483647, 2147483648", "select \x01, \x01, \x02"),
        ("select 99999999999999999999", "select \x02"),
        ("select 1.5, 1., .5, 1e9, 1.e-3, .5E+2", "select \x02, \x02, \x02, \x02, \x02, \x02"),
        ("select -1, a-1, a - -1", "select -\x01, a-\x01, a - -\x01"),
        ("select $1::int4, $22", "select $1::int4, $22"),
        ("select a1, _b2 from \"T 'x' 1\"", "select a1, _b2 from \"T 'x' 1\""),
        ("select \"a\"\"b\" , \"ü\"", "select \"a\"\"b\" , \"ü\""),
        ("select t.*, s.t.c from s.t", "select t.*, s.t.c from s.t"),
        ("select a[1:2], a [3]", "select a[\x01:\x01], a [\x01]"),
        ("select date '2020-01-01'", "select date \x03"),
        ("select 'a'::text||'b'", "select \x03::text||\x03"),
        ("select 'a','b'", "select \x03,\x03"),
        ("select 'it -- is /* no */ comment'", "select \x03"),
        ("select '$$', \"$\"", "select \x03, \"$\""),
        ("\t\n\r\x0b\x0cselect\n1", "\t\n\r\x0b\x0cselect\n\x01"),
        ("select 1;select 2;", "select \x01;select \x01;"),
        ("select a<@b, a@>b, a~b, a?|b, a#>>b", "select a<@b, a@>b, a~b, a?|b, a#>>b"),
        ("f(a := 1, b => 2)", "f(a := \x01, b => \x01)"),
        ("select 1+.5", "select \x01+\x02"),
        ("select a & 'x'", "select a & \x03"),
        ("select 0", "select \x01"),
    ];
    for (sql, expected) in cases {
        let found = template(sql.as_bytes());
        assert_eq!(found.as_deref(), Some(expected.as_bytes()), "{sql}");
    }
}

#[test]
fn what_this_lexer_does_not_read_has_none() {
    let cases: [&[u8]; 64] = [
        b"select \"\"",
        b"select $2147483648",
        b"select 1 -- x",
        b"select 1 /* x */",
        b"a---1",
        b"a@/*",
        b"select E'a'",
        b"select e'a'",
        b"select B'1'",
        b"select X'1'",
        b"select N'a'",
        b"select U&'a'",
        b"select U&\"a\"",
        b"select a&'x'",
        b"select $$a$$",
        b"select $a$x$a$",
        b"select $",
        b"select $1a",
        b"select $1$",
        b"select $1'a'",
        b"select a$1",
        b"select a$",
        b"select 'a\\b'",
        b"select \"a\\b\"",
        b"select \\",
        b"select 'a",
        b"select \"a",
        b"select 'a' 'b'",
        b"select 'a'\n'b'",
        b"select 'a'b",
        b"select 'a'1",
        b"select 'a'$1",
        b"select 'a'\"b\"",
        b"select \"a\"'b'",
        b"select \"a\"b",
        b"select a\"b\"",
        b"select 1a",
        b"select 1_000",
        b"select 0x1f",
        b"select 0b1",
        b"select 0o7",
        b"select 1e",
        b"select 1e+",
        b"select 1e5x",
        b"select 1.5.5",
        b"select 1..2",
        b"select 1.5e3.2",
        b"select 1'a'",
        b"select 1\"a\"",
        b"select 1$1",
        b"select a.5",
        b"select a..b",
        b"select ).5",
        b"select ].5",
        b"select $1.5",
        b"select 'a'.5",
        b"select \xc3\xbc",
        b"select '\xff'",
        b"select '\xc3'",
        b"select a\0",
        b"select 'a\0'",
        b"select \x01",
        b"select '\x03'",
        b"select {a}",
    ];
    for sql in cases {
        assert_eq!(template(sql), None, "{}", String::from_utf8_lossy(sql));
    }
}

#[test]
fn every_prefix_of_a_text_is_answered() {
    let sql = b"select 'a''b', 1.5e-3, $1, \"c\"\"d\", .5 from t where x = 12 -- y";
    for end in 0..=sql.len() {
        if let Some(template) = template(&sql[..end]) {
            assert!(template.len() <= end);
        }
    }
}
