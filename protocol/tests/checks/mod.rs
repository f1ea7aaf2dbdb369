//! What has to hold for any bytes: shared by the fuzz target and the bounded smoke test.

use ballast_protocol::{
    ArgRange, Args, ArgsBuf, Limits, Parsed, Protocol, ProtocolError, Reply, RequestParser, glob,
    number, request, slot,
};

/// Requests of a stream in order, and how the stream ends.
type Outcome = (Vec<ArgsBuf>, Result<usize, ProtocolError>);

/// Checks everything with one input. The first byte decides about limits and splits.
///
/// # Panics
/// When something does not hold.
pub(crate) fn check(input: &[u8]) {
    let Some((&knob, stream)) = input.split_first() else { return };
    check_requests(knob, stream);
    check_texts(knob, stream);
}

fn limits(knob: u8) -> Limits {
    let inline_bytes_max = if knob & 1 == 0 { 24 } else { 64 * 1024 };
    let limits = if knob & 2 == 0 { Limits::default() } else { Limits::unauthenticated() };
    Limits { inline_bytes_max, ..limits }
}

fn check_requests(knob: u8, stream: &[u8]) {
    let limits = limits(knob);
    let (requests, end) = parse_whole(stream, &limits);
    for patient in [false, true] {
        let split = parse_split(stream, &limits, usize::from(knob >> 3), patient);
        assert_eq!(split, (requests.clone(), end), "{} {knob}", stream.escape_ascii());
    }
    for request in &requests {
        let mut encoded = Reply::new(Protocol::Resp2);
        encoded.array(request.len());
        request.view().iter().for_each(|arg| encoded.bulk(arg));
        let encoded = encoded.take();
        let consumed = encoded.len();
        let mut ranges = Vec::new();
        let parsed = request::parse(&encoded, &Limits::default(), &mut ranges);
        assert_eq!(parsed, Ok(Parsed::Complete { consumed }));
        assert_eq!(Args::new(&encoded, &ranges), request.view());
    }
}

/// Parses a stream that has arrived in full; the end is how many bytes are left over.
fn parse_whole(stream: &[u8], limits: &Limits) -> Outcome {
    let mut requests = Vec::new();
    let mut ranges = Vec::new();
    let mut rest = stream;
    loop {
        match request::parse(rest, limits, &mut ranges) {
            Err(error) => return (requests, Err(error)),
            Ok(Parsed::Incomplete { needed }) => {
                assert!(needed > rest.len());
                return (requests, Ok(rest.len()));
            }
            Ok(parsed) => rest = take(rest, parsed, &ranges, &mut requests),
        }
    }
}

/// Parses the same stream as it arrives. Who is patient waits for the bytes that are needed.
fn parse_split(stream: &[u8], limits: &Limits, step: usize, patient: bool) -> Outcome {
    let mut parser = RequestParser::new();
    let mut requests = Vec::new();
    let mut ranges = Vec::new();
    let (mut start, mut end, mut wait_for) = (0, 0, 0);
    let mut turn = 0;
    loop {
        let rest = &stream[start..end];
        if !patient || rest.len() >= wait_for || end == stream.len() {
            match parser.parse(rest, limits, &mut ranges) {
                Err(error) => return (requests, Err(error)),
                Ok(Parsed::Incomplete { needed }) => {
                    assert!(needed > rest.len());
                    assert!(wait_for <= rest.len() || needed == wait_for, "an exact hint");
                    wait_for = needed;
                    if end == stream.len() {
                        return (requests, Ok(rest.len()));
                    }
                }
                Ok(parsed) => {
                    assert!(wait_for <= rest.len(), "nothing is said before what is needed");
                    start =
                        stream.len() - take(&stream[start..], parsed, &ranges, &mut requests).len();
                    wait_for = 0;
                    continue;
                }
            }
        }
        turn = (turn + 1) % 3;
        end = (end + 1 + step * turn).min(stream.len());
    }
}

/// Notes a request and returns what follows it.
fn take<'a>(
    rest: &'a [u8],
    parsed: Parsed,
    ranges: &[ArgRange],
    requests: &mut Vec<ArgsBuf>,
) -> &'a [u8] {
    let consumed = match parsed {
        Parsed::Complete { consumed } => {
            let request = Args::new(&rest[..consumed], ranges).to_owned();
            assert!(!request.is_empty());
            requests.push(request);
            consumed
        }
        Parsed::Inline { consumed, args } => {
            assert!(!args.is_empty());
            requests.push(ArgsBuf::new(args));
            consumed
        }
        Parsed::Empty { consumed } => consumed,
        Parsed::Incomplete { .. } => unreachable!("handled by the callers"),
    };
    assert!(consumed > 0);
    &rest[consumed..]
}

fn check_texts(knob: u8, text: &[u8]) {
    assert!(slot::key_slot(text) < slot::SLOTS);
    assert_eq!(slot::key_slot(text), slot::crc16(slot::hash_tag(text)) % slot::SLOTS);

    let (pattern, subject) = text.split_at(text.len().min(usize::from(knob)));
    if glob::glob_match(pattern, subject) && !pattern.contains(&b'\\') && !pattern.contains(&b'[') {
        assert!(glob::glob_match_nocase(pattern, subject));
    }

    if let Some(value) = number::parse_i64(text) {
        assert_eq!(value.to_string().as_bytes(), text);
    }
    if let Some(value) = number::parse_u64(text) {
        assert_eq!(value.to_string().as_bytes(), text);
    }
    if let Some(value) = number::parse_f64(text) {
        let again = number::parse_f64(number::format_f64(value).as_bytes());
        assert_eq!(again.map(f64::to_bits), Some(value.to_bits()));
    }
    if let Some(value) = number::LongDouble::parse(text) {
        let shown = value.to_string();
        let again = number::LongDouble::parse(shown.as_bytes()).map(|again| again.to_string());
        // At most 17 decimal places are shown, so reading them again changes nothing more
        // unless the text needs more than 64 bits.
        assert!(again.is_some(), "{shown}");
    }
}
