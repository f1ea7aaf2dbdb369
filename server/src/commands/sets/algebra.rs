//! Union, intersection and difference of sets, returned, counted or stored.

use std::ops::Range;

use ballast_protocol::number::parse_i64;
use ballast_protocol::{Args, CommandError, Reply};
use ballast_storage::types::{Element, Limits, Set, SetRef};
use ballast_storage::{Collection, Value};

use super::write_member;
use crate::commands::context::Data;
use crate::commands::table::CommandResult;

/// What to do with the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

impl Operation {
    /// The event of the key that it is stored in.
    fn event(self) -> &'static str {
        match self {
            Operation::Union => "sunionstore",
            Operation::Inter => "sinterstore",
            Operation::Diff => "sdiffstore",
        }
    }

    /// Calls `f` with every member of the result, each once.
    fn each<'a>(
        self,
        sets: &[Option<SetRef<'a>>],
        limits: &Limits,
        f: &mut dyn FnMut(Element<'_>),
    ) {
        match self {
            Operation::Union => union(sets, limits).as_ref().iter().for_each(f),
            Operation::Inter => inter(sets, &mut |member| {
                f(member);
                true
            }),
            Operation::Diff => diff(sets, f),
        }
    }
}

pub(super) fn sunion(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    answer(cx, Operation::Union, args, reply)
}

pub(super) fn sinter(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    answer(cx, Operation::Inter, args, reply)
}

pub(super) fn sdiff(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    answer(cx, Operation::Diff, args, reply)
}

pub(super) fn sunionstore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    store(cx, Operation::Union, args, reply)
}

pub(super) fn sinterstore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    store(cx, Operation::Inter, args, reply)
}

pub(super) fn sdiffstore(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    store(cx, Operation::Diff, args, reply)
}

pub(super) fn sintercard(cx: &mut Data<'_>, args: Args<'_>, reply: &mut Reply) -> CommandResult {
    let count = parse_i64(args.at(1))
        .filter(|count| *count > 0)
        .ok_or(CommandError::other("ERR numkeys should be greater than 0"))?;
    let given = args.from(2);
    let count = match usize::try_from(count) {
        Ok(count) if count <= given.len() => count,
        _ => {
            return Err(CommandError::other(
                "ERR Number of keys can't be greater than number of args",
            ));
        }
    };
    let limit = parse_limit(given.from(count))?;
    let sets = read(cx, 2..2 + count)?;
    let mut found = 0;
    inter(&sets, &mut |_| {
        found += 1;
        found != limit
    });
    reply.integer(found as i64);
    Ok(())
}

/// `LIMIT limit`, where 0 is none. Given repeatedly, the last one counts.
fn parse_limit(options: Args<'_>) -> Result<usize, CommandError> {
    let mut limit = 0;
    for at in (0..options.len()).step_by(2) {
        let value = options.get(at + 1);
        let Some(value) = value.filter(|_| options.at(at).eq_ignore_ascii_case(b"limit")) else {
            return Err(CommandError::Syntax);
        };
        limit = parse_i64(value)
            .and_then(|limit| usize::try_from(limit).ok())
            .ok_or(CommandError::other("ERR LIMIT can't be negative"))?;
    }
    Ok(limit)
}

fn answer(
    cx: &mut Data<'_>,
    operation: Operation,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    let limits = cx.limits();
    let sets = read(cx, 1..args.len())?;
    let header = reply.deferred();
    let mut len = 0;
    operation.each(&sets, &limits, &mut |member| {
        write_member(reply, member);
        len += 1;
    });
    reply.finish_set(header, len);
    Ok(())
}

fn store(
    cx: &mut Data<'_>,
    operation: Operation,
    args: Args<'_>,
    reply: &mut Reply,
) -> CommandResult {
    let destination = cx.key(1)?;
    let limits = cx.limits();
    let sets = read(cx, 2..args.len())?;
    let mut result = Set::new();
    if operation == Operation::Union {
        result = union(&sets, &limits);
    } else {
        operation.each(&sets, &limits, &mut |member| {
            member.with_bytes(|member| result.add(member, &limits));
        });
    }
    let len = result.len();
    reply.integer(len as i64);
    if len == 0 {
        cx.write(destination).remove("del");
        return Ok(());
    }
    let mut write = cx.write(destination);
    write.insert_collection(Collection::Set(result));
    write.changed(operation.event());
    Ok(())
}

/// The sets at the keys at these positions, as reading commands see them. A key of another type is
/// an error even behind a missing one.
fn read<'c>(
    cx: &'c mut Data<'_>,
    keys: Range<usize>,
) -> Result<Vec<Option<SetRef<'c>>>, CommandError> {
    for at in keys.clone() {
        cx.read_set(cx.key(at)?)?;
    }
    // None of them is expired any more, so they can be looked at side by side.
    let cx = &*cx;
    let find = |at| {
        Ok(match cx.seen(cx.key(at)?) {
            Some(Value::Set(set)) => Some(set),
            _ => None,
        })
    };
    keys.map(find).collect()
}

fn union(sets: &[Option<SetRef<'_>>], limits: &Limits) -> Set {
    let mut result = Set::new();
    for member in sets.iter().flatten().flat_map(|set| set.iter()) {
        member.with_bytes(|member| result.add(member, limits));
    }
    result
}

/// Calls `f` with the members that all `sets` have until it answers false.
fn inter(sets: &[Option<SetRef<'_>>], f: &mut dyn FnMut(Element<'_>) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<SetRef<'_>>>>() else { return };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return };
    let _ = smallest
        .iter()
        .filter(|member| others.iter().all(|set| set.contains_element(*member)))
        .all(f);
}

/// Calls `f` with the members of the first set that no other has.
fn diff(sets: &[Option<SetRef<'_>>], f: &mut dyn FnMut(Element<'_>)) {
    let Some((Some(first), others)) = sets.split_first() else { return };
    let mut others: Vec<SetRef<'_>> = others.iter().copied().flatten().collect();
    // What is in a larger set more likely needs no further look.
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    first
        .iter()
        .filter(|member| !others.iter().any(|set| set.contains_element(*member)))
        .for_each(f);
}
