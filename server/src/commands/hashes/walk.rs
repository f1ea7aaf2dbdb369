//! `HRANDFIELD` and `HSCAN`: some fields, chosen by chance or by a cursor.

use ballast_protocol::reply::Protocol;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::types::Element;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::write_element;
use crate::commands::arguments::{Companion, Sample, write_repeated};
use crate::commands::context::Data;
use crate::commands::keyspace::{ScanOptions, scan_cursor, write_scan};
use crate::commands::table::CommandResult;

pub(super) fn hrandfield(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let Some(count) = args.get(2) else {
        let random = cx.random();
        match cx.read_hash(cx.key(1)?)?.and_then(|hash| hash.random(random)) {
            Some((field, _)) => write_element(reply, field),
            None => reply.null(),
        }
        return Ok(());
    };
    let count = Sample::parse(count)?;
    let mut companion = Companion::None;
    let pairs = match args.get(3) {
        None => Pairs::Fields,
        Some(word) if word.eq_ignore_ascii_case(b"withvalues") && args.len() == 4 => {
            companion = Companion::One;
            Pairs::of(reply.protocol())
        }
        Some(_) => return Err(CommandError::Syntax),
    };
    let sample = Sample::of(count, companion)?;
    let mut generator = SmallRng::seed_from_u64(cx.random());
    let mut random = || generator.random::<u64>();
    let Some(hash) = cx.read_hash(cx.key(1)?)? else {
        reply.array(0);
        return Ok(());
    };
    match sample {
        Sample::Distinct(wanted) => {
            let chosen = hash.random_distinct(wanted, &mut random);
            pairs.open(reply, chosen.len());
            for (field, value) in chosen {
                pairs.write(reply, field, value);
            }
        }
        Sample::Repeated(wanted) => {
            pairs.open(reply, wanted);
            write_repeated(wanted, reply, |part, reply| {
                hash.random_repeated(part, &mut random, &mut |field, value| {
                    pairs.write(reply, field, value);
                });
            })?;
        }
    }
    Ok(())
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
    let cursor = scan_cursor(args.at(2))?;
    let Some(hash) = cx.read_hash(cx.key(1)?)? else {
        write_scan(0, 0, Reply::default(), reply);
        return Ok(());
    };
    let options = ScanOptions::of_elements(args.from(3))?;
    let mut found = Reply::new(reply.protocol());
    let mut elements = 0;
    let next = hash.scan(cursor, options.count, &mut |field, value| {
        if field.with_bytes(|field| options.takes(field)) {
            write_element(&mut found, field);
            write_element(&mut found, value);
            elements += 2;
        }
    });
    write_scan(next, elements, found, reply);
    Ok(())
}
