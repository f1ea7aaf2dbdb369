//! The `redis-protocol` crate as oracle: it decodes what we write, and where it takes bytes for
//! a request, so do we, with the same arguments.

use std::ops::Range;

use ballast_protocol::{ArgRange, Parsed, Protocol, Reply, request};
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::types::{OwnedFrame as Frame2, RangeFrame};
use redis_protocol::resp3::types::{OwnedFrame as Frame3, VerbatimStringFormat};
use redis_protocol::{resp2, resp3};

/// A value that a command might reply with.
#[derive(Clone, Debug)]
enum Value {
    Ok,
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Double(f64),
    Boolean(bool),
    BigNumber(String),
    Verbatim(Vec<u8>),
    Array(Vec<Value>),
    Deferred(Vec<Value>),
    Map(Vec<(String, Value)>),
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Ok),
        "[A-Z]{1,8} [a-z ]{1,20}".prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        (-300..300i64).prop_map(Value::Integer),
        vec(any::<u8>(), 0..300).prop_map(Value::Bulk),
        Just(Value::Null),
        any::<f64>().prop_filter("a number", |value| !value.is_nan()).prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        "-?[1-9][0-9]{0,40}".prop_map(Value::BigNumber),
        vec(any::<u8>(), 0..30).prop_map(Value::Verbatim),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec(inner.clone(), 0..6).prop_map(Value::Deferred),
            prop::collection::btree_map("[a-z]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Map(map.into_iter().collect())),
        ]
    })
}

fn write(value: &Value, reply: &mut Reply) {
    match value {
        Value::Ok => reply.ok(),
        Value::Error(text) => reply.error(text),
        Value::Integer(value) => reply.integer(*value),
        Value::Bulk(bytes) => reply.bulk(bytes),
        Value::Null => reply.null(),
        Value::Double(value) => reply.double(*value),
        Value::Boolean(value) => reply.boolean(*value),
        Value::BigNumber(digits) => reply.big_number(digits),
        Value::Verbatim(text) => reply.verbatim("txt", text),
        Value::Array(values) => {
            reply.array(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Deferred(values) => {
            let mark = reply.deferred();
            values.iter().for_each(|value| write(value, reply));
            reply.finish_array(mark, values.len());
        }
        Value::Map(pairs) => {
            let mark = reply.deferred();
            for (key, value) in pairs {
                reply.bulk_str(key);
                write(value, reply);
            }
            reply.finish_map(mark, pairs.len());
        }
    }
}

/// What a RESP2 client should see.
fn resp2_frame(value: &Value) -> Frame2 {
    match value {
        Value::Ok => Frame2::SimpleString(b"OK".to_vec()),
        Value::Error(text) => Frame2::Error(text.clone()),
        Value::Integer(value) => Frame2::Integer(*value),
        Value::Bulk(bytes) | Value::Verbatim(bytes) => Frame2::BulkString(bytes.clone()),
        Value::Null => Frame2::Null,
        Value::Double(value) => {
            let text = ballast_protocol::number::format_f64(*value);
            Frame2::BulkString(text.as_bytes().to_vec())
        }
        Value::Boolean(value) => Frame2::Integer(i64::from(*value)),
        Value::BigNumber(digits) => Frame2::BulkString(digits.clone().into_bytes()),
        Value::Array(values) | Value::Deferred(values) => {
            Frame2::Array(values.iter().map(resp2_frame).collect())
        }
        Value::Map(pairs) => {
            let key = |key: &String| Frame2::BulkString(key.clone().into_bytes());
            Frame2::Array(pairs.iter().flat_map(|(k, v)| [key(k), resp2_frame(v)]).collect())
        }
    }
}

/// What a RESP3 client should see.
fn resp3_frame(value: &Value) -> Frame3 {
    let attributes = None;
    match value {
        Value::Ok => Frame3::SimpleString { data: b"OK".to_vec(), attributes },
        Value::Error(text) => Frame3::SimpleError { data: text.clone(), attributes },
        Value::Integer(value) => Frame3::Number { data: *value, attributes },
        Value::Bulk(bytes) => Frame3::BlobString { data: bytes.clone(), attributes },
        Value::Null => Frame3::Null,
        Value::Double(value) => Frame3::Double { data: *value, attributes },
        Value::Boolean(value) => Frame3::Boolean { data: *value, attributes },
        Value::BigNumber(digits) => {
            Frame3::BigNumber { data: digits.clone().into_bytes(), attributes }
        }
        Value::Verbatim(text) => Frame3::VerbatimString {
            data: text.clone(),
            format: VerbatimStringFormat::Text,
            attributes,
        },
        Value::Array(values) | Value::Deferred(values) => {
            Frame3::Array { data: values.iter().map(resp3_frame).collect(), attributes }
        }
        Value::Map(pairs) => {
            let key = |key: &String| Frame3::BlobString {
                data: key.clone().into_bytes(),
                attributes: None,
            };
            let data = pairs.iter().map(|(k, v)| (key(k), resp3_frame(v))).collect();
            Frame3::Map { data, attributes }
        }
    }
}

/// The arguments that the oracle finds at the front of `buf`, and where they end, if it takes
/// that for a request.
fn oracle_request(buf: &[u8]) -> Option<(Vec<Range<usize>>, usize)> {
    let Ok(Some((RangeFrame::Array(elements), consumed))) = resp2::decode::decode_range(buf) else {
        return None;
    };
    let ranges = elements.into_iter().map(|element| match element {
        RangeFrame::BulkString((start, end)) => Some(start..end),
        _ => None,
    });
    Some((ranges.collect::<Option<_>>()?, consumed))
}

fn assert_agrees(buf: &[u8]) {
    // The oracle reads lengths with a sign, leading zeros, and empty arrays of any spelling.
    let Some((expected, consumed)) = oracle_request(buf) else { return };
    let mut args = Vec::new();
    match request::parse(buf, &Default::default(), &mut args) {
        Ok(parsed) if expected.is_empty() => assert_eq!(parsed, Parsed::Empty { consumed }),
        Ok(parsed) => {
            assert_eq!(parsed, Parsed::Complete { consumed });
            let found: Vec<_> = args.into_iter().map(ArgRange::range).collect();
            assert_eq!(found, expected);
        }
        Err(error) => assert!(has_loose_length(buf), "{error}: {}", buf.escape_ascii()),
    }
}

/// Whether a length is spelled in a way that Redis refuses.
fn has_loose_length(buf: &[u8]) -> bool {
    buf.windows(3)
        .any(|window| matches!(window, [b'*' | b'$', b'+' | b'0', _] | [b'*' | b'$', b'-', b'0']))
}

fn request_frame() -> impl Strategy<Value = Vec<u8>> {
    vec(vec(any::<u8>(), 0..300), 0..12).prop_map(|args| {
        let mut reply = Reply::new(Protocol::Resp2);
        reply.array(args.len());
        args.iter().for_each(|arg| reply.bulk(arg));
        reply.take()
    })
}

proptest! {
    #[test]
    fn requests_are_read_alike(frame in request_frame(), behind in vec(any::<u8>(), 0..20)) {
        prop_assert!(oracle_request(&frame).is_some());
        assert_agrees(&frame);
        assert_agrees(&[frame, behind].concat());
    }

    #[test]
    fn requests_are_incomplete_alike(frame in request_frame(), cut: prop::sample::Index) {
        let part = &frame[..cut.index(frame.len())];
        prop_assert_eq!(resp2::decode::decode_range(part).unwrap(), None);
        let parsed = request::parse(part, &Default::default(), &mut Vec::new()).unwrap();
        let is_incomplete = matches!(parsed, Parsed::Incomplete { .. });
        prop_assert!(is_incomplete);
    }

    #[test]
    fn damaged_requests_are_read_alike(
        frame in request_frame(),
        damage in vec((any::<prop::sample::Index>(), "[*$0-9\\r\\n+-]"), 1..3),
    ) {
        let mut frame = frame;
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte.as_bytes()[0];
        }
        assert_agrees(&frame);
    }

    #[test]
    fn replies_are_read_as_they_were_meant(values in vec(value(), 1..4)) {
        let mut replies = [Reply::new(Protocol::Resp2), Reply::new(Protocol::Resp3)];
        for reply in &mut replies {
            values.iter().for_each(|value| write(value, reply));
        }
        let replies = replies.each_ref().map(Reply::to_vec);
        let [mut resp2_rest, mut resp3_rest] = replies.each_ref().map(Vec::as_slice);
        for value in &values {
            let (frame, consumed) = resp2::decode::decode(resp2_rest).unwrap().unwrap();
            prop_assert_eq!(frame, resp2_frame(value));
            resp2_rest = &resp2_rest[consumed..];
            let (frame, consumed) = resp3::decode::complete::decode(resp3_rest).unwrap().unwrap();
            prop_assert_eq!(frame, resp3_frame(value));
            resp3_rest = &resp3_rest[consumed..];
        }
        prop_assert!(resp2_rest.is_empty() && resp3_rest.is_empty());
    }
}
