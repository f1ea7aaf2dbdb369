//! What replies say, for benches that ask the server itself.

use ballast_tests::support::{Client, Reply};

use crate::Outcome;

pub(crate) fn integer(reply: &Reply) -> Outcome<u64> {
    match reply {
        Reply::Integer(value) => Ok(u64::try_from(*value)?),
        other => Err(format!("no number: {other:?}").into()),
    }
}

pub(crate) fn text(reply: &Reply) -> Outcome<String> {
    match reply {
        Reply::Bulk(text) | Reply::Verbatim(_, text) => {
            Ok(String::from_utf8_lossy(text).into_owned())
        }
        other => Err(format!("no text: {other:?}").into()),
    }
}

/// The value of a name in a map, as RESP2 has it.
pub(crate) fn field<'a>(map: &'a Reply, name: &str) -> Outcome<&'a Reply> {
    let found = match map {
        Reply::Array(items) => items
            .chunks_exact(2)
            .find(|pair| matches!(&pair[0], Reply::Bulk(it) if it == name.as_bytes())),
        _ => None,
    };
    Ok(&found.ok_or_else(|| format!("there is no {name}"))?[1])
}

/// A field of a section of `INFO`.
pub(crate) fn info(client: &mut Client, section: &str, name: &str) -> Outcome<String> {
    let info = text(&client.call(&["INFO", section])?)?;
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.ok_or_else(|| format!("INFO has no {name}"))?.trim().to_owned())
}
