//! Keys of any type: deleting, asking, renaming, copying.

use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::{Kind, Meta, OwnedValue};

use super::arguments::database;
use super::context::Data;
use super::many_keys::ManyKeys;
use super::table::{Access, CommandResult, Definition, FEW, ONE, REST, Run, TWO, flag};
use crate::engine::write::Located;

pub(crate) static COMMANDS: &[Definition] = &[
    Definition {
        name: "copy",
        syntax: "source destination [DB destination-db] [REPLACE]",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: TWO,
        access: &[Access::to("RO access"), Access::to("OW update")],
        run: Run::Data(copy),
        since: "6.2.0",
        complexity: "O(N) for a collection of N elements, O(1) for a string",
        summary: "Copies the value of a key to another key.",
        ..Definition::BASE
    },
    Definition {
        name: "del",
        syntax: "key [key ...]",
        arity: -2,
        flags: flag::WRITE,
        keys: REST,
        access: &[Access::to("RM delete")],
        run: Run::Data(del),
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        complexity: "O(N) with N being the number of keys",
        summary: "Deletes keys.",
        ..Definition::BASE
    },
    Definition {
        name: "exists",
        syntax: "key [key ...]",
        arity: -2,
        flags: flag::READONLY | flag::FAST,
        keys: REST,
        access: &[Access::to("RO")],
        constant: FEW,
        run: Run::Data(exists),
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        complexity: "O(N) with N being the number of keys",
        summary: "Counts how many of the keys exist.",
        ..Definition::BASE
    },
    Definition {
        name: "move",
        syntax: "key db",
        arity: 3,
        flags: flag::WRITE | flag::FAST,
        keys: ONE,
        access: &[Access::to("RW access update")],
        run: Run::Data(move_key),
        summary: "Moves a key to another database.",
        ..Definition::BASE
    },
    Definition {
        name: "rename",
        syntax: "key newkey",
        arity: 3,
        flags: flag::WRITE,
        keys: TWO,
        access: &[Access::to("RW access delete"), Access::to("OW update")],
        run: Run::Data(rename),
        summary: "Renames a key, overwriting the one that has the new name.",
        ..Definition::BASE
    },
    Definition {
        name: "renamenx",
        syntax: "key newkey",
        arity: 3,
        flags: flag::WRITE | flag::FAST,
        keys: TWO,
        access: &[Access::to("RW access delete"), Access::to("OW insert")],
        run: Run::Data(renamenx),
        summary: "Renames a key unless one has the new name.",
        ..Definition::BASE
    },
    Definition {
        name: "touch",
        syntax: "key [key ...]",
        arity: -2,
        flags: flag::READONLY | flag::FAST,
        keys: REST,
        access: &[Access::to("RO")],
        constant: FEW,
        run: Run::Data(touch),
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        since: "3.2.1",
        complexity: "O(N) with N being the number of keys",
        summary: "Counts how many of the keys exist, and notes that they were used.",
        ..Definition::BASE
    },
    Definition {
        name: "type",
        syntax: "key",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        keys: ONE,
        access: &[Access::to("RO")],
        constant: 2,
        run: Run::Data(type_of),
        summary: "Returns the type of the value of a key.",
        ..Definition::BASE
    },
    Definition {
        name: "unlink",
        syntax: "key [key ...]",
        arity: -2,
        flags: flag::WRITE | flag::FAST,
        keys: REST,
        access: &[Access::to("RM delete")],
        constant: FEW,
        run: Run::Data(unlink),
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        since: "4.0.0",
        complexity: "O(1) for each key; their memory is freed afterwards",
        summary: "Deletes keys and frees their memory later.",
        ..Definition::BASE
    },
];

/// The name that `TYPE` has for a kind of value.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::List => "list",
        Kind::Hash => "hash",
        Kind::Set => "set",
        Kind::ZSet => "zset",
    }
}

/// What is known of `key` without its value: counts a hit or a miss, but is no use of the key.
pub(super) fn read_meta(cx: &mut Data<'_>, key: Located<'_>) -> Option<Meta> {
    let meta = cx.meta(key);
    match meta {
        Some(_) => cx.engine.counters.keyspace_hits.add(1),
        None => cx.engine.count_miss(key.slot, cx.caller.db, key.name()),
    }
    meta
}

fn del(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut removed = 0;
    let mut keys = ManyKeys::new(args, 1);
    while let Some(key) = keys.next(cx)? {
        removed += i64::from(cx.write(key.located).remove("del"));
    }
    reply.integer(removed);
    Ok(())
}

/// The same as `DEL`, which frees what is large in slices as well.
fn unlink(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    del(cx, args, reply)
}

fn exists(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut found = 0;
    let mut keys = ManyKeys::new(args, 1);
    while let Some(key) = keys.next(cx)? {
        found += i64::from(read_meta(cx, key.located).is_some());
    }
    reply.integer(found);
    Ok(())
}

fn touch(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut found = 0;
    let mut keys = ManyKeys::new(args, 1);
    while let Some(key) = keys.next(cx)? {
        found += i64::from(cx.read(key.located).is_some());
    }
    reply.integer(found);
    Ok(())
}

fn type_of(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    reply.simple(read_meta(cx, cx.key(1)?).map_or("none", |meta| kind_name(meta.kind)));
    Ok(())
}

/// A place of a key: its database and its name.
#[derive(Clone, Copy)]
struct Place<'k> {
    db: u8,
    key: Located<'k>,
}

impl PartialEq for Place<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.db == other.db && self.key.name() == other.key.name()
    }
}

impl Place<'_> {
    fn meta(self, cx: &mut Data<'_>) -> Option<Meta> {
        cx.engine.meta(self.db, self.key)
    }

    /// Whether here is a string that has been written to in place.
    fn spelling(self, cx: &Data<'_>) -> Spelling {
        let keyspace = cx.engine.keyspace(self.key.slot, self.db);
        match keyspace.and_then(|keyspace| keyspace.encoding(&self.key.key)) {
            Some("raw") => Spelling::Raw,
            _ => Spelling::Usual,
        }
    }

    /// Puts a value here, in place of any other.
    fn put(
        self,
        cx: &mut Data<'_>,
        value: OwnedValue,
        spelling: Spelling,
        meta: Meta,
        event: &'static str,
    ) {
        let mut write = cx.write_in(self.db, self.key);
        write.insert(value, meta.expiry, meta.aux);
        if spelling == Spelling::Raw {
            write.make_raw();
        }
        write.changed(event);
    }
}

/// Which encoding a string keeps where it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// The one that it has when set.
    Usual,
    /// The one of strings that were written to in place.
    Raw,
}

/// Moves what is at `from`, which exists with this `meta`, to `to`.
fn relocate(
    cx: &mut Data<'_>,
    from: Place<'_>,
    to: Place<'_>,
    meta: Meta,
    events: (&'static str, &'static str),
) {
    let spelling = from.spelling(cx);
    if let Some(value) = cx.write_in(from.db, from.key).take(events.0) {
        to.put(cx, value, spelling, meta, events.1);
    }
}

fn rename(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let db = cx.caller.db;
    let (from, to) = (Place { db, key: cx.key(1)? }, Place { db, key: cx.key(2)? });
    let meta = from.meta(cx).ok_or(CommandError::NoKey)?;
    if from != to {
        relocate(cx, from, to, meta, ("rename_from", "rename_to"));
    }
    reply.ok();
    Ok(())
}

fn renamenx(cx: &mut Data<'_>, _: Args<'_>, reply: &mut Reply) -> CommandResult {
    let db = cx.caller.db;
    let (from, to) = (Place { db, key: cx.key(1)? }, Place { db, key: cx.key(2)? });
    let meta = from.meta(cx).ok_or(CommandError::NoKey)?;
    let free = to.meta(cx).is_none();
    if free {
        relocate(cx, from, to, meta, ("rename_from", "rename_to"));
    }
    reply.integer(i64::from(free));
    Ok(())
}

fn move_key(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let key = cx.key(1)?;
    let from = Place { db: cx.caller.db, key };
    let to = Place { db: database(args.at(2), cx.config().databases)?, key };
    if from == to {
        return Err(CommandError::SameObject);
    }
    let meta = from.meta(cx);
    let moved = match meta {
        Some(meta) if to.meta(cx).is_none() => {
            relocate(cx, from, to, meta, ("move_from", "move_to"));
            true
        }
        _ => false,
    };
    reply.integer(i64::from(moved));
    Ok(())
}

fn copy(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let mut db = cx.caller.db;
    let mut replace = false;
    let mut at = 3;
    while let Some(word) = args.get(at) {
        if word.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if word.eq_ignore_ascii_case(b"db") && at + 1 < args.len() {
            at += 1;
            db = database(args.at(at), cx.config().databases)?;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    let from = Place { db: cx.caller.db, key: cx.key(1)? };
    let to = Place { db, key: cx.key(2)? };
    if from == to {
        return Err(CommandError::SameObject);
    }
    let found = read_meta(cx, from.key);
    let copied = match found {
        Some(meta) if replace || to.meta(cx).is_none() => {
            let spelling = from.spelling(cx);
            let keyspace = cx.engine.keyspace(from.key.slot, from.db);
            match keyspace.and_then(|keyspace| keyspace.clone_value(&from.key.key)) {
                Some(value) => {
                    to.put(cx, value, spelling, meta, "copy_to");
                    true
                }
                None => false,
            }
        }
        _ => false,
    };
    reply.integer(i64::from(copied));
    Ok(())
}
