//! `DEBUG PROTOCOL`: a value of every type that RESP has, for the tests of client libraries.

use ballast_protocol::{CommandError, Protocol, Reply};

/// A type of RESP.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    String,
    Integer,
    Double,
    BigNumber,
    Null,
    Array,
    Set,
    Map,
    Attribute,
    Push,
    Verbatim,
    True,
    False,
}

const NAMES: [(&str, Kind); 13] = [
    ("string", Kind::String),
    ("integer", Kind::Integer),
    ("double", Kind::Double),
    ("bignum", Kind::BigNumber),
    ("null", Kind::Null),
    ("array", Kind::Array),
    ("set", Kind::Set),
    ("map", Kind::Map),
    ("attrib", Kind::Attribute),
    ("push", Kind::Push),
    ("verbatim", Kind::Verbatim),
    ("true", Kind::True),
    ("false", Kind::False),
];

/// Three digits of it, as in Redis.
#[allow(clippy::approx_constant, reason = "the tests of client libraries compare it")]
const DOUBLE: f64 = 3.141;

impl Kind {
    pub(super) fn parse(name: &[u8]) -> Result<Kind, CommandError> {
        let known = NAMES.iter().find(|(own, _)| name.eq_ignore_ascii_case(own.as_bytes()));
        known.map(|(_, kind)| *kind).ok_or_else(|| {
            CommandError::other(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            )
        })
    }

    /// The values that Redis replies.
    pub(super) fn write(self, reply: &mut Reply) -> Result<(), CommandError> {
        match self {
            Kind::String => reply.bulk_str("Hello World"),
            Kind::Integer => reply.integer(12345),
            Kind::Double => reply.double(DOUBLE),
            Kind::BigNumber => reply.big_number("1234567999999999999999999999999999999"),
            Kind::Null => reply.null(),
            Kind::Array => {
                reply.array(3);
                (0..3).for_each(|value| reply.integer(value));
            }
            Kind::Set => {
                reply.set(3);
                (0..3).for_each(|value| reply.integer(value));
            }
            Kind::Map => {
                reply.map(3);
                for value in 0..3 {
                    reply.integer(value);
                    reply.boolean(value == 1);
                }
            }
            Kind::Attribute => {
                if reply.attribute(1) {
                    reply.bulk_str("key-popularity");
                    reply.array(2);
                    reply.bulk_str("key:123");
                    reply.integer(90);
                }
                reply.bulk_str("Some real reply following the attribute");
            }
            Kind::Push if reply.protocol() == Protocol::Resp2 => {
                return Err(CommandError::other("ERR RESP2 is not supported by this command"));
            }
            Kind::Push => {
                reply.push(2);
                reply.bulk_str("server-cpu-usage");
                reply.integer(42);
                // A push is no reply: a client that drops it still waits for one.
                reply.bulk_str("Some real reply following the push reply");
            }
            Kind::Verbatim => reply.verbatim("txt", b"This is a verbatim\nstring"),
            Kind::True => reply.boolean(true),
            Kind::False => reply.boolean(false),
        }
        Ok(())
    }
}
