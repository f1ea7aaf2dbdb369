//! The parser: whole requests, split ones, and what is refused.

use super::*;

/// The arguments of the request at the front of `buf`.
fn parsed(buf: &[u8]) -> Result<(Parsed, ArgsBuf), ProtocolError> {
    parsed_with(buf, &Limits::default())
}

fn parsed_with(buf: &[u8], limits: &Limits) -> Result<(Parsed, ArgsBuf), ProtocolError> {
    let mut ranges = vec![ArgRange::new(7, 9)];
    let parsed = parse(buf, limits, &mut ranges)?;
    let args = match &parsed {
        Parsed::Inline { args, .. } => ArgsBuf::new(args),
        Parsed::Complete { .. } => Args::new(buf, &ranges).to_owned(),
        Parsed::Empty { .. } | Parsed::Incomplete { .. } => ArgsBuf::default(),
    };
    Ok((parsed, args))
}

fn complete(buf: &[u8]) -> (usize, ArgsBuf) {
    match parsed(buf) {
        Ok((Parsed::Complete { consumed } | Parsed::Inline { consumed, .. }, args)) => {
            (consumed, args)
        }
        other => panic!("{:?}: {other:?}", buf.escape_ascii().to_string()),
    }
}

fn error(buf: &[u8]) -> String {
    error_with(buf, &Limits::default())
}

fn error_with(buf: &[u8], limits: &Limits) -> String {
    let error = parsed_with(buf, limits).expect_err("a protocol error").to_string();
    error.strip_prefix("Protocol error: ").expect("the common prefix").to_owned()
}

fn needed(buf: &[u8]) -> usize {
    match parsed(buf) {
        Ok((Parsed::Incomplete { needed }, _)) => needed,
        other => panic!("{:?}: {other:?}", buf.escape_ascii().to_string()),
    }
}

#[test]
fn an_array_of_bulk_strings() {
    let frame = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n";
    assert_eq!(complete(frame), (frame.len(), ArgsBuf::new(["SET", "k", ""])));
    let pipelined = [&frame[..], b"*1\r\n$4\r\nPING\r\n"].concat();
    assert_eq!(complete(&pipelined).0, frame.len());
}

#[test]
fn long_lengths() {
    let value = vec![b'v'; 123_456];
    let frame = [b"*2\r\n$4\r\nECHO\r\n$123456\r\n", &value[..], b"\r\n"].concat();
    assert_eq!(complete(&frame), (frame.len(), ArgsBuf::new([&b"ECHO"[..], &value])));
    let many = [b"*1000\r\n".to_vec(), b"$1\r\nx\r\n".repeat(1000)].concat();
    assert_eq!(complete(&many), (many.len(), ArgsBuf::new(vec!["x"; 1000])));
}

#[test]
fn bytes_that_redis_does_not_look_at() {
    assert_eq!(complete(b"*1\rx$4\r?PING??").1, ArgsBuf::new(["PING"]));
}

#[test]
fn nothing_to_do() {
    for (frame, consumed) in [
        (&b"*0\r\nPING\r\n"[..], 4),
        (b"*-1\r\nPING\r\n", 5),
        (b"*-5\r\n", 5),
        (b"*-9223372036854775808\r\n", 23),
        (b"\r\nPING\r\n", 2),
        (b"\n", 1),
        (b"  \t\r\n", 5),
    ] {
        assert_eq!(parsed(frame).unwrap().0, Parsed::Empty { consumed }, "{frame:?}");
    }
}

#[test]
fn inline_requests() {
    assert_eq!(complete(b"PING\r\nx"), (6, ArgsBuf::new(["PING"])));
    assert_eq!(complete(b"set k \"a b\"\n"), (12, ArgsBuf::new(["set", "k", "a b"])));
    assert_eq!(complete(b"PING\r\r\n"), (7, ArgsBuf::new(["PING"])));
    assert_eq!(complete(b"a\0b c\n"), (6, ArgsBuf::new(["a\0b", "c"])));
}

#[test]
fn what_is_needed_next() {
    for (frame, bytes) in [
        (&b""[..], 1),
        (b"*", 2),
        (b"*2", 3),
        (b"*2\r", 4),
        (b"*2\r\n", 5),
        (b"*2\r\n$", 6),
        (b"*2\r\n$3\r", 8),
        (b"*2\r\n$3\r\n", 13),
        (b"*2\r\n$3\r\nGET\r", 13),
        (b"*2\r\n$3\r\nGET\r\n", 14),
        (b"*2\r\n$3\r\nGET\r\n$1000\r\n", 1022),
        (b"PIN", 4),
        (b"PING\r", 6),
    ] {
        assert_eq!(needed(frame), bytes, "{:?}", frame.escape_ascii().to_string());
    }
}

#[test]
fn lengths_that_are_no_lengths() {
    for count in ["abc", "", "+1", "01", " 1", "1 ", "-0", "2147483648"] {
        assert_eq!(error(format!("*{count}\r\n").as_bytes()), "invalid multibulk length");
    }
    for count in ["9223372036854775807", "9223372036854775808", "99999999999999999999999"] {
        assert_eq!(error(format!("*{count}\r\n").as_bytes()), "invalid multibulk length");
    }
    for length in ["abc", "", "+1", "01", " 1", "-1", "536870913", "99999999999999999999"] {
        assert_eq!(error(format!("*1\r\n${length}\r\n").as_bytes()), "invalid bulk length");
    }
    assert_eq!(needed(b"*1048577\r\n"), 11);
    assert_eq!(needed(b"*2147483647\r\n"), 14);
    assert_eq!(needed(b"*1\r\n$536870912\r\n"), 16 + 536_870_912 + 2);
}

#[test]
fn elements_that_are_no_bulk_strings() {
    assert_eq!(error(b"*1\r\nxabc\r\n"), "expected '$', got 'x'");
    assert_eq!(error(b"*1\r\n\r\n"), "expected '$', got '\r'");
    assert_eq!(error(b"*1\r\n\0\r\n"), "expected '$', got '\0'");
    assert_eq!(error(b"*1\r\n\xe9\r\n"), "expected '$', got '\u{e9}'");
    assert_eq!(error(b"*2\r\n$1\r\na\r\n:1\r\n"), "expected '$', got ':'");
    // Not before the line is complete, as in Redis.
    assert_eq!(needed(b"*1\r\nx"), 6);
}

#[test]
fn lines_that_do_not_end() {
    let long = "1".repeat(64 * 1024 + 1);
    assert_eq!(error(format!("*{}", &long[1..]).as_bytes()), "too big mbulk count string");
    assert_eq!(error(format!("*1\r\n${}", &long[1..]).as_bytes()), "too big bulk count string");
    assert_eq!(error(long.as_bytes()), "too big inline request");
    assert_eq!(error(format!("{long}\r\n").as_bytes()), "too big inline request");
    assert_eq!(needed(&long.as_bytes()[1..]), 64 * 1024 + 1);
    assert_eq!(complete(format!("{}\n", &long[1..]).as_bytes()).0, 64 * 1024 + 1);
    assert_eq!(needed(format!("*{}", &long[2..]).as_bytes()), 64 * 1024 + 1);
}

#[test]
fn quotes_that_are_not_balanced() {
    assert_eq!(error(b"set \"a\r\n"), "unbalanced quotes in request");
    assert_eq!(error(b"set \"a\"b\r\n"), "unbalanced quotes in request");
}

#[test]
fn clients_without_a_password_may_send_little() {
    let limits = Limits::unauthenticated();
    let error = |frame: &[u8]| error_with(frame, &limits);
    assert_eq!(error(b"*11\r\n"), "unauthenticated multibulk length");
    assert_eq!(error(b"*2147483648\r\n"), "invalid multibulk length");
    assert_eq!(error(b"*1\r\n$16385\r\n"), "unauthenticated bulk length");
    assert_eq!(error(b"*1\r\n$536870913\r\n"), "invalid bulk length");
    for frame in [&b"*10\r\n"[..], b"*1\r\n$16384\r\n"] {
        let parsed = parsed_with(frame, &limits).unwrap().0;
        assert!(matches!(parsed, Parsed::Incomplete { .. }));
    }
}

#[test]
fn a_parser_goes_on_where_it_stopped() {
    let requests: [&[u8]; 4] =
        [b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", b"\r\n", b"ECHO 'a b'\r\n", b"*1\r\n$4\r\nPING\r\n"];
    let mut parser = RequestParser::new();
    let mut ranges = Vec::new();
    for request in requests {
        for len in 0..request.len() {
            let parsed = parser.parse(&request[..len], &Limits::default(), &mut ranges);
            let Ok(Parsed::Incomplete { needed }) = parsed else { panic!("{parsed:?}") };
            assert!(needed > len && needed <= request.len());
        }
        let parsed = parser.parse(request, &Limits::default(), &mut ranges).unwrap();
        assert!(!matches!(parsed, Parsed::Incomplete { .. }));
        assert!(!parser.is_inside());
    }
}

/// A request of many arguments in many reads: each argument is parsed once, whatever the size
/// of the reads, so that the ranges that were found never change.
#[test]
fn progress_is_kept() {
    let frame = [b"*100000\r\n".to_vec(), b"$3\r\nabc\r\n".repeat(100_000)].concat();
    let mut parser = RequestParser::new();
    let mut ranges = Vec::new();
    let mut len = 0;
    loop {
        assert!(len < frame.len(), "the whole frame is complete");
        len = (len + 13).min(frame.len());
        match parser.parse(&frame[..len], &Limits::default(), &mut ranges).unwrap() {
            Parsed::Incomplete { needed } => {
                assert!(needed > len);
                assert_eq!(parser.is_inside(), len >= 9);
                // Progress shows in the ranges: every whole argument has been taken.
                assert_eq!(ranges.len(), len.saturating_sub(9) / 9);
            }
            parsed => {
                assert_eq!(parsed, Parsed::Complete { consumed: frame.len() });
                break;
            }
        }
    }
    assert_eq!(Args::new(&frame, &ranges).iter().filter(|arg| arg == b"abc").count(), 100_000);
}

#[test]
fn what_redis_keeps_in_the_query_buffer() {
    for (frame, unread, arguments) in [
        (&b"*"[..], 1, 0),
        (b"*2\r\n", 0, 0),
        (b"*2\r\n$3\r", 3, 0),
        (b"*2\r\n$3\r\nGE", 2, 0),
        (b"*2\r\n$3\r\nGET\r\n", 0, 3),
        (b"*2\r\n$3\r\nGET\r\n$5\r\nab", 2, 3),
        (b"*2\r\n$3\r\nGET\r\n$5\r\na\rb", 3, 3),
        (b"SET k v", 7, 0),
        (b"a\rb", 3, 0),
    ] {
        let mut parser = RequestParser::new();
        let parsed = parser.parse(frame, &Limits::default(), &mut Vec::new());
        assert!(matches!(parsed, Ok(Parsed::Incomplete { .. })), "{frame:?}");
        assert_eq!(parser.unread_bytes(frame), unread, "{frame:?}");
        assert_eq!(parser.argument_bytes(), arguments, "{frame:?}");
    }
}
