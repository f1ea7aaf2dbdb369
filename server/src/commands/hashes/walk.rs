//! `HRANDFIELD` and `HSCAN`: some fields, chosen by chance or by a cursor.

use ballast_protocol::glob::glob_match;
use ballast_protocol::number::parse_i64;
use ballast_protocol::reply::Protocol;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::types::Element;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::write_element;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;

/// The most fields that one `HRANDFIELD` with a negative count returns. Redis has no limit there
/// and grows until it is killed.
const REPEATS_MAX: u64 = 1 << 24;
/// Fields that `HSCAN` looks at without `COUNT`.
const SCAN_COUNT: usize = 10;

pub(super) fn hrandfield(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let Some(count) = args.get(2) else {
        let random = cx.random();
        match cx.read_hash(args.at(1))?.and_then(|hash| hash.random(random)) {
            Some((field, _)) => write_element(reply, field),
            None => reply.null(),
        }
        return Ok(());
    };
    let count = parse_count(count)?;
    let pairs = match args.get(3) {
        None => Pairs::Fields,
        Some(word) if word.eq_ignore_ascii_case(b"withvalues") && args.len() == 4 => {
            if count.unsigned_abs() > i64::MAX as u64 / 2 {
                return Err(CommandError::ValueOutOfRange);
            }
            Pairs::of(reply.protocol())
        }
        Some(_) => return Err(CommandError::Syntax),
    };
    let mut generator = SmallRng::seed_from_u64(cx.random());
    let mut random = || generator.random::<u64>();
    let Some(hash) = cx.read_hash(args.at(1))? else {
        reply.array(0);
        return Ok(());
    };
    let wanted = count.unsigned_abs();
    if count >= 0 {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let chosen = hash.random_distinct(wanted, &mut random);
        pairs.open(reply, chosen.len());
        for (field, value) in chosen {
            pairs.write(reply, field, value);
        }
    } else if wanted > REPEATS_MAX {
        return Err(CommandError::ValueOutOfRange);
    } else {
        pairs.open(reply, wanted as usize);
        hash.random_repeated(wanted as usize, &mut random, &mut |field, value| {
            pairs.write(reply, field, value);
        });
    }
    Ok(())
}

fn parse_count(text: &[u8]) -> Result<i64, CommandError> {
    match parse_i64(text) {
        None => Err(CommandError::NotInteger),
        Some(i64::MIN) => Err(CommandError::other(
            "ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        )),
        Some(count) => Ok(count),
    }
}

/// How fields are listed.
#[derive(Clone, Copy)]
enum Pairs {
    /// Without their values.
    Fields,
    /// Each followed by its value.
    Flat,
    /// Each in an array with its value.
    Nested,
}

impl Pairs {
    fn of(protocol: Protocol) -> Pairs {
        match protocol {
            Protocol::Resp2 => Pairs::Flat,
            Protocol::Resp3 => Pairs::Nested,
        }
    }

    fn open(self, reply: &mut Reply, fields: usize) {
        match self {
            Pairs::Fields | Pairs::Nested => reply.array(fields),
            Pairs::Flat => reply.array(fields * 2),
        }
    }

    fn write(self, reply: &mut Reply, field: Element<'_>, value: Element<'_>) {
        if let Pairs::Nested = self {
            reply.array(2);
        }
        write_element(reply, field);
        if !matches!(self, Pairs::Fields) {
            write_element(reply, value);
        }
    }
}

pub(super) fn hscan(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let cursor = parse_cursor(args.at(2))?;
    let Some(hash) = cx.read_hash(args.at(1))? else {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return Ok(());
    };
    let (pattern, count) = parse_scan_options(args)?;
    let mut found = Reply::new(reply.protocol());
    let mut elements = 0;
    let next = hash.scan(cursor, count, &mut |field, value| {
        if pattern.is_none_or(|pattern| field.with_bytes(|field| glob_match(pattern, field))) {
            write_element(&mut found, field);
            write_element(&mut found, value);
            elements += 2;
        }
    });
    reply.array(2);
    reply.bulk_str(&next.to_string());
    reply.array(elements);
    reply.raw(found.as_bytes());
    Ok(())
}

/// A cursor may have leading zeros.
fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let text = str::from_utf8(text).map_err(|_| CommandError::InvalidCursor)?;
    text.parse().map_err(|_| CommandError::InvalidCursor)
}

/// The pattern, if there is one, and how many fields to look at.
fn parse_scan_options(args: Args<'_>) -> Result<(Option<&[u8]>, usize), CommandError> {
    let (mut pattern, mut count) = (None, SCAN_COUNT);
    let mut at = 3;
    while at < args.len() {
        let (word, Some(value)) = (args.at(at), args.get(at + 1)) else {
            return Err(CommandError::Syntax);
        };
        if word.eq_ignore_ascii_case(b"count") {
            let number = parse_i64(value).ok_or(CommandError::NotInteger)?;
            count = match usize::try_from(number) {
                Ok(number) if number > 0 => number,
                _ => return Err(CommandError::Syntax),
            };
        } else if word.eq_ignore_ascii_case(b"match") {
            pattern = Some(value).filter(|pattern| *pattern != b"*");
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    Ok((pattern, count))
}
