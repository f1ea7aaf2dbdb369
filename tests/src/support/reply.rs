//! Replies as they came over the wire.
//!
//! The published RESP decoders drop what these tests must see: they fold `$-1`, `*-1` and `_` into
//! one null, keep maps and sets in hash order, and turn doubles into `f64`. This one keeps all of
//! it, because a reply that differs from Redis's only there still breaks a client.

/// One reply, RESP2 or RESP3, with nothing normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text`, or the RESP3 bulk error `!`
    Error(Vec<u8>),
    /// `:n`
    Integer(i64),
    /// `$n`
    Bulk(Vec<u8>),
    /// `$-1`
    NilBulk,
    /// `*-1`
    NilArray,
    /// RESP3 `_`
    Null,
    /// RESP3 `#t` or `#f`
    Boolean(bool),
    /// RESP3 `,text`, as written
    Double(Vec<u8>),
    /// RESP3 `(text`
    BigNumber(Vec<u8>),
    /// RESP3 `=n`: three letters of format, and the text
    Verbatim(Vec<u8>, Vec<u8>),
    /// `*n`
    Array(Vec<Reply>),
    /// RESP3 `~n`
    Set(Vec<Reply>),
    /// RESP3 `>n`
    Push(Vec<Reply>),
    /// RESP3 `%n`, in the order of the wire
    Map(Vec<(Reply, Reply)>),
    /// RESP3 `|n` and the reply it belongs to
    Attribute(Vec<(Reply, Reply)>, Box<Reply>),
}

impl Reply {
    /// A reply that is text, or a number as text.
    pub fn text(&self) -> Option<String> {
        match self {
            Reply::Bulk(text) | Reply::Simple(text) | Reply::Verbatim(_, text) => {
                Some(String::from_utf8_lossy(text).into_owned())
            }
            Reply::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// What an array or a set holds; nothing if it is neither.
    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Set(items) => items,
            _ => &[],
        }
    }

    /// The names and values of a map as RESP2 has it.
    pub fn pairs(&self) -> impl Iterator<Item = (String, &Reply)> {
        let pair = |pair: &'_ [Reply]| pair[0].text().unwrap_or_default();
        self.items().chunks_exact(2).map(move |both| (pair(both), &both[1]))
    }

    /// The value of a name among the [`pairs`](Reply::pairs).
    pub fn field(&self, name: &str) -> Option<&Reply> {
        self.pairs().find(|(own, _)| own == name).map(|(_, value)| value)
    }
}

/// What `decode` found at the start of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A whole reply and how many bytes it took.
    Whole(Reply, usize),
    /// The bytes end within a reply.
    Partial,
    /// The bytes are no RESP.
    Invalid(String),
}

enum Stop {
    Partial,
    Invalid(String),
}

/// Decodes the first reply in `bytes`.
pub fn decode(bytes: &[u8]) -> Decoded {
    let mut cursor = Cursor { bytes, at: 0 };
    match cursor.reply() {
        Ok(reply) => Decoded::Whole(reply, cursor.at),
        Err(Stop::Partial) => Decoded::Partial,
        Err(Stop::Invalid(why)) => Decoded::Invalid(why),
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn line(&mut self) -> Result<Vec<u8>, Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::Partial)?;
        let line = rest[..end].to_vec();
        self.at += end + 2;
        Ok(line)
    }

    fn number(&mut self) -> Result<i64, Stop> {
        let line = self.line()?;
        let text = String::from_utf8_lossy(&line);
        text.parse().map_err(|_| Stop::Invalid(format!("not a number: {text:?}")))
    }

    fn blob(&mut self, len: i64) -> Result<Vec<u8>, Stop> {
        let len = usize::try_from(len).map_err(|_| Stop::Invalid(format!("length {len}")))?;
        let rest = &self.bytes[self.at..];
        if rest.len() < len + 2 {
            return Err(Stop::Partial);
        }
        if &rest[len..len + 2] != b"\r\n" {
            return Err(Stop::Invalid("a bulk string without its line end".to_owned()));
        }
        self.at += len + 2;
        Ok(rest[..len].to_vec())
    }

    fn many(&mut self, len: i64) -> Result<Vec<Reply>, Stop> {
        (0..len).map(|_| self.reply()).collect()
    }

    fn pairs(&mut self, len: i64) -> Result<Vec<(Reply, Reply)>, Stop> {
        (0..len).map(|_| Ok((self.reply()?, self.reply()?))).collect()
    }

    fn reply(&mut self) -> Result<Reply, Stop> {
        let kind = *self.bytes.get(self.at).ok_or(Stop::Partial)?;
        self.at += 1;
        Ok(match kind {
            b'+' => Reply::Simple(self.line()?),
            b'-' => Reply::Error(self.line()?),
            b':' => Reply::Integer(self.number()?),
            b',' => Reply::Double(self.line()?),
            b'(' => Reply::BigNumber(self.line()?),
            b'_' => self.line().map(|_| Reply::Null)?,
            b'#' => Reply::Boolean(self.line()? == b"t"),
            b'$' => match self.number()? {
                -1 => Reply::NilBulk,
                len => Reply::Bulk(self.blob(len)?),
            },
            b'!' => {
                let len = self.number()?;
                Reply::Error(self.blob(len)?)
            }
            b'=' => {
                let len = self.number()?;
                let mut text = self.blob(len)?;
                if text.len() < 4 {
                    return Err(Stop::Invalid("a verbatim string without its format".to_owned()));
                }
                let body = text.split_off(4);
                text.pop();
                Reply::Verbatim(text, body)
            }
            b'*' => match self.number()? {
                -1 => Reply::NilArray,
                len => Reply::Array(self.many(len)?),
            },
            b'~' => {
                let len = self.number()?;
                Reply::Set(self.many(len)?)
            }
            b'>' => {
                let len = self.number()?;
                Reply::Push(self.many(len)?)
            }
            b'%' => {
                let len = self.number()?;
                Reply::Map(self.pairs(len)?)
            }
            b'|' => {
                let len = self.number()?;
                let pairs = self.pairs(len)?;
                Reply::Attribute(pairs, Box::new(self.reply()?))
            }
            other => return Err(Stop::Invalid(format!("a reply cannot begin with {other:#04x}"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_null_stays_itself() {
        for (bytes, reply) in [
            (&b"$-1\r\n"[..], Reply::NilBulk),
            (b"*-1\r\n", Reply::NilArray),
            (b"_\r\n", Reply::Null),
            (b"*0\r\n", Reply::Array(vec![])),
        ] {
            assert_eq!(decode(bytes), Decoded::Whole(reply, bytes.len()));
        }
    }

    #[test]
    fn every_prefix_of_a_reply_is_partial() {
        let bytes = b"*3\r\n$3\r\na\r\n\r\n%1\r\n+k\r\n,1.50\r\n=8\r\ntxt:some\r\n";
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), Decoded::Partial, "after {len} bytes");
        }
        let Decoded::Whole(Reply::Array(items), used) = decode(bytes) else { panic!("not whole") };
        assert_eq!((items.len(), used), (3, bytes.len()));
    }

    #[test]
    fn garbage_is_named() {
        assert!(matches!(decode(b"hello\r\n"), Decoded::Invalid(_)));
        assert!(matches!(decode(b":x\r\n"), Decoded::Invalid(_)));
        assert!(matches!(decode(b"$1\r\nabc\r\n"), Decoded::Invalid(_)));
    }
}
